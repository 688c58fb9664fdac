"""Fixtures of the tests on batch systems."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clusters import Cluster, LsfCluster, SlurmCluster, free_ports, local_slurm
from harness.other_machine import TUN, Wire, new_wire


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """A Slurm of this process's own; no other is touched."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    for program in ("slurmctld", "slurmd", "sbatch", "munged"):
        if not shutil.which(program, path=path):
            pytest.skip(f"no {program}: apt-get install slurmctld slurmd slurm-client")
    if os.geteuid() != 0:
        pytest.skip("only root can start a Slurm for all")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    before = dict(os.environ)
    os.environ |= {
        "SLURM_LOCAL_DIR": str(folder),
        "SLURM_LOCAL_PORT": str(free_ports(4)),
        "SLURM_CONF": str(folder / "slurm.conf"),
    }
    try:
        local_slurm("start")
        # Slurm's default; a shorter one would kill for us what we only ask to leave.
        config = folder / "slurm.conf"
        text = config.read_text()
        assert "KillWait=5\n" in text
        config.write_text(text.replace("KillWait=5\n", "KillWait=30\n"))
        subprocess.run(["scontrol", "reconfigure"], check=True, timeout=60)
        yield folder
    finally:
        local_slurm("stop")
        os.environ.clear()
        os.environ |= before


@pytest.fixture
def slurm_cluster(slurm: Path) -> Iterator[SlurmCluster]:
    with tempfile.TemporaryDirectory(prefix="calls-") as folder:
        cluster = SlurmCluster(Path(folder))
        try:
            yield cluster
        finally:
            cluster.end()


@pytest.fixture
def lsf_settings() -> dict[str, float | str]:
    """What the fake LSF's site has set; tests may change it before the first call."""
    return {}


@pytest.fixture
def lsf_cluster(lsf_settings: dict[str, float | str]) -> Iterator[LsfCluster]:
    with tempfile.TemporaryDirectory(prefix="lsf-") as folder:
        cluster = LsfCluster(Path(folder), **lsf_settings)
        try:
            yield cluster
        finally:
            cluster.end()


@pytest.fixture(params=[pytest.param("slurm", marks=pytest.mark.slurm), "lsf"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Each of the batch systems in turn."""
    return request.getfixturevalue(f"{request.param}_cluster")


@pytest.fixture
def wire() -> Iterator[Wire]:
    """Another machine, and the wire to it."""
    if os.geteuid() != 0 or not TUN.exists():
        pytest.skip(f"another machine needs root and {TUN}")
    with new_wire() as made:
        yield made
