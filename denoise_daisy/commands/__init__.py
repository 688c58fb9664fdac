"""The verbs of the command line: a module each, with what it takes and what it calls.

A new verb is a new module with `add`, and its name in `COMMANDS`.  Only the module of
the verb that is used is imported: what others need would take a second.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs

COMMANDS = (
    "inspect",
    "init",
    "calibrate",
    "plan",
    "preview",
    "run",
    "status",
    "report",
    "verify",
    "rerun",
    "export",
    "view",
    "schema",
)
"""The verbs, in the order in which help lists them."""


def add(command: str, verbs: "Verbs") -> None:
    """Add the parser of a verb."""
    import_module(f"{__name__}.{command}").add(verbs)
