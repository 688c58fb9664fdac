"""Calibrations of the noise, judged by volumes whose noise is known."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_tools import print_table

from denoise_daisy.algorithms.noise_fit import fit_noise
from denoise_daisy.denoisers.ndsafir_engine import load_ndsafir

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from harness.noise_scenes import Scene, judgement, scene, tuning

LEVELS = (0.02, 0.5, 0.9, 0.99)
"""Quantiles of the clean image at which standard deviations are compared."""

SD_OFF, GAIN_OFF, CLIPPED = 0.15, 0.2, 0.005
"""More is counted; voxels are not clipped where the true noise has more clipped."""

PASSED = 0.9
"""Of the volumes, that must be right in each respect."""

SETS = {"tune": tuning, "judge": judgement}


@dataclass(frozen=True, slots=True)
class Found:
    """What a method says of a channel."""

    gain: float
    offset: float
    interval: tuple[float, float] | None = None
    """95 %, of the gain."""
    words: str = ""
    """What else it says."""

    @property
    def floor(self) -> float:
        """Grey level below which ndsafir takes all voxels for one value."""
        return -self.offset / self.gain - 3 / 8 * self.gain


def fit(planes: Sequence[np.ndarray]) -> Found:
    """The method of this program."""
    found = fit_noise(planes, [None] * len(planes))
    words = found.verdict + (", gaussian" if found.is_gaussian else "")
    return Found(found.gain, found.offset, found.gain_interval, words)


def ndsafir_volume(planes: Sequence[np.ndarray]) -> Found:
    """ndsafir's, of all planes at once."""
    return _by_ndsafir(np.stack(planes), "ZYX")


def ndsafir_planes(planes: Sequence[np.ndarray]) -> Found:
    """ndsafir's, plane by plane: the medians."""
    found = [_by_ndsafir(plane, "YX") for plane in planes]
    gain, offset = np.median([(f.gain, f.offset) for f in found], axis=0)
    return Found(float(gain), float(offset))


def _by_ndsafir(image: np.ndarray, axes: str) -> Found:
    gains, offsets = load_ndsafir().calibrate_poisson_gaussian(image, axes)
    return Found(float(gains[0]), float(offsets[0]))


METHODS: dict[str, Callable[[Sequence[np.ndarray]], Found]] = {
    "robust": fit,
    "ndsafir, z y x": ndsafir_volume,
    "ndsafir, y x": ndsafir_planes,
}


def run(seeds: str, methods: Iterable[str] = tuple(METHODS)) -> dict[str, Any]:
    """Judge all methods by the volumes of a set, and print what was wrong how often.

    What is found has ``failed``, a text, where our own is wrong too often.
    """
    volumes = SETS[seeds]()
    judged: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
    for kind, seed in volumes:
        volume = scene(kind, seed)
        for name, rows in judged.items():
            rows.append(_judge(volume, METHODS[name]))
    for name, rows in judged.items():
        seconds = sum(row["seconds"] for row in rows)
        print(f"\n{name}, {seconds / len(rows):.2f} s a volume")
        _print(rows)
    failed = _failed(judged["robust"])
    return {"volumes": judged} | ({"failed": failed} if failed else {})


def _judge(volume: Scene, method: Callable[[Sequence[np.ndarray]], Found]) -> Any:
    """What is wrong with the worst of a volume's channels."""
    started = time.perf_counter()
    found: list[Found] = []
    refused = ""
    for channel in range(len(volume.gains)):
        try:
            found.append(method(volume.planes(channel)))
        except ValueError as error:
            refused = str(error)
    seconds = time.perf_counter() - started
    row = {"kind": volume.kind, "seed": volume.seed, "seconds": seconds}
    channels = [_compare(volume, c, f) for c, f in enumerate(found) if f.gain > 0]
    if len(channels) < len(volume.gains):
        row["refused"] = refused or f"a gain of {min(f.gain for f in found):.3g}"
    return row | {"channels": channels}


def _compare(volume: Scene, channel: int, found: Found) -> dict[str, Any]:
    """A channel's numbers beside the true ones."""
    clean, noisy = volume.clean[:, channel], volume.noisy[:, channel]
    gain, offset = volume.gains[channel], volume.offsets[channel]
    levels = [float(level) for level in np.quantile(clean, LEVELS)]
    sds = [np.sqrt(max(0.0, found.gain * v + found.offset)) for v in levels]
    true = [volume.sd(channel, level) for level in levels]
    # Where the variance does not grow, it must not grow by much in the fit.
    growth = found.gain * np.ptp(levels) / true[1] ** 2
    gain_off = growth if gain == 0 else abs(found.gain / gain - 1)
    true_floor = -offset / gain - 3 / 8 * gain if gain else -np.inf
    clipped = float(np.mean(noisy < found.floor))
    interval = found.interval
    return {
        "gain": found.gain,
        "offset": found.offset,
        "interval": interval,
        "words": found.words,
        "true gain": gain,
        "true offset": offset,
        "sd errors": [float(s / t - 1) for s, t in zip(sds, true, strict=True)],
        "gain off": bool(gain_off > GAIN_OFF),
        "in interval": bool(interval and interval[0] <= gain <= interval[1]),
        "clipped": clipped,
        "clips": clipped > max(CLIPPED, float(np.mean(noisy < true_floor))),
    }


def _wrong(row: dict[str, Any]) -> list[bool]:
    """By column of the table: refused, sd at each level, gain, told so, clipped."""
    channels = row["channels"]
    sd = [
        any(abs(c["sd errors"][i]) > SD_OFF for c in channels)
        for i in range(len(LEVELS))
    ]
    off = [c for c in channels if c["gain off"]]
    told = bool(off) and all(c["in interval"] for c in off)
    if "refused" in row:
        return [True, *[True] * len(LEVELS), True, False, True]
    return [False, *sd, bool(off), told, any(c["clips"] for c in channels)]


def _failed(rows: Sequence[dict[str, Any]]) -> str:
    wrong = np.array([_wrong(row) for row in rows])
    allowed = round((1 - PASSED) * len(rows))
    _, *sds, gain, told, clips = wrong.sum(axis=0)
    if max(*sds, gain - told) <= allowed and not clips:
        return ""
    return (
        f"The calibration is wrong in more than {allowed} of {len(rows)} volumes: sd"
        f" {' / '.join(map(str, sds))}, gain {gain - told}; it clips in {clips}."
    )


def _print(rows: Sequence[dict[str, Any]]) -> None:
    header = (
        *("volumes", "number", "refused"),
        *(f"sd {100 * level:.0f} %" for level in LEVELS),
        *("gain", "of these told", "clipped"),
    )
    kinds = dict.fromkeys(row["kind"] for row in rows)
    groups = {kind: [row for row in rows if row["kind"] == kind] for kind in kinds}
    table = [
        (name, str(len(group)), *(str(n) for n in _count(group)))
        for name, group in (groups | {"all": rows}).items()
    ]
    print_table(header, table)


def _count(rows: Iterable[dict[str, Any]]) -> list[int]:
    return [sum(column) for column in zip(*map(_wrong, rows), strict=True)]
