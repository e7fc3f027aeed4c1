"""Real slides with one change each: as `tests.damage.test_slides`, over files that scanners wrote."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.damage import tiff
from tests.damage.tiff import Change
from wsi_idc.errors import SlideError
from wsi_idc.io.dicom import dicom_identity
from wsi_idc.slides.slide import Slide

NO_SLIDE = r"cannot be read as a slide \(.+\): fetch it again"


def read(path: Path, **options: object) -> tuple[int, int]:
    """How many patches a slide has, and how many cannot be read."""
    with Slide(path, **options) as slide:
        block = slide.read(0, len(slide.patches))
        return len(slide.patches), int((~block.readable).sum())


REFUSED: dict[str, tuple[Change, str]] = {
    "first tenth": (tiff.cut(0.1), NO_SLIDE),
    "half": (tiff.cut(0.5), NO_SLIDE),
    "only 8 bytes": (tiff.keep(8), NO_SLIDE),
    "directory at the end": (tiff.first_directory(-1), NO_SLIDE),
    "width 0": (tiff.set_tag(tiff.WIDTH, 0), NO_SLIDE),
    "width 65535": (tiff.set_tag(tiff.WIDTH, 65_535), "65,535 x 2,967 px, and holds 130 of the"),
    "mpp 0": (tiff.replace(b"MPP = 0.4990", b"MPP = 0"), r"scale of 0 µm/px"),
    "mpp missing": (tiff.replace(b"MPP = 0.4990", b"XXX = 0.4990"), "does not say its scale"),
    # OpenSlide takes its hash over the smallest level, which here is the only one.
    "tile past the end": (tiff.set_tag(tiff.TILE_OFFSETS, 2**32 - 2, first=60), NO_SLIDE),
    "all tiles of length 0": (tiff.set_all(tiff.TILE_BYTES, 0), "holds no pixels"),
}

SCORED_AROUND: dict[str, tuple[Change, bool]] = {
    "whole": (tiff.same, False),
    "tile of zeros": (tiff.in_tile(tiff.zeroed, 60), True),
    "all tiles of zeros": (tiff.in_all_tiles(tiff.zeroed), True),
}


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_an_aperio_slide_that_is_refused(slides: Path, tmp_path: Path, change: Change, said: str) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(change((slides / "CMU-1-Small-Region.svs").read_bytes()))
    with pytest.raises(SlideError, match=said):
        read(path)


@pytest.mark.parametrize(("change", "costs"), SCORED_AROUND.values(), ids=SCORED_AROUND)
def test_an_aperio_slide_that_is_scored_around(slides: Path, tmp_path: Path, change: Change, costs: bool) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(change((slides / "CMU-1-Small-Region.svs").read_bytes()))
    _, unreadable = read(path)
    assert bool(unreadable) == costs


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", ["tcga-cr-7395-01a-01-ts1.svs", "OS-1-detail.ome.tif"])
def test_other_slides_cut(slides: Path, tmp_path: Path, name: str, share: float) -> None:
    """A part of the file is refused, or what is missing of it is counted."""
    path = tmp_path / name
    path.write_bytes(tiff.cut(share)((slides / name).read_bytes()))
    try:
        count, unreadable = read(path, mpp=0.25)
    except SlideError as error:
        assert str(error).endswith(".")
    else:
        assert 0 < unreadable <= count


@pytest.mark.parametrize("missing", range(4))
def test_a_dicom_series_with_a_part_missing(slides: Path, tmp_path: Path, missing: int) -> None:
    """The pixels of a level are one file: without it there is no such level, and without the finest no slide."""
    folder = Path(shutil.copytree(slides / "dicom-cmu1-small-region", tmp_path / "series"))
    whole = read(min(folder.iterdir()))
    folder.chmod(0o700)
    parts = sorted(folder.iterdir())
    parts[missing].unlink()
    ended = set()
    for part in parts:
        if part != parts[missing]:
            try:
                ended.add(read(part))
            except SlideError as error:
                ended.add(str(error).replace(str(part), "").partition("(")[0])
    assert ended <= {whole, " cannot be read as a slide ", " does not say its scale: give it in µm/px with --mpp."}
    if parts[missing].name.endswith("0015771729984593744789552618416.dcm"):
        assert whole not in ended


def test_a_pipe_beside_a_dicom_slide(slides: Path, tmp_path: Path) -> None:
    """Nobody writes into it: whoever opened it would wait for ever."""
    folder = Path(shutil.copytree(slides / "dicom-cmu1-small-region", tmp_path / "series"))
    folder.chmod(0o700)
    os.mkfifo(folder / "0.dcm")
    for part in folder.glob("1.*.dcm"):
        with pytest.raises(SlideError, match=r"0\.dcm beside it is a pipe"):
            read(part)
        assert dicom_identity(part) is None


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_dicom_file_cut(slides: Path, tmp_path: Path, share: float) -> None:
    (source,) = (slides / "dicom-camelyon-jpeg").iterdir()
    path = tmp_path / "a.dcm"
    path.write_bytes(tiff.cut(share)(source.read_bytes()))
    try:
        count, unreadable = read(path, mpp=1.0)
    except SlideError as error:
        assert str(error).endswith(".")
    else:
        assert 0 < unreadable <= count


@pytest.mark.parametrize("name", ["unreadable.svs", "unopenable.tiff", "boxes.tiff", "small.svs"])
def test_openslides_own_bad_files(slides: Path, name: str) -> None:
    try:
        count, unreadable = read(slides / "openslide-python-tiny" / name, mpp=1.0, tissue_mask=False)
    except SlideError as error:
        assert name == "unopenable.tiff", error
    else:
        assert unreadable == (count if name == "unreadable.svs" else 0)
