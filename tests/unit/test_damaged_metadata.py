"""An output whose zarr.json is damaged is refused or repaired, and never called good.

Nobody can open such an output, however good its voxels are.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from denoise_daisy.__main__ import main
from harness import config_for, ledger_lines, small_czi, write_config
from harness.hiccups import Hiccup
from harness.prepared import copied
from harness.shared import once

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "cut": lambda good: good[: len(good) // 2],
    "empty": lambda _: b"",
    "no group": lambda _: b"[1]",
    "gone": lambda _: None,
}

GROUPS = ["out.zarr", "out.soft.zarr", "out.zarr/labels/bright"]

LIST = "out.zarr/labels"


def finish(folder: Path) -> dict[str, Any]:
    """The config of a finished run, of one block for each of three stages."""
    source = small_czi(folder / "in.czi", (1, 1, 1, 16, 16))
    config = config_for(source, folder / "out.zarr", workers={"count": 1})
    del config["noise"]
    config["denoise"] = {"kind": "median", "size": {"y": 3}}
    config["tasks"] = [
        {"kind": "smooth", "name": "soft", "sigma": {"y": 1}},
        {"kind": "threshold", "name": "bright", "value": 500},
    ]
    assert main([str(write_config(folder / "config.json", config))]) == 0
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a copy of that run and its config, to be damaged for a while."""
    folder = tmp_path_factory.mktemp("copy")
    config = copied(once(tmp_path_factory, "damaged_metadata", finish), folder)
    path = write_config(folder / "config.json", config)
    for name in ("out.zarr", "out.soft.zarr"):
        # Its provenance names where it was.
        (folder / name / "zarr.json").unlink()
        assert main(["run", str(path)]) == 0
    return folder


@contextmanager
def damaged(file: Path, how: str) -> Iterator[bytes]:
    """What it was before, and what it is again afterwards."""
    good = file.read_bytes()
    bad = DAMAGES[how](good)
    if bad is None:
        file.unlink()
    else:
        file.write_bytes(bad)
    try:
        yield good
    finally:
        file.write_bytes(good)


def contents(folder: Path) -> dict[Path, bytes]:
    return {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("verb", ["run", "verify"])
def test_an_array_whose_metadata_are_damaged_is_refused(
    verb: str, how: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not one of its blocks counts as damaged, which the next start would redo."""
    output, config = finished / "out.zarr", str(finished / "config.json")
    lines: list[dict[str, Any]] = [*ledger_lines(output)]
    with damaged(output / "0" / "zarr.json", how):
        assert main([verb, config]) == 4
        said = capsys.readouterr().err
        assert repr(str(output / "0")) in said
        assert "can't be opened" in said
        assert [*ledger_lines(output)] == lines
    assert main([verb, config]) == 0


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("group", GROUPS)
def test_verify_refuses_a_group_whose_metadata_are_damaged(
    group: str, how: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And changes nothing of it, nor of the ledgers."""
    config = str(finished / "config.json")
    with damaged(finished / group / "zarr.json", how):
        before = contents(finished / "out.zarr.run" / "ledger")
        outputs = [contents(finished / name) for name in ("out.zarr", "out.soft.zarr")]
        assert main(["verify", config]) == 4
        assert repr(str(finished / group)) in capsys.readouterr().err
        assert contents(finished / "out.zarr.run" / "ledger") == before
        assert outputs == [
            contents(finished / name) for name in ("out.zarr", "out.soft.zarr")
        ]
    assert main(["verify", config]) == 0


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("group", GROUPS)
def test_a_run_repairs_a_group_whose_metadata_are_damaged(
    group: str, how: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As they were, to the byte; no block is done again, and verify is content."""
    config = str(finished / "config.json")
    lines = [
        [*ledger_lines(finished / "out.zarr", stage)]
        for stage in ("denoise", "soft", "bright")
    ]
    assert [len(of_stage) for of_stage in lines] == [1, 1, 1]
    before = {name: contents(finished / name) for name in ("out.zarr", "out.soft.zarr")}
    with damaged(finished / group / "zarr.json", how):
        assert main(["run", config]) == 0
        assert "0 blocks done, 3 skipped" in capsys.readouterr().out
        assert before == {name: contents(finished / name) for name in before}
        assert main(["verify", config]) == 0
    assert lines == [
        [*ledger_lines(finished / "out.zarr", stage)]
        for stage in ("denoise", "soft", "bright")
    ]


@pytest.mark.parametrize(
    ("call", "file"),
    [("fsync", "out.soft.zarr/zarr.json"), ("stat", f"{LIST}/zarr.json")],
)
def test_metadata_are_made_again_where_the_file_system_hiccups(
    call: str, file: str, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = finished / "out.soft.zarr" / "zarr.json"
    good = group.read_bytes()
    group.unlink()
    hiccup = Hiccup(monkeypatch, call, str(finished / file))
    assert main(["run", str(finished / "config.json")]) == 0
    assert hiccup.hits == 1
    assert group.read_bytes() == good


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize(("verb", "code"), [("run", 0), ("verify", 4)])
def test_so_it_is_with_the_list_of_labels(
    verb: str, code: int, how: str, finished: Path
) -> None:
    with damaged(finished / LIST / "zarr.json", how) as good:
        assert main([verb, str(finished / "config.json")]) == code
        if verb == "run":
            assert (finished / LIST / "zarr.json").read_bytes() == good


def test_a_run_goes_on_to_more_labels_where_the_list_of_them_is_damaged(
    tmp_path: Path, finished: Path
) -> None:
    config = copied(json.loads((finished / "config.json").read_text()), tmp_path)
    file = write_config(tmp_path / "config.json", config)
    assert main([str(file)]) == 0
    config["tasks"].append({"kind": "threshold", "name": "more", "value": 5})
    write_config(file, config)
    (tmp_path / LIST / "zarr.json").write_bytes(b"")
    assert main([str(file)]) == 0
    group = json.loads((tmp_path / LIST / "zarr.json").read_bytes())
    assert sorted(group["attributes"]["ome"]["labels"]) == ["bright", "more"]
