from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.plotting.pages import RESEARCH, assert_tidy, words, written
from wsi_idc.errors import OutputError
from wsi_idc.plotting.contact import MOST, Tile, build_contact_sheet, save_contact_sheet
from wsi_idc.plotting.page import Page, Picture

HEADING, SUBHEADING = "Validation: 29 cases, 5,983 patches", "CancerNet 3fa9c07b \N{MIDDLE DOT} threshold 0.634"


def tiles(count: int, seed: int = 0, case: str = "9000") -> list[Tile]:
    rng = np.random.default_rng(seed)
    return [
        Tile(
            pixels=rng.integers(0, 256, (50, 50, 3), dtype=np.uint8),
            case=f"{case}{i:02}",
            x=50 * i + 1,
            y=1000 + 50 * i + 1,
            prob=0.99 - i / 100,
        )
        for i in range(count)
    ]


def sheet(positives: list[Tile], negatives: list[Tile], **more: bool) -> Page:
    return build_contact_sheet(positives, negatives, HEADING, SUBHEADING, **more)


def drawn_tiles(page: Page) -> list[tuple[int, int, NDArray[np.uint8]]]:
    """Row, column and pixels of every tile as the page shows it, in the order of drawing."""
    drawn = page.pixels()
    found = []
    for shape in tiles_of(page):
        top, left = shape.top_px, shape.left_px
        found.append((top, left, drawn[top : top + len(shape.pixels), left : left + len(shape.pixels)]))
    return found


def tiles_of(page: Page) -> list[Picture]:
    return [shape for shape in page.shapes if isinstance(shape, Picture)]


@pytest.mark.parametrize(("positives", "negatives"), [(MOST, MOST), (60, 3), (1, 0), (0, 9), (0, 0), (8, 8)])
def test_texts_neither_overlap_nor_leave_the_page(positives: int, negatives: int) -> None:
    page = sheet(tiles(positives), tiles(negatives, seed=1))
    said = words(page).split("\n")
    assert RESEARCH in said and SUBHEADING in said and any(HEADING in text for text in said)
    assert {"False positives", "False negatives"} <= set(said)
    assert said.count("none") == (positives == 0) + (negatives == 0)
    assert len(tiles_of(page)) == min(positives, MOST) + min(negatives, MOST)
    assert page.width <= 8.28 and page.height <= 11.69
    assert_tidy(page)


def test_long_names_and_a_phantom_stay_on_the_page() -> None:
    page = build_contact_sheet(tiles(9, case="a/long/name" * 9), [], "h" * 300, "s" * 300, phantom=True)
    assert "PHANTOM" in words(page)
    assert_tidy(page)
    assert "PHANTOM" not in words(sheet([], []))


def test_every_pixel_of_a_patch_is_a_square_of_its_own_colour() -> None:
    positives, negatives = tiles(10), tiles(9, seed=1)
    drawn = drawn_tiles(sheet(positives, negatives))
    assert len(drawn) == 19
    for tile, (_, _, pixels) in zip([*positives, *negatives], drawn, strict=True):
        factor = pixels.shape[0] // 50
        assert factor >= 3 and pixels.shape == (50 * factor, 50 * factor, 3)
        assert (pixels == np.kron(tile.pixels, np.ones((factor, factor, 1), dtype=np.uint8))).all()


def test_tiles_stand_in_reading_order_and_apart_with_their_words_beneath() -> None:
    positives, negatives = tiles(10), tiles(9, seed=1, case="7000")
    page = sheet(positives, negatives)
    drawn = drawn_tiles(page)
    corners = [(top, left) for top, left, _ in drawn]
    assert corners == sorted(corners)
    mask = np.zeros(page.pixels().shape[:2], dtype=int)
    for top, left, pixels in drawn:
        mask[top : top + pixels.shape[0], left : left + pixels.shape[1]] += 1
    assert mask.max() == 1
    for tile, (top, left, pixels) in zip([*positives, *negatives], drawn, strict=True):
        bottom = (top + pixels.shape[0]) / page.dpi
        beneath = [one for one in written(page) if bottom <= one.top < one.bottom < bottom + 110 / page.dpi]
        near = {one.text for one in beneath if abs(one.left * page.dpi - left) < 4}
        assert near == {f"case {tile.case}", f"x{tile.x} y{tile.y}", f"prob. {tile.prob:.3f}"}


def test_only_the_worst_are_shown() -> None:
    said = words(sheet(tiles(60), []))
    assert f"case 9000{MOST - 1}" in said and f"case 9000{MOST}" not in said


@pytest.mark.parametrize(
    "pixels", [np.zeros((50, 50), np.uint8), np.zeros((40, 50, 3), np.uint8), np.zeros((50, 50, 3))]
)
def test_other_pixels_are_refused(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        Tile(pixels, "900001", 1, 1, 0.5)


def test_it_is_written_whole_and_twice_the_same(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        save_contact_sheet(tiles(3), [], HEADING, SUBHEADING, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert (np.asarray(image) == sheet(tiles(3), []).pixels()).all()
    with pytest.raises(OutputError):
        save_contact_sheet([], [], HEADING, SUBHEADING, tmp_path / "missing" / "one.png")
