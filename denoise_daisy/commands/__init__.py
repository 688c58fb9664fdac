"""The verbs of the command line: a module each, with what it takes and what it calls.

A new verb is a new module with `add`, and a name in `COMMANDS`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from denoise_daisy.commands import (
    calibrate,
    export,
    init,
    inspect,
    plan,
    preview,
    report,
    rerun,
    run,
    schema,
    status,
    verify,
    view,
)

if TYPE_CHECKING:
    from denoise_daisy.commands.common import Verbs

COMMANDS: dict[str, "Callable[[Verbs], None]"] = {
    "inspect": inspect.add,
    "init": init.add,
    "calibrate": calibrate.add,
    "plan": plan.add,
    "preview": preview.add,
    "run": run.add,
    "status": status.add,
    "report": report.add,
    "verify": verify.add,
    "rerun": rerun.add,
    "export": export.add,
    "view": view.add,
    "schema": schema.add,
}
"""What adds a verb's parser, by the verb."""
