"""What the figures of a report mean: each with what is expected, and what to change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean

from denoise_daisy.algorithms.seams import sure_errors
from denoise_daisy.assessing import limits
from denoise_daisy.assessing.values import Likeness, Noise, Residual, Seam, Voxels

KEYS = {
    "ndsafir": "a smaller denoise.patch, or a smaller denoise.pvalue",
    "median": "a smaller denoise.size",
    "gaussian": "a smaller denoise.sigma",
}
"""What makes a denoiser take less away, by its kind."""

MORE = {
    "ndsafir": "one more of denoise.max_iter, or a larger denoise.pvalue",
    "median": "a larger denoise.size",
    "gaussian": "a larger denoise.sigma",
}

CALIBRATE = (
    "`denoise-daisy calibrate` tells the numbers that fit; set noise.gains and"
    " noise.offsets (or noise.noise_std) to them, or leave them out"
)


AS_RECORDED = (
    "Denoise the image as it was recorded, before any processing; or compare previews"
    " with noise.gains and noise.offsets of your own"
)


@dataclass(frozen=True, slots=True)
class Channel:
    """Means of a channel's residuals over all places that were denoised."""

    name: str
    variance: float | None
    """Over the measured noise where that is known, else over the model's."""
    is_measured: bool
    neighbours: float
    structure: float
    change: float
    shift: float
    shift_error: float
    below: float | None
    noise: Noise | None

    @property
    def told(self) -> float | None:
        """The noise that the run was told of, over that which was measured."""
        noise = self.noise
        if noise is None or not noise.measured:
            return None
        return noise.deviation / noise.measured

    @property
    def is_shifted(self) -> bool:
        """Whether its mean grey level is another, beyond what chance makes of none."""
        return limits.is_shifted(self.change, self.shift, self.shift_error)


def channels_of(
    residuals: Sequence[Residual], noise: Sequence[Noise], names: Sequence[str]
) -> list[Channel]:
    """Those that were denoised at some place."""
    found, by_name = [], {n.channel: n for n in noise}
    for name in names:
        mine = [r for r in residuals if r.channel == name and not r.is_as_is]
        if not mine:
            continue
        measured = [r.measured for r in mine if r.measured is not None]
        modelled = [r.variance for r in mine if r.variance is not None]
        variances, below = measured or modelled, [r.below_floor for r in mine]
        known = [b for b in below if b is not None]
        found.append(
            Channel(
                name=name,
                variance=fmean(variances) if variances else None,
                is_measured=bool(measured),
                neighbours=fmean(r.neighbours for r in mine),
                structure=fmean(r.structure for r in mine),
                change=fmean(r.change for r in mine),
                shift=fmean(r.shift for r in mine),
                shift_error=sqrt(sum(r.shift_error**2 for r in mine)) / len(mine),
                below=fmean(known) if known else None,
                noise=by_name.get(name),
            )
        )
    return found


def findings(
    channels: Sequence[Channel], seams: Sequence[Seam], kind: str
) -> Iterator[str]:
    """What deserves a look, in words: found, expected, and the key to change."""
    for channel in channels:
        yield from _smoothing(channel, kind)
        yield from _levels(channel)
    for seam in seams:
        if is_seam(seam):
            yield (
                f"Borders of blocks show along {seam.axis}: in the {seam.of} image,"
                f" steps across them are {seam.score:.2f} times those one voxel inside"
                f" (expected 1, at most {limits.MOST_SEAM}). An exact run has no seams:"
                " let `denoise-daisy verify` look for damage; with a blocks.context"
                " of its own or blocks.skip, leave these out."
            )


def is_seam(seam: Seam) -> bool:
    """Whether a score is beyond what chance makes of none; of one face nobody knows."""
    beyond = seam.score - 1
    most = limits.MOST_SEAM
    errors = sure_errors(seam.faces, limits.CHANCE)
    return (
        errors is not None and seam.score > most and beyond > errors * seam.uncertainty
    )


def of_the_whole(
    voxels: Voxels, written: int, alike: Sequence[Likeness]
) -> Iterator[str]:
    """The same of voxels that were clipped, of so many, and of a reference."""
    share = voxels.clipped / max(written, 1)
    if share > limits.MOST_CLIPPED:
        yield (
            f"{voxels.clipped} voxels ({share:.2%}, expected at most"
            f" {limits.MOST_CLIPPED:.1%}) were beyond the range of the output's type,"
            " and were set to its nearest value. Set output.dtype to float32, or to a"
            " type that holds them."
        )
    for each in alike:
        pairs = {
            "PSNR": (each.psnr_raw, each.psnr_denoised),
            "SSIM": (each.ssim_raw, each.ssim_denoised),
        }
        worse = [
            f"{name} is {after:.4g}, and was {before:.4g} before"
            for name, (before, after) in pairs.items()
            if before is not None and after is not None and after <= before
        ]
        if worse:
            yield (
                f"Channel {each.channel!r} is no more like the reference than the raw"
                f" image was: {'; '.join(worse)} (expected more). See that the"
                " reference shows the same place on the same scale; `preview --sweep`"
                " shows what other settings do."
            )


