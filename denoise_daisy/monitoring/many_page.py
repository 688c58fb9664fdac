"""How far many images are, as one HTML file with a link to the page of each."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from denoise_daisy.monitoring.page import percent, scripted
from denoise_daisy.monitoring.page_words import NAMES, clock
from denoise_daisy.monitoring.values import State
from denoise_daisy.reports.page import render

MOST_ROWS = 2000
"""That are told one by one, those that are not done first."""

DONE, FAILED, AT_WORK, LEFT = "done", "failed", "running", "left"
"""How far an image can be, as a bar shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """How far an image is."""

    name: str
    state: str
    """In a word or two."""
    kind: str
    """`DONE`, `FAILED`, `AT_WORK` or `LEFT`."""
    done: int
    blocks: int
    """Of all its stages; 0 before they are known."""
    failed: int
    took: str
    """The time of its workers, in words."""
    link: Callable[[], str]
    """Its page, as seen from this one; empty where there is none.  It is looked for
    where it is shown."""
    message: str
    """Why not all of it is done."""

    @property
    def share(self) -> float:
        """Part of its blocks that are done."""
        return self.done / self.blocks if self.blocks else 0.0


def page_of_many(
    name: str,
    rows: Sequence[ImageRow],
    state: State,
    *,
    refresh: float | None = None,
    written: float | None = None,
) -> str:
    """The page of all images together; `written` is now, in seconds since 1970."""
    now = time.time() if written is None else written
    kinds = Counter(row.kind for row in rows)
    order = (FAILED, AT_WORK, LEFT, DONE)
    shown = sorted(rows, key=lambda row: order.index(row.kind))[:MOST_ROWS]
    text = render(
        "many.html.j2",
        name=name,
        state=NAMES[state] if state != "failed" else "Not all images are done",
        kind=state,
        share=percent(sum(row.share for row in rows), len(rows)),
        parts=[
            (kind, 100 * kinds[kind] / len(rows))
            for kind in (DONE, AT_WORK, FAILED)
            if kinds[kind]
        ],
        said=f"{kinds[DONE]} of {len(rows)} images are done, {kinds[AT_WORK]} at work,"
        f" {kinds[FAILED]} failed, {kinds[LEFT]} left.",
        rows=[
            {
                "of": row,
                "link": row.link(),
                "share": percent(row.done, row.blocks),
                "width": 100 * row.share,
            }
            for row in shown
        ],
        more=len(rows) - len(shown),
        written=clock(now),
        written_iso=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
        written_at=int(now),
        refresh=int(refresh) if refresh else None,
        **scripted("refresh.js"),
    )
    return text.encode("utf-8", "backslashreplace").decode()
