"""Slide files with one change each: what is refused, with which words, and what is scored around the damage."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import ImageCms

from tests.conftest import Ran
from tests.damage import good, tiff
from tests.damage.tiff import Change
from wsi_idc.errors import SlideError
from wsi_idc.model.classifier import Classifier
from wsi_idc.naming import cell_text, visible
from wsi_idc.scoring.results import score_into
from wsi_idc.slides.slide import Slide

Run = Callable[..., Ran]
Place = tuple[int, int]

ALL = tuple((x, y) for y in range(0, 600, 200) for x in range(0, 800, 200))
FIRST = good.OF_FIRST_TILE

NO_SLIDE = r"cannot be read as a slide \(.+\): fetch it again"
NO_SCALE = r"does not say its scale: give it in µm/px with --mpp\."
BAD_SCALE = r"has a scale of {} µm/px, where 0\.05 to 100 is plausible: give the true one with --mpp\."
NO_ICC = r"has an ICC profile that cannot be used .*: leave out --icc\."
EMPTY = r"holds no pixels, as all of its tiles are empty: fetch or export it again\."

FORMATS: dict[str, tuple[Callable[[], bytes], str]] = {
    "aperio": (good.aperio, ".svs"),
    "generic": (good.generic, ".tif"),
    "ome": (good.ome, ".ome.tif"),
}


@dataclass(frozen=True)
class Row:
    """A damaged slide and what comes of it.

    Attributes
    ----------
    name : str
        Of the file.
    said : str
        What the error says, as a regular expression; empty where the slide is scored.
    unreadable : tuple
        Places of the patches without a probability.
    mpp : float
        Scale that the slide is scored at.
    options : dict
        For `Slide`.
    """

    name: str
    make: Callable[[], bytes]
    said: str = ""
    unreadable: tuple[Place, ...] = ()
    mpp: float = good.MPP
    options: dict[str, Any] = field(default_factory=dict)


def rows_of(formats: str, damage: str, change: Change, *outcome: Any, **more: Any) -> Iterator[Row]:
    """The same change to each of the formats named."""
    for each in formats.split():
        make, ending = FORMATS[each]
        yield Row(f"{damage}{ending}", lambda make=make: change(make()), *outcome, **more)


def with_profile(profile: bytes) -> Callable[[], bytes]:
    """A slide with an ICC profile."""

    def make() -> bytes:
        file = io.BytesIO()
        scale = {"resolution": (5e3, 5e3), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(
            file,
            good.pixels(),
            photometric="rgb",
            tile=(400, 400),
            compression="deflate",
            iccprofile=profile,
            metadata=None,
            **scale,
        )
        return file.getvalue()

    return make


def scale_tags(x: tuple[int, int], unit: int = 3) -> Change:
    """Other resolution tags, alike in x and y."""
    tags = [tiff.set_tag(tag, *x) for tag in (tiff.X_RESOLUTION, tiff.Y_RESOLUTION)]
    return tiff.both(*tags, tiff.set_tag(tiff.RESOLUTION_UNIT, unit))


def aperio_scale(written: str) -> Change:
    return tiff.replace(b"MPP = 2.0000", f"MPP = {written}".encode())


def ome_scale(written: str) -> Change:
    return tiff.replace(b'PhysicalSizeX="2.0"', f'PhysicalSizeX="{written}"'.encode())


def laughing(data: bytes) -> bytes:
    """OME-XML of entities that unfold to 10^9 times their length, in place of the metadata."""
    entities = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY l0 "ha">{entities}]><OME>&l9;</OME>'.encode()
    at = data.index(b"<OME")
    return tiff.put(data, at, bomb.ljust(data.index(b"</OME>", at) + 6 - at))


EVERY = "aperio generic ome"
PAGES = "aperio generic"

FILES = [
    *rows_of(EVERY, "empty", tiff.keep(0), r"\(it is empty\): fetch it again"),
    *rows_of(EVERY, "web page", tiff.become(b"<!DOCTYPE html><html>404</html>"), r"\(it is a web page\): fetch"),
    *rows_of(EVERY, "pointer of Git LFS", tiff.become(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    *rows_of(EVERY, "text", tiff.become(b"no slide"), NO_SLIDE),
    *rows_of(EVERY, "zeros", lambda data: bytes(len(data)), NO_SLIDE),
    *rows_of(EVERY, "magic", lambda data: tiff.put(data, 0, b"XX"), NO_SLIDE),
    *rows_of(EVERY, "other byte order", lambda data: tiff.put(data, 0, b"MM"), NO_SLIDE),
    *(row for length in (1, 4, 8, 100) for row in rows_of(EVERY, f"only {length} bytes", tiff.keep(length), NO_SLIDE)),
    *(
        row
        for share in (0.1, 0.33, 0.5, 0.9)
        for row in rows_of(EVERY, f"first {share:.0%}", tiff.cut(share), NO_SLIDE)
    ),
    *rows_of(PAGES, "last byte missing", tiff.keep(-1), NO_SLIDE),
    *rows_of("ome", "last byte missing", tiff.keep(-1), NO_SCALE),
]

DIRECTORIES = [
    *rows_of(EVERY, "directory at the end", tiff.first_directory(-1), NO_SLIDE),
    *rows_of(EVERY, "directory past the end", tiff.first_directory(2**32 - 1), NO_SLIDE),
    *rows_of(EVERY, "directory nowhere", tiff.first_directory(0), NO_SLIDE),
    *rows_of(EVERY, "directory in the header", tiff.first_directory(3), NO_SLIDE),
    *rows_of(PAGES, "directory loop", tiff.next_directory(None), NO_SLIDE),
    *rows_of("ome", "directory loop", tiff.next_directory(None)),
    *rows_of(PAGES, "next directory past the end", tiff.next_directory(2**32 - 2), NO_SLIDE),
    *rows_of("ome", "next directory past the end", tiff.next_directory(2**32 - 2)),
    *rows_of(EVERY, "width missing", tiff.drop_tag(tiff.WIDTH), NO_SLIDE),
    *rows_of(EVERY, "bits missing", tiff.drop_tag(tiff.BITS), NO_SLIDE),
    *rows_of(EVERY, "offsets missing", tiff.drop_tag(tiff.TILE_OFFSETS), "holds 0 of the 4 tiles|Invalid TIFF"),
    *rows_of(EVERY, "width 0", tiff.set_tag(tiff.WIDTH, 0), NO_SLIDE),
    *rows_of(EVERY, "height 0", tiff.set_tag(tiff.HEIGHT, 0), NO_SLIDE),
    *rows_of(EVERY, "width 65535", tiff.set_tag(tiff.WIDTH, 65_535), "65,535 x 600 px, and holds 4 of the 328 tiles"),
    *rows_of(EVERY, "height 65535", tiff.set_tag(tiff.HEIGHT, 65_535), "800 x 65,535 px, and holds 4 of the 328 tiles"),
    *rows_of(EVERY, "tile width 0", tiff.set_tag(tiff.TILE_WIDTH, 0), NO_SLIDE),
    *rows_of(EVERY, "tile width 16", tiff.set_tag(tiff.TILE_WIDTH, 16), "holds 4 of the 100 tiles"),
    *rows_of(
        EVERY,
        "tiles of 12 GB",
        tiff.both(tiff.set_tag(tiff.TILE_WIDTH, 65_520), tiff.set_tag(tiff.TILE_HEIGHT, 65_520)),
        "declares tiles of 65,520 x 65,520 px",
    ),
    *rows_of("aperio", "tile width 65520", tiff.set_tag(tiff.TILE_WIDTH, 65_520), unreadable=ALL),
    *rows_of(EVERY, "no offsets", tiff.set_count(tiff.TILE_OFFSETS, 0), "holds 0 of the 4 tiles|Unsupported"),
    *rows_of(EVERY, "one offset", tiff.set_count(tiff.TILE_OFFSETS, 1), "holds 1 of the 4 tiles"),
    *rows_of(EVERY, "offsets of 8 GB", tiff.set_count(tiff.TILE_OFFSETS, 2**31), NO_SLIDE),
    *rows_of(EVERY, "65535 channels", tiff.set_tag(tiff.SAMPLES, 65_535), NO_SLIDE),
    *rows_of(EVERY, "0 bits", tiff.set_tag(tiff.BITS, 0, 0, 0), NO_SLIDE),
    *rows_of(PAGES, "16 bits", tiff.set_tag(tiff.BITS, 16, 16, 16), unreadable=ALL),
    *rows_of(PAGES, "separated inks", tiff.set_tag(tiff.PHOTOMETRIC, 5), unreadable=ALL),
]

TILES = [
    *rows_of(EVERY, "whole", tiff.same),
    *rows_of(EVERY, "tile of length 0", tiff.set_tag(tiff.TILE_BYTES, 0), unreadable=FIRST, options={"mask": False}),
    *rows_of("ome", "tile at 0", tiff.set_tag(tiff.TILE_OFFSETS, 0), unreadable=FIRST, options={"mask": False}),
    *rows_of(PAGES, "tile at 0", tiff.set_tag(tiff.TILE_OFFSETS, 0), unreadable=FIRST),
    *rows_of("aperio ome", "all tiles of length 0", tiff.set_all(tiff.TILE_BYTES, 0), EMPTY),
    *rows_of("generic", "all tiles of length 0", tiff.set_all(tiff.TILE_BYTES, 0), unreadable=ALL),
    *rows_of(EVERY, "tile past the end", tiff.set_tag(tiff.TILE_OFFSETS, 2**32 - 2), unreadable=FIRST),
    *rows_of(EVERY, "all tiles past the end", tiff.set_all(tiff.TILE_OFFSETS, 2**32 - 2), unreadable=ALL),
    *rows_of(PAGES, "tile of 4 GB", tiff.set_tag(tiff.TILE_BYTES, 2**32 - 1), unreadable=FIRST),
    *rows_of("ome", "tile of 4 GB", tiff.set_tag(tiff.TILE_BYTES, 2**32 - 1)),
    *rows_of(EVERY, "tile of zeros", tiff.in_tile(tiff.zeroed), unreadable=FIRST),
    *rows_of(EVERY, "all tiles of zeros", tiff.in_all_tiles(tiff.zeroed), unreadable=ALL),
    *rows_of(EVERY, "tile of turned bits", tiff.in_tile(tiff.flipped), unreadable=FIRST),
    *rows_of("generic ome", "byte turned", tiff.in_tile(tiff.flip_middle), unreadable=FIRST),
    *rows_of(PAGES, "compression unknown", tiff.set_tag(tiff.COMPRESSION, 12_345), "compression: 12345"),
    *rows_of("ome", "compression unknown", tiff.set_tag(tiff.COMPRESSION, 12_345), unreadable=ALL),
    *rows_of("generic ome", "compression of another kind", tiff.set_tag(tiff.COMPRESSION, 7), unreadable=ALL),
    *rows_of(EVERY, "compression none", tiff.set_tag(tiff.COMPRESSION, 1), unreadable=ALL),
    # What tissue is looked for on cannot be read: the tiles, which can, are scored all the same.
    *rows_of(PAGES, "thumbnail of zeros", tiff.in_tile(tiff.zeroed, page=1)),
    *rows_of(PAGES, "thumbnail past the end", tiff.set_tag(tiff.TILE_OFFSETS, 2**32 - 2, page=1), NO_SLIDE),
]

UNFIT = {"0": "0", "-0.499": "-0.499", "inf": "inf", "499000": "499000", "1e-09": "1e-09"}
SCALES = [
    *(
        row
        for written, told in UNFIT.items()
        for row in rows_of("aperio", f"mpp {written}", aperio_scale(written), BAD_SCALE.format(told))
    ),
    *(
        row
        for written in ("nan", "", "half", "1e999")
        for row in rows_of("aperio", f"mpp '{written}'", aperio_scale(written), NO_SCALE)
    ),
    *rows_of("aperio", "mpp with a comma", aperio_scale("1,0000"), mpp=1.0),
    *rows_of("aperio", "mpp twice", tiff.replace(b"= ----------------", b"= -|MPP = 1.0000"), mpp=1.0),
    *rows_of("aperio", "mpp missing", tiff.replace(b"|MPP", b"|XXX"), NO_SCALE),
    *rows_of("aperio", "description missing", tiff.drop_tag(tiff.DESCRIPTION), NO_SCALE),
    *rows_of("generic", "resolution 0", scale_tags((0, 1)), NO_SCALE),
    *rows_of("generic", "resolution by 0", scale_tags((1, 0)), NO_SCALE),
    *rows_of("generic", "resolution of print", scale_tags((72, 1), 2), BAD_SCALE.format(r"352\.778")),
    *rows_of("generic", "resolution of no unit", scale_tags((10_000, 1), 1), NO_SCALE),
    *rows_of("generic", "resolution of an unknown unit", scale_tags((10_000, 1), 9), NO_SCALE),
    *rows_of("generic", "resolution missing", tiff.drop_tag(tiff.X_RESOLUTION), NO_SCALE),
    *rows_of("generic", "resolution in x alone", tiff.set_tag(tiff.X_RESOLUTION, 1_000, 1), "10 µm/px .* too coarse"),
    *(
        row
        for written, told in {"0": "0", "-.4": r"-0\.4", "inf": "inf", "nan": "nan", "0,5": "nan", "a": "nan"}.items()
        for row in rows_of("ome", f"mpp '{written}'", ome_scale(written), BAD_SCALE.format(f"{told} x 2"))
    ),
    *rows_of("ome", "mpp missing", tiff.replace(b"PhysicalSizeX=", b"PhysicalSizeQ="), NO_SCALE),
    *rows_of("ome", "OME-XML that ends early", tiff.replace(b"</OME>", b"</XXX>"), NO_SCALE),
    *rows_of("ome", "OME-XML that unfolds", laughing, NO_SCALE + "|" + NO_SLIDE),
    Row("profile of no colours.tif", with_profile(b"no profile" * 20)),
    Row("profile of no colours, wanted.tif", with_profile(b"no profile" * 20), NO_ICC, options={"icc": True}),
    Row("profile cut off.tif", lambda: with_profile(_srgb()[:200])()),
    Row("profile cut off, wanted.tif", lambda: with_profile(_srgb()[:200])(), NO_ICC, options={"icc": True}),
]


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


NAMES = [
    Row(name, good.aperio)
    for name in (
        "a b.svs",
        "quo'te\".svs",
        "two\nlines.svs",
        "\N{MICROSCOPE}.svs",
        "<script>alert(1)<.svs",
        "[red]x[_red].svs",
        "-dash.svs",
        "%s{0}.svs",
        "back\\slash.svs",
        "\x1b[31mred.svs",
        "a,b;c.svs",
        "=1+1.svs",
        "\N{RIGHT-TO-LEFT OVERRIDE}svs.svs",
        "x" * 240 + ".svs",
    )
]

ROWS = [*FILES, *DIRECTORIES, *TILES, *SCALES, *NAMES]


def each(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[ascii(row.name[:40]) for row in rows])


def scored(path: Path, classifier: Classifier, out: Path, mask: bool = True, **options: Any) -> list[dict[str, str]]:
    """Rows of a slide's table, by the way that ``score slide`` takes."""
    with Slide(path, tissue_mask=mask, **options) as slide:
        result = score_into(slide, classifier, out, batch_size=16)
    told = json.loads((result.folder / "run.json").read_text())
    assert told["patches"]["unreadable"] == len(result.unreadable)
    with result.scores_path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def plain(classifier: Classifier) -> Classifier:
    """Without normalization, a tile's probability depends on its own pixels alone."""
    return replace(classifier, config=replace(classifier.config, normalization=None))


