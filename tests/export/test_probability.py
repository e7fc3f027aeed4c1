"""The grid of probabilities and the overlay, laid over the mosaic as other programs read them."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from openslide import OpenSlide
from tifffile import TiffFile

from tests.conftest import tissue_like
from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc._util.files import remove
from wsi_idc.datasets.case import LoadedCase
from wsi_idc.datasets.idc import IdcDataset
from wsi_idc.export.ome_tiff import write_ome_tiff
from wsi_idc.export.ome_zarr import write_ome_zarr
from wsi_idc.export.overlay_image import overlay_array, place_at_patch_scale, write_overlay_tiff
from wsi_idc.export.probability import probability_grid, write_probability_tiff, write_probability_zarr
from wsi_idc.export.pyramid import halve
from wsi_idc.export.slide_image import mosaic_array, write_mosaic_tiff, write_mosaic_zarr
from wsi_idc.geometry import IDC_PATCH, tile_edges, tile_numbers
from wsi_idc.phantom import as_case, paint_slide
from wsi_idc.plotting.mosaic import rebuild_mosaic
from wsi_idc.plotting.overlay import paint_overlay
from wsi_idc.plotting.style import Style
from wsi_idc.plotting.watermark import stamp_phantom
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.slides.slide import Slide
from wsi_idc.source import Patch, PatchSource

VERSIONS: tuple[Literal["0.4", "0.5"], ...] = ("0.4", "0.5")
STYLE = Style("viridis", 0.6)


def score_made(source: PatchSource, unreadable: tuple[int, ...] = (), threshold: float = 0.5) -> Scores:
    """Another probability for every patch, so that none can stand for another."""
    count = len(source.patches)
    prob = np.random.default_rng(0).permutation((np.arange(count) + 0.5) / count).astype(np.float32)
    prob[list(unreadable)] = np.nan
    return make_scores(source.slide, source.patches, np.stack([1 - prob, prob], axis=1), threshold)


def case_of(kept: NDArray[np.bool_], number: str = "8863", right: int = 38, bottom: int = 42) -> LoadedCase:
    """A case with a patch of noise wherever `kept` says so; the last column and row are cut."""
    rows, columns = kept.shape
    patches = [
        Patch(x * 50, y * 50, right if x == columns - 1 else 50, bottom if y == rows - 1 else 50, 0)
        for y, x in np.argwhere(kept).tolist()
    ]
    pixels = np.full((len(patches), 50, 50, 3), 255, dtype=np.uint8)
    for i, patch in enumerate(patches):
        pixels[i, : patch.height, : patch.width] = tissue_like(i, patch.height, patch.width)
    return LoadedCase(number, "made", patches, pixels, "0" * 64)


def holes(columns: int, rows: int) -> NDArray[np.bool_]:
    """Nine of ten places, the far corner among them."""
    kept = np.random.default_rng(columns).random((rows, columns)) < 0.9
    kept[-1, -1] = True
    return kept


def read_tiff(path: Path) -> tuple[NDArray, tuple[float, float]]:
    """Pixels, and the scale in µm/px as OME-XML says it."""
    with TiffFile(path) as tiff:
        assert tiff.is_ome
        (series,) = tiff.series
        words = dict(word.split("=") for word in tiff.ome_metadata.split() if word.startswith("PhysicalSize"))
        scale = tuple(float(words[f"PhysicalSize{axis}"].split('"')[1]) for axis in "XY")
        assert tiff.pages[0].get_resolution("micrometer") == pytest.approx((1 / scale[0], 1 / scale[1]))
        return series.asarray(), scale  # type: ignore[return-value]


def read_zarr(path: Path) -> tuple[NDArray, list[dict]]:
    """Pixels of level 0 in ome-zarr-py, and where it says that they lie."""
    io, reader = pytest.importorskip("ome_zarr.io"), pytest.importorskip("ome_zarr.reader")
    (node,) = reader.Reader(io.parse_url(path))()
    return node.data[0].compute(), node.metadata["coordinateTransformations"][0]


def enlarged(grid: NDArray, shape: tuple[int, int]) -> NDArray:
    """The grid at the scale of the mosaic, what reaches beyond it cut off."""
    large = np.repeat(np.repeat(grid, 50, axis=0), 50, axis=1)
    assert 0 <= large.shape[0] - shape[0] < 50
    assert 0 <= large.shape[1] - shape[1] < 50
    return large[: shape[0], : shape[1]]


def painted_boxes(source: PatchSource, scores: Scores) -> NDArray[np.float32]:
    """The probability in each pixel of the mosaic, where the patch's own pixels are found in the mosaic."""
    mosaic = mosaic_array(source).compute()
    expected = np.full(mosaic.shape[:2], np.nan, dtype=np.float32)
    block = source.read(0, len(source.patches))
    for i, (patch, pixels) in enumerate(zip(source.patches, block.pixels, strict=True)):
        height, width = (
            min(50, max(1, round(side * mpp / IDC_PATCH.mpp)))
            for side, mpp in zip((patch.height, patch.width), source.mpp[::-1], strict=True)
        )
        y, x = (
            round(side * mpp / IDC_PATCH.um) * 50
            for side, mpp in zip((patch.y, patch.x), source.mpp[::-1], strict=True)
        )
        where = slice(y, y + height), slice(x, x + width)
        np.testing.assert_array_equal(mosaic[where], pixels[:height, :width])
        expected[where] = scores.prob[i]
    return expected


