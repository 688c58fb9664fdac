"""The volumes whose noise is known have that noise, and are what their kind says."""

import numpy as np
import pytest

from harness.noise_scenes import KINDS, Scene, judgement, scene, tuning


@pytest.mark.parametrize("kind", KINDS)
def test_the_noise_of_a_scene_is_what_it_says(kind: str) -> None:
    """In up to ten parts by level, where neither end of the range is near."""
    made = scene(kind, 8)
    for channel, (gain, offset) in enumerate(
        zip(made.gains, made.offsets, strict=True)
    ):
        clean = made.clean[:, channel].astype(float).ravel()
        noisy = made.noisy[:, channel].astype(float).ravel()
        far = _far_from_clipping(made, channel, clean)
        order = np.flatnonzero(far)[np.argsort(clean[far])]
        assert order.size > 10_000
        for part in np.array_split(order, min(10, order.size // 10_000)):
            found = np.mean((noisy[part] - clean[part]) ** 2)
            assert found == pytest.approx(gain * clean[part].mean() + offset, rel=0.06)


def _far_from_clipping(made: Scene, channel: int, clean: np.ndarray) -> np.ndarray:
    if "counts" in made.kind or made.kind == "dim nuclei":
        return np.ones(clean.shape, bool)
    noise = 4 * np.sqrt(made.gains[channel] * clean + made.offsets[channel])
    highest = made.noisy[:, channel].max() if made.kind == "saturated" else np.inf
    return np.asarray((clean - noise > 0) & (clean + noise < highest))


def test_a_scene_is_the_same_each_time_and_another_for_another_seed() -> None:
    first, again, other = (scene("movie", seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.noisy, again.noisy)
    assert first.gains != other.gains


def test_clipped_black_and_a_saturated_top_are_there() -> None:
    for kind in ("clipped 8 bit", "clipped 16 bit"):
        assert (scene(kind, 1).noisy == 0).mean() > 0.02
    bright = scene("saturated", 1).noisy
    assert (bright == bright.max()).mean() > 0.001


def test_forty_volumes_of_all_kinds_judge_and_none_of_them_is_tuned_on() -> None:
    judges, tuned = judgement(), tuning()
    assert len(set(judges)) == 40
    assert {kind for kind, _ in judges} == {kind for kind, _ in tuned} == set(KINDS)
    assert not {seed for _, seed in judges} & {seed for _, seed in tuned}
