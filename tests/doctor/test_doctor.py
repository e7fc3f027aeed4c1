"""``wsi-idc doctor``: what it says of a machine that is fit, and of one that is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import LocalCluster
from packaging.requirements import Requirement

from tests.conftest import Ran
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc.doctor import cluster, examine, installation, machine
from wsi_idc.doctor.check import Check

Run = Callable[..., Ran]


def states(out: str) -> dict[str, str]:
    """State by name of what was looked at."""
    return {line.split()[1].rstrip(":"): line.split()[0] for line in out.splitlines()}


def only(checks: list[Check]) -> Check:
    assert len(checks) == 1, checks
    return checks[0]


def test_a_machine_that_is_fit(run: Run, patch_set: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    ran = run("doctor", "--data", patch_set, "--out", tmp_path / "results" / "deep")
    assert ran.code == 0, ran
    found = states(ran.out)
    names = ["python", "packages", "extras", "openslide", "model", "gpu", "data", "out", "cache", "threads"]
    assert list(found)[: len(names)] == names
    assert found["packages"] == found["openslide"] == found["model"] == found["data"] == "ok"
    assert "2 cases" in ran.out and "locks work" in ran.out
    assert sorted(tmp_path.rglob("*")) == before, "something was left behind"


def test_what_fails_is_one_line_and_exit_code_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "model.keras").write_text("no model")
    ran = run(
        *("doctor", "--data", tmp_path / "absent", "--model", tmp_path / "model.keras"),
        *("--out", tmp_path / "file" / "below", "--scheduler", "tcp://127.0.0.1:9"),
    )
    assert ran.code == 1 and "Traceback" not in ran.out + ran.err
    found = states(ran.out)
    assert {name for name, state in found.items() if state == "fail"} >= {"model", "data", "out", "scheduler"}
    assert found["openslide"] == "ok", "what comes after a failure is looked at, too"
    for remedy in ("--out", "--scheduler", "start one"):
        assert remedy in ran.out


def test_a_model_that_cannot_be_fetched_is_one_line_among_the_others(
    run_apart: Run, patch_set: Path, tmp_path: Path
) -> None:
    for leave in ((), ("--allow-code",)):
        ran = run_apart(
            *("doctor", "--data", patch_set, "--model", "hf://nobody/none", "--out", tmp_path, *leave),
            **{"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)},
        )
        found = states(ran.out)
        assert ran.code == 1, ran
        assert {name for name, state in found.items() if state == "fail"} == {"model"}
        assert {"openslide", "data", "out", "memory"} <= set(found)


def test_slides_in_a_folder(run: Run, patch_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    options = ("doctor", "--data", patch_set, "--out", tmp_path / "out", "--slides", folder)
    assert "fail  slides: " in run(*options).out
    write_slide(folder / "a.tif", smooth_tissue(300, 500), 2.0)
    assert f"ok    slides: {folder}: 1 slide, the first opens, 500 x 300 px" in run(*options).out


def test_data_that_cannot_be_read(patch_set: Path, tmp_path: Path) -> None:
    def said() -> Check:
        return only([check for check in examine(patch_set, out=tmp_path / "out") if check.name == "data"])

    first, *others = sorted((patch_set / "8863").rglob("*.png"))
    first.write_bytes(b"no picture")
    assert said().state == "warn" and first.name in said().text
    for path in others:
        path.write_bytes(b"no picture")
    assert said().state == "fail" and "8863" in said().text


@pytest.mark.parametrize(
    ("wanted", "state", "said"),
    [
        (["numpy>=2"], "ok", "all 1"),
        (["numpy>=2", "numpy>=999"], "fail", "is too old (>=999)"),
        (["no-such-package-of-ours>=1"], "fail", "no-such-package-of-ours is missing"),
        (["numpy>=2", 'numpy>=999; extra == "dicom"'], "ok", "all 1"),
    ],
)
def test_packages_against_the_metadata(wanted: list[str], state: str, said: str) -> None:
    check = only(list(installation.packages(map(Requirement, wanted))))
    assert check.state == state and said in check.text


def test_extras_that_are_whole_too_old_or_absent() -> None:
    wanted = [
        *('numpy>=2; extra == "whole"', 'numpy>=999; extra == "old"', 'no-such-package-of-ours; extra == "absent"'),
        'dask[no-such-extra]; extra == "through"',
    ]
    checks = list(installation.extras(map(Requirement, wanted)))
    assert [check.state for check in checks] == ["warn", "ok"]
    assert "wsi-idc[old]" in checks[0].text
    assert checks[1].text == "through, whole there; absent not installed"


def test_every_package_of_setup_cfg_is_looked_at() -> None:
    names = {one.name for one in installation.requirements()}
    assert {"tensorflow", "openslide-bin", "numpy", "dask"} <= names


def test_a_disk_with_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "FEW_FREE_BYTES", 10**18)
    assert only(list(machine.out(tmp_path))).state == "warn"
    monkeypatch.setattr(machine, "LEAST_FREE_BYTES", 10**18)
    check = only(list(machine.out(tmp_path)))
    assert check.state == "fail" and "make room" in check.text


def test_a_locked_folder_does_not_look_like_one_without_locks(tmp_path: Path) -> None:
    from wsi_idc._util.lock import try_lock

    lock = try_lock(tmp_path)
    assert lock is not None
    with lock:
        assert only(list(machine.out(tmp_path))).state == "ok"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such limits")
@pytest.mark.parametrize(("most", "state"), [(40, "fail"), (200, "warn"), (1024, "ok")])
def test_the_limit_on_open_files(most: int, state: str) -> None:
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most})); "
        "from wsi_idc.doctor.machine import open_files; print(*[check.state for check in open_files()])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{state}\n"


def test_memory_under_the_limit_of_a_container(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       32000000 kB\nMemAvailable:   16000000 kB\n")
    assert machine.free_memory(tmp_path / "meminfo", tmp_path) == 16_000_000 * 1024
    (tmp_path / "memory.max").write_text("3000000000\n")
    (tmp_path / "memory.current").write_text("1000000000\n")
    assert machine.free_memory(tmp_path / "meminfo", tmp_path) == 2_000_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory(tmp_path / "meminfo", tmp_path) == 16_000_000 * 1024
    assert machine.free_memory(tmp_path / "absent", tmp_path) is None


def test_a_scheduler_its_workers_and_what_they_see(run: Run, patch_set: Path, tmp_path: Path) -> None:
    with LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address=":0",
        worker_dashboard_address=":0",
    ) as dask:
        address = dask.scheduler_address
        ran = run("doctor", "--data", patch_set, "--out", tmp_path / "out", "--scheduler", address)
        assert ran.code == 0, ran
        assert states(ran.out)["scheduler"] == states(ran.out)["workers"] == states(ran.out)["paths"] == "ok"
        assert f"{address}: 1 worker, 2 threads" in ran.out
        missing = list(cluster.scheduler(address, tmp_path / "absent", None))
        assert [check.state for check in missing] == ["ok", "ok", "fail"]
        assert str(tmp_path / "absent") in missing[-1].text and "same path" in missing[-1].text


def test_workers_of_other_versions() -> None:
    here = cluster.versions()
    same = cluster.look([])
    older = replace(same, versions={**here, "wsi-idc": "0.0.1"})
    dask = replace(same, versions={**here, "dask": "2024.1"})
    assert only(list(cluster.compare_versions(here, [same, same]))).state == "ok"
    check = only(list(cluster.compare_versions(here, [same, older, older])))
    assert check.state == "fail" and f"wsi-idc 0.0.1 on 2 workers, {here['wsi-idc']} here" in check.text
    assert [check.state for check in cluster.compare_versions(here, [older, dask])] == ["fail", "warn"]
