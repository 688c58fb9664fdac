"""Neuroglancer is served the voxels, where they are, and its page draws them.

Both begin at the URL that the program prints; what should be there is what zarr reads
of the output.
"""

import io
import json
import signal
import zlib
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import numpy as np
import pytest
from matplotlib.image import imread

from harness import cli, here, ome_of, output_of, start
from harness.browser import shown
from harness.oracles import SCALE, speckles
from harness.two_versions import BEGIN, SHAPE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

T, Z = 1, 2
"""The plane to begin at."""

YELLOW = (255, 255, 0)
"""Of the frame that Neuroglancer draws around data."""

without_c = itemgetter(0, 2, 3, 4)

SHOW = """names => viewer.layerManager.managedLayers.forEach(
    layer => layer.setVisible(names.includes(layer.name)))"""


@pytest.fixture(scope="module")
def url(versions: Path) -> Iterator[str]:
    """Where a finished run is served, until Ctrl-C."""
    pytest.importorskip("neuroglancer")
    output = versions / "0.5" / "out.zarr"
    process = start("view", output, "--neuroglancer", "--at", f"t={T},z={Z}")
    assert process.stdout is not None
    told = process.stdout.readline().strip()
    assert told, process.communicate()[1]
    yield told
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "it is served until Ctrl-C" in errors
    assert "Traceback" not in errors
    assert "Warning" not in errors


def state_of(url: str) -> dict[str, Any]:
    """What the page is told to show, as the server's events have it."""
    place = urlsplit(url)
    token = place.path.strip("/").split("/")[-1]
    events = f"http://{place.netloc}/events/{token}?c=test&gc=&gs="
    with urlopen(events, timeout=60) as said:
        for line in said:
            key, _, text = line.decode().partition(":")
            if key == "data" and (event := json.loads(text))["k"] == "s":
                return dict(event["s"])
    raise AssertionError("no event told the state")


def get(url: str, *words: str) -> bytes:
    place = urlsplit(url)
    path = "/".join(("neuroglancer", *words))
    with urlopen(f"http://{place.netloc}/{path}", timeout=60) as answer:
        return bytes(answer.read())


def test_voxels_are_served_where_they_are(url: str, versions: Path) -> None:
    state = state_of(url)
    at = (T, Z, SHAPE[3] // 2, SHAPE[4] // 2)
    assert state["position"] == pytest.approx(np.add(at, without_c(BEGIN)) + 0.5)
    output = versions / "0.5" / "out.zarr"
    t, c, z, y, x = (slice(b, b + n) for b, n in zip(BEGIN, SHAPE, strict=True))
    whole = tuple(n + b for n, b in zip(SHAPE, BEGIN, strict=True))
    raw, denoised = speckles(whole)[t, c, z, y, x], output_of(output)
    voxels = {
        "raw: Channel 1": raw[:, 1],
        "denoised: Channel 1": denoised[:, 1],
        "residual: Channel 0": raw[:, 0].astype(np.float32) - denoised[:, 0],
        "both: Channel 1": output_of(output / "labels/both")[:, 1],
        "cells": output_of(output / "labels/cells")[:, 0],
    }
    meters = dict(zip("tczyx", SCALE, strict=True))
    space = {axis: [pytest.approx(meters[axis] * 1e-6), "m"] for axis in "zyx"}
    keys = {}
    for layer in state["layers"]:
        (source,) = layer["source"]
        keys[layer["name"]] = source["url"].split("/")[-1]
    begin, end = (0, 1, 3, 5), (2, 4, 33, 41)
    for name, all_of_it in voxels.items():
        info = json.loads(get(url, "info", keys[name]))
        assert info["coordinateSpace"] == {"t": [30, "s"], **space}
        assert [*map(int, info["voxelOffset"])] == [*without_c(BEGIN)]
        assert info["shape"] == [*without_c(SHAPE)]
        assert info["dataType"] == all_of_it.dtype.name
        is_image = name.startswith(("raw", "denoised", "residual"))
        assert info["volumeType"] == ("image" if is_image else "segmentation")
        where = (",".join(map(str, place)) for place in (begin, end))
        chunk = zlib.decompress(get(url, "npz", keys[name], "1,1,1,1", *where))
        part = tuple(slice(b, e) for b, e in zip(begin, end, strict=True))
        assert all_of_it[part].any()
        np.testing.assert_array_equal(np.load(io.BytesIO(chunk)), all_of_it[part])


def drawn(page: "Page", *layers: str) -> np.ndarray:
    """Grey levels (y, x, rgb) at the centres of voxels, where just those are shown."""
    page.evaluate(SHOW, layers)
    page.wait_for_function("viewer.isReady()")
    page.evaluate("viewer.display.draw()")
    picture = np.rint(255 * imread(io.BytesIO(page.screenshot()))[..., :3])
    rows, columns = np.nonzero((picture == YELLOW).all(axis=-1))
    (height, width), (top, left) = SHAPE[3:], (rows.min(), columns.min())
    pixel = (columns.max() + 1 - left) / width
    assert pixel > 10
    assert (rows.max() + 1 - top) / height == pytest.approx(pixel, abs=2 / height)
    y, x = (((np.arange(n) + 0.5) * pixel).astype(int) for n in (height, width))
    return np.asarray(picture[np.ix_(top + y, left + x)])


def test_the_page_draws_the_plane(
    url: str, versions: Path, chromium: "Browser"
) -> None:
    """Voxel by voxel: what is right, below, bright and of which colour."""
    output = versions / "0.5" / "out.zarr"
    expected = np.zeros((*SHAPE[3:], 3))
    channels = ome_of(output)["omero"]["channels"]
    for voxels, channel in zip(output_of(output)[T, :, Z], channels, strict=True):
        low, high = channel["window"]["start"], channel["window"]["end"]
        level = np.clip((voxels - low) / (high - low), 0, 1)
        expected += level[..., np.newaxis] * list(bytes.fromhex(channel["color"]))
    cells = output_of(output / "labels/cells")[T, 0, Z] > 0
    own = urlsplit(url).netloc
    with shown(chromium, url) as found:
        found.page.wait_for_function("window.viewer?.isReady()")
        found.page.wait_for_function("viewer.layerManager.managedLayers.length > 0")
        seen = drawn(found.page, "denoised: Channel 0", "denoised: Channel 1")
        # Neuroglancer's frame is over the outermost.
        inner = np.s_[1:-1, 1:-1]
        difference = np.abs(seen - np.minimum(expected, 255))
        assert difference[inner].max() < 3
        labelled = np.max(drawn(found.page, "cells"), axis=-1) > 0
        np.testing.assert_array_equal(labelled[inner], cells[inner])
        assert found.errors == []
        assert {urlsplit(asked).netloc for asked in found.requests} == {own}


def test_what_can_not_be_served_is_refused(url: str, versions: Path) -> None:
    output, port = versions / "0.5" / "out.zarr", str(urlsplit(url).port)
    done = cli("view", output, "--neuroglancer", "--port", port)
    assert done.returncode == 2
    assert f"port {port} (Address already in use)" in done.stderr
    done = here("view", output, "--neuroglancer", "--screenshot", "a.png")
    assert done.returncode == 2
    assert "one of the two" in done.stderr
    with pytest.raises(SystemExit):
        here("view", output, "--neuroglancer", "--port", "65536")
