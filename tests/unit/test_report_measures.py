"""What a report measures: known by construction, or computed in another way."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage, special, stats
from skimage.metrics import structural_similarity

from denoise_daisy.algorithms.likeness import likeness
from denoise_daisy.algorithms.photon_split import split
from denoise_daisy.algorithms.ring_correlation import (
    THRESHOLD,
    RingCorrelation,
    ring_correlation,
)
from denoise_daisy.algorithms.seams import LAYERS, seam_score, sure_errors
from denoise_daisy.assessing.cost import bottleneck, cost
from denoise_daisy.assessing.values import Cost
from denoise_daisy.run_dir.ledger_lines import LedgerWriter
from denoise_daisy.run_dir.ledger_table import LedgerTable
from denoise_daisy.run_dir.run_dir import RunDir
from harness.ledgers import BLOCKS, GRID, RUN, UNIT, entry


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_halves_of_photons_are_whole_and_independent() -> None:
    """Of Poisson numbers, coins make two that know not of each other."""
    counts = rng().poisson(7.0, 200_000)
    one, other = split(100 + 2.0 * counts, 2.0, -200.0, rng(1))
    heads, tails = (one - 100) / 2, (other - 100) / 2
    np.testing.assert_allclose(heads, np.rint(heads), atol=1e-9)
    np.testing.assert_allclose(heads + tails, counts)
    for half in (heads, tails):
        assert half.mean() == pytest.approx(3.5, abs=0.03)
        assert half.var() == pytest.approx(3.5, abs=0.06)
        shares = np.bincount(np.rint(half).astype(int), minlength=12)[:12] / half.size
        np.testing.assert_allclose(shares, stats.poisson.pmf(range(12), 3.5), atol=5e-3)
    assert abs(np.corrcoef(heads, tails)[0, 1]) < 0.01


@pytest.mark.parametrize("level", [3.0, 40.0, 2000.0])
def test_halves_of_a_camera_image_are_uncorrelated_and_have_its_noise(
    level: float,
) -> None:
    """With readout noise, rounded to grey levels: gain 2.5, noise 4, background 50."""
    gain, read, back = 2.5, 4.0, 50.0
    drawn = back + gain * rng(2).poisson(level, 300_000)
    drawn = np.rint(drawn + read * rng(3).normal(size=drawn.shape))
    offset = read**2 + 1 / 12 - gain * back
    one, other = split(drawn, gain, offset, rng(4))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.01
    for half in (one, other):
        assert half.var() == pytest.approx(gain * half.mean() + offset, rel=0.02)


def test_halves_by_gaussian_noise_are_independent_and_twice_as_noisy() -> None:
    drawn = 100 + 5 * rng().normal(size=200_000)
    one, other = split(drawn, 0.0, 25.0, rng(1))
    np.testing.assert_allclose((one + other) / 2, drawn)
    assert one.var() == pytest.approx(50, rel=0.02)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.01


def test_levels_below_no_noise_are_halved_without_any() -> None:
    one, other = split(np.array([10.0, 40.0]), 2.0, -100.0, rng())
    np.testing.assert_allclose(one, 50 + (np.array([10.0, 40.0]) - 50) / 2)
    np.testing.assert_array_equal(one, other)


def specimen(size: int = 128) -> np.ndarray:
    fine = ndimage.gaussian_filter(rng(5).normal(size=(size, size)), 1.5, mode="wrap")
    return 300 + 150 * fine / fine.std()


def test_noise_alone_does_not_correlate() -> None:
    found = ring_correlation(
        rng(6).normal(size=(8, 64, 96)), rng(7).normal(size=(8, 64, 96))
    )
    assert abs(np.mean(found.correlations)) < 0.02
    assert found.resolution is None


def test_an_image_is_wholly_like_itself() -> None:
    found = ring_correlation(specimen(), specimen())
    np.testing.assert_allclose(found.correlations, 1)
    assert found.resolution == pytest.approx(2)
    finer = ring_correlation(specimen(), specimen(), (0.1, 0.1))
    assert finer.resolution == pytest.approx(0.2)


def test_rings_are_those_of_a_loop_over_all_frequencies() -> None:
    """Each ring by itself, of pixels that are twice as high as wide."""
    height, width, pixel = 26, 40, (2.0, 1.0)
    one, other = specimen(64)[:height, :width], specimen(64)[:height, :width]
    other = other + 40 * rng(8).normal(size=other.shape)
    found = ring_correlation(one, other, pixel)
    y = np.sin(np.pi * (np.arange(height) + 1) / (height + 1)) ** 2
    x = np.sin(np.pi * (np.arange(width) + 1) / (width + 1)) ** 2
    window = np.outer(y, x)
    a, b = (
        np.fft.fft2((v - np.average(v, weights=window)) * window) for v in (one, other)
    )
    step = max(1 / 52, 1 / 40)
    shared: dict[int, float] = {}
    left: dict[int, float] = {}
    right: dict[int, float] = {}
    for i in range(height):
        for j in range(width):
            fy = min(i, height - i) / 52
            fx = min(j, width - j) / 40
            ring = round(np.hypot(fy, fx) / step)
            shared[ring] = shared.get(ring, 0) + (a[i, j] * np.conj(b[i, j])).real
            left[ring] = left.get(ring, 0) + abs(a[i, j]) ** 2
            right[ring] = right.get(ring, 0) + abs(b[i, j]) ** 2
    rings = range(1, round(0.25 / step) + 1)
    expected = [shared[r] / np.sqrt(left[r] * right[r]) for r in rings]
    np.testing.assert_allclose(found.correlations, expected)
    np.testing.assert_allclose(found.frequencies, [r * step for r in rings])


def test_the_correlation_is_that_of_signal_and_noise() -> None:
    """With as much noise as signal in a ring it is a half; all are one signal's."""
    signal = rng(9).normal(size=(16, 96, 96))
    one, other = (signal + rng(s).normal(size=signal.shape) for s in (10, 11))
    found = ring_correlation(one, other)
    assert np.mean(found.correlations[3:]) == pytest.approx(0.5, abs=0.02)


