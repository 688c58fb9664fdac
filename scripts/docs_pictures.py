"""Make the pictures of docs/pictures.

python scripts/docs_pictures.py FOLDER [OUT]

`FOLDER` is where the commands of docs/first_run.md were run: what these have written is
taken from there.  The figures of the explanations are drawn from the program's own
geometry.  Those of the page of a run are made by docs_photographs.py.
"""

import base64
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from funlib.geometry import Coordinate, Roi
from matplotlib.image import imread

from denoise_daisy.geometry import BlockGrid, stencil
from denoise_daisy.reports.figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    axes,
    data_uri,
    legend,
    png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOT = Path(__file__).parent.parent

PICTURES = ROOT / "docs" / "pictures"


def main() -> None:
    """Make all of them."""
    folder = Path(sys.argv[1])
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else PICTURES
    out.mkdir(exist_ok=True)
    (out / "reach.svg").write_text(reach(), "utf-8")
    (out / "blocks.svg").write_text(blocks(), "utf-8")
    (out / "noise.svg").write_text(noise(folder / "demo.noise.html"), "utf-8")
    (out / "preview.png").write_bytes(preview(folder / "demo.preview.html"))


def reach() -> str:
    """How far a voxel of the result sees, by the number of iterations."""
    figure, plot = axes("iterations", "reach in voxels", width=5, height=3)
    iterations = range(1, 6)
    laws = [stencil(Coordinate(0, 1, 3, 3), "zyx", n) for n in iterations]
    lines = ((3, BLUE, "along y and x, patch 3", 6), (1, ORANGE, "z, patch 1", -14))
    for axis, color, label, above in lines:
        reaches = [law.reach[axis] for law in laws]
        plot.plot(iterations, reaches, "o-", color=color, label=label, markersize=4)
        for n, voxels in zip(iterations, reaches, strict=True):
            plot.annotate(
                str(voxels),
                (n, voxels),
                xytext=(0, above),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=INK,
            )
    plot.set_xticks(list(iterations))
    plot.set_ylim(bottom=0)
    plot.margins(y=0.15)
    legend(plot, "upper left")
    return _svg(data_uri(figure))


def blocks() -> str:
    """What a row of blocks along x writes and reads."""
    law = stencil(Coordinate(0, 0, 3, 3), "zyx", 3)
    image = Roi((0, 0, 0, 0), (1, 1, 1, 500))
    grid = BlockGrid(image, image, Coordinate(1, 1, 1, 130), law.reach, law)
    figure, plot = axes("x in voxels", "block", width=6, height=2.4)
    for i, index in enumerate(grid.indices()):
        written, read = grid.write_roi(index), grid.read_roi(index)
        _bar(plot, i, read, GREY, "context, thrown away" if not i else None)
        _bar(plot, i, written, BLUE, "written" if not i else None)
        ends = f"{read.begin[3]} to {read.end[3]}"
        plot.text(read.end[3] + 6, i, ends, va="center", fontsize=8, color=INK)
    plot.set_yticks(range(grid.size), [str(i + 1) for i in range(grid.size)])
    plot.set_xlim(0, 640)
    plot.set_ylim(grid.size - 0.4, -1.3)
    plot.set_xticks(range(0, 501, 100))
    legend(plot, "upper right", columns=2)
    return _svg(data_uri(figure))


def _bar(plot: "Axes", row: int, roi: Roi, color: str, label: str | None) -> None:
    plot.barh(
        row, roi.shape[3], left=roi.begin[3], height=0.6, color=color, label=label
    )


def noise(page: Path) -> str:
    """The plot of the first channel that `calibrate` has drawn."""
    return _svg(_uris(page, "image/svg")[0])


def preview(page: Path) -> bytes:
    """The first pictures that `preview` has made: raw, denoised, residual; doubled."""
    shown = [imread(io.BytesIO(_data(uri))) for uri in _uris(page, "image/png")[:3]]
    planes = [
        np.rint(255 * picture[..., 0]).repeat(2, 0).repeat(2, 1) for picture in shown
    ]
    gap = np.full((planes[0].shape[0], 8), 255.0)
    return png(np.hstack([planes[0], gap, planes[1], gap, planes[2]]), 0, 255)


def _uris(page: Path, kind: str) -> list[str]:
    text = page.read_text("utf-8")
    return re.findall(rf"data:{kind}[^\"']*;base64,[A-Za-z0-9+/=]+", text)


def _data(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


def _svg(uri: str) -> str:
    """A plot on white, in one colour scheme, as pages around it have their own."""
    drawn = re.sub(
        r"<style>@media.*?</style>", "", _data(uri).decode(), flags=re.DOTALL
    )
    white = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return drawn.replace("<defs>", f"{white}\n<defs>", 1)


if __name__ == "__main__":
    main()
