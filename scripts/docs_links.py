"""Links between the repository's Markdown files, as the site has them.

In the repository they lead from file to file.  On the site some files have pages
elsewhere, and others have none: there the name alone is left.
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent

DOCS = ROOT / "docs"

PAGES = {
    ROOT / "README.md": DOCS / "index.md",
    ROOT / "ARCHITECTURE.md": DOCS / "project" / "architecture.md",
    ROOT / "CONTRIBUTING.md": DOCS / "project" / "contributing.md",
    ROOT / "CHANGELOG.md": DOCS / "project" / "changelog.md",
}
"""Files that have pages of another place."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_site(text: str, file: Path, page: Path) -> str:
    """The text of a file, with links as they are right on a page of the site."""

    def replaced(link: re.Match[str]) -> str:
        image, words, target, anchor = link.groups()
        if re.match(r"[a-z]+:", target):
            return link.group()
        there = (file.parent / target).resolve()
        there = PAGES.get(there, there)
        if not there.is_relative_to(DOCS):
            return words if words.startswith("`") else f"`{words}`"
        path = os.path.relpath(there, page.parent)
        return f"{image}[{words}]({Path(path).as_posix()}{anchor or ''})"

    return _LINK.sub(replaced, text)
