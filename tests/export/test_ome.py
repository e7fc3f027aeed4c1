"""TIFF, OME-TIFF and OME-Zarr, read back through the libraries that users open them with."""

from __future__ import annotations

import errno
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from openslide import OpenSlide
from tifffile import TiffFile

from tests.conftest import tissue_like
from tests.limits import file_size_limit
from wsi_idc.errors import OutputError
from wsi_idc.export.ome_tiff import write_ome_tiff, write_tiff
from wsi_idc.export.ome_zarr import write_ome_zarr
from wsi_idc.export.pyramid import OnBlock, halve, level_sizes
from wsi_idc.io.opening import open_reader
from wsi_idc.io.openslide_reader import OpenSlideReader
from wsi_idc.slides.slide import Slide

MPP = (4.0, 3.5)
SIZE = (540, 2103)
VERSIONS: tuple[Literal["0.4", "0.5"], ...] = ("0.4", "0.5")

Write = Callable[..., None]
each = pytest.mark.parametrize("write", [write_tiff, write_ome_tiff, write_ome_zarr])
each_tiff = pytest.mark.parametrize("write", [write_tiff, write_ome_tiff])


def source(pixels: NDArray[np.uint8], chunk: int = 300) -> da.Array:
    """As a slide that is read lazily, in chunks that fit no tile."""
    return da.from_array(pixels, chunks=(chunk, chunk + 100, 3))


