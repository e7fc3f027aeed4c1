from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PIPELINES = Path(__file__).parent.parent / "pipelines"


def test_a_cohort_on_a_cluster_of_processes(patch_set: Path, tmp_path: Path) -> None:
    program = [sys.executable, PIPELINES / "score_cohort.py", PIPELINES / "clusters" / "local.yaml"]
    options = ["score", "--data", patch_set, "--out", tmp_path / "out", "--quiet"]
    done = subprocess.run([*program, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "summary.csv").open(newline="") as file:
        assert [(row["slide"], row["status"]) for row in csv.DictReader(file)] == [("8863", "ok"), ("9022", "ok")]


def test_the_job_of_a_slurm_worker() -> None:
    jobqueue = pytest.importorskip("dask_jobqueue")
    options = yaml.safe_load((PIPELINES / "clusters" / "slurm.yaml").read_text())["options"]
    with jobqueue.SLURMCluster(**options) as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p normal" in script
    assert "#SBATCH --cpus-per-task=4" in script
    assert "--nthreads 4" in script
