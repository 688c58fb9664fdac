"""What this machine has to give: cores, memory, disk."""

import os
import resource
import shutil
import socket
import sys
from pathlib import Path

import psutil

CGROUP_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)

KILL_COUNTERS = ("/sys/fs/cgroup/memory.events", "/proc/vmstat")
"""Files that tell how many processes were killed for want of memory."""


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int:
    """Bytes that new processes can take, within the limits of this container."""
    free = psutil.virtual_memory().available
    for limit_file, usage_file in CGROUP_LIMITS:
        limit, usage = _number(limit_file), _number(usage_file)
        if limit is not None and usage is not None:
            free = min(free, max(0, limit - usage))
    return free


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed in this container for want of memory."""
    for counter in KILL_COUNTERS:
        for line in _lines(counter):
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def free_disk(folder: Path) -> tuple[int, int | None]:
    """Free bytes and free files (None: no limit) where a folder is or will be made."""
    while not folder.exists():
        folder = folder.parent
    status = os.statvfs(folder)
    return shutil.disk_usage(folder).free, status.f_favail if status.f_files else None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _number(path: str) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def peak_memory() -> int:
    """Most bytes of memory that this process has held at once."""
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    # ru_maxrss is in KiB on Linux and the BSDs, in bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def own_address() -> str:
    """The name or address of this machine as others see it.

    Its full name where that resolves to an address that is not a loopback one, else the
    address of the interface that leads outside.
    """
    name = socket.getfqdn()
    try:
        if not socket.gethostbyname(name).startswith("127."):
            return name
    except OSError:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: connecting a datagram socket only chooses a route.
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def raise_file_limit() -> None:
    """Allow as many open files, and so workers, as the system lets this process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
