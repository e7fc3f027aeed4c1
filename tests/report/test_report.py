from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.plotting.conftest import make_source
from tests.plotting.results import HOSTILE, SCRIPT, THRESHOLD, add_slide, make_results
from wsi_idc.errors import DataNotFoundError, OptionError
from wsi_idc.evaluation.cohort_metrics import failed, summarise, write_summary
from wsi_idc.metrics import compute_metrics
from wsi_idc.plotting.image_ops import THUMBNAIL_CHUNK, encode_png, save_png
from wsi_idc.report import write_report
from wsi_idc.report.gather import find_results, read_results, read_summary
from wsi_idc.report.page import SCRIPTS, script_json
from wsi_idc.report.slide_file import PPM
from wsi_idc.report.thumbnails import find_tissue, mosaic_factor
from wsi_idc.report.totals import STEPS, Pool
from wsi_idc.scoring.scores import make_scores


class Page(HTMLParser):
    """What a browser would make of the page, as far as the tests ask."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[str] = []
        self.data = ""
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.told = json.loads(self.data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append((tag, named))
        if tag == "tr" and "data-index" in named:
            self.rows.append("")
        self._open.append(named.get("id") or tag)

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if "wsi-idc-data" in self._open[-1:]:
            self.data += data
        elif self.rows:
            self.rows[-1] += data


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a slide of every kind, never changed."""
    out = tmp_path_factory.mktemp("results") / "co & <b>hort"
    out.mkdir()
    make_results(out)
    return out


@pytest.fixture(scope="module")
def page(cohort: Path) -> Page:
    return Page(write_report(cohort))


def slide(page: Page, name: str) -> dict[str, object]:
    return next(of for of in page.told["slides"] if of["name"] == name)


def patches_of(file: Path) -> tuple[str, str, dict[str, list[int | None]]]:
    """What ``report.js`` hands over."""
    text = file.read_text(encoding="utf-8")
    assert text.startswith("wsiIdc.receive(") and text.endswith(");\n")
    url, stamp, patches = json.loads(f"[{text[len('wsiIdc.receive(') : -len(');') - 1]}]")
    return url, stamp, patches


def test_every_slide_has_a_row_and_a_state(page: Page) -> None:
    states = {of["name"]: of["state"] for of in page.told["slides"]}
    assert states == {
        "8863": "ok",
        "9022": "partial",
        "9100": "ok",
        "10253": "ok",
        "90001": "ok",
        HOSTILE: "caution",
        "empty.svs": "no tissue",
        "no scale.tiff": "failed",
    }
    assert list(states)[:5] == ["8863", "9022", "9100", "10253", "90001"]
    assert len(page.rows) == len(states)
    failed = next(row for row in page.rows if "no scale.tiff" in row)
    assert SCRIPT in failed


def test_the_figures_are_those_of_the_summary(page: Page, cohort: Path) -> None:
    for name, row in read_summary(cohort).items():
        figures = slide(page, name)["figures"]
        for column, value in figures.items():
            assert value == (pytest.approx(float(row[column]), abs=1e-6) if row[column] else None), (name, column)


def test_a_slide_is_named_by_its_folder(page: Page, cohort: Path) -> None:
    url = str(slide(page, HOSTILE)["url"])
    assert re.fullmatch(r"[A-Za-z0-9_.~%/-]+", url)
    _, stamp, patches = patches_of(cohort / HOSTILE / "report.js")
    assert stamp == slide(page, HOSTILE)["view"]["stamp"]
    assert len(patches["minx"]) == 120


