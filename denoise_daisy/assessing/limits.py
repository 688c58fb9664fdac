"""Figures of a denoised image beyond which a person should look."""

MOST_NEIGHBOURS = 0.15
"""Correlation of neighbours in the residual, whatever its sign."""

MOST_STRUCTURE = 0.15
"""Correlation of the residual's size with structure."""

NOTHING_REMOVED, LEAST_VARIANCE, MOST_VARIANCE = 0.05, 0.5, 1.15
"""Variance of the residual, over the noise's."""

MOST_LEFT = 0.3
"""Of the standard deviation of pure noise."""

MOST_CHANGE = 0.01
"""Of the mean grey level."""

MOST_SHIFT = 0.05
"""The same over the standard deviation of the noise: where the mean is near 0 a share
of it tells nothing."""

MOST_BELOW = 0.1
"""Share of voxels below the noise model's floor."""

LEAST_NOISE, MOST_NOISE = 0.7, 1.4
"""Standard deviation that the noise numbers expect, over the one that was measured."""

MOST_CLIPPED = 0.001
"""Share of the voxels."""

MOST_SEAM, CHANCE = 1.1, 0.001
"""Seam score, and how likely it may be without any seam: of 12 faces that is 4 standard
errors."""

SURE = 4
"""Standard errors."""


def is_shifted(change: float, shift: float, error: float) -> bool:
    """Whether the mean grey level is another, beyond what chance makes of none.

    `change` is a share of it; `shift`, and its standard error, are of the noise's
    standard deviation.
    """
    is_sure = abs(shift) > max(MOST_SHIFT, SURE * error)
    return is_sure and abs(change) > MOST_CHANGE
