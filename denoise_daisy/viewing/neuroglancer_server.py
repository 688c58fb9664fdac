"""Layers served to Neuroglancer in a browser, from this process."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from threading import Event
from typing import Any

from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES
from denoise_daisy.viewing.layers import Layer

SHADER = """#uicontrol invlerp normalized(range=[{low:.9g}, {high:.9g}])
#uicontrol vec3 color color(default="#{color}")
void main() {{ emitRGB(color * normalized()); }}
"""

MICROMETER = 1e-6
"""In meters, in which Neuroglancer counts."""


def check_neuroglancer() -> None:
    """Refuse where it is not installed.

    Raises
    ------
    InputError
        With the command that installs it.
    """
    if find_spec("neuroglancer") is None:
        raise InputError(
            "neuroglancer is not installed here, which `view --neuroglancer` serves"
            " with. Install it by `pip install 'denoise-daisy[neuroglancer]'`, or look"
            " at the image in napari, by `view` alone."
        )


def serve(
    layers: Sequence[Layer],
    say: Callable[[str], None],
    address: str = "127.0.0.1",
    port: int = 0,
    until: Event | None = None,
) -> None:
    """Serve layers until interrupted; `say` is told where.

    The URL holds a token that nobody can guess.
    """
    import neuroglancer  # noqa: PLC0415 - heavy

    neuroglancer.set_server_bind_address(address, port)
    viewer = neuroglancer.Viewer()
    first = layers[0]
    with viewer.txn() as state:
        state.dimensions = _space(neuroglancer, first)
        for layer in layers:
            _add(neuroglancer, state, layer)
        shape = zip(first.levels[0].shape, first.translate, first.scale, strict=True)
        state.position = [move / size + n // 2 for n, move, size in shape]
    say(str(viewer))
    try:
        (until or Event()).wait()
    finally:
        neuroglancer.stop()


def _space(neuroglancer: Any, layer: Layer) -> Any:
    """Axes with their sizes in meters and seconds; those not known have no unit."""
    known = {"s": ("s", 1.0), "um": ("m", MICROMETER), "": ("", 1.0)}
    told = [known[unit] for unit in layer.units]
    scales = [s * factor for s, (_, factor) in zip(layer.scale, told, strict=True)]
    return neuroglancer.CoordinateSpace(
        names=list(AXES), units=[unit for unit, _ in told], scales=scales
    )


def _add(neuroglancer: Any, state: Any, layer: Layer) -> None:
    volume = neuroglancer.LocalVolume(
        data=layer.levels[0],
        dimensions=_space(neuroglancer, layer),
        voxel_offset=[
            round(move / size)
            for move, size in zip(layer.translate, layer.scale, strict=True)
        ],
        volume_type="segmentation" if layer.kind == "labels" else "image",
    )
    if layer.kind == "labels":
        made = neuroglancer.SegmentationLayer(source=volume)
    else:
        low, high = layer.window
        shader = SHADER.format(low=low, high=high, color=layer.color)
        made = neuroglancer.ImageLayer(source=volume, shader=shader)
    state.layers.append(name=layer.name, layer=made, visible=layer.is_visible)
