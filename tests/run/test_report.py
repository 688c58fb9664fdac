"""Reports of real runs: finished, hurt, without their raw image, with a reference."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zarr
from funlib.geometry import Coordinate, Roi
from skimage.metrics import peak_signal_noise_ratio

from denoise_daisy.api import opened
from denoise_daisy.assessing import make as make_module
from denoise_daisy.assessing.files import write_report
from denoise_daisy.assessing.make import NOT_YET, make, read
from denoise_daisy.assessing.values import Report
from denoise_daisy.errors import BlocksFailed, RunStopped
from denoise_daisy.run_dir.checksums import chunk_checksums, encoded
from denoise_daisy.run_dir.ledger_lines import NO_ENGINE, Entry
from denoise_daisy.run_dir.run_dir import RunDir
from denoise_daisy.runs import report_at_end
from denoise_daisy.scheduling.signals import NUMBERS, Signals
from denoise_daisy.waits import WAITS
from harness import (
    cli,
    config_for,
    here,
    ledger_lines,
    output_of,
    short_waits,
    write_config,
)
from harness.oracles import go
from harness.reported import BACK, BLOCK, GAIN, SHAPE, Reported, noisy, truth


@pytest.fixture
def twin(one_report: tuple[Reported, Report], tmp_path: Path) -> Reported:
    """The same run elsewhere, to be hurt; its raw image is a link to the first's."""
    folder = tmp_path / "twin"
    shutil.copytree(one_report[0].folder, folder)
    for name in ("config.json", "out.zarr.run/run.json"):
        path = folder / name
        text = path.read_text().replace(str(one_report[0].folder), str(folder))
        path.write_text(text)
    old = (one_report[0].folder / "in.npy").stat()
    os.utime(folder / "in.npy", ns=(old.st_atime_ns, old.st_mtime_ns))
    return Reported(folder)


def named(report: Report, name: str) -> list[float]:
    return [figure.value for figure in report.figures if figure.name == name]


def test_a_good_run_is_as_expected(one_report: tuple[Reported, Report]) -> None:
    _, report = one_report
    assert report.findings == ()
    assert report.left_out == ()
    assert {f.verdict for f in report.figures} == {"good", "told"}
    assert len(report.figures) > 12
    planes = {(r.t, r.z) for r in report.residuals}
    assert {t for t, _ in planes} == {0, 1, 2}
    assert {z for _, z in planes} == {0, 1, 2, 3}
    json.loads(report.json(), parse_constant=pytest.fail)


def test_figures_are_those_of_the_arrays(one_report: tuple[Reported, Report]) -> None:
    """Computed anew from the files, by numpy alone."""
    run, report = one_report
    raw, out = noisy().astype(float), output_of(run.output).astype(float)
    for r in report.residuals:
        a, b = (v[r.t, 0, r.z, slice(*r.y), slice(*r.x)] for v in (raw, out))
        assert r.variance is not None
        expected = np.var(a - b) / np.mean(GAIN * b - GAIN * BACK)
        assert r.variance == pytest.approx(expected)
        assert r.change == pytest.approx(b.mean() / a.mean() - 1)
        assert r.level == pytest.approx(a.mean())
    (noise,) = report.noise
    assert noise.deviation == pytest.approx(np.sqrt(GAIN * (noise.level - BACK)))
    assert noise.measured == pytest.approx(noise.deviation, rel=0.1)
    assert noise.left is not None
    assert 0 < noise.left < 0.3
    lines = [line for line in ledger_lines(run.output) if line["status"] == "done"]
    assert report.cost is not None
    (stage, *_) = report.cost.stages
    assert stage.blocks == report.facts.done == len(lines) == 3 * 3 * 4
    for told, name in (
        (stage.computing, "compute"),
        (stage.reading, "read"),
        (stage.writing, "write"),
    ):
        assert told == pytest.approx(sum(line[f"{name}_seconds"] for line in lines))
    assert stage.peak_mib == max(line["peak_mib"] for line in lines)
    assert report.cost.workers == len({line["worker"] for line in lines})
    assert report.voxels.clipped == sum(line.get("clipped", 0) for line in lines)


