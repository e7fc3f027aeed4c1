"""Slides in stores: a real server on the loopback address, behind a proxy that breaks what it carries."""

from __future__ import annotations

import csv
import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ran
from tests.io.cache_watch import CacheWatch
from tests.io.conftest import SECRET
from tests.scoring.test_gpus import driver  # noqa: F401  (a fixture)
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc.doctor import material
from wsi_idc.errors import OptionError, SlideError
from wsi_idc.export.phantom_slides import write_phantom_slide
from wsi_idc.io.staging import SlideCache
from wsi_idc.io.stores import Store, name_in, without_secrets
from wsi_idc.phantom import paint_slide

Run = Callable[..., Ran]


def make_slides(folder: Path, names: tuple[str, ...]) -> Path:
    folder.mkdir()
    for place, name in enumerate(names):
        write_slide(folder / name, smooth_tissue(300 + 100 * place, 500), 2.0)
    return folder


def tables(out: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("*/scores.csv"))}


def test_a_cohort_from_a_store_that_fails_now_and_then(
    run: Run, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = bucket
    folder = make_slides(tmp_path / "slides", ("plain.tif", "slow.tif", "cut.tif", "busy.tif", "short.tif"))
    files = sorted(folder.iterdir())
    for file in files:
        client.upload_file(str(file), "slides", f"set/{file.name}")
    client.put_object(Bucket="slides", Key="set/notes.txt", Body=b"no slide")
    sizes = sorted(file.stat().st_size for file in files)
    # Two of the largest: not all at once.
    bound = sizes[-1] + sizes[-2] + 1_000
    assert bound < sum(sizes)
    cache = tmp_path / "cache"
    out, options = tmp_path / "far", ("--cache", cache, "--cache-gb", bound / 1e9)
    with CacheWatch(cache) as watch:
        ran = run("score", "all", "--slides", "s3://slides/set", "--out", out, *options)
    assert ran.code == 0, ran.err
    assert 0 < watch.most <= bound
    assert not watch.most_held
    assert "left out under s3://slides/set: other files, 1" in ran.err
    assert run("score", "all", "--slides", folder, "--out", tmp_path / "near").code == 0
    assert tables(out) == tables(tmp_path / "near")
    assert len(tables(out)) == 5
    far, near = (json.loads((root / "cut.tif" / "run.json").read_text()) for root in (out, tmp_path / "near"))
    assert far["key"] == near["key"]
    assert far["source"]["path"] == "s3://slides/set/cut.tif"
    assert not list(cache.glob("slides/*/use-*"))
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("*/run.json")}
    assert run("score", "all", "--slides", "s3://slides/set", "--out", out, *options).code == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}


@pytest.mark.slow
@pytest.mark.usefixtures("driver")
def test_processes_of_gpus_close_slides_before_they_are_deleted(run: Run, bucket: Any, tmp_path: Path) -> None:
    client, _ = bucket
    # Its tiles are JPEG, which are read from a file that stays open.
    slide = tmp_path / "slide.tif"
    write_phantom_slide(paint_slide("90001", 1, 200, 150), slide, 1)
    for letter in "abcdef":
        client.upload_file(str(slide), "slides", f"slow-{letter}.tif")
    size = 2 * slide.stat().st_size
    options = ("--cache", tmp_path / "cache", "--cache-gb", size / 1e9, "--gpus", "all")
    with CacheWatch(tmp_path / "cache") as watch:
        ran = run("score", "all", "--slides", "s3://slides", "--out", tmp_path / "out", *options)
    assert ran.code == 0, ran.err
    assert len(tables(tmp_path / "out")) == 6
    assert 0 < watch.most <= size and not watch.most_held


