"""Formats of other packages, and what bioio reads for want of a reader here."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from bioio_ome_tiff.writers import OmeTiffWriter
from demo_czi import write_czi

from denoise_daisy.errors import InputError
from denoise_daisy.images import bioio_format, bioio_image, czi_format, formats
from denoise_daisy.images.formats import (
    describe,
    described_image,
    format_of,
    is_image,
    open_image,
)
from denoise_daisy.images.input import Input
from harness.czi_files import ALL, noise

OF_OTHERS = '''
"""Reads .raw9: bytes of 4 x 5 pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from denoise_daisy.images.format import Format, only_scene
from denoise_daisy.images.stored_array import StoredArray, plain_channels


@dataclass(frozen=True)
class Raw(StoredArray):
    def _voxels(self, part):
        return np.fromfile(self.path, np.uint8).reshape(4, 5)[part]

    def current_identity(self):
        return {"size": Path(self.path).stat().st_size}


def _open(source):
    return Raw(
        path=source.path, part="", axes="yx", stored_shape=(4, 5), pixel_type="uint8",
        selected=(0,), channels=plain_channels(1), scale_um=(None, 1.0, 1.0),
        time_step_s=None, identity={"size": 20}, warnings=(),
    )


FORMAT = Format("Raw nine", (".raw9",), Raw, _open, only_scene, packages=("raw9",))
'''

SPOKEN_FOR = """
import sys
from denoise_daisy.images import formats
from denoise_daisy.images.input import Input
image = formats.open_image(Input(path=sys.argv[1]))
again = formats.described_image(formats.describe(image))
assert again == image
assert formats.versions_of(image) == {"raw9": "1.5"}
sys.stdout.buffer.write(again[(slice(None),) * 5].tobytes())
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package with an entry point where Python finds it."""

    def put(module: str, text: str | None, name: str = "raw9") -> Path:
        site = tmp_path / "site"
        info = site / f"{name}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n"
        )
        (info / "entry_points.txt").write_text(
            f"[{formats.ENTRY_POINTS}]\nnine = {module}:FORMAT\n"
        )
        if text is not None:
            (site / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(str(site))
        formats._others.cache_clear()
        return site

    yield put
    formats._others.cache_clear()


def test_a_package_adds_a_format(install: Install, tmp_path: Path) -> None:
    site = install("raw_nine", OF_OTHERS)
    path = tmp_path / "a.raw9"
    path.write_bytes(bytes(range(20)))
    assert is_image(path)
    ended = subprocess.run(
        [sys.executable, "-c", SPOKEN_FOR, path],
        env=os.environ | {"PYTHONPATH": f"{site}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        check=False,
    )
    assert ended.stderr.decode() == ""
    assert ended.stdout == bytes(range(20))


@pytest.mark.parametrize(
    "text",
    [None, "import no_such_engine", "FORMAT = 3", OF_OTHERS.replace("Raw nine", "CZI")],
    ids=["away", "without its engine", "no format", "of a name that is taken"],
)
def test_a_broken_package_hinders_no_other_format(
    install: Install,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    text: str | None,
) -> None:
    module = f"broken_{abs(hash(text))}"
    install(module, text)
    voxels = noise((1, 1, 2, 5, 7))
    czi = write_czi(tmp_path / "a.czi", voxels)
    with caplog.at_level(logging.WARNING):
        image = open_image(Input(path=str(czi)))
        open_image(Input(path=str(czi)))
    np.testing.assert_array_equal(image[ALL], voxels)
    assert described_image(describe(image)) == image
    warned = [r.getMessage() for r in caplog.records if "nine" in r.getMessage()]
    assert len(warned) == 1
    assert "'raw9'" in warned[0]

    unknown = tmp_path / "a.raw9"
    unknown.write_bytes(bytes(20))
    with pytest.raises(InputError, match=rf"'nine' \({module}:FORMAT\).*Expected"):
        open_image(Input(path=str(unknown)))
    # What is away, or has an ending of ours, is none of its business.
    for name in ("away.raw9", "away.czi"):
        assert format_of(str(tmp_path / name)) is czi_format.FORMAT


def test_endings_that_bioio_knows_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ND2"
    path.write_bytes(b"\xda\xce\xbe\x0a" * 9)
    assert is_image(path)
    with pytest.raises(InputError, match=r"pip install bioio-nd2\."):
        open_image(Input(path=str(path)))
    monkeypatch.setattr(bioio_image, "find_spec", lambda _: None)
    told = r"pip install 'denoise-daisy\[bioio\]' bioio-nd2\."
    with pytest.raises(InputError, match=told):
        open_image(Input(path=str(path)))
    path.unlink()
    with pytest.raises(InputError, match="is no file that is there"):
        open_image(Input(path=str(path)))


@pytest.mark.filterwarnings("ignore:As of version 0.4.0")  # ome-types
def test_bioio_has_what_is_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.ome.tiff"
    images = [noise((1, 2, 2, 16, 24), seed=i) for i in range(2)]
    names: list[list[str] | None] = [["DAPI", "GFP"]] * 2
    OmeTiffWriter.save(
        images,
        path,
        dim_order=["TCZYX"] * 2,
        channel_names=names,
        image_name=["left", "right"],
        physical_pixel_sizes=[bioio_sizes(0.5, 0.2, 0.1)] * 2,
    )
    assert format_of(str(path)).name == "TIFF"
    monkeypatch.setattr(formats, "OWN", (czi_format.FORMAT,))
    found = format_of(str(path))
    assert found is bioio_format.FORMAT
    assert [scene.number for scene in found.scenes(str(path))] == [0, 1]
    with pytest.raises(InputError, match="has 2 scenes"):
        open_image(Input(path=str(path)))
    image = open_image(Input(path=str(path), scene=1))
    np.testing.assert_array_equal(image[ALL], images[1])
    assert image.scale_um == (0.5, 0.2, 0.1)
    assert [channel.name for channel in image.channels] == ["DAPI", "GFP"]
    assert "bioio's plugin bioio-ome-tiff" in image.warnings[0]

    monkeypatch.setattr(bioio_image, "find_spec", lambda _: None)
    assert format_of(str(path)) is czi_format.FORMAT


def bioio_sizes(z: float, y: float, x: float) -> Any:
    from bioio_base.types import PhysicalPixelSizes  # noqa: PLC0415 - heavy

    return PhysicalPixelSizes(z, y, x)


def test_what_bioio_can_not_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = replace(bioio_format.FORMAT, endings=(".tiff",))
    monkeypatch.setattr(formats, "OWN", (czi_format.FORMAT,))
    monkeypatch.setattr(formats, "LAST", (last,))
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, np.zeros((16, 24, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="TCZYXS"):
        open_image(Input(path=str(path)))
    path.write_bytes(b"II*\0" + bytes(9))
    with pytest.raises(InputError, match="bioio"):
        open_image(Input(path=str(path)))
