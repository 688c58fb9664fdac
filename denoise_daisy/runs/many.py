"""A run of many images: one scheduler, one set of workers, one table at the end."""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from os.path import relpath
from pathlib import Path
from secrets import token_hex

from denoise_daisy.config import Config
from denoise_daisy.durable import delete, make_folders
from denoise_daisy.errors import DenoiseDaisyError, RunStopped
from denoise_daisy.geometry import Index
from denoise_daisy.machine import raise_file_limit
from denoise_daisy.monitoring.keeper import page_said
from denoise_daisy.notify import Notifier
from denoise_daisy.run_dir.at_work import end_at_work
from denoise_daisy.run_dir.lock import Lock
from denoise_daisy.run_dir.many_record import ManyRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.run_dir.shared_jobs import remove_all_wanted
from denoise_daisy.run_dir.worker_states import remove_states
from denoise_daisy.runs.containers import Containers, refuse_containers_of_others
from denoise_daisy.runs.limits import limits_told
from denoise_daisy.runs.log_file import log_file, whose_is_told
from denoise_daisy.runs.many_images import OneOfMany, images_of, run_dir_of_many
from denoise_daisy.runs.many_page import pages_kept
from denoise_daisy.runs.many_progress import ManyProgress, OneProgress
from denoise_daisy.runs.many_table import (
    Outcome,
    are_over,
    blocks_of,
    ending_of_all,
    table,
    write_csv,
)
from denoise_daisy.runs.preflight import Preflight
from denoise_daisy.runs.run_one import Asked, Say, run_one
from denoise_daisy.runs.shared_noise import shared_noise
from denoise_daisy.runs.start import Among
from denoise_daisy.scheduling.crew import Crew
from denoise_daisy.scheduling.hiccups import Hiccups
from denoise_daisy.scheduling.signals import Signals
from denoise_daisy.waits import WAITS

MOST_AT_ONCE = 64
"""Images that are prepared or at work; each has a few threads and open files."""

MOST_PREPARED = 2
"""Images that are prepared at the same time: each looks at some of its voxels."""

READY_PER_WORKER = 2
"""Another image is begun as long as fewer blocks are ready."""

logger = logging.getLogger("denoise_daisy")


def run_many(config: Config, asked: Asked, say: Say = print) -> None:
    """Denoise all images of a config; each has an output and a run of its own.

    One that can't be is left out, and the others are done.

    Raises
    ------
    InputError, RefusedError
        None of them can be; nothing was started or written.
    BlocksFailed
        Not all of them could be, or not whole; the others are done.
    RunStopped, Interrupted
        The run ended before that; start again to go on.
    """
    if config.notify:
        config.notify.check()
    images, hub = images_of(config), run_dir_of_many(config)
    refuse_containers_of_others(images, hub)
    is_new = not hub.path.exists()
    for folder in (hub.path, hub.logs, hub.workers):
        make_folders(folder)
    runs, is_ours = _ManyRuns(config, images, hub, asked, say), False
    try:
        log = hub.logs / "scheduler.log"
        with limits_told(hub.path), Lock(hub) as lock, log_file(log):
            is_ours = True
            if lock.taken_from:
                logger.warning("Took over from %s, which is dead.", lock.taken_from)
            runs.run()
    finally:
        if is_new and is_ours and not runs.have_begun:
            delete(hub.path)


