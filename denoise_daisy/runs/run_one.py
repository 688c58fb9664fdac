"""A run of one image: refuse what can't work, prepare, run, say how it went."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

from denoise_daisy.config import Config
from denoise_daisy.denoisers.survey import Survey
from denoise_daisy.durable import is_there, persistently
from denoise_daisy.errors import InputError, RefusedError
from denoise_daisy.events import Tell
from denoise_daisy.monitoring.keeper import page_kept
from denoise_daisy.monitoring.run_page import pages_of
from denoise_daisy.notify import Notifier
from denoise_daisy.resolved.resolve import with_denoiser
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.run_dir.lock import Lock, new_lock
from denoise_daisy.run_dir.record import RunRecord
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.clearing import make_room
from denoise_daisy.runs.limits import limits_told
from denoise_daisy.runs.log_file import log_file, log_of_thread
from denoise_daisy.runs.not_kept import delete_unneeded
from denoise_daisy.runs.output_files import gone_files
from denoise_daisy.runs.output_metadata import create, damaged_groups, describe
from denoise_daisy.runs.output_places import check_output, check_owner
from denoise_daisy.runs.preflight import Preflight, check_workers, preflight
from denoise_daisy.runs.provenance import complete, ended_before, now
from denoise_daisy.runs.report_at_end import reported
from denoise_daisy.runs.start import Among, Start
from denoise_daisy.runs.warnings import refuse, warnings_of

Say = Callable[[str], None]

logger = logging.getLogger("denoise_daisy")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks of a start, beside the config."""

    tasks: Sequence[str] = ()
    """Only these tasks of the config; none: all."""
    overwrite: bool = False
    """Delete an output of this program at that place and start over."""
    grace_seconds: float = 30.0
    """What blocks in flight get to finish after the first SIGINT or SIGTERM."""
    unchecked_ndsafir: bool = False
    """Accept a version of ndsafir that the tiling law was not checked with."""
    strict: bool = False
    """Refuse what there are warnings of."""
    extend: bool = False
    """Go on where the image has got longer along t since."""
    tell: Tell | None = None
    """Takes the events of the run, for other programs."""
    again: RunRecord | None = None
    """Of a run that is done again and was not begun in this place: as it was there."""


def run_one(
    config: Config, asked: Asked, say: Say = print, among: Among | None = None
) -> None:
    """Denoise the image of a config; go on where an earlier start stopped.

    `among` are the other runs of the same start, with whose workers it is done.

    Raises
    ------
    InputError, RefusedError
        The run can't be; nothing was started or written.
    BlocksFailed, RunStopped, Interrupted
        The run ended without all blocks done; start again to go on.
    """
    if not asked.unchecked_ndsafir:
        config.denoise.check_engine()
    run_dir = RunDir.of_output(Path(config.output.path))
    check_output(config, run_dir)
    with reported(run_dir, say, among):
        _run_in(run_dir, config, asked, say, among)


def _run_in(
    run_dir: RunDir, config: Config, asked: Asked, say: Say, among: Among | None
) -> None:
    """The same under the lock of its run directory."""
    overwrite = asked.overwrite
    with limits_told(run_dir.output), ExitStack() as stack:
        lock = None
        if is_there(run_dir.lock_file):
            lock = Lock(run_dir)
            stack.callback(lock.release)
        existing = RunRecord.read(run_dir)
        owned = partial(check_owner, run_dir.output, existing, overwrite=overwrite)
        persistently(owned)
        found = persistently(partial(_preflight, config, existing, asked))
        _check_workers(found, among)
        begins = among.begins if among else (lambda _: None)
        if found.is_done and not damaged_groups(found.run):
            begins(found)
            _leave_as_it_is(found, say)
            return
        found, described = _prepared(found, say, asked, among)
        if lock is None:
            lock = new_lock(run_dir, existing)
            stack.callback(lock.release)
        lock.begin()
        make_room(found, existing, overwrite=overwrite)
        record = _record_start(found)
        _make_outputs(found, record, described, among)
        begins(found)
        with (log_of_thread if among else log_file)(run_dir.logs / "scheduler.log"):
            logger.info("Start %d of %s", record.epoch, found.run.output)
            if lock.taken_from:
                logger.warning("Took over from %s, which is dead.", lock.taken_from)
            _start(found, record.epoch, asked, say, among)


def _preflight(config: Config, existing: RunRecord | None, asked: Asked) -> Preflight:
    return preflight(
        config,
        existing,
        tasks=asked.tasks,
        overwrite=asked.overwrite,
        extend=asked.extend,
        again=asked.again,
        new_id=token_hex(8),
    )


def _check_workers(found: Preflight, among: Among | None) -> None:
    """Refuse jobs that no batch system would take."""
    if among is None:
        check_workers(found)
    elif not found.is_done:
        among.crew.check(found.run.pools_for(found.asked))


