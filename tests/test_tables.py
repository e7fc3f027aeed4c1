"""``wsi-idc export``: one table of all patches, read back by the programs it is for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from tests.conftest import Ran
from tests.plotting.conftest import make_source
from tests.plotting.results import HOSTILE, THRESHOLD, add_slide, make_results
from wsi_idc.scoring.scores import Scores
from wsi_idc.tables import export_tables

Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Scores]]:
    """A folder with a slide of every kind, one of them failed and one unfinished."""
    out = tmp_path_factory.mktemp("results")
    scores = make_results(out)
    (out / "99").mkdir()
    (out / "99" / "scores.csv").write_text("cut")
    return out, scores


def test_parquet_holds_every_patch(results: tuple[Path, dict[str, Scores]], run: Run) -> None:
    out, scores = results
    ran = run("export", out, "--to", "parquet")
    assert (ran.code, ran.out) == (1, f"{out / 'scores.parquet'}\n")
    assert "99: " in ran.err and "no scale.tiff: " in ran.err
    frame = pd.read_parquet(out / "scores.parquet")
    assert len(frame) == sum(map(len, scores.values()))
    assert set(frame["slide"]) == {name for name, of in scores.items() if len(of)}
    for name, of in scores.items():
        rows = frame[frame["slide"] == name]
        for column in ("minx", "miny", "width", "height", "prob_no_idc", "prob_idc"):
            np.testing.assert_array_equal(rows[column].to_numpy(float), getattr(of, column).astype(float))
        np.testing.assert_array_equal(rows["label"].fillna(-1).to_numpy(int), of.label)
        np.testing.assert_array_equal(rows["pred"].fillna(0).to_numpy(bool), of.pred)
        np.testing.assert_array_equal(rows["status"].to_numpy() == "ok", of.readable)
        np.testing.assert_array_equal(rows["pred"].isna().to_numpy(), ~of.readable)
        if of.prob_idc_context is None:
            assert rows["prob_idc_context"].isna().all()
        else:
            np.testing.assert_array_equal(rows["prob_idc_context"].to_numpy(), of.prob_idc_context)
    assert frame["label"].isna().any() and (frame["status"] == "unreadable").sum() == 5
    told = json.loads(parquet.read_metadata(out / "scores.parquet").metadata[b"wsi-idc"])
    assert set(told["slides"]) == set(scores)
    assert told["slides"]["9022"]["threshold"] == THRESHOLD and told["slides"]["9022"]["context"] == "1"
    assert told["slides"][HOSTILE]["kind"] == "slide" and told["slides"]["empty.svs"]["patches"] == 0
    before = (out / "scores.parquet").read_bytes()
    export_tables(out, "parquet")
    assert (out / "scores.parquet").read_bytes() == before
    assert not list(out.glob(".*"))


def test_anndata_holds_every_patch_and_its_place(results: tuple[Path, dict[str, Scores]], run: Run) -> None:
    out, scores = results
    ran = run("export", out, "--to", "anndata", "--quiet")
    assert (ran.code, ran.out) == (1, f"{out / 'scores.h5ad'}\n")
    table = anndata.read_h5ad(out / "scores.h5ad")
    assert table.shape == (sum(map(len, scores.values())), 2)
    assert list(table.var_names) == ["prob_no_idc", "prob_idc"]
    assert table.obs_names.is_unique
    for name, of in scores.items():
        rows = table[table.obs["slide"] == name]
        np.testing.assert_array_equal(rows.X, np.column_stack([of.prob_no_idc, of.prob_idc]))
        centres = np.column_stack([of.minx + of.width / 2, of.miny + of.height / 2])
        np.testing.assert_array_equal(rows.obsm["spatial"], centres)
        np.testing.assert_array_equal(rows.obs["label"].fillna(-1).to_numpy(int), of.label)
    runs = table.uns["slides"]
    assert set(runs.index) == set(scores)
    assert runs.loc["90001", "kind"] == "phantom" and runs.loc["8863", "threshold"] == THRESHOLD
    assert runs.loc["8863", "context"] == "off" and runs.loc["9022", "context"] == "1"
    assert not list(out.glob(".*"))


def test_whole_results_exit_with_0(run: Run, tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6, keep=0), "empty.svs")
    for form, name in (("parquet", "scores.parquet"), ("anndata", "scores.h5ad")):
        ran = run("export", tmp_path, "--to", form)
        assert (ran.code, ran.out, ran.err) == (0, f"{tmp_path / name}\n", "")
    assert len(pd.read_parquet(tmp_path / "scores.parquet")) == 0
    assert anndata.read_h5ad(tmp_path / "scores.h5ad").shape == (0, 2)


def test_spatialdata_is_refused_with_the_reason(run: Run, tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6), "8863")
    ran = run("export", tmp_path, "--to", "spatialdata")
    assert (ran.code, ran.out) == (2, "") and not list(tmp_path.glob("scores.*"))
    assert (
        ran.err.startswith("Error: No SpatialData is written") and "older dask" in ran.err and "--to anndata" in ran.err
    )


def test_what_the_user_can_mend(run: Run, tmp_path: Path) -> None:
    assert run("export", tmp_path / "absent").code == 2
    ran = run("export", tmp_path)
    assert ran.code == 2 and "holds no results" in ran.err
    (tmp_path / "99").mkdir()
    (tmp_path / "99" / "scores.csv").write_text("cut")
    ran = run("export", tmp_path)
    assert ran.code == 2 and "no finished slide" in ran.err
    assert not (tmp_path / "scores.parquet").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("form", "package"), [("parquet", "pyarrow"), ("anndata", "anndata")])
def test_a_missing_extra_is_named(tmp_path: Path, form: str, package: str) -> None:
    """As in an environment without it: its finder is asked first, and finds nothing."""
    add_slide(tmp_path, make_source(6, 6), "8863")
    code = (
        "import sys, importlib.machinery as m; find = m.PathFinder.find_spec; "
        f"m.PathFinder.find_spec = lambda name, *a: None if name == {package!r} else find(name, *a); "
        f"from wsi_idc.cli import main; sys.exit(main(['export', {str(tmp_path)!r}, '--to', {form!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert package in done.stderr and 'pip install "wsi-idc[tables]"' in done.stderr
