"""`export`: an output, or a part of it, in another format."""

import glob
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from denoise_daisy.amounts import size
from denoise_daisy.errors import BlocksFailed, InputError
from denoise_daisy.exporting.choice import Choice, Part, choose
from denoise_daisy.exporting.ome_tiff import Described, write_ome_tiff
from denoise_daisy.exporting.pages import pages
from denoise_daisy.exporting.picture import Picture, check_written, picture, shape_of
from denoise_daisy.exporting.target import check_room, check_target, written_aside
from denoise_daisy.exporting.zipped import files_in, write_zip
from denoise_daisy.outputs.ome_groups import LABELS, listed_labels
from denoise_daisy.progress import listing
from denoise_daisy.resolved.recorded import recorded_run, run_dir_of
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.ledger import Ledger
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.runs.reading_back import damages_of
from denoise_daisy.tasks.places import stem_of
from denoise_daisy.wording import meant

TIFF = (".ome.tif", ".ome.tiff")

ZIPPED = ".ozx"

ZIPPED_VERSION = "0.5"
"""Of OME-NGFF; an earlier one has no such file."""

SAMPLED = 1000
"""Files whose size tells that of all."""


def export(
    output: Path,
    target: Path,
    *,
    image: str = "",
    roi: Sequence[str] = (),
    channels: str | None = None,
    level: int = 0,
    overwrite: bool = False,
) -> str:
    """Write an output, or the image or labels of a task, to a file; what was written.

    `roi` are ranges such as ``t=0:4,z=3`` and `channels` names or numbers such as
    ``GFP,1``; they count from the first voxel of the level that is exported.

    Raises
    ------
    InputError, RefusedError, RunStopped, BlocksFailed
        It can't be; nothing is left at `target`, or what was there.
    """
    name = target.name.lower()
    if not name.endswith((*TIFF, ZIPPED)):
        raise InputError(
            f"{str(target)!r} is none of the formats that are exported to. Expected a"
            " name that ends in .ome.tif (OME-TIFF) or .ozx (OME-Zarr in one file)."
        )
    run_dir = run_dir_of(output)
    run = None
    if run_dir.run_file.is_file():
        run, _ = recorded_run(RunRecord.of(run_dir), run_dir)
    found = picture(_group(output, image, run), run)
    check_target(target, found.path, _sources(found, run), overwrite=overwrite)
    if name.endswith(ZIPPED):
        if roi or channels is not None or level:
            raise InputError(
                "An .ozx holds a whole OME-Zarr, file by file: --roi, --channels and"
                " --level can't be used with it. Leave them out, or export an .ome.tif."
            )
        return _export_zip(found, run, target)
    return _export_tiff(
        choose(found, roi=roi, channels=channels, level=level), run, target
    )


def _sources(found: Picture, run: ResolvedRun | None) -> list[str]:
    """Where the input of the run is, by its record and by what the output says."""
    own: Any = found.own
    noted = own.get("input") if isinstance(own, dict) else None
    told = [noted.get("path")] if isinstance(noted, dict) else []
    known = [run.config.input.one.path] if run else []
    return [path for path in (*known, *told) if isinstance(path, str)]


def _group(output: Path, image: str, run: ResolvedRun | None) -> Path:
    """The group of the output's own image, or of that name."""
    if not image:
        return output
    stem = stem_of(output)
    groups = {name: output / LABELS / name for name in listed_labels(output)}
    if run:
        made = {stage.array.path.parent for stage in run.stages if stage.array}
        beside = [path for path in made if path.parent != output / LABELS]
    else:
        beside = list(output.parent.glob(f"{glob.escape(stem)}.*.zarr"))
    for path in sorted(beside):
        if path != output:
            groups[path.name.removeprefix(f"{stem}.").removesuffix(".zarr")] = path
    if image not in groups:
        there = ", ".join(map(repr, groups)) or "none"
        raise InputError(
            f"--image is {image!r}{meant(image, list(groups))}, but {str(output)!r} has"
            f" no labels and no image of a task of that name. Expected one of: {there};"
            " or leave it out for the denoised image."
        )
    return groups[image]


