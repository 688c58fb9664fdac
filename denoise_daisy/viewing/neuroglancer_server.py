"""Layers served to Neuroglancer in a browser, from this process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Event
from typing import Any

import numpy as np

from denoise_daisy.errors import InputError
from denoise_daisy.geometry import AXES
from denoise_daisy.viewing.layers import Layer, begin_of

SHADER = """#uicontrol invlerp normalized(range=[{low:.9g}, {high:.9g}])
#uicontrol vec3 color color(default="#{color}")
void main() {{ emitRGB(color * normalized()); }}
"""

MICROMETER = 1e-6
"""In meters, in which Neuroglancer counts."""

WINDOW = (1000, 600)
"""Pixels along x and y that the image is fitted to, as most browsers have them."""


@dataclass(frozen=True, eq=False)
class Voxels:
    """Those of a layer, of which those asked for become an array of NumPy.

    Neuroglancer asks for that without a copy, which dask has no way to give.
    """

    layer: Layer

    @property
    def shape(self) -> tuple[int, ...]:
        """Of ``(t, z, y, x)``."""
        return tuple(map(int, self.layer.levels[0].shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of all."""
        found: np.dtype[Any] = np.dtype(self.layer.levels[0].dtype)
        return found

    def __getitem__(self, key: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(self.layer.levels[0][key])


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
    at: Mapping[str, int],
    address: str = "127.0.0.1",
    port: int = 0,
    until: Event | None = None,
) -> None:
    """Serve layers until interrupted; `say` is told where.

    The URL holds a token that nobody can guess.  `at` are voxels along t and z to begin
    at; see `begin_of`.

    Raises
    ------
    InputError
        Nothing can be served at that address and port.
    """
    import neuroglancer  # noqa: PLC0415 - heavy

    neuroglancer.set_server_bind_address(address, port)
    try:
        viewer = neuroglancer.Viewer()
    except OSError as error:
        raise InputError(
            f"Nothing can be served at {address}, port {port or 'any'}"
            f" ({error.strerror}). Expected an address of this machine (--bind) and a"
            " port that is free (--port; without it one is found)."
        ) from error
    with viewer.txn() as state:
        _show(neuroglancer, state, layers, at)
    say(str(viewer))
    try:
        (until or Event()).wait()
    finally:
        neuroglancer.stop()


def _show(
    neuroglancer: Any, state: Any, layers: Sequence[Layer], at: Mapping[str, int]
) -> None:
    """One plane of x and y, as large as the window; others at a click."""
    first = layers[0]
    state.dimensions = space = _space(neuroglancer, first)
    # By default the first three axes are shown, t from left to right.
    state.display_dimensions = ["x", "y", "z"]
    state.layout = "xy"
    state.cross_section_background_color = "#000000"
    state.show_axis_lines = False
    for layer in layers:
        _add(neuroglancer, state, layer)
    begins = zip(first.translate, first.scale, begin_of(first, at), strict=True)
    # Voxel 3 is from 3 to 4.
    state.position = [round(move / size) + n + 0.5 for move, size, n in begins]
    *_, height, width = zip(first.levels[0].shape, space.scales, strict=True)
    lengths = (n * size for n, size in (width, height))
    pixel = max(length / n for length, n in zip(lengths, WINDOW, strict=True))
    # Counted in the smallest side of a voxel.
    state.cross_section_scale = pixel / min(space.scales[1:])


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
        data=Voxels(layer),
        dimensions=_space(neuroglancer, layer),
        voxel_offset=[
            round(move / size)
            for move, size in zip(layer.translate, layer.scale, strict=True)
        ],
        volume_type="segmentation" if layer.kind == "labels" else "image",
        # Planes by themselves: no other is read, or denoised, to show one.
        downsampling="2d",
    )
    if layer.kind == "labels":
        made = neuroglancer.SegmentationLayer(source=volume)
    else:
        low, high = layer.window
        shader = SHADER.format(low=low, high=high, color=layer.color)
        made = neuroglancer.ImageLayer(
            source=volume, shader=shader, opacity=1.0, blend="additive"
        )
    state.layers.append(name=layer.name, layer=made, visible=layer.is_visible)
