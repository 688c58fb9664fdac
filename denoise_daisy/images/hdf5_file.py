"""HDF5 files through h5py: finding a dataset, and refusing what reads as zeros."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from denoise_daisy.errors import InputError
from denoise_daisy.images.file_identity import file_at

ENDINGS = (".h5", ".hdf5", ".hdf", ".he5")
MAGIC = b"\x89HDF\r\n\x1a\n"

MOST_LISTED = 20
"""Datasets in a message."""

SAME_FILE = "."
"""How a virtual dataset names the file that it lies in."""


def split_path(path: str) -> tuple[str, str]:
    """A path as that of a file and the dataset named behind it, which may be empty.

    Where nothing is there yet, an ending tells which part is the file.
    """
    whole = Path(path)
    if (file := file_at(whole)) is not None:
        return str(file), _behind(whole, file)
    named = [p for p in whole.parents if p.name.lower().endswith(ENDINGS)]
    with suppress(OSError, ValueError):
        for place in named:
            if not place.is_dir():
                return str(place), _behind(whole, place)
    return path, ""


def _behind(whole: Path, file: Path) -> str:
    return "/".join(whole.parts[len(file.parts) :])


def is_within_hdf5(path: str) -> bool:
    """Whether a path is that of an HDF5 file with a dataset behind it."""
    file, part = split_path(path)
    if not part:
        return False
    with suppress(OSError, ValueError), Path(file).open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC or file.lower().endswith(ENDINGS)
    return file.lower().endswith(ENDINGS)


@contextmanager
def damage_told(file: str) -> Iterator[None]:
    """Turn what h5py makes of a file that is away or damaged into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"The input {file!r} can't be read as HDF5"
            f" ({' '.join(str(error).split()) or type(error).__name__}). Expected a"
            " whole file that nobody writes to; close it there, or copy it again."
        ) from error


def opened_file(file: str) -> Any:
    """A file, to be read; without a lock, which network file systems may not have."""
    import h5py  # noqa: PLC0415 - heavy

    return h5py.File(file, "r", locking=False)


def find_dataset(file: str, opened: Any, part: str) -> tuple[str, Any]:
    """The dataset of an opened file that is named, or else the only one; and its name.

    A group that is named stands for the only one in it.

    Raises
    ------
    InputError
        There is none, or there are several.
    """
    try:
        found = opened[part] if part else opened
    except (KeyError, OSError) as error:
        raise InputError(
            f"{file!r} has no dataset {part!r}, or a link whose end is not there"
            f" ({' '.join(str(error).split())}). Expected one of"
            f" {_listed(_datasets(opened))}."
        ) from error
    if not hasattr(found, "visititems"):
        return part, found
    inside = _datasets(found, f"{part}/" if part else "")
    if len(inside) == 1:
        return inside.popitem()
    raise InputError(
        f"{file + '/' + part if part else file!r} has {len(inside)} datasets of 2 to 5"
        f" dimensions: {_listed(inside)}. Expected one; name it behind the file in"
        f" input.path, such as {file + '/' + next(iter(inside), 'volumes/raw')!r}."
    )


def _datasets(group: Any, before: str = "") -> dict[str, Any]:
    """All datasets of 2 to 5 dimensions in a group, however deep; links are left."""
    found: dict[str, Any] = {}

    def look(name: str, item: Any) -> None:
        if 2 <= len(getattr(item, "shape", None) or ()) <= 5:
            found[before + name] = item

    group.visititems(look)
    return found


def _listed(datasets: Mapping[str, Any]) -> str:
    said = [f"{n} ({' x '.join(map(str, d.shape))})" for n, d in datasets.items()]
    more = len(said) - MOST_LISTED
    listed = ", ".join(said[:MOST_LISTED]) or "none"
    return f"{listed} and {more} more" if more > 0 else listed


def other_files(file: str, dataset: Any) -> tuple[str, ...]:
    """Files besides `file` that hold the voxels of a dataset: linked or virtual.

    Raises
    ------
    InputError
        Voxels lie in a raw file, or in a dataset that is away, and so would be zeros.
    """
    holder = dataset.file.filename
    found = [] if Path(holder) == Path(file) else [str(holder)]
    if dataset.external:
        raise InputError(
            f"The dataset {dataset.name!r} of {file!r} keeps its voxels in a raw file"
            " beside it. Expected them in the HDF5 file; copy it with h5repack."
        )
    if dataset.is_virtual:
        sources = {(s.file_name, s.dset_name) for s in dataset.virtual_sources()}
        found += [_source(file, holder, *source) for source in sorted(sources)]
    return tuple(dict.fromkeys(each for each in found if each != file))


def _source(file: str, holder: str, name: str, part: str) -> str:
    """The path of a virtual dataset's source, which is there and has that dataset."""
    path = holder if name == SAME_FILE else str(Path(holder).parent / name)
    problem = ""
    if not Path(path).is_file():
        problem = "is not there"
    else:
        with damage_told(path), opened_file(path) as opened:
            source = opened.get(part)
            problem = f"has no dataset {part!r}" if source is None else ""
            if source is not None and source.is_virtual and name != SAME_FILE:
                problem = f"has a dataset {part!r} that is virtual itself"
    if problem:
        raise InputError(
            f"{file!r} has a virtual dataset whose source {path!r} {problem}, and what"
            " can't be found would be read as zeros. Expected plain and whole files"
            " where it names them; copy them there."
        )
    return path


def check_filters(file: str, dataset: Any) -> None:
    """Refuse a dataset whose compression can't be undone here.

    Raises
    ------
    InputError
        With the filter's name.
    """
    import h5py  # noqa: PLC0415 - heavy

    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(i) for i in range(properties.get_nfilters())]
    if all(h5py.h5z.filter_avail(each[0]) for each in filters):
        return
    with suppress(ImportError):
        import_module("hdf5plugin")  # registers its filters
    for code, _, _, name in filters:
        if not h5py.h5z.filter_avail(code):
            raise InputError(
                f"The dataset {dataset.name!r} of {file!r} is compressed with filter"
                f" {code} ({name.decode(errors='replace') or 'unnamed'}), which is not"
                " installed. Expected one that HDF5 knows: `pip install hdf5plugin`"
                " brings many more."
            )


def unwritten(dataset: Any) -> str:
    """How much of a dataset nobody has written, in words; empty where all is there."""
    if dataset.is_virtual:
        return ""
    if dataset.chunks is None:
        return "" if dataset.id.get_storage_size() else "none of it"
    count = 1
    for extent, chunk in zip(dataset.shape, dataset.chunks, strict=True):
        count *= -(-extent // chunk)
    absent = count - dataset.id.get_num_chunks()
    return f"{absent} of its {count} chunks" if absent > 0 else ""
