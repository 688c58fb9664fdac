"""What a job's or container's control groups leave, in trees as Linux shows them.

Numbers are in bytes.  A last test makes a real group, and asks from within.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from denoise_daisy import cgroups, machine
from denoise_daisy.cgroups import count_in, group_kills, lines_of, memory_left
from denoise_daisy.machine import free_memory, out_of_memory_kills

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"
CPU = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"
HYBRID = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
DISK = "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw"

V1_UNLIMITED = 9223372036854771712


def system(folder: Path, own: str, mounts: list[str]) -> Path:
    """A root with the groups of this process, and what is mounted."""
    proc = folder / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(own)
    (proc / "mountinfo").write_text("\n".join([DISK, *mounts, ""]))
    return folder


def group2(
    folder: Path, limit: int | str, used: int, cache: int = 0, active: int = 0
) -> None:
    """A group of version 2."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    stat = f"anon 7\nfile {cache + active}\ninactive_file {cache}\n"
    (folder / "memory.stat").write_text(f"{stat}active_file {active}\n")


def group1(folder: Path, limit: int, used: int, cache: int = 0) -> None:
    """A group of version 1; the totals are those with the groups in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{used}\n")
    stat = f"cache 9\ninactive_file 1\ntotal_cache 9\ntotal_inactive_file {cache}\n"
    (folder / "memory.stat").write_text(stat)


@pytest.mark.parametrize(
    ("job", "step", "left"),
    [
        ((1000, 300), ("max", 0), 700),
        ((1000, 300), (900, 250), 650),
        ((1000, 300), (500, 300), 200),
        (("max", 300), ("max", 300), None),
        ((1000, 1200), ("max", 0), 0),
    ],
)
def test_of_all_groups_around_a_process_the_tightest_counts(
    job: tuple[int | str, int],
    step: tuple[int | str, int],
    left: int | None,
    tmp_path: Path,
) -> None:
    """As Slurm has them: the limit is the job's, the process in a step of it."""
    root = system(tmp_path, "0::/slurm/job_7/step_0/user\n", [V2])
    top = tmp_path / "sys/fs/cgroup"
    group2(top / "slurm/job_7", *job)
    group2(top / "slurm/job_7/step_0", *step)
    group2(top / "slurm/job_7/step_0/user", "max", 0)
    # Those of others, and files above the groups, don't matter.
    group2(top / "slurm/job_8", 10, 0)
    group2(top.parent, 10, 0)
    assert memory_left(root) == left


@pytest.mark.parametrize("group", ["/", "/job"])
def test_the_groups_at_both_ends_count(group: str, tmp_path: Path) -> None:
    """A container sees its own group as the top."""
    root = system(tmp_path, f"0::{group}\n", [V2])
    own = tmp_path / "sys/fs/cgroup" / group.lstrip("/")
    group2(own, 1000, 400)
    assert memory_left(root) == 600
    group2(tmp_path / "sys/fs/cgroup", 500, 400)
    assert memory_left(root) == 100


def test_files_that_the_kernel_only_keeps_for_later_are_free(tmp_path: Path) -> None:
    """Those that were read once; what is read again and again is not given up."""
    root = system(tmp_path, "0::/job\n", [V2])
    group2(tmp_path / "sys/fs/cgroup/job", 1000, 900, cache=500, active=300)
    assert memory_left(root) == 600


def test_version_1_has_a_tree_for_memory_alone(tmp_path: Path) -> None:
    own = "9:name=systemd:/wrong\n5:cpu,cpuacct:/wrong\n4:hugetlb,memory:/lsf/job\n"
    root = system(tmp_path, own, [CPU, V1])
    top = tmp_path / "sys/fs/cgroup"
    group1(top / "memory", V1_UNLIMITED, 5000)
    group1(top / "memory/lsf", 1000, 800, cache=400)
    group1(top / "memory/lsf/job", V1_UNLIMITED, 700)
    group1(top / "memory/wrong", 10, 0)
    group1(top / "cpu/lsf/job", 10, 0)
    assert memory_left(root) == 600


@pytest.mark.parametrize(("first", "second"), [(900, 400), (400, 900)])
def test_where_both_versions_are_there_the_tighter_counts(
    first: int, second: int, tmp_path: Path
) -> None:
    root = system(tmp_path, "4:memory:/a\n0::/b\n", [V1, HYBRID])
    group1(tmp_path / "sys/fs/cgroup/memory/a", first, 100)
    group2(tmp_path / "sys/fs/cgroup/unified/b", second, 100)
    assert memory_left(root) == 300


@pytest.mark.parametrize("own", ["/docker/abc/init", "/docker/abc", "/", "/../else"])
def test_a_container_that_sees_a_part_of_the_groups_has_that(
    own: str, tmp_path: Path
) -> None:
    """Its own group by its path in the whole tree, of which just a part is mounted."""
    part = V2.replace(" / /sys", " /docker/abc /sys")
    root = system(tmp_path, f"0::{own}\n", [part])
    group2(tmp_path / "sys/fs/cgroup", 1000, 400)
    assert memory_left(root) == 600


