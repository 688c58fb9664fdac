"""Photograph the page of a run, status.html, while the run goes on and at its end.

python scripts/docs_photographs.py FOLDER [OUT]

`FOLDER` is where the commands of docs/first_run.md were run.  The report at the end is
that of its own run.  That has few blocks: the map is of another run of the same image
in smaller ones, which is looked at once it has something to show.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parent.parent

WIDTH, SCALE = 820, 1.25
"""Of the window in pixels, and of the picture's pixels by these."""

CONFIG = {
    "output": {"path": "embryo_denoised.zarr", "chunks": {"z": 12, "y": 64, "x": 64}},
    "noise": {"gains": [3.92, 3.92], "offsets": [-367, -367]},
    "denoise": {"patch": {"y": 3, "x": 3}, "max_iter": 3},
    "blocks": {"shape": {"z": 12, "y": 64, "x": 64}},
    "workers": {"count": 2},
    "tasks": [{"kind": "smooth", "name": "smooth", "sigma": 1}],
}


def main() -> None:
    """Make both."""
    folder = Path(sys.argv[1])
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "docs" / "pictures"
    out.mkdir(exist_ok=True)
    with _browser() as browser:
        (out / "running.webp").write_bytes(running(browser, folder))
        (out / "report.webp").write_bytes(report(browser, folder))


@contextmanager
def _browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        yield browser
        browser.close()


def report(browser: "Browser", folder: Path) -> bytes:
    """The head of the page, and the report's first three figures."""
    place = folder / "demo_data" / "demo_denoised.zarr.run" / "status.html"
    return photograph(browser, place, "section[aria-labelledby=report] tbody >> nth=2")


def running(browser: "Browser", folder: Path) -> bytes:
    """From the head to the first slices, of a run that goes on."""
    with tempfile.TemporaryDirectory() as made:
        config = Path(made) / "embryo.json"
        image = (folder / "demo_data" / "demo.czi").absolute()
        config.write_text(json.dumps({"input": {"path": str(image)}} | CONFIG))
        place = Path(made) / "embryo_denoised.zarr.run" / "status.html"
        run = subprocess.Popen(
            [sys.executable, "-m", "denoise_daisy", config, "--grace", "0"],
            env=os.environ | {"DENOISE_DAISY_WAITS": json.dumps({"page": 1})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not (place.exists() and shows_slices(place.read_text("utf-8"))):
                if run.poll() is not None:
                    raise RuntimeError("The run ended before its page had slices.")
                time.sleep(0.2)
            last = "section[aria-labelledby=slices] figure >> nth=2"
            return photograph(browser, place, last)
        finally:
            run.terminate()
            run.wait()


def shows_slices(page: str) -> bool:
    """Whether it is of a run that goes on, and has pictures of what is done."""
    return bool(re.search("<title>.* running", page) and 'id="slices"' in page)


def photograph(browser: "Browser", place: Path, last: str) -> bytes:
    """A page from its top to the end of the element that `last` selects."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": 800},
        color_scheme="light",
        device_scale_factor=SCALE,
    )
    page = context.new_page()
    page.goto(place.absolute().as_uri())
    box = page.locator(last).bounding_box()
    if box is None:
        raise RuntimeError(f"{place} does not show {last!r}.")
    height = box["y"] + box["height"] + 8
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": height}
    taken = page.screenshot(clip=clip, full_page=True)  # type: ignore[arg-type]
    context.close()
    return _smaller(taken)


def _smaller(png: bytes) -> bytes:
    """The same as WebP, every pixel as it is."""
    file = io.BytesIO()
    Image.open(io.BytesIO(png)).save(file, "webp", lossless=True, method=6)
    return file.getvalue()


if __name__ == "__main__":
    main()
