"""Civil polls, no worker lost from sight, and nothing left: with a clock that jumps."""

import logging
import subprocess
from contextlib import nullcontext
from itertools import count, pairwise
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from denoise_daisy.errors import InputError, RunStopped
from denoise_daisy.launchers import batch_command
from denoise_daisy.launchers.base import Exit, NotHereError
from denoise_daisy.runs.preflight import check_workers
from denoise_daisy.waits import Waits
from harness import wait_until
from harness.batch_site import Site, lsf_line

SILENT = "Slurm has not answered for"

# Polls.


def test_jobs_are_polled_every_ten_seconds_by_the_name_of_the_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 1234)
    site.submit(2)
    site.says((0, "RUNNING"), (1, "RUNNING"))
    assert [t - 5000 for t in site.poll_times(45)] == [10, 20, 30, 40]
    assert site.calls("squeue")[0] == (
        "squeue -h -r -t all --user=1234 --name=denoise-cafe"
        " -O JobArrayID:64,State:32,exit_code:16,Reason:64,BatchHost:64"
    )


def test_nobody_is_polled_for_when_there_are_no_jobs(site: Site) -> None:
    assert site.poll_times(200) == []


def test_a_system_that_does_not_answer_is_asked_less_and_less(site: Site) -> None:
    """From ten seconds to two minutes, and nobody is taken for dead."""
    site.submit(2)
    site.is_away()
    times = site.poll_times(700)
    assert times[0] - 5000 == 10
    assert [b - a for a, b in pairwise(times)] == [20, 40, 80, 120, 120, 120, 120]
    assert site.launcher.living() == {"slurm-41-0", "slurm-41-1"}
    site.says((0, "RUNNING"), (1, "RUNNING"))
    times = site.poll_times(150)
    assert len(times) >= 2
    assert {b - a for a, b in pairwise(times)} == {10}


