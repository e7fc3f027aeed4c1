from __future__ import annotations

import warnings
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.font_manager import findfont
from matplotlib.text import Text
from numpy.typing import NDArray

from tests.plotting.conftest import SHAPES, MadeSource, caption_of, make_source, score
from tests.plotting.pages import RESEARCH, assert_tidy, words, written
from wsi_idc.model.classes import Classes
from wsi_idc.plotting.blocks import figure_rows, round_length
from wsi_idc.plotting.confusion import build_confusion
from wsi_idc.plotting.fonts import load_font
from wsi_idc.plotting.layout import PAGE_H, PAGE_W, plan_sheet
from wsi_idc.plotting.mosaic import rebuild_mosaic
from wsi_idc.plotting.page import Page, Picture
from wsi_idc.plotting.page_pdf import page_figure
from wsi_idc.plotting.sheet import compose_sheet
from wsi_idc.plotting.style import Style
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.source import Caution


def sheet_of(source: MadeSource, scores: Scores | None = None, dpi: int = 80, **caption: object) -> Page:
    scores = score(source) if scores is None else scores
    return compose_sheet(rebuild_mosaic(source), scores, caption_of(source, **caption), Style(dpi=dpi))


def panels(page: Page) -> list[NDArray[np.uint8]]:
    """Pixels of the maps."""
    return [shape.pixels for shape in page.shapes if isinstance(shape, Picture)][:3]


def test_texts_neither_overlap_nor_leave_the_page(shape: MadeSource) -> None:
    page = sheet_of(shape)
    assert RESEARCH in words(page)
    assert_tidy(page)
    for one in written(page):
        assert one.right <= page.width - 0.38 or "PHANTOM" in one.text, one.text


@pytest.mark.parametrize("threshold", [0.0, 0.1234, 0.9876, 1.0])
@pytest.mark.parametrize("name", ["ten", "no labels"])
def test_any_threshold_is_marked_without_a_clash(threshold: float, name: str) -> None:
    source = SHAPES[name]()
    page = sheet_of(source, score(source, threshold=threshold))
    assert f"threshold {threshold:.4f}".rstrip("0")[:14] in words(page)
    assert_tidy(page)


@pytest.mark.parametrize("dpi", [72, 200])
def test_tidy_at_other_resolutions(dpi: int) -> None:
    assert_tidy(sheet_of(SHAPES["very tall"](), dpi=dpi))


def test_the_sheet_tells_counts_figures_and_origin() -> None:
    source = SHAPES["labels"]()
    metrics = score(source).metrics
    assert metrics is not None
    said = words(sheet_of(source)).split("\n")
    assert {str(metrics.tn), str(metrics.fp), str(metrics.fn), str(metrics.tp)} <= set(said)
    assert f"{metrics.tp / (metrics.tp + metrics.fn):.1%}".replace("%", " %") in said
    assert {f"{metrics.balanced_accuracy:.3f}", f"{metrics.f1:.3f}", f"{metrics.auc:.3f}"} <= set(said)
    assert {"TN", "FP", "FN", "TP", "labelled", "called", "no colour: not scored"} <= set(said)
    assert f"true positive ({metrics.tp:,})" in said and f"false negative ({metrics.fn:,})" in said
    assert any("Case 900001" in line and "IDC" in line for line in said)
    footer = next(line for line in said if "model" in line)
    assert all(part in footer for part in ("CancerNet 3fa9c07b", "threshold 0.50", "wsi-idc 0.1.0", "2026-01-31"))
    assert "3fa9c07be" not in footer and "context" not in footer
    assert "PHANTOM" not in words(sheet_of(source))


def test_the_research_line_is_bold() -> None:
    assert next(one for one in written(sheet_of(SHAPES["ten"]())) if one.text == RESEARCH).bold


def test_context_is_named_only_where_it_is_on() -> None:
    assert "context 1.5" in words(sheet_of(SHAPES["ten"](), context=1.5))


@pytest.mark.parametrize(("mpp_source", "nominal"), [("nominal", True), ("file", False), ("option", False)])
def test_a_nominal_scale_is_called_so(mpp_source: str, nominal: bool) -> None:
    source = SHAPES["ten"]()
    source.mpp_source = mpp_source  # type: ignore[assignment]
    said = words(sheet_of(source))
    assert ("mm (nominal scale)" in said) == ("areas at nominal scale" in said) == nominal


