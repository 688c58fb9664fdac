"""Whether borders of blocks show, where the blocks of a run really lie."""

from collections.abc import Iterator

import numpy as np
from funlib.geometry import Roi

from denoise_daisy.algorithms.seams import LAYERS, SeamScore, seam_score
from denoise_daisy.assessing.allowance import Allowance
from denoise_daisy.assessing.on_disk import OnDisk, UnreadableError
from denoise_daisy.assessing.values import Of, Seam
from denoise_daisy.geometry import AXES, BlockGrid, Index

FACES = 12
"""That are looked at along each axis, spread over all."""

SHARE = 0.25
"""Of the time that is left, for all of them."""

EXTENT = (1, 4, 96, 96)
"""Voxels of a face that are looked at, by axis, in its middle."""


def seams(disk: OnDisk, allowed: Allowance) -> list[Seam]:
    """Scores of each axis along which there are faces, of what is worst of channels."""
    found: list[Seam] = []
    until = allowed.spent + SHARE * allowed.left
    for axis, name in enumerate(AXES):
        slabs: dict[tuple[Of, int], list[np.ndarray]] = {}
        rois = list(_faces(disk, axis))
        for roi in rois:
            if allowed.spent > until:
                allowed.leave_out(f"Some block faces along {name}", "no time was left")
                break
            _read(disk, roi, axis, slabs, allowed)
        for of in ("denoised", "residual"):
            scores = [seam_score(s) for (what, _), s in slabs.items() if what == of]
            known = [score for score in scores if score is not None]
            if known:
                found.append(_seam(name, of, max(known, key=_sureness)))
    if not found:
        allowed.leave_out("Seams between blocks", "no two blocks touch that are done")
    return found


def _seam(axis: str, of: Of, score: SeamScore) -> Seam:
    return Seam(
        axis=axis,
        of=of,
        score=score.score,
        uncertainty=score.uncertainty,
        faces=score.faces,
    )


def _sureness(score: SeamScore) -> float:
    return (score.score - 1) / max(score.uncertainty, 1e-12)


def _read(
    disk: OnDisk,
    roi: Roi,
    axis: int,
    slabs: dict[tuple[Of, int], list[np.ndarray]],
    allowed: Allowance,
) -> None:
    """Add what lies around a face, of each channel."""
    try:
        denoised = disk.denoised(roi)
    except UnreadableError as error:
        allowed.leave_out("A face between blocks", str(error))
        return
    arrays: dict[Of, np.ndarray] = {"denoised": denoised}
    if not disk.input_problem:
        try:
            arrays["residual"] = disk.raw(roi).astype(np.float64) - denoised
        except UnreadableError as error:
            allowed.leave_out("The raw image at a face", str(error))
    for of, voxels in arrays.items():
        for c in range(voxels.shape[1]):
            slab = np.moveaxis(voxels[:, c], axis, 0)
            if np.isfinite(slab).all():
                slabs.setdefault((of, c), []).append(slab)


def _faces(disk: OnDisk, axis: int) -> Iterator[Roi]:
    """Some faces between blocks that are done, with two layers on either side."""
    found = [
        (grid, flat[_has_face(grid, flat, axis)])
        for grid, flat, _ in disk.ledger.done_blocks()
    ]
    ends = np.cumsum([len(flat) for _, flat in found])
    count = int(ends[-1]) if len(ends) else 0
    for i in np.linspace(0, count - 1, min(FACES, count)).astype(int):
        n = int(np.searchsorted(ends, i, "right"))
        grid, flat = found[n]
        block = np.unravel_index(flat[i - ends[n]], grid.shape)
        roi = _around(grid, tuple(map(int, block)), axis)
        if disk.is_done(roi):
            yield roi


def _has_face(grid: BlockGrid, flat: np.ndarray, axis: int) -> np.ndarray:
    """Which blocks have another before them, and are thick enough to be looked into."""
    position = np.unravel_index(flat, grid.shape)[axis]
    begin, end = grid.write_range(axis, position)
    is_thick = end - begin >= LAYERS
    found: np.ndarray = is_thick & (begin - LAYERS >= grid.volume.begin[axis])
    return found


def _around(grid: BlockGrid, index: Index, axis: int) -> Roi:
    """What lies around the face before a block."""
    block = grid.write_roi(index)
    begin, shape = [], []
    for a, (first, extent) in enumerate(zip(block.begin, block.shape, strict=True)):
        if a == axis:
            begin.append(first - LAYERS)
            shape.append(2 * LAYERS)
        else:
            length = min(EXTENT[a], extent)
            begin.append(first + (extent - length) // 2)
            shape.append(length)
    return Roi(begin, shape)