@settings(max_examples=200)
@given(st.floats(0.05, 100), st.integers(1, 100_000))
def test_a_tiles_edge_tells_its_number(mpp: float, length: int) -> None:
    edges = np.array(tile_edges(length, mpp, IDC_PATCH.um)[:-1])
    np.testing.assert_array_equal(tile_numbers(edges, mpp, IDC_PATCH.um), np.arange(len(edges)))


def test_a_case(tmp_path: Path) -> None:
    source = case_of(holes(9, 7))
    scores = score_made(source, unreadable=(3, 11))
    write_probability_tiff(scores, source, tmp_path / "p.ome.tif")
    mosaic, scale = read_tiff(write_mosaic_tiff(source, tmp_path, compression="deflate"))
    grid, grid_scale = read_tiff(tmp_path / "p.ome.tif")
    assert grid.dtype == np.float32
    assert grid_scale == (50 * scale[0], 50 * scale[1]) == (400, 400)
    large = enlarged(grid, mosaic.shape[:2])
    # Patches that cannot be read are in the mosaic here, but have no probability.
    np.testing.assert_array_equal(large, np.where((mosaic == 255).all(axis=2), np.nan, painted_boxes(source, scores)))
    for i in (3, 11):
        patch = source.patches[i]
        assert np.isnan(large[patch.y, patch.x])
    with TiffFile(tmp_path / "p.ome.tif") as tiff:
        assert 'Name="8863 probability of IDC"' in str(tiff.ome_metadata)
        assert 'Name="prob_idc"' in str(tiff.ome_metadata)
        assert tiff.pages[0].photometric.name == "MINISBLACK"


@pytest.mark.parametrize("mpp", [0.2525, 0.499, 1.0, 2.7, 4.3])
def test_a_raw_slide(tmp_path: Path, mpp: float) -> None:
    side = int(700 / mpp)
    pixels = smooth_tissue(side, side + 91)
    with Slide(write_slide(tmp_path / "a.tiff", pixels, None), mpp=mpp, tissue_mask=False) as source:
        scores = score_made(source)
        expected = painted_boxes(source, scores)
        write_probability_tiff(scores, source, tmp_path / "p.ome.tif")
        large = enlarged(read_tiff(tmp_path / "p.ome.tif")[0], expected.shape)
        boxes = place_at_patch_scale(scores, source.mpp, source.patch)
        np.testing.assert_array_equal(
            np.column_stack([boxes.left, boxes.top, boxes.right - boxes.left, boxes.bottom - boxes.top]),
            source.tile_places,
        )
    covered = ~np.isnan(expected)
    np.testing.assert_array_equal(large[covered], expected[covered])
    # Tiles of a scale coarser than the patches may leave a row or column of pixels between them.
    assert covered.all() or mpp > IDC_PATCH.mpp


