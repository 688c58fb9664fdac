"""What an output says of itself, read by other people's library."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import zarr
from ome_types import from_xml

from harness import ledger_lines
from harness.chains import Chain

KEY = "denoise_daisy"


def noted(group: Path) -> dict[str, Any]:
    attributes: dict[str, Any] = zarr.open_group(group, mode="r").attrs.asdict()
    return dict(attributes[KEY])


def test_an_output_says_what_was_done_to_what(finished_chain: Chain) -> None:
    chain = finished_chain
    own, record = (
        noted(chain.output),
        json.loads((chain.run_dir / "run.json").read_text()),
    )
    assert own["run"] == record["id"]
    assert own["output"] == "out.zarr"
    assert own["config"] == record["config"]
    assert own["config"]["denoise"]["size"] == {"y": 3, "x": 3}
    source = own["input"]
    assert source["path"] == str(chain.folder / "in.czi")
    assert source["format"] == "CZI"
    assert source["shape"] == [1, 1, 8, 64, 64]
    assert source["identity"]["size"] == (chain.folder / "in.czi").stat().st_size
    assert own["versions"]["zarr"] == zarr.__version__
    assert own["stages"].keys() == record["stages"].keys()
    assert own["begun"] == record["begun"]
    for name, stage in record["stages"].items():
        assert own["stages"][name] == stage


def test_an_output_says_how_its_run_ended(finished_chain: Chain) -> None:
    chain, ended = finished_chain, noted(finished_chain.output)["ended"]
    assert ended["is_done"]
    lines = [line for line in ledger_lines(chain.output) if line["status"] == "done"]
    assert ended["engines"] == dict(Counter(line["engine"] for line in lines))
    assert ended["blocks"]["denoise"] == {"done": 8, "failed": 0, "of": 8}
    assert ended["blocks"].keys() == noted(chain.output)["stages"].keys()


def test_images_of_tasks_say_the_same_and_labels_whose_they_are(
    finished_chain: Chain,
) -> None:
    chain = finished_chain
    own = noted(chain.output)
    assert noted(chain.soft) == own
    labels = noted(chain.output / "labels" / "cells")
    assert labels == {name: own[name] for name in ("version", "run", "fingerprint")}


def test_the_metadata_of_the_input_lie_beside_the_voxels(finished_chain: Chain) -> None:
    file = finished_chain.output / "OME" / "METADATA.ome.xml"
    ome = from_xml(file.read_text(), validate=True)
    [image] = ome.images
    assert (image.name, image.pixels.size_z, image.pixels.type.value) == (
        *("out", 8, "uint16"),
    )
    [annotation] = ome.structured_annotations.xml_annotations
    assert annotation.namespace == "denoise-daisy:original-metadata"
    assert b"<ImageDocument" in file.read_bytes()
