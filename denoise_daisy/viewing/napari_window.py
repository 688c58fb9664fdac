"""Layers in a window of napari, or in a picture of it."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES
from denoise_daisy.viewing.layers import Layer, begin_of

LOOKS = 20
"""Rounds of Qt's events in which a picture gets its pixels."""


def check_napari() -> None:
    """Refuse to view where napari, or what it draws with, is not installed.

    Raises
    ------
    InputError
        With the command that installs it.
    """
    if find_spec("napari") is None or find_spec("qtpy") is None:
        raise InputError(
            "napari is not installed here, by which `view` shows images. Install it by"
            " `pip install 'denoise-daisy[napari]'`, or look at the output with"
            " `view --neuroglancer`, or with any viewer of OME-Zarr."
        )


def show(
    layers: Sequence[Layer],
    at: Mapping[str, int],
    picture: Path | None = None,
) -> None:
    """Open a window until it is closed; with `picture`, draw that and end.

    `at` are voxels along t and z to begin at; see `begin_of`.
    """
    # Seconds to import.
    import napari  # noqa: PLC0415 - heavy

    viewer = napari.Viewer(title="denoise_daisy", ndisplay=2)
    for layer in layers:
        _add(viewer, layer)
    first = next((a for a in layers if a.name.startswith("denoised")), layers[0])
    t, z, *_ = begin_of(first, at)
    for i, where in enumerate((t, z)):
        viewer.dims.set_point(i, first.translate[i] + where * first.scale[i])
    viewer.scale_bar.visible = True
    viewer.reset_view()
    if picture is None:
        napari.run()
        return
    _draw(viewer, picture)


def _draw(viewer: Any, picture: Path) -> None:
    from qtpy.QtWidgets import QApplication  # noqa: PLC0415 - heavy

    for _ in range(LOOKS):
        QApplication.processEvents()
    viewer.screenshot(str(picture), canvas_only=False, flash=False)
    viewer.close()


def _add(viewer: Any, layer: Layer) -> None:
    is_pyramid = len(layer.levels) > 1
    shared: dict[str, Any] = {
        "name": layer.name,
        "scale": layer.scale,
        "translate": layer.translate,
        "axis_labels": tuple(AXES),
        "units": tuple(unit or "pixel" for unit in layer.units),
        "visible": layer.is_visible,
        "multiscale": is_pyramid,
    }
    data = list(layer.levels) if is_pyramid else layer.levels[0]
    if layer.kind == "labels":
        viewer.add_labels(data, opacity=0.5, **shared)
        return
    viewer.add_image(
        data,
        contrast_limits=layer.window,
        colormap=f"#{layer.color}",
        blending="additive",
        **shared,
    )
