"""How much ndsafir has to compute, which its time is proportional to."""

import math
from collections.abc import Sequence

from denoise_daisy.geometry import AXES


def elements_compared(
    patch: Sequence[int], active_dimensions: str, max_iter: int, shape: Sequence[int]
) -> float:
    """Elements of patches, times the places that each patch is compared with.

    `patch` are the radii, `shape` is the array's, both along ``(t, z, y, x)``; of one
    channel.  Patches lie on a grid, and at the far ends of axes side by side; the
    searched windows grow with each iteration, as far as the array goes.
    """
    radii = [
        0 if axis in "tz" and n == 1 else p
        for axis, p, n in zip(AXES, patch, shape, strict=True)
    ]
    places = [max(1, n - 2 * p) for p, n in zip(radii, shape, strict=True)]
    t, z, y, x = radii
    strides = (max(1, t), z + 1 if shape[1] > 4 * z + 1 else 1, y + 1, x + 1)
    patches = math.prod(
        math.ceil(n / stride) for n, stride in zip(places, strides, strict=True)
    )
    # Those of z are there once more where t has patches.
    ends = (t > 1, z > 1, y > 1, x > 1)
    for axis, has_end in zip((1, 1, 2, 3), ends, strict=True):
        if has_end:
            patches += math.prod(places) // places[axis]
    compared = 0
    for k in range(max_iter):
        window = (max(0, k - 2), k, 2**k, 2**k)
        compared += math.prod(
            min(2 * reach + 1, n)
            for axis, reach, n in zip(AXES, window, places, strict=True)
            if axis in "yx" or axis in active_dimensions
        )
    return float(math.prod(2 * p + 1 for p in radii) * patches * compared)
