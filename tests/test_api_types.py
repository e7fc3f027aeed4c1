"""The types of the public API, and what its results look like."""

from __future__ import annotations

import ast
import gc
import logging
import subprocess
import sys
from pathlib import Path

import dask
import distributed  # noqa: F401  (it sets what is looked at)
import pandas as pd
import pytest

import wsi_idc
from tests.conftest import make_patch_set, zip_folder
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc import load_model, open_case, open_slide, score, score_cohort, score_into, write_outputs, write_report
from wsi_idc.export.outputs import Outputs
from wsi_idc.plotting.style import Style
from wsi_idc.scoring.scores import COLUMNS

STUB = Path(wsi_idc.__file__).with_name("__init__.pyi")


def test_the_stub_names_what_is_there() -> None:
    tree = ast.parse(STUB.read_text())
    told = {
        name.asname: (node.module, name.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert set(told) == set(wsi_idc.__all__)
    for name, (module, _) in told.items():
        assert module is not None
        assert name == "__version__" or wsi_idc._WHERE[name] == module


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('wsi_idc.open_slide("a.svs", mpp=0.5)', ""),
        ('wsi_idc.open_slide("a.svs", mmp=0.5)', 'Unexpected keyword argument "mmp"'),
        ("wsi_idc.score(wsi_idc.open_case(1), wsi_idc.load_model()).prob_idc.mean()", ""),
        ("wsi_idc.scores", "has no attribute"),
        ('wsi_idc.score_into(wsi_idc.open_case(1), wsi_idc.load_model(), "out")', ""),
    ],
)
def test_mypy_knows_the_api(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "used.py").write_text(f"import wsi_idc\n\n{line}\n")
    root = Path(wsi_idc.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", root / "pyproject.toml", "--cache-dir",
         tmp_path.parents[0] / "mypy", tmp_path / "used.py"],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )  # fmt: skip
    if said:
        assert said in done.stdout
    else:
        assert done.returncode == 0, done.stdout


def test_results_of_a_slide(patch_set: Path, tmp_path: Path) -> None:
    """Paths are strings, results are short to print, and a notebook shows the sheet."""
    with open_case(8863, str(patch_set)) as case:
        scored = score(case, load_model())
        result = score_into(case, load_model(), str(tmp_path / "out"))
        assert "<img" not in result._repr_html_()
        write_outputs(case, result.scores, load_model().config, Outputs(Style(dpi=72)), str(result.folder))
    assert scored.prob_idc.shape == scored.pred.shape == (12,)
    assert scored.metrics == scored.scores.metrics
    assert repr(scored.scores) == f"Scores('8863', 12 patches, {scored.pred.sum()} called IDC)"
    for thing in (scored, result, load_model(), load_model().config):
        assert len(repr(thing)) < 1_500
    assert scored.scores == scored.scores and scored.scores != score(case, load_model()).scores
    assert "data:image/png;base64," in result._repr_html_()


def test_a_table_of_scores(patch_set: Path, tmp_path: Path) -> None:
    next((patch_set / "8863").rglob("*x51_y51_*.png")).write_bytes(b"no picture")
    result = score_into(open_case(8863, patch_set), load_model(), tmp_path, context=1.0)
    table, written = result.scores.to_dataframe(), pd.read_csv(result.scores_path)
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert list(table.columns) == list(written.columns)
    for name in table.columns:
        if name == "status":
            assert table[name].tolist() == written[name].tolist()
        else:
            pd.testing.assert_series_equal(table[name].astype("Float64"), written[name].astype("Float64"))


def test_a_cohort_in_a_notebook(tmp_path: Path) -> None:
    data = make_patch_set(tmp_path / "idc", ("8863", "9022"))
    cohort = score_cohort(str(data), str(tmp_path / "out"))
    assert repr(cohort) == f"ScoredCohort({str(tmp_path / 'out')!r}, 2 slides, 0 problems)"
    page = cohort._repr_html_()
    assert page.count("<tr>") == 3 and "8863" in page and str(tmp_path / "out" / "report.html") in page
    assert write_report(str(tmp_path / "out")) == tmp_path / "out" / "report.html"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are not told here")
def test_a_cohort_gives_the_process_back_as_it_was(tmp_path: Path) -> None:
    """Nothing stays open but the network, and no settings of others stay changed."""

    def state() -> tuple[object, ...]:
        loggers = [logging.getLogger(name).level for name in ("distributed", "distributed.client")]
        return loggers, dask.config.get("distributed.worker.profile.enabled", None), gc.get_freeze_count()

    def still_open(folder: Path) -> list[Path]:
        files = [path.readlink() for path in list(Path("/proc/self/fd").iterdir()) if path.is_symlink()]
        return [path for path in files if path.is_relative_to(folder)]

    (tmp_path / "slides").mkdir()
    for name in ("a.tiff", "b.tiff"):
        write_slide(tmp_path / "slides" / name, smooth_tissue(500, 500), 1.0, levels=1)
    data = make_patch_set(tmp_path / "idc", ("8863", "9022"))
    before = state()
    cohort = score_cohort(zip_folder(data, tmp_path / "idc.zip"), tmp_path / "out", slides=tmp_path / "slides")
    assert len(cohort.outcomes) == 4 and not cohort.problems
    assert state() == before
    gc.collect()
    assert still_open(tmp_path) == []


def test_slides_and_cases_are_opened_alike(patch_set: Path, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(500, 500), 1.0, levels=1)
    for opened in (open_case(8863, patch_set), open_slide(str(path))):
        with opened as source:
            assert score(source, load_model()).prob_idc.shape == (len(source.patches),)