def test_a_slide_with_other_scales_along_x_and_y() -> None:
    patches = [
        Patch(left, top, right - left, bottom - top)
        for top, bottom in itertools.pairwise(tile_edges(4_000, 0.7, IDC_PATCH.um))
        for left, right in itertools.pairwise(tile_edges(6_000, 0.301, IDC_PATCH.um))
    ]

    class Facts:
        slide, size_px, mpp, patch = "a", (6_000, 4_000), (0.301, 0.7), IDC_PATCH

    facts = Facts()
    facts.patches = patches  # type: ignore[attr-defined]
    scores = score_made(facts)  # type: ignore[arg-type]
    grid = probability_grid(scores, facts)  # type: ignore[arg-type]
    assert grid.shape == (7, 5)
    np.testing.assert_array_equal(grid.ravel(), scores.prob_idc.astype(np.float32))


def test_context_is_what_is_shown(tmp_path: Path) -> None:
    source = case_of(holes(6, 6))
    scores = score_made(source).with_context(1.0)
    write_probability_tiff(scores, source, tmp_path / "p.ome.tif")
    grid, _ = read_tiff(tmp_path / "p.ome.tif")
    assert scores.prob_idc_context is not None
    np.testing.assert_array_equal(grid[~np.isnan(grid)], scores.prob_idc_context.astype(np.float32))
    with TiffFile(tmp_path / "p.ome.tif") as tiff:
        assert 'Name="prob_idc_context"' in str(tiff.ome_metadata)


@pytest.mark.parametrize("version", VERSIONS)
def test_zarr_in_ome_zarr_py(tmp_path: Path, version: Literal["0.4", "0.5"]) -> None:
    source = case_of(holes(29, 7))
    scores = score_made(source, unreadable=(5,))
    write_probability_zarr(scores, source, tmp_path / "p.ome.zarr", version=version)
    mosaic, of_mosaic = read_zarr(write_mosaic_zarr(source, tmp_path, version=version))
    pixels, of_pixels = read_zarr(tmp_path / "p.ome.zarr")
    assert (pixels.dtype, pixels.shape) == (np.float32, (1, *mosaic.shape[1:]))
    # Nothing but the same scale: that lies over the mosaic in any reader, wherever it puts a pixel's centre.
    assert of_pixels == of_mosaic == [{"type": "scale", "scale": [1, 8, 8]}]
    np.testing.assert_array_equal(pixels[0], painted_boxes(source, scores))
    np.testing.assert_array_equal(pixels[0], enlarged(probability_grid(scores, source), mosaic.shape[1:]))


def test_zarr_of_a_raw_slide(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(2_400, 2_700), None)
    with Slide(path, mpp=0.998, tissue_mask=False) as source:
        scores = score_made(source)
        write_probability_zarr(scores, source, tmp_path / "p.ome.zarr")
        np.testing.assert_array_equal(read_zarr(tmp_path / "p.ome.zarr")[0][0], painted_boxes(source, scores))


@pytest.mark.parametrize("version", VERSIONS)
def test_zarr_in_napari(tmp_path: Path, version: Literal["0.4", "0.5"]) -> None:
    napari_ome_zarr = pytest.importorskip("napari_ome_zarr")
    layers = pytest.importorskip("napari.layers")
    source = case_of(holes(9, 7))
    scores = score_made(source)
    write_probability_zarr(scores, source, tmp_path / "p.ome.zarr", version=version)
    write_mosaic_zarr(source, tmp_path, version=version)
    shown = []
    for name in ("mosaic.ome.zarr", "p.ome.zarr"):
        ((levels, about, kind),) = napari_ome_zarr.napari_get_reader(str(tmp_path / name))()
        assert kind == "image"
        shown.append(layers.Image(np.asarray(levels[0][0]), scale=about["scale"], affine=about["affine"]))
    assert (about["name"], about["contrast_limits"]) == (["8863 probability of IDC: prob_idc"], [[0, 1]])
    mosaic, probability = shown
    np.testing.assert_array_equal(mosaic.extent.world, probability.extent.world)
    for i, patch in enumerate(source.patches):
        for x, y in ((patch.x, patch.y), (patch.x + patch.width - 1, patch.y + patch.height - 1)):
            assert probability.get_value(mosaic.data_to_world((y, x)), world=True) == np.float32(scores.prob_idc[i])