@dataclass
class _ManyRuns:
    """One start of the runs of many images."""

    config: Config
    images: Sequence[OneOfMany]
    hub: RunDir
    asked: Asked
    say: Say
    signals: Signals = field(default_factory=Signals)
    outcomes: list[Outcome] = field(default_factory=list)
    """Of the images that were begun, in their order."""
    threads: list[threading.Thread] = field(default_factory=list)

    def run(self) -> None:
        """Do what can be done of each; raises as `run_many` does."""
        raise_file_limit()
        remove_states(self.hub)
        remove_all_wanted(self.hub)
        beside = self.hub.path.parent
        record = ManyRecord.begun(self.hub, token_hex(8)).model_copy(
            update={"images": {i.name: relpath(i.output, beside) for i in self.images}}
        )
        self.crew = Crew(self.hub, record.id)
        self.containers = Containers(self.images, record.id)
        about = {"output": self.config.output.path, "run_dir": str(self.hub.path)}
        command = self.config.notify.command if self.config.notify else ()
        blocks = partial(blocks_of, self.outcomes)
        self.notifier = Notifier(command, about, blocks, self.asked.tell)
        with self.notifier.telling_of_the_end(self._table), ExitStack() as stack:
            stack.enter_context(self.signals.handled())
            stack.enter_context(whose_is_told({image.name for image in self.images}))
            self.noise, record = shared_noise(self.config, self.images, record)
            record.write(self.hub)
            stack.enter_context(pages_kept(self.hub, self.images, self.outcomes))
            self.progress = ManyProgress(len(self.images), self.asked.tell)
            try:
                self._until_done()
            except BaseException as error:
                # Else those that go on would wait for workers for ever.
                self.crew.error = self.crew.error or RunStopped(str(error))
                raise
            finally:
                self.progress.close()
                self._end()
            if ending := ending_of_all(self.outcomes):
                raise ending

    @property
    def have_begun(self) -> bool:
        """Whether something of an image is on disk."""
        return any(outcome.has_begun for outcome in self.outcomes)

    def _until_done(self) -> None:
        """Begin one image after the other, and see to their workers."""
        hiccups = Hiccups()
        left = list(self.images)
        self.say(f"{len(left)} images. Logs: {self.hub.logs}{page_said(self.hub)}")
        while (left or self._living()) and not self.signals.count:
            while left and self._wants_another():
                self._begin(left.pop(0))
            self.crew.coming = len(left) + _prepared(self)
            with hiccups.outlived():
                self.crew.maintain()
            self.progress.show(self.outcomes, self.crew)
            self.signals.pause(WAITS.tick)

    def _end(self) -> None:
        """Let what goes on come to its end, and say how all went."""
        if self.signals.count:
            self._let_finish()
        if self.signals.count or self.crew.error:
            self.crew.end_all()
        # Those that are being prepared would have to be killed to end.
        begun = {o.image.name for o in self.outcomes if o.has_begun}
        for thread in self._living():
            if thread.name in begun or not self.signals.count:
                thread.join()
        with suppress(OSError):  # workers leave by themselves, only later
            end_at_work(self.hub)
        if not (self.signals.count or self.crew.error):
            self.crew.let_leave()
        self.crew.end_all()
        if self.have_begun:
            write_csv(self._csv, self.outcomes)
        self.say(self._table())
        if self.signals.count and not are_over(self.outcomes, len(self.images)):
            raise self.signals.interruption

    def _let_finish(self) -> None:
        """Blocks in flight may finish, for a while; a second signal ends that."""
        self.crew.cancel_waiting()
        deadline = time.monotonic() + self.asked.grace_seconds
        while self.crew.in_flight() and self.signals.count < 2:
            if time.monotonic() >= deadline:
                break
            self.signals.pause(WAITS.tick)

    def _living(self) -> list[threading.Thread]:
        return [thread for thread in self.threads if thread.is_alive()]

    def _wants_another(self) -> bool:
        """Whether another image is to be begun, so that no worker has to wait."""
        workers = max((p.workers.number for p in self.crew.pools), default=1)
        has_work = self.crew.ready >= READY_PER_WORKER * max(1, workers)
        is_one_more = len(self._living()) < MOST_AT_ONCE
        return is_one_more and _prepared(self) < MOST_PREPARED and not has_work

    def _begin(self, image: OneOfMany) -> None:
        outcome = Outcome(image)
        self.outcomes.append(outcome)
        thread = threading.Thread(
            target=self._run_one, args=[outcome], name=image.name, daemon=True
        )
        self.threads.append(thread)
        thread.start()

    def _run_one(self, outcome: Outcome) -> None:
        """One image, in a thread of its own; whatever becomes of it is its outcome."""

        def begins(found: Preflight) -> None:
            outcome.found = found
            self.containers.add(outcome.image, found.run.image)

        def given_up(stage: str, index: Index, why: str) -> None:
            of_image = f"{stage} of {outcome.image.name}"
            self.notifier.block_given_up(of_image, index, why)

        one, progress = outcome.image, OneProgress(self.progress)
        is_in = one.container is not None
        among = Among(self.crew, self.signals, progress, begins, given_up, is_in)
        config = one.config.model_copy(update={"noise": self.noise})
        try:
            if one.problem is None:  # what one run would say stands in its log
                run_one(config, self.asked, lambda _: None, among)
            outcome.end(one.problem)
        except DenoiseDaisyError as error:
            outcome.end(error)
        except BaseException as error:
            logger.exception("%s: an internal error.", outcome.image.name)
            outcome.end(error)
        self.progress.write(outcome.line)

    @property
    def _csv(self) -> Path:
        return self.hub.path / "images.csv"

    def _table(self) -> str:
        file = self._csv if self.have_begun else None
        return table(self.outcomes, len(self.images), file)


def _prepared(runs: _ManyRuns) -> int:
    """How many are being prepared; others may wait for a last page or a report."""
    return sum(
        thread.is_alive()
        and not runs.crew.have_seen(RunDir.of_output(outcome.image.output))
        for thread, outcome in zip(runs.threads, runs.outcomes, strict=True)
    )
