"""What was done to an image before, as ZEN has recorded it in a CZI's metadata.

ZEN keeps an audit trail: an XML document, as text, with an element per step, whose name
is that of the function and whose children are its settings.
"""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

SUBSET = "CreateSubset"
"""Steps of a name that begins so cut the image, and change no voxel."""

SPREADING = re.compile(
    r"deconv|deskew|unsharp|sharpen|airyscan|scal|resampl|smooth|gauss|median|mean"
    r"|denois|lowpass|filter|fus|stitch|rotat|warp|align|shift|sim\b|binning",
    re.IGNORECASE,
)
"""Words in the names of steps that mix neighbours."""

MOST_STEPS = 50
"""Of those that are listed."""


def steps(root: ElementTree.Element) -> tuple[str, ...]:
    """The steps that changed voxels, the first first, as ZEN calls them.

    With the algorithm in brackets, where one is named.
    """
    trail = root.findtext(".//CustomAttributes/AuditTrail") or ""
    try:
        recorded = list(ElementTree.fromstring(trail.strip()))
    except (ElementTree.ParseError, ValueError):
        return ()
    found = [step for step in recorded if not step.tag.startswith(SUBSET)]
    return tuple(map(_name, found[:MOST_STEPS]))


def _name(step: ElementTree.Element) -> str:
    algorithm = (step.findtext("Algorithm") or "").strip()
    return f"{step.tag} ({algorithm})" if algorithm else step.tag


def lossy_quality(root: ElementTree.Element) -> int | None:
    """The quality in per cent that it was compressed with, None where nothing is lost.

    JPEG, and JPEG XR below 100, change voxels together with their neighbours.
    """
    method = root.findtext(".//Information/Image/OriginalCompressionMethod") or ""
    quality = root.findtext(".//Information/Image/OriginalEncodingQuality") or ""
    if not method.strip().lower().startswith(("jpg", "jpeg")):
        return None
    number = int(quality) if quality.strip().isdigit() else 100
    return number if number < 100 else None


def warnings(root: ElementTree.Element) -> Iterator[str]:
    """That the noise of neighbours depends on each other, where it is known to."""
    spreading = [step for step in steps(root) if SPREADING.search(step)]
    if spreading:
        yield (
            f"The file records that it was processed ({', '.join(spreading)}): its"
            " noise is then correlated between neighbours, which ndsafir's model does"
            " not know. Denoise the image as it was acquired, and process it"
            " afterwards; or look at a preview first."
        )
    quality = lossy_quality(root)
    if quality is not None:
        yield (
            f"The file was compressed with loss (quality {quality} of 100): part of"
            " its noise is gone, and what is left is correlated between neighbours,"
            " which ndsafir's model does not know. Denoise the uncompressed image, if"
            " there is one."
        )
