"""The OME-Zarrs that hold the scenes of a file, each an image with a run of its own."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from denoise_daisy.durable import persistently
from denoise_daisy.outputs.ome_collections import create_plate, create_series
from denoise_daisy.outputs.ome_xml import Collected
from denoise_daisy.resolved.run import ResolvedRun
from denoise_daisy.runs.many_images import OneOfMany


class Containers:
    """Groups that list their images as soon as these are there."""

    def __init__(self, images: Sequence[OneOfMany], run_id: str) -> None:
        """`images` are all that there may be, in their order."""
        self._images = [image for image in images if image.container is not None]
        self._there: dict[Path, Collected] = {}
        """Those that are, by their outputs."""
        self._own = {"version": version("denoise-daisy"), "images_of": run_id}
        self._writing = threading.Lock()

    def add(self, image: OneOfMany, run: ResolvedRun) -> None:
        """An image is there now."""
        if image.container is None:
            return
        layout = run.array.layout
        with self._writing:
            self._there[image.output] = Collected(
                path=image.output.name,
                name=image.name,
                shape=layout.shape,
                dtype=layout.dtype,
                scale_um=tuple(run.image.scale_um),
                channels=run.image.channels,
            )
            persistently(partial(self._write, image.container))

    def _write(self, container: Path) -> None:
        images = [
            image
            for image in self._images
            if image.container == container and image.output in self._there
        ]
        fields: dict[tuple[str, str], list[str]] = defaultdict(list)
        for image in images:
            if image.well is not None:
                fields[image.well].append(image.output.name)
        if fields:
            create_plate(container, fields, self._own)
        else:
            collected = [self._there[image.output] for image in images]
            create_series(container, collected, self._own)
