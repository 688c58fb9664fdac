"""Zarrs on a server: one that speaks S3, on the loopback interface."""

import importlib
import logging
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from denoise_daisy.config import Config
from denoise_daisy.errors import InputError
from denoise_daisy.images import zarr_place, zarr_server
from denoise_daisy.images.formats import (
    describe,
    described_image,
    inspect_image,
    is_image,
    scenes_of,
)
from harness.czi_files import ALL, noise
from harness.opened import opened, refused
from harness.zarr_files import UNITS, write_04

KEY, SECRET = "testing-key", "testing-secret"

VOXELS = noise((1, 2, 3, 12, 10)) | 1


@dataclass(frozen=True)
class Server:
    url: str
    client: Any


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With a.zarr in the bucket "images", which nobody may read without a key."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
    client.create_bucket(Bucket="images")
    folder = tmp_path_factory.mktemp("images")
    scale = {"t": 1.0, "z": 0.3, "y": 0.1, "x": 0.1}
    write_04(
        folder / "a.zarr", VOXELS, chunks=(1, 1, 3, 8, 8), scale=scale, units=UNITS
    )
    for file in folder.rglob("*"):
        if file.is_file():
            key = file.relative_to(folder).as_posix()
            client.put_object(Bucket="images", Key=key, Body=file.read_bytes())
    yield Server(url, client)
    moto.stop()


@pytest.fixture
def keys(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, to which the environment has the keys."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return server


@pytest.mark.usefixtures("keys")
def test_an_image_is_read_from_s3(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(
        '{"input": {"path": "s3://images/a.zarr"}, "output": {"path": "b.zarr"}}'
    )
    config = Config.load(file)
    assert config.input.path == "s3://images/a.zarr"
    assert config.output.path == str(tmp_path / "b.zarr")
    image = opened(config.input.path)
    assert image.scale_um == (0.3, 0.1, 0.1)
    np.testing.assert_array_equal(image[ALL], VOXELS)
    again = described_image(describe(image))
    key = (slice(0, 1), slice(1, 2), slice(1, 3), slice(5, 11), slice(2, 9))
    with ThreadPoolExecutor(4) as threads:
        for part in threads.map(lambda _: again[key], range(8)):
            np.testing.assert_array_equal(part, VOXELS[key])
    assert again.current_identity() == image.identity
    for secret in (KEY, SECRET):
        assert secret not in str(describe(image))
    level = opened("s3://images/a.zarr/s0")
    assert level.scale_um == image.scale_um
    assert level.identity == image.identity
    assert inspect_image("s3://images/a.zarr").bytes == image.identity["bytes"]
    assert [scene.number for scene in scenes_of("s3://images/a.zarr")] == [None]


def test_what_is_lost_or_changed_on_s3_is_noticed(keys: Server) -> None:
    image = opened("s3://images/a.zarr")
    where = {"Bucket": "images", "Key": "a.zarr/s0/0/1/0/1/0"}
    body = keys.client.get_object(**where)["Body"].read()
    keys.client.delete_object(**where)
    try:
        assert image.current_identity() != image.identity
        with pytest.raises(InputError, match="'0/1/0/1/0'"):
            image[ALL]
        gap = opened("s3://images/a.zarr")
        assert any("1 of 8 chunks are missing" in w for w in gap.warnings)
        mask = np.ones(VOXELS.shape, bool)
        mask[0, 1, :, 8:, :8] = False
        np.testing.assert_array_equal(gap.valid(ALL), mask)
        np.testing.assert_array_equal(gap[ALL], np.where(mask, VOXELS, 0))
        # Of the same size, and within the second.
        keys.client.put_object(**where, Body=bytes(body[::-1]))
        tags = [i["etags_sha256"] for i in (image.current_identity(), image.identity)]
        assert tags[0] != tags[1]
    finally:
        keys.client.put_object(**where, Body=body)


def test_without_keys_only_what_is_public_is_read(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in zarr_server.CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    assert "that may be read" in refused("s3://images/a.zarr")
    client = server.client
    listed = client.list_objects_v2(Bucket="images")["Contents"]
    for entry in listed:
        client.put_object_acl(Bucket="images", Key=entry["Key"], ACL="public-read")
    image = opened("s3://images/a.zarr")
    np.testing.assert_array_equal(image[ALL], VOXELS)
    client.put_bucket_acl(Bucket="images", ACL="public-read")
    image = opened("s3://images/a.zarr")
    assert image.identity["chunks"] == 8
    # A web server has no listing.
    image = opened(f"{server.url}/images/a.zarr")
    np.testing.assert_array_equal(image[ALL], VOXELS)
    assert any("does not list" in warning for warning in image.warnings)
    assert not image.has_gaps
    assert image.current_identity() == image.identity
    assert "no Zarr" in refused(f"{server.url}/images/none.zarr")


@pytest.mark.parametrize(
    "url",
    [
        "s3://me:geheim@images/a.zarr",
        "https://geheim@127.0.0.1/a.zarr",
        "https://127.0.0.1/a.zarr?X-Amz-Signature=geheim",
        "https://127.0.0.1/a.zarr#geheim",
        "https://[geheim/a.zarr",
        "s3://me:geheim@images/a.czi",
    ],
)
def test_a_url_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    assert "geheim" not in refused(url)
    for ask in (inspect_image, scenes_of):
        with pytest.raises(InputError) as caught:
            ask(url)
        assert "geheim" not in str(caught.value)


def test_only_an_input_can_be_a_url(tmp_path: Path) -> None:
    text = b'{"input": {"path": "a.czi"}, "output": {"path": "s3://images/b.zarr"}}'
    with pytest.raises(InputError, match="only input"):
        Config.parse(text, name="config.json", folder=tmp_path)
    with pytest.raises(InputError, match="is an image"):
        Config.load("s3://images/a.zarr")
    assert is_image("s3://images/a")
    assert "URL of ftp" in refused("ftp://images/a.zarr")


def test_without_its_package_a_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = importlib.import_module("fsspec.registry")
    monkeypatch.delitem(registry._registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    assert "pip install denoise-daisy[s3]" in refused("s3://images/a.zarr")


@pytest.mark.usefixtures("keys")
def test_a_server_that_does_not_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:geheim@127.0.0.1:{port}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        said = refused("s3://images/a.zarr")
    assert "can't be read" in said
    assert "geheim" not in said
    error = OSError("no answer of http://me:geheim@127.0.0.1/a\nat all.")
    assert zarr_place.said(error) == "no answer of http://127.0.0.1/a at all"
