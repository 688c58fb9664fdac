"""Voxel layers at an image's far ends that lie in no patch of ndsafir."""

from collections.abc import Iterator, Sequence

from funlib.geometry import Coordinate

from denoise_daisy.geometry import AXES, largest_radius


def uncovered_layers(patch: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Voxel layers at an image's far ends that lie in no patch, by ``(t, z, y, x)``.

    ndsafir returns such voxels as they were put in.  `patch` are the radii p, `shape`
    the n voxels of the whole image, both along ``(t, z, y, x)``.  Patches are centred
    from p on, up to n - p - 1, in steps of p + 1 along y and x, of p + 1 along z if
    n > 4 p + 1 (else 1), and of p (at least 1) along t; what the last one does not
    reach is left over::

        p = 1, n = 8     | . 1 . 3 . 5 . - |     centres 1, 3, 5; layer 7 in no patch

    But see `far_end_strips`.  Measured on ndsafir 2026.1014a0 and tested against the
    installed version.
    """
    strips = far_end_strips(patch, shape)
    if any(strip >= n for strip, n in zip(strips, shape, strict=True)):
        return (0,) * len(AXES)
    radii = _radii_used(patch, shape)
    t, z, y, x = radii
    steps = (max(1, t), z + 1 if shape[1] > 4 * z + 1 else 1, y + 1, x + 1)
    axes = zip(strips, shape, radii, steps, strict=True)
    return tuple(0 if strip else (n - 2 * p - 1) % step for strip, n, p, step in axes)


def mirrored_layers(patch: Sequence[int], shape: Sequence[int]) -> Coordinate:
    """The fewest layers behind each far end with which every voxel lies in a patch.

    `patch` are the radii, `shape` is the image's, both along ``(t, z, y, x)``.  The
    axes do not matter to each other: one with a strip at its far end has no layer left
    over, and so is never longer than the image.
    """
    padded = list(shape)
    for axis in range(len(AXES)):
        while uncovered_layers(patch, padded)[axis]:
            padded[axis] += 1
    return Coordinate(padded) - Coordinate(shape)


def layer_warnings(
    patch: Sequence[int],
    shape: Sequence[int],
    end: Sequence[int],
    names: Sequence[str] = AXES,
) -> Iterator[str]:
    """Warnings of layers in no patch, of those that are written.

    `patch` are the radii, `shape` is the whole image's, `end` that of the region to be
    written, in voxels of ``(t, z, y, x)``, which the image has under these `names`.
    """
    mostly = "mostly " if any(far_end_strips(patch, shape)) else ""
    for i, layers in enumerate(uncovered_layers(patch, shape)):
        axis, name, n, radius = AXES[i], names[i], shape[i], patch[i]
        if end[i] <= n - layers:
            continue
        is_one = layers == 1
        which = f"layer {n - 1}" if is_one else f"layers {n - layers} to {n - 1}"
        fitting = [
            p
            for p in range(min(radius + 1, largest_radius(axis, n) or 0) + 1)
            if not uncovered_layers([*patch[:i], p, *patch[i + 1 :]], shape)[i]
        ]
        yield (
            f"Along {name}, {which} of 0 to {n - 1} {'lies' if is_one else 'lie'} in no"
            f" patch of ndsafir (denoise.patch.{axis} is {radius}) and"
            f" {'stays' if is_one else 'stay'} {mostly}as noisy as"
            f" {'it was' if is_one else 'they were'}. Set denoise.patch.{axis} to"
            f" {' or '.join(map(str, fitting[-2:]))}, or set denoise.cover to"
            f' "all", or leave {"it" if is_one else "them"} out: the region'
            f" input.roi.{name} may end at {n - layers}."
        )


def far_end_strips(patch: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Voxels at the far end of ``(t, z, y, x)`` that ndsafir covers without gaps.

    Where p > 1 along z, y or x there are patches at the very end of that axis, at
    every position of all other axes.  With p > 1 along t those of z are there whatever
    the radius along z (they seem to be meant for t).
    """
    t, z, y, x = _radii_used(patch, shape)
    return (
        0,
        2 * z + 1 if z > 1 or t > 1 else 0,
        *(2 * p + 1 if p > 1 else 0 for p in (y, x)),
    )


def _radii_used(patch: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Patch radii along ``(t, z, y, x)``; 0 where the image has one voxel only."""
    return tuple(p if n > 1 else 0 for p, n in zip(patch, shape, strict=True))
