"""What the metadata of a CZI tell of how it was taken, and they themselves, whole."""

from xml.etree import ElementTree

from denoise_daisy.images import czi_history
from denoise_daisy.images.czi import CziImage
from denoise_daisy.images.czi_attachments import metadata_text
from denoise_daisy.images.czi_metadata import positive, text_of
from denoise_daisy.images.czi_pixels import COLOURS, RGB
from denoise_daisy.images.original import (
    MOST_BYTES,
    Acquisition,
    Light,
    Objective,
    Original,
)

NANOSECONDS = 1e-9
"""In which ZEN has the time of an exposure."""


def original_of(image: CziImage) -> Original:
    """The metadata of an image's file.

    Raises
    ------
    InputError, ValueError, LookupError, xml.etree.ElementTree.ParseError
        They can't be read.
    """
    data = metadata_text(image.path)
    root = ElementTree.fromstring(data)
    is_kept = len(data) <= MOST_BYTES
    return Original(
        text=data.decode("utf-8-sig") if is_kept else "",
        kind="XML",
        acquisition=_acquisition(root, image),
        steps=czi_history.steps(root),
        problem="" if is_kept else f"the CZI's metadata have {len(data)} bytes",
    )


def _acquisition(root: ElementTree.Element, image: CziImage) -> Acquisition:
    described = root.findall(".//Information/Image/Dimensions/Channels/Channel")
    samples = len(RGB) if image.pixel_type in COLOURS else 1
    numbers = [channel // samples for channel in image.selected]
    microscope = root.find(".//Information/Instrument/Microscopes/Microscope")
    return Acquisition(
        date=text_of(root, ".//Information/Image/AcquisitionDateAndTime") or "",
        microscope="" if microscope is None else microscope.get("Name", ""),
        objective=_objective(root),
        channels=tuple(
            _light(described[i]) if i < len(described) else Light() for i in numbers
        ),
    )


def _objective(root: ElementTree.Element) -> Objective | None:
    """The one that the image refers to, or else the only one."""
    all_of_them = root.findall(".//Information/Instrument/Objectives/Objective")
    used = root.find(".//Information/Image/ObjectiveSettings/ObjectiveRef")
    name = None if used is None else used.get("Id")
    found = [o for o in all_of_them if o.get("Id") == name] or all_of_them
    if len(found) != 1:
        return None
    [objective] = found
    return Objective(
        model=text_of(objective, "Manufacturer/Model") or (objective.get("Name") or ""),
        magnification=positive(text_of(objective, "NominalMagnification")),
        aperture=positive(text_of(objective, "LensNA")),
        immersion=text_of(objective, "Immersion") or "",
    )


def _light(channel: ElementTree.Element) -> Light:
    return Light(
        exposure_s=positive(text_of(channel, "ExposureTime"), NANOSECONDS),
        excitation_nm=positive(text_of(channel, "ExcitationWavelength")),
        emission_nm=positive(text_of(channel, "EmissionWavelength")),
        fluor=text_of(channel, "Fluor") or "",
    )
