from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.slides.test_slide import smooth_tissue, write_slide

PIPELINES = Path(__file__).parent.parent / "pipelines"
NEXTFLOW = PIPELINES / "nextflow"


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


def test_the_steps_of_the_nextflow_workflow(tmp_path: Path) -> None:
    """As Nextflow runs them, each in a folder of its own, but for Nextflow: their scripts are taken from the module."""
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in ("a", "b", "c"):
        write_slide(slides / f"{name}.tiff", smooth_tissue(900, 900), 2.0)
    (slides / "text.svs").write_text("no slide")
    manifest = slides / "list of slides.csv"
    manifest.write_text("path\na.tiff\nb.tiff\nc.tiff\ntext.svs\n")
    command = tmp_path / "bin" / "wsi-idc"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m wsi_idc "$@"\n')
    command.chmod(0o755)
    environ = os.environ | {"PATH": os.pathsep.join((str(command.parent), str(NEXTFLOW / "bin"), os.environ["PATH"]))}

    def step(name: str, folder: Path, **values: object) -> subprocess.CompletedProcess[str]:
        folder.mkdir(parents=True)
        script = scripts()[name]
        for key, value in values.items():
            script = script.replace(f"${{{key.replace('_', '.')}}}", str(value))
        script = script.replace("\\$", "$")  # Escaped from Groovy.
        assert "${" not in script
        bash = ["bash", "-euo", "pipefail", "-c", script]
        return subprocess.run(bash, cwd=folder, env=environ, capture_output=True, text=True, check=False)

    joined = tmp_path / "work" / "report"
    given = {"params_command": "score", "params_shards": 2, "params_options": "", "task_cpus": 1}
    for shard in (1, 2):
        folder = tmp_path / "work" / str(shard)
        done = step("SCORE", folder, shard=shard, manifest=manifest, **given)
        assert done.returncode == 0, done.stderr
    staged = tmp_path / "staged"
    staged.mkdir()
    for shard in (1, 2):  # Input is linked.
        (staged / f"shard-{shard}").symlink_to(tmp_path / "work" / str(shard) / f"shard-{shard}")
    done = step("REPORT", joined, shards=f"{staged}/shard-1 {staged}/shard-2")
    assert done.returncode == 0, done.stderr

    one = tmp_path / "one"
    whole = [command, "score", "all", "--manifest", manifest, "--out", one, "--quiet"]
    assert subprocess.run(whole, capture_output=True, check=False).returncode == 1
    assert status(joined / "results") == status(one)
    for name in ("a.tiff", "b.tiff", "c.tiff"):
        assert (joined / "results" / name / "scores.csv").read_bytes() == (one / name / "scores.csv").read_bytes()
    assert "text.svs" in (joined / "results" / "report.html").read_text()


def scripts() -> dict[str, str]:
    """The scripts of the module's processes."""
    text = (NEXTFLOW / "modules" / "wsi_idc.nf").read_text()
    return dict(re.findall(r'^process (\w+) \{.*?"""\n(.*?)"""', text, re.MULTILINE | re.DOTALL))


def status(out: Path) -> dict[str, tuple[str, str]]:
    with (out / "summary.csv").open(newline="") as file:
        return {row["slide"]: (row["status"], row["error"]) for row in csv.DictReader(file)}


def test_nextflow_has_all_parameters_and_steps() -> None:
    config = (NEXTFLOW / "nextflow.config").read_text()
    params = set(re.findall(r"^    (\w+) +=", config.split("params {")[1].split("}")[0], re.MULTILINE))
    for file in (NEXTFLOW / "main.nf", NEXTFLOW / "modules" / "wsi_idc.nf"):
        text = file.read_text()
        assert set(re.findall(r"params\.(\w+)", text)) <= params
        assert all(text.count(opening) == text.count(closing) for opening, closing in ("{}", "()", "[]"))
    for profile in ("docker", "singularity", "slurm"):
        assert re.search(rf"^    {profile} {{$", config, re.MULTILINE)
    assert set(re.findall(r"^include { (\w+)", (NEXTFLOW / "main.nf").read_text(), re.MULTILINE)) == set(scripts())
    assert os.access(NEXTFLOW / "bin" / "join-shards", os.X_OK)
