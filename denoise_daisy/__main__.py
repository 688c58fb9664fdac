"""The command line: parse, call, turn errors into exit codes."""

import argparse
import json
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from denoise_daisy.config import Config
from denoise_daisy.errors import DenoiseDaisyError, RunStopped
from denoise_daisy.run_dir.run_dir import RunDir, find
from denoise_daisy.runs.limits import limits_told
from denoise_daisy.runs.plan_report import plan
from denoise_daisy.runs.run import run
from denoise_daisy.runs.status import status
from denoise_daisy.runs.verify import verify
from denoise_daisy.streams import open_closed, patient, print_whole, use_utf8

VERBS = ("run", "plan", "status", "verify", "schema")

DOING = ("run", "verify")
"""Verbs that do something, whether anybody reads what they say or not."""


def entry() -> NoReturn:
    """Be the command, from its start to its end.

    It ends at once: a thread of Daisy's may still be in native code, which Python's own
    end would abort.
    """
    use_utf8()
    open_closed()
    try:
        code = main()
    except SystemExit as error:
        code = int(error.code or 0)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] not in VERBS and not words[0].startswith("-"):
        words.insert(0, "run")
    with patient("stderr"):
        options = _parser().parse_args(words)
        with patient(*(["stdout"] if options.verb in DOING else [])):
            return _main(options)


def _main(options: argparse.Namespace) -> int:
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.WARNING)
    console.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[console])
    # A full disk must not make the log's own troubles the user's.
    logging.raiseExceptions = False
    try:
        with limits_told():
            _call(options)
    except DenoiseDaisyError as error:
        print(f"denoise_daisy: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("denoise_daisy: stopped by SIGINT.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception:  # noqa: BLE001 - a bug: say where the report is
        _report_bug()
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="denoise-daisy",
        description="Denoise a microscopy image of any size, block by block, exactly.",
        epilog="`denoise-daisy CONFIG` is the same as `denoise-daisy run CONFIG`.",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    runs = verbs.add_parser("run", help="denoise; go on where an earlier start stopped")
    runs.add_argument(
        "--overwrite", action="store_true", help="delete the output and start over"
    )
    runs.add_argument(
        "--grace",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="what blocks in flight get after Ctrl-C (default 30)",
    )
    plans = verbs.add_parser("plan", help="say what a run would do")
    for verb in (runs, plans):
        verb.add_argument("config", metavar="CONFIG")
        verb.add_argument(
            "--task",
            action="append",
            default=[],
            metavar="NAME",
            help="only this task of the config (can be repeated; denoise is the first)",
        )
        verb.add_argument(
            "--unchecked-ndsafir",
            action="store_true",
            help="accept a version of ndsafir that blocks were not checked with",
        )
    for name, text in (
        ("status", "say how far a run is"),
        ("verify", "read the output back and compare it with the ledger"),
    ):
        verb = verbs.add_parser(name, help=text)
        verb.add_argument("path", metavar="CONFIG|OUTPUT|RUN_DIR", type=Path)
    verbs.add_parser("schema", help="print the JSON Schema of the config")
    return parser


def _call(options: argparse.Namespace) -> None:
    match options.verb:
        case "run":
            run(
                Config.load(options.config),
                tasks=options.task,
                overwrite=options.overwrite,
                grace_seconds=options.grace,
                unchecked_ndsafir=options.unchecked_ndsafir,
                say=partial(print, flush=True),
            )
        case "plan":
            config = Config.load(options.config)
            unchecked = options.unchecked_ndsafir
            _print(plan(config, tasks=options.task, unchecked_ndsafir=unchecked))
        case "status":
            _print(status(_find(options.path)))
        case "verify":
            print(verify(_find(options.path)), flush=True)
        case "schema":
            _print(json.dumps(Config.model_json_schema(), indent=2))


def _print(text: str) -> None:
    """Print what was asked for.

    Raises
    ------
    RunStopped
        It can't be written.
    """
    try:
        print_whole(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RunStopped(
            f"Standard output can't be written ({error.strerror}), and printing was all"
            " that was to be done. Correct that and ask again."
        ) from error


def _find(path: Path) -> RunDir:
    """The run directory that a config, an output or a run directory stands for."""
    if path.is_file():
        path = Path(Config.load(path).output.path)
    return find(path)


def _report_bug() -> None:
    traceback.print_exc()
    with tempfile.NamedTemporaryFile(
        "w", prefix="denoise_daisy-", suffix=".log", delete=False
    ) as file:
        file.write(" ".join(sys.argv) + "\n")
        traceback.print_exc(file=file)
    print(
        f"denoise_daisy: an internal error. Please report it with {file.name}.",
        file=sys.stderr,
    )


if __name__ == "__main__":
    entry()
