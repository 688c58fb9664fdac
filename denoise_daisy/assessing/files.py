"""The files of a report: its values as JSON, and the page that shows them."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

from denoise_daisy.assessing.make import Made, make
from denoise_daisy.assessing.page_file import check_file, write_page
from denoise_daisy.assessing.section import section
from denoise_daisy.assessing.values import Report
from denoise_daisy.durable import persistently
from denoise_daisy.errors import InputError
from denoise_daisy.monitoring.collect import StatusReader
from denoise_daisy.monitoring.page_plots import Plot, plots_of
from denoise_daisy.monitoring.run_page import history_of, page_of_run
from denoise_daisy.reports.notebook import framed
from denoise_daisy.reports.page import render
from denoise_daisy.run_dir.run_dir import RunDir

logger = logging.getLogger("denoise_daisy")


@dataclass(frozen=True, slots=True)
class Written:
    """A report, and where it is."""

    report: Report
    page: Path
    values: Path

    def _repr_html_(self) -> str:
        return framed(self.page.read_text("utf-8"))

    def __str__(self) -> str:
        figures = self.report.figures
        good = sum(f.verdict == "good" for f in figures)
        doubtful = [f for f in figures if f.verdict == "doubtful"]
        lines = [
            f"{good} of {good + len(doubtful)} figures are as expected."
            if good + len(doubtful)
            else "Nothing of the image could be measured."
        ]
        lines += [
            f"  {f.name}, {f.of or 'all'}: {f.text}, expected {f.expected}"
            for f in doubtful
        ]
        lines += self.report.findings
        if self.report.cost is not None:
            lines.append(self.report.cost.bottleneck)
        lines += [f"Left out: {what}" for what in self.report.left_out]
        lines += [f"Report: {self.page}", f"Values: {self.values}"]
        return "\n".join(lines)


def write_report(
    run_dir: RunDir,
    *,
    file: Path | None = None,
    reference: str | None = None,
    seconds: float | None = None,
) -> Written:
    """Make the report of a run, and write it: into the run directory, or to a file.

    See `make`; of a file ``FILE.html`` the values go to ``FILE.report.json``.

    Raises
    ------
    InputError
        The reference can't be used, or the file may not be written.
    RefusedError
        run.json is gone or can't be used.
    RunStopped
        The files can't be written.
    """
    if file is None:
        place, values = run_dir.page, run_dir.report
    else:
        check_file(file, (run_dir.output, run_dir.path), "report")
        place, values = file, _values_of(file)
        _check_values(values)

    def write(made: Made) -> None:
        page = _status_page(run_dir, made) if file is None else page_of_report(made)
        write_page(values, made.report.json() + "\n", "report")
        write_page(place, page, "report")

    # What is quick is there, should what is not never end.
    made = make(run_dir, reference=reference, seconds=seconds, early=write)
    write(made)
    return Written(made.report, place, values)


def _status_page(run_dir: RunDir, made: Made) -> str:
    """The page of the run with its report; that alone where its output is gone."""
    try:
        return page_of_run(run_dir, section(made))
    except Exception:
        logger.debug("The report is a page of its own", exc_info=True)
        return page_of_report(made)


def page_of_report(made: Made) -> str:
    """A report as a page of its own."""
    return render(
        "report_page.html.j2",
        title=Path(made.report.facts.output).name,
        report=section(made),
        plots=_plots(RunDir(Path(made.report.facts.run_dir))),
    )


def _plots(run_dir: RunDir) -> tuple[Plot, ...]:
    """Speed and workers over time, since the last start."""
    try:
        reader = StatusReader(run_dir)
        return plots_of(history_of(reader, reader.read()), None)
    except Exception:
        logger.debug("The page has no plots of the work", exc_info=True)
        return ()


def _values_of(page: Path) -> Path:
    return page.with_name(f"{page.stem}.report.json")


def _check_values(file: Path) -> None:
    """Let no other file be written over.

    Raises
    ------
    InputError
        There is one of that name that is no report.
    """
    try:
        found = json.loads(persistently(file.read_bytes))
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        found = None
    if not (isinstance(found, dict) and {"findings", "figures"} <= found.keys()):
        raise InputError(
            f"The values of the report would go to {str(file)!r}, which exists and is"
            " no report of this program's. Choose another place with -o."
        )