@pytest.fixture(scope="module")
def whole(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[Place, str]]:
    return _whole(classifier, tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def whole_plain(plain: Classifier, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[Place, str]]:
    return _whole(plain, tmp_path_factory.mktemp("plain"))


def _whole(classifier: Classifier, folder: Path) -> dict[str, dict[Place, str]]:
    """Probabilities of the undamaged files by ending and place."""
    found = {}
    for make, ending in FORMATS.values():
        path = folder / f"good{ending}"
        path.write_bytes(make())
        rows = scored(path, classifier, folder / "out", mask=False)
        found[ending] = {(int(row["minx"]), int(row["miny"])): row["prob_idc"] for row in rows}
    return found


@each(ROWS)
def test_a_damaged_slide(row: Row, whole_plain: dict[str, dict[Place, str]], plain: Classifier, tmp_path: Path) -> None:
    path, out = tmp_path / row.name, tmp_path / "out"
    path.write_bytes(row.make())
    if row.said:
        with pytest.raises(SlideError) as caught:
            scored(path, plain, out, **row.options)
        sentence = str(caught.value)
        assert re.search(row.said, sentence), sentence
        assert sentence.startswith(str(path))
        assert sentence.endswith(".")
        assert not [file for file in out.rglob("*") if file.is_file()]
        return
    rows = scored(path, plain, out, **row.options)
    assert tuple((int(r["minx"]), int(r["miny"])) for r in rows if r["status"] == "unreadable") == row.unreadable
    assert len(rows) == round(len(ALL) * (row.mpp / good.MPP) ** 2) + (row.mpp < good.MPP)
    assert {path.name for path in tmp_path.iterdir()} == {row.name, "out"}
    if row.mpp == good.MPP and row in TILES:
        ending = next(ending for _, ending in reversed(FORMATS.values()) if row.name.endswith(ending))
        for r in rows:
            if r["status"] == "ok":
                assert r["prob_idc"] == whole_plain[ending][int(r["minx"]), int(r["miny"])]


def test_a_cohort_of_damage_with_a_good_slide_last(
    run: Run, whole: dict[str, dict[Place, str]], tmp_path: Path
) -> None:
    """Each slide ends as by itself, and costs no other slide anything."""
    slides, out = tmp_path / "slides", tmp_path / "out"
    slides.mkdir()
    rows = [row for row in ROWS if not row.options]
    for row in rows:
        (slides / row.name).write_bytes(row.make())
    (slides / "zzz good.svs").write_bytes(good.aperio())
    ran = run("score", "all", "--slides", slides, "--out", out, "--batch-size", 16)
    assert ran.code == 1
    assert "Traceback" not in ran.err
    with (out / "summary.csv").open(newline="") as file:
        summary = {cell_text(row["slide"]): row for row in csv.DictReader(file)}
    assert len(summary) == len(rows) + 1
    for row in rows:
        ended = summary[visible(row.name)]
        wanted = "failed" if row.said else "partial" if row.unreadable else "ok"
        assert ended["status"] == wanted, ended
        assert re.search(row.said, ended["error"])
        assert (out / row.name / "scores.csv").exists() == (wanted != "failed")
    assert summary["zzz good.svs"]["status"] == "ok"
    with (out / "zzz good.svs" / "scores.csv").open(newline="") as file:
        last = {(int(r["minx"]), int(r["miny"])): r["prob_idc"] for r in csv.DictReader(file)}
    assert last == whole[".svs"]
    assert {path.name for path in tmp_path.iterdir()} == {"slides", "out"}


@pytest.mark.parametrize(
    ("damage", "make", "code", "said"),
    [
        ("whole", good.aperio, 0, ""),
        ("empty", lambda: b"", 2, "is empty"),
        ("cut", lambda: tiff.cut(0.5)(good.aperio()), 2, "cannot be read as a slide"),
        ("no scale", lambda: tiff.replace(b"|MPP", b"|XXX")(good.aperio()), 2, "--mpp"),
        ("no pixels", lambda: tiff.set_all(tiff.TILE_BYTES, 0)(good.aperio()), 2, "holds no pixels"),
        ("a tile lost", lambda: tiff.in_tile(tiff.zeroed)(good.aperio()), 1, "4 of the 12 patches"),
        ("all tiles lost", lambda: tiff.in_all_tiles(tiff.zeroed)(good.aperio()), 1, "12 of the 12 patches"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_exit_codes(run: Run, tmp_path: Path, damage: str, make: Callable[[], bytes], code: int, said: str) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(make())
    ran = run("score", "slide", path, "--out", tmp_path / "out", "--batch-size", 16)
    assert ran.code == code
    assert said in ran.err
    assert (tmp_path / "out" / "a.svs" / "scores.csv").exists() == (code != 2)
    assert ran.out == ("" if code == 2 else f"{tmp_path / 'out' / 'a.svs' / 'scores.csv'}\n")


def test_a_cohort_prints_no_sign_that_steers_the_terminal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "\x1b[31mred.svs").write_bytes(b"")
    assert "\x1b" not in run("score", "all", "--slides", tmp_path / "slides", "--out", tmp_path / "out").err


def test_a_slide_larger_than_any_glass(tmp_path: Path) -> None:
    """Refused before anything of its size is held."""
    path = tmp_path / "a.tif"
    pixels = np.zeros((16, 1_600, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(16, 16), compression="deflate", metadata=None)
    with pytest.raises(SlideError, match=r"160 x 2 mm, where glass has 150 x 100 at most"):
        Slide(path, mpp=100, allow_upsampling=True)
    with Slide(path, mpp=50, allow_upsampling=True) as slide:
        assert slide.thumbnail.shape == (50, 5_000, 3)


def test_a_wide_slide_is_looked_at_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(good.generic())
    with Slide(path) as slide:
        at_once = slide.thumbnail
    monkeypatch.setattr("wsi_idc.slides.pictures._WIDEST_PX", 2_000)
    with Slide(path) as slide:
        np.testing.assert_array_equal(slide.thumbnail, at_once)


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.svs")
    (tmp_path / "loop.svs").symlink_to(tmp_path / "loop.svs")
    (tmp_path / "nowhere.svs").symlink_to(tmp_path / "absent")
    (tmp_path / "folder.svs").mkdir()
    for name in ("pipe", "loop", "nowhere", "folder", "absent", "nul\0"):
        with pytest.raises(SlideError, match=r"There is no slide file|is a folder"):
            Slide(tmp_path / f"{name}.svs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_read_permission(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(good.aperio())
    path.chmod(0)
    with pytest.raises((SlideError, OSError)):
        Slide(path)


def test_bad_slides_leak_no_descriptor(tmp_path: Path) -> None:
    """A thousand of them, each kind refused at another point."""
    changes = {
        "cut.svs": tiff.cut(0.5)(good.aperio()),
        "mpp.svs": aperio_scale("0")(good.aperio()),
        "tiles.tif": tiff.set_count(tiff.TILE_OFFSETS, 1)(good.generic()),
        "width.ome.tif": tiff.set_tag(tiff.WIDTH, 0)(good.ome()),
        "mpp.ome.tif": ome_scale("0")(good.ome()),
    }
    for name, content in changes.items():
        (tmp_path / name).write_bytes(content)

    def open_all(times: int) -> int:
        for _ in range(times):
            for name in changes:
                with pytest.raises(SlideError):
                    Slide(tmp_path / name)
        return len(list(Path("/proc/self/fd").iterdir()))

    assert open_all(200) <= open_all(1)
