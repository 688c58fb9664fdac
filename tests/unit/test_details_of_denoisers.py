"""How long ndsafir takes on several threads; in which plane places are compared."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from funlib.geometry import Coordinate
from unit.test_noise_samples import sampled

from denoise_daisy.denoisers import base, ndsafir
from denoise_daisy.denoisers.ndsafir import Ndsafir, NdsafirDenoiser
from denoise_daisy.denoisers.noise import GaussianNoise, PoissonGaussian
from denoise_daisy.geometry import Stencil, largest_radius, neighbourhood


def test_four_threads_take_a_quarter_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ndsafir, "timed", lambda *_: 2.0)
    denoiser = NdsafirDenoiser(
        Ndsafir(engine="ndsafir"), "gaussian", None, threads=4, channels=1
    )
    assert denoiser.seconds_per_step(channels=1) == 0.5


def test_places_are_compared_in_the_middle_of_their_depth() -> None:
    """In the first plane the darkest place of the middle is the brightest."""
    image = np.zeros((1, 1, 16, 160, 480), np.uint16)
    image[..., :160], image[..., 160:320], image[..., 320:] = 3, 2, 1
    first = image[0, 0, 0]
    first[:, :160], first[:, 160:320], first[:, 320:] = 10, 20, 30
    assert sampled(image).tolist() == [2, 3, 10, 20]


def test_noise_numbers_of_another_model_are_not_taken_over() -> None:
    """After a change of noise.kind the noise is calibrated again."""
    found = {"gains": [4.0], "offsets": [-300.0], "noise_std": None}
    for noise, is_known in (
        (PoissonGaussian(), True),
        (GaussianNoise(kind="gaussian"), False),
    ):
        denoiser = Ndsafir().denoiser(noise=noise, channels=1, threads=1, probed=found)
        assert denoiser.needs_probing is not is_known


def test_an_axis_of_one_voxel_takes_every_radius_along_t_and_z_alone() -> None:
    assert [largest_radius(axis, 1) for axis in "tzyx"] == [None, None, 0, 0]


@pytest.mark.parametrize("loads_when_used", [False, True])
def test_the_time_to_load_an_engine_is_not_counted(
    loads_when_used: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hundred seconds, at the latest when it is used first."""
    clock: Any = SimpleNamespace(now=0.0)
    clock.process_time = lambda: clock.now
    monkeypatch.setattr(base, "time", clock)
    loaded: list[str] = []

    def load(_: object) -> None:
        if not loaded:
            loaded.append("engine")
            clock.now += 100.0

    sizes: list[int] = []

    def denoise(image: np.ndarray) -> None:
        load(None)
        sizes.append(image.size)
        clock.now += 2.0 * image.size

    stencil = neighbourhood(Coordinate(0, 1, 1, 1))
    denoiser: Any = SimpleNamespace(stencil=stencil, denoise=denoise)
    denoiser.load = (lambda _: None) if loads_when_used else load
    denoiser.steps = lambda shape, channels: math.prod(shape) * channels * 5
    assert base.timed(denoiser, channels=3) == 2.0 / 5
    # The second image takes long, and no larger one is tried: 4 x 4 x 4, in 3 channels.
    assert sizes == [3, 4**3 * 3]


def test_images_that_take_no_time_grow_until_some_can_be_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock: Any = SimpleNamespace(now=0.0)
    clock.process_time = lambda: clock.now
    monkeypatch.setattr(base, "time", clock)
    shapes: list[tuple[int, ...]] = []

    def denoise(image: np.ndarray) -> None:
        shapes.append(image.shape)
        clock.now += 0.19 if len(shapes) < 5 else 7.0

    stencil = Stencil(*map(Coordinate, ((1,) * 4, (0,) * 4, (1, 2, 5, 60))))
    denoiser: Any = SimpleNamespace(stencil=stencil, load=lambda _: 0, denoise=denoise)
    denoiser.steps = lambda shape, channels: shape[2]
    assert base.timed(denoiser, channels=1) == pytest.approx(7.0 / 144)
    assert [shape[1:] for shape in shapes] == [
        (1, 2, 5, 60),
        (1, 4, 5, 60),
        (1, 8, 12, 60),
        (1, 8, 48, 60),
        (1, 8, 144, 144),
    ]