def test_a_name_that_a_table_guards_or_escapes_is_one_slide(tmp_path: Path) -> None:
    names = ["=1+1.svs", "a\u202egvs.exe"]
    for name in names:
        add_slide(tmp_path, make_source(3, 3), name, draw=False)
    rows = [summarise(make_scores(name, [], np.empty((0, 2)), 0.5), (1, 1), 1.0) for name in names]
    write_summary(tmp_path / "summary.csv", [*rows, failed("@gone.svs", "=is not there.")])
    page = Page(write_report(tmp_path))
    states = {of["name"]: of["state"] for of in page.told["slides"]}
    assert states == {"=1+1.svs": "ok", "@gone.svs": "failed", "a\\u202egvs.exe": "ok"}
    assert "\u202e" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_of_a_name_or_a_reason_becomes_markup(page: Page) -> None:
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert sum("type" not in attrs for attrs in scripts) == 1 + len(SCRIPTS)
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert not any(tag == "b" for tag, _ in page.tags)
    assert script_json({"a": SCRIPT + "<!-- & \u2028"}).isascii()
    assert not set("<>&") & set(script_json({"a": SCRIPT + "<!-- &"}))
    assert json.loads(script_json([SCRIPT])) == [SCRIPT]


def test_the_page_asks_no_network_for_anything(page: Page, cohort: Path) -> None:
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "action"):
            value = attrs.get(name) or ""
            assert value.startswith(("data:", "#")) or not value, (tag, value)
    text = (cohort / "report.html").read_text()
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and "http" not in policy and "default-src 'none'" in policy
    assert "sourceMappingURL" not in text
    assert not re.search(r"url\((?!data:)", text.split("<script", 1)[0])


def test_the_library_keeps_its_licence(cohort: Path, page: Page) -> None:
    text = (cohort / "report.html").read_text()
    assert "Redistributions in binary form must reproduce" in text
    assert "Leaflet 1." in text and "Agafonkin" in text


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    make_results(tmp_path)
    contents = []
    for _ in range(2):
        write_report(tmp_path)
        contents.append({path: path.read_bytes() for path in tmp_path.rglob("report.*")})
        assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
    assert contents[0] == contents[1]


def test_patches_are_those_of_the_table(cohort: Path, page: Page) -> None:
    found = find_results(cohort)
    for name in ("8863", "9022"):
        scores = read_results(name, found[name], cohort, None).scores
        assert scores is not None
        url, _, patches = patches_of(cohort / name / "report.js")
        assert url == name
        assert patches["minx"] == scores.minx.tolist() and patches["label"] == scores.label.tolist()
        back = np.array([np.nan if value is None else value / PPM for value in patches["prob"]])
        # With context the calls follow the blurred probability.
        np.testing.assert_array_equal(back, scores.prob)
    assert None in patches["prob"]


def test_the_cohort_is_counted_at_every_step(page: Page, cohort: Path) -> None:
    found = find_results(cohort)
    all_scores = [
        scores
        for name, folder in found.items()
        if (scores := read_results(name, folder, cohort, None).scores) is not None
    ]
    label = np.concatenate([of.label[of.labelled] for of in all_scores])
    prob = np.concatenate([of.prob[of.labelled] for of in all_scores])
    told = page.told["cohort"]
    expected = compute_metrics(label, prob, THRESHOLD)
    assert told["threshold"] == THRESHOLD
    assert told["counts"] == {key: getattr(expected, key) for key in ("tn", "fp", "fn", "tp")}
    for step in (0, 1, 432, 433, 500, 999, STEPS):
        at = compute_metrics(label, prob, step / STEPS)
        assert (told["calledIdc"][step], told["calledNone"][step]) == (at.tp, at.fp)


def test_intervals_are_shown_only_for_these_very_patches(tmp_path: Path) -> None:
    make_results(tmp_path)
    assert "95 % intervals" in write_report(tmp_path).read_text()
    add_slide(tmp_path, make_source(6, 6), "9200")
    assert "95 % intervals" not in write_report(tmp_path).read_text()


def test_a_folder_of_single_runs_is_enough(tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6), "8863")
    page = Page(write_report(tmp_path))
    assert slide(page, "8863")["figures"]["n"] == 36
    assert (
        page.told["cohort"]["counts"]["tp"]
        == slide(page, "8863")["figures"]["positives"] - (page.told["cohort"]["counts"]["fp"])
    )


def test_without_labels_there_is_no_matrix(tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6, labels="none"), "8863")
    path = write_report(tmp_path)
    assert Page(path).told["cohort"] is None
    assert "no confusion matrix" in path.read_text()


