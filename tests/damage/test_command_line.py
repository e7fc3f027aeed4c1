"""Any words on the command line end in an exit code and a sentence, and write nothing that was not asked for."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import Ran
from tests.damage import good
from wsi_idc.cli import main

Run = Callable[..., Ran]

WORDS = st.sampled_from(
    [
        *("heatmap", "score", "mosaic", "tile", "ingest", "train", "evaluate", "patient", "slide", "all", "--help"),
        *("--data", "--model", "--out", "--mpp", "--threshold", "--context", "--batch-size", "--labels", "--slides"),
        *("--manifest", "--min-tissue", "--icc", "--quiet", "--restart", "--colormap", "--opacity", "--dpi", "--case"),
        *("--format", "--split", "--seed", "--epochs", "--subset", "--workers", "--ome-zarr", "--compression"),
        *("0", "-1", "1e999", "nan", "inf", "8863", "a.svs", "a.geojson", "a.csv", "set", "-", "--", "*"),
    ]
)
TEXT = st.text(max_size=12).filter(lambda text: not {"/", "\0"} & set(text) and ".." not in text and text != "demo")


@settings(max_examples=150)
@given(st.lists(WORDS | TEXT, max_size=7))
@example(["score", "patient", "9" * 5_000, "--data", "set"])
@example(["score", "slide", "x" * 5_000])
@example(["score", "slide", "a.svs", "--mpp", "nan"])
@example(["score", "slide", "a.svs", "--labels", "a.geojson"])
@example(["score", "all", "--manifest", "a.csv"])
@example(["tile", "a.svs", "a.svs"])
@example(["ingest", "a.csv", "b"])
def test_any_words(tmp_path_factory: pytest.TempPathFactory, args: list[str]) -> None:
    inside = tmp_path_factory.mktemp("words") / "inside"
    inside.mkdir()
    for name in ("a.svs", "a.geojson", "a.csv"):
        (inside / name).write_bytes(b"x")
    (inside / "set").mkdir()
    before, out, err = Path.cwd(), io.StringIO(), io.StringIO()
    os.chdir(inside)
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main(args)
    finally:
        os.chdir(before)
    assert code in (0, 1, 2)
    assert "Traceback" not in err.getvalue()
    assert bool(err.getvalue()) == (code != 0), (args, code)
    assert [path.name for path in inside.parent.iterdir()] == ["inside"]
    assert (inside / "a.svs").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"", "names no column path"),
        (b"\xff\xfe", "no text in UTF-8"),
        (b"file\na.svs\n", "names no column path"),
        (b"path\n", "lists no slide"),
        (b"path\n\n\n", "lists no slide"),
        (b"path,mpp\na.svs,half\n", "no number"),
        (b"path\nb/../a.svs\n/a.svs\n", "names the slide a.svs as line 2 does"),
        (b"path\n..\n", "is a folder"),
        (b'path\n"a.svs', "a.svs"),
        (b"path\n" + b"x" * 200_000 + b"\n", "is no CSV"),
        (b"path\na\0.svs\n", "a.csv"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_manifests(run: Run, tmp_path: Path, contents: bytes, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(contents)
    ran = run("score", "all", "--manifest", tmp_path / "a.csv", "--out", tmp_path / "out")
    assert ran.code in (1, 2)
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "name",
    ["../up.svs", "below/../../up.svs", "/absolute.svs", "~/home.svs", "a//b.svs", "./c.svs"],
)
def test_names_in_a_manifest_lead_nowhere_else(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "a.csv").write_text(f"path\n{name}\n")
    path = tmp_path / "list" / name.replace("/absolute", str(tmp_path / "absolute")).lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    out = tmp_path / "x" / "y" / "out"
    ran = run("score", "all", "--manifest", tmp_path / "list" / "a.csv", "--out", out, "--batch-size", 16)
    assert ran.code in (0, 1)
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["y"]
    assert [path.name for path in (tmp_path / "x" / "y").iterdir()] == ["out"]


@pytest.mark.parametrize(
    "contents",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"type":"Polygon","coordinates":[[[1e999,0],[0,1],[1,1]]]}'],
    ids=lambda value: repr(value[:16]),
)
def test_outlines(run: Run, tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "a.svs").write_bytes(good.aperio())
    (tmp_path / "a.geojson").write_bytes(contents)
    ran = run(
        "score", "slide", tmp_path / "a.svs", "--labels", tmp_path / "a.geojson", "--out", tmp_path / "out",
        "--batch-size", 16,
    )  # fmt: skip
    if contents == b"[]":
        assert ran.code == 0
    else:
        assert (ran.code, ran.out) == (2, "")
        assert "a.geojson" in ran.err
        assert not (tmp_path / "out").exists()
