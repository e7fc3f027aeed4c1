from __future__ import annotations

import csv
import os
import shlex
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


def test_the_tasks_of_a_slurm_array(patch_set: Path, tmp_path: Path) -> None:
    """As SLURM starts them, but for SLURM."""
    command = tmp_path / "bin" / "wsi-idc"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m wsi_idc "$@"\n')
    command.chmod(0o755)
    script = PIPELINES / "clusters" / "slurm-array.sh"
    assert "#SBATCH --array=1-8\n" in script.read_text()
    told = {"SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "1"}
    paths = {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "1"}
    scored = []
    for number in ("1", "2"):
        done = subprocess.run(
            ["bash", script, "--data", patch_set, "--out", tmp_path / "out"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | told | paths | {"SLURM_ARRAY_TASK_ID": number},
        )
        assert done.returncode == 0, done.stderr
        assert f"shard {number} of 8 (SLURM_ARRAY_TASK_ID={number}): 1 of 2 slides" in done.stderr
        scored += done.stdout.split()
    assert scored == [str(tmp_path / "out" / name / "scores.csv") for name in ("8863", "9022")]
