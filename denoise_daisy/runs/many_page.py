"""The page of many images together, by what has become of each of them so far."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from os.path import relpath
from urllib.parse import quote

from denoise_daisy.amounts import duration
from denoise_daisy.monitoring.keeper import page_kept
from denoise_daisy.monitoring.many_page import (
    AT_WORK,
    DONE,
    FAILED,
    LEFT,
    ImageRow,
    page_of_many,
)
from denoise_daisy.monitoring.values import State
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs.many_images import OneOfMany
from denoise_daisy.runs.many_table import Outcome
from denoise_daisy.runs.warnings import first_sentence


def pages_kept(
    hub: RunDir, images: Sequence[OneOfMany], outcomes: Sequence[Outcome]
) -> AbstractContextManager[None]:
    """The page is kept up to date meanwhile, of outcomes that come one by one."""

    def text(ended: State | None, refresh: float | None, /, **_: bool) -> str:
        begun = {outcome.image.name: outcome for outcome in list(outcomes)}
        rows = [_row(hub, image, begun.get(image.name)) for image in images]
        return page_of_many(hub.output.name, rows, ended or "running", refresh=refresh)

    return page_kept(hub, lambda: text)


def _link(hub: RunDir, image: OneOfMany) -> str:
    page = RunDir.of_output(image.output).page
    return quote(relpath(page, hub.path)) if page.exists() else ""


def _row(hub: RunDir, image: OneOfMany, outcome: Outcome | None) -> ImageRow:
    link = partial(_link, hub, image)
    if outcome is None:
        return ImageRow(
            name=image.name,
            state="left",
            kind=LEFT,
            done=0,
            blocks=0,
            failed=0,
            took="none",
            link=link,
            message="",
        )
    done, failed, blocks = outcome.blocks
    return ImageRow(
        name=image.name,
        state=outcome.status,
        kind=DONE if outcome.is_done else FAILED if outcome.has_ended else AT_WORK,
        done=done,
        blocks=blocks,
        failed=failed,
        took=duration(outcome.seconds) if outcome.seconds else "none",
        link=link,
        message=first_sentence(str(outcome.error)) if outcome.error else "",
    )
