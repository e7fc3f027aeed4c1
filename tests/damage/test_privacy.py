"""What tells of people reaches no output and no log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest

from tests.damage.exposure import (
    BORN,
    HOSTILE,
    IN_WORDS,
    PHOTOGRAPH,
    PLANTED,
    Exposure,
    dates_of,
    files_of,
    forms_of,
    make_inputs,
    pictures_of,
)
from tests.report.test_report import Page
from wsi_idc.report.page import SCRIPTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    make_inputs(folder)
    return folder / "slides"


@pytest.fixture(scope="module")
def written(exposure: Exposure) -> dict[str, bytes]:
    """All that was written and said, in small letters."""
    return {name: content.lower() for name, content in files_of(exposure.root)}


WORDS = [word for value in PLANTED.values() if value != BORN for word in value.split("^")]


def test_the_slides_tell_of_somebody(inputs: Path) -> None:
    """Else nothing that follows could fail."""
    with openslide.OpenSlide(inputs / "dicom" / "a.dcm") as slide:
        told = " ".join(slide.properties.values())
        shown = np.asarray(slide.associated_images["label"])[100, 100, :3].tolist()
    assert shown == pytest.approx(PHOTOGRAPH, abs=4)
    assert [value for name, value in PLANTED.items() if value not in told] == [PLANTED["SomethingPrivate"]]
    with openslide.OpenSlide(inputs / "a.svs") as slide:
        assert {"label", "macro"} <= set(slide.associated_images)
        assert IN_WORDS["description"][0] in slide.properties["openslide.comment"]
    assert all(word.encode() in (inputs / "a.ome.tif").read_bytes() for word in IN_WORDS["OME-XML"])


def test_enough_is_written_to_look_through(written: dict[str, bytes]) -> None:
    endings = {name.rpartition(".")[2].partition("/")[0] for name in written}
    assert endings >= {"csv", "json", "png", "html", "js", "geojson", "tif", "out", "err", "gz unpacked"}
    assert any(name.startswith("tiles.zip/") for name in written)
    assert any("dicom/a.dcm" in name for name in written)


@pytest.mark.parametrize("word", [*WORDS, *IN_WORDS["description"], *IN_WORDS["OME-XML"]])
def test_no_word_of_it_is_written_or_said(written: dict[str, bytes], word: str) -> None:
    forms = list(forms_of(word))
    assert [name for name, content in written.items() if any(form in content for form in forms)] == []


def test_no_day_of_birth_is_written_or_said(written: dict[str, bytes]) -> None:
    """But for the digits as they may stand in any number: text only."""
    dates = list(dates_of(BORN))
    text = {name: content for name, content in written.items() if _is_text(content)}
    assert len(text) > 40
    assert [name for name, content in text.items() if any(date in content for date in dates)] == []


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def test_no_photograph_of_the_label_is_shown(exposure: Exposure) -> None:
    pictures = dict(pictures_of(exposure.root))
    assert len(pictures) > 30
    for name, pixels in pictures.items():
        away = np.abs(pixels.astype(int) - PHOTOGRAPH).max(axis=-1)
        assert away.min() > 60, name


def test_names_that_are_markup_are_only_text(exposure: Exposure) -> None:
    """A folder and a file whose names close a script, through every command to the page."""
    name = "/".join(HOSTILE)
    page = Page(exposure.root / "all" / "report.html")
    assert name in [slide["name"] for slide in page.told["slides"]]
    assert any(name in row for row in page.rows)
    assert sum("type" not in attrs for tag, attrs in page.tags if tag == "script") == 1 + len(SCRIPTS)
    (script,) = (exposure.root / "all").glob("**/*x.svs/report.js")
    assert not set("<>&") & set(script.read_text(encoding="utf-8"))
    (table,) = (exposure.root / "all").glob("summary.csv")
    assert name.replace('"', '""') in table.read_text(encoding="utf-8")
