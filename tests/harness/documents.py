"""The Markdown documents: their snippets, and a shell that runs these as people do.

A fence of the language `sh` is run, and the next one of `text` is what it says: words
that have to be there in this order, numbers apart, with `...` for anything.  A fence
behind a paragraph that ends with a name and a colon is written to a file of that
name.  Other fences without a language are to be read.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.images import ROOT
from harness.program import environment

DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(
            file
            for file in (ROOT / "docs").rglob("*.md")
            if not {"_generated", "_build"} & {*file.parts}
        ),
    ]
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_NAME = re.compile(r"`([\w./]+\.(?:json|py))`:\n\n$")

STAND_INS = {
    "squeue": "#!/bin/sh\n",
    "sbatch": '#!/bin/sh\ncat >"$HOME/job"; echo 77\n',
    "bsub": '#!/bin/sh\ncat >"$HOME/job"; echo "Job <77> is submitted to queue <q>."\n',
}
"""Commands of batch systems that have no jobs, take one, and do not run it."""


@dataclass(frozen=True, slots=True)
class Snippet:
    """A block of code of a document."""

    language: str
    text: str
    name: str | None
    """The file that it is written to."""


def snippets(document: Path) -> Iterator[Snippet]:
    """All of a document, in their order."""
    text = document.read_text("utf-8")
    for fence in _FENCE.finditer(text):
        name = _NAME.search(text[: fence.start()])
        yield Snippet(fence[1], fence[2], name[1] if name else None)


def fences(text: str, language: str) -> list[str]:
    """The blocks of code of that language in a text."""
    return [code for found, code in _FENCE.findall(text) if found == language]


def config_of(code: str) -> dict[str, Any]:
    """A whole config as it is; a part of one, in the smallest config."""
    if code.startswith("{"):
        return dict(json.loads(code))
    smallest = json.loads((ROOT / "configs" / "minimal.json").read_text("utf-8"))
    return smallest | json.loads(f"{{{code}}}")


class Shell:
    """A shell in a folder and a home of its own, with the program on its path.

    Runs make no pages, which take most of the time of a small one, unless `env` sets
    waits in which they do.
    """

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._said: str | None = None
        home, programs = folder / "home", folder / "bin"
        for made in (home, programs):
            made.mkdir()
        for name, script in STAND_INS.items():
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        for name in ("scripts", "workers", "configs"):
            (folder / name).symlink_to(ROOT / name)
        own = Path(sys.executable).parent
        self._environment = environment(
            (env or {})
            | {
                "HOME": str(home),
                "PATH": f"{programs}:{own}:/usr/bin:/bin",
                "PYTHON": sys.executable,
                # Nothing outside is asked.
                "https_proxy": "http://127.0.0.1:9",
                "http_proxy": "http://127.0.0.1:9",
            }
        )

    def do(self, snippet: Snippet) -> None:
        """What its language asks for."""
        if snippet.name is not None:
            (self.folder / snippet.name).write_text(snippet.text, "utf-8")
        elif snippet.language == "sh":
            self._said = self._run(["bash", "-eu", "-c", snippet.text])
        elif snippet.language == "python":
            self._said = self._run([sys.executable, "-c", snippet.text])
        elif snippet.language == "text" and self._said is not None:
            says(self._said, snippet.text)

    def _run(self, command: list[str]) -> str:
        # One core, and so one worker: most of what a small run takes is their start.
        core = str(min(os.sched_getaffinity(0)))
        end = subprocess.run(
            ["taskset", "--cpu-list", core, *command],
            cwd=self.folder,
            env=self._environment | {"PYTHONPATH": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        assert end.returncode == 0, f"{command[-1]}\n{end.stdout}"
        return end.stdout


def says(said: str, expected: str) -> None:
    """Each line is there, in this order, but for numbers; `...` stands for anything."""
    rest = _without_numbers(said)
    for line in filter(None, map(str.strip, expected.splitlines())):
        parts = _without_numbers(line).split("...")
        pattern = ".*".join(map(re.escape, parts))
        found = re.search(pattern, rest)
        assert found, f"{line!r} is not in: {said}"
        rest = rest[found.end() :]


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "0", text)
