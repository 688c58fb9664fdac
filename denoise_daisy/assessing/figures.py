"""All figures of a report as a person reads them: number, expected range, meaning."""

from collections.abc import Iterator, Sequence

from denoise_daisy.algorithms.ring_correlation import THRESHOLD
from denoise_daisy.assessing import limits
from denoise_daisy.assessing.judgement import Channel, is_seam
from denoise_daisy.assessing.values import (
    Figure,
    Likeness,
    Resolution,
    Seam,
    Verdict,
    Voxels,
)

SHARES = f"{limits.LEAST_VARIANCE:.0%} to {limits.MOST_VARIANCE:.0%}"


def _figure(
    name: str,
    of: str,
    value: float,
    text: str,
    *,
    expected: str = "",
    is_good: bool | None = None,
    meaning: str,
) -> Figure:
    told: Verdict = "told"
    if is_good is not None:
        told = "good" if is_good else "doubtful"
    return Figure(
        name=name,
        of=of,
        value=value,
        text=text,
        expected=expected,
        verdict=told,
        meaning=meaning,
    )


def all_figures(
    channels: Sequence[Channel],
    resolution: Sequence[Resolution],
    seams: Sequence[Seam],
    alike: Sequence[Likeness],
    *,
    voxels: Voxels,
    written: int,
    blocks: int,
) -> Iterator[Figure]:
    """Those of channels first, then those of the whole."""
    for channel in channels:
        yield from of_channel(channel)
        yield from (
            f for r in resolution if r.channel == channel.name for f in of_resolution(r)
        )
        yield from (
            f for a in alike if a.channel == channel.name for f in of_likeness(a)
        )
    if not channels:
        yield from (f for r in resolution for f in of_resolution(r))
        yield from (f for a in alike for f in of_likeness(a))
    yield from of_seams(seams)
    yield from of_voxels(voxels, written, blocks)


def of_channel(channel: Channel) -> Iterator[Figure]:
    """What its residual and its noise tell."""
    name = channel.name
    if channel.variance is not None:
        share = channel.variance
        of = (
            "the noise measured in the raw image"
            if channel.is_measured
            else ("what the noise numbers expect")
        )
        yield _figure(
            "Variance of the residual",
            name,
            share,
            f"{share:.0%}",
            expected=SHARES,
            is_good=limits.LEAST_VARIANCE <= share <= limits.MOST_VARIANCE,
            meaning=f"So much was taken away, as a share of {of}. Less leaves noise,"
            " more takes signal.",
        )
    yield _figure(
        "Neighbours in the residual",
        name,
        channel.neighbours,
        f"{channel.neighbours:+.2f}",
        expected=f"-{limits.MOST_NEIGHBOURS} to {limits.MOST_NEIGHBOURS}",
        is_good=abs(channel.neighbours) <= limits.MOST_NEIGHBOURS,
        meaning="Correlation of voxels that touch. Noise is near 0: the residual is"
        " white.",
    )
    yield _figure(
        "Structure in the residual",
        name,
        channel.structure,
        f"{channel.structure:+.2f}",
        expected=f"at most {limits.MOST_STRUCTURE}",
        is_good=channel.structure <= limits.MOST_STRUCTURE,
        meaning="How much larger it is where the image has structure. Positive: signal"
        " was taken away; negative: noise was left along edges.",
    )
    yield from _of_noise(channel)
    yield from _of_levels(channel)


def _of_levels(channel: Channel) -> Iterator[Figure]:
    name = channel.name
    yield _figure(
        "Change of the mean",
        name,
        channel.change,
        f"{round(channel.change, 3) + 0.0:+.1%}",
        expected=f"within {limits.MOST_CHANGE:.0%}, or {limits.MOST_SHIFT} of the"
        " noise",
        is_good=not channel.is_shifted,
        meaning="Denoising should leave the mean grey level as it is. It is another by"
        f" {round(channel.shift, 3) + 0.0:+.3f} of the noise's standard deviation.",
    )
    if channel.below is not None:
        yield _figure(
            "Voxels below the floor",
            name,
            channel.below,
            f"{channel.below:.1%}",
            expected=f"at most {limits.MOST_BELOW:.0%}",
            is_good=channel.below <= limits.MOST_BELOW,
            meaning="So dark that the noise model has no noise for them: they came out"
            " as one value.",
        )