def _start(
    found: Preflight,
    epoch: int,
    asked: Asked,
    say: Say,
    among: Among | None,
) -> None:
    """Do the blocks, and tell whom it may concern how that went."""
    said: list[str] = []

    def say_and_keep(text: str) -> None:
        said[:] = [text]
        say(text)

    def blocks() -> tuple[int, int]:
        done = sum(found.ledgers[name].done_count for name in found.asked)
        return done, sum(stage.grid.size for stage in found.asked_stages)

    run, notify = found.run, found.run.config.notify
    about = {"output": str(run.output), "run_dir": str(run.run_dir.path)}
    command = notify.command if notify else ()
    tell = None if among else asked.tell
    notifier = Notifier(command, about, blocks, tell)
    with (
        notifier.telling_of_the_end(lambda: said[0]),
        limits_told(run.output),
        page_kept(
            run.run_dir,
            partial(pages_of, run.run_dir, among.crew.hub if among else None),
            is_alone=among is None,
        ),
    ):
        grace = asked.grace_seconds
        Start(found, epoch, grace, say_and_keep, notifier, among, tell).run()


def known_denoiser(found: Preflight) -> tuple[ResolvedRun, Survey | None]:
    """The run whose denoiser knows the image, and what the image tells of its noise.

    It is asked as long as there is something to denoise.

    Raises
    ------
    InputError
        The image tells nothing of what the denoiser needs to know.
    """
    run = found.run
    if not (found.denoises or run.denoiser.needs_probing):
        return run, None
    denoiser, survey = run.denoiser.probe(run.image)
    return (run if denoiser == run.denoiser else with_denoiser(run, denoiser)), survey


def _leave_as_it_is(found: Preflight, say: Say) -> None:
    """Say that all was done before, and do what may be left to do after that."""
    if gone := gone_files(found.asked_stages, found.ledgers):
        raise RefusedError(gone)
    blocks = sum(found.ledgers[name].done.size for name in found.asked)
    say(f"All {blocks} blocks were done before.\nOutput: {found.run.output}")
    complete(found)
    delete_unneeded(found.run, found.ledgers, found.unneeded)


def _prepared(
    found: Preflight, say: Say, asked: Asked, among: Among | None
) -> tuple[Preflight, dict[Path, dict[str, object]]]:
    """What has to be found out before the first block, and the outputs' metadata."""
    if found.longer is not None:
        say(str(found.longer))
    for line in _done_again(found):
        say(line)
    if found.run.denoiser.needs_probing:
        say("Calibrating the noise...")
    run, survey = known_denoiser(found)
    if run.denoiser.probed:
        say(f"Noise: {run.denoiser.noise_text}.")
    warnings = tuple(warnings_of(run, survey))
    if asked.strict:
        refuse(warnings)
    for warning in warnings:
        # Of many images they are told together, at the end.
        logger.log(logging.INFO if among else logging.WARNING, "%s", warning)
    found = replace(found, run=run, warnings=warnings, earlier=_earlier(found))
    return found, describe(run)


def _earlier(found: Preflight) -> Mapping[str, str | int] | None:
    """What tells the image's time points from others; found out once for each length.

    None where nothing can, or they can't be read, which the blocks will find out.
    """
    before, image = found.record, found.run.image
    if before is not None and before.earlier and found.longer is None:
        return before.earlier
    with suppress(InputError):
        return image.earlier_identity(image.shape[0])
    return None


def _done_again(found: Preflight) -> Iterator[str]:
    """Which tasks are done again, and why: of themselves, or for what they read."""
    task_of = {stage.name: stage.task for stage in found.run.stages}
    reasons: dict[str, list[str]] = {}
    for name in found.done_again:
        changes = found.changed[name]
        own = [change for change in changes if not change.startswith("input ")]
        reasons.setdefault(task_of[name], []).extend(own)
    for task, whys in reasons.items():
        why = "; ".join(dict.fromkeys(whys)) or "what it reads has changed"
        yield f"Task {task} is done again: {why}."


def _make_outputs(
    found: Preflight,
    record: RunRecord,
    described: Mapping[Path, Mapping[str, Any]],
    among: Among | None,
) -> None:
    """Make what is not there of the outputs, and let them tell what they are."""
    notes: dict[str, Any] = {"begun": record.begun}
    if found.is_done and (ended := ended_before(found.run)):
        notes["ended"] = ended
    create(
        found.run,
        described,
        left_alone=found.left_alone,
        notes=notes,
        keeps_original=not (among and among.is_scene),
    )


def _record_start(found: Preflight) -> RunRecord:
    """Begin a new epoch of the ledgers, and tell workers what to do."""
    run, before = found.run, found.record
    for ledger in found.ledgers.values():
        persistently(ledger.compact)
    last = before.epoch if before else 0
    epoch = max(last, *(ledger.epoch for ledger in found.ledgers.values())) + 1
    for ledger in found.ledgers.values():
        ledger.begin(epoch)
    run.run_dir.make(found.ledgers)
    record = run.record(epoch)
    told = found.warnings if found.denoises or not before else before.warnings
    begun = now() if before is None else before.begun
    more: dict[str, Any] = {"warnings": told, "earlier": found.earlier, "begun": begun}
    more["rerun_of"] = before.rerun_of if before else None
    record = record.model_copy(update=more)
    if before is not None:
        old = {name: before.stages[name] for name in found.left_alone}
        record = record.with_stages(old)
    record.write(run.run_dir)
    return record
