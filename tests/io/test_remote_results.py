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
from wsi_idc.io.stores import Store
from wsi_idc.scoring.file_names import SLIDE_FILES

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
    assert far.keys() == near.keys(), far.keys() ^ near.keys()
    return all(far[name] == near[name] for name in far if not name.endswith(timed))


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
    with RemoteResults(OUT, tmp_path / "cache", "run.json", SLIDE_FILES, ()):
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


def results(cache: Path, slide: str = "a.svs", threshold: str = "1") -> RemoteResults:
    """Results in the store with a slide that was scored at a threshold, not yet uploaded."""
    remote = RemoteResults(OUT, cache, "run.json", SLIDE_FILES, ("summary.csv",))
    remote.fetch()
    own = remote.folder / slide
    own.mkdir(parents=True, exist_ok=True)
    for name in ("scores.csv", "run.json"):
        (own / name).write_text(threshold)
    return remote


@pytest.mark.parametrize("sealed", [True, False])
def test_a_persons_corrections_in_the_store_are_never_removed(sealed: bool, bucket: Any, tmp_path: Path) -> None:
    client, _ = bucket
    with results(tmp_path) as remote:
        remote.upload("a.svs").result()
    for name in ("corrections.geojson", "overlay.png"):
        client.put_object(Bucket="slides", Key=f"results/a.svs/{name}", Body=b"mine")
    if not sealed:
        client.delete_object(Bucket="slides", Key="results/a.svs/run.json")
    with results(tmp_path if sealed else tmp_path / "another", threshold="2") as remote:
        (remote.folder / "a.svs" / "overlay.png").unlink(missing_ok=True)
        remote.upload("a.svs").result()
    found = contents(client)
    assert found["a.svs/corrections.geojson"] == b"mine"
    assert found["a.svs/run.json"] == b"2"
    assert "a.svs/overlay.png" not in found


def test_what_another_machine_wrote_since_is_not_overwritten(bucket: Any, tmp_path: Path) -> None:
    client, _ = bucket
    with results(tmp_path / "first", threshold="old") as first:
        first.upload("a.svs").result()
    with results(tmp_path / "second", threshold="new") as second:
        second.upload("a.svs").result()
        second.finish(whole=False)
    assert contents(client)["a.svs/run.json"] == b"new"
    with results(tmp_path / "first", slide="b.svs", threshold="b") as again:
        assert (again.folder / "a.svs" / "run.json").read_text() == "new"
        again.upload("b.svs").result()
        again.finish(whole=False)
    assert contents(client)["a.svs/run.json"] == b"new"
    with results(tmp_path / "third", slide="b.svs", threshold="c") as stale:
        stale.upload("b.svs").result()
    client.put_object(Bucket="slides", Key="results/b.svs/run.json", Body=b"d")
    with RemoteResults(OUT, tmp_path / "third", "run.json", SLIDE_FILES, ()) as other:
        other.fetch(["a.svs"])
        other.finish(whole=False)
    assert contents(client)["b.svs/run.json"] == b"d"


def test_results_below_the_slides_are_no_slides(bucket: Any) -> None:
    client, _ = bucket
    for key in ("own/a.svs", "own/results/a.svs/overlay.ome.tif", "own/results-2/b.tif"):
        client.put_object(Bucket="slides", Key=key, Body=b"x")
    found = Store("s3://slides/own").slides([".svs", ".tif"], leave_out="s3://slides/own/results/")[0]
    assert found == ["a.svs", "results-2/b.tif"]


@pytest.mark.parametrize("address", ["s3://", "s3://user:secret@/", "s3:///"])
def test_an_address_without_a_bucket_is_said_so(address: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="names no bucket") as refused:
        RemoteResults(address, tmp_path, "run.json", (), ())
    assert "secret" not in str(refused.value)
