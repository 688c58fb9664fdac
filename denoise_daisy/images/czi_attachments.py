"""What lies beside a CZI's pixels: its metadata's text, and its time stamps.

Layout: ZISRAW file format of the ZEISS CZI specification.
"""

import math
import struct

from denoise_daisy.errors import InputError
from denoise_daisy.images.czi_segments import CziFile, opened

_HEAD = 256
"""Bytes in front of what segments hold."""

_ENTRY = struct.Struct("<2s10xqi16s8s80s")
"""Of the directory: schema, position, file part, id, type and name."""

_MOST_METADATA = 1 << 30
_MOST_ATTACHMENTS = 1000
_MOST_STAMPS = 1 << 20
"""More are damage."""


def metadata_text(path: str) -> bytes:
    """The metadata as they stand in a file: XML.

    Raises
    ------
    InputError
        The file can't be read, or is no CZI.
    ValueError
        It has none, or says of them what can't be.
    """
    with opened(path) as file:
        position = file.header().metadata_at
        left = file.segment(position, "ZISRAWMETADATA") - _HEAD if position else 0
        size = int.from_bytes(file.file.read(_HEAD)[:4], "little", signed=True)
        is_right = 0 <= size <= min(left, _MOST_METADATA)
        text = file.file.read(size) if is_right else b""
    if not position:
        raise ValueError("there are none")
    if not is_right:
        raise ValueError(f"they are said to have {size} bytes")
    return text.rstrip(b"\0")


def attached_step_s(path: str, times: int) -> float | None:
    """The mean step between so many time points in seconds, by the stamps of all.

    None where ZEN has attached no such stamps, or they are damaged.
    """
    if times < 2:
        return None
    try:
        with opened(path) as file:
            position = _attachment(file, b"TimeStamps")
            stamps = () if position is None else _stamps(file, position)
    except (InputError, struct.error):
        return None
    if len(stamps) != times:
        return None
    step = (stamps[-1] - stamps[0]) / (times - 1)
    # What is added by subtracting is undone by 12 digits.
    return float(f"{step:.12g}") if 0 < step < math.inf else None


def _attachment(file: CziFile, name: bytes) -> int | None:
    """Byte where the segment of an attachment begins."""
    position = file.header().attachments_at
    if not position:
        return None
    file.segment(position, "ZISRAWATTDIR")
    [count] = struct.unpack_from("<i", file.file.read(_HEAD))
    if not 0 <= count <= _MOST_ATTACHMENTS:
        return None
    data = file.file.read(count * _ENTRY.size)
    for i in range(count):
        schema, at, _, _, _, text = _ENTRY.unpack_from(data, i * _ENTRY.size)
        if schema == b"A1" and text.partition(b"\0")[0] == name:
            return int(at)
    return None


def _stamps(file: CziFile, position: int) -> tuple[float, ...]:
    """Seconds, of all time points."""
    left = file.segment(position, "ZISRAWATTACH") - _HEAD
    file.file.seek(_HEAD, 1)
    _, count = struct.unpack("<ii", file.file.read(8))
    if not 0 <= count <= min(_MOST_STAMPS, (left - 8) // 8):
        return ()
    return struct.unpack(f"<{count}d", file.file.read(8 * count))