def test_a_phantom_says_so_in_large_letters() -> None:
    assert next(one for one in written(sheet_of(SHAPES["phantom"]())) if "PHANTOM" in one.text).size >= 14
    metrics = score(SHAPES["phantom"]()).metrics
    assert metrics is not None
    caption = caption_of(SHAPES["phantom"]())
    page = build_confusion(metrics, caption.case, caption.model, dpi=200, phantom=True)
    assert "PHANTOM" in words(page)


def test_without_labels_there_is_no_matrix_and_the_panels_are_larger() -> None:
    with_labels, without = sheet_of(SHAPES["labels"]()), sheet_of(SHAPES["no labels"]())
    assert "no labels" in words(without) and "no labels" not in words(with_labels)
    assert "labelled" not in words(without) and "true positive" not in words(without)
    widths = [panels(page)[0].shape[1] for page in (with_labels, without)]
    assert widths[1] > 1.2 * widths[0]


def test_no_tissue_is_said() -> None:
    assert "No tissue found" in words(sheet_of(SHAPES["no patches"]()))
    assert "No tissue found" not in words(sheet_of(SHAPES["all unreadable"]()))
    assert "No readable patch" in words(sheet_of(SHAPES["all unreadable"]()))


def test_undefined_figures_are_dashes() -> None:
    source = SHAPES["one class"]()
    rows = dict(figure_rows(score(source), (8.0, 8.0)))
    assert rows["AUC"] == rows["Sensitivity"] == rows["Balanced accuracy"] == "\N{EN DASH}"
    assert rows["Specificity"] not in ("\N{EN DASH}", "")
    assert "nan" not in words(sheet_of(source)).lower()


def test_unreadable_patches_are_counted_only_where_there_are_any() -> None:
    assert "unreadable (9)" in words(sheet_of(SHAPES["unreadable"]()))
    assert "nreadable" not in words(sheet_of(SHAPES["labels"]()))


def test_areas_come_from_the_boxes_and_the_scale() -> None:
    source = make_source(3, 2, mpp=(4.0, 8.0))
    prob = np.array([0.9, 0.1, 0.1, 0.1, 0.1, np.nan])
    rows = dict(figure_rows(score(source, prob), source.mpp))
    assert rows["Called IDC"] == "0.08 mm² (24.8 %)"
    assert rows["Regions called"] == "1, widest 0.45 mm"
    # 2 of 50x50, one of 42x50, two of 50x30, and the cut corner unreadable; 32 µm² a pixel.
    assert rows["Tissue scored"] == f"{(2 * 2500 + 2100 + 2 * 1500) * 32e-6:.2f} mm²"


def test_labelled_area_is_told_where_labels_are() -> None:
    assert "Labelled IDC" in dict(figure_rows(score(SHAPES["labels"]()), (8.0, 8.0)))
    assert "Labelled IDC" not in dict(figure_rows(score(SHAPES["no labels"]()), (8.0, 8.0)))


def test_panels_show_the_slide_at_one_scale_and_its_true_shape() -> None:
    source = make_source(20, 10, mpp=(8.0, 4.0))
    shown = panels(sheet_of(source, score(source)))
    sizes = {pixels.shape[:2] for pixels in shown}
    assert len(shown) == 3 and len(sizes) == 1
    height, width = sizes.pop()
    assert width / height == pytest.approx((992 * 8) / (480 * 4), rel=0.02)


@pytest.mark.parametrize(("shape", "gain"), [((1, 2), 1.15), ((1.8, 1), 1.3), ((2.5, 1), 1.4), ((6, 1), 1.9)])
def test_slides_that_are_not_square_get_larger_panels_than_three_in_a_row(
    shape: tuple[float, float], gain: float
) -> None:
    in_a_row = min((PAGE_W - 1.3) / 3, 3.54 * shape[0] / shape[1])
    assert plan_sheet(shape, 1e9, labelled=True).panels[0].width > gain * in_a_row


@pytest.mark.parametrize("dpi", [72, 100, 200, 300])
def test_no_resolution_loses_a_rule(dpi: int) -> None:
    page = Page(4, 3, dpi)
    heights = [0.5 + i * 0.2317 for i in range(9)]
    for y in heights:
        page.rule(0.5, y, 3, "#595959")
    dark = (page.pixels()[:, dpi] < 120).all(axis=1)
    assert np.count_nonzero(np.diff(dark.astype(int)) == 1) == len(heights)