def test_a_silence_of_three_polls_is_said_once_and_its_end_too(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """In the log, and for how long where a person looks."""
    caplog.set_level(logging.WARNING)
    site.submit(1)
    site.says((0, "RUNNING"))
    site.poll()
    site.is_away()
    for _ in range(2):
        site.poll()
    assert caplog.messages == []
    assert SILENT not in site.launcher.waits_for()
    for _ in range(4):
        site.poll()
    (message,) = caplog.messages
    assert "Unable to contact slurm controller" in message
    assert site.launcher.waits_for() == f"{SILENT} 11 min"
    site.says((0, "PENDING"))
    site.poll()
    assert site.launcher.waits_for() == "1 waiting in Slurm (Priority)"
    assert caplog.messages[1:] == ["Slurm answers again."]


def test_polls_in_vain_must_follow_each_other_to_be_said(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    site.submit(1)
    for _ in range(3):
        for _ in range(2):
            site.is_away()
            site.poll()
        site.says((0, "RUNNING"))
        site.poll()
    assert caplog.messages == []


def test_a_command_that_hangs_is_no_answer_and_nothing_of_it_is_left(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Waits().command == 60
    site.submit(1)
    site.hangs("squeue")
    monkeypatch.setattr(batch_command, "WAITS", Waits(command=0.1))
    communicate, numbers = subprocess.Popen.communicate, count(1)
    hanging = site.folder / "hanging"

    def once_it_hangs(*arguments: Any, **options: Any) -> Any:
        number = next(numbers)
        wait_until(
            lambda: hanging.exists() and len(hanging.read_text().split()) == number,
            "the command hangs",
        )
        return communicate(*arguments, **options)

    monkeypatch.setattr(subprocess.Popen, "communicate", once_it_hangs)
    for _ in range(3):
        assert site.poll() == []
    assert site.launcher.living() == {"slurm-41-0"}
    pids = [int(pid) for pid in hanging.read_text().split()]
    assert len(pids) == 3
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), "the end of all")


def test_words_that_are_no_text_are_no_end_of_the_scheduler(site: Site) -> None:
    site.submit(1)
    (site.folder / "squeue.out").write_bytes(b"h\xffre\n" + site.lines().encode())
    assert site.poll() == []


def test_one_poll_that_does_not_name_a_job_does_not_end_it_but_two_do(
    site: Site,
) -> None:
    site.submit(2)
    site.says((0, "RUNNING"), (1, "RUNNING"))
    assert site.poll() == []
    site.says((0, "RUNNING"))
    assert site.poll() == []
    assert site.launcher.running() == {"slurm-41-0", "slurm-41-1"}
    (gone,) = site.poll()
    assert gone == Exit("slurm-41-1", None, "unknown to Slurm", "system", "n1")
    assert site.launcher.living() == {"slurm-41-0"}


def test_polls_that_do_not_name_a_job_must_follow_each_other(site: Site) -> None:
    site.submit(1)
    for _ in range(3):
        site.says()
        assert site.poll() == []
        site.says((0, "RUNNING"))
        assert site.poll() == []
    assert site.launcher.living() == {"slurm-41-0"}


def test_no_answer_is_not_an_absence(site: Site) -> None:
    site.submit(1)
    site.says()
    assert site.poll() == []
    site.is_away()
    for _ in range(5):
        assert site.poll() == []
    assert site.launcher.living() == {"slurm-41-0"}


@pytest.mark.parametrize(
    "words",
    [
        "Job <denoise-cafe*> is not found",
        "No job found",
        "No unfinished job found",
    ],
)
def test_jobs_that_lsf_has_forgotten_have_ended(words: str, site: Site) -> None:
    site.use_lsf()
    site.submit(1)
    site.answers("bjobs", err=f"Welcome to LSF\n{words}\n", code=255)
    assert site.poll() == []
    assert site.poll() == [Exit("lsf-41-1", None, "unknown to LSF", "system")]


@pytest.mark.parametrize(
    "words",
    [
        "LSF is down. Please wait ...",
        "/opt/lsf/conf/lsf.conf is not found",
        "Batch library: no job found by that daemon",
    ],
)
def test_an_lsf_that_does_not_answer_has_forgotten_nobody(
    words: str, site: Site
) -> None:
    site.use_lsf()
    site.submit(1)
    site.answers("bjobs", err=f"{words}\n", code=255)
    for _ in range(5):
        assert site.poll() == []
    assert site.launcher.living() == {"lsf-41-1"}


def test_lsf_is_asked_for_jobs_that_have_ended_too(site: Site) -> None:
    """And what else it prints is no job of this pool's."""
    site.use_lsf()
    site.submit(2)
    others = "denoise-cafe-cells[3]^42^3^RUN^-^n7^-\n"
    lines = f"Welcome to LSF\n{lsf_line(1, 'EXIT', '9')}{lsf_line(2, 'RUN')}{others}"
    site.answers("bjobs", lines)
    assert site.poll() == [Exit("lsf-41-1", 9, host="n7")]
    assert site.launcher.living() == {"lsf-41-2"}
    assert site.launcher.running() == {"lsf-41-2"}
    assert site.calls("bjobs") == [
        "bjobs -a -noheader -o job_name jobid jobindex stat exit_code exec_host"
        " exit_reason delimiter='^' -J denoise-cafe*"
    ]
    site.launcher.end_all()
    assert site.calls("bkill") == [
        "bkill -s KILL -J denoise-cafe* 0",
        "bkill -J denoise-cafe* 0",
    ]


def test_what_an_answer_with_an_error_tells_is_believed(site: Site) -> None:
    site.submit(1)
    site.says((0, "RUNNING"))
    (site.folder / "squeue.code").write_text("1")
    assert site.poll() == []
    assert site.launcher.running() == {"slurm-41-0"}


def test_an_end_is_told_once_and_as_the_system_tells_it(site: Site) -> None:
    site.submit(2)
    site.says((0, "FAILED"), (1, "RUNNING"), status="2304")
    assert site.poll() == [Exit("slurm-41-0", 9, "FAILED", host="n0")]
    assert site.poll() == []
    assert site.launcher.living() == {"slurm-41-1"}


def test_workers_that_wait_are_counted_with_their_reasons(site: Site) -> None:
    assert site.launcher.waits_for() == ""
    site.submit(3)
    assert site.launcher.waits_for() == "3 waiting in Slurm"
    assert site.launcher.running() == set()
    site.says((0, "PENDING"), (1, "RUNNING"), (2, "PENDING"))
    assert site.poll() == []
    assert site.launcher.waits_for() == "2 waiting in Slurm (Priority)"
    assert site.launcher.running() == {"slurm-41-1"}


# Before the start.


def test_what_slurm_would_not_take_is_refused_in_its_own_words(site: Site) -> None:
    site.launcher.check()
    (call,) = site.calls("sbatch")
    assert call.startswith("sbatch --test-only ")
    site.answers("sbatch", err="invalid partition specified: nowhere\n", code=1)
    with pytest.raises(InputError, match="invalid partition specified: nowhere"):
        site.launcher.check()


@pytest.mark.parametrize("kind", ["slurm", "lsf"])
def test_a_system_that_does_not_tell_of_its_jobs_is_refused(
    kind: str, site: Site
) -> None:
    if kind == "lsf":
        site.use_lsf()
    site.launcher.check()
    site.is_away()
    with pytest.raises(InputError, match="Unable to contact slurm controller") as error:
        site.launcher.check()
    assert "denoise-cafe" in str(error.value)
    assert not isinstance(error.value, NotHereError)


@pytest.mark.parametrize("program", ["sbatch", "squeue"])
@pytest.mark.parametrize(("back_after", "is_taken"), [(20, True), (21, False)])
def test_a_system_that_is_away_for_a_moment_is_asked_again(
    program: str, back_after: float, is_taken: bool, site: Site
) -> None:
    """Three times within twenty seconds; nobody may be there to start again."""
    site.answers(program, err="Socket timed out on send/recv operation\n", code=1)
    site.time.at(5000 + back_after, lambda: site.answers(program))
    with nullcontext() if is_taken else pytest.raises(InputError, match="timed out"):
        site.launcher.check()
    assert len(site.calls(program)) == 3
    assert site.time.now == 5020


def start_of(site: Site, record: object) -> Any:
    """A start of a run; `record` is that of the run, if it goes on."""
    run = SimpleNamespace(pools_for=lambda _: [SimpleNamespace(launcher=site.launcher)])
    return SimpleNamespace(is_done=False, asked=(), record=record, run=run)


def test_a_run_that_goes_on_is_stopped_by_a_silence_and_may_come_back(
    site: Site,
) -> None:
    """Its scheduler may be a job, which a refused config would end for good."""
    check_workers(start_of(site, "record"))
    site.answers("sbatch", err="Invalid partition\n", code=1)
    with pytest.raises(InputError, match="Invalid partition"):
        check_workers(start_of(site, "record"))
    site.answers("squeue", err="Socket timed out\n", code=1)
    with pytest.raises(InputError, match="Socket timed out"):
        check_workers(start_of(site, None))
    with pytest.raises(RunStopped, match=r"Socket timed out.* What is done is kept\."):
        check_workers(start_of(site, "record"))
    (site.path / "sbatch").unlink()
    with pytest.raises(NotHereError):
        check_workers(start_of(site, "record"))


@pytest.mark.parametrize(
    ("kind", "program"),
    [
        *(("slurm", name) for name in ("sbatch", "squeue", "scancel")),
        *(("lsf", name) for name in ("bsub", "bjobs", "bkill")),
    ],
)
def test_a_machine_without_one_of_the_commands_is_refused(
    kind: str, program: str, site: Site
) -> None:
    if kind == "lsf":
        site.use_lsf()
    (site.path / program).unlink()
    with pytest.raises(NotHereError, match=f"'{program}' is not on this machine"):
        site.launcher.check()


# Ends.


def test_what_waits_is_taken_back_and_what_has_begun_is_not(site: Site) -> None:
    """Worker 0 runs; 1 has begun since the last poll and shown itself; 2 and 3 wait."""
    site.submit(4)
    site.says((0, "RUNNING"), *((i, "PENDING") for i in (1, 2, 3)))
    site.poll()
    site.launcher.cancel_waiting({"slurm-41-1", "host-77"})
    cancelled = [call.split() for call in site.calls("scancel")]
    assert cancelled
    for call in cancelled:
        assert [word for word in call if word[0] != "-"][1:] == ["41_2", "41_3"]
    assert site.launcher.living() == {"slurm-41-0", "slurm-41-1"}


def test_nothing_is_cancelled_where_nothing_waits(site: Site) -> None:
    site.submit(1)
    site.launcher.cancel_waiting({"slurm-41-0"})
    assert site.calls("scancel") == []


@pytest.mark.parametrize(
    ("kind", "program", "error", "command"),
    [
        ("slurm", "scancel", "Unable to contact", "scancel --name=denoise-cafe"),
        ("lsf", "bkill", "LSF is down", "bkill -J 'denoise-cafe*' 0"),
        ("lsf", "bkill", "No matching job found", None),
        ("lsf", "bkill", "Job <41[1]>: Job has already finished", None),
        ("slurm", "scancel", "", None),
    ],
)
def test_jobs_that_are_not_cancelled_at_the_end_are_told_of_once(
    kind: str,
    program: str,
    error: str,
    command: str | None,
    site: Site,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also where no worker lives any more as far as is known."""
    if kind == "lsf":
        site.use_lsf()
    site.answers(program, err=f"{error}\n", code=int(bool(error)))
    site.launcher.end_all()
    site.submit(2)
    site.launcher.cancel_waiting(set())
    for _ in range(2):
        site.launcher.end_all()
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == bool(command)
    if command:
        assert error in warnings[0]
        assert warnings[0].endswith(f"To cancel them: {command}")


@pytest.mark.parametrize("count", [0, 2])
def test_the_end_of_all_ends_what_earlier_starts_have_left_too(
    count: int, site: Site
) -> None:
    if count:
        site.submit(count)
    site.launcher.end_all()
    assert site.calls("scancel") == [
        "scancel --state=PENDING --name=denoise-cafe",
        "scancel --batch --signal=KILL --name=denoise-cafe",
        "scancel --name=denoise-cafe",
    ]
    assert site.launcher.living() == set()
    assert site.launcher.ended() == []
