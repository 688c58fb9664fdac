"""Groups and arrays of a Zarr, version 2 or 3, by their metadata documents."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from denoise_daisy.errors import InputError
from denoise_daisy.images.zarr_place import Place, joined

V3, ARRAY, GROUP, ATTRIBUTES = "zarr.json", ".zarray", ".zgroup", ".zattrs"

DOCUMENTS = (V3, ARRAY, GROUP, ATTRIBUTES)
"""One of these is in every group and array."""


@dataclass(frozen=True)
class Node:
    """A group or an array."""

    path: str
    version: Literal[2, 3]
    """Of the Zarr format: 2 or 3."""
    attributes: dict[str, Any]
    array: bytes | None = None
    """The document of an array; None of a group."""
    names: tuple[str | None, ...] = ()
    """Of an array's dimensions; none where it has none."""

    @property
    def ome(self) -> dict[str, Any]:
        """OME's metadata: of 0.5 under a key of their own, before among the others."""
        own = self.attributes.get("ome")
        return own if isinstance(own, dict) else self.attributes


def read_node(place: Place) -> Node | None:
    """What lies at a place; None where that is neither group nor array.

    Raises
    ------
    InputError
        Its metadata can't be read, or are damaged.
    """
    return node_of(place.path, place.read_all(DOCUMENTS))


def read_nodes(place: Place, parts: Sequence[str]) -> dict[str, Node]:
    """What lies at some paths in a place, as far as it is there; raises as above."""
    keys = [joined(part, name) for part in parts for name in DOCUMENTS]
    documents = place.read_all(keys)
    found = {}
    for part in parts:
        own = {
            name: documents[key]
            for name in DOCUMENTS
            if (key := joined(part, name)) in documents
        }
        node = node_of(joined(place.path, part), own)
        if node:
            found[part] = node
    return found


def node_of(path: str, documents: dict[str, bytes]) -> Node | None:
    """The node of these documents; raises as `read_node` does."""
    parsed = {
        name: _object(joined(path, name), data) for name, data in documents.items()
    }
    if V3 in parsed:
        found = parsed[V3]
        attributes = _attributes(joined(path, V3), found.get("attributes"))
        is_array = found.get("node_type") == "array"
        names = found.get("dimension_names")
        return Node(
            path,
            3,
            attributes,
            documents[V3] if is_array else None,
            _names(names if is_array else None, attributes),
        )
    if not parsed:
        return None
    attributes = parsed.get(ATTRIBUTES, {})
    return Node(path, 2, attributes, documents.get(ARRAY), _names(None, attributes))


def _object(path: str, data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"no valid JSON ({error})") from error
    if not isinstance(found, dict):
        raise _damaged(path, "no object")
    return found


def _attributes(path: str, found: Any) -> dict[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _damaged(path, "without attributes that are an object")
    return found


def _names(found: Any, attributes: dict[str, Any]) -> tuple[str | None, ...]:
    """Names of dimensions: Zarr's own, else xarray's."""
    names = found or attributes.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list):
        return ()
    return tuple(name if isinstance(name, str) else None for name in names)


def _damaged(path: str, what: str) -> InputError:
    return InputError(
        f"The metadata {path!r} are damaged: {what}. Expected a document of Zarr; copy"
        " it again."
    )
