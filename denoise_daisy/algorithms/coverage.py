"""Areas that rectangles cover together."""

import numpy as np


def covered_areas(
    groups: np.ndarray, begins: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    """Area of the union of the rectangles of each group, in O(n log n) for n of them.

    `groups` has a number from 0 for each rectangle, of shape (n,), none left out;
    `begins` and `ends` are half-open along two axes, of shape (n, 2).
    """
    # Bands between edges along the first axis are the leaves of a binary tree.  A
    # rectangle belongs to the highest nodes that it spans.  Each level covers what its
    # rectangles span, and hands down to its halves how much is left bare between the
    # edges, along the second axis, of those that span these halves only in part.
    edges, bounds, top, bottom = _ranked(groups, begins[:, 0], ends[:, 0])
    across, _, left, right = _ranked(groups, begins[:, 1], ends[:, 1])
    first, bands = bounds[:-1], np.diff(bounds) - 1
    bare = np.diff(across, append=across[-1])
    node = np.zeros_like(groups)
    live = np.stack(
        [groups, node, top - first[groups], bottom - first[groups], left, right]
    ).astype(np.int32)
    span = 1 << int(bands.max() - 1).bit_length()
    areas = np.zeros(len(bands))
    while live.size:
        group, node, top, bottom, left, right = live
        end = np.minimum(node + span, bands[group])
        whole = (top <= node) & (bottom >= end)
        depth = np.bincount(left[whole], minlength=len(bare))
        depth -= np.bincount(right[whole], minlength=len(bare))
        covered = np.cumsum(depth) > 0
        owner, height = np.zeros((2, len(bare)), np.int64)
        for edge in (left, right):
            owner[edge] = group
            height[edge] = edges[first[group] + end] - edges[first[group] + node]
        area = height[covered].astype(float) * bare[covered]
        areas += np.bincount(owner[covered], area, len(areas))
        bare[covered] = 0
        span //= 2
        live, bare = _halved(live[:, ~whole], bare, span)
    return areas


def _ranked(
    groups: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The distinct edges, group by group in ascending order.

    Also where each group begins among them, and the last one ends; and which of them
    are the low and the high ones.
    """
    values = np.concatenate([low, high]).astype(np.int64)
    owners = np.concatenate([groups, groups])
    order = np.lexsort((values, owners))
    values, owners = values[order], owners[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (values[1:] != values[:-1]) | (owners[1:] != owners[:-1])
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.cumsum(fresh) - 1
    owners = owners[fresh]
    bounds = np.searchsorted(owners, np.arange(owners[-1] + 2))
    return values[fresh], bounds, ranks[: len(low)], ranks[len(low) :]


def _halved(
    live: np.ndarray, bare: np.ndarray, span: int
) -> tuple[np.ndarray, np.ndarray]:
    """What goes on in the lower and upper halves of the nodes, with their own edges."""
    _, node, top, bottom, _, _ = live
    lower = live[:, top < node + span]
    upper = live[:, bottom > node + span]
    upper[1] += span
    upper[4:] += len(bare)
    live = np.concatenate([lower, upper], axis=1)
    used = np.zeros(2 * len(bare), bool)
    used[live[4:]] = True
    live[4:] = (np.cumsum(used) - 1)[live[4:]]
    before = np.cumsum(bare) - bare
    kept = before[np.flatnonzero(used) % len(bare)]
    return live, np.diff(kept, append=kept[-1:])
