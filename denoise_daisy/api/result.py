"""What came of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from denoise_daisy.api.opened import Output
from denoise_daisy.api.opened import open as open_output
from denoise_daisy.denoisers.noise import NoiseNumbers
from denoise_daisy.monitoring.collect import run_status
from denoise_daisy.monitoring.values import RunStatus, StageStatus
from denoise_daisy.reports.notebook import Shown
from denoise_daisy.run_dir.many_record import ManyRecord, is_of_many
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.tasks.denoise import DENOISE

PAGE = "status.html"
"""In the run directory: how far a run is, and at its end its report."""


@dataclass(frozen=True)
class Result(Shown):
    """What came of a run; all of it is read from its files when first asked for."""

    run_dir: RunDir

    @cached_property
    def images(self) -> Mapping[str, "Result"]:
        """Of a run of many images, the result of each that was begun, by name."""
        if not is_of_many(self.run_dir):
            return {}
        beside = self.run_dir.path.parent
        places = {
            name: RunDir.of_output((beside / output).absolute())
            for name, output in ManyRecord.of(self.run_dir).images.items()
        }
        begun = {n: place for n, place in places.items() if place.run_file.is_file()}
        return {name: Result(place) for name, place in begun.items()}

    @cached_property
    def status(self) -> RunStatus:
        """How far it is, of one image.

        Raises
        ------
        RefusedError
            The output is gone or another's.
        """
        return run_status(self.run_dir)

    @cached_property
    def output(self) -> Output:
        """Its image, labels, tasks and tables by name, to be read.

        Raises
        ------
        InputError
            There is none: it is gone, or the run is of many images.
        """
        return open_output(self.run_dir.output)

    @property
    def stages(self) -> Mapping[str, StageStatus]:
        """By name, how many blocks are done, failed, orphaned and left; of one image.

        The first is ``denoise``.
        """
        return {stage.name: stage for stage in self.status.stages}

    @property
    def done(self) -> int:
        """Blocks that are done, of all stages and images."""
        return sum(stage.done for stage in self._every_stage)

    @property
    def failed(self) -> int:
        """Blocks that failed for good."""
        return sum(stage.failed for stage in self._every_stage)

    @property
    def orphaned(self) -> int:
        """Blocks that can't be done, for what they read has failed."""
        return sum(stage.orphaned for stage in self._every_stage)

    @property
    def left(self) -> int:
        """All other blocks that are not done."""
        return sum(stage.left for stage in self._every_stage)

    @cached_property
    def noise(self) -> NoiseNumbers | None:
        """The noise numbers, by channel; None where the denoiser needs none."""
        probed = RunRecord.of(self.run_dir).stages[DENOISE].probed
        return NoiseNumbers.from_json(probed) if probed else None

    @property
    def page(self) -> Path | None:
        """The page in its run directory, at the end its report; None if it is gone."""
        place = self.run_dir.path / PAGE
        return place if place.is_file() else None

    def __str__(self) -> str:
        counts = {
            "done": self.done,
            "failed": self.failed,
            "orphaned": self.orphaned,
            "left": self.left,
        }
        blocks = ", ".join(f"{n} {what}" for what, n in counts.items())
        rows = {"blocks": blocks}
        if self.images:
            rows["images"] = ", ".join(self.images)
        else:
            rows["noise"] = self.status.noise
        rows["output"] = str(self.run_dir.output)
        rows["page"] = str(self.page or "")
        return "\n".join(f"{name:<10} {text}" for name, text in rows.items() if text)

    @property
    def _every_stage(self) -> list[StageStatus]:
        results = self.images.values() if self.images else [self]
        return [stage for result in results for stage in result.status.stages]
