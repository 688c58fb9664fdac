"""What a person should know before a run."""

from collections.abc import Iterator

from denoise_daisy.denoisers.survey import Survey
from denoise_daisy.resolved.run import ResolvedRun


def warnings_of(run: ResolvedRun, survey: Survey | None) -> Iterator[str]:
    """What a person should know of this image and these settings.

    `survey` is what the image tells of its noise, None where nobody asked.
    """
    yield from run.image.warnings
    short = [f"{a} {c} of {reach}" for a, (c, reach) in run.missing_context.items()]
    if short:
        yield (
            f"blocks.context is smaller than the filter's reach ({', '.join(short)}"
            " voxels): near block borders the result differs from the whole image's."
        )
    grid = run.denoising.grid
    yield from run.denoiser.warnings(grid.readable_roi.shape, grid.volume.end)
    if survey is not None:
        yield from run.denoiser.doubts(run.image, survey)
