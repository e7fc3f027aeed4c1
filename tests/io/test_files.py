"""Which image of a file is scored, in which units and pixel types, and which files count as one slide."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.damage.dicom import dicom_slide
from wsi_idc.errors import OptionError, SlideError
from wsi_idc.io.opening import open_reader
from wsi_idc.io.openslide_reader import OpenSlideReader
from wsi_idc.phantom import paint_slide
from wsi_idc.slides.slide import Slide

SIDE = 256


def tissue(side: int = SIDE) -> NDArray[np.uint8]:
    return paint_slide("90001", 0, 320, 320).pixels[:side, :side]


def write_ome(path: Path, images: list[tuple[str, NDArray[Any], dict[str, Any]]], subifds: int = 0) -> Path:
    """An OME-TIFF of several images, each with a name; with `subifds`, halved copies below the first page of each."""
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for name, pixels, about in images:
            layout: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "compression": "deflate"}
            told = {"Name": name, "axes": "YXS", **about}
            layout |= {key: told.pop(key) for key in ("photometric", "extrasamples") if key in told}
            tiff.write(pixels, **layout, subifds=subifds, metadata=told)
            for k in range(1, subifds + 1):
                tiff.write(pixels[:: 2**k, :: 2**k], **layout, subfiletype=1)
    return path


def scale(value: float, unit: str = "µm") -> dict[str, Any]:
    return {f"PhysicalSize{axis}": value for axis in "XY"} | {f"PhysicalSize{axis}Unit": unit for axis in "XY"}


@pytest.mark.parametrize("other", ["label image", "Macro", "slide_thumbnail", "MACRO image 1", "label"])
@pytest.mark.parametrize("first", [True, False])
def test_the_largest_that_is_tissue(tmp_path: Path, other: str, first: bool) -> None:
    """Though the other is larger, and wherever it stands."""
    images = [(other, np.zeros((400, 400, 3), np.uint8), {}), ("labelled section", tissue(), scale(0.5))]
    path = write_ome(tmp_path / "a.ome.tif", images if first else images[::-1])
    with open_reader(path) as reader:
        assert (reader.image, reader.mpp) == ("labelled section", (0.5, 0.5))
        assert [(one.name, one.width_px, one.height_px) for one in reader.images] == [(other, 400, 400)]
        np.testing.assert_array_equal(reader.read(0, 5, 7, 20, 30)[..., :3], tissue()[7:37, 5:25])


def test_an_image_by_name_or_number(tmp_path: Path) -> None:
    small = tissue(200)
    path = write_ome(tmp_path / "a.ome.tif", [("one", tissue(), scale(0.5)), ("two", small, scale(1, "micron"))], 1)
    for wanted in ("two", "1"):
        with open_reader(path, wanted) as reader:
            assert (reader.image, reader.mpp, len(reader.levels)) == ("two", (1.0, 1.0), 2)
    with pytest.raises(OptionError, match=r"holds no image three: .*0 \(one, 256 x 256 px\), 1 \(two"):
        open_reader(path, "three")
    with Slide(path, tissue_mask=False) as one, Slide(path, tissue_mask=False, image="1") as other:
        assert "two, 200 x 200 px" in str(one.problems)
        assert one.details != other.details
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, tissue(), tile=(128, 128), photometric="rgb", metadata=None)
    with pytest.raises(OptionError, match="holds one image"):
        open_reader(plain, "macro")


@pytest.mark.parametrize(
    ("unit", "um"),
    [("\u03bcm", 1.0), ("\u00b5m", 1.0), ("um", 1.0), ("micron", 1.0), ("Microns", 1.0), ("mm", 1e3), ("nm", 1e-3)],
)
def test_units(tmp_path: Path, unit: str, um: float) -> None:
    path = write_ome(tmp_path / "a.ome.tif", [("s", tissue(), scale(0.5 / um, unit))])
    with open_reader(path) as reader:
        assert reader.mpp == pytest.approx((0.5, 0.5))


def test_a_unit_that_is_none(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", [("s", tissue(), scale(0.5, "pixel"))])
    with pytest.raises(SlideError, match=r"given in 'pixel', which is no known length\): give it with --mpp"):
        Slide(path)


def test_transparent_pixels_lie_on_white(tmp_path: Path) -> None:
    alpha = np.full((SIDE, SIDE, 1), 255, np.uint8)
    alpha[:128] = 0
    path = write_ome(tmp_path / "a.ome.tif", [("s", np.concatenate([tissue(), alpha], axis=2), scale(0.5))])
    with open_reader(path) as reader:
        edges = np.arange(SIDE + 1.0)
        pixels, opaque = reader.read_scaled(edges, edges)
    assert (pixels[:128] == 255).all() and not opaque[:128].any()
    np.testing.assert_array_equal(pixels[128:], tissue()[128:])


def test_sixteen_bits(tmp_path: Path) -> None:
    """White at the top of the range is safe; twelve bits in sixteen are not."""
    wide = tissue().astype(np.uint16) * 257
    with open_reader(write_ome(tmp_path / "a.ome.tif", [("s", wide, scale(0.5))])) as reader:
        np.testing.assert_array_equal(reader.read(0, 0, 0, SIDE, SIDE)[..., :3], tissue())
    with pytest.raises(SlideError, match=r"holds 16-bit pixels of .* convert it to 8-bit RGB"):
        open_reader(write_ome(tmp_path / "b.ome.tif", [("s", wide >> 4, scale(0.5))]))


@pytest.mark.parametrize(
    ("shape", "about", "dtype", "said"),
    [
        ((3, SIDE, SIDE, 3), {"axes": "ZYXS"}, np.uint8, "a stack of 3 focus planes"),
        ((2, SIDE, SIDE, 3), {"axes": "TYXS"}, np.uint8, "a stack of 2 points in time"),
        ((SIDE, SIDE), {"axes": "YX", "photometric": "minisblack"}, np.uint8, "8-bit grey values"),
        ((5, SIDE, SIDE), {"axes": "CYX", "photometric": "minisblack"}, np.uint16, "5 channels of 16-bit values"),
        ((SIDE, SIDE, 3), {}, np.float32, "pixels of type float32"),
    ],
)
def test_pixels_are_said_for_what_they_are(
    tmp_path: Path, shape: tuple[int, ...], about: dict[str, Any], dtype: Any, said: str
) -> None:
    path = write_ome(tmp_path / "a.ome.tif", [("s", np.ones(shape, dtype), scale(0.5) | about)])
    with pytest.raises(SlideError, match=said):
        open_reader(path)


def test_plain_images_with_a_scale(tmp_path: Path) -> None:
    Image.fromarray(tissue()).save(tmp_path / "a.png")
    Image.fromarray(tissue()).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    tifffile.imwrite(tmp_path / "strips.tif", tissue(), photometric="rgb", rowsperstrip=16, metadata=None)
    tifffile.imwrite(tmp_path / "imagej.tif", tissue(), imagej=True)
    for name in ("a.png", "a.jpg", "strips.tif", "imagej.tif"):
        with pytest.raises(SlideError, match=r"does not say its scale: .*--mpp"):
            Slide(tmp_path / name)
        with Slide(tmp_path / name, mpp=1.0, tissue_mask=False) as slide:
            assert slide.read(0, len(slide.patches)).readable.all()
            got = slide._reader.read(0, 0, 0, SIDE, SIDE)[..., :3].astype(int)
            assert np.abs(got - tissue()).max() <= (40 if name == "a.jpg" else 0)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SlideError, match="cannot be read as a slide"):
        open_reader(tmp_path / "cut.jpg")
    Image.new("RGB", (20_001, 2)).save(tmp_path / "wide.png")
    with pytest.raises(SlideError, match="vips tiffsave"):
        open_reader(tmp_path / "wide.png")


def test_a_lone_part_of_a_slide(tmp_path: Path) -> None:
    """A MIRAX's own file is a JPEG of its label, which must not be scored."""
    Image.fromarray(tissue()).save(tmp_path / "a.mrxs", format="JPEG")
    (tmp_path / "a.vsi").write_bytes(b"II*\0" + bytes(100))
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE" + bytes(100))
    for name, said in (("a.mrxs", "folder a with Slidedat.ini"), ("a.vsi", "folder _a_ "), ("a.czi", "Zeiss CZI")):
        with pytest.raises(SlideError, match=said):
            open_reader(tmp_path / name)


def test_a_dicom_level_that_is_replaced_makes_another_slide(tmp_path: Path) -> None:
    """Whichever file is named; and the same files elsewhere are the same slide."""
    for name, flavour in (("a.dcm", "VOLUME"), ("b.dcm", "LABEL")):
        (tmp_path / name).write_bytes(dicom_slide(tissue(), {}, flavour=flavour))
    with OpenSlideReader(tmp_path / "a.dcm") as one, OpenSlideReader(tmp_path / "b.dcm") as other:
        before = one.fingerprint()
        assert [path.name for path in one.files] == ["a.dcm", "b.dcm"]
        assert other.fingerprint() == before
    shutil.copytree(tmp_path, tmp_path / "copy")
    with OpenSlideReader(tmp_path / "copy" / "a.dcm") as reader:
        assert reader.fingerprint() == before
    (tmp_path / "b.dcm").write_bytes(dicom_slide(255 - tissue(), {}, flavour="LABEL"))
    with OpenSlideReader(tmp_path / "a.dcm") as reader:
        assert reader.fingerprint() != before
