"""A look through napari, in a process of its own: what is where in its picture.

Called with an OME-Zarr, it opens that by napari-ome-zarr, goes to another time point
and plane than the first, and prints as JSON where an image and its labels are seen.
"""

import json
import sys
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QApplication


def main(path: str, image: str, labels: str, level: float, time: int, z: int) -> None:
    viewer = napari.Viewer()
    viewer.open(path, plugin="napari-ome-zarr")
    viewer.layers[image].contrast_limits = (level, level + 1e-3)
    viewer.layers[labels].opacity = 1
    seconds, micrometers = viewer.layers[image].scale[:2]
    # A mask of two channels has an axis more, before those of the others.
    first = viewer.dims.ndim - viewer.layers[image].ndim
    viewer.dims.set_point(first, time * seconds)
    viewer.dims.set_point(first + 1, z * micrometers)
    viewer.reset_view()
    told = {
        "layers": {
            layer.name: {
                "ndim": layer.ndim,
                "scale": list(map(float, layer.scale)),
                "units": list(map(str, layer.units)),
            }
            for layer in viewer.layers
        },
        "seen": {name: seen(viewer, name) for name in (image, labels)},
    }
    print(json.dumps(told))
    viewer.close()


def seen(viewer: Any, name: str) -> list[str]:
    """Rows of the picture with just this layer: # where it is not black."""
    for layer in viewer.layers:
        layer.visible = layer.name == name
    for _ in range(20):
        QApplication.processEvents()
    picture = viewer.screenshot(canvas_only=True, flash=False)
    bright = np.asarray(picture)[::4, ::4, :3].max(axis=-1) > 60
    return ["".join("#" if pixel else "." for pixel in row) for row in bright]


if __name__ == "__main__":
    path, image, labels, level, time, z = sys.argv[1:]
    main(path, image, labels, float(level), int(time), int(z))
