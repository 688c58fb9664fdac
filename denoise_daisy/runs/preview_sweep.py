"""Other settings that a preview tries, and which of them is best."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denoise_daisy.algorithms.residuals import ResidualFigures
from denoise_daisy.config import Config
from denoise_daisy.errors import InputError

MOST = 24
"""Combinations that are tried at most."""

SECTIONS = ("denoise", "noise")
"""Of the config, whose keys can be swept; a key without a section is of the first."""

TIE = 0.01
"""Scores that differ by no more are equal: then the faster settings are better."""


NOISE_SHARE = 0.25
"""Of the noise left of pure noise, in the score: with so much the choice comes near the
least error on simulated images, whose truth is known."""


@dataclass(frozen=True, slots=True)
class Score:
    """The faults of a denoised image, each 0 at best; means over regions and channels.

    The noise model must be known for all of them.
    """

    neighbours: float
    """Correlation of neighbours in the residual, without its sign."""
    excess: float
    """Variance of the residual beyond the noise model's, as a share of it."""
    structure: float
    """Correlation of the residual with structure, where it is positive."""
    noise_left: float
    """Standard deviation of pure noise after denoising, over that before."""

    @classmethod
    def of(
        cls, figures: Sequence[ResidualFigures], noise_left: Sequence[float]
    ) -> "Score":
        """Of all regions and channels."""
        return cls(
            _mean([abs(f.neighbours) for f in figures]),
            _mean([max(0.0, (f.variance or 0.0) - 1) for f in figures]),
            _mean([max(0.0, f.structure) for f in figures]),
            _mean(noise_left),
        )

    @property
    def total(self) -> float:
        """Their sum, with a part of the noise left."""
        faults = self.neighbours + self.excess + self.structure
        return faults + NOISE_SHARE * self.noise_left


def best_of(scores: Sequence[Score], seconds: Sequence[float]) -> int:
    """Which has the least faults; of those that have as few, the fastest."""
    least = min(score.total for score in scores)
    near = [i for i, score in enumerate(scores) if score.total <= least + TIE]
    return min(near, key=lambda i: seconds[i])


def combinations(sweep: Sequence[str]) -> list[dict[str, Any]]:
    """All combinations of values, by dotted key, of words like ``pvalue=0.05,0.1``.

    Raises
    ------
    InputError
        They can't be read, or are too many.
    """
    values: dict[str, list[Any]] = {}
    for text in sweep:
        key, values_of_key = _swept(text)
        if key in values:
            raise InputError(
                f"--sweep names {key!r} twice. Expected all of its values in one:"
                f" --sweep {text.partition('=')[0]}=VALUE,VALUE."
            )
        values[key] = values_of_key
    count = math.prod(map(len, values.values()))
    if count > MOST:
        numbers = " x ".join(str(len(v)) for v in values.values())
        raise InputError(
            f"--sweep asks for {numbers} = {count} combinations. Expected {MOST} at"
            " most: sweep fewer keys or values at once, the one that matters most"
            " first."
        )
    if not values:
        return []
    return [
        dict(zip(values, row, strict=True))
        for row in itertools.product(*values.values())
    ]


def _swept(text: str) -> tuple[str, list[Any]]:
    key, equals, rest = text.partition("=")
    key = key.strip()
    if not (key and equals and rest.strip()):
        raise InputError(
            f"--sweep {text!r} can't be used. Expected a key of the section denoise or"
            " noise and its values, such as pvalue=0.05,0.1 or patch.z=0,1."
        )
    if key.partition(".")[0] not in SECTIONS:
        key = f"{SECTIONS[0]}.{key}"
    found = list(_values(rest))
    return key, [v for i, v in enumerate(found) if v not in found[:i]]


def _values(text: str) -> Iterator[Any]:
    """JSON, separated by commas; words need no quotes."""
    try:
        yield from json.loads(f"[{text}]")
    except ValueError:
        for word in map(str.strip, text.split(",")):
            try:
                yield json.loads(word)
            except ValueError:
                yield word


def changed(config: Config, settings: Mapping[str, Any], name: str) -> Config:
    """The config with other values at dotted keys; `name` is the file's.

    Raises
    ------
    InputError
        It is none, in the words of the config itself.
    """
    whole = config.model_dump(mode="json")
    values = config.model_dump(mode="json", exclude_unset=True)
    for key, value in settings.items():
        *path, last = key.split(".")
        there: dict[str, Any] = values
        known: Any = whole
        for part in path:
            known = known.get(part) if isinstance(known, dict) else None
            if not isinstance(there.get(part), dict):
                there[part] = _kept(known, is_section=part in SECTIONS)
            there = there[part]
        there[last] = value
    said = " ".join(f"--sweep {text}" for text in in_words(settings))
    data = json.dumps(values).encode()
    return Config.parse(data, name=f"{name} with {said}", folder=Path("/"))


def _kept(known: Any, *, is_section: bool) -> dict[str, Any]:
    """What stays of a default where one of its parts is swept.

    Of a section the kind, for others may mean something to that kind only; of the radii
    of a patch all the others.
    """
    if not isinstance(known, dict):
        return {}
    return {k: v for k, v in known.items() if k == "kind" or not is_section}


def in_words(settings: Mapping[str, Any]) -> list[str]:
    """Each setting as it could be swept."""
    return [
        f"{key.removeprefix('denoise.')}="
        + (value if isinstance(value, str) else json.dumps(value))
        for key, value in settings.items()
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