def test_the_resolution_is_where_the_line_crosses() -> None:
    found = RingCorrelation((0.1, 0.2, 0.3), (0.9, THRESHOLD + 0.1, THRESHOLD - 0.3))
    assert found.resolution == pytest.approx(1 / 0.225)
    assert RingCorrelation((), ()).resolution is None


def faces(images: list[np.ndarray], at: int) -> list[np.ndarray]:
    return [image[at - LAYERS : at + LAYERS] for image in images]


def test_white_noise_has_no_seam_and_an_offset_has_one() -> None:
    images = [rng(s).normal(size=(32, 64, 8)) for s in range(12)]
    found = seam_score(faces(images, 16))
    assert found is not None
    assert found.score == pytest.approx(1, abs=0.03)
    assert abs(found.score - 1) < 4 * found.uncertainty
    assert found.faces == 12
    for image in images:
        image[16:] += 2
    seam = seam_score(faces(images, 16))
    assert seam is not None
    # The mean absolute value of normal numbers about 2, of a variance of 2.
    across = 2 / np.sqrt(np.pi) * np.exp(-1) + 2 * special.erf(1)
    assert seam.score == pytest.approx(across / (2 / np.sqrt(np.pi)), rel=0.03)
    assert seam.score - 1 > 10 * seam.uncertainty


def test_where_all_is_flat_there_is_no_score() -> None:
    assert seam_score([]) is None
    assert seam_score([np.full((4, 5), 7)]) is None
    one = seam_score([np.array([[0.0], [1.0], [3.0], [4.0]])])
    assert one is not None
    assert (one.score, one.faces) == (2, 1)


