"""How large the denoised image will be on disk: by samples that are denoised now."""

from collections.abc import Iterator

from funlib.geometry import Coordinate, Roi

from denoise_daisy.blockwise.fit import convert
from denoise_daisy.errors import InputError
from denoise_daisy.outputs.encoding import encoded_bytes
from denoise_daisy.resolved.run import ResolvedRun

SAMPLES = 3
"""Windows along the diagonal of the volume; little more is learnt from more."""

EDGES = Coordinate(1, 8, 96, 96)
"""Voxels of a window along ``(t, z, y, x)``, or as many as the denoiser needs."""


def compressed_bytes(run: ResolvedRun) -> int | None:
    """About how many bytes the files of the denoised image will have.

    A few windows of the image are denoised, as if each were an image, and encoded as
    they would be for the disk: the whole is taken to become as much smaller.  None
    where they can't be read.
    """
    layout, image = run.array.layout, run.image
    before = after = 0
    for roi in _windows(run):
        t, z, y, x = roi.to_slices()
        try:
            voxels = image[t, slice(0, image.shape[1]), z, y, x]
        except InputError:
            return None
        denoised, _ = convert(run.denoiser.denoise(voxels), layout.dtype)
        before += denoised.nbytes
        after += encoded_bytes(denoised, layout)
    return round(layout.nbytes * after / before)


def _windows(run: ResolvedRun) -> Iterator[Roi]:
    volume = run.denoising.grid.volume
    needed = run.denoiser.stencil.smallest
    shape = Coordinate(
        min(n, max(edge, least))
        for n, edge, least in zip(volume.shape, EDGES, needed, strict=True)
    )
    for i in range(SAMPLES):
        shift = (volume.shape - shape) * i // max(1, SAMPLES - 1)
        yield Roi(volume.begin + shift, shape)
        if shape == volume.shape:
            return
