"""Tissue is found whatever the stain, the lamp and the pen, and only tissue is."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from wsi_idc.phantom import paint_slide
from wsi_idc.phantom.frame import Frame
from wsi_idc.phantom.paint import EOSIN, GLASS_RGB, HAEMATOXYLIN, paint_tissue
from wsi_idc.slides.tissue import find_tissue, tissue_share, unlike_he

MPP = (16.0, 16.0)
GLASS_PX = 60
"""Width of the empty glass around the tissue, in pixels of 16 µm."""

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def rgb(values: NDArray[np.floating]) -> Picture:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def jpeg(pixels: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def vignette(pixels: Picture) -> Picture:
    y, x = (np.linspace(-1, 1, n) for n in pixels.shape[:2])
    return rgb(pixels * (1 - 0.15 * (y[:, None] ** 2 + x**2))[..., None])


def glass(colour: tuple[int, int, int], noise: float = 1.5) -> Picture:
    return rgb(np.random.default_rng(0).normal(colour, noise, (250, 300, 3)))


@pytest.fixture(scope="module")
def tissue() -> Picture:
    """Nothing but tissue, from edge to edge, at 16 µm/px."""
    painting = paint_tissue(np.random.default_rng([7, 90001]), Frame(800, 720, 4.0))
    coarse = painting.pixels.reshape(180, 4, 200, 4, 3).mean(axis=(1, 3))
    return rgb(coarse[50:150, 50:150])


@pytest.fixture(scope="module")
def slide(tissue: Picture) -> Picture:
    """The tissue on glass."""
    pixels = rgb(np.random.default_rng(1).normal(GLASS_RGB, 1.6, (220, 220, 3)))
    pixels[GLASS_PX:-GLASS_PX, GLASS_PX:-GLASS_PX] = tissue
    return pixels


def far_and_near(mask: Mask, px: int = 12) -> tuple[float, float]:
    """Share of the tissue that is found, and of the glass that lies well away from it."""
    far = np.ones_like(mask)
    far[GLASS_PX - px : px - GLASS_PX, GLASS_PX - px : px - GLASS_PX] = False
    return mask[GLASS_PX:-GLASS_PX, GLASS_PX:-GLASS_PX].mean(), mask[far].mean()


LAMPS: dict[str, Callable[[Picture], Picture]] = {
    "as it is": lambda pixels: pixels,
    "half the stain": lambda pixels: rgb(243 + (pixels - 243.0) * 0.5),
    "a third of the stain": lambda pixels: rgb(243 + (pixels - 243.0) * 0.33),
    "grey": lambda pixels: rgb(pixels * 0.8),
    "pale on grey": lambda pixels: rgb((243 + (pixels - 243.0) * 0.4) * 0.75),
    "warm": lambda pixels: rgb(pixels * [1, 0.95, 0.82]),
    "cold": lambda pixels: rgb(pixels * [0.86, 0.94, 1]),
    "vignette": vignette,
    "jpeg": lambda pixels: jpeg(pixels, 40),
}


@pytest.mark.parametrize("lamp", LAMPS)
def test_tissue_is_found(slide: Picture, lamp: str) -> None:
    found, far = far_and_near(find_tissue(LAMPS[lamp](slide), MPP))
    assert found >= 0.97
    assert far == 0


@pytest.mark.parametrize("lamp", ["as it is", "half the stain", "grey", "pale on grey", "cold", "vignette", "jpeg"])
def test_a_slide_without_glass_is_all_tissue(tissue: Picture, lamp: str) -> None:
    assert find_tissue(LAMPS[lamp](tissue), MPP).mean() >= 0.99


@pytest.mark.parametrize("factor", [2, 3])
def test_scale_matters_little(slide: Picture, factor: int) -> None:
    fine = find_tissue(slide.repeat(factor, axis=0).repeat(2, axis=1), (8.0, 16.0 / factor))
    assert fine.shape == (220 * factor, 440)
    assert np.mean(fine[::factor, ::2] != find_tissue(slide, MPP)) < 0.02


STAINED = {
    "navy, frozen section": ((0.95, 0.90, 0.48), (0.36, 0.62, 0.36)),
    "purple throughout": ((0.72, 0.85, 0.35), (0.42, 0.75, 0.30)),
    "brown": ((0.52, 0.66, 0.54), (0.18, 0.56, 0.50)),
    "faded": ((0.32, 0.35, 0.26), (0.06, 0.28, 0.16)),
    "strong navy": ((1.60, 1.40, 0.74), (0.32, 1.06, 0.61)),
}
"""Optical densities in red, green and blue of one unit of haematoxylin and of eosin."""


def restain(pixels: Picture, haematoxylin: tuple[float, ...], eosin: tuple[float, ...]) -> Picture:
    """The same amounts of haematoxylin and eosin, in other colours."""
    lost = np.log(np.array(GLASS_RGB) / pixels.clip(1))
    amounts = (lost @ np.linalg.pinv(np.array([HAEMATOXYLIN, EOSIN]))).clip(0)
    return rgb(np.array(GLASS_RGB) * np.exp(-amounts @ np.array([haematoxylin, eosin])))


@pytest.mark.parametrize("stain", STAINED)
def test_stain_may_have_any_hue_of_he(tissue: Picture, slide: Picture, stain: str) -> None:
    pixels = restain(slide, *STAINED[stain])
    found, far = far_and_near(find_tissue(pixels, MPP))
    assert found >= 0.98
    assert far == 0
    assert not unlike_he(pixels)
    alone = restain(tissue, *STAINED[stain])
    assert find_tissue(alone, MPP).mean() >= 0.99
    assert not unlike_he(alone)


def disc(radius: int, y: int = 110, x: int = 110) -> Mask:
    rows, columns = np.ogrid[:220, :220]
    return np.hypot(rows - y, columns - x) < radius


@pytest.mark.parametrize("colour", [(60, 58, 122), (88, 78, 150), (48, 46, 98)])
def test_dense_navy_nuclei_are_no_pen(slide: Picture, colour: tuple[int, int, int]) -> None:
    pixels = slide.copy()
    pixels[disc(40)] = np.random.default_rng(4).normal(colour, 8, (disc(40).sum(), 3)).clip(0, 255)
    assert find_tissue(pixels, MPP)[disc(40)].mean() >= 0.99


@pytest.mark.parametrize("size", [3, 16, 40])
def test_a_small_purple_crop_is_all_tissue(size: int) -> None:
    crop = rgb(np.random.default_rng(5).normal((144, 123, 179), 6, (size, size, 3)))
    assert find_tissue(crop, MPP).all()
    assert not unlike_he(crop)


def test_blood_within_tissue_is_no_pen_and_ink_of_its_colour_across_glass_is(slide: Picture) -> None:
    red = (196, 28, 52)
    with_blood, with_ink = slide.copy(), slide.copy()
    with_blood[disc(30)] = red
    with_ink[10:30, 20:200] = red
    assert find_tissue(with_blood, MPP)[disc(30)].all()
    assert not find_tissue(with_ink, MPP)[10:30, 20:200].any()


def test_shadow_and_bubbles_are_not_tissue(slide: Picture) -> None:
    shade = np.ones((220, 220))
    shade[:40] = np.linspace(0.15, 1, 40)[:, None]
    ring = disc(16, 195, 25) & ~disc(13, 195, 25)
    shade[ring] = 0.4
    mask = find_tissue(rgb(slide * shade[..., None]), MPP)
    assert not mask[: GLASS_PX - 12].any()
    assert not mask[ring].any()
    assert mask[GLASS_PX:-GLASS_PX, GLASS_PX:-GLASS_PX].mean() >= 0.97


INKS = {
    "green": (20, 140, 90),
    "blue": (30, 50, 190),
    "navy": (20, 25, 110),
    "black": (35, 35, 40),
    "red": (205, 25, 45),
    "orange": (240, 130, 30),
    "yellow": (240, 220, 40),
}


@pytest.mark.parametrize("ink", INKS)
def test_pen_is_not_tissue(slide: Picture, ink: str) -> None:
    drawing = Image.new("L", (220, 220))
    line = [(20, 30), (200, 30), (200, 190), (110, 140)]
    ImageDraw.Draw(drawing).line(line, fill=255, width=20, joint="curve")
    cover = ndimage.gaussian_filter(np.asarray(drawing) / 255.0, 1)
    marked = rgb(slide * (1 - 0.9 * cover[..., None] * (1 - np.array(INKS[ink]) / 243)))
    mask = find_tissue(marked, MPP)
    assert mask[cover > 0.3].mean() <= 0.05
    beside = ~ndimage.binary_dilation(cover > 0.01, iterations=8)
    inside = np.zeros_like(mask)
    inside[GLASS_PX:-GLASS_PX, GLASS_PX:-GLASS_PX] = True
    assert mask[inside & beside].mean() >= 0.95
    assert not mask[: GLASS_PX - 12].any()


@pytest.mark.parametrize(
    "colour", [(255, 255, 255), (238, 240, 237), (180, 180, 180), (240, 228, 200), (110, 110, 110)]
)
def test_glass_is_not_tissue(colour: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(2)
    dusty = glass(colour).astype(np.float64)
    for y, x, size in rng.integers((5, 5, 1), (240, 290, 6), (40, 3)):
        dusty[y : y + size, x : x + size] *= rng.uniform(0.2, 0.9)
    for pixels in (glass(colour, noise=0), glass(colour, noise=12), vignette(glass(colour)), jpeg(rgb(dusty), 40)):
        before = pixels.copy()
        assert not find_tissue(pixels, MPP).any()
        assert np.array_equal(pixels, before)


@pytest.mark.parametrize("blur", [0, 1, 3])
@pytest.mark.parametrize(
    "colours", [((0, 220, 0), (60, 80, 255), (255, 40, 30)), ((210, 70, 230),), ((235, 235, 235),)]
)
def test_fluorescence_is_not_tissue(colours: tuple[tuple[int, int, int], ...], blur: float) -> None:
    rng = np.random.default_rng(3)
    shining = np.zeros((250, 300, 3))
    for y, x in rng.integers((20, 20), (220, 270), (150, 2)):
        shining[y : y + 7, x : x + 7] = rng.choice(colours)
    pixels = rgb(ndimage.gaussian_filter(shining, (blur, blur, 0)) + rng.exponential(4, shining.shape))
    assert not find_tissue(pixels, MPP).any()


def test_padding_is_not_tissue(tissue: Picture, slide: Picture) -> None:
    for inner in (tissue, slide):
        mask = find_tissue(np.pad(inner, ((200, 100), (150, 0), (0, 0))), MPP)
        assert not mask[:200].any() and not mask[-100:].any() and not mask[:, :150].any()
        assert mask[200:-100, 150:].mean() >= 0.85 * find_tissue(inner, MPP).mean()


def test_holes_are_filled_and_specks_dropped(slide: Picture) -> None:
    pixels = slide.copy()
    pixels[100:120, 100:115] = GLASS_RGB
    pixels[20:26, 20:26] = slide[80:86, 80:86]
    mask = find_tissue(pixels, MPP)
    assert mask[100:120, 100:115].all()
    assert not mask[10:36, 10:36].any()


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (1, 1), (2, 3), (1, 60)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_tiny_pictures(shape: tuple[int, int], value: int) -> None:
    mask = find_tissue(np.full((*shape, 3), value, np.uint8), (32.0, 9.0))
    assert mask.shape == shape and mask.dtype == np.bool_ and not mask.any()


BOX = st.tuples(*[st.integers(-8, 40).map(lambda quarter: quarter / 4)] * 4)


@given(st.lists(BOX, max_size=20), st.integers(0, 2**32 - 1))
def test_share_of_a_box(boxes: list[tuple[float, ...]], seed: int) -> None:
    mask = np.random.default_rng(seed).random((6, 8)) < 0.5
    fine = mask.repeat(4, axis=0).repeat(4, axis=1)
    edges = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    share = tissue_share(mask, *edges.T)
    assert share.shape == (len(boxes),)
    for (left, top, right, bottom), value in zip((4 * edges).clip(0).astype(int), share, strict=True):
        inside = fine[top:bottom, left:right]
        assert value == pytest.approx(inside.mean() if inside.size else 0, abs=1e-9)


STAINS = {"haematoxylin": (0.65, 0.70, 0.29), "eosin": (0.07, 0.99, 0.11), "dab": (0.27, 0.57, 0.78)}
"""Optical densities in red, green and blue: Ruifrok & Johnston 2001."""
STAINS |= {"blue dye": (0.85, 0.45, 0.15), "green dye": (0.90, 0.25, 0.45)}


@pytest.mark.parametrize(
    ("amounts", "unlike"),
    [
        ({"haematoxylin": 1, "eosin": 1}, False),
        ({"haematoxylin": 0.2, "eosin": 0.3}, False),
        ({"haematoxylin": 1}, False),
        ({"eosin": 1}, False),
        ({"dab": 1, "haematoxylin": 0.3}, True),
        ({"blue dye": 1}, True),
        ({"green dye": 1, "eosin": 0.2}, True),
        ({}, False),
    ],
)
def test_other_stains_than_he_are_noticed(amounts: dict[str, float], unlike: bool) -> None:
    bound = np.random.default_rng(0).gamma(2, 0.4, (200, 100))
    density = sum(amount * bound[..., None] * np.array(STAINS[name]) for name, amount in amounts.items())
    pixels = np.full((200, 200, 3), 235, np.uint8)
    pixels[:, :100] = 235 * np.exp(-density)
    assert unlike_he(pixels) is unlike


def test_a_dark_slide_is_no_he() -> None:
    assert unlike_he(np.full((50, 50, 3), 8, np.uint8))
    assert not unlike_he(paint_slide("90001", 7, width_px=800, height_px=720).pixels[::4, ::4])