def test_what_was_only_scored_says_so(page: Page) -> None:
    view = slide(page, "9100")["view"]
    assert view["tissue"] is None and "wsi-idc heatmap" in view["whyNoTissue"]
    assert slide(page, "8863")["view"]["tissue"] == {"src": "8863/mosaic.png", "width": 1192, "height": 980}


def test_what_the_reader_must_know_is_said(page: Page, cohort: Path) -> None:
    text = (cohort / "report.html").read_text()
    assert "For research use only. Not for use in diagnostic procedures." in text
    assert "PHANTOM" in text and "trained on 1 of these 8" in text
    assert [of["name"] for of in page.told["slides"] if of.get("trainedOnIt")] == ["9022"]
    assert [of["name"] for of in page.told["slides"] if of.get("kind") == "phantom"] == ["90001"]


def edit_run(folder: Path, key: str, part: str, value: object) -> None:
    path = folder / "run.json"
    run = json.loads(path.read_text())
    run[part][key] = value
    path.write_text(json.dumps(run))


def edit_cell(folder: Path, column: int, value: str) -> None:
    """Change a cell of the second patch, which the run's threshold does not call."""
    path = folder / "scores.csv"
    header, first, second, *rest = path.read_text().splitlines()
    cells = second.split(",")
    cells[column] = value
    if column == 5:
        cells[7] = "1"
    path.write_text("\n".join([header, first, ",".join(cells), *rest]) + "\n")


@pytest.mark.parametrize(
    ("damage", "state"),
    [
        (lambda folder: (folder / "run.json").unlink(), "unfinished"),
        (lambda folder: (folder / "run.json").write_text("{"), "unfinished"),
        (lambda folder: (folder / "run.json").write_text("[" * 100_000), "unfinished"),
        (lambda folder: (folder / "run.json").write_text('{"source": 3}'), "unfinished"),
        (lambda folder: (folder / "scores.csv").unlink(), "unfinished"),
        (lambda folder: (folder / "scores.csv").write_text("minx\n1\n"), "unfinished"),
        (lambda folder: edit_run(folder, "threshold", "model", 1e999), "unfinished"),
        (lambda folder: edit_run(folder, "mpp", "source", [4.0, -4.0]), "unfinished"),
        (lambda folder: edit_run(folder, "threshold", "model", 10**400), "unfinished"),
        (lambda folder: edit_run(folder, "size_px", "source", []), "unfinished"),
        (lambda folder: edit_run(folder, "size_px", "source", [1e999, 1]), "unfinished"),
        (lambda folder: edit_run(folder, "size_px", "source", [10**400, -1]), "ok"),
        (lambda folder: edit_cell(folder, 0, "9" * 30), "unfinished"),
        (lambda folder: edit_cell(folder, 0, "x" * 200_000), "unfinished"),
        (lambda folder: edit_cell(folder, 5, "1.500000"), "unfinished"),
        (lambda folder: edit_cell(folder, 6, "7"), "unfinished"),
        (lambda folder: edit_cell(folder, 0, "-50"), "unfinished"),
        (lambda folder: edit_cell(folder, 2, str(2**25)), "unfinished"),
        (lambda folder: edit_run(folder, "name", "model", "\ud800<b>"), "ok"),
    ],
)
def test_one_damaged_slide_ends_no_report(tmp_path: Path, damage: object, state: str) -> None:
    for name in ("8863", "9022"):
        add_slide(tmp_path, make_source(6, 6), name)
    damage(tmp_path / "8863")  # type: ignore[operator]
    page = Page(write_report(tmp_path))
    assert slide(page, "8863")["state"] == state
    assert slide(page, "9022")["state"] == "caution"
    view = slide(page, "8863")["view"]
    assert (view is None) == (state != "ok")


