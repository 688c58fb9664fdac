"""The OME-Zarrs that hold the scenes of a file, each an image with a run of its own."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

from denoise_daisy.durable import persistently
from denoise_daisy.errors import RefusedError
from denoise_daisy.images.formats import original_of
from denoise_daisy.images.image import Channel, Image
from denoise_daisy.images.original import Original
from denoise_daisy.outputs.layout import V3
from denoise_daisy.outputs.ome_collections import create_plate, create_series
from denoise_daisy.outputs.ome_groups import is_group, ome_of, own_attributes
from denoise_daisy.outputs.ome_xml import Collected
from denoise_daisy.outputs.ome_zarr import LEVEL, array_facts
from denoise_daisy.run_dir.many_record import is_of_many
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.many_images import OneOfMany

OWNER = "images_of"
"""What this program notes in such a group."""


def refuse_containers_of_others(images: Sequence[OneOfMany], hub: RunDir) -> None:
    """Refuse to write into an OME-Zarr that is no such group of this program's.

    Raises
    ------
    RefusedError
        There is one.
    """
    for container in dict.fromkeys(image.container for image in images):
        if container is None or not container.exists() or not any(container.iterdir()):
            continue
        is_ours = OWNER in (own_attributes(container) or {})
        is_begun = is_of_many(hub) and not is_group(container)
        if not (is_ours or is_begun):
            raise RefusedError(
                f"{str(container)!r} exists, and holds no scenes that this program has"
                " written. Expected a free place; choose another output.path, or move"
                " that away."
            )


class Containers:
    """Groups that list their images as soon as these are there."""

    def __init__(self, images: Sequence[OneOfMany], run_id: str) -> None:
        """`images` are all that there may be, in their order."""
        self._images = [image for image in images if image.container is not None]
        self._there: dict[Path, Collected] = {}
        """Those that are, by their outputs."""
        self._originals: dict[Path, Original] = {}
        """What the files tell whose scenes they are, by container."""
        self._own = {"version": version("denoise-daisy"), OWNER: run_id}
        self._writing = threading.Lock()

    def add(self, image: OneOfMany, found: Image) -> None:
        """An image is there now; those that were before are listed as well.

        `found` is what it was read from.
        """
        if image.container is not None:
            with self._writing:
                if image.container not in self._originals:
                    self._originals[image.container] = original_of(found)
                persistently(partial(self._write, image.container))

    def _write(self, container: Path) -> None:
        images = [i for i in self._images if i.container == container]
        for image in images:
            if image.output not in self._there and (found := _collected(image)):
                taken = self._originals[container].acquisition
                self._there[image.output] = replace(found, acquisition=taken)
        images = [image for image in images if image.output in self._there]
        original = self._originals[container]
        fields: dict[tuple[str, str], list[Collected]] = defaultdict(list)
        form = images[0].config.output.ome_version if images else V3
        for image in images:
            if image.well is not None:
                fields[image.well].append(self._there[image.output])
        if fields:
            create_plate(container, fields, original, self._own, form)
        elif images:
            collected = [self._there[image.output] for image in images]
            create_series(container, collected, original, self._own, form)


def _collected(image: OneOfMany) -> Collected | None:
    """What is told of an image, as it lies on disk; None where it does not, whole."""
    try:
        shape, dtype = array_facts(image.output / LEVEL)
        ome = ome_of(image.output)
        (scaled,) = ome["multiscales"]
        scale = scaled["datasets"][0]["coordinateTransformations"][0]["scale"]
        units = [axis.get("unit") for axis in scaled["axes"]]
        return Collected(
            path=image.output.name,
            name=image.name,
            shape=shape,
            dtype=dtype,
            scale_um=tuple(
                size if unit else None
                for size, unit in zip(scale[2:], units[2:], strict=True)
            ),
            channels=tuple(
                Channel(channel["label"], channel["color"])
                for channel in ome["omero"]["channels"]
            ),
            time_step_s=scale[0] if units[0] else None,
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
