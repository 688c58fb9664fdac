"""What this machine has to give: cores, memory, disk."""

import os
import resource
import shutil
import socket
import sys
from pathlib import Path

import psutil

from denoise_daisy.cgroups import count_in, group_kills, lines_of, memory_left

KERNEL_COUNTERS = Path("/proc/vmstat")
"""Of the whole machine."""


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int:
    """Bytes that new processes can take, within the limits of this job or container."""
    left = memory_left()
    free: int = psutil.virtual_memory().available
    return free if left is None else min(free, left)


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for want of memory.

    Of this job or container where that is counted, else of the machine.
    """
    killed = group_kills()
    if killed is None:
        killed = count_in(KERNEL_COUNTERS, "oom_kill")
    return killed or 0


def free_disk(folder: Path) -> tuple[int, int | None]:
    """Free bytes and free files (None: no limit) where a folder is or will be made."""
    while not folder.exists():
        folder = folder.parent
    status = os.statvfs(folder)
    return shutil.disk_usage(folder).free, status.f_favail if status.f_files else None


def peak_memory() -> int:
    """Most bytes of memory that this process has held at once."""
    for line in lines_of(Path("/proc/self/status")):
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
