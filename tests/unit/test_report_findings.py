"""What a report says of images whose truth and noise are known, denoised for real."""

from dataclasses import replace
from functools import cache

import ndsafir
import numpy as np
import pytest
from funlib.geometry import Roi
from scipy import ndimage

from denoise_daisy.assessing.figures import of_channel, of_seams
from denoise_daisy.assessing.judgement import (
    Channel,
    channels_of,
    findings,
    of_the_whole,
)
from denoise_daisy.assessing.noise import measured_noise, noises
from denoise_daisy.assessing.places import Place
from denoise_daisy.assessing.residuals import residuals
from denoise_daisy.assessing.values import Likeness, Noise, Residual, Seam, Voxels
from denoise_daisy.denoisers.noise import NoiseNumbers, models_of
from denoise_daisy.denoisers.survey import survey
from denoise_daisy.images.image import Image
from harness.images import MemoryImage

GAIN, BACK = 3.0, 100.0

SHAPE = (2, 176, 176)


@cache
def raw_image() -> np.ndarray:
    """Blobs and fine spots on a smooth ground, with photon noise, ``(z, y, x)``."""
    rng = np.random.default_rng(0)
    ground = ndimage.gaussian_filter(rng.normal(size=SHAPE), (1, 12, 12))
    spots = ndimage.gaussian_filter(rng.normal(size=SHAPE), (1, 1.2, 1.2))
    spots = np.where(spots > 1.5 * spots.std(), 400.0, 0.0)
    spots = ndimage.gaussian_filter(spots, (0, 0.7, 0.7))
    clean = 350 + np.clip(60 * ground / ground.std(), -200, None) + spots
    photons = rng.poisson((clean - BACK) / GAIN)
    return np.rint(BACK + GAIN * photons).astype(np.uint16)


def channel(gain: float, patch: int = 3, iterations: int = 3) -> Channel:
    """The image's, denoised with that gain and patch, and as the report sees it."""
    raw, offset = raw_image(), -gain * BACK
    found = ndsafir.denoise_poisson_gaussian(
        raw[np.newaxis, np.newaxis],
        axes="TCZYX",
        gains=[gain],
        offsets=[offset],
        patch=[0, 0, 0, patch, patch],
        active_dimensions="zyx",
        max_iter=iterations,
        pvalue=0.1,
        nthreads=1,
    )
    denoised = np.rint(found[0, 0]).astype(np.uint16)
    places = [
        Place(Roi((0, z, 0, 0), (1, 1, *SHAPE[1:])), raw[z][None], denoised[z][None])
        for z in range(SHAPE[0])
    ]
    image: Image = MemoryImage(raw[np.newaxis, np.newaxis])
    numbers = NoiseNumbers((gain,), (offset,))
    models, shown = models_of(numbers, 1), measured_noise(survey(image), 1)
    rests = residuals(places, ["c0"], numbers, models, shown)
    (one,) = channels_of(rests, noises(places, ["c0"], models, shown, ()), ["c0"])
    return one


def test_what_is_denoised_with_the_right_numbers_is_not_flagged() -> None:
    right = channel(GAIN)
    assert list(findings([right], [], "ndsafir")) == []
    assert {figure.verdict for figure in of_channel(right)} == {"good"}
    assert right.told == pytest.approx(1, abs=0.05)


def test_with_four_times_the_gain_it_is_over_smoothed() -> None:
    wrong = channel(4 * GAIN)
    assert wrong.told == pytest.approx(2, rel=0.05)
    (said,) = findings([wrong], [], "ndsafir")
    assert said.startswith("Channel 'c0' is over-smoothed: the noise numbers expect")
    assert "(expected 0.7 to 1.4)" in said
    assert "the residual's variance is 1" in said
    assert "signal was taken away" in said
    assert "noise.gains" in said


def test_with_a_quarter_of_the_gain_it_is_under_smoothed() -> None:
    wrong = channel(GAIN / 4)
    assert wrong.told == pytest.approx(0.5, rel=0.05)
    (said,) = findings([wrong], [], "ndsafir")
    assert said.startswith("Channel 'c0' is under-smoothed: the noise numbers expect")
    assert "noise was left" in said
    assert "noise.gains" in said


def test_with_too_large_a_patch_structure_is_in_the_residual() -> None:
    (said,) = findings([channel(GAIN, patch=12)], [], "ndsafir")
    assert said.startswith(
        "Channel 'c0' is over-smoothed: the residual is larger where"
    )
    assert "a smaller denoise.patch" in said
    assert "noise.gains" not in said


def test_a_residual_of_signal_alone_is_over_smoothed_by_any_denoiser() -> None:
    raw = raw_image()
    soft = np.rint(ndimage.gaussian_filter(raw.astype(float), (0, 3, 3)))
    roi = Roi((0, 0, 0, 0), (1, 1, *SHAPE[1:]))
    rests = residuals(
        [Place(roi, raw[0][None], soft[0].astype(np.uint16)[None])],
        ["c0"], None, None, [(GAIN, -GAIN * BACK)],
    )  # fmt: skip
    (said,) = findings(channels_of(rests, [], ["c0"]), [], "gaussian")
    assert "a smaller denoise.sigma" in said


