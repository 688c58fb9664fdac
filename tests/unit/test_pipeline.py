"""What is refused or said before the first block, beyond what `test_refusals.py` has.

These hang on the machine or on the installed ndsafir, not on a wrong config; a
refusal that also hit a good config would be found by the second half of each test.
"""

import socket
from pathlib import Path

import numpy as np
import pytest
from demo_czi import write_czi

from denoise_daisy.__main__ import main
from denoise_daisy.denoisers import ndsafir_engine
from denoise_daisy.machine import own_address
from harness import config_for, small_czi, write_config


def test_a_version_of_ndsafir_that_was_not_checked_is_refused_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = small_czi(tmp_path / "in.czi", (1, 1, 2, 32, 32))
    config = write_config(
        tmp_path / "config.json", config_for(source, tmp_path / "out.zarr")
    )
    monkeypatch.setattr(ndsafir_engine, "CHECKED_VERSIONS", ("2000.1",))
    for verb in ("plan", "run"):
        assert main([verb, str(config)]) == 2
        said = capsys.readouterr().err
        assert ndsafir_engine.ndsafir_version() in said
        assert "2000.1" in said
    assert not (tmp_path / "out.zarr").exists()
    assert main(["plan", str(config), "--unchecked-ndsafir"]) == 0


def test_a_block_that_takes_longer_than_a_workers_job_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message has the number to change; nothing is asked of the batch system."""
    source = write_czi(tmp_path / "in.czi", np.zeros((1, 1, 32, 640, 640), np.uint16))
    values = config_for(
        source,
        tmp_path / "out.zarr",
        denoise={"patch": {"z": 1, "y": 3, "x": 3}, "max_iter": 4},
        blocks={"shape": {}},
    )
    workers = {"kind": "lsf", "count": 1, "walltime_minutes": 1}
    config = write_config(tmp_path / "config.json", values | {"workers": workers})
    assert main(["plan", str(config)]) == 2
    said = capsys.readouterr().err
    assert "A block takes about" in said
    assert "workers.walltime_minutes" in said
    longer = values | {"workers": workers | {"walltime_minutes": 600}}
    assert main(["plan", str(write_config(config, longer))]) == 0


def test_the_address_that_others_are_told_is_this_machines() -> None:
    address = socket.gethostbyname(own_address())
    with socket.create_server((address, 0)):
        pass