def _of_noise(channel: Channel) -> Iterator[Figure]:
    noise = channel.noise
    if channel.told is not None:
        yield _figure(
            "Noise that was expected",
            channel.name,
            channel.told,
            f"{channel.told:.2f}",
            expected=f"{limits.LEAST_NOISE} to {limits.MOST_NOISE}",
            is_good=limits.LEAST_NOISE <= channel.told <= limits.MOST_NOISE,
            meaning="Standard deviation by the run's noise numbers, over the one that"
            " the raw image shows. More smooths too much, less too little.",
        )
    if noise is not None and noise.left is not None:
        yield _figure(
            "Noise left of pure noise",
            channel.name,
            noise.left,
            f"{noise.left:.0%}",
            expected=f"at most {limits.MOST_LEFT:.0%}",
            is_good=noise.left <= limits.MOST_LEFT,
            meaning="An image of nothing but noise was denoised: so much of its"
            " standard deviation is left.",
        )


def of_resolution(found: Resolution) -> Iterator[Figure]:
    """At 1/7 of the Fourier ring correlation, before and after."""
    unit = "voxels" if found.pixel_um is None else "\N{MICRO SIGN}m"
    pairs = [("raw", found.raw, found.raw_resolution)]
    if found.denoised is not None:
        pairs.append(("denoised", found.denoised, found.denoised_resolution))
    for what, rings, resolution in pairs:
        if resolution is not None:
            finer = " or finer" if min(rings) >= THRESHOLD else ""
            yield _figure(
                f"Resolution, {what} halves",
                found.channel,
                resolution,
                f"{resolution:.3g} {unit}{finer}",
                meaning="Where the Fourier ring correlation of two independent halves"
                " of the photons falls below 1/7. Halves have half the light: the whole"
                " image is a little better.",
            )


def of_seams(seams: Sequence[Seam]) -> Iterator[Figure]:
    """Along each axis."""
    for seam in seams:
        is_alone = seam.faces < 2
        yield _figure(
            f"Seams in the {seam.of} image"
            if seam.of == "denoised"
            else "Seams in the residual",
            f"axis {seam.axis}",
            seam.score,
            f"{seam.score:.2f} \N{PLUS-MINUS SIGN} {seam.uncertainty:.2f}",
            expected="" if is_alone else f"1, at most {limits.MOST_SEAM}",
            is_good=None if is_alone else not is_seam(seam),
            meaning=f"Steps across {seam.faces} face{'s' * (not is_alone)} of blocks,"
            " over steps one voxel inside. 1 where nothing tells that there were"
            f" blocks.{' One face alone tells nothing for sure.' * is_alone}",
        )


def of_voxels(voxels: Voxels, written: int, blocks: int) -> Iterator[Figure]:
    """Counted in the ledger, of so many voxels and blocks that are done."""
    share = voxels.clipped / max(written, 1)
    yield _figure(
        "Clipped voxels",
        "",
        voxels.clipped,
        f"{voxels.clipped} ({share:.2%})",
        expected=f"at most {limits.MOST_CLIPPED:.1%}",
        is_good=share <= limits.MOST_CLIPPED,
        meaning="Beyond the range of the output's type, and set to its nearest value.",
    )
    yield _figure(
        "Blocks written as they are",
        "",
        voxels.as_is_blocks,
        f"{voxels.as_is_blocks} of {blocks}",
        meaning="Not denoised, for nothing is there (blocks.skip, or gaps of the"
        " file).",
    )


def of_likeness(found: Likeness) -> Iterator[Figure]:
    """Beside a reference."""
    for name, unit, digits, before, after, why in (
        (
            "PSNR",
            " dB",
            2,
            found.psnr_raw,
            found.psnr_denoised,
            "Peak signal-to-noise ratio against the reference",
        ),
        (
            "SSIM",
            "",
            4,
            found.ssim_raw,
            found.ssim_denoised,
            "Structural similarity to the reference, 1 at best",
        ),
    ):
        if after is not None:
            was = "" if before is None else f"{before:.{digits}f}{unit} before"
            yield _figure(
                name,
                found.channel,
                after,
                f"{after:.{digits}f}{unit}",
                expected=was and f"above {was}",
                is_good=None if before is None else after > before,
                meaning=f"{why}.",
            )