def _smoothing(channel: Channel, kind: str) -> Iterator[str]:
    """Too much or too little was taken away, and why that is likely."""
    told = channel.told
    is_high = told is not None and told > limits.MOST_NOISE
    is_low = told is not None and told < limits.LEAST_NOISE
    much, little = list(_too_much(channel)), list(_too_little(channel))
    numbers = ""
    if is_high or is_low:
        noise = channel.noise
        if noise is None or noise.measured is None:
            raise ValueError("nothing was measured")
        numbers = (
            f"the noise numbers expect a standard deviation of {noise.deviation:.3g} at"
            f" grey level {noise.level:.0f}, which is {told:.2f} times the"
            f" {noise.measured:.3g} that the raw image shows (expected"
            f" {limits.LEAST_NOISE} to {limits.MOST_NOISE})"
        )
    if is_high:
        yield _finding(channel, "over-smoothed", [numbers, *much], CALIBRATE)
    elif much:
        yield _finding(
            channel,
            "over-smoothed",
            much,
            f"Try {KEYS[kind]}; `preview --sweep` shows what they do",
        )
    if is_low:
        yield _finding(channel, "under-smoothed", [numbers, *little], CALIBRATE)
    elif little and not is_high and not much:
        is_processed = channel.neighbours > limits.MOST_NEIGHBOURS
        more = f"Try {MORE[kind]}; `preview --sweep` shows what they do"
        advice = AS_RECORDED if is_processed else more
        yield _finding(channel, "under-smoothed", little, advice)


def _finding(channel: Channel, what: str, whys: Sequence[str], advice: str) -> str:
    said = "; ".join(whys)
    return (
        f"Channel {channel.name!r} is {what}: {said}. {advice[0].upper()}{advice[1:]}."
    )


def _too_much(channel: Channel) -> Iterator[str]:
    variance = channel.variance
    if variance is not None and variance > limits.MOST_VARIANCE:
        yield (
            f"the residual's variance is {variance:.0%} of that of the noise (expected"
            f" {limits.LEAST_VARIANCE:.0%} to {limits.MOST_VARIANCE:.0%}), so signal"
            " was taken away with it"
        )
    if channel.structure > limits.MOST_STRUCTURE:
        yield (
            f"the residual is larger where there is structure ({channel.structure:+.2f}"
            f", expected at most {limits.MOST_STRUCTURE})"
        )
    if channel.neighbours > limits.MOST_NEIGHBOURS and not _is_little(channel):
        yield (
            f"neighbours in the residual correlate ({channel.neighbours:+.2f}, expected"
            f" at most {limits.MOST_NEIGHBOURS}), as structure does and noise does not"
        )


def _too_little(channel: Channel) -> Iterator[str]:
    variance = channel.variance
    if _is_little(channel):
        yield (
            f"the residual's variance is only {variance:.0%} of that of the noise"
            f" (expected {limits.LEAST_VARIANCE:.0%} to {limits.MOST_VARIANCE:.0%}), so"
            " noise was left"
        )
        if channel.neighbours > limits.MOST_NEIGHBOURS:
            yield (
                "neighbours in the residual correlate all the same"
                f" ({channel.neighbours:+.2f}): so does the noise of the image itself,"
                " as after deconvolution or compression, which no noise model here"
                " knows"
            )
    if channel.neighbours < -limits.MOST_NEIGHBOURS:
        yield (
            "neighbours in the residual are of opposite signs"
            f" ({channel.neighbours:+.2f}, expected -{limits.MOST_NEIGHBOURS} or more)"
            ":"
            " slow variations of the noise were left"
        )
    left = channel.noise.left if channel.noise else None
    if left is not None and left > limits.MOST_LEFT:
        yield (
            f"of nothing but noise {left:.0%} is left (expected at most"
            f" {limits.MOST_LEFT:.0%})"
        )


def _is_little(channel: Channel) -> bool:
    """Whether less was taken away than noise alone would be."""
    return channel.variance is not None and channel.variance < limits.LEAST_VARIANCE


def _levels(channel: Channel) -> Iterator[str]:
    if channel.below is not None and channel.below > limits.MOST_BELOW:
        yield (
            f"Channel {channel.name!r}: {channel.below:.1%} of the raw voxels are below"
            " the noise model's floor and came out as one value (expected at most"
            f" {limits.MOST_BELOW:.0%}). Set a higher noise.offsets, or noise.kind to"
            " gaussian."
        )
    if channel.is_shifted:
        yield (
            f"Channel {channel.name!r}: the mean grey level changed by"
            f" {channel.change:+.1%}, {channel.shift:+.2f} of the noise's standard"
            f" deviation (expected at most {limits.MOST_CHANGE:.0%}, or"
            f" {limits.MOST_SHIFT}). Set"
            ' denoise.inverse to "unbiased", or look at the noise numbers.'
        )
