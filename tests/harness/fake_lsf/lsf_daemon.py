"""LSF's own processes in one: jobs are queued, run, signalled and reported."""

import contextlib
import fnmatch
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsf_words import QUEUES, Rejection, check, elements, environment, minutes

TICK_SECONDS = 0.05
PUBLIC = ("id", "index", "name", "queue", "stat", "exit_code", "reason")


def setting(name: str, default: float) -> float:
    return float(os.environ.get(f"FAKE_LSF_{name}", default))


@dataclass
class Job:
    id: int
    index: int
    name: str
    queue: str
    options: dict[str, str]
    script: Path
    env: dict[str, str]
    cwd: str
    submitted: float
    stat: str = "PEND"
    exit_code: int | None = None
    reason: str = ""
    """As in exit_reason; what begins with TERM_ is LSF's own doing."""
    started: float = 0.0
    ended: float = 0.0
    ladder: list[tuple[float, signal.Signals]] = field(default_factory=list)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def title(self) -> str:
        return f"{self.id}[{self.index}]" if self.index else str(self.id)

    @property
    def slots(self) -> int:
        return int(self.options.get("n", "1"))

    def output(self, directory: Path) -> Path:
        return directory / "spool" / f"{self.id}.{self.index}.out"

    def signal(self, number: signal.Signals) -> None:
        """To all processes of the job, which is a session of its own."""
        if self.process:
            for pid in session(self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)


