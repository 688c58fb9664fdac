"""Whether the borders of blocks show in an image; no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

LAYERS = 2
"""On either side of a face, that are looked at."""


@dataclass(frozen=True, slots=True)
class SeamScore:
    """The mean absolute step across faces, over that of steps one voxel inside."""

    score: float
    """1 where faces are like any other place."""
    uncertainty: float
    """Its standard error, by how much the faces differ from each other."""
    faces: int
    """That were looked at."""


def seam_score(slabs: Iterable[np.ndarray]) -> SeamScore | None:
    """That of some faces; None where there is none, or all is flat.

    Each slab is `LAYERS` layers before a face and as many behind it, along its first
    axis; what lies along the others is any part of the face.
    """
    across, inside = [], []
    for slab in slabs:
        steps = np.abs(np.diff(slab.astype(np.float64), axis=0))
        means = steps.reshape(len(steps), -1).mean(axis=1)
        across.append(means[LAYERS - 1])
        inside.append((means[LAYERS - 2] + means[LAYERS]) / 2)
    a, b = np.array(across), np.array(inside)
    if not a.size or not b.any():
        return None
    score = float(a.mean() / b.mean())
    # Of a ratio of means, by its linearisation.
    rest = (a - score * b) / b.mean()
    spread = float(rest.std(ddof=1)) if a.size > 1 else abs(score - 1)
    return SeamScore(score, spread / np.sqrt(a.size), a.size)


def sure_errors(faces: int, chance: float) -> float | None:
    """Standard errors beyond which a score lies by no more than that chance.

    Of few faces the error itself is not well known: it is the quantile of Student's t.
    None of a single one.
    """
    return float(stdtrit(faces - 1, 1 - chance)) if faces > 1 else None
