"""What is asked of the workers of a cluster, and what they are refused for."""

from __future__ import annotations

import csv
import json
import os
import pickle
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from tests.conftest import Ran
from tests.damage.crash import dask_cluster
from wsi_idc.errors import WorkerError
from wsi_idc.model.classifier import bundled_model, load_model
from wsi_idc.scoring.engine import Cohort
from wsi_idc.scoring.handles import CaseRef, FileRef, SlideOptions
from wsi_idc.scoring.workers import AskedModel, open_source
from wsi_idc.source import PatchSource

Run = Callable[..., Ran]


def own_model(folder: Path) -> Path:
    path = folder / "own.keras"
    shutil.copy(bundled_model(), path)
    shutil.copy(bundled_model().with_suffix(".json"), path.with_suffix(".json"))
    return path


def change(model: Path, **to: object) -> None:
    config = model.with_suffix(".json")
    config.write_text(json.dumps(json.loads(config.read_text()) | to))


def table(path: Path) -> list[tuple[str, str]]:
    with path.open() as file:
        return [(row["prob_idc"], row["pred"]) for row in csv.DictReader(file)]


def test_a_worker_that_goes_on_takes_each_runs_own_calibration(run: Run, patch_set: Path, tmp_path: Path) -> None:
    """It kept the calibration and the threshold that it had read first."""
    model = own_model(tmp_path)
    args = ("score", "all", "--data", patch_set, "--model", model, "--out")
    with dask_cluster(tmp_path) as (address, _):
        assert run(*args, tmp_path / "first", "--scheduler", address).code == 0
        change(model, calibration={"scale": 0.5, "bias": 1.0}, threshold=0.9)
        assert run(*args, tmp_path / "second", "--scheduler", address).code == 0
    assert run(*args, tmp_path / "local").code == 0
    first, second, local = (table(tmp_path / name / "8863/scores.csv") for name in ("first", "second", "local"))
    assert second == local
    assert second != first
    runs = [json.loads((tmp_path / name / "8863/run.json").read_text()) for name in ("second", "local")]
    assert runs[0]["key"] == runs[1]["key"]


def test_a_worker_that_runs_the_model_otherwise_is_refused(run: Run, patch_set: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("jax")
    with dask_cluster(tmp_path, KERAS_BACKEND="jax") as (address, _):
        ran = run("score", "all", "--data", patch_set, "--out", tmp_path / "out", "--scheduler", address)
    assert (ran.code, ran.out) == (2, "")
    assert f"The worker on {platform.node()} runs the model with keras-jax" in ran.err
    assert not list(tmp_path.glob("out/*/scores.csv"))


def test_a_worker_of_another_configuration_is_refused(tmp_path: Path) -> None:
    model = own_model(tmp_path)
    asked = AskedModel.of(model, load_model(model))
    assert asked.load().config.sha256 == asked.sha256
    for wrong, said in (
        (replace(asked, digest="0"), "has another .json of"),
        (replace(asked, sha256="0"), "has other weights of"),
        (replace(asked, runtime="keras-torch 9"), "and this machine with keras-torch 9"),
        (replace(asked, path=tmp_path / "none.keras"), "cannot load the model: There is no model at"),
    ):
        with pytest.raises(WorkerError, match=f"The worker on {platform.node()} .*{said}"):
            wrong.load()
    before = asked.digest
    change(model, threshold=0.123)
    with pytest.raises(WorkerError, match=r"has another \.json"):
        asked.load()
    assert AskedModel.of(model, load_model(model)).digest != before


def test_a_worker_that_does_not_see_the_data(patch_set: Path, tmp_path: Path) -> None:
    """It said that there were no patches, and named Kaggle's."""
    (tmp_path / "empty").mkdir()
    away = str(tmp_path / "away")
    for ref, said in (
        (CaseRef(away, "8863", "run"), f"does not see {away}"),
        (CaseRef(str(tmp_path / "empty"), "8863", "run"), f"finds no case 8863 in {tmp_path / 'empty'}"),
        (CaseRef(str(patch_set), "1", "run"), f"finds no case 1 in {patch_set}"),
        (FileRef(Path(away), "a.svs", SlideOptions(), "run"), f"does not see {away}"),
    ):
        with pytest.raises(WorkerError, match=f"The worker on {platform.node()} {said}: ") as caught:
            open_source(ref, "another process")
        assert caught.value.path
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.path) == (str(caught.value), caught.value.path)


HIDING = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"')


@pytest.mark.skipif(sys.platform != "linux", reason="no mounts of its own")
def test_a_cluster_without_the_data_ends_the_run_in_one_sentence(run: Run, patch_set: Path, tmp_path: Path) -> None:
    hiding = (*HIDING, str(patch_set))
    if subprocess.run([*hiding, "true"], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    with dask_cluster(tmp_path, within=hiding) as (address, _):
        ran = run("score", "all", "--data", patch_set, "--out", tmp_path / "out", "--scheduler", address)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"Error: The worker on {platform.node()} finds no case ")
    assert str(patch_set) in ran.err
    assert "Kaggle" not in ran.err


@dataclass(frozen=True)
class Deadly:
    """A slide at which a worker dies, as one does that takes more memory than there is."""

    name: str

    def open(self) -> AbstractContextManager[PatchSource]:
        os._exit(1)


def test_a_slide_at_which_all_workers_die_fails_with_the_reason(tmp_path: Path) -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        (outcome,) = Cohort(client, [Deadly("deadly")], None, load_model(), tmp_path).run()
    assert "died, most likely for want of memory" in outcome.error