def test_psnr_and_ssim_are_those_of_their_formulas() -> None:
    truth = specimen(40)[np.newaxis]
    image = truth + 12 * rng(12).normal(size=truth.shape)
    found = likeness(image, truth)
    extent = truth.max() - truth.min()
    expected = 20 * np.log10(extent / np.sqrt(np.mean((image - truth) ** 2)))
    assert found.psnr == pytest.approx(expected)
    uniform = {"size": 7, "mode": "reflect"}
    a, b = truth[0], image[0]
    more = 49 / 48
    va, vb = (
        more
        * (
            ndimage.uniform_filter(v * v, **uniform)
            - ndimage.uniform_filter(v, **uniform) ** 2
        )
        for v in (a, b)
    )
    ma, mb = (ndimage.uniform_filter(v, **uniform) for v in (a, b))
    cov = more * (ndimage.uniform_filter(a * b, **uniform) - ma * mb)
    c1, c2 = (0.01 * extent) ** 2, (0.03 * extent) ** 2
    ssim = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    assert found.ssim == pytest.approx(ssim[3:-3, 3:-3].mean())
    assert found.ssim == pytest.approx(structural_similarity(a, b, data_range=extent))


def test_what_is_the_reference_itself_has_no_psnr() -> None:
    found = likeness(specimen(16).astype(np.uint16), specimen(16).astype(np.uint16))
    assert (found.psnr, found.ssim) == (None, 1)
    assert likeness(np.zeros((1, 3, 9)), np.ones((1, 3, 9))).ssim is None


def test_the_fewer_faces_the_more_errors_are_chance() -> None:
    for faces in (2, 3, 12, 1000):
        expected = stats.t.ppf(0.999, faces - 1)
        assert sure_errors(faces, 0.001) == pytest.approx(expected, rel=1e-6)
    assert sure_errors(12, 0.001) == pytest.approx(4, abs=0.1)
    assert sure_errors(1, 0.001) is None


def test_workers_without_a_block_were_at_other_images_only_where_there_are_any() -> (
    None
):
    among = bottleneck([], busy=1, waiting=1, is_of_many=True)
    assert among.endswith("started again, or they were at blocks of other images.")
    alone = bottleneck([], busy=1, waiting=1)
    assert alone.endswith("for so many, or they had to be started again.")


def cost_of(folder: Path, *lines: tuple[str, int, float, float]) -> Cost:
    """That of a stage, of lines of a worker, start, and seconds of reading and more.

    A tenth of a second of each block goes to writing.
    """
    folder.mkdir(exist_ok=True)
    for number, (worker, start, reading, computing) in enumerate(lines):
        writer = LedgerWriter(folder, RUN, worker, durable=False)
        one = entry(
            BLOCKS[number],
            worker=worker,
            epoch=start,
            seconds=reading + computing + 0.1,
            read_seconds=reading,
            compute_seconds=computing,
            write_seconds=0.1,
            time=f"2026-03-01T10:{number:02}:00Z",
        )
        writer.append(one)
        writer.close()
    table = LedgerTable(folder, RUN, GRID, UNIT)
    table.refresh()
    stage = SimpleNamespace(name="denoise", grid=GRID)
    run: Any = SimpleNamespace(stages=(stage,), run_dir=RunDir(folder / "out.zarr.run"))
    found = cost(run, {"denoise": table})
    assert found is not None
    return found


def test_what_most_of_the_time_goes_to_is_told_and_what_would_help(
    tmp_path: Path,
) -> None:
    """Of 0.5 s of each of 12 blocks of two starts 0.3 s; then of 2.4 s 2 s."""
    lines = [(f"w{start}", start, 0.1, 0.3) for start in (1, 2) for _ in range(6)]
    found = cost_of(tmp_path / "quick", *lines)
    assert found.stages[0].reading == pytest.approx(12 * 0.1)
    assert found.bottleneck.startswith(
        "Computing takes 60% of the workers' time with blocks (4 s of 6 s);"
        " reading 20% and writing 20%: more workers or threads would help, and reading"
        " and writing are not the limit. Workers were without a block for"
    )
    said = cost_of(tmp_path / "slow", *[("w", 1, 2.0, 0.3)] * 10).bottleneck
    assert said.startswith("Reading takes 83% of the workers' time")
    assert "a faster disk" in said
    said = cost_of(tmp_path / "even", *[("w", 1, 0.2, 0.19)] * 10).bottleneck
    assert said.startswith("Reading takes 41% of the workers' time")
    assert "no part of it is the limit by itself." in said