def test_what_cannot_be_fetched_is_a_failed_row(run: Run, bucket: Any, tmp_path: Path) -> None:
    client, _ = bucket
    folder = make_slides(tmp_path / "slides", ("good.tif",))
    for name in ("good.tif", "forbidden.tif", "down.tif"):
        client.upload_file(str(folder / "good.tif"), "slides", name)
    rows = [f"s3://slides/{name}.tif" for name in ("good", "forbidden", "down", "gone")]
    (tmp_path / "list.csv").write_text("\n".join(["path", *rows]))
    out = tmp_path / "out"
    ran = run("score", "all", "--manifest", tmp_path / "list.csv", "--out", out, "--cache", tmp_path / "cache")
    assert ran.code == 1
    with (out / "summary.csv").open(newline="") as file:
        told = {row["slide"]: (row["status"], row["error"]) for row in csv.DictReader(file)}
    assert told["good.tif"][0] == "ok"
    for name, reason in (("forbidden", "no permission"), ("down", "after 6 attempts"), ("gone", "no such file")):
        status, error = told[f"{name}.tif"]
        assert status == "failed"
        assert f"s3://slides/{name}.tif" in error and reason in error
    everything = ran.out + ran.err + "".join(path.read_text() for path in out.rglob("*.[cjh]*") if path.is_file())
    assert SECRET not in everything


