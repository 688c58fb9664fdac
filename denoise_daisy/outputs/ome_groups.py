"""The groups of OME-Zarrs: their metadata, as Zarr v3 and v2 have them.

A group of OME-NGFF 0.5 has one document, of 0.4 two.  What is OME's is told and asked
for in the form of 0.5, whichever it is on disk.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from denoise_daisy.durable import delete, make_folders, persistently, sync, write_atomic
from denoise_daisy.errors import RefusedError
from denoise_daisy.outputs.layout import V2, V3, OmeVersion

LABELS = "labels"
"""Name of the group of an image's masks and labels."""

OWN = "denoise_daisy"
"""Key of what this program notes in a group, beside the OME metadata."""

GROUP, ATTRIBUTES = ".zgroup", ".zattrs"
"""Documents of a group in Zarr v2."""

METADATA = "zarr.json"
"""Document of a group in Zarr v3."""

DOCUMENTS = (METADATA, GROUP, ATTRIBUTES)
"""What a group consists of; the last that is deleted tells whose it was."""


def create_group(
    path: Path,
    ome: Mapping[str, Any],
    own: Mapping[str, Any],
    version: OmeVersion = V3,
) -> None:
    """Make a group with its OME metadata, or bring that of an existing one up to date.

    `own` is what this program notes in the group beside the OME metadata.  Metadata
    that are damaged are written again.  Each document appears whole, so that a group is
    what it was, or what it is to be, at any moment.
    """
    _update(path, {"ome": ome, OWN: own}, version)


def update_group(path: Path, ome: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Replace parts of the OME metadata of a group, and of what is noted beside."""
    attributes = _attributes(path)
    version = version_of(path)
    before = ome_of(path)
    noted = {**dict(attributes.get(OWN) or {}), **own}
    _update(path, {"ome": {**before, **ome}, OWN: noted}, version)


def note(path: Path, own: Mapping[str, Any]) -> None:
    """Put what this program notes in a group that is there in the place of what it had.

    All other attributes stay.
    """
    _update(path, {"ome": ome_of(path), OWN: own}, version_of(path))


def _update(path: Path, told: Mapping[str, Any], version: OmeVersion) -> None:
    kept = {} if is_damaged_group(path) or not is_group(path) else _attributes(path)
    make_folders(path)
    if version == V2:
        flat = {name: value for name, value in told.items() if name != "ome"}
        attributes = {**kept, **_as_in_v2(told["ome"]), **flat}
        # Whose the group is must be known as soon as it is one.
        write_atomic(path / ATTRIBUTES, _text(attributes))
        write_atomic(path / GROUP, _text({"zarr_format": 2}))
    else:
        document = {"zarr_format": 3, "node_type": "group"}
        attributes = {**kept, **told}
        write_atomic(path / METADATA, _text(document | {"attributes": attributes}))
    sync(path.parent)


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2)


def _as_in_v2(ome: Mapping[str, Any]) -> dict[str, Any]:
    """OME metadata of 0.5 as 0.4 has them: flat, each part with its version."""
    told = {name: value for name, value in ome.items() if name != "version"}
    if "multiscales" in told:
        told["multiscales"] = [{**m, "version": V2} for m in told["multiscales"]]
    for name in ("image-label", "plate", "well"):
        if name in told:
            told[name] = {**told[name], "version": V2}
    return told


def is_group(path: Path) -> bool:
    """Whether there are documents of a group, be they damaged."""
    return any(persistently((path / name).exists) for name in DOCUMENTS)


def version_of(path: Path) -> OmeVersion:
    """Of OME-NGFF, by the documents of a group."""
    is_v2 = (path / GROUP).exists() or (path / ATTRIBUTES).exists()
    return V2 if is_v2 and not (path / METADATA).exists() else V3


def ome_of(path: Path) -> dict[str, Any]:
    """The OME metadata of a group.

    Raises
    ------
    FileNotFoundError, ValueError
        It is not there; its documents can't be understood.
    """
    attributes = _attributes(path)
    if version_of(path) == V2:
        return {name: value for name, value in attributes.items() if name != OWN}
    ome = attributes.get("ome")
    return dict(ome) if isinstance(ome, dict) else {}


def _attributes(path: Path) -> dict[str, Any]:
    """See `ome_of`."""
    try:
        data = persistently((path / METADATA).read_bytes)
    except (FileNotFoundError, NotADirectoryError):
        return _attributes_of_v2(path)
    document = json.loads(data)
    is_sound = isinstance(document, dict) and isinstance(
        document.setdefault("attributes", {}), dict
    )
    kind = (3, "group")
    if not is_sound or (document.get("zarr_format"), document.get("node_type")) != kind:
        raise ValueError(f"{str(path / METADATA)!r} is no group's")
    return dict(document["attributes"])


def _attributes_of_v2(path: Path) -> dict[str, Any]:
    try:
        attributes = json.loads(persistently((path / ATTRIBUTES).read_bytes))
    except (FileNotFoundError, NotADirectoryError):
        # A group without attributes has no document of them.
        persistently((path / GROUP).read_bytes)
        return {}
    if not isinstance(attributes, dict):
        raise ValueError(f"{str(path / ATTRIBUTES)!r} is no object")  # noqa: TRY004
    return attributes


def is_damaged_group(path: Path) -> bool:
    """Whether the metadata of a group are there and can't be understood."""
    try:
        _attributes(path)
        if version_of(path) == V2:
            document = json.loads(persistently((path / GROUP).read_bytes))
            return not (isinstance(document, dict) and document.get("zarr_format") == 2)
    except (FileNotFoundError, NotADirectoryError):
        return is_group(path)
    except ValueError:
        return True
    return False


def own_attributes(path: Path) -> dict[str, Any] | None:
    """What this program noted in a group that it made; None in any other folder."""
    try:
        own = _attributes(path).get(OWN)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise RefusedError(
            f"{str(path)!r} can't be read ({error.strerror}), so that nothing is known"
            " of who made it. Expected a folder that can be; correct that."
        ) from error
    return own if isinstance(own, dict) else None


def listed_labels(path: Path) -> list[str]:
    """The labels of an image at `path` by which viewers find them; none if damaged."""
    if not is_group(path / LABELS) or is_damaged_group(path / LABELS):
        return []
    names = ome_of(path / LABELS).get("labels")
    return [str(name) for name in names] if isinstance(names, list) else []


def create_labels(path: Path, names: Sequence[str]) -> None:
    """List the labels of an image at `path`, where it has some, beside those there."""
    if names:
        _list_labels(path, list(dict.fromkeys([*listed_labels(path), *names])))


def unlist_labels(path: Path, names: Collection[str]) -> None:
    """Take labels that were deleted from the list of an image at `path`."""
    left = [name for name in listed_labels(path) if name not in names]
    if left != listed_labels(path):
        _list_labels(path, left)


def _list_labels(path: Path, names: Sequence[str]) -> None:
    listed = {"version": V3, "labels": list(names)}
    _update(path / LABELS, {"ome": listed}, version_of(path))


def remove_image(path: Path) -> None:
    """Delete an output of this program; cut short, it can be tried again.

    Of a link to a folder, the folder is emptied and the link is kept.
    """
    for child in path.iterdir():
        if child.name not in DOCUMENTS:
            delete(child)
    # By its own attributes it is known as this program's, so they go last.
    for name in DOCUMENTS:
        delete(path / name)
    if not path.is_symlink():
        path.rmdir()
