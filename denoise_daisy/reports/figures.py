"""Plots and pictures as data URIs, for pages that need nothing from outside.

They are drawn without a display, in one style, to the same bytes each time.  Plots are
SVG with transparent ground, whose ink follows the reader's light or dark mode.
"""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, PALE_INK = "#1f2328", "#e6e8eb"
"""Of text and axes, in light and in dark mode."""

GREY, BLUE, ORANGE = "#8b929a", "#2f81c7", "#d9730d"
"""Of lines: what was measured, what came out, what is expected.  Each stands out from
white and from black."""

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "denoise_daisy",
}

_DARK = "".join(
    f'[style*="{what}: {INK}"]{{{what}:{PALE_INK}!important}}'
    for what in ("fill", "stroke")
)


def axes(
    xlabel: str, ylabel: str, *, width: float = 3.6, height: float = 2.4
) -> tuple["Figure", "Axes"]:
    """An empty plot of that size in inches (of 96 px), to be drawn into."""
    # A third of a second to import, which only those spend who draw.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure((width, height), layout="constrained")
        plot = figure.add_subplot()
        plot.set_xlabel(xlabel)
        plot.set_ylabel(ylabel)
    return figure, plot


def legend(
    plot: "Axes", place: Literal["upper left", "upper right"], columns: int = 1
) -> None:
    """Name what was drawn."""
    made = plot.legend(
        loc=place, ncols=columns, frameon=False, fontsize=8, labelcolor=INK
    )
    for text in made.get_texts():
        text.set_parse_math(False)


def data_uri(figure: "Figure") -> str:
    """A figure as the URI of an SVG."""
    from matplotlib import rc_context  # noqa: PLC0415

    file = io.StringIO()
    nothing: dict[str, Any] = {"Date": None, "Creator": None}
    with rc_context(STYLE):  # type: ignore[arg-type]
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    drawn = file.getvalue()
    head, defs, rest = drawn.partition("<defs>")
    dark = f"<style>@media (prefers-color-scheme: dark){{{_DARK}}}</style>"
    return _uri("image/svg+xml", f"{head}{dark}{defs}{rest}".encode())


def picture(plane: np.ndarray, low: float, high: float) -> str:
    """A plane ``(y, x)`` as the URI of a PNG: `low` is black, `high` white."""
    return _uri("image/png", png(plane, low, high))


def png(plane: np.ndarray, low: float, high: float) -> bytes:
    """The same as the bytes of the file; a pixel is a voxel."""
    from matplotlib.image import imsave  # noqa: PLC0415

    file = io.BytesIO()
    scaled = np.clip((plane.astype(float) - low) / max(high - low, 1e-12), 0, 1)
    grey = np.repeat(np.rint(255 * scaled).astype(np.uint8)[..., None], 3, axis=2)
    imsave(file, grey, format="png", metadata={"Software": None})  # type: ignore[dict-item]
    return file.getvalue()


def coloured(cells: np.ndarray, colours: Sequence[str]) -> str:
    """A picture of numbers ``(y, x)`` as the URI of a PNG, a colour for each number.

    Cells of other numbers are not there: what lies behind the picture is seen.
    """
    from matplotlib.colors import to_rgba_array  # noqa: PLC0415
    from matplotlib.image import imsave  # noqa: PLC0415

    palette = np.zeros((256, 4), np.uint8)
    palette[: len(colours)] = np.rint(255 * to_rgba_array([*colours]))
    file = io.BytesIO()
    nothing: Any = {"Software": None}
    imsave(file, palette[cells], format="png", metadata=nothing)
    return _uri("image/png", file.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
