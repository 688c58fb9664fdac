"""The command line: parse, call, turn errors into exit codes."""

import argparse
import logging
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import NoReturn

from denoise_daisy.commands import COMMANDS, add
from denoise_daisy.errors import DenoiseDaisyError, InputError
from denoise_daisy.runs.limits import limits_told
from denoise_daisy.streams import open_closed, patient, use_utf8
from denoise_daisy.wording import nearest

OWN_OPTIONS = ("-h", "--help", "--version")
"""What begins no run where no verb is named."""

STOPPED = "denoise_daisy: stopped by SIGINT."


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
    problem = ""
    if words and words[0] not in (*COMMANDS, *OWN_OPTIONS):
        problem = _misspelt(words[0])
        words.insert(0, "run")
    with patient("stderr"):
        if problem:
            print(f"denoise_daisy: {problem}", file=sys.stderr)
            return InputError.exit_code
        with _left_at_once():
            parser = _parser(*words[:1])
        options = parser.parse_args(words)
        with patient(*(["stdout"] if options.always_does else [])):
            return _main(options)


@contextmanager
def _left_at_once() -> Iterator[None]:
    """Let Ctrl-C end the program at once, which only loads what it needs meanwhile.

    As an exception it could come up in a native module, which makes another one of it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(*_: object) -> NoReturn:
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(130)


def _misspelt(word: str) -> str:
    """What to say of a word that is nearly a verb, and no file; empty of any other."""
    near = nearest(word, COMMANDS) if word.isalpha() else None
    if near is None or os.path.lexists(word):
        return ""
    return (
        f"{word!r} is no verb, and no config is there of that name. Did you mean"
        f" {near!r}? Expected the path of a config, or one of: {', '.join(COMMANDS)}."
    )


def _main(options: argparse.Namespace) -> int:
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.WARNING)
    console.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[console])
    # A full disk must not make the log's own troubles the user's.
    logging.raiseExceptions = False
    try:
        with limits_told():
            options.call(options)
    except DenoiseDaisyError as error:
        print(f"denoise_daisy: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception:  # noqa: BLE001 - a bug: say where the report is
        _report_bug()
        return 1
    return 0


def _parser(first: str = "") -> argparse.ArgumentParser:
    """That of all verbs, or of the one that the first word is."""
    parser = argparse.ArgumentParser(
        prog="denoise-daisy",
        description="Denoise a microscopy image of any size, block by block, exactly.",
        epilog="`denoise-daisy CONFIG` is the same as `denoise-daisy run CONFIG`.",
    )
    versions = [f"{name} {version(name)}" for name in ("denoise-daisy", "ndsafir")]
    parser.add_argument("--version", action="version", version=", ".join(versions))
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for command in [first] if first in COMMANDS else COMMANDS:
        add(command, verbs)
    # Verbs that do something, whether anybody reads what they say or not, say so.
    parser.set_defaults(always_does=False)
    return parser


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