@pytest.mark.parametrize("name", ["phantom", "long phantom", "long name"])
def test_cautions_stand_in_a_band_at_the_head(name: str) -> None:
    cautions = tuple(
        Caution(word, f"{word} in a few words", f"About {word}.") for word in ("stain", "scale", "trained")
    )
    page = sheet_of(SHAPES[name](), cautions=cautions)
    told = "CAUTION: stain in a few words; scale in a few words; trained in a few words"
    assert told in words(page) and "CAUTION" not in words(sheet_of(SHAPES[name]()))
    assert_tidy(page)


def test_only_a_font_that_matplotlib_brings_is_used() -> None:
    brought = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    assert [Path(load_font(20, bold).path) for bold in (False, True)] == [
        brought / name for name in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
    ]
    with matplotlib.rc_context({"font.family": "serif", "axes.facecolor": "red"}):
        figure = page_figure(sheet_of(SHAPES["labels"]()))
    used = {Path(findfont(text.get_fontproperties())) for text in figure.findobj(Text)}
    assert used == {brought / "DejaVuSans.ttf", brought / "DejaVuSans-Bold.ttf"}


@pytest.mark.parametrize("name", list(SHAPES))
def test_no_text_is_too_small_for_paper(name: str) -> None:
    assert min(one.size for one in written(sheet_of(SHAPES[name]()))) >= 7


def test_panels_are_not_resampled() -> None:
    page = sheet_of(SHAPES["labels"](), dpi=150)
    drawn = page.pixels()
    shown = [shape for shape in page.shapes if isinstance(shape, Picture) and shape.pixels.shape[0] > 100]
    assert len(shown) == 3
    for panel in shown:
        height, width = panel.pixels.shape[:2]
        part = drawn[panel.top_px : panel.top_px + height, panel.left_px : panel.left_px + width]
        assert (part == panel.pixels).all()


def test_a_name_in_another_script_or_with_signs_of_markup_is_harmless() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = sheet_of(make_source(5, 4, labels="none", kind="slide", mpp_source="file", slide="$\\frac{$ 切片\n_{a}"))
        assert_tidy(page)
    assert "Slide $\\frac{$ \N{WHITE SQUARE}\N{WHITE SQUARE} _{a}" in words(page)


@pytest.mark.parametrize("most", [0.0123, 0.19, 0.2, 0.999, 1.0, 3.9, 48.0])
def test_the_scale_bar_has_a_round_length(most: float) -> None:
    length = round_length(most)
    assert length <= most * 1.0001 < length * 2.6
    assert f"{length:e}"[0] in "125" and f"{length:e}"[2:8] == "000000"


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(
    "shape", [(1, 1), (1.2, 1), (1.7, 1), (2, 1), (3, 1), (14, 1), (1, 14), (300, 1), (1, 300), (1, 3)]
)
def test_panels_stay_on_the_page_and_apart(shape: tuple[float, float], labelled: bool) -> None:
    layout = plan_sheet(shape, 1e9, labelled)
    others = [layout.key, layout.figures, *([layout.confusion] if layout.confusion else [])]
    boxes = [*layout.panels, *others]
    for box in boxes:
        assert box.x >= 0.3 and box.y >= 0.3
        assert box.x + box.width <= PAGE_W - 0.3 and box.y + box.height <= PAGE_H - 0.3
    for a, b in combinations(boxes, 2):
        assert a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y, (a, b)
    assert layout.panels[0].width / layout.panels[0].height == pytest.approx(shape[0] / shape[1])


def test_of_several_classes_the_figures_are_said_to_be_of_one_against_the_rest() -> None:
    source = SHAPES["labels"]()
    probs = np.random.default_rng(0).dirichlet([1, 1, 1], len(source.patches)).astype(np.float32)
    several = make_scores(source.slide, source.patches, probs, 0.5, Classes(("fat", "In_situ", "Invasive"), "In_situ"))
    page = compose_sheet(rebuild_mosaic(source), several, caption_of(source), Style(dpi=72))
    assert "Probability of In situ per patch; calls and figures: In situ against the rest" in words(page)
    assert_tidy(page)
    assert "the rest" not in words(sheet_of(source))