def session(leader: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                status = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(status[3]) == leader and status[0] != "Z":
                    yield int(entry.name)


class Daemon:
    """LSF's own processes, in one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.jobs: dict[tuple[int, int], Job] = {}
        self.last_id = 100
        self.saved = ""
        self.stopped = False
        self.slots = int(setting("SLOTS", 4))
        self.pend = setting("PEND", 0.5)
        self.interval = setting("KILL_INTERVAL", 10)
        self.last_interval = setting("LAST_INTERVAL", self.interval)
        self.clean_period = setting("CLEAN_PERIOD", 3600)
        self.notice = os.environ.get("FAKE_LSF_NOTICE", "")

    def serve(self) -> None:
        """Until stopped, or until the directory is gone."""
        os.chdir(self.directory)
        Path("socket").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
            listener.listen(200)
            while not self.stopped and self.directory.is_dir():
                if select.select([listener], [], [], TICK_SECONDS)[0]:
                    self.answer(listener.accept()[0])
                self.tick()
                self.save()
        for job in self.jobs.values():
            job.signal(signal.SIGKILL)

    def answer(self, client: socket.socket) -> None:
        with client, client.makefile("rwb") as file:
            line = file.readline()
            if not line:
                # The client was killed before it said anything.
                return
            request = json.loads(line)
            operation = getattr(self, request.pop("program"))
            try:
                reply = operation(**request)
            except Rejection as error:
                reply = {"err": f"{error}\n", "rc": 255}
            with contextlib.suppress(OSError):
                file.write(json.dumps(reply).encode() + b"\n")
                file.flush()

    def save(self) -> None:
        public = [{k: getattr(j, k) for k in PUBLIC} for j in self.jobs.values()]
        text = json.dumps(public)
        if text != self.saved and self.directory.is_dir():
            self.saved = text
            partial = self.directory / "jobs.json.partial"
            partial.write_text(text)
            partial.replace(self.directory / "jobs.json")

    def stop(self) -> dict[str, Any]:
        self.stopped = True
        return {}

    def host_failure(self) -> dict[str, Any]:
        """The host goes down and comes back; jobs with -r are run again."""
        for job in self.jobs.values():
            if job.stat == "RUN":
                job.reason = "TERM_UNKNOWN: LSF cannot determine a termination reason"
                job.options.setdefault("host_failed", "")
                job.signal(signal.SIGKILL)
        return {}

    def host_vanishes(self) -> dict[str, Any]:
        """The host of the running jobs is cut off; it is replaced by another one."""
        for job in self.jobs.values():
            if job.stat == "RUN":
                job.stat = "UNKWN"
                job.signal(signal.SIGKILL)
        return {}

    def run_limit(self) -> dict[str, Any]:
        """All running jobs that have a limit have run for as long as that."""
        for job in self.jobs.values():
            if job.stat == "RUN" and "W" in job.options:
                job.started -= 60 * minutes(job.options["W"])
        return {}

    def wait(self, job: str) -> dict[str, Any]:
        """For bsub -K."""
        jobs = [j for j in self.jobs.values() if str(j.id) == job]
        stats = [j.stat for j in jobs]
        codes = [126 if not j.started else j.exit_code or 0 for j in jobs]
        return {"stats": stats, "code": max(codes, default=0)}

    def bsub(
        self, options: dict[str, str], script: str, env: dict[str, str], cwd: str
    ) -> dict[str, Any]:
        check(options)
        name = options.get("J", script.strip().splitlines()[-1] if script else "")
        if not script.strip():
            raise Rejection("No command is specified. Job not submitted.")
        indices = elements(name) if "J" in options else [0]
        self.last_id += 1
        spooled = self.directory / "spool" / f"{self.last_id}.sh"
        spooled.write_text(script)
        queue = next(q for q in options.get("q", "normal").split() if q in QUEUES)
        for index in indices:
            base = name.partition("[")[0] if index else name
            self.jobs[self.last_id, index] = Job(
                id=self.last_id,
                index=index,
                name=f"{base}[{index}]" if index else base,
                queue=queue,
                options=dict(options),
                script=spooled,
                env=environment(options.get("env", "all"), env),
                cwd=options.get("cwd", cwd),
                submitted=time.monotonic(),
            )
        which = "queue" if "q" in options else "default queue"
        notice = f"{self.notice}\n" if self.notice else ""
        return {
            "out": f"{notice}Job <{self.last_id}> is submitted to {which} <{queue}>.\n"
        }

    def bjobs(self, arguments: list[str]) -> dict[str, Any]:
        columns, ids, flags = "jobid stat queue job_name", [], set()
        name = ""
        words = list(arguments)
        while words:
            word = words.pop(0)
            if word == "-o":
                columns = words.pop(0)
            elif word == "-J":
                name = words.pop(0)
            elif word.startswith("-"):
                flags.add(word)
            else:
                ids.append(word)
        found, lost = self.select(ids)
        if name:
            found = self.named(name)
            lost = [] if found else [name]
        jobs = found if ids or "-a" in flags else [j for j in found if not j.ended]
        errors = "".join(f"Job <{i}> is not found\n" for i in lost)
        if not jobs and not lost:
            errors = "No unfinished job found\n"
        delimiter = re.search(r"delimiter='(.)'", columns)
        names = re.sub(r"delimiter='.'", "", columns).split()
        rows = [[field_of(job, name) for name in names] for job in jobs]
        join = delimiter[1] if delimiter else " "
        if "-json" in flags:
            records = [
                {n.upper(): v.strip("-") for n, v in zip(names, r, strict=True)}
                for r in rows
            ]
            text = {"COMMAND": "bjobs", "JOBS": len(rows), "RECORDS": records}
            out = json.dumps(text, indent=2) + "\n"
        else:
            heading = [] if "-noheader" in flags else [[n.upper() for n in names]]
            out = "".join(join.join(row) + "\n" for row in heading + rows)
        return {"out": out, "err": errors, "rc": 255 if errors else 0}

    def bkill(self, arguments: list[str]) -> dict[str, Any]:
        number, name, ids = None, None, []
        words = list(arguments)
        while words:
            word = words.pop(0)
            if word == "-s":
                number = signal.Signals[f"SIG{words.pop(0).removeprefix('SIG')}"]
            elif word == "-J":
                name = words.pop(0)
            else:
                ids.append(word)
        if name or "0" in ids:
            found = [j for j in self.named(name or "*") if not j.ended]
            lost: list[str] = []
            if not found:
                return {"err": "No matching job found\n", "rc": 255}
        elif not ids:
            # The last one that was submitted: a trap of the real one.
            found, lost = list(self.jobs.values())[-1:], []
        else:
            found, lost = self.select(ids)
        out = ""
        errors = "".join(f"Job <{i}>: No matching job found\n" for i in lost)
        for job in found:
            if job.ended:
                errors += f"Job <{job.title}>: Job has already finished\n"
            elif number is not None:
                out += f"Job <{job.title}> is being signaled\n"
                job.signal(number)
            else:
                out += f"Job <{job.title}> is being terminated\n"
                self.terminate(job)
        return {"out": out, "err": errors, "rc": 255 if errors else 0}

    def named(self, pattern: str) -> list[Job]:
        """Jobs whose name is like that, with its asterisks."""
        pattern = pattern.replace("[", "[[]")
        jobs = self.jobs.values()
        return [j for j in jobs if fnmatch.fnmatchcase(j.name, pattern)]

    def select(self, ids: list[str]) -> tuple[list[Job], list[str]]:
        """Jobs by id, and the ids that are not known; none: all."""
        if not ids:
            return list(self.jobs.values()), []
        found: list[Job] = []
        lost = []
        for title in ids:
            match = [j for j in self.jobs.values() if title in (j.title, str(j.id))]
            found += match
            lost += [] if match else [title]
        return found, lost

    def terminate(self, job: Job) -> None:
        """Off the queue at once, or INT, TERM, KILL with time in between."""
        if job.stat == "PEND":
            job.stat, job.ended = "EXIT", time.monotonic()
            job.reason = "TERM_OWNER: job killed by owner"
        elif job.stat == "UNKWN":
            job.stat = "ZOMBI"
        elif not job.ladder:
            job.reason = "TERM_OWNER: job killed by owner"
            first = time.monotonic()
            second = first + self.interval
            job.ladder = [
                (first, signal.SIGINT),
                (second, signal.SIGTERM),
                (second + self.last_interval, signal.SIGKILL),
            ]

    def tick(self) -> None:
        now = time.monotonic()
        free = self.slots
        for job in self.jobs.values():
            if job.stat != "RUN" or job.process is None:
                continue
            code = job.process.poll()
            if code is not None:
                self.finish(job, code)
                continue
            free -= job.slots
            limit = 60 * minutes(job.options["W"]) if "W" in job.options else 0
            if limit and now - job.started > limit and not job.ladder:
                job.reason = "TERM_RUNLIMIT: job killed after reaching LSF run limit"
                job.ladder = [
                    (now, signal.SIGUSR2),
                    (now + 600, signal.SIGKILL),
                ]
            if job.ladder and job.ladder[0][0] <= now:
                self.step(job)
        for job in self.jobs.values():
            ready = now - job.submitted >= self.pend
            if job.stat == "PEND" and ready and job.slots <= free:
                free -= job.slots
                self.start(job)
        for key, job in list(self.jobs.items()):
            if job.ended and time.monotonic() - job.ended >= self.clean_period:
                del self.jobs[key]

    def step(self, job: Job) -> None:
        """Send the next signal; those after it come as long after it as ever."""
        due, number = job.ladder.pop(0)
        job.signal(number)
        late = time.monotonic() - due
        # An empty ladder would be taken for none.
        rest = job.ladder or [(float("inf"), signal.SIGKILL)]
        job.ladder = [(at + late, number) for at, number in rest]

    def start(self, job: Job) -> None:
        text = job.script.read_text()
        shell = shlex.split(text.splitlines()[0][2:]) if text[:2] == "#!" else []
        env = job.env | {
            "LSB_JOBID": str(job.id),
            "LSB_BATCH_JID": job.title,
            "LSB_JOBINDEX": str(job.index),
            "LSB_JOBNAME": job.name,
            "LSB_QUEUE": job.queue,
            "LSB_HOSTS": " ".join([socket.gethostname()] * job.slots),
            "LSB_DJOB_NUMPROC": str(job.slots),
            "LSB_JOBFILENAME": str(job.script),
            "LSB_OUTPUTFILE": job.options.get("o", ""),
            "LS_JOBPID": str(os.getpid()),
        }
        with job.output(self.directory).open("ab") as output:
            job.process = subprocess.Popen(
                [*(shell or ["/bin/sh"]), str(job.script)],
                env=env,
                cwd=job.cwd if Path(job.cwd).is_dir() else "/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        job.stat, job.started, job.reason, job.ladder = "RUN", time.monotonic(), "", []

    def finish(self, job: Job, code: int) -> None:
        job.signal(signal.SIGKILL)
        job.process = None
        job.exit_code = code if code >= 0 else 128 - code
        again = str(job.exit_code) in job.options.get("Q", "").split()
        again = again and "TERM_OWNER" not in job.reason
        failed = job.options.pop("host_failed", None) is not None
        self.report(job)
        if again or (failed and "r" in job.options):
            job.stat, job.submitted = "PEND", time.monotonic()
            job.exit_code, job.reason = None, ""
            return
        job.ended = time.monotonic()
        job.stat = "EXIT" if job.exit_code else "DONE"

    def report(self, job: Job) -> None:
        """The job's output arrives only now, and a report after it."""
        spooled = job.output(self.directory)
        if job.exit_code == 0:
            how = "Successfully completed."
        else:
            said = f"{job.reason}.\n" if job.reason.startswith("TERM_") else ""
            how = f"{said}Exited with exit code {job.exit_code}."
        text = (
            f"\n{'-' * 60}\nSender: LSF System <lsfadmin@{socket.gethostname()}>\n"
            f"Subject: Job {job.title}: <{job.name}> in cluster <fake>\n\n{how}\n\n"
            "Resource usage summary:\n"
        )
        place, mode = job.options.get("o"), "ab"
        if "oo" in job.options:
            place, mode = job.options["oo"], "wb"
        if place is None:
            place = str(self.directory / "mail" / f"{job.id}.{job.index}")
        place = place.replace("%J", str(job.id)).replace("%I", str(job.index))
        with contextlib.suppress(OSError), Path(job.cwd, place).open(mode) as file:
            file.write(spooled.read_bytes() + text.encode())
        spooled.unlink(missing_ok=True)


def field_of(job: Job, name: str) -> str:
    values = {
        "jobid": str(job.id),
        "jobindex": str(job.index),
        "stat": job.stat,
        "queue": job.queue,
        "job_name": job.name,
        "exit_code": str(job.exit_code or "-"),
        "exec_host": socket.gethostname() if job.started else "-",
        "exit_reason": job.reason or "-",
    }
    if name not in values:
        raise Rejection(f"{name}: Unknown field name. Field display failed.")
    return values[name]