def test_a_signed_address_of_a_web_server_is_told_without_its_query(
    run: Run, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, proxy = bucket
    folder = make_slides(tmp_path / "slides", ("cut.tif",))
    client.upload_file(str(folder / "cut.tif"), "slides", "cut.tif", ExtraArgs={"ACL": "public-read"})
    host = f"127.0.0.1:{proxy.server_port}/slides"
    monkeypatch.setattr(sys, "argv", ["wsi-idc", "score", "slide", f"http://{host}/cut.tif?sig={SECRET}"])
    out, near = tmp_path / "far", tmp_path / "near"
    address = f"http://{host}/cut.tif?sig={SECRET}"
    ran = run("score", "slide", address, "--out", out, "--cache", tmp_path / "cache")
    assert ran.code == 0, ran.err
    assert run("score", "slide", folder / "cut.tif", "--out", near).code == 0
    assert tables(out) == tables(near)
    told = (out / "cut.tif" / "run.json").read_text()
    assert f"http://{host}/cut.tif" in told
    missing = run("score", "slide", f"http://{host}/gone.tif?sig={SECRET}", "--out", out)
    assert missing.code == 2
    assert f"http://{host}/gone.tif" in missing.err
    for text in (told, ran.out, ran.err, missing.err, *(str(path) for path in tmp_path.rglob("*"))):
        assert SECRET not in text


def test_a_slide_of_several_files_comes_with_all_of_them(bucket: Any, tmp_path: Path) -> None:
    client, _ = bucket
    for key in ("a/x.mrxs", "a/x/Slidedat.ini", "a/x/Data0000.dat", "a/xy/other.dat"):
        client.put_object(Bucket="slides", Key=key, Body=key.encode())
    cache = SlideCache(tmp_path / "cache", 1_000)
    cache.folder.mkdir()
    with cache.stage("s3://slides/a/x.mrxs") as staged:
        folder = staged.path.parent
        assert sorted(path.name for path in folder.rglob("*.*")) == ["Data0000.dat", "Slidedat.ini", "x.mrxs"]
        assert (folder / "x" / "Data0000.dat").read_bytes() == b"a/x/Data0000.dat"


def test_dicom_files_of_one_series_are_one_slide(bucket: Any, tmp_path: Path) -> None:
    client, _ = bucket

    def head(uid: bytes) -> bytes:
        return (
            bytes(128)
            + b"DICM\x20\x00\x0e\x00UI"
            + len(uid).to_bytes(2, "little")
            + uid
            + b"\x28\x00\x02\x00US\x02\x00"
        )

    for name, uid in (("1.dcm", b"1.2.30"), ("2.dcm", b"1.2.40"), ("3.dcm", b"1.2.30")):
        client.put_object(Bucket="slides", Key=f"d/{name}", Body=head(uid))
    assert Store("s3://slides/d").slides((".svs",)) == (["1.dcm", "2.dcm"], 0)
    assert [file.name for file in Store("s3://slides/d/1.dcm").files()] == ["1.dcm", "3.dcm"]


def test_least_recently_used_goes_first_and_never_what_is_in_use(bucket: Any, tmp_path: Path) -> None:
    client, _ = bucket
    for name in "abc":
        client.put_object(Bucket="slides", Key=f"{name}.tif", Body=bytes(400))
    client.put_object(Bucket="slides", Key="large.tif", Body=bytes(1_001))
    cache = SlideCache(tmp_path, 1_000)
    a = cache.stage("s3://slides/a.tif")
    cache.stage("s3://slides/b.tif").close()
    with cache.stage("s3://slides/c.tif") as c:
        assert a.path.exists() and c.path.exists()
        assert len(list(tmp_path.rglob("*.tif"))) == 2
    a.close()
    with pytest.raises(SlideError, match="--cache-gb"):
        cache.stage("s3://slides/large.tif")


def test_addresses_that_differ_in_their_query_are_different_slides(tmp_path: Path) -> None:
    """A web server that tells neither a hash nor a date, and files of one size."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.path.encode().ljust(64)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    cache = SlideCache(tmp_path, 10_000)
    for query in ("id=1", "id=2"):
        with cache.stage(f"http://127.0.0.1:{web.server_port}/a.svs?{query}") as staged:
            assert query.encode() in staged.path.read_bytes()
            assert "id=" not in staged.told
    web.shutdown()
    web.server_close()


def test_keys_with_signs_of_web_addresses(bucket: Any, tmp_path: Path) -> None:
    client, _ = bucket
    for key in ("d/case#1.svs", "d/case#2.svs", "d/a?b.svs", "d/out\\..\\x.svs"):
        client.put_object(Bucket="slides", Key=key, Body=key.encode())
    client.put_object(Bucket="slides", Key="d/empty.dcm", Body=b"")
    paths, others = Store("s3://slides/d").slides((".svs",))
    assert (paths, others) == (["a?b.svs", "case#1.svs", "case#2.svs"], 1)
    cache = SlideCache(tmp_path, 10_000)
    for path in paths:
        with cache.stage(f"S3://slides/d/{path}") as staged:
            assert staged.path.read_text() == f"d/{path}"
    assert Store(f"s3://me:{SECRET}@slides/d/x@2.svs").told == "s3://slides/d/x@2.svs"


def test_a_cache_has_a_size(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--cache-gb"):
        SlideCache.of(tmp_path, float("nan"))


def test_doctor_lists_and_reads_a_store(run: Run, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, proxy = bucket
    for key in ("set/a.svs", "set/b.svs", "slow/c.svs", "down/d.svs"):
        client.put_object(Bucket="slides", Key=key, Body=bytes(100), ACL="public-read")

    def told(address: str) -> str:
        return " ".join(check.text for check in material.slides(address) if check.state == "ok")

    web = f"http://127.0.0.1:{proxy.server_port}/slides"
    assert told("s3://slides/set/").startswith("s3://slides/set: 2 slides, listed and the first read in ")
    assert told(f"{web}/set/a.svs?sig={SECRET}") == f"{web}/set/a.svs: can be read; a web server is not listed"
    with pytest.raises(SlideError, match=r"s3://slides/down/d\.svs cannot be fetched after 6 attempts"):
        told("s3://slides/down")
    monkeypatch.setattr(material, "STORE_S", 0.01)
    with pytest.raises(SlideError, match="s3://slides/slow was not listed and read within"):
        told("s3://slides/slow")
    ran = run("doctor", "--data", "demo", "--out", tmp_path / "out", "--slides", "s3://slides/none")
    assert ran.code == 1 and "fail  slides: s3://slides/none" in ran.out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://me:pw@host/a%20b.svs?X-Amz-Signature=abc#x", "https://host/a%20b.svs"),
        ("--slides=s3://key:secret@bucket/a", "--slides=s3://bucket/a"),
        ("s3://bucket/a.svs", "s3://bucket/a.svs"),
        ("results?", "results?"),
    ],
)
def test_without_secrets(text: str, told: str) -> None:
    assert without_secrets(text) == told


def test_names_never_lead_out_of_the_folder() -> None:
    assert name_in("https://host/a%20b.svs?x=1") == "a b.svs"
    for url in (
        "https://host/..%2f..%2fetc",
        "https://host/a%2fb.svs",
        "s3://bucket/a/..",
        "s3://bucket/a/",
        "s3://bucket",
        "https://host",
    ):
        assert name_in(url) == ""
