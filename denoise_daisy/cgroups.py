"""The control groups that this process is in, and how much memory they leave it.

A batch system, a container or a service has a group for its processes, which may lie in
groups with limits of their own: the tightest counts.  Both versions of them are read,
side by side as well; every function takes the root that ``proc`` lies in.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

SYSTEM = Path("/")

MEMORY_FILES = {
    "cgroup2": ("memory.max", "memory.current", "inactive_file"),
    "cgroup": (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}
"""By the type of file system: a group's limit, what it uses, and how much of that, by
its name in ``memory.stat``, is cache that the kernel takes back when it is wanted."""

KILL_FILES = {"cgroup2": "memory.events", "cgroup": "memory.oom_control"}
"""What tells how many processes of a group were killed for want of memory."""


def memory_left(system: Path = SYSTEM) -> int | None:
    """Bytes that the groups' limits leave this process; None where there is none."""
    left = []
    for kind, own, top in _groups(system):
        limit_file, usage_file, cache = MEMORY_FILES[kind]
        for folder in (own, *own.parents):
            limit = _number(folder / limit_file)
            usage = _number(folder / usage_file)
            if limit is not None and usage is not None:
                used = usage - (count_in(folder / "memory.stat", cache) or 0)
                left.append(max(0, limit - used))
            if folder == top:
                break
    return min(left, default=None)


def group_kills(system: Path = SYSTEM) -> int | None:
    """How many processes of this one's group were killed for want of memory."""
    for kind, own, _ in _groups(system):
        count = count_in(own / KILL_FILES[kind], "oom_kill")
        if count is not None:
            return count
    return None


def count_in(file: Path, name: str) -> int | None:
    """The number beside a name, in a file of a name and a number per line."""
    for line in lines_of(file):
        found, _, count = line.partition(" ")
        if found == name:
            return int(count)
    return None


def _groups(system: Path) -> Iterator[tuple[str, Path, Path]]:
    """Of each version that knows of memory: its type, the own group's folder, the top.

    Where the own group is not to be seen, as from within some containers, the top is
    the nearest thing to it.
    """
    groups = dict(_own(system))
    mounts: dict[str, list[tuple[str, Path]]] = {}
    for kind, root, point in _mounts(system):
        mounts.setdefault(kind, []).append((root, point))
    for kind in MEMORY_FILES:
        if kind in groups and kind in mounts:
            seen = [
                (point / groups[kind].relative_to(root), point)
                for root, point in mounts[kind]
                if groups[kind].is_relative_to(root) and ".." not in groups[kind].parts
            ]
            top = mounts[kind][0][1]
            there = (pair for pair in seen if pair[0].is_dir())
            yield (kind, *next(there, (top, top)))


def _own(system: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """The group of this process, by type; lines are ``number:controllers:path``."""
    for line in lines_of(system / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield "cgroup2", PurePosixPath(path)
        elif "memory" in controllers.split(","):
            yield "cgroup", PurePosixPath(path)


def _mounts(system: Path) -> Iterator[tuple[str, str, Path]]:
    """Of each mount of groups: its type, the group at its top, its folder."""
    for line in lines_of(system / "proc/self/mountinfo"):
        place, _, what = line.partition(" - ")
        (_, _, _, root, point, *_), (kind, *_, options) = place.split(), what.split()
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            yield kind, root, system / point.lstrip("/")


def lines_of(file: Path) -> list[str]:
    """The lines of a small file; none where it can't be read."""
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def _number(file: Path) -> int | None:
    lines = lines_of(file)
    return int(lines[0]) if lines and lines[0].isdigit() else None
