"""The progress of many images, for a person."""

import threading
from collections.abc import Collection

from denoise_daisy.events import Tell
from denoise_daisy.forecast import Ahead, Hands, Pace, TimeLeft, time_left
from denoise_daisy.progress import Progress, Standing
from denoise_daisy.runs.many_table import Outcome
from denoise_daisy.scheduling.workforce import AnyWorkforce

IMAGES = "images"


class ManyProgress:
    """Counts images, and parts of those at work."""

    def __init__(self, images: int, tell: Tell | None = None) -> None:
        self._images = images
        self._writing = threading.Lock()
        self._progress = Progress(IMAGES, tell)

    def show(self, outcomes: Collection[Outcome], workforce: AnyWorkforce) -> None:
        """Show it; call it often."""
        ended = [outcome for outcome in outcomes if outcome.has_ended]
        shares = sum(1.0 if o.has_ended else o.share_done for o in outcomes)
        standing = Standing(
            share=shares / self._images,
            done={IMAGES: len(ended)},
            blocks={IMAGES: self._images},
            failed=sum(not outcome.is_done for outcome in ended),
            at_work=len(workforce.at_work()),
            waits_for=workforce.waits_for(),
            voxels_per_second=None,
            time_left=self._time_left(ended, shares, workforce),
        )
        with self._writing:
            self._progress.show(standing)

    def write(self, line: str) -> None:
        """A line of its own."""
        with self._writing:
            self._progress.write(line)

    def close(self) -> None:
        """Leave it as it is."""
        self._progress.close()

    def _time_left(
        self, ended: Collection[Outcome], done: float, workforce: AnyWorkforce
    ) -> TimeLeft | None:
        """By what images took that were done in this start; each is like a block."""
        pace = Pace()
        for outcome in ended:
            if outcome.is_done and outcome.seconds:
                pace.add(outcome.seconds)
        if not pace.blocks:
            return None
        images = Ahead(
            name=IMAGES,
            reads=(),
            pool="",
            left=self._images - done,
            at_work=0,
            done=done,
            pace=pace,
            guess=None,
        )
        return time_left([images], {"": Hands(least=1, most=1), **workforce.hands()})


class OneProgress:
    """That of one image among them, which is shown with all others."""

    def __init__(self, many: ManyProgress) -> None:
        self._many = many

    def show(self, workforce: AnyWorkforce) -> None:
        """It is shown by those who see to all."""

    def write(self, line: str) -> None:
        """A line of its own."""
        self._many.write(line)

    def close(self) -> None:
        """Nothing to leave."""