@pytest.mark.parametrize("write", [write_probability_tiff, write_probability_zarr])
def test_a_slide_without_tissue(tmp_path: Path, write: Callable[..., None]) -> None:
    with Slide(write_slide(tmp_path / "a.tiff", np.full((900, 1_250, 3), 255, np.uint8), 2.0)) as source:
        assert not len(source.patches)
        scores = make_scores("a", [], np.empty((0, 2), np.float32), 0.5)
        write(scores, source, tmp_path / "p")
        assert np.isnan(probability_grid(scores, source)).all()
        np.testing.assert_array_equal(overlay_array(source, scores, STYLE).compute(), mosaic_array(source).compute())
    pixels = read_tiff(tmp_path / "p")[0] if write is write_probability_tiff else read_zarr(tmp_path / "p")[0][0]
    assert pixels.shape == ((5, 7) if write is write_probability_tiff else (225, 312))
    assert np.isnan(pixels).all()


def test_a_patch_off_the_grid_goes_to_the_nearest_place() -> None:
    patches = [Patch(0, 0, 50, 50), Patch(63, 4, 50, 50)]
    source = LoadedCase("8863", "made", patches, np.zeros((2, 50, 50, 3), np.uint8), "0" * 64)
    scores = score_made(source)
    np.testing.assert_array_equal(probability_grid(scores, source)[0, :2], scores.prob_idc.astype(np.float32))
    assert place_at_patch_scale(scores, source.mpp, source.patch).left.tolist() == [0, 63]


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_halving_leaves_out_what_is_not_known(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.random((height, width, 1)).astype(np.float32)
    pixels[random.random(pixels.shape) < 0.4] = np.nan
    halved = halve(pixels)
    assert (halved.dtype, halved.shape) == (np.float32, (-(-height // 2), -(-width // 2), 1))
    for y, x in np.argwhere(np.ones(halved.shape[:2])):
        square = pixels[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        if np.isnan(square).all():
            assert np.isnan(halved[y, x, 0])
        elif square.shape[:2] == (2, 2):
            assert halved[y, x, 0] == pytest.approx(np.nanmean(square), rel=1e-6)
        else:
            assert np.nanmin(square) <= halved[y, x, 0] <= np.nanmax(square)


def test_levels_of_float32(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((700, 1_100, 1)).astype(np.float32)
    image = da.from_array(pixels, chunks=300)
    write_ome_tiff(tmp_path / "a.ome.tif", image, (8.0, 4.0), compression="deflate")
    with TiffFile(tmp_path / "a.ome.tif") as tiff:
        levels = [level.asarray() for level in tiff.series[0].levels]
    for level in levels[1:]:
        pixels = halve(pixels)
        np.testing.assert_array_equal(level, pixels[..., 0])
    write_ome_zarr(tmp_path / "a.ome.zarr", image, (8.0, 4.0))
    io, reader = pytest.importorskip("ome_zarr.io"), pytest.importorskip("ome_zarr.reader")
    (node,) = reader.Reader(io.parse_url(tmp_path / "a.ome.zarr"))()
    for level, expected in zip(node.data, levels, strict=True):
        np.testing.assert_array_equal(level[0].compute(), expected)


@pytest.mark.parametrize(
    "pixels", [np.zeros((9, 9, 3), np.float32), np.zeros((9, 9, 1), np.uint8), np.zeros((9, 9), np.float32)]
)
@pytest.mark.parametrize("write", [write_ome_tiff, write_ome_zarr])
def test_other_pixels_are_refused(tmp_path: Path, write: Callable[..., None], pixels: NDArray) -> None:
    with pytest.raises(ValueError, match="neither RGB nor one channel"):
        write(tmp_path / "a", da.from_array(pixels), (4.0, 4.0))
    assert list(tmp_path.iterdir()) == []


def test_float32_is_no_jpeg(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="deflate"):
        write_ome_tiff(tmp_path / "a", da.zeros((9, 9, 1), dtype=np.float32), (4.0, 4.0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (9, 7), (12, 23), (45, 3)])
def test_the_overlay_of_blocks_is_that_of_the_whole(tmp_path: Path, columns: int, rows: int) -> None:
    source = case_of(holes(columns, rows), right=50)
    scores = score_made(source, unreadable=tuple(range(2, len(source.patches), 13)))
    expected = paint_overlay(rebuild_mosaic(source), scores, STYLE)
    np.testing.assert_array_equal(overlay_array(source, scores, STYLE).compute(), expected)
    write_overlay_tiff(source, scores, STYLE, tmp_path / "o.ome.tif", compression="deflate")
    pixels, scale = read_tiff(tmp_path / "o.ome.tif")
    np.testing.assert_array_equal(pixels, expected)
    assert scale == (8, 8)
    with OpenSlide(tmp_path / "o.ome.tif") as slide:
        assert slide.dimensions == expected.shape[1::-1]
        assert float(slide.properties["openslide.mpp-x"]) == 8
        read = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("what", ["overlay", "probability"])
def test_memory_does_not_grow_with_the_slide(tmp_path: Path, what: str) -> None:
    peaks_bytes = []
    for columns in (180, 180, 720):
        kept = np.zeros((12, columns), dtype=bool)
        kept[::5, :180:7] = kept[-1, -1] = True
        source = case_of(kept)
        scores = score_made(source)
        tracemalloc.start()
        if what == "overlay":
            write_overlay_tiff(source, scores, STYLE, tmp_path / "out")
        else:
            write_probability_zarr(scores, source, tmp_path / "out")
        peaks_bytes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        remove(tmp_path / "out")
    # The first run also loads what stays loaded.
    assert peaks_bytes[2] < 1.4 * peaks_bytes[1]


def test_the_overlay_of_a_raw_slide_covers_its_tiles(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(2_400, 2_700), 0.998)
    with Slide(path, tissue_mask=False) as source:
        scores = score_made(source, threshold=1.0)
        with OpenSlide(written_overlay(source, scores, tmp_path)) as slide:
            assert slide.dimensions == source.mosaic_px
            painted = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
        plain = mosaic_array(source).compute()
    grid = enlarged(probability_grid(scores, source), plain.shape[:2])
    colours = Style().opacity * colour_of(grid)
    grey = 0.45 * (plain @ np.float32([0.299, 0.587, 0.114]))[..., None]
    np.testing.assert_allclose(painted, colours + grey, atol=1.5)


def colour_of(prob: NDArray[np.float32]) -> NDArray[np.float64]:
    from matplotlib import colormaps

    return colormaps["cividis"](prob.astype(np.float64))[..., :3] * 255


def written_overlay(source: PatchSource, scores: Scores, folder: Path) -> Path:
    write_overlay_tiff(source, scores, Style(), folder / "o.ome.tif", compression="deflate")
    return folder / "o.ome.tif"


def test_the_overlay_of_a_phantom_says_so(tmp_path: Path) -> None:
    source = as_case(paint_slide("90001", 7, 642, 585))
    scores = score_made(source)
    expected = stamp_phantom(paint_overlay(rebuild_mosaic(source), scores, Style()))
    np.testing.assert_array_equal(overlay_array(source, scores, Style()).compute(), expected)
    path = written_overlay(source, scores, tmp_path)
    with TiffFile(path) as tiff:
        assert 'Name="wsi-idc phantom case 90001 overlay"' in str(tiff.ome_metadata)
    with Slide(path, tissue_mask=False) as slide:
        assert slide.kind == "phantom"
    write_probability_tiff(scores, source, tmp_path / "p.ome.tif")
    with TiffFile(tmp_path / "p.ome.tif") as tiff:
        assert 'Name="wsi-idc phantom case 90001 probability of IDC"' in str(tiff.ome_metadata)


def test_what_cannot_be_read_is_told(patch_set: Path, tmp_path: Path) -> None:
    broken = sorted((patch_set / "8863").rglob("*.png"))[0]
    broken.write_bytes(b"no PNG")
    with IdcDataset(patch_set) as dataset:
        source = dataset.case("8863")
        unreadable = tuple(np.flatnonzero(~source.read(0, 12).readable).tolist())
        scores = score_made(source, unreadable)
        told: list[tuple[int, int]] = []
        write_overlay_tiff(
            source, scores, Style(), tmp_path / "o.ome.tif", on_block=lambda done, total: told.append((done, total))
        )
        assert told == [(1, 1)]
        assert len(source.lost) == 1


@pytest.mark.parametrize("write", [write_probability_tiff, write_probability_zarr])
def test_the_same_scores_make_the_same_files(tmp_path: Path, write: Callable[..., None]) -> None:
    source = case_of(holes(9, 7))
    contents = []
    for name in ("a", "b"):
        write(score_made(source), source, tmp_path / name)
        files = [tmp_path / name] if (tmp_path / name).is_file() else sorted((tmp_path / name).rglob("*"))
        contents.append([file.read_bytes() for file in files if file.is_file()])
    assert contents[0] == contents[1]
