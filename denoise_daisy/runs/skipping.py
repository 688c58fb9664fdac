"""What a run will not denoise: gaps in the file, and empty space; in words."""

from denoise_daisy.blockwise.as_is_share import AsIsShare, skipped_share
from denoise_daisy.resolved.run import ResolvedRun


def share_of(run: ResolvedRun) -> AsIsShare | None:
    """Which part of its blocks will be written as they are; None where none can be.

    Raises
    ------
    InputError
        The image can't be read.
    """
    skip, image = run.config.blocks.skip, run.image
    if skip is None and not image.has_gaps:
        return None
    below = None if skip is None else skip.below
    return skipped_share(image, run.denoising.grid, below)


def skip_text(found: AsIsShare, blocks: int, core_hours: float | None = None) -> str:
    """How many of so many blocks that is, and what it saves of denoising them all."""
    left = f"{round(found.share * blocks)} of {blocks} blocks written as they are"
    saved = (
        ""
        if core_hours is None
        else f", which saves {found.share * core_hours:.3g} of {core_hours:.3g} core"
        " hours"
    )
    if found.is_certain:
        return left + saved
    return f"about {left}{saved} (guessed from {found.blocks} blocks; at most so many)"