@pytest.mark.parametrize("content", [b"no picture", None])
def test_a_damaged_mosaic_is_left_out(tmp_path: Path, content: bytes | None) -> None:
    add_slide(tmp_path, make_source(6, 6), "8863")
    path = tmp_path / "8863" / "mosaic.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    view = slide(Page(write_report(tmp_path)), "8863")["view"]
    assert view["tissue"] is None and "mosaic.png" in view["whyNoTissue"]


def test_a_table_of_nonsense_is_no_reason_to_stop(tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6), "8863")
    (tmp_path / "summary.csv").write_text("slide,status,seconds\n8863,ok,nan\n9,failed,inf\n")
    assert slide(Page(write_report(tmp_path)), "8863")["figures"]["seconds"] is None
    (tmp_path / "summary.csv").write_bytes(b"\xff\x00,slide\n")
    assert len(Page(write_report(tmp_path)).rows) == 1


def test_a_slide_that_failed_again_shows_its_earlier_result(tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6), "8863")
    (tmp_path / "summary.csv").write_text("slide,status,error\n8863,failed,gone\n../../etc,failed,outside\n")
    page = Page(write_report(tmp_path))
    assert [of["name"] for of in page.told["slides"]] == ["8863"]
    assert slide(page, "8863")["state"] == "failed"
    assert slide(page, "8863")["view"] is not None
    assert "earlier run" in str(slide(page, "8863")["error"])


def test_other_folders_are_no_slides(tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6), "8863")
    for name in ("evaluate-test", ".hidden", "8863/mosaic.ome.zarr/0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "metrics.json").write_text("{}")
    (tmp_path / ".hidden" / "run.json").write_text("{}")
    assert list(find_results(tmp_path)) == ["8863"]


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_results_is_one_sentence(tmp_path: Path, make: bool) -> None:
    folder = tmp_path / "nothing"
    if make:
        folder.mkdir()
    with pytest.raises(DataNotFoundError, match=r"--out"):
        write_report(folder)


def test_names_that_are_no_unicode_can_be_shown(tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6), "8863")
    try:
        (tmp_path / "8863").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.svs"))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    page = Page(write_report(tmp_path))
    assert slide(page, "caf\\udce9.svs")["url"] == "caf%E9.svs"


@pytest.mark.parametrize(
    ("size_l0", "mpp", "size", "factor"),
    [
        ((20_000, 16_000), 0.5, (1250, 1000), 16),
        ((20_001, 16_000), 1.02, (2858, 2286), 7),
        ((200_001, 100_000), 0.5, (8001, 4000), 25),
        ((200_001, 100_000), 0.5, (8000, 4000), None),
        ((20_000, 16_000), 0.5, (10, 10), None),
    ],
)
def test_a_mosaic_lies_where_the_slides_size_says(
    tmp_path: Path, size_l0: tuple[int, int], mpp: float, size: tuple[int, int], factor: int | None
) -> None:
    source = make_source(24, 20, labels="none", kind="slide", mpp_source="file", mpp=(mpp, mpp))
    add_slide(tmp_path, replace(source, size_px=size_l0), "a.svs", draw=False)
    run = read_results("a.svs", tmp_path / "a.svs", tmp_path, None).run
    assert run is not None
    assert mosaic_factor(size, run) == factor
    Image.new("RGB", size).save(tmp_path / "a.svs" / "mosaic.png")
    tissue, why = find_tissue(tmp_path / "a.svs", run)
    assert (tissue is None) == (factor is None) == bool(why)


def test_a_mosaic_of_other_patches_is_not_laid_under_these(tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6), "8863")
    Image.new("RGB", (100, 100)).save(tmp_path / "8863" / "mosaic.png")
    assert slide(Page(write_report(tmp_path)), "8863")["view"]["tissue"] is None


