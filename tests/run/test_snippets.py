"""What the documents tell people to do works, in the order in which it stands.

Fences of the languages `sh` and `python` are run, of the README too.  Images have the
names that the pages give them; they are small.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from docs_photographs import main as take_photographs
from docs_pictures import PICTURES
from docs_pictures import main as make_pictures
from matplotlib.image import imread

from denoise_daisy import Config
from harness import ROOT, config_for, here, small_czi, write_config
from harness.documents import DOCUMENTS, Shell, Snippet, says, snippets
from harness.shared import once
from harness.waiting import AS_FOR_PEOPLE

IMAGES = {
    "embryo.czi": (1, 1, 12, 48, 48),
    "movie.czi": (8, 1, 1, 64, 64),
    "thin.czi": (1, 1, 3, 64, 64),
    "plate/a1.czi": (1, 1, 2, 48, 48),
    "plate/a2.czi": (1, 1, 2, 48, 48),
}

OUTPUT = "embryo_denoised.zarr"

FIRST_RUN = ROOT / "docs" / "first_run.md"

TO_RUN = [
    page
    for page in DOCUMENTS
    if page != FIRST_RUN
    and any(one.language in ("sh", "python") or one.name for one in snippets(page))
]


def shell_in(folder: Path, page: Path) -> Shell:
    """A shell with the images that a page speaks of, and the output if it has none."""
    text = page.read_text("utf-8")
    for seed, (name, shape) in enumerate(IMAGES.items()):
        if name.partition("/")[0] in text or name == "embryo.czi":
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            small_czi(path, shape, seed)
    shell = Shell(folder)
    every = [*snippets(page)]
    if OUTPUT in text and not any(one.name for one in every):
        config = config_for(folder / "embryo.czi", folder / OUTPUT)
        write_config(folder / "embryo.json", config)
        shell.do(Snippet("sh", "denoise-daisy embryo.json", None))
    return shell


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the tutorial's commands were run; not to be changed."""

    def make(folder: Path) -> Path:
        shell = Shell(folder, AS_FOR_PEOPLE)
        for snippet in snippets(FIRST_RUN):
            shell.do(snippet)
        return folder

    return once(tmp_path_factory, "first-run", make)


@pytest.mark.parametrize("page", TO_RUN, ids=lambda page: page.stem)
def test_a_page_s_snippets_run_in_their_order(page: Path, tmp_path: Path) -> None:
    shell = shell_in(tmp_path, page)
    ran = "\n".join(one.text for one in snippets(page) if one.language == "sh")
    for snippet in snippets(page):
        shell.do(snippet)
        if snippet.language == "json" and snippet.name is not None:
            Config.load(tmp_path / snippet.name)
            if snippet.name not in ran:
                end = here("plan", tmp_path / snippet.name)
                assert end.returncode == 0, end.stderr


def test_there_are_snippets_to_run() -> None:
    names = {page.stem for page in TO_RUN}
    assert {"movies", "thin_stacks", "many_images", "blocks", "slurm", "lsf"} <= names
    assert {"tasks", "recover", "README"} <= names


def test_a_snippet_that_fails_or_says_something_else_is_found(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("As `a/b.json`:\n\n```json\n{}\n```\n\n```sh\nfalse\necho\n```\n")
    named, wrong = snippets(page)
    assert (named.name, wrong.name) == ("a/b.json", None)
    with pytest.raises(AssertionError):
        shell.do(wrong)
    said = "blocks 12 of 5\nall done\n"
    says(said, "blocks 7 of 8\n... done")
    for wrong_words in ("blocks 7 left", "all done\nblocks 7"):
        with pytest.raises(AssertionError):
            says(said, wrong_words)


def test_the_tutorial_runs_and_leaves_what_it_says(first_run: Path) -> None:
    for name in (
        "demo.noise.html",
        "demo.preview.html",
        "demo_data/demo_denoised.zarr",
        "demo_data/demo_denoised.zarr.run/status.html",
        "demo_data/demo_denoised.zarr.run/report.json",
    ):
        assert (first_run / name).exists()


def test_the_pictures_are_what_the_program_makes(
    first_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["", str(first_run), str(tmp_path)])
    make_pictures()
    made = {file.name for file in tmp_path.iterdir()}
    assert {"reach.svg", "blocks.svg", "noise.svg", "preview.png"} <= made
    for name in made:
        if name.endswith(".svg"):
            drawn, expected = (
                numbers(folder / name) for folder in (tmp_path, PICTURES)
            )
            assert len(drawn) == len(expected) > 100
            np.testing.assert_allclose(drawn, expected, atol=0.5)
        else:
            found, kept = (imread(folder / name) for folder in (tmp_path, PICTURES))
            np.testing.assert_allclose(found, kept, atol=3 / 255)


def test_the_photographs_of_a_run_s_page_can_be_taken_again(
    first_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they show depends on the time; how much of the page they show does not."""
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no chromium on this system")
    monkeypatch.setattr("sys.argv", ["", str(first_run), str(tmp_path)])
    take_photographs()
    for name in ("running.webp", "report.webp"):
        taken, kept = (imread(folder / name) for folder in (tmp_path, PICTURES))
        assert taken.shape[1] == kept.shape[1]
        assert taken.shape[0] == pytest.approx(kept.shape[0], rel=0.1)
        assert len(np.unique(taken)) > 50
        assert (PICTURES / name).stat().st_size < 200_000


def numbers(drawing: Path) -> list[float]:
    """Those of a drawing's lines and letters."""
    words = drawing.read_text("utf-8").split('"')
    parts = [word for word in words if word.lstrip().startswith(("M ", "m "))]
    found = " ".join(parts).split()
    return [
        float(word) for word in found if word.lstrip("-").replace(".", "", 1).isdigit()
    ]
