"""An image that has got longer: what of a run stands, and what is to be done again.

All that is done must be what it would be, had the run been started with the longer
image.  A block is, if it reads and writes just what it would then, none of it mirrored
behind the end that the image had, and nothing else that has to be done again.  Blocks
behind the first along t that is not so count as undone; a task whose blocks would be
others is done again from its beginning.

In the order of a start, so that whatever kills it, no block counts as done that is not:

1. Lines in the ledgers say which blocks are undone.  Until the third step the record is
   that of the shorter image: the next start finds the same extension, and does the
   rest; nobody else goes on, but with the shorter file, for which they are undone, too.
2. Tasks that are done again are forgotten, as ever (`clearing.forget`).
3. The record becomes that of the longer image, all at once.  From here on it is a run
   like others, and no worker of an earlier start writes for it any more.
4. The arrays get their length (`outputs.ome_zarr.create_array`), of which only the
   metadata are replaced.  Done blocks lie in what is there; a start that finds an array
   too short makes it longer, before its first block.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from denoise_daisy.blockwise.sources import Raw
from denoise_daisy.blockwise.stage import Stage
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.geometry import BlockGrid, Index
from denoise_daisy.images.formats import described_image
from denoise_daisy.images.image import Image
from denoise_daisy.resolved.resolve import of_image
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.ledger_lines import Entry
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.runs.changes import (
    IS_DELETED,
    differences,
    is_another,
    other_settings,
)
from denoise_daisy.runs.undo import undone

IS_LONGER = "the image is longer"

OF_THE_IMAGE = ("input.roi", "gaps")
"""Parameters that may change with an image's length, beside those of its identity."""


