"""A stand-in for LSF: bsub, bjobs and bkill that really run and really kill jobs.

After the documents of IBM Spectrum LSF 10.1 and recorded outputs; what a site may set
is an environment variable of the first call.  Jobs belong to a daemon, not to the
client that sent them, and all state is in $FAKE_LSF_DIR:

  calls.log     every call: time, calling job or -, program, arguments
  jobs.json     the jobs as they are now
  mail/         reports of jobs without -o
  spool/        scripts and outputs of jobs that have not ended

FAKE_LSF_SLOTS            processors of the only host (4)
FAKE_LSF_PEND             seconds that every job is pending at least (0.5)
FAKE_LSF_KILL_INTERVAL    seconds from INT to TERM to KILL (10)
FAKE_LSF_LAST_INTERVAL    seconds from TERM to KILL, where they are others
FAKE_LSF_CLEAN_PERIOD     seconds after which ended jobs are forgotten (3600)
FAKE_LSF_NOTICE           a site's line that comes before "Job <..> is submitted"

`fake_lsf.py stop` kills all jobs and ends the daemon; `fake_lsf.py host_failure` ends
all running jobs as if their host had failed, `fake_lsf.py host_vanishes` as if it had
been cut off: nobody knows what they do.  By `fake_lsf.py run_limit` all running jobs
have run for as long as their -W lets them.
"""

import fcntl
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# The interpreter is isolated, and so does not look beside this file by itself.
sys.path.insert(0, str(Path(__file__).parent))

from lsf_daemon import Daemon
from lsf_words import Rejection, options_in, parse


def folder() -> Path:
    return Path(os.environ["FAKE_LSF_DIR"])


def ask(**request: Any) -> dict[str, Any]:
    """The daemon's answer; it is started where none runs."""
    directory = folder()
    deadline = time.monotonic() + 20
    started = False
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            before = Path.cwd()
            try:
                # The path of a socket must be short.
                os.chdir(directory)
                client.connect("socket")
            except OSError:
                if time.monotonic() > deadline:
                    raise
            else:
                with client.makefile("rwb") as file:
                    file.write(json.dumps(request).encode() + b"\n")
                    file.flush()
                    reply: dict[str, Any] = json.loads(file.readline())
                    return reply
            finally:
                os.chdir(before)
        if not started:
            started = True
            start_daemon(directory)
        time.sleep(0.02)


def start_daemon(directory: Path) -> None:
    for name in ("spool", "mail"):
        (directory / name).mkdir(exist_ok=True)
    with (directory / "daemon.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, "daemon"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def daemon() -> int:
    with (folder() / "daemon.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        Daemon(folder()).serve()
    return 0


def line_of(command: list[str]) -> str:
    """One word is a shell's line as it is."""
    return command[0] if len(command) == 1 else shlex.join(command)


def bsub(arguments: list[str]) -> int:
    try:
        options, command = parse(arguments)
        script = f"{said}\n" if (said := line_of(command)) else sys.stdin.read()
        if not command:
            options = options_in(script) | options
        reply = ask(
            program="bsub",
            options=options,
            script=script,
            env=dict(os.environ),
            cwd=str(Path.cwd()),
        )
    except Rejection as error:
        reply = {"err": f"{error}\n", "rc": 255}
    code = say(reply)
    if code or "K" not in options:
        return code
    print("<<Waiting for dispatch ...>>", file=sys.stderr, flush=True)
    job, told = re.findall(r"Job <(\d+)>", reply["out"])[0], False
    while True:
        state = ask(program="wait", job=job)
        if not told and "PEND" not in state["stats"]:
            told = True
            print("<<Starting on fake>>", file=sys.stderr, flush=True)
        if not {"PEND", "RUN"} & set(state["stats"]):
            print("<<Job is finished>>", file=sys.stderr)
            return int(state["code"])
        time.sleep(0.1)


def say(reply: dict[str, Any]) -> int:
    sys.stdout.write(reply.get("out", ""))
    sys.stderr.write(reply.get("err", ""))
    return int(reply.get("rc", 0))


def main(program: str, arguments: list[str]) -> int:
    caller = os.environ.get("TEST_CALLER") or os.environ.get("LSB_BATCH_JID", "-")
    line = f"{time.time():.3f} {caller} {program} {shlex.join(arguments)}\n"
    if program == "daemon":
        return daemon()
    with (folder() / "calls.log").open("a") as log:
        log.write(line.replace("\n", " ").strip() + "\n")
    if program == "bsub":
        return bsub(arguments)
    if program in ("stop", "host_failure", "host_vanishes", "run_limit"):
        return say(ask(program=program))
    return say(ask(program=program, arguments=arguments))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
