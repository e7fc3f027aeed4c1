from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.plotting.conftest import SHAPES, MadeSource, caption_of, make_source, score
from tests.plotting.pages import RESEARCH, assert_tidy, words, written
from wsi_idc.errors import OutputError
from wsi_idc.metrics import compute_metrics, count_classes
from wsi_idc.plotting.confusion import build_class_confusion, build_confusion
from wsi_idc.plotting.mosaic import rebuild_mosaic
from wsi_idc.plotting.overlay import paint_overlay
from wsi_idc.plotting.slide_pictures import draw_all
from wsi_idc.plotting.style import Style
from wsi_idc.plotting.training_curve import build_history, save_history
from wsi_idc.plotting.watermark import CAUTION_COLOUR, stamp_cautions, stamp_phantom
from wsi_idc.source import Caution


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def draw(source: MadeSource, folder: Path) -> Path:
    return draw_all(source, score(source), caption_of(source), Style(dpi=72), folder)


def test_every_shape_is_drawn_whole(shape: MadeSource, tmp_path: Path) -> None:
    sheet = draw(shape, tmp_path)
    assert sheet == tmp_path / "heatmap.png"
    expected = {"mosaic.png", "overlay.png", "heatmap.png"}
    if score(shape).metrics is not None:
        expected.add("confusion.png")
    assert {path.name for path in tmp_path.iterdir()} == expected
    assert read(sheet).shape == (round(8.27 * 72), round(11.69 * 72), 3)
    assert read(tmp_path / "overlay.png").shape == read(tmp_path / "mosaic.png").shape


def test_pictures_hold_the_arrays_unchanged(tmp_path: Path) -> None:
    source = SHAPES["unreadable"]()
    draw(source, tmp_path)
    mosaic = rebuild_mosaic(source)
    assert (read(tmp_path / "mosaic.png") == mosaic.pixels).all()
    assert (read(tmp_path / "overlay.png") == paint_overlay(mosaic, score(source), Style())).all()


def test_only_the_sheet_has_a_print_size(tmp_path: Path) -> None:
    draw(SHAPES["labels"](), tmp_path)
    with Image.open(tmp_path / "mosaic.png") as mosaic, Image.open(tmp_path / "heatmap.png") as sheet:
        assert "dpi" not in mosaic.info
        assert sheet.info["dpi"] == pytest.approx((72, 72), abs=0.1)


