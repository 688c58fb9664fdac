"""Amounts in words: time spans, work, sizes, counts."""

GIB = 1 << 30

_MIB = 1 << 20


def duration(seconds: float) -> str:
    """A time span as people say it: 0.3 s, 45 s, 12 min, 3.5 h, 2.1 days."""
    if seconds < 2:
        return f"{max(seconds, 0.1):.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"


def duration_range(least: float, most: float) -> str:
    """Two time spans as one: 9 to 12 min; about 9 min where they are alike."""
    low, high = duration(least), duration(most)
    if low == high:
        return f"about {low}"
    (number, unit), other = low.split(" "), high.rpartition(" ")[2]
    return f"{number if unit == other else low} to {high}"


def voxel_rate(voxels_per_second: float) -> str:
    """Voxels in a second: 3.4 Mvoxel/s, 120 kvoxel/s, 8.1 voxel/s."""
    for unit, number in (("Mvoxel", 1e6), ("kvoxel", 1e3)):
        if voxels_per_second >= number:
            return f"{_digits(voxels_per_second / number)} {unit}/s"
    return f"{_digits(voxels_per_second)} voxel/s"


def core_time(seconds: float) -> str:
    """What one core does in that time: 0.35 core seconds, 1.4 core hours."""
    for unit, length, most in (("seconds", 1, 120), ("minutes", 60, 7200)):
        if seconds < most:
            return f"{_digits(seconds / length)} core {unit}"
    return f"{_digits(seconds / 3600)} core hours"


def size(number: float) -> str:
    """A number of bytes: 0.51 MiB, 188 GiB."""
    unit, length = ("GiB", GIB) if number >= GIB / 100 else ("MiB", _MIB)
    return f"{number / length:.3g} {unit}"


def counted(number: int, one: str) -> str:
    """So many of what is named: 1 warning, 3 warnings."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def _digits(number: float) -> str:
    """Two digits at least, and no more than matter."""
    return f"{number:.0f}" if number >= 100 else f"{number:.2g}"
