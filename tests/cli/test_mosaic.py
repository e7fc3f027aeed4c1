"""``mosaic``, its files opened in the libraries that users open them with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from openslide import OpenSlide
from PIL import Image
from tifffile import TiffFile

from tests.conftest import Ran
from tests.slides.test_slide import damage, smooth_tissue, write_slide
from wsi_idc.datasets.opening import open_case
from wsi_idc.slides.slide import Slide

Run = Callable[..., Ran]


def whole_case(patch_set: Path) -> NDArray[np.uint8]:
    """The case pasted together without the program's own mosaic."""
    pixels = np.full((142, 188, 3), 255, np.uint8)
    for row in range(3):
        for column in range(4):
            path = next(patch_set.glob(f"8863/*/8863_idx5_x{column * 50 + 1}_y{row * 50 + 1}_class?.png"))
            with Image.open(path) as patch:
                x, y = column * 50, row * 50
                pixels[y : y + patch.height, x : x + patch.width] = np.asarray(patch)
    return pixels


def test_a_case_as_png(run: Run, patch_set: Path, tmp_path: Path) -> None:
    ran = run("mosaic", "patient", 8863, "--data", patch_set, "--out", tmp_path)
    assert (ran.code, ran.out) == (0, f"{tmp_path / '8863' / 'mosaic.png'}\n")
    with Image.open(tmp_path / "8863" / "mosaic.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), whole_case(patch_set))


def test_a_case_as_ome_tiff(run: Run, patch_set: Path, tmp_path: Path) -> None:
    args = ("mosaic", "patient", 8863, "--data", patch_set, "--out", tmp_path, "--format", "ome-tiff")
    assert run(*args, "--compression", "deflate").out == f"{tmp_path / '8863' / 'mosaic.ome.tif'}\n"
    path = tmp_path / "8863" / "mosaic.ome.tif"
    with OpenSlide(path) as slide:
        read = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(8, rel=1e-4)
    np.testing.assert_array_equal(read, whole_case(patch_set))
    assert run(*args).code == 0
    with TiffFile(path) as tiff:
        assert tiff.pages[0].compression.name == "JPEG"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_case_as_ome_zarr(run: Run, patch_set: Path, tmp_path: Path, version: str) -> None:
    args = ("--format", "ome-zarr", "--ome-zarr", version)
    ran = run("mosaic", "patient", 8863, "--data", patch_set, "--out", tmp_path, *args)
    assert ran.out == f"{tmp_path / '8863' / 'mosaic.ome.zarr'}\n"
    group = zarr.open_group(tmp_path / "8863" / "mosaic.ome.zarr", mode="r")
    np.testing.assert_array_equal(np.moveaxis(np.asarray(group["0"]), 0, 2), whole_case(patch_set))


def test_a_slide_lies_where_its_tiles_do(run: Run, tmp_path: Path) -> None:
    """Blocks of 512 x 2048 px at 8 µm/px must meet without a seam, at a scale that no level and no pixel fits."""
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(700, 2_800), None, levels=1)
    args = ("mosaic", "slide", path, "--mpp", "6.6", "--out", tmp_path / "out")
    assert run(*args, "--format", "ome-tiff", "--compression", "deflate").code == 0
    with TiffFile(tmp_path / "out" / "a.tiff" / "mosaic.ome.tif") as tiff:
        mosaic = tiff.series[0].levels[0].asarray()
    with Slide(path, mpp=6.6, tissue_mask=False) as slide:
        assert mosaic.shape == (*reversed(slide.mosaic_px), 3) == (577, 2310, 3)
        tiles = slide.read(0, len(slide.patches)).pixels
        for (x, y, width, height), tile in zip(slide.tile_places.tolist(), tiles, strict=True):
            np.testing.assert_array_equal(mosaic[y : y + height, x : x + width], tile[:height, :width])
    assert run(*args).code == 0
    with Image.open(tmp_path / "out" / "a.tiff" / "mosaic.png") as picture:
        assert picture.size == (2_800, 700)


@pytest.mark.parametrize(("mpp_out", "size"), [(16, (94, 71)), (20.5, (73, 55))])
def test_a_case_at_another_scale(
    run: Run, patch_set: Path, tmp_path: Path, mpp_out: float, size: tuple[int, int]
) -> None:
    args = ("mosaic", "patient", 8863, "--data", patch_set, "--out", tmp_path, "--mpp-out", mpp_out)
    assert run(*args).out == f"{tmp_path / '8863' / 'mosaic.png'}\n"
    with Image.open(tmp_path / "8863" / "mosaic.png") as picture:
        assert picture.size == size
        assert np.asarray(picture).mean() == pytest.approx(whole_case(patch_set).mean(), abs=1)
    assert run(*args, "--format", "ome-tiff").code == 0
    with OpenSlide(tmp_path / "8863" / "mosaic.ome.tif") as slide:
        assert slide.dimensions == size
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(mpp_out, rel=1e-4)


@pytest.mark.parametrize("mpp_out", [1.0, 2.6])
def test_a_slide_at_another_scale(run: Run, tmp_path: Path, mpp_out: float) -> None:
    pixels = smooth_tissue(700, 1_400)
    path = write_slide(tmp_path / "a.tiff", pixels, 1.0, levels=2)
    args = ("mosaic", "slide", path, "--out", tmp_path / "out", "--mpp-out", mpp_out)
    assert run(*args).code == 0
    with Image.open(tmp_path / "out" / "a.tiff" / "mosaic.png") as picture:
        assert picture.size == (round(1_400 / mpp_out), round(700 / mpp_out))
        x, y = 400, 300
        seen = np.asarray(picture)[int(y / mpp_out), int(x / mpp_out)].astype(int)
        assert np.abs(seen - pixels[y, x]).max() <= 4
    assert run(*args, "--format", "ome-zarr").code == 0