def test_a_phantom_is_stamped_in_a_corner_of_both_pictures(tmp_path: Path) -> None:
    source = SHAPES["phantom"]()
    draw(source, tmp_path)
    mosaic = rebuild_mosaic(source)
    for name, plain in (("mosaic.png", mosaic.pixels), ("overlay.png", paint_overlay(mosaic, score(source), Style()))):
        changed = (read(tmp_path / name) != plain).any(axis=2)
        assert changed.any()
        assert not changed[: changed.shape[0] * 9 // 10].any()


@pytest.mark.parametrize("size", [(50, 50), (12, 60), (30, 3000), (3000, 60), (600, 800), (1, 1)])
def test_the_stamp_fits_any_picture(size: tuple[int, int]) -> None:
    plain = np.full((*size, 3), 128, dtype=np.uint8)
    stamped = stamp_phantom(plain)
    assert stamped.shape == plain.shape and stamped.dtype == np.uint8
    assert (plain == 128).all()
    red = (stamped[..., 0].astype(int) - stamped[..., 1]) > 60
    assert min(size) < 12 or red.sum() > 20


CAUTIONS = [Caution("stain", "stain unlike H&E", "A."), Caution("scale", "scale given by hand (0.5 µm/px)", "B.")]


@pytest.mark.parametrize("size", [(50, 50), (12, 60), (30, 3000), (3000, 60), (600, 800), (1, 1)])
def test_cautions_stand_in_the_upper_corner_of_an_overlay(size: tuple[int, int]) -> None:
    plain = np.full((*size, 3), 128, dtype=np.uint8)
    assert (stamp_cautions(plain, []) == plain).all()
    stamped = stamp_cautions(plain, CAUTIONS)
    assert stamped.shape == plain.shape and (plain == 128).all()
    assert min(size) < 12 or (stamped == CAUTION_COLOUR).all(axis=2).sum() > 20
    if size == (600, 800):
        assert (stamped[100:] == 128).all()


def test_only_the_overlay_has_the_cautions(tmp_path: Path) -> None:
    source = SHAPES["ten"]()
    draw_all(source, score(source), replace(caption_of(source), cautions=tuple(CAUTIONS)), Style(dpi=72), tmp_path)
    mosaic = rebuild_mosaic(source)
    assert (read(tmp_path / "mosaic.png") == mosaic.pixels).all()
    expected = stamp_cautions(paint_overlay(mosaic, score(source), Style()), CAUTIONS)
    assert (read(tmp_path / "overlay.png") == expected).all()


@pytest.mark.parametrize(
    "names", [("a", "b", "c"), tuple(f"{i}_{'long' * (i % 9)}" for i in range(9)), ("$x^2$",) * 40]
)
def test_the_matrix_of_several_classes_stands_on_its_own(names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    labelled, called = rng.integers(0, len(names), (2, 200_000))
    metrics = count_classes(names, labelled, called)
    page = build_class_confusion(metrics, "Slide a", "model 12345678", dpi=100, phantom=True)
    told, slanted = words(page), [line for line in page.lines if 0 < line.angle < 90]
    assert slanted[0].text == names[0].replace("_", " ")
    for one in written(page):
        assert one.left >= 0 and one.bottom <= page.height
        assert one.bottom <= page.height - 0.45 or one.text.startswith(("Percentages", "For research")), one.text
    # The boxes around slanted names overlap where the names do not.
    page.lines = [line for line in page.lines if line not in slanted]
    assert_tidy(page)
    assert RESEARCH in told
    assert f"n = {metrics.n:,} patches" in told
    assert f"macro F1 {metrics.macro_f1:.3f}" in told
    assert {f"{count:,}" for row in metrics.counts for count in row} <= set(told.split("\n"))


def test_an_old_confusion_matrix_goes_when_labels_do(tmp_path: Path) -> None:
    draw(SHAPES["labels"](), tmp_path)
    assert (tmp_path / "confusion.png").exists()
    draw(SHAPES["no labels"](), tmp_path)
    assert not (tmp_path / "confusion.png").exists()


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw(SHAPES["unreadable"](), tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        draw(SHAPES["ten"](), tmp_path / "missing")


@pytest.mark.parametrize("kind", ["idc", "slide", "phantom"])
@pytest.mark.parametrize(
    ("label", "prob"),
    [([0, 1, 1], [0.1, 0.2, 0.9]), ([0, 0], [0.1, 0.7]), ([1], [0.9]), ([0, 1] * 60000, [0.4, 0.6] * 60000)],
)
def test_the_confusion_matrix_stands_on_its_own(kind: str, label: list[int], prob: list[float]) -> None:
    metrics = compute_metrics(label, prob, 0.5)
    caption = caption_of(make_source(2, 2), kind=kind, slide="8863" if kind == "idc" else "a/long/name" * 12)
    page = build_confusion(metrics, caption.case, caption.model, dpi=100, phantom=kind == "phantom")
    said = words(page)
    assert RESEARCH in said and "threshold 0.50" in said and "CancerNet 3fa9c07b" in said
    assert (f"{metrics.tp:,}" in said) and (f"{metrics.fp:,}" in said)
    assert ("PHANTOM" in said) == (kind == "phantom")
    assert ("\N{EN DASH}\n" in said + "\n") == (0 in (metrics.tp + metrics.fn, metrics.tn + metrics.fp))
    assert_tidy(page)


def epochs(count: int) -> list[SimpleNamespace]:
    return [
        SimpleNamespace(epoch=i, loss=1 / i, auc=1 - 0.3 / i, val_loss=1.2 / i, val_auc=0.9 - abs(i - 4) / 50)
        for i in range(1, count + 1)
    ]


@pytest.mark.parametrize(("count", "best"), [(1, 1), (2, 2), (12, 4)])
def test_the_training_curve_marks_the_best_epoch(count: int, best: int, tmp_path: Path) -> None:
    page = build_history(epochs(count))
    assert f"best epoch {best}: validation AUC" in words(page)
    assert_tidy(page)
    save_history(epochs(count), tmp_path / "history.png")
    assert read(tmp_path / "history.png").shape[2] == 3


def test_pictures_need_no_tensorflow_and_no_pyplot() -> None:
    check = (
        "import sys, wsi_idc.plotting.slide_pictures, wsi_idc.plotting.training_curve\n"
        "print([name for name in ('tensorflow', 'keras', 'matplotlib.pyplot') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_the_sheet_is_a_pdf_on_request_and_an_old_one_goes(tmp_path: Path) -> None:
    source = make_source(3, 2)
    draw_all(source, score(source), caption_of(source), Style(dpi=72), tmp_path, pdf=True)
    written = (tmp_path / "heatmap.pdf").read_bytes()
    assert written.startswith(b"%PDF-") and written.count(b"/Type /Page ") == 1
    draw_all(source, score(source), caption_of(source), Style(dpi=72), tmp_path, pdf=True)
    assert (tmp_path / "heatmap.pdf").read_bytes() == written
    draw(source, tmp_path)
    assert not (tmp_path / "heatmap.pdf").exists()
