"""The progress of many images, for a person."""

import threading
from collections.abc import Collection

from denoise_daisy.progress import Progress
from denoise_daisy.runs.many_table import Outcome
from denoise_daisy.scheduling.workforce import AnyWorkforce

IMAGES = "images"


class ManyProgress:
    """Counts images, and parts of those at work."""

    def __init__(self, images: int) -> None:
        self._writing = threading.Lock()
        self._progress = Progress(
            blocks={IMAGES: images},
            work=images,
            done={IMAGES: 0},
            work_done=0.0,
            noun=IMAGES,
        )

    def show(self, outcomes: Collection[Outcome], workforce: AnyWorkforce) -> None:
        """Show it; call it often."""
        ended = sum(outcome.has_ended for outcome in outcomes)
        failed = sum(outcome.has_ended and not outcome.is_done for outcome in outcomes)
        shares = sum(1.0 if o.has_ended else o.share_done for o in outcomes)
        with self._writing:
            self._progress.update(
                {IMAGES: ended},
                failed,
                shares,
                len(workforce.at_work()),
                workforce.waits_for(),
            )

    def write(self, line: str) -> None:
        """A line of its own."""
        with self._writing:
            self._progress.write(line)

    def close(self) -> None:
        """Leave it as it is."""
        self._progress.close()


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
