from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Ran, make_patch_set, zip_folder
from wsi_idc.datasets.idc import NESTED_COPY

Run = Callable[..., Ran]

HEAVY = ("tensorflow", "keras", "matplotlib", "sklearn", "dask", "openslide")


@pytest.mark.parametrize(
    "args",
    [["--help"], ["--version"], ["heatmap", "--help"], ["score", "patient", "--help"], ["train", "--help"], ["scroe"]],
)
def test_help_and_mistyped_commands_load_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys, wsi_idc.cli as cli\n"
        f"status = cli.main({args!r})\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == (2 if args == ["scroe"] else 0)
    assert "LOADED []" in done.stdout


def test_no_data_names_both_ways_on(run: Run) -> None:
    for command in ("heatmap", "score"):
        ran = run(command, "patient", "8863")
        assert (ran.code, ran.out) == (2, "")
        assert "wsi-idc download" in ran.err
        assert "--data demo" in ran.err


def test_data_are_found_by_variable(run: Run, patch_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSI_IDC_DATA", str(patch_set))
    assert run("score", "patient", "8863", "--quiet").code == 0
    assert Path("wsi-idc-results/8863/scores.csv").is_file()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["9999"], ["9999", "2 cases", "nearest are 9022"]),
        (["../8863"], ["../8863", "2 cases"]),
        (["8863", "9999"], ["9999"]),
        (["8863", "--model", "nothing.keras"], ["nothing.keras"]),
        (["8863", "--threshold", "2"], ["threshold"]),
        (["8863", "--threshold", "nan"], ["threshold"]),
        (["8863", "--out", "{file}/below"], ["cannot be made", "choose another place"]),
        (["8863", "--out", "{file}"], ["cannot be made", "choose another place"]),
        (["8863", "--data", "{file}"], ["zip"]),
        (["8863", "--data", "nowhere"], ["nowhere"]),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(
    run: Run, patch_set: Path, tmp_path: Path, args: list[str], words: list[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    given = [arg.format(file=file) for arg in args]
    if "--data" not in given:
        given += ["--data", str(patch_set)]
    ran = run("score", "patient", *given)
    assert (ran.code, ran.out) == (2, "")
    assert all(word in ran.err for word in words), ran.err
    assert "Traceback" not in ran.err
    assert not Path("wsi-idc-results/8863/scores.csv").exists()


def test_a_mistyped_case_leaves_nothing(run: Run, patch_set: Path) -> None:
    assert run("heatmap", "patient", "9999", "--data", patch_set).code == 2
    assert list(Path().iterdir()) == []


def test_a_model_that_is_no_model(run: Run, patch_set: Path, tmp_path: Path) -> None:
    (tmp_path / "a.keras").write_text("no")
    ran = run("score", "patient", "8863", "--data", patch_set, "--model", tmp_path / "a.keras")
    assert ran.code == 2
    assert "a.json is missing" in ran.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission(run: Run, patch_set: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert run("score", "patient", "8863", "--data", patch_set, "--out", tmp_path / "locked").code == 2


def test_patch_camelyon(run: Run, tmp_path: Path) -> None:
    (tmp_path / "train_labels.csv").write_text("id,label\n")
    ran = run("heatmap", "patient", "8863", "--data", tmp_path)
    assert ran.code == 2
    assert "PatchCamelyon" in ran.err
    assert "paultimothymooney/breast-histopathology-images" in ran.err


def test_score_prints_one_path_a_case_and_nothing_else(run_apart: Run, tmp_path: Path) -> None:
    data = make_patch_set(tmp_path / "idc", cases=("8863", "14082"))
    ran = run_apart("score", "patient", "8863", "14082", "8863", "--data", data, "--out", tmp_path / "out")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [str(tmp_path / "out" / case / "scores.csv") for case in ("8863", "14082")]


def test_a_case_that_the_model_has_seen_is_said_to_flatter(run: Run, patch_set: Path) -> None:
    ran = run("score", "patient", "9022", "--data", patch_set)
    assert ran.code == 0
    assert "trained or tuned on case 9022" in ran.err


def test_rows_are_those_of_the_names_for_every_layout(run: Run, patch_set: Path, tmp_path: Path) -> None:
    double = zip_folder(patch_set, tmp_path / "two.zip", ("", f"{NESTED_COPY}/"))
    written = set()
    for data in (patch_set, double):
        ran = run("score", "patient", "8863", "--data", data, "--out", tmp_path / "out", "--restart")
        assert ran.code == 0
        written.add(Path(ran.out.strip()).read_bytes())
    assert len(written) == 1
    rows = list(csv.DictReader(written.pop().decode().splitlines()))
    names = {path.name for path in (patch_set / "8863").rglob("*.png")}
    assert {
        f"8863_idx5_x{int(row['minx']) + 1}_y{int(row['miny']) + 1}_class{row['label']}.png" for row in rows
    } == names


def test_a_truncated_png_is_named_and_the_rest_scored(run: Run, patch_set: Path, tmp_path: Path) -> None:
    bad = patch_set / "8863" / "1" / "8863_idx5_x1_y1_class1.png"
    bad.write_bytes(bad.read_bytes()[:2000])
    for _ in range(2):
        ran = run("heatmap", "patient", "8863", "--data", patch_set, "--out", tmp_path / "out")
        assert ran.code == 1
        assert "8863/1/8863_idx5_x1_y1_class1.png: unreadable" in ran.err
    with (tmp_path / "out" / "8863" / "scores.csv").open() as file:
        status = [row["status"] for row in csv.DictReader(file)]
    assert status == ["unreadable"] + ["ok"] * 11


def test_heatmap_of_a_case(run: Run, patch_set: Path, tmp_path: Path) -> None:
    ran = run("heatmap", "patient", "8863", "--data", patch_set, "--out", tmp_path / "out", "--dpi", "80")
    folder = tmp_path / "out" / "8863"
    assert (ran.code, ran.out) == (0, f"{folder / 'heatmap.png'}\n")
    assert {file.name for file in folder.iterdir()} == {
        *("scores.csv", "metrics.json", "run.json", "scores.geojson"),
        *("heatmap.png", "overlay.png", "mosaic.png", "confusion.png"),
    }
    with Image.open(folder / "mosaic.png") as mosaic, Image.open(folder / "overlay.png") as overlay:
        assert mosaic.size == overlay.size == (188, 142)
    run_json = folder / "run.json"
    assert run_json.stat().st_mtime_ns == max(file.stat().st_mtime_ns for file in folder.iterdir())
    assert json.loads(run_json.read_text())["slide"] == "8863"


def test_interrupted_while_drawing_the_slide_is_unfinished(
    run: Run, patch_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    args = ("heatmap", "patient", "8863", "--data", patch_set, "--out", tmp_path / "out", "--dpi", "80")
    assert run(*args).code == 0
    with monkeypatch.context() as patched:
        patched.setattr("wsi_idc.plotting.slide_pictures.draw_sheet", interrupt)
        assert run(*args, "--colormap", "viridis").code == 130
    assert not (tmp_path / "out" / "8863" / "run.json").exists()
    assert run(*args, "--colormap", "viridis").code == 0
    assert (tmp_path / "out" / "8863" / "run.json").exists()


def test_unreadable_patches_are_named_last_and_control_signs_taken_out(run: Run, patch_set: Path) -> None:
    for i in range(25):
        (patch_set / "8863" / "0" / f"8863_idx5_x{i}_y1_class7\x1b[31m.png").write_bytes(b"x")
    (patch_set / "8863" / "1" / "8863_idx5_x1_y1_class1.png").write_bytes(b"")
    ran = run("score", "patient", "8863", "9022", "--data", patch_set)
    assert ran.code == 1
    assert "and 5 more, all in run.json" in ran.err
    assert "\x1b[31m" not in ran.err
    assert ran.err.endswith(
        "8863/1/8863_idx5_x1_y1_class1.png: unreadable: the file is empty "
        "Warning: 1 of the 12 patches of case 8863 could not be scored"
    )


def test_results_that_cannot_be_replaced(run: Run, patch_set: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "8863" / "scores.csv").mkdir(parents=True)
    ran = run("score", "patient", "8863", "--data", patch_set, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "scores.csv" in ran.err


def test_an_unknown_colormap_names_the_nearest(run: Run, patch_set: Path) -> None:
    ran = run("heatmap", "patient", "8863", "--data", patch_set, "--colormap", "cividsi")
    assert ran.code == 2
    assert "cividis" in ran.err


def test_info_counts_cases(run: Run, patch_set: Path) -> None:
    ran = run("info", "--data", patch_set)
    assert ran.code == 0
    assert "8863,12,8,4,0" in ran.out
    assert "2 cases, 16 patches without and 8 with IDC" in ran.out
    assert "bundled" in ran.out
    assert run("info").code == 0


def test_train_makes_a_model_that_scores(run: Run, tmp_path: Path) -> None:
    data = make_patch_set(tmp_path / "idc", cases=("8863", "9022", "9035", "9036"))
    out = tmp_path / "model"
    ran = run("train", "--data", data, "--out", out, "--epochs", "1", "--batch-size", "8", "--exclude", "8863")
    assert (ran.code, ran.out) == (0, f"{out / 'cancernet.keras'}\n")
    assert {file.name for file in out.iterdir()} >= {"cancernet.keras", "cancernet.json", "history.csv", "history.png"}
    with Image.open(out / "history.png") as picture:
        assert np.ptp(np.asarray(picture)) > 0
    scored = run(
        "score", "patient", "9022", "--data", data, "--model", out / "cancernet.keras", "--out", tmp_path / "r"
    )
    assert scored.code == 0
    again = run("train", "--data", data, "--out", out, "--seed", "5", "--resume", "--exclude", "8863")
    assert again.code == 2
    assert "other data or options" in again.err


def test_interruption(run: Run, patch_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wsi_idc.scoring.results.score", interrupt)
    ran = run("score", "patient", "8863", "--data", patch_set)
    assert (ran.code, ran.out) == (130, "")


def test_an_address_is_no_data_and_shows_nothing_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "s3://me:secret@bucket/patches?key=secret"
    asked = run("score", "patient", "8863", "--data", address)
    monkeypatch.setenv("WSI_IDC_DATA", address)
    for ran in (asked, run("score", "patient", "8863")):
        assert ran.code == 2
        assert "s3://bucket/patches is an address" in " ".join(ran.err.split())
        assert "secret" not in ran.err