@dataclass(frozen=True)
class Extension:
    """What a longer image makes of a run's stages."""

    times: tuple[int, int]
    """Time points that the image had, and has."""

    kept_to: Mapping[str, int] = field(default_factory=dict)
    """Up to where along t, in voxels of its own level, what a stage did can stand."""

    again: Mapping[str, list[str]] = field(default_factory=dict)
    """Stages that are done again from their beginning, and why."""

    outdated: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    """Lines, yet to be written, that say which blocks are undone, by stage."""

    def __str__(self) -> str:
        """What is said of it at the start."""
        old, new = self.times
        count = sum(map(len, self.outdated.values()))
        others = f"; {count} blocks that were done are others now" if count else ""
        return (
            f"The image has {new} time points, and had {old}. What is done is kept"
            f"{others}; numbers of the noise that were found stay for all of it."
        )

    def changed_of(self, changed: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """The stages that are done again, of those that are not what they were."""
        return {
            name: self.again.get(name, why)
            for name, why in changed.items()
            if name not in self.kept_to or why == [IS_DELETED]
        }

    def with_ledgers(self, ledgers: Mapping[str, Ledger], last: int) -> "Extension":
        """With the lines for these ledgers, which count as if they were written.

        `last` is the latest epoch that the record knows of.
        """
        epoch = max(last, *(ledger.epoch for ledger in ledgers.values())) + 1
        outdated = {}
        for name, ledger in ledgers.items():
            if name in self.kept_to:
                outdated[name] = [
                    undone(
                        grid, _index(grid, i), epoch, "outdated", IS_LONGER, "extend"
                    )
                    for grid, flat in ledger.foresee(self.kept_to[name], epoch)
                    for i in flat
                ]
        return replace(self, outdated=outdated)


def extension_of(
    run: ResolvedRun, record: RunRecord, *, is_asked: bool
) -> Extension | None:
    """What is to be done, where a run's image has got longer; None if it is the same.

    Raises
    ------
    RefusedError
        It is another image, or has other settings; or it is longer, and that was not
        asked for.
    """
    changes = other_settings(run, record)
    if not changes:
        return None
    before, why = _shorter(run.image, record)
    if before is None:
        raise is_another(run, changes, why)
    try:
        old = of_image(run, before)
    except InputError:
        # The region is none of the shorter image.
        raise is_another(run, changes) from None
    if others := other_settings(old, record):
        raise is_another(run, others)
    if cut_otherwise := _cut_otherwise(old.denoising, run.denoising):
        raise is_another(
            run,
            cut_otherwise,
            "The image is longer, and with its new length the rest is not the same.",
        )
    times = before.shape[0], run.image.shape[0]
    if not is_asked:
        raise RefusedError(_longer(run, times))
    return _extension(old, run, times)


def _longer(run: ResolvedRun, times: tuple[int, int]) -> str:
    old, new = times
    return (
        f"The input {run.config.input.one.path!r} has {new - old} time points more than"
        f" when the run of {str(run.output)!r} was started: {old} then, {new} now, and"
        f" the first {old} are the same. Expected the image as it was; to go on with"
        " the longer one, which keeps what is done and does the rest, start with"
        " --extend."
    )


def _shorter(image: Image, record: RunRecord) -> tuple[Image | None, str]:
    """The image as it was, if all there was of it is the same; or why it is not."""
    if record.image is None:
        return None, ""
    try:
        before = described_image(record.image)
    except ValueError:
        return None, ""
    old, new = before.shape[0], image.shape[0]
    if new <= old or _facts(before) != _facts(image):
        return None, ""
    longer = f"It has {new - old} time points more than the {old} that it had"
    if record.earlier is None:
        return None, f"{longer}, but nothing tells whether these are the same."
    if image.earlier_identity(old) != record.earlier:
        return None, f"{longer}, and these are not the same any more."
    return before, ""


def _facts(image: Image) -> object:
    """What of an image does not change with its length."""
    names = [channel.name for channel in image.channels]
    shape = image.shape[1:]
    return shape, image.dtype, image.selected, names, image.scale_um, image.origin


def _extension(old: ResolvedRun, run: ResolvedRun, times: tuple[int, int]) -> Extension:
    """What stands of each stage, in their order; both runs have the config of now."""
    before = {stage.name: stage for stage in old.stages}
    kept_to: dict[str, int] = {}
    again: dict[str, list[str]] = {}
    ends: dict[str, int] = {}
    for stage in run.stages:
        kept = run.recorded.get(stage.name)
        same = before.get(stage.name)
        if kept is None or same is None:
            continue
        if not kept.is_deleted and differences(kept.parameters, same.parameters):
            # Done again anyway, and so is what reads it.
            continue
        reads_again = any(name in again for name in stage.after)
        if reads_again or _reads_along_t(stage) or _cut_otherwise(same, stage):
            again[stage.name] = [IS_LONGER]
            continue
        limits = [ends.get(name, 0) for name in stage.after]
        limits += [times[0] for s in stage.sources if isinstance(s, Raw)]
        kept_to[stage.name] = _kept_to(stage, same.grid, min(limits))
        factor, origin = stage.transform.factor[0], stage.transform.origin[0]
        ends[stage.name] = kept_to[stage.name] * factor + origin
    return Extension(times, kept_to, again)


def _reads_along_t(stage: Stage) -> bool:
    """Whether it is a function that sees other time points than that of its block."""
    sees = stage.grid.context[0] > 0 or stage.grid.block_shape[0] > 1
    is_function = stage.parameters.get("kind") == "function"
    return is_function and (sees or stage.read_write_conflict)


def _cut_otherwise(old: Stage, new: Stage) -> list[str]:
    """What other than its length has changed of a stage, its inputs left out."""

    def own(stage: Stage) -> dict[str, object]:
        values = {
            name: value
            for name, value in stage.parameters.items()
            if not name.startswith("input ") and name not in OF_THE_IMAGE
        }
        volume = stage.grid.volume
        return values | {
            "its region": (volume.begin, volume.shape[1:]),
            "its files": stage.file_shape,
        }

    before, now = own(old), own(new)
    return differences(
        json.loads(json.dumps(before, default=list)),
        json.loads(json.dumps(now, default=list)),
    )


def _kept_to(stage: Stage, old: BlockGrid, limit: int) -> int:
    """Up to where along t the blocks of a stage are what they were.

    `old` is the grid that it had; what it reads is the same up to `limit`, in voxels of
    the image.
    """
    new = stage.grid
    begin, end = int(new.volume.begin[0]), int(new.volume.end[0])
    before = replace(old, block_shape=new.block_shape)
    for axis in (1, 2, 3):
        if not _ranges_equal(before, new, axis, new.shape[axis]).all():
            return begin
    count = min(new.shape[0], before.shape[0])
    _, read_to = new.read_range(0, np.arange(count))
    ends = read_to * stage.transform.factor[0] + stage.transform.origin[0]
    same = _ranges_equal(before, new, 0, count) & (ends <= limit)
    first = count if same.all() else int(same.argmin())
    return min(begin + first * int(new.block_shape[0]), end)


def _ranges_equal(old: BlockGrid, new: BlockGrid, axis: int, count: int) -> np.ndarray:
    """Whether the first blocks along an axis read and write the same in both grids."""

    def ranges(grid: BlockGrid) -> np.ndarray:
        i = np.arange(count)
        return np.array([*grid.read_range(axis, i), *grid.write_range(axis, i)])

    equal: np.ndarray = (ranges(old) == ranges(new)).all(axis=0)
    return equal


def _index(grid: BlockGrid, flat: int) -> Index:
    return tuple(map(int, np.unravel_index(flat, grid.shape)))
