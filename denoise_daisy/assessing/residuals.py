"""What was taken away from each channel at each place, held against its noise."""

from collections.abc import Sequence

import numpy as np

from denoise_daisy.algorithms.residuals import residual_figures
from denoise_daisy.assessing.places import Place
from denoise_daisy.assessing.values import Residual
from denoise_daisy.denoisers.noise import Models, NoiseNumbers, floors


def residuals(
    places: Sequence[Place],
    channels: Sequence[str],
    numbers: NoiseNumbers | None,
    models: Models | None,
    measured: Sequence[tuple[float, float] | None],
) -> list[Residual]:
    """Those of all places whose raw image can be read.

    A place that was denoised in part is none of them: the rest would look as if the
    denoiser had left it.
    `measured` is the noise that the raw image shows by itself, gain and offset of each
    channel where that can be trusted.
    """
    lowest = floors(numbers) if numbers else ()
    found = []
    for place in places:
        if place.raw is None or place.has_gaps or 0 < place.as_is < 1:
            continue
        (t, z, y0, x0), (_, _, y1, x1) = place.roi.begin, place.roi.end
        for c, channel in enumerate(channels):
            raw, denoised = place.raw[c], place.denoised[c]
            model, other = None if models is None else models[c], measured[c]
            figures = residual_figures(raw, denoised, model)
            found.append(
                Residual(
                    channel=channel,
                    t=t,
                    z=z,
                    y=(y0, y1),
                    x=(x0, x1),
                    is_as_is=place.as_is == 1,
                    level=float(raw.mean(dtype=np.float64)),
                    variance=figures.variance,
                    measured=None if other is None else share(raw, denoised, other),
                    neighbours=figures.neighbours,
                    structure=figures.structure,
                    change=figures.change,
                    shift=figures.shift,
                    shift_error=figures.shift_error,
                    below_floor=float(np.mean(raw < lowest[c])) if lowest else None,
                )
            )
    return found


def share(raw: np.ndarray, denoised: np.ndarray, noise: tuple[float, float]) -> float:
    """Variance of a residual, over that of a noise of a gain and an offset."""
    signal = denoised.astype(np.float64)
    expected = np.maximum(noise[0] * signal + noise[1], 1e-12)
    return float((raw - signal).var() / expected.mean())