def test_the_resolution_is_in_micrometers_and_better_after(
    one_report: tuple[Reported, Report],
) -> None:
    (found,) = one_report[1].resolution
    assert found.pixel_um == (0.1, 0.1)
    assert found.denoised is not None
    assert found.raw_resolution is not None
    assert found.denoised_resolution is not None
    assert 0.2 <= found.denoised_resolution <= found.raw_resolution < 2
    assert max(found.frequencies) == pytest.approx(5, rel=0.05)
    fine = slice(len(found.raw) // 2, None)
    # Spots of 3 voxels have nothing there: it is noise, and halves do not share it.
    assert abs(np.mean(found.raw[fine])) < 0.1


def test_blocks_leave_no_seam(one_report: tuple[Reported, Report]) -> None:
    seams = one_report[1].seams
    assert {(s.axis, s.of) for s in seams} == {
        (a, of) for a in "yx" for of in ("denoised", "residual")
    }
    for seam in seams:
        assert seam.score == pytest.approx(1, abs=max(0.1, 4 * seam.uncertainty))
        assert seam.faces == 12


def test_a_seam_that_was_made_in_the_output_is_seen(twin: Reported) -> None:
    """Every other block along y is brighter, and the ledger is told so."""
    array = zarr.open_array(twin.output / "0", mode="r+")
    voxels = np.asarray(array[...])
    voxels[..., BLOCK : 2 * BLOCK, :] += 60
    array[...] = voxels
    for file in (twin.run_dir.path / "ledger" / "denoise").glob("*.jsonl"):
        lines = [json.loads(text) for text in file.read_text().splitlines()]
        for line in lines:
            t, z, y, x = (
                slice(i * n, (i + 1) * n)
                for i, n in zip(line["block"], line["shape"], strict=True)
            )
            sums = chunk_checksums(voxels[t, :, z, y, x], array.chunks)
            line["chunks"] = encoded(sums)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = twin.report(seconds=60)
    scores = {(s.axis, s.of): s for s in report.seams}
    for of in ("denoised", "residual"):
        along_y = scores["y", of]
        assert along_y.score > 1.3
        assert along_y.score - 1 > 4 * along_y.uncertainty
        assert scores["x", of].score < 1.1
    said = [finding for finding in report.findings if "Borders of blocks" in finding]
    assert [("along y" in finding) for finding in said] == [True, True]


def test_the_verb_writes_a_page_and_its_values(twin: Reported) -> None:
    end = here("report", twin.folder / "config.json")
    assert end.returncode == 0, end.stderr
    page = (twin.run_dir.path / "status.html").read_text()
    values = json.loads((twin.run_dir.path / "report.json").read_text())
    assert "Quality in numbers" in page
    assert "data:image/png;base64," in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert values["findings"] == []
    assert values["facts"]["shape"] == list(SHAPE)
    assert "figures are as expected" in end.stdout
    assert str(twin.run_dir.path / "status.html") in end.stdout


def test_a_page_of_another_name_leaves_the_run_alone(twin: Reported) -> None:
    def contents() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in twin.folder.rglob("*") if p.is_file()}

    before, page = contents(), twin.folder / "mine.html"
    assert here("report", twin.output, "-o", page, "--within", "20").returncode == 0
    values = twin.folder / "mine.report.json"
    assert contents().keys() - before.keys() == {page, values}
    assert {k: v for k, v in contents().items() if k in before} == before
    assert "Quality in numbers" in page.read_text()
    for place, said in (
        (twin.folder / "config.json", "is no report of this program's"),
        (twin.output / "page.html", "lies at or in"),
        (twin.folder / "no" / "page.html", "lies in no folder"),
        (".", "is a folder"),
        (twin.folder / "page.pdf", "is not named as one (.html)"),
    ):
        refused = here("report", twin.output, "-o", place)
        assert refused.returncode == 2
        assert said in refused.stderr
    values.write_text("{}")
    refused = here("report", twin.output, "-o", page)
    assert refused.returncode == 2
    assert "mine.report.json" in refused.stderr
    assert values.read_text() == "{}"


def test_psnr_is_told_before_and_after_beside_a_reference(twin: Reported) -> None:
    reference = twin.folder / "truth.npy"
    np.save(reference, truth())
    report = twin.report(reference=str(reference), seconds=60)
    (found,) = report.likeness
    extent = float(np.ptp(truth().astype(float)))
    for told, image in (
        (found.psnr_raw, noisy()),
        (found.psnr_denoised, output_of(twin.output)),
    ):
        expected = peak_signal_noise_ratio(
            truth().astype(float), image.astype(float), data_range=extent
        )
        assert told == pytest.approx(expected)
    assert found.psnr_denoised is not None
    assert found.psnr_raw is not None
    assert found.psnr_denoised > found.psnr_raw + 3
    assert found.ssim_denoised is not None
    assert found.ssim_raw is not None
    assert found.ssim_denoised > found.ssim_raw
    np.save(reference, truth()[:1])
    refused = here("report", twin.output, "--reference", reference)
    assert refused.returncode == 2
    assert "1 x 1 x 4 x 96 x 128" in refused.stderr
    assert "3 x 1 x 4 x 96 x 128" in refused.stderr


