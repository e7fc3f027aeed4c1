from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from wsi_idc.errors import OptionError, SlideError
from wsi_idc.geometry import IDC_PATCH, tile_edges
from wsi_idc.io.areas import average_areas
from wsi_idc.io.opening import open_reader
from wsi_idc.slides.slide import Slide


def smooth_tissue(height: int, width: int) -> np.ndarray:
    """Pink and violet waves: every place has a colour of its own, and reducing it is harmless."""
    y, x = np.mgrid[:height, :width]
    waves = [0.5 + 0.5 * np.sin(x / 70 + y / (50 + 20 * k) + k) for k in range(3)]
    return np.stack([150 + 60 * waves[0], 70 + 60 * waves[1], 140 + 50 * waves[2]], axis=-1).astype(np.uint8)


def write_slide(path: Path, pixels: np.ndarray, mpp: float | None, levels: int = 1, tile: int = 256) -> Path:
    """A tiled pyramidal TIFF, without loss, its levels halved by averaging."""
    scale = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            step = 2**level
            if level:
                height, width = (size // step * step for size in pixels.shape[:2])
                cut = pixels[:height, :width].reshape(height // step, step, width // step, step, 3)
                reduced = cut.mean(axis=(1, 3)).round().astype(np.uint8)
                if mpp is not None:
                    scale["resolution"] = (1e4 / mpp / step, 1e4 / mpp / step)
            else:
                reduced = pixels
            tiff.write(reduced, tile=(tile, tile), photometric="rgb", compression="deflate", metadata=None, **scale)
    return path


@given(st.floats(0.05, 4.4), st.integers(1, 1_100))
def test_tile_edges_do_not_drift(mpp: float, tiles: int) -> None:
    length = max(1, round(tiles * 400 / mpp))
    edges = tile_edges(length, mpp, IDC_PATCH.um)
    assert (edges[0], edges[-1]) == (0, length)
    steps = np.diff(edges)
    assert (steps > 0).all()
    inner = np.arange(len(edges) - 1)
    assert np.abs(np.array(edges[:-1]) - inner * 400 / mpp).max() <= 0.5
    assert steps[-1] <= 400 / mpp + 1


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32))
def test_area_averages(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    across, down = (np.sort(rng.random(rng.integers(2, 9))) * side for side in (width, height))
    mean = average_areas(pixels, across, down)
    assert mean.shape == (len(down) - 1, len(across) - 1, 3)
    fine = np.repeat(np.repeat(pixels, 50, 0), 50, 1)
    cell = (slice(*np.rint(down[:2] * 50).astype(int)), slice(*np.rint(across[:2] * 50).astype(int)))
    if fine[cell].size and min(np.diff(down)[0], np.diff(across)[0]) > 1:
        np.testing.assert_allclose(mean[0, 0], fine[cell].mean(axis=(0, 1)), atol=12)
    whole = average_areas(pixels, np.array([0.0, width]), np.array([0.0, height]))
    np.testing.assert_allclose(whole[0, 0], pixels.mean(axis=(0, 1)), rtol=1e-4)
    same = average_areas(pixels, np.arange(width + 1.0), np.arange(height + 1.0))
    np.testing.assert_allclose(same, pixels, atol=1e-3)


def test_a_slide_as_a_grid(tmp_path: Path) -> None:
    pixels = smooth_tissue(900, 1_250)
    path = write_slide(tmp_path / "a.tiff", pixels, 2.0)
    with Slide(path, tissue_mask=False) as slide:
        assert (slide.slide, slide.kind, slide.size_px, slide.mpp_source) == ("a.tiff", "slide", (1_250, 900), "file")
        assert slide.mpp == pytest.approx((2.0, 2.0), rel=1e-3)
        assert [(p.x, p.y, p.width, p.height) for p in slide.patches[:7:6]] == [(0, 0, 200, 200), (1_200, 0, 50, 200)]
        assert len(slide.patches) == 7 * 5
        block = slide.read(0, 35)
        assert block.readable.all()
        first = pixels[:200, :200].reshape(50, 4, 50, 4, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(block.pixels[0], first, atol=1)
        cut = block.pixels[-1]
        assert (cut[25:] == 255).all()
        assert (cut[:, 13:] == 255).all()
        np.testing.assert_allclose(
            cut[:25, :12], pixels[800:, 1_200:1_248].reshape(25, 4, 12, 4, 3).mean(axis=(1, 3)), atol=1
        )
        for start in range(0, 35, 4):
            np.testing.assert_array_equal(slide.read(start, start + 4).pixels, block.pixels[start : start + 4])


@pytest.mark.parametrize("mpp", [0.5, 0.998, 1.0, 2.0, 4.0])
def test_the_same_tissue_at_any_scale(tmp_path: Path, mpp: float) -> None:
    fine = smooth_tissue(2_000, 2_400)
    with Slide(write_slide(tmp_path / "fine.tiff", fine, 0.5, levels=4), tissue_mask=False) as slide:
        reference = slide.read(0, len(slide.patches)).pixels
    edges = [np.arange(round(side * 0.5 / mpp) + 1) * (mpp / 0.5) for side in fine.shape[:2]]
    edges = [np.minimum(edge, side) for edge, side in zip(edges, fine.shape[:2], strict=True)]
    pixels = np.rint(average_areas(fine, edges[1], edges[0])).astype(np.uint8)
    for levels in (1, 3):
        with Slide(write_slide(tmp_path / "x.tiff", pixels, None, levels), mpp=mpp, tissue_mask=False) as slide:
            assert slide.mpp_source == "option"
            others = slide.read(0, len(slide.patches)).pixels
        assert others.shape == reference.shape
        assert np.abs(others.astype(int) - reference.astype(int)).mean() < 1.5


def test_scales_that_cannot_be_used(tmp_path: Path) -> None:
    pixels = smooth_tissue(300, 300)
    with pytest.raises(SlideError, match="--mpp"):
        Slide(write_slide(tmp_path / "none.tiff", pixels, None))
    for mpp in (0.01, 352.8, 0.0, float("nan"), float("inf"), -0.5):
        with pytest.raises(SlideError, match=r"0\.05 to 100.*--mpp"):
            Slide(tmp_path / "none.tiff", mpp=mpp)
    with pytest.raises(SlideError, match="--allow-upsampling"):
        Slide(tmp_path / "none.tiff", mpp=16.0)
    with Slide(tmp_path / "none.tiff", mpp=16.0, allow_upsampling=True, tissue_mask=False) as slide:
        assert slide.read(0, 1).pixels[0].std() > 1


def test_files_that_are_no_slide(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="There is no slide file"):
        Slide(tmp_path / "absent.svs")
    (tmp_path / "text.svs").write_text("no slide")
    with pytest.raises(SlideError, match="cannot be read as a slide"):
        Slide(tmp_path / "text.svs")
    whole = write_slide(tmp_path / "whole.tiff", smooth_tissue(300, 300), 2.0).read_bytes()
    (tmp_path / "cut.tiff").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SlideError, match="cannot be read as a slide"):
        Slide(tmp_path / "cut.tiff")


@pytest.mark.parametrize("axes", ["YXS", "CYX"])
def test_ome_tiff(tmp_path: Path, axes: str) -> None:
    pixels = smooth_tissue(500, 700)
    path = tmp_path / "a.ome.tif"
    about = {
        "axes": axes,
        "PhysicalSizeX": 2.0,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 2000,
        "PhysicalSizeYUnit": "nm",
    }
    stored = pixels if axes == "YXS" else np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(path, stored, photometric="rgb", compression="zstd", tile=(256, 256), metadata=about)
    with open_reader(path) as reader:
        assert type(reader).__name__ == "TiffReader"
        assert reader.mpp == (2.0, 2.0)
        np.testing.assert_array_equal(reader.read(0, 10, 20, 30, 40)[..., :3], pixels[20:60, 10:40])
    with Slide(path, tissue_mask=False) as slide:
        first = pixels[:200, :200].reshape(50, 4, 50, 4, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(slide.read(0, 1).pixels[0], first, atol=1)


def damage(path: Path, tile: int, content: bytes | None) -> None:
    """Overwrite a tile of the finest level, or with None make it empty."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        at, length = page.dataoffsets[tile], page.databytecounts[tile]
        counts = page.tags["TileByteCounts"]
    with path.open("r+b") as file:
        if content is None:
            file.seek(counts.valueoffset + 4 * tile)
            file.write(bytes(4))
        else:
            file.seek(at)
            file.write((content * length)[:length])


@pytest.mark.parametrize("content", [b"\x00", None])
def test_a_damaged_tile_is_unreadable_and_the_rest_is_not(tmp_path: Path, content: bytes | None) -> None:
    """The slide's own tile 5 covers pixels 400 to 800 in x and 400 to 800 in y of 1,200 x 1,200: four of ours."""
    pixels = smooth_tissue(1_300, 1_300)
    path = write_slide(tmp_path / "a.tiff", pixels, 2.0, tile=400)
    with Slide(path, tissue_mask=False) as slide:
        whole = slide.read(0, len(slide.patches))
    damage(path, 5, content)
    with Slide(path, tissue_mask=False) as slide:
        block = slide.read(0, len(slide.patches))
        places = [(p.x, p.y) for p, ok in zip(slide.patches, block.readable, strict=True) if not ok]
        assert places == [(400, 400), (600, 400), (400, 600), (600, 600)]
        assert len(block.problems) == 4
        assert "x 400, y 400" in str(block.problems[0])
        np.testing.assert_array_equal(block.pixels[block.readable], whole.pixels[block.readable])
        picture = slide.picture(4)
        np.testing.assert_allclose(
            picture[:90, :90], pixels[:360, :360].reshape(90, 4, 90, 4, 3).mean(axis=(1, 3)), atol=1
        )


def test_outlines_label_the_tiles(tmp_path: Path) -> None:
    """The outline covers the first tile, 85 % of the second, 75 % of the third, and no other."""
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(400, 800), 2.0)
    ring = [[0, 0], [600, 0], [600, 150], [400, 150], [400, 170], [200, 170], [200, 200], [0, 200]]
    outline = {"type": "Polygon", "coordinates": [ring]}
    features = [
        {"type": "Feature", "geometry": outline, "properties": {"classification": {"name": "Tumor"}}},
        {"type": "Feature", "geometry": outline, "properties": {"classification": {"name": "Stroma"}}},
    ]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with Slide(path, tissue_mask=False, labels=tmp_path / "a.geojson") as slide:
        assert [patch.label for patch in slide.patches] == [1, 1, 0, 0, 0, 0, 0, 0]
        assert slide.problems == ()
        assert slide.labels_from is not None
        assert slide.labels_from["classes"] == {
            "Tumor": {"outlines": 1, "counted_as": "idc"},
            "Stroma": {"outlines": 1, "counted_as": "not counted"},
        }
    with Slide(path, tissue_mask=False) as slide:
        assert {patch.label for patch in slide.patches} == {None}
        assert slide.problems == ()
        assert slide.labels_from is None


def test_a_region_of_interest_stands_above_the_mask(tmp_path: Path) -> None:
    """On bare glass: half of a tile is enough, a line less is not."""
    tile = round(IDC_PATCH.um)
    path = write_slide(tmp_path / "a.tiff", np.full((2 * tile, 4 * tile, 3), 244, np.uint8), 1.0)
    ring = [[0, 0], [2 * tile, 0], [2 * tile, tile], [3 * tile, tile], [3 * tile, tile + tile // 2 - 1]]
    ring += [[tile, tile + tile // 2 - 1], [tile, tile + tile // 2], [0, tile + tile // 2]]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    with Slide(path, roi=tmp_path / "a.geojson") as slide:
        assert [(patch.x, patch.y) for patch in slide.patches] == [(0, 0), (tile, 0), (0, tile)]
        assert {patch.label for patch in slide.patches} == {None}
        assert len(str(slide.details["roi_sha256"])) == 64
    far = [[x + 99_000, y] for x, y in ring]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [far]}))
    with (
        Slide(path, roi=tmp_path / "a.geojson") as slide,
        pytest.raises(OptionError, match=r"No tile of .* with --roi"),
    ):
        slide.patches  # noqa: B018


def test_a_slide_in_another_stain_is_told(tmp_path: Path) -> None:
    brown = np.full((800, 800, 3), (150, 110, 70), np.uint8)
    brown[:, 500:] = 240
    with Slide(write_slide(tmp_path / "a.tiff", brown, 2.0)) as slide:
        assert [caution.code for caution in slide.cautions] == ["stain"]


def test_threads_read_around_damage_alike(tmp_path: Path) -> None:
    """One thread's error is not another's, and leaving while others read is no crash."""
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(2_000, 2_000), 2.0, tile=208)
    for tile in range(0, 100, 7):
        damage(path, tile, b"\x00")
    boxes = [(x, y, 63, 41) for y in range(0, 500, 41) for x in range(0, 500, 63)]
    with Slide(path, tissue_mask=False) as slide:
        expected = [slide.region(*box) for box in boxes]
        assert "nothing can be read at x" in str(slide.lost)
    with Slide(path, tissue_mask=False) as slide, ThreadPoolExecutor(8) as pool:
        for one, other in zip(pool.map(lambda box: slide.region(*box), boxes), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    slide = Slide(path, tissue_mask=False)
    with ThreadPoolExecutor(8) as pool:
        reading = [pool.submit(slide.region, *box) for box in boxes]
        slide.close()
    assert all(future.exception() is None for future in reading)


def test_outlines_of_another_slide_are_told(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(400, 800), 2.0)
    ring = [[9000, 9000], [9600, 9000], [9600, 9900]]
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    with Slide(path, tissue_mask=False, labels=tmp_path / "a.geojson") as slide:
        assert "are they of this slide" in str(slide.problems)
