"""The OME-Zarrs that hold the scenes of a file, each an image with a run of its own."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from denoise_daisy.durable import persistently
from denoise_daisy.outputs.ome_collections import create_plate, create_series
from denoise_daisy.outputs.ome_zarr import LEVEL, METADATA
from denoise_daisy.runs.many_images import OneOfMany


class Containers:
    """Groups that list their images as soon as these are there."""

    def __init__(self, images: Sequence[OneOfMany], run_id: str) -> None:
        self._images: dict[Path, list[OneOfMany]] = defaultdict(list)
        for image in images:
            if image.container is not None:
                self._images[image.container].append(image)
        self._own = {"version": version("denoise-daisy"), "images_of": run_id}
        self._writing = threading.Lock()

    def add(self, image: OneOfMany) -> None:
        """An image is there now."""
        if image.container is not None:
            self._write(image.container)

    def write(self) -> None:
        """List all that are there."""
        for container in self._images:
            self._write(container)

    def _write(self, container: Path) -> None:
        with self._writing:
            there = [i for i in self._images[container] if _is_there(i)]
            if there:
                persistently(lambda: self._create(container, there))

    def _create(self, container: Path, images: Sequence[OneOfMany]) -> None:
        fields: dict[tuple[str, str], list[str]] = defaultdict(list)
        for image in images:
            if image.well is not None:
                fields[image.well].append(image.output.name)
        if fields:
            create_plate(container, fields, self._own)
        else:
            names = [image.output.name for image in images]
            create_series(container, names, self._own)


def _is_there(image: OneOfMany) -> bool:
    return (image.output / LEVEL / METADATA).exists()