def remove_raw(run: Reported) -> None:
    (run.folder / "in.npy").unlink()


def change_raw(run: Reported) -> None:
    np.save(run.folder / "in.npy", noisy() + 1)


def delete_output(run: Reported) -> None:
    shutil.rmtree(run.output)


def delete_shards(run: Reported) -> None:
    shutil.rmtree(run.output / "0" / "c")


def damage_all(run: Reported) -> None:
    for file in (run.output / "0" / "c").rglob("*"):
        if file.is_file():
            data = bytearray(file.read_bytes())
            data[len(data) // 2 : len(data) // 2 + 40] = b"x" * 40
            file.write_bytes(data)


def undo_all(run: Reported) -> None:
    """As if every block had failed for good."""
    for file in (run.run_dir.path / "ledger" / "denoise").glob("*.jsonl"):
        lines = [json.loads(text) for text in file.read_text().splitlines()]
        for line in lines:
            line |= {"status": "failed", "reason": "exception", "error": "no luck"}
            del line["crc"], line["chunks"]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(
    ("hurt", "said", "is_shown"),
    [
        (remove_raw, "What the raw image shows", True),
        (change_raw, "has changed since the run was started", True),
        (delete_output, "is not there", False),
        (delete_shards, "a file of the output is gone", False),
        (damage_all, "the output can't be read there", False),
        (undo_all, "nothing of them is done", False),
    ],
)
def test_what_is_not_there_is_left_out_and_said(
    twin: Reported, hurt: Callable[[Reported], None], said: str, is_shown: bool
) -> None:
    hurt(twin)
    made = make(twin.run_dir, seconds=60)
    report = made.report
    assert any(said in left for left in report.left_out), report.left_out
    assert bool(made.views) == is_shown
    assert report.residuals == ()
    assert report.likeness == ()
    assert (report.cost is None) == (hurt is undo_all)


def test_of_an_output_that_is_gone_there_is_a_page(twin: Reported) -> None:
    delete_output(twin)
    end = here("report", twin.run_dir.path)
    assert end.returncode == 0, end.stderr
    assert "Left out: What the output shows" in end.stdout
    assert "is not there" in (twin.run_dir.path / "status.html").read_text()


def test_a_block_that_failed_is_no_reason_to_show_nothing(twin: Reported) -> None:
    for file in (twin.run_dir.path / "ledger" / "denoise").glob("*.jsonl"):
        lines = [json.loads(text) for text in file.read_text().splitlines()]
        for line in lines:
            if line["block"] == [0, 0, 1, 1]:
                line |= {"status": "failed", "reason": "crash", "error": "signal 11"}
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = twin.report(seconds=60)
    assert (report.facts.done, report.facts.failed) == (35, 1)
    assert "The plane at t 0, z 1: it is not done" in report.left_out
    assert {r.t for r in report.residuals} == {1, 2}


def test_with_no_time_all_that_is_measured_is_left_out(twin: Reported) -> None:
    report = twin.report(seconds=1e-6)
    assert (*report.residuals, *report.seams, *report.resolution) == ()
    assert report.cost is not None
    assert "Seams between blocks: no time was left" in report.left_out


def test_a_report_made_anew_says_the_same(
    one_report: tuple[Reported, Report], twin: Reported
) -> None:
    again = twin.report()
    for name in ("residuals", "resolution", "seams", "noise", "cost", "findings"):
        assert getattr(again, name) == getattr(one_report[1], name)


def test_the_last_thing_that_a_run_does_is_its_report(tmp_path: Path) -> None:
    """Of a run by the command line, with as much time as people's runs have."""
    np.save(tmp_path / "in.npy", noisy()[:1])
    config = config_for(
        tmp_path / "in.npy", tmp_path / "out.zarr", input={"axes": "tczyx"}
    )
    path = write_config(tmp_path / "config.json", config)
    end = cli(path, env=short_waits(report=60))
    assert end.returncode == 0, end.stderr
    page = tmp_path / "out.zarr.run" / "status.html"
    assert end.stdout.splitlines()[-2:] == [MAKING, f"Report: {page}"]
    text = page.read_text()
    assert "Quality in numbers" in text
    assert "Running" not in text
    assert (tmp_path / "out.zarr.run" / "report.json").is_file()


def at_the_end(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception] | None = None,
    among: Any = None,
) -> list[str]:
    """What is said after a run whose record is of no use, or that ends so."""
    monkeypatch.setattr(report_at_end, "WAITS", replace(WAITS, report=60))
    said: list[str] = []
    run_dir = RunDir(folder / "x.zarr.run")
    run_dir.path.mkdir(exist_ok=True)
    with report_at_end.reported(run_dir, said.append, among):
        run_dir.run_file.write_text(f"of no use: {error}")
        if error is not None:
            raise error("so it ended")
    return said


