"""``--out`` in a store: the same files as in a folder, whole or not finished, whatever the store does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ran
from tests.io.test_stores import make_slides
from wsi_idc.cohort import score_cohort
from wsi_idc.errors import OptionError
from wsi_idc.io.remote_results import RemoteResults

Run = Callable[..., Ran]
OUT = "s3://slides/results"
NAMES = ("plain.tif", "cut.tif", "busy.tif")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_slides(tmp_path / "slides", NAMES)


@pytest.fixture
def score(run: Run, folder: Path, tmp_path: Path) -> Callable[..., Ran]:
    """Score the slides into the store."""

    def call(*more: object, out: object = OUT, command: str = "score") -> Ran:
        return run(command, "all", "--slides", folder, "--out", out, "--cache", tmp_path / "cache", *more)

    return call


def contents(client: Any) -> dict[str, bytes]:
    """All results in the store, by name."""
    listed = client.list_objects_v2(Bucket="slides", Prefix="results/").get("Contents", [])
    keys = [one["Key"] for one in listed]
    return {key[8:]: client.get_object(Bucket="slides", Key=key)["Body"].read() for key in keys}


def files(folder: Path) -> dict[str, bytes]:
    """All results in a folder, by name."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def same(far: dict[str, bytes], near: dict[str, bytes]) -> bool:
    """Whether two results are equal but for what tells when and where they were made."""
    timed = ("run.json", "summary.csv", "report.html", "report.js")
    return far.keys() == near.keys() and all(far[name] == near[name] for name in far if not name.endswith(timed))


