"""How far many images are, from files alone: values, and words."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from denoise_daisy.errors import DenoiseDaisyError
from denoise_daisy.monitoring.collect import StatusReader
from denoise_daisy.monitoring.text import failure_lines, in_lines, scheduler_lines
from denoise_daisy.monitoring.values import RunStatus, Scheduler, WorkerNow
from denoise_daisy.monitoring.workers import scheduler_of, workers_of
from denoise_daisy.run_dir.lock import holder_at_work
from denoise_daisy.run_dir.many_record import ManyRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.worker_states import read_states


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatus:
    """How far one of many images is."""

    name: str
    output: str
    status: RunStatus | None
    """Null where it was not begun, or can't be told of."""
    problem: str
    """Why it can't be told of; empty otherwise."""

    @property
    def is_done(self) -> bool:
        """Whether all of it is."""
        stages = self.status.stages if self.status else ()
        return bool(stages) and all(stage.done == stage.blocks for stage in stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyStatus:
    """How far many images are."""

    run_dir: str
    """Of all together."""
    images: tuple[ImageStatus, ...]
    scheduler: Scheduler | None
    """Null where none is at work."""
    workers: tuple[WorkerNow, ...]
    """Of all images together."""

    @property
    def is_over(self) -> bool:
        """Whether nothing goes on any more."""
        return self.scheduler is None


class ManyReader:
    """Reads how far many images are, again and again."""

    def __init__(self, hub: RunDir) -> None:
        """`hub` is the run directory of all together."""
        self._hub = hub
        self._readers: dict[str, StatusReader] = {}

    def read(self) -> ManyStatus:
        """How far they are now.

        Raises
        ------
        RefusedError
            The record of the images can't be read.
        """
        outputs = ManyRecord.of(self._hub).outputs(self._hub)
        holder = holder_at_work(self._hub)
        images = tuple(
            self._image(name, RunDir.of_output(out)) for name, out in outputs.items()
        )
        states = read_states(self._hub) if holder else []
        done = sum((r.done_by() for r in self._readers.values()), Counter[str]())
        return ManyStatus(
            run_dir=str(self._hub.path),
            images=images,
            scheduler=scheduler_of(holder) if holder else None,
            workers=tuple(workers_of(states, done)),
        )

    def _image(self, name: str, run_dir: RunDir) -> ImageStatus:
        found, problem = None, ""
        if run_dir.run_file.exists():
            try:
                reader = self._readers.get(name) or StatusReader(run_dir, self._hub)
                self._readers[name] = reader
                found = reader.read()
            except DenoiseDaisyError as error:
                problem = str(error)
        return ImageStatus(
            name=name, output=str(run_dir.output), status=found, problem=problem
        )


def many_text(found: ManyStatus) -> str:
    """All of it, a line for each image."""
    return in_lines(_lines(found))


def _lines(found: ManyStatus) -> Iterator[str]:
    width = max((len(image.name) for image in found.images), default=0)
    for image in found.images:
        yield f"{image.name.ljust(width)}  {_said(image)}"
    yield from scheduler_lines(found.scheduler, found.workers)
    for image in found.images:
        for line in failure_lines(image.status) if image.status else ():
            yield f"{image.name}: {line.strip()}"
    done = sum(image.is_done for image in found.images)
    yield f"{done} of {len(found.images)} images are done"


def _said(image: ImageStatus) -> str:
    """How far an image is."""
    if image.status is None:
        return image.problem or "not begun"
    stages = [stage for stage in image.status.stages if not stage.is_deleted]
    done, every, failed, orphaned = (
        sum(getattr(stage, name) for stage in stages)
        for name in ("done", "blocks", "failed", "orphaned")
    )
    said = f"{done}/{every} blocks ({done / every:.1%} done)"
    said += f", {failed} failed" if failed else ""
    return said + (f", {orphaned} orphaned" if orphaned else "")
