"""Units of length and of time, under the names that OME-NGFF gives them."""

_PREFIXES = {
    "yocto": -24, "zepto": -21, "atto": -18, "femto": -15, "pico": -12, "nano": -9,
    "micro": -6, "milli": -3, "centi": -2, "deci": -1, "": 0, "deca": 1, "hecto": 2,
    "kilo": 3, "mega": 6, "giga": 9, "tera": 12, "peta": 15, "exa": 18, "zetta": 21,
    "yotta": 24,
}  # fmt: skip

MICROMETERS = {
    **{f"{prefix}meter": 10.0 ** (n + 6) for prefix, n in _PREFIXES.items()},
    "angstrom": 1e-4,
    "foot": 304800.0,
    "inch": 25400.0,
    "mile": 1609344000.0,
    "yard": 914400.0,
    "parsec": 3.0856775814913673e22,
    # As people write them, though the specification does not know them.
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "\u03bcm": 1.0,
    "micron": 1.0,
    "mm": 1e3,
}
"""Micrometers in a unit of length."""

SECONDS = {
    **{f"{prefix}second": 10.0**n for prefix, n in _PREFIXES.items()},
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
    "s": 1.0,
    "ms": 1e-3,
}
"""Seconds in a unit of time."""