def test_a_scale_finer_than_what_is_known(run: Run, patch_set: Path, tmp_path: Path) -> None:
    ran = run("mosaic", "patient", 8863, "--data", patch_set, "--out", tmp_path, "--mpp-out", 4)
    assert ran.code == 2
    assert "have 8 µm/px: a mosaic cannot be finer" in ran.err
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(700, 1_400), 1.0, levels=1)
    ran = run("mosaic", "slide", path, "--out", tmp_path, "--mpp-out", 0.25)
    assert ran.code == 2
    assert "too coarse for 0.25 µm/px" in ran.err
    wide = write_slide(tmp_path / "wide.tiff", smooth_tissue(100, 8_300), 1.0, levels=1)
    ran = run("mosaic", "slide", wide, "--out", tmp_path / "out", "--mpp-out", 1)
    assert ran.code == 2
    assert "--format ome-tiff, or a coarser --mpp-out" in ran.err


def test_what_is_damaged_is_left_out_of_the_mosaic(run: Run, tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(1_300, 1_300), 2.0, tile=400)
    with Slide(path, tissue_mask=False) as slide:
        whole = slide.region(0, 0, *slide.mosaic_px)
    damage(path, 5, b"\x00")
    args = ("--format", "ome-zarr", "--out", tmp_path / "out")
    ran = run("mosaic", "slide", path, *args)
    assert ran.code == 1
    assert "nothing can be read at x" in ran.err
    group = zarr.open_group(tmp_path / "out" / "a.tiff" / "mosaic.ome.zarr", mode="r")
    mosaic = np.moveaxis(np.asarray(group["0"]), 0, 2)
    np.testing.assert_array_equal(mosaic[:90], whole[:90])
    assert (mosaic[115:185, 115:185] == 255).all()


@pytest.mark.usefixtures("demo")
def test_a_phantom_says_so(run: Run, tmp_path: Path) -> None:
    assert run("mosaic", "patient", 90_001, "--data", "demo", "--out", tmp_path, "--format", "ome-tiff").code == 0
    path = tmp_path / "90001" / "mosaic.ome.tif"
    with Slide(path, tissue_mask=False) as slide:
        assert slide.kind == "phantom"
        assert slide.size_px == open_case(90_001, "demo").size_px
    assert run("mosaic", "patient", 8863, "--data", "demo", "--out", tmp_path).code == 2


def test_an_unreadable_patch_is_told(run: Run, patch_set: Path, tmp_path: Path) -> None:
    broken = next(patch_set.glob("8863/*/*_x51_y1_*.png"))
    broken.write_bytes(b"")
    for form in ("png", "ome-tiff"):
        ran = run("mosaic", "patient", 8863, "--data", patch_set, "--out", tmp_path / "out", "--format", form)
        assert ran.code == 1
        assert broken.name in ran.err


def test_options_that_do_not_fit_the_format(run: Run, patch_set: Path, tmp_path: Path) -> None:
    for option in (("--compression", "deflate"), ("--ome-zarr", "0.5")):
        ran = run("mosaic", "patient", 8863, "--data", patch_set, "--out", tmp_path / "out", *option)
        assert ran.code == 2
        assert "goes with --format" in ran.err


def test_a_mosaic_lasts_as_long_as_the_slide(run: Run, patch_set: Path, tmp_path: Path) -> None:
    args = ("patient", 8863, "--data", patch_set, "--out", tmp_path / "out")
    made = [tmp_path / "out" / "8863" / name for name in ("mosaic.png", "mosaic.ome.zarr")]
    for form in ("png", "ome-zarr"):
        assert run("mosaic", *args, "--format", form).code == 0
    for threshold in (0.3, 0.6):
        assert run("score", *args, "--threshold", threshold).code == 0
        assert all(path.exists() for path in made)
    next(patch_set.glob("8863/*/*_x51_y1_*.png")).unlink()
    assert run("score", *args).code == 0
    assert not any(path.exists() for path in made)


def test_a_mosaic_of_unknown_origin_is_another_slides(run: Run, patch_set: Path, tmp_path: Path) -> None:
    """A run that is killed while it draws leaves no run.json; the file is then replaced by another slide."""
    args = ("patient", 8863, "--data", patch_set, "--out", tmp_path / "out")
    folder = tmp_path / "out" / "8863"
    assert run("heatmap", *args, "--geojson", "none").code == 0
    assert not (folder / ".mosaics.json").exists()
    (folder / "run.json").unlink()
    next(patch_set.glob("8863/*/*_x51_y1_*.png")).unlink()
    assert run("score", *args).code == 0
    assert not (folder / "mosaic.png").exists()


def test_a_mosaic_made_over_the_scores_of_another_slide(run: Run, patch_set: Path, tmp_path: Path) -> None:
    args = ("patient", 8863, "--data", patch_set, "--out", tmp_path / "out")
    mosaic = tmp_path / "out" / "8863" / "mosaic.ome.tif"
    patch = next(patch_set.glob("8863/*/*_x51_y1_*.png"))
    content = patch.read_bytes()
    assert run("score", *args).code == 0
    patch.unlink()
    assert run("mosaic", *args, "--format", "ome-tiff").code == 0
    patch.write_bytes(content)
    assert run("score", *args).code == 0
    assert not mosaic.exists()
