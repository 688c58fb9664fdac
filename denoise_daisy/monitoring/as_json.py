"""How far a run is, or many images are, as JSON for other programs."""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from denoise_daisy.monitoring.many import ManyStatus
from denoise_daisy.monitoring.values import RunStatus


def status_json(found: RunStatus | ManyStatus, *, in_a_line: bool = False) -> str:
    """All of it as one object, without the state of each block."""
    return json.dumps(_plain(found), indent=None if in_a_line else 2, allow_nan=False)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.name != "states"]
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