def test_a_thumbnail_in_the_mosaic_gives_the_page_that_the_mosaic_gives(tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(24, 20, keep=0.8), "8863")
    path = tmp_path / "8863" / "mosaic.png"
    page, mosaic = write_report(tmp_path).read_bytes(), Image.open(path)
    ((kind, held),) = mosaic.private_chunks
    mosaic.save(path)
    with Image.open(path) as without:
        assert kind == THUMBNAIL_CHUNK and not without.private_chunks
    assert write_report(tmp_path).read_bytes() == page

    pixels = np.asarray(mosaic)
    black = encode_png(np.zeros_like(np.asarray(Image.open(io.BytesIO(held)))))
    save_png(path, pixels, thumbnail=black)
    assert write_report(tmp_path).read_bytes() != page, "the thumbnail is used"
    for damaged in (held[:-20], b"no picture", encode_png(pixels)):
        save_png(path, pixels, thumbnail=damaged)
        assert write_report(tmp_path).read_bytes() == page


def test_a_page_for_mailing_holds_its_slides_and_no_others(tmp_path: Path) -> None:
    make_results(tmp_path)
    path = write_report(tmp_path, ["9022", "8863", "9022"])
    assert path.name == "report-single.html"
    assert not list(tmp_path.rglob("report.js")) and not (tmp_path / "report.html").exists()
    page = Page(path)
    assert [of["name"] for of in page.told["slides"]] == ["9022", "8863"]
    assert slide(page, "8863")["view"]["tissue"]["src"].startswith("data:image/webp;base64,")
    assert slide(page, "8863")["view"]["files"] == []
    assert "90001" not in path.read_text()
    assert [attrs["data-url"] for tag, attrs in page.tags if attrs.get("class") == "slide-data"] == ["9022", "8863"]


def test_nothing_of_a_name_becomes_markup_in_a_page_for_mailing(tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6), HOSTILE)
    page = Page(write_report(tmp_path, [HOSTILE]))
    assert slide(page, HOSTILE)["state"] == "ok"
    assert HOSTILE in page.rows[0]
    assert sum(tag == "script" and "type" not in attrs for tag, attrs in page.tags) == 1 + len(SCRIPTS)
    assert not any("onerror" in attrs for _, attrs in page.tags)


def test_a_slide_that_is_not_there_cannot_be_mailed(tmp_path: Path) -> None:
    make_results(tmp_path)
    with pytest.raises(OptionError, match=r"no slide '8864' among the 8 of .* 8863"):
        write_report(tmp_path, ["8864"])


def test_slides_of_different_thresholds_are_pooled_at_the_commonest(tmp_path: Path) -> None:
    scores = [add_slide(tmp_path, make_source(6, 6), name) for name in ("8863", "9022", "9100")]
    pool = Pool()
    for one, threshold in zip(scores, (0.7, 0.5, 0.5), strict=True):
        pool.add(one.with_threshold(threshold))
    assert pool.thresholds == [0.5, 0.7]
    pooled = pool.sum_up(tmp_path)
    assert pooled is not None and pooled.metrics.threshold == 0.5 and pooled.slides == 3


def test_a_probability_on_a_step_is_called(tmp_path: Path) -> None:
    source = make_source(3, 1)
    prob = np.array([0.1, 0.5, 0.501])
    pool = Pool()
    pool.add(
        make_scores("8863", source.patches, np.stack([1 - prob, prob], axis=1), 0.5).with_labels(np.ones(3, np.int8))
    )
    pooled = pool.sum_up(tmp_path)
    assert pooled is not None
    assert [pooled.called_idc[step] for step in (0, 100, 101, 500, 501, 502)] == [3, 3, 2, 2, 1, 0]
    assert pooled.called_none.sum() == 0


def test_a_cohort_of_279_stays_small(tmp_path: Path) -> None:
    """What a slide adds to the page, times 279, with a real slide's thumbnails being at most twice as large."""
    sizes = []
    for count in (1, 3):
        out = tmp_path / str(count)
        out.mkdir()
        for i in range(count):
            add_slide(out, make_source(60, 40), str(9000 + i), seed=i)
        sizes.append(write_report(out).stat().st_size)
    each = (sizes[1] - sizes[0]) / 2
    assert sizes[0] + 2 * 278 * each < 15e6


def test_the_report_needs_no_tensorflow() -> None:
    check = "import sys, wsi_idc.report; print({'tensorflow', 'keras', 'dask', 'matplotlib.pyplot'} & {*sys.modules})"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"
