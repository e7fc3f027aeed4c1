from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from wsi_idc.io.jpeg_tiles import NO_JPEG, JpegLevels, JpegTiles
from wsi_idc.io.openslide_reader import OpenSlideReader
from wsi_idc.phantom import paint_slide
from wsi_idc.slides.slide import Slide

KINDS: dict[str, dict[str, Any]] = {
    "full chroma": {"compressionargs": {"level": 85}, "subsampling": (1, 1)},
    "half chroma": {"compressionargs": {"level": 85}, "subsampling": (2, 2)},
    "rgb": {"compressionargs": {"level": 85, "outcolorspace": "rgb"}},
}
WIDTH, HEIGHT, TILE = 300, 200, 64


def tissue(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    return paint_slide("90001", 0, 320, 320).pixels[:height, :width]


def write(path: Path, pixels: NDArray[np.uint8], kind: str = "full chroma", **options: Any) -> Path:
    layout: dict[str, Any] = {"tile": (TILE, TILE), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    tifffile.imwrite(path, pixels, **layout, **KINDS[kind], **options)
    return path


def whole(tiles: JpegTiles, factor: int, reader: OpenSlideReader) -> NDArray[np.uint8]:
    size = -(-WIDTH // factor), -(-HEIGHT // factor)
    return tiles.read(factor, 0, 0, *size, lambda *where: reader.read(0, *where))


def cut_offset(path: Path) -> int:
    """Where the second tile of a file begins."""
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages[0].dataoffsets[1]


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_openslide(kind: str, tmp_path: Path) -> None:
    with OpenSlideReader(write(tmp_path / "a.tif", tissue(), kind)) as reader:
        full = reader.read(0, 0, 0, WIDTH, HEIGHT)
        np.testing.assert_array_equal(whole(reader._jpeg.tiles[0], 1, reader), full[..., :3])
        assert (full[..., 3] == 255).all()


@pytest.mark.parametrize("trust_jfif", [False, True])
def test_jfif_in_a_tiff_that_says_rgb(trust_jfif: bool, tmp_path: Path) -> None:
    """Bio-Formats writes YCbCr with a JFIF header and says RGB: tifffile trusts the header, libtiff the TIFF."""
    pixels, path = tissue(TILE, TILE), tmp_path / "a.tif"
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    tifffile.imwrite(
        path,
        iter([file.getvalue()]),
        shape=pixels.shape,
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="rgb",
        compression="jpeg",
        metadata=None,
        compressionargs={"outcolorspace": "rgb"},
    )
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        assert page.photometric == tifffile.PHOTOMETRIC.RGB
        levels = JpegLevels(path, {0: page}, trust_jfif=trust_jfif)
    with levels:
        read = levels.tiles[0].read(1, 0, 0, TILE, TILE, lambda *_: pytest.fail("not decoded"))
    difference = np.abs(read.astype(int) - pixels).mean()
    assert difference < 3 if trust_jfif else difference > 20


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_reduced_pixels_are_means(kind: str, factor: int, tmp_path: Path) -> None:
    with OpenSlideReader(write(tmp_path / "a.tif", tissue(), kind)) as reader:
        reduced = whole(reader._jpeg.tiles[0], factor, reader)
        full = reader.read(0, 0, 0, WIDTH, HEIGHT)[..., :3]
    rows, columns = HEIGHT // factor, WIDTH // factor
    means = full[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, 3).mean((1, 3))
    difference = reduced[:rows, :columns] - means
    assert np.abs(difference).mean() < 0.8
    assert abs(difference.mean()) < 0.2


def test_any_region_is_part_of_the_whole(tmp_path: Path) -> None:
    with OpenSlideReader(write(tmp_path / "a.tif", tissue())) as reader:
        tiles = reader._jpeg.tiles[0]
        for left, top, width, height in [(0, 0, 1, 1), (31, 30, 4, 5), (74, 49, 1, 1), (10, 0, 60, 50)]:
            region = tiles.read(4, left, top, width, height, lambda *where: reader.read(0, *where))
            np.testing.assert_array_equal(region, whole(tiles, 4, reader)[top : top + height, left : left + width])


def test_a_damaged_tile_is_left_to_openslide_and_no_other(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", tissue())
    with OpenSlideReader(path) as reader:
        good = whole(reader._jpeg.tiles[0], 4, reader)
    with path.open("r+b") as file:
        file.seek(cut_offset(path))
        file.write(bytes(64))
    asked: list[tuple[int, ...]] = []

    def instead(*where: int) -> NDArray[np.uint8]:
        asked.append(where)
        return np.zeros((where[3], where[2], 4), dtype=np.uint8)

    with OpenSlideReader(path) as reader:
        region = reader._jpeg.tiles[0].read(4, 0, 0, WIDTH // 4, HEIGHT // 4, instead)
    assert asked == [(TILE, 0, TILE, TILE)]
    side = TILE // 4
    assert not region[:side, side : 2 * side].any()
    region[:side, side : 2 * side, :3] = good[:side, side : 2 * side]
    region[:side, side : 2 * side, 3] = 255
    np.testing.assert_array_equal(region, np.dstack([good, np.full(good.shape[:2], 255)]))


def test_a_tile_that_says_to_be_larger_is_not_decoded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", tissue())
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0].dataoffsets[0]
    stored = bytearray(path.read_bytes())
    frame = stored.index(b"\xff\xc0", first)
    stored[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    path.write_bytes(stored)
    with OpenSlideReader(path) as reader:
        assert reader._jpeg.tiles[0]._tile(8, 0, 0, keep=True) is None


@pytest.mark.parametrize(("mpp", "most"), [(1.0, 4), (0.2527, 16)])
def test_tiles_are_as_openslide_reads_them(mpp: float, most: int, tmp_path: Path) -> None:
    side = round(800 / mpp)
    pixels = np.tile(tissue(320, 320), (-(-side // 320), -(-side // 320), 1))[:side, :side]
    path = write(tmp_path / "a.tif", pixels, resolution=(1e4 / mpp, 1e4 / mpp), resolutionunit="CENTIMETER")
    read = []
    for quick in (True, False):
        with Slide(path, tissue_mask=False) as slide:
            assert slide._reader._jpeg.tiles
            if not quick:
                slide._reader._jpeg = NO_JPEG
            read.append(slide.read(0, 4).pixels.astype(int))
    assert read[0].shape == (4, 50, 50, 3)
    assert np.abs(read[0] - read[1]).mean() < 0.6
    assert np.abs(read[0] - read[1]).max() <= most


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_last_reduced_pixels_leave_out_what_fills_the_tile_up(factor: int, tmp_path: Path) -> None:
    """The encoder's padding is dark here, the level's last pixels are bright."""
    width, height = 3 * TILE + 1, 2 * TILE + 3
    padded = np.zeros((3 * TILE, 4 * TILE, 3), np.uint8)
    padded[:height, :width] = 240
    path = write(tmp_path / "a.tif", padded)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(width)
        tiff.pages[0].tags["ImageLength"].overwrite(height)
    with OpenSlideReader(path) as reader:
        size = -(-width // factor), -(-height // factor)
        region = reader._jpeg.tiles[0].read(factor, 0, 0, *size, lambda *where: reader.read(0, *where))
        own = reader.read(0, 0, 0, width, height)[..., :3].astype(float)
    last = own[:, width // factor * factor :].mean(axis=1)
    rows = np.arange(0, height, factor)
    means = np.add.reduceat(last, rows) / np.minimum(factor, height - rows)[:, None]
    np.testing.assert_allclose(region[:, -1, :3], means, atol=1)
