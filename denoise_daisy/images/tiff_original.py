"""The description of a TIFF, whole: OME-XML, ImageJ's text, or whatever it has."""

from denoise_daisy.images.original import MOST_BYTES, Original
from denoise_daisy.images.tiff import TiffImage
from denoise_daisy.images.tiff_file import open_tiff
from denoise_daisy.images.tiff_metadata import ome_root


def original_of(image: TiffImage) -> Original:
    """That of an image's file.

    Raises
    ------
    InputError
        It can't be read.
    """
    with open_tiff(image.path) as (tif, _):
        text = str(tif.pages.first.description or "")
    if len(text) > MOST_BYTES:
        return Original(problem=f"the TIFF's description has {len(text)} characters")
    return Original(text, "text" if ome_root(text) is None else "XML")
