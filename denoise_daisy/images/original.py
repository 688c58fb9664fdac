"""What a file tells of an image beside its voxels: where from, and its own metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MOST_BYTES = 64 << 20
"""Of a file's own metadata; more are not kept."""


@dataclass(frozen=True, slots=True)
class Objective:
    """The objective that an image was taken with; empty and None where not told."""

    model: str = ""
    magnification: float | None = None
    aperture: float | None = None
    """Numerical."""
    immersion: str = ""


@dataclass(frozen=True, slots=True)
class Light:
    """How a channel was taken; None and empty where not told."""

    exposure_s: float | None = None
    excitation_nm: float | None = None
    emission_nm: float | None = None
    fluor: str = ""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """How an image was taken, as far as its file tells."""

    date: str = ""
    """As ISO 8601 has it."""
    microscope: str = ""
    objective: Objective | None = None
    channels: tuple[Light, ...] = ()
    """Of the image's channels, in their order."""


@dataclass(frozen=True, slots=True)
class Original:
    """What a file tells of an image, as it stands there."""

    text: str = ""
    """Its own metadata, whole; empty where there are none."""
    kind: Literal["XML", "text"] = "text"
    """What that text is."""
    acquisition: Acquisition = field(default_factory=Acquisition)
    steps: tuple[str, ...] = ()
    """What was done to it before, by its own record, the first first."""
    provenance: Mapping[str, Any] | None = None
    """What this program noted in it, where it has written it."""
    problem: str = ""
    """Why nothing is known, or not all."""