def kept(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache" / "results").iterdir() if path.is_dir()]


@pytest.mark.slow
def test_the_same_files_as_in_a_folder_and_nothing_is_scored_again(
    score: Callable[..., Ran], bucket: Any, tmp_path: Path
) -> None:
    client, proxy = bucket
    ran = score(command="heatmap")
    assert ran.code == 0, ran.err
    assert sorted(ran.out.split()) == sorted(f"{OUT}/{name}/heatmap.png" for name in NAMES)
    assert f"all slides on one page: {OUT}/report.html" in ran.err
    assert score(out=tmp_path / "near", command="heatmap").code == 0
    first = contents(client)
    assert same(first, files(tmp_path / "near"))
    assert not kept(tmp_path)
    proxy.seen.clear()
    assert score().code == 0
    again = contents(client)
    assert {name: again[name] for name in first if "/" in name and "report.js" not in name} == {
        name: first[name] for name in first if "/" in name and "report.js" not in name
    }
    assert not [told for told in proxy.seen if told.startswith("PUT") and "/scores.csv" in told]
    # Another threshold: pictures of the old one go, and tables are new.
    assert score("--threshold", "0.9").code == 0
    assert score("--threshold", "0.9", out=tmp_path / "near").code == 0
    assert same(contents(client), files(tmp_path / "near"))
    assert json.loads(contents(client)["cut.tif/run.json"])["model"]["threshold"] == 0.9


def test_what_cannot_be_uploaded_is_kept_and_goes_with_the_next_run(
    score: Callable[..., Ran], bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, proxy = bucket
    upload = RemoteResults.upload

    def fill(self: RemoteResults, slide: str) -> Any:
        proxy.full = True
        return upload(self, slide)

    with monkeypatch.context() as patched:
        patched.setattr(RemoteResults, "upload", fill)
        ran = score()
    assert ran.code == 1
    assert ran.out == ""
    (local,) = kept(tmp_path)
    assert f"results are kept in {local}, as {OUT} cannot be written after 6 attempts" in ran.err
    assert not contents(client)
    stamps = {path: path.stat().st_mtime_ns for path in local.glob("*/run.json")}
    assert len(stamps) == len(NAMES)
    proxy.full = False
    tables = {name: (local / name / "scores.csv").read_bytes() for name in NAMES}
    ran = score()
    assert ran.code == 0, ran.err
    assert {name: contents(client)[f"{name}/scores.csv"] for name in NAMES} == tables
    assert not kept(tmp_path)


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_whole_slides_and_another_machine_goes_on(
    score: Callable[..., Ran], bucket: Any, folder: Path, tmp_path: Path
) -> None:
    client, _ = bucket
    assert score(out=tmp_path / "near").code == 0
    near = files(tmp_path / "near")
    command = [sys.executable, "-m", "wsi_idc", "score", "all", "--slides", folder, "--out", OUT, "--quiet"]
    with subprocess.Popen([*command, "--cache", tmp_path / "other"], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith(f"{OUT}/")
        running.kill()
    left = contents(client)
    whole = [name.rpartition("/")[0] for name in left if name.endswith("/run.json")]
    assert whole
    for slide in whole:
        assert left[f"{slide}/scores.csv"] == near[f"{slide}/scores.csv"]
    assert score().code == 0
    assert same(contents(client), near)
    assert {name: contents(client)[f"{name}/run.json"] for name in whole} == {
        name: left[f"{name}/run.json"] for name in whole
    }


def test_a_slide_whose_upload_was_cut_off_is_not_finished(
    score: Callable[..., Ran], bucket: Any, tmp_path: Path
) -> None:
    client, _ = bucket
    assert score().code == 0
    first = contents(client)
    client.delete_object(Bucket="slides", Key="results/cut.tif/run.json")
    client.put_object(Bucket="slides", Key="results/cut.tif/scores.csv", Body=b"half of a ta")
    client.put_object(Bucket="slides", Key="results/cut.tif/overlay.png", Body=b"of another state")
    assert score().code == 0
    assert same(contents(client), first)


def test_shards_and_a_run_that_sums_up(score: Callable[..., Ran], bucket: Any, tmp_path: Path) -> None:
    client, proxy = bucket
    for number in (1, 2):
        ran = score("--shard", f"{number}/2")
        assert ran.code == 0, ran.err
        assert "the same command without --shard sums up" in ran.err
    assert not {"summary.csv", "report.html"} & set(contents(client))
    proxy.seen.clear()
    assert score().code == 0
    assert not [told for told in proxy.seen if told.startswith("PUT") and "/scores.csv" in told]
    assert score(out=tmp_path / "near").code == 0
    assert same(contents(client), files(tmp_path / "near"))


def test_a_store_that_takes_nothing_is_known_at_once(score: Callable[..., Ran], bucket: Any, tmp_path: Path) -> None:
    _, proxy = bucket
    for out, said in (
        ("s3://no-such-bucket/results", "s3://no-such-bucket/results cannot be written (there is no such bucket)"),
        ("https://example.org/results", "https://example.org/results takes no results: give --out a folder"),
    ):
        ran = score(out=out)
        assert ran.code == 2 and said in ran.err and ran.out == ""
    proxy.full = True
    ran = score()
    assert ran.code == 2 and f"{OUT} cannot be written after 6 attempts" in ran.err
    assert not kept(tmp_path)
    ran = score("--layout", "wsinfer")
    assert ran.code == 2 and "--layout wsinfer" in ran.err


def test_two_runs_of_a_machine_do_not_share_the_local_folder(
    score: Callable[..., Ran], bucket: Any, tmp_path: Path
) -> None:
    with RemoteResults(OUT, tmp_path / "cache", "run.json", ()):
        ran = score()
    assert ran.code == 2 and f"Another run of this machine writes to {OUT}" in ran.err
    assert score().code == 0


def test_what_is_no_place_for_results(run: Run) -> None:
    for options in (("--data", "demo", "--out", "s3://"), ("--slides", "s3:///", "--out", "out")):
        ran = run("score", "all", *options)
        assert ran.code == 2 and "names no bucket" in ran.err
    with pytest.raises(OptionError, match="the command line alone"):
        score_cohort("demo", OUT)


@pytest.mark.parametrize(
    "command",
    [
        ("score", "slide", "a.svs", "--out", OUT),
        ("heatmap", "patient", "8863", "--out", OUT),
        ("report", OUT),
        ("export", OUT),
        ("phantom", OUT),
        ("train", "--out", OUT),
        ("evaluate", "--out", OUT),
    ],
)
def test_commands_that_take_no_address_say_so(run: Run, command: tuple[str, ...]) -> None:
    ran = run(*command)
    assert ran.code == 2
    assert f"{OUT} is an address, which is not taken here: give a path of this machine." in ran.err