def test_a_group_within_the_mounted_part_is_found(tmp_path: Path) -> None:
    """Also where another part is mounted before."""
    parts = [V2.replace(" / /sys/fs/cgroup", f" /{at} /{at}") for at in ("b", "a")]
    root = system(tmp_path, "0::/a/job\n", parts)
    group2(tmp_path / "b", 10, 0)
    group2(tmp_path / "a/job", 1000, 400)
    assert memory_left(root) == 600


@pytest.mark.parametrize(
    ("own", "mounts"),
    [("", [V2]), ("0::/job\n", []), ("0::/job\n", [CPU]), ("5:cpu:/job\n", [V2, CPU])],
)
def test_a_process_without_groups_of_memory_has_no_limit(
    own: str, mounts: list[str], tmp_path: Path
) -> None:
    root = system(tmp_path, own, mounts)
    group2(tmp_path / "sys/fs/cgroup/job", 10, 0)
    group2(tmp_path / "sys/fs/cgroup/cpu/job", 10, 0)
    assert memory_left(root) is None
    assert group_kills(root) is None


def test_a_system_without_proc_has_no_limit(tmp_path: Path) -> None:
    """macOS, for one."""
    assert memory_left(tmp_path) is None
    assert group_kills(tmp_path) is None
    assert lines_of(tmp_path / "none") == []
    assert count_in(tmp_path / "none", "oom_kill") is None


@pytest.mark.parametrize(("left", "free"), [(None, 5000), (4000, 4000), (6000, 5000)])
def test_free_memory_is_the_machines_within_the_limit(
    left: int | None, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Memory:
        available = 5000

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    monkeypatch.setattr(machine, "memory_left", lambda: left)
    assert free_memory() == free


EVENTS = "low 0\nhigh 0\nmax 31\noom 5\noom_kill 3\noom_group_kill 2\n"


@pytest.mark.parametrize(
    ("own", "file", "text", "kills"),
    [
        ("0::/job\n", "job/memory.events", EVENTS, 3),
        ("0::/job\n", "memory.events", EVENTS, None),
        ("0::/job\n", "job/memory.events", "low 0\noom 5\n", None),
        ("4:memory:/job\n0::/\n", "memory/job/memory.oom_control", EVENTS, 3),
        # Version 2 beside it has no files for memory, then.
        ("4:memory:/job\n0::/\n", "memory/memory.oom_control", EVENTS, None),
    ],
)
def test_kills_are_counted_in_the_own_group(
    own: str, file: str, text: str, kills: int | None, tmp_path: Path
) -> None:
    root = system(tmp_path, own, [V1, V2])
    top = tmp_path / "sys/fs/cgroup"
    (top / "job").mkdir(parents=True)
    (top / "memory/job").mkdir(parents=True)
    (top / file).write_text(text)
    assert group_kills(root) == kills


KERNEL = "pgfault 812\noom_kill 40\nnuma_hit 7\n"


@pytest.mark.parametrize(
    ("group", "kernel", "kills"),
    [
        (3, KERNEL, 3),
        (0, KERNEL, 0),
        (None, KERNEL, 40),
        (None, "pgfault 812\n", 0),
        (None, "", 0),
    ],
)
def test_kills_for_want_of_memory_are_this_groups_if_it_counts_them(
    group: int | None,
    kernel: str,
    kills: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text(kernel)
    monkeypatch.setattr(machine, "KERNEL_COUNTERS", counters)
    monkeypatch.setattr(machine, "group_kills", lambda: group)
    assert out_of_memory_kills() == kills


# A real one.

NO_GROUP = "no control group with a limit of memory can be made here"


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of 1 GiB within that of this process."""
    own = [
        folder
        for kind, folder, _ in vars(cgroups)["_groups"](Path("/"))
        if (folder / cgroups.MEMORY_FILES[kind][1]).exists()
    ]
    if not own:
        pytest.skip(NO_GROUP)
    folder = own[0] / f"denoise-daisy-{os.getpid()}"
    limits = [folder / limit for limit, *_ in cgroups.MEMORY_FILES.values()]
    try:
        folder.mkdir()
    except OSError:
        pytest.skip(NO_GROUP)
    try:
        there = [limit for limit in limits if limit.exists()]
        if not there:
            pytest.skip(NO_GROUP)
        there[0].write_text(str(1 << 30))
        yield folder
    finally:
        folder.rmdir()


ASK = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
from denoise_daisy.launchers.local import LocalWorkers
print(LocalWorkers(count=1).memory("auto"))
"""


def test_a_job_with_a_limit_plans_within_it(group: Path) -> None:
    """Four fifths of 1 GiB, but for what the process takes itself."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(group)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0.6 * (1 << 30) < int(done.stdout) <= 0.8 * (1 << 30)
