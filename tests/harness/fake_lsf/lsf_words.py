"""What bsub's options and scripts say, and what LSF rejects."""

import re
import shlex

QUEUES = ("normal", "short", "long")
MOST_SLOTS = 64
MOST_ELEMENTS = 1000
OPTIONS_WITH_VALUE = (
    *("J", "n", "R", "M", "W", "q", "P", "o", "oo", "e", "eo"),
    *("Q", "env", "cwd", "m", "G", "app", "w", "wa", "wt"),
)
FLAGS = ("r", "rn", "K", "x", "N", "B")


class Rejection(Exception):
    """What LSF does not take, in its words."""


def parse(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options by name, those of -R joined, and the command."""
    options: dict[str, str] = {}
    words = list(words)
    while words and words[0].startswith("-"):
        name = words.pop(0)[1:]
        if name in FLAGS:
            options[name] = ""
            continue
        if name not in OPTIONS_WITH_VALUE or not words:
            raise Rejection(f"bsub: illegal option -- {name}")
        value = words.pop(0)
        joined = name == "R" and name in options
        options[name] = f"{options[name]} {value}" if joined else value
    return options, words


def options_in(script: str) -> dict[str, str]:
    """Those of the lines that begin with #BSUB."""
    lines = (line for line in script.splitlines() if line.startswith("#BSUB"))
    words = [word for line in lines for word in shlex.split(line[5:], comments=True)]
    return parse(words)[0]


def minutes(text: str) -> int:
    """``[HOURS:]MINUTES``."""
    found = re.fullmatch(r"(?:(\d+):)?(\d+)", text)
    if not found:
        raise Rejection("Bad RUNLIMIT specification. Job not submitted.")
    return 60 * int(found[1] or 0) + int(found[2])


def check(options: dict[str, str]) -> None:
    queue = options.get("q", "normal")
    if not set(queue.split()) & set(QUEUES):
        raise Rejection(f"{queue}: No such queue. Job not submitted.")
    slots = options.get("n", "1")
    if not slots.isdigit() or int(slots) < 1:
        raise Rejection("Bad processor number specification. Job not submitted.")
    if int(slots) > MOST_SLOTS:
        raise Rejection("Too many processors requested. Job not submitted.")
    if not re.fullmatch(r"\d+([KMGT]B?)?!?", options.get("M", "1")):
        raise Rejection("Bad MEMLIMIT specification. Job not submitted.")
    minutes(options.get("W", "1"))


def elements(name: str) -> list[int]:
    """Indices of a job array's name, 0 for a job that is none."""
    found = re.fullmatch(r"[^\[\]]*\[([\d,-]+)\](%\d+)?", name)
    if not found:
        if "[" in name:
            raise Rejection(f"{name}: Bad job array name. Job not submitted.")
        return [0]
    indices: list[int] = []
    for part in found[1].split(","):
        first, _, last = part.partition("-")
        indices += range(int(first), int(last or first) + 1)
    if min(indices, default=0) < 1 or len(indices) > MOST_ELEMENTS:
        raise Rejection("Job array index too large. Job not submitted.")
    return indices


def environment(wanted: str, submitted: dict[str, str]) -> dict[str, str]:
    """What -env lets through: "all", "none", "A, B=c", "all, ~X, A=b"."""
    kept: dict[str, str] = {}
    for item in re.findall(r"(?:'[^']*'|[^,'])+", wanted):
        word = item.strip()
        name, equals, value = word.partition("=")
        if word == "all":
            kept |= submitted
        elif word.startswith("~"):
            kept.pop(word[1:], None)
        elif equals:
            kept[name] = value.strip("'")
        elif word != "none" and name in submitted:
            kept[name] = submitted[name]
    login = ("HOME", "USER", "LOGNAME", "SHELL")
    kept |= {name: submitted[name] for name in login if name in submitted}
    kept.setdefault("PATH", "/usr/bin:/bin")
    private = ("LSB_", "LS_JOBPID")
    return {k: v for k, v in kept.items() if not k.startswith(private)}