MAKING = "Making the report, in about 20 s at most; Ctrl-C leaves it out."


def test_a_report_that_can_not_be_made_is_a_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert at_the_end(tmp_path, monkeypatch) == [MAKING]
    assert "The report could not be made" in caplog.text
    assert "run.json" in caplog.text
    caplog.clear()
    with pytest.raises(BlocksFailed, match="so it ended"):
        at_the_end(tmp_path, monkeypatch, BlocksFailed)
    assert "The report could not be made" in caplog.text
    caplog.clear()
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert at_the_end(tmp_path, monkeypatch) == [MAKING]
    assert "FileNotFoundError" in caplog.text


def test_after_a_run_that_was_stopped_there_is_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(RunStopped):
        at_the_end(tmp_path, monkeypatch, RunStopped)
    assert "report" not in caplog.text


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_a_signal_ends_the_report_and_leaves_the_run_as_it_ended(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nkill -{name} $PPID\nexec sleep 600\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    before = [signal.getsignal(number) for number in NUMBERS]
    assert at_the_end(tmp_path, monkeypatch) == [MAKING]
    assert "The report could not be made (it was stopped)" in caplog.text
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_a_start_that_had_nothing_to_do_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(report_at_end, "WAITS", replace(WAITS, report=60))
    said: list[str] = []
    with report_at_end.reported(RunDir(tmp_path), said.append, None):
        pass
    assert (said, caplog.text) == ([], "")


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, True), (600.0, False)])
def test_one_of_many_images_has_to_have_taken_long(
    seconds: float,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(report_at_end, "OF_MANY", seconds)
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    among: Any = SimpleNamespace(signals=Signals())
    at_the_end(tmp_path, monkeypatch, among=among)
    assert ("The report could not be made" in caplog.text) == expected


def test_of_many_images_each_gets_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", noisy()[:1, :, :1, :48, :48])
    config = config_for(
        tmp_path / "*.npy", tmp_path / "out" / "{name}.zarr", input={"axes": "tczyx"}
    )
    (tmp_path / "out").mkdir()
    path = write_config(tmp_path / "config.json", config)
    go(config)
    shutil.rmtree(tmp_path / "out" / "b.zarr.run")
    end = here("report", path)
    assert end.returncode == 0, end.stderr
    assert "b: not begun" in end.stdout
    assert (tmp_path / "out" / "a.zarr.run" / "report.json").is_file()
    refused = here("report", path, "-o", tmp_path / "page.html")
    assert refused.returncode == 2
    assert "many images" in refused.stderr


def test_what_is_quick_is_written_before_what_may_never_end(
    twin: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: object) -> None:
        raise SystemExit

    monkeypatch.setattr(make_module, "surveyed", killed)
    with pytest.raises(SystemExit):
        write_report(twin.run_dir)
    values = json.loads(twin.run_dir.report.read_text())
    assert NOT_YET in values["left_out"]
    assert values["residuals"]
    assert values["seams"]
    assert "report-figures" in twin.run_dir.page.read_text()


def test_an_input_that_fails_in_whatever_way_is_left_out(
    one_report: tuple[Reported, Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("of a reader of others")

    monkeypatch.setattr(make_module, "check_input", fails)
    assert read(one_report[0].run_dir).input_problem == ("of a reader of others")
    assert opened.open(one_report[0].output).raw is not None
    monkeypatch.setattr(opened, "check_input", fails)
    assert opened.open(one_report[0].output).raw is None


def test_blocks_that_were_written_as_they_are_are_known_by_their_place(
    twin: Reported,
) -> None:
    ledger = read(twin.run_dir).ledger
    lines = ledger.writer("w")
    shape = (1, 4, BLOCK, BLOCK)
    lines.append(Entry((1, 0, 1, 2), shape, "done", 9, "w", crc=0, engine=NO_ENGINE))
    lines.close()
    disk = read(twin.run_dir)
    block = Roi((1, 0, BLOCK, 2 * BLOCK), (1, 4, BLOCK, BLOCK))
    assert disk.left_as_is(block) == 1
    assert disk.left_as_is(block + Coordinate(0, 0, BLOCK // 2, 0)) == 0.5
    assert disk.left_as_is(block + Coordinate(1, 0, 0, 0)) == 0