def painted(height: int, width: int) -> NDArray[np.uint8]:
    """Slow gradients, where JPEG should change next to nothing, and a red bar that tells channels apart."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([160 + x * 80 // width, 90 + y * 80 // height, 150 + x * 0], axis=2).astype(np.uint8)
    pixels[height // 3 : height // 2] = (250, 10, 20)
    return pixels


def pyramid(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    levels = [pixels]
    while max(levels[-1].shape) > 512:
        levels.append(halve(levels[-1]))
    return levels


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def tiff_levels(path: Path) -> list[NDArray[np.uint8]]:
    with TiffFile(path) as tiff:
        return [level.asarray() for level in (tiff.series[0].levels if tiff.is_ome else tiff.pages)]


def zarr_levels(path: Path) -> list[NDArray[np.uint8]]:
    group = zarr.open_group(path, mode="r")
    return [np.moveaxis(np.asarray(group[str(k)]), 0, 2) for k in range(len(list(group)))]


def assert_same(levels: list[NDArray[np.uint8]], expected: list[NDArray[np.uint8]]) -> None:
    assert len(levels) == len(expected)
    for one, other in zip(levels, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(max_examples=30)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 9))
def test_halving_is_the_rounded_mean_of_what_is_there(height: int, width: int, seed: int) -> None:
    pixels = tissue_like(seed, height, width)
    halved = halve(pixels)
    assert halved.shape == (-(-height // 2), -(-width // 2), 3)
    for y, x in np.ndindex(halved.shape[:2]):
        mean = pixels[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean(axis=(0, 1))
        np.testing.assert_array_equal(halved[y, x], np.floor(mean + 0.5))


def test_levels_end_with_the_first_that_fits_a_tile() -> None:
    assert level_sizes((512, 512)) == [(512, 512)]
    assert level_sizes((513, 1)) == [(513, 1), (257, 1)]
    assert level_sizes(SIZE) == [SIZE, (270, 1052), (135, 526), (68, 263)]


@settings(max_examples=6)
@given(st.integers(1, 1100), st.integers(1, 1100), st.sampled_from(VERSIONS))
@example(1, 1, "0.4")
@example(1, 1, "0.5")
@example(513, 1025, "0.4")
def test_any_size_comes_back_exactly(height: int, width: int, version: Literal["0.4", "0.5"]) -> None:
    pixels = tissue_like(height, height, width)
    expected = pyramid(pixels)
    with TemporaryDirectory() as folder:
        tiff, store = Path(folder) / "a.ome.tif", Path(folder) / "a.ome.zarr"
        write_ome_tiff(tiff, source(pixels), MPP, compression="deflate")
        assert_same(tiff_levels(tiff), expected)
        with OpenSlide(tiff) as slide:
            read = slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")
        np.testing.assert_array_equal(np.asarray(read), pixels)
        write_ome_zarr(store, source(pixels), MPP, version=version)
        assert_same(zarr_levels(store), expected)


def test_jpeg_keeps_colours_in_all_levels_and_readers(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    pixels = painted(*SIZE)
    write_ome_tiff(path, source(pixels), MPP)
    levels = tiff_levels(path)
    for level, expected in zip(levels, pyramid(pixels), strict=True):
        assert np.abs(level.astype(int) - expected).mean() < 1.5
        # At the red bar's edges.
        np.testing.assert_allclose(level, expected, rtol=0, atol=40)
    with OpenSlide(path) as slide:
        read = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    np.testing.assert_allclose(read, levels[0], rtol=0, atol=2)


@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
def test_tiff_tells_scale_and_name(tmp_path: Path, compression: Literal["jpeg", "deflate"]) -> None:
    path = tmp_path / "a.ome.tif"
    write_ome_tiff(path, source(painted(*SIZE)), MPP, compression=compression, name="Größe <1>\n")
    with TiffFile(path) as tiff:
        assert tiff.is_ome
        assert not tiff.is_bigtiff
        assert len(tiff.pages) == 1
        assert len(tiff.pages[0].subifds) == 3
        # Bio-Formats shows wrong colours where chroma is in full.
        assert tiff.pages[0].subsampling == ((2, 1) if compression == "jpeg" else None)
        assert tiff.ome_metadata is not None
        for told in ('PhysicalSizeX="4.0"', 'PhysicalSizeY="3.5"', 'PhysicalSizeXUnit="µm"', 'Name="Größe &lt;1&gt; "'):
            assert told in tiff.ome_metadata
        for k, level in enumerate(tiff.series[0].levels):
            page = level.pages[0]
            assert page.is_tiled
            assert page.get_resolution("micrometer") == pytest.approx((1 / (4 * 2**k), 1 / (3.5 * 2**k)))
            assert page.tags["ResolutionUnit"].value.name == "CENTIMETER"
    with OpenSlide(path) as slide:
        assert slide.dimensions == SIZE[::-1]
        assert float(slide.properties["openslide.mpp-x"]) == 4
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(3.5)


@each_tiff
def test_a_large_slide_makes_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setattr("wsi_idc.export.ome_tiff._CLASSIC_BYTES", 1_000_000)
    path = tmp_path / "a.tif"
    pixels = tissue_like(0, *SIZE)
    write(path, source(pixels), MPP, compression="deflate")
    with TiffFile(path) as tiff:
        assert tiff.is_bigtiff
    assert_same(tiff_levels(path), pyramid(pixels))
    with OpenSlide(path) as slide:
        assert slide.dimensions == SIZE[::-1]


def test_openslide_reads_all_levels_of_a_plain_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = tissue_like(0, *SIZE)
    write_tiff(path, source(pixels), MPP, compression="deflate")
    expected = pyramid(pixels)
    with OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == "generic-tiff"
        assert float(slide.properties["openslide.mpp-x"]) == 4
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(3.5)
        assert slide.level_dimensions == tuple(level.shape[1::-1] for level in expected)
        read = [
            np.asarray(slide.read_region((0, 0), k, size).convert("RGB"))
            for k, size in enumerate(slide.level_dimensions)
        ]
    assert_same(read, expected)
    with TiffFile(path) as tiff:
        assert not tiff.is_bigtiff
        assert [page.subfiletype for page in tiff.pages] == [0, 1, 1, 1]
        for k, page in enumerate(tiff.pages):
            assert page.get_resolution("micrometer") == pytest.approx((1 / (4 * 2**k), 1 / (3.5 * 2**k)))
            assert page.tags["ResolutionUnit"].value.name == "CENTIMETER"


def test_a_plain_tiff_as_a_slide(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = painted(1_200, 1_600)
    write_tiff(path, source(pixels), (1.0, 1.0))
    with open_reader(path) as reader:
        assert isinstance(reader, OpenSlideReader)
        assert len(reader.levels) == 3
    with Slide(path, tissue_mask=False) as slide:
        assert slide.mpp == pytest.approx((1.0, 1.0))
        assert slide.mpp_source == "file"
        first = pixels[:400, :400].reshape(50, 8, 50, 8, 3).mean(axis=(1, 3))
        # JPEG rings beside the red bar.
        np.testing.assert_allclose(slide.read(0, 1).pixels[0][:45], first[:45], rtol=0, atol=3)


@pytest.mark.parametrize(
    ("said", "stored"),
    [("case 90001, seed 7", "case 90001, seed 7"), ("Größe\n4 µm", "Gr??e 4 ?m"), ("", None)],
)
def test_description_of_a_plain_tiff(tmp_path: Path, said: str, stored: str | None) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, source(painted(*SIZE)), MPP, description=said)
    with OpenSlide(path) as slide:
        assert slide.properties.get("tiff.ImageDescription") == stored
        assert slide.level_count == 4
    with TiffFile(path) as tiff:
        assert ["ImageDescription" in page.tags for page in tiff.pages] == [stored is not None, False, False, False]


@each_tiff
@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
def test_the_same_pixels_make_the_same_file(
    tmp_path: Path, write: Write, compression: Literal["jpeg", "deflate"]
) -> None:
    paths = tmp_path / "a.tif", tmp_path / "b.tif"
    for path in paths:
        write(path, source(painted(*SIZE)), MPP, compression=compression)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
def test_zarr_metadata(tmp_path: Path, version: Literal["0.4", "0.5"]) -> None:
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(path, source(painted(*SIZE)), MPP, version=version, name="8863")
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == (2 if version == "0.4" else 3)
    attributes = group.attrs.asdict()
    told = attributes if version == "0.4" else attributes["ome"]
    scales = [level["coordinateTransformations"][0]["scale"] for level in told["multiscales"][0]["datasets"]]
    assert scales == [[1, 3.5 * 2**k, 4 * 2**k] for k in range(4)]
    # The chunk at row 0 and column 2 of the red channel.
    assert (path / "0" / ("0/0/2" if version == "0.4" else "c/0/0/2")).is_file()


@pytest.mark.parametrize("version", VERSIONS)
def test_zarr_in_ome_zarr_py(tmp_path: Path, version: Literal["0.4", "0.5"]) -> None:
    io, reader = pytest.importorskip("ome_zarr.io"), pytest.importorskip("ome_zarr.reader")
    path = tmp_path / "a.ome.zarr"
    pixels = tissue_like(0, *SIZE)
    write_ome_zarr(path, source(pixels), MPP, version=version, name="8863")
    (node,) = reader.Reader(io.parse_url(path))()
    assert_same([np.moveaxis(level.compute(), 0, 2) for level in node.data], pyramid(pixels))
    assert [axis["name"] for axis in node.metadata["axes"]] == ["c", "y", "x"]
    assert node.metadata["channel_names"] == ["Red", "Green", "Blue"]
    assert node.metadata["coordinateTransformations"][1] == [{"type": "scale", "scale": [1, 7, 8]}]


@pytest.mark.parametrize("version", VERSIONS)
def test_zarr_in_napari(tmp_path: Path, version: Literal["0.4", "0.5"]) -> None:
    napari_ome_zarr = pytest.importorskip("napari_ome_zarr")
    path = tmp_path / "a.ome.zarr"
    pixels = tissue_like(0, *SIZE)
    write_ome_zarr(path, source(pixels), MPP, version=version, name="8863")
    ((levels, layer, kind),) = napari_ome_zarr.napari_get_reader(str(path))()
    assert_same([np.moveaxis(level.compute(), 0, 2) for level in levels], pyramid(pixels))
    assert kind == "image"
    assert (layer["channel_axis"], list(layer["scale"])) == (0, [3.5, 4])
    assert layer["name"] == ["8863: Red", "8863: Green", "8863: Blue"]
    assert layer["contrast_limits"] == [[0, 255]] * 3
    np.testing.assert_array_equal([colours.colors[-1][:3] for colours in layer["colormap"]], np.eye(3))


@each
def test_the_files_do_not_depend_on_threads(tmp_path: Path, write: Write) -> None:
    pixels = source(tissue_like(0, *SIZE))
    for name, workers in (("one", {"scheduler": "synchronous"}), ("many", {"scheduler": "threads", "num_workers": 8})):
        (tmp_path / name).mkdir()
        with dask.config.set(workers):
            write(tmp_path / name / "out", pixels, MPP)
    assert files(tmp_path / "one") == files(tmp_path / "many")


@each
def test_every_block_is_told(tmp_path: Path, write: Write) -> None:
    told: list[tuple[int, int]] = []
    write(tmp_path / "out", source(painted(*SIZE)), MPP, on_block=lambda *block: told.append(block))
    assert told == [(k, len(told)) for k in range(1, len(told) + 1)]
    assert len(told) == (10 + 3 + 2 + 1 if write is not write_ome_zarr else 2 + 1 + 1 + 1)


@each
def test_memory_does_not_grow_with_the_slide(tmp_path: Path, write: Write) -> None:
    pixels = da.full((600, 24_000, 3), 200, chunks=(512, 512, 3), dtype=np.uint8)
    tracemalloc.start()
    write(tmp_path / "out", pixels, MPP)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 0.8 * pixels.nbytes


def stop_after(blocks: int, error: BaseException) -> OnBlock:
    def on_block(done: int, total: int) -> None:
        if done == blocks:
            raise error

    return on_block


@each
@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("stop")])
def test_a_stopped_write_leaves_the_old_and_nothing_else(tmp_path: Path, write: Write, error: BaseException) -> None:
    path = tmp_path / "out"
    for blocks in (1, 3):
        with pytest.raises(type(error)):
            write(path, source(painted(*SIZE)), MPP, on_block=stop_after(blocks, error))
        assert list(tmp_path.iterdir()) == []
    write(path, source(painted(20, 30)), MPP)
    before = files(tmp_path)
    with pytest.raises(type(error)):
        write(path, source(painted(*SIZE)), MPP, on_block=stop_after(3, error))
    assert files(tmp_path) == before


@each
def test_an_older_one_is_replaced(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "out"
    write(path, source(painted(*SIZE)), MPP)
    write(path, source(painted(20, 30)), MPP)
    levels = tiff_levels(path) if write is not write_ome_zarr else zarr_levels(path)
    assert [level.shape for level in levels] == [(20, 30, 3)]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_no_zarr_stays(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="no Zarr"):
        write_ome_zarr(tmp_path / "out", source(painted(20, 30)), MPP)
    assert files(tmp_path) == {"out/thesis.txt": b"mine"}


@each
def test_a_folder_that_cannot_be_written(tmp_path: Path, write: Write) -> None:
    with pytest.raises(OutputError, match="choose another place"):
        write(tmp_path / "none" / "out", source(painted(20, 30)), MPP)


@each
def test_what_the_disk_refuses_is_an_os_error(tmp_path: Path, write: Write) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)) as refused, file_size_limit(100_000):
        write(tmp_path / "out", source(tissue_like(0, *SIZE)), MPP)
    assert not isinstance(refused.value, OutputError)
    assert list(tmp_path.iterdir()) == []