def residual(**values: object) -> Residual:
    told = {
        "channel": "c0", "t": 0, "z": 0, "y": (0, 9), "x": (0, 9), "is_as_is": False,
        "level": 100.0, "variance": 0.8, "measured": 0.8, "neighbours": 0.0,
        "structure": 0.0, "change": 0.0, "shift": 0.3, "shift_error": 0.01,
        "below_floor": 0.0,
    }  # fmt: skip
    return Residual(**told | values)  # type: ignore[arg-type]


def noise(**values: object) -> Noise:
    told = {
        "channel": "c0", "gain": 2.0, "offset": 0.0, "level": 100.0,
        "deviation": 10.0, "measured": 10.0, "left": 0.1,
    }  # fmt: skip
    return Noise(**told | values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("of_residual", "of_noise", "said"),
    [
        ({"measured": 1.16}, {}, "over-smoothed"),
        ({"measured": 0.49}, {}, "under-smoothed"),
        ({"structure": 0.16}, {}, "over-smoothed"),
        ({"neighbours": 0.16}, {}, "over-smoothed"),
        ({"neighbours": -0.16}, {}, "under-smoothed"),
        ({}, {"left": 0.31}, "under-smoothed"),
        ({}, {"deviation": 14.1}, "over-smoothed"),
        ({}, {"deviation": 6.9}, "under-smoothed"),
        ({"change": -0.011}, {}, "mean grey level changed by -1.1%"),
        ({"below_floor": 0.11}, {}, "11.0% of the raw voxels are below"),
    ],
)
def test_each_figure_beyond_its_limit_is_told_once(
    of_residual: dict[str, float], of_noise: dict[str, float], said: str
) -> None:
    names, fine = ["c0"], [residual(), residual(z=1)]
    assert not list(findings(channels_of(fine, [noise()], names), [], "ndsafir"))
    worse = [residual(**of_residual), residual(**of_residual, z=1)]
    channels = channels_of(worse, [noise(**of_noise)], names)
    (found,) = findings(channels, [], "ndsafir")
    assert said in found
    assert sum(f.verdict == "doubtful" for f in of_channel(channels[0])) == 1


def test_where_little_is_taken_correlation_is_that_of_the_image() -> None:
    rests = [residual(measured=0.1, neighbours=0.3)]
    (said,) = findings(channels_of(rests, [noise()], ["c0"]), [], "ndsafir")
    assert "is under-smoothed" in said
    assert "so does the noise of the image itself" in said
    assert "as it was recorded" in said
    assert "max_iter" not in said


def test_places_that_were_left_as_they_are_do_not_count() -> None:
    left = residual(is_as_is=True, measured=0.0, variance=0.0)
    (one,) = channels_of([left, residual()], [noise()], ["c0"])
    assert one.variance == 0.8
    assert channels_of([left], [noise()], ["c0"]) == []


def seam(score: float, uncertainty: float) -> Seam:
    return Seam(axis="y", of="residual", score=score, uncertainty=uncertainty, faces=9)


def test_seams_are_told_where_chance_does_not_make_them() -> None:
    assert not list(findings([], [seam(1.3, 0.1), seam(1.09, 0.01)], "ndsafir"))
    (said,) = findings([], [seam(1.3, 0.05)], "ndsafir")
    assert "Borders of blocks show along y" in said
    assert "1.30 times" in said


def test_of_few_faces_nothing_is_sure() -> None:
    three = replace(seam(1.5, 0.05), faces=3)
    assert not list(findings([], [three], "ndsafir"))
    assert list(findings([], [replace(three, faces=9)], "ndsafir"))
    one = replace(three, faces=1)
    assert not list(findings([], [one], "ndsafir"))
    assert [figure.verdict for figure in of_seams([one, three])] == ["told", "good"]


def test_a_mean_near_0_may_change_by_any_share_of_it() -> None:
    near = residual(level=0.1, change=0.2, shift=0.004, shift_error=0.001)
    unsure = residual(change=0.02, shift=0.2, shift_error=0.06)
    for rest in (near, unsure):
        channels = channels_of([rest], [noise()], ["c0"])
        assert not list(findings(channels, [], "ndsafir"))
        assert {figure.verdict for figure in of_channel(channels[0])} == {"good"}
    # Four places tell it twice as well.
    sure = channels_of([replace(unsure, t=t) for t in range(4)], [noise()], ["c0"])
    (said,) = findings(sure, [], "ndsafir")
    assert "mean grey level changed by +2.0%, +0.20 of the noise's" in said


def test_clipped_voxels_and_a_worse_likeness_are_told() -> None:
    def alike(psnr: float, ssim: float) -> Likeness:
        return Likeness(
            channel="c0", psnr_raw=30.0, psnr_denoised=psnr, ssim_raw=0.5,
            ssim_denoised=ssim,
        )  # fmt: skip

    few, many = (Voxels(clipped=n, as_is_blocks=0) for n in (10, 11))
    assert not list(of_the_whole(few, 10_000, [alike(31, 0.6)]))
    clipped, worse = of_the_whole(many, 10_000, [alike(29, 0.6)])
    assert "11 voxels (0.11%, expected at most 0.1%)" in clipped
    assert "output.dtype" in clipped
    assert "PSNR is 29, and was 30 before (expected more)" in worse
    assert "SSIM" not in worse
