"""Write a CZI of known noise: the demo's image, and the tests' images.

python scripts/demo_czi.py FOLDER       demo.czi, and truth.npy to compare with
python scripts/demo_czi.py FOLDER --small    the same of a fifth of the voxels
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from pylibCZIrw import czi

GAIN, BACKGROUND, READOUT_STD = 3.92, 100.0, 5.0
"""Grey levels per photo-electron, and the camera's own grey level and noise."""


def write_czi(
    path: Path,
    image: np.ndarray,
    *,
    start: Sequence[int] = (0, 0, 0),
    location: tuple[int, int] = (0, 0),
    names: Sequence[str] = (),
    scale_um: Sequence[float] = (0.3, 0.145, 0.145),
    time_step_s: float | None = 30.0,
    compression: str | None = None,
    scenes: bool = False,
) -> Path:
    """Write an image of ``(t, c, z, y, x)``, uint8, uint16 or float32, as CZI.

    `start` is the file's first T, C and Z, `location` its first x and y; `scale_um`
    is of (z, y, x).  Without `scenes` sub-blocks have no S index, like those of a
    Lattice Lightsheet 7.
    """
    with czi.create_czi(str(path), compression_options=compression) as writer:
        for t, c, z in np.ndindex(image.shape[:3]):
            plane = {"T": start[0] + t, "C": start[1] + c, "Z": start[2] + z}
            pixels = np.ascontiguousarray(image[t, c, z])
            if scenes:
                writer.write(pixels[..., np.newaxis], plane=plane, location=location)
            else:
                # pylibCZIrw's own write() always adds S0.
                writer._czi_writer.AddTile(  # noqa: SLF001
                    " ".join(f"{d}{i}" for d, i in plane.items()),
                    writer._format_data(pixels[..., np.newaxis]),  # noqa: SLF001
                    *location,
                    0,
                    "",
                )
        writer.write_metadata(
            path.stem,
            channel_names=dict(enumerate(names)),
            scale_z=scale_um[0] * 1e-6,
            scale_y=scale_um[1] * 1e-6,
            scale_x=scale_um[2] * 1e-6,
        )
    if time_step_s is not None:
        _write_time_step(path, time_step_s)
    return path


def _write_time_step(path: Path, seconds: float) -> None:
    """Add what pylibCZIrw has no argument for: the interval of time points."""
    with czi.edit_czi(str(path)) as editor:
        root = ElementTree.fromstring(editor.read_metadata_xml())
        node = root.find(".//Information/Image")
        if node is None:
            raise RuntimeError("The metadata of a fresh CZI has no Image element.")
        for name in ("Dimensions", "T", "Positions", "Interval", "Increment"):
            child = node.find(name)
            node = child if child is not None else ElementTree.SubElement(node, name)
        node.text = repr(seconds)
        with editor.edit_session() as builder:
            builder.set_xml(ElementTree.tostring(root, encoding="unicode"))


def truth(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    """Blurred blobs that drift through time: grey levels above the background.

    The axes are ``(t, c, z, y, x)``; each channel has blobs of its own.
    """
    rng = np.random.default_rng(seed)
    grids = np.meshgrid(
        *(np.arange(n, dtype=np.float32) for n in shape[2:]), indexing="ij"
    )
    image = np.zeros(shape, np.float32)
    for c in range(shape[1]):
        for _ in range(40):
            centre = rng.uniform(0, 1, 3) * shape[2:]
            drift = rng.uniform(-3, 3, 3) * (0.2, 1, 1)
            width = rng.uniform(3, 20) * np.array((0.4, 1, 1))
            height = rng.uniform(100, 900)
            for t in range(shape[0]):
                distance = sum(
                    ((grid - centre[i] - t * drift[i]) / width[i]) ** 2
                    for i, grid in enumerate(grids)
                )
                image[t, c] += height * np.exp(-distance / 2)
    return image


def add_noise(clean: np.ndarray, seed: int = 0) -> np.ndarray:
    """What a camera makes of it: photon noise, readout noise, background; uint16."""
    rng = np.random.default_rng(seed)
    photons = rng.poisson(clean / GAIN).astype(np.float32)
    noisy = photons * GAIN + BACKGROUND
    noisy += rng.normal(0, READOUT_STD, clean.shape).astype(np.float32)
    return np.asarray(np.clip(np.rint(noisy), 0, 65535), np.uint16)


def main() -> None:
    """Write the demo's image and its truth."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    shape = (2, 2, 12, 256, 256) if "--small" in sys.argv else (2, 2, 24, 400, 420)
    clean = truth(shape)
    path = folder / "demo.czi"
    path.unlink(missing_ok=True)
    write_czi(path, add_noise(clean), names=("nuclei", "membrane"))
    np.save(folder / "truth.npy", clean + np.float32(BACKGROUND))
    print(f"Wrote {path}: {' x '.join(map(str, shape))} (t c z y x), uint16.")


if __name__ == "__main__":
    main()
