"""Groups of OME-NGFF held to the models of ome-zarr-models."""

from pathlib import Path
from typing import Any

import ome_zarr_models.v04
import ome_zarr_models.v05
import pydantic_zarr.v2
import zarr

KINDS = ("Labels", "Image", "Well", "HCS", "BioFormats2Raw")

MODELS: dict[str, Any] = {"0.4": ome_zarr_models.v04, "0.5": ome_zarr_models.v05}

# Those of 0.4 leave a name open that only type checkers import.
for _kind in KINDS:
    getattr(ome_zarr_models.v04, _kind).model_rebuild(
        force=True, _types_namespace=vars(pydantic_zarr.v2)
    )


def of_ome(place: Path, kind: str, version: str) -> Any:
    """What a group, and what lies in it, tells as one of that kind.

    Raises
    ------
    ValueError
        It is none, or is not as the specification has it.
    """
    model = getattr(MODELS[version], kind)
    attributes = model.from_zarr(zarr.open_group(place, mode="r")).attributes
    return attributes.ome if version == "0.5" else attributes
