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

MOST_BELOW = 0.1
"""Share of voxels below the noise model's floor."""

LEAST_NOISE, MOST_NOISE = 0.7, 1.4
"""Standard deviation that the noise numbers expect, over the one that was measured."""

MOST_SEAM, SURE = 1.1, 4
"""Seam score, by so many standard errors at least."""