def _export_tiff(choice: Choice, run: ResolvedRun | None, target: Path) -> str:
    for part in choice.parts:
        check_written(part.level, part.box, run)
    needed = sum(_stored_bytes(part, len(choice.channels)) for part in choice.parts)
    check_room(target, needed, "about ")
    found, (first, *_) = choice.picture, choice.parts
    about = Described(
        name=found.name,
        shape=choice.shape,
        dtype=first.level.layout.dtype,
        scale_um=tuple(
            step and step * factor
            for step, factor in zip(found.scale_um, first.level.factor[1:], strict=True)
        ),
        time_step_s=found.time_step_s,
        channels=tuple(found.channels[i] for i in choice.channels),
        origin=_origin(choice),
    )
    t, c, z, _, _ = choice.shape
    with (
        written_aside(target) as partial,
        _bar(t * c * z * len(choice.parts), "plane") as bar,
    ):

        def of(part: Part) -> Iterator[np.ndarray]:
            return pages(choice, part, bar.update)

        levels = [
            (part.plane_shape, lambda part=part: of(part)) for part in choice.parts
        ]
        write_ome_tiff(partial, about, levels)
    shape = ", ".join(f"{a} {n}" for a, n in zip("tczyx", choice.shape, strict=True))
    count = len(choice.parts)
    return (
        f"{target}: {about.dtype}, {shape}, {count} level{'s' * (count > 1)},"
        f" {size(target.stat().st_size)}"
    )


def _origin(choice: Choice) -> str:
    """Where an image comes from: its part of the output, and what made that."""
    first = choice.parts[0]
    box = zip("tzyx", first.box, strict=True)
    return json.dumps(
        {
            "output": choice.picture.path.name,
            "level": first.level.path.name,
            "roi": {axis: [part.start, part.stop] for axis, part in box},
            "channels": list(choice.channels),
            "denoise_daisy": choice.picture.own,
        }
    )


def _stored_bytes(part: Part, channels: int) -> int:
    """About what so many channels of a part take as they are stored.

    An export is not far from that.
    """
    files = part.level.files(part.box)
    sampled = files[:: -(-len(files) // SAMPLED)]
    each = sum(file.stat().st_size for file in sampled) / len(sampled)
    layout = part.level.layout
    lengths = [p.stop - p.start for p in part.box]
    voxels = channels * np.prod(lengths, dtype=float)
    # A shard may have room for more channels than there are.
    t, c, z, y, x = layout.file_shape
    of_files = len(files) * t * min(c, layout.shape[1]) * z * y * x
    repeated = len(part.planes) / (part.box[1].stop - part.box[1].start)
    return int(each * len(files) * min(1.0, voxels / of_files) * repeated)


def _export_zip(found: Picture, run: ResolvedRun | None, target: Path) -> str:
    if found.version != ZIPPED_VERSION:
        raise InputError(
            f"{str(found.path)!r} is an OME-Zarr {found.version}. Expected"
            f" {ZIPPED_VERSION}, of which there is an .ozx; export an .ome.tif, or run"
            " with output.ome_version left out."
        )
    labels = [found.path / LABELS / name for name in listed_labels(found.path)]
    for each in (found, *(picture(path, run) for path in labels)):
        for level in each.levels:
            box = tuple(slice(0, n) for n in shape_of(level))
            check_written(level, box, run)
    if run:
        _check_undamaged(found, run)
    files = files_in(found.path)
    total = sum(file.stat().st_size for file in files)
    check_room(target, total)
    with written_aside(target) as partial, _bar(total, "B", unit_scale=True) as bar:
        write_zip(partial, found.path, files, ZIPPED_VERSION, bar.update)
    return f"{target}: {len(files)} files, {size(target.stat().st_size)}"


def _check_undamaged(found: Picture, run: ResolvedRun) -> None:
    """Refuse files that are not what was written; they are copied unread."""
    stages = [
        stage
        for stage in run.stages
        if stage.array and found.path in stage.array.path.parents
    ]
    ledgers = {}
    for stage in stages:
        folder = run.run_dir.ledger(stage.name)
        ledgers[stage.name] = Ledger(folder, run.id, stage.grid, stage.file_shape)
        ledgers[stage.name].refresh()
    if damages := damages_of(stages, ledgers):
        raise BlocksFailed(
            "\n".join(
                [
                    f"{len(damages)} blocks are not what was written:",
                    *listing([str(damage) for damage in damages]),
                    "Nothing was exported; run `verify`, start the run again, and"
                    " export then.",
                ]
            )
        )


def _bar(total: int, unit: str, **more: Any) -> Any:
    """Progress for a person."""
    return tqdm(
        desc="export",
        total=total,
        unit=unit,
        file=sys.stderr,
        mininterval=1 if sys.stderr.isatty() else 30,
        **more,
    )
