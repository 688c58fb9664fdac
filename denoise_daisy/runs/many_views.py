"""Many images looked at together: whether they are whole, a plan."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from denoise_daisy.amounts import core_time, size
from denoise_daisy.assessing.files import write_report
from denoise_daisy.config import AnyConfig, Config
from denoise_daisy.errors import BlocksFailed, DenoiseDaisyError
from denoise_daisy.reports.notebook import Shown
from denoise_daisy.run_dir.many_record import ManyRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.many_images import OneOfMany, images_of
from denoise_daisy.runs.plan import Plan
from denoise_daisy.runs.planning import plan
from denoise_daisy.runs.shared_noise import expected_noise
from denoise_daisy.runs.verify import verify


def verify_many(hub: RunDir) -> str:
    """Read all images back that were begun; see `verify`.

    Raises
    ------
    BlocksFailed
        Some are damaged, or can't be checked; all others were checked.
    """
    return _of_each(hub, verify)


def report_of_many(hub: RunDir, *, seconds: float | None) -> str:
    """Write the report of each image that was begun, each within so many seconds.

    Raises
    ------
    BlocksFailed
        Some can't be made; all others were.
    """
    return _of_each(hub, lambda run_dir: write_report(run_dir, seconds=seconds))


def _of_each(hub: RunDir, do: Callable[[RunDir], object]) -> str:
    """What is said of each image that was begun."""
    said, bad = [], []
    for name, output in ManyRecord.of(hub).outputs(hub).items():
        run_dir = RunDir.of_output(output)
        if not run_dir.run_file.exists():
            said.append(f"{name}: not begun")
            continue
        try:
            said.append(f"{name}: {do(run_dir)}")
        except DenoiseDaisyError as error:
            bad.append(f"{name}: {error}")
    if bad:
        raise BlocksFailed("\n".join([*said, *bad]))
    return "\n".join(said)


@dataclass(frozen=True)
class PlanOfMany(Shown):
    """What a run of many images will do."""

    images: Sequence[OneOfMany]
    plans: Sequence[Plan | None]
    """Of each image; None where it can't be."""
    problems: Sequence[str]
    """Why not; empty where it can."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of all of them, each with the name of its image, and what can't be."""
        pairs = zip(self.images, self.plans, strict=True)
        found = [f"{i.name}: {w}" for i, p in pairs if p for w in p.warnings]
        names = zip(self.images, self.problems, strict=True)
        return (*found, *(f"{image.name}: {why}" for image, why in names if why))

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def json(self) -> str:
        """All of it as one JSON object, by the names of the images."""
        values: dict[str, Any] = {}
        for image, made, why in zip(
            self.images, self.plans, self.problems, strict=True
        ):
            values[image.name] = asdict(made) if made else {"problem": why}
        return json.dumps(values, indent=2, allow_nan=False)


def _lines(found: PlanOfMany) -> Iterator[str]:
    made = [each for each in found.plans if each is not None]
    if made:
        yield "The first:"
        yield str(made[0])
        yield ""
    rows = [("image", "blocks", "size", "work", "output")]
    for image, each in zip(found.images, found.plans, strict=True):
        rows.append(
            (
                image.name,
                str(each.blocks.count) if each else "-",
                size(each.output.bytes) if each else "can't be",
                core_time(each.time.core_hours * 3600) if each else "-",
                str(image.output),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        words = zip(row, widths, strict=True)
        yield "  ".join(word.ljust(width) for word, width in words).rstrip()
    blocks = sum(each.blocks.count for each in made)
    total = core_time(3600 * sum(each.time.core_hours for each in made))
    whole = size(sum(each.output.bytes for each in made))
    yield (
        f"{len(made)} of {len(found.images)} images, {blocks} blocks, {whole}"
        f" uncompressed, {total}."
    )
    for warning in found.warnings:
        yield f"Warning: {warning}"


def plan_many(
    config: AnyConfig,
    *,
    tasks: Sequence[str] = (),
    unchecked_ndsafir: bool = False,
    probe: bool = False,
    extend: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> PlanOfMany:
    """What a run of a config that names many images would do, image by image.

    Arguments are those of `plan`; with `probe` a block of the first is denoised.

    Raises
    ------
    InputError
        No image fits.
    """
    config = Config.of(config)
    images, noise = images_of(config), expected_noise(config)
    plans: list[Plan | None] = []
    problems: list[str] = []
    for image in images:
        made, why = None, ""
        try:
            if image.problem:
                raise image.problem
            made = plan(
                image.config.model_copy(update={"noise": noise}),
                tasks=tasks,
                unchecked_ndsafir=unchecked_ndsafir,
                probe=probe and not any(plans),
                extend=extend,
                say=say,
            )
        except DenoiseDaisyError as error:
            why = str(error)
        plans.append(made)
        problems.append(why)
    return PlanOfMany(images, plans, problems)
