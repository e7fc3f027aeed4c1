"""``wsi-idc report``, and its page in a browser that has no network."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ran
from tests.plotting.conftest import make_source
from tests.plotting.results import HOSTILE, add_slide, make_results
from wsi_idc.metrics import compute_metrics
from wsi_idc.scoring.scores import Scores

Run = Callable[..., Ran]

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)

needs_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER) and not os.environ.get("CI"), reason="chromium and chromedriver are not installed"
)


def test_the_page_is_what_is_printed(run: Run, tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6), "8863")
    ran = run("report", tmp_path)
    assert (ran.code, ran.out, ran.err) == (0, f"{tmp_path / 'report.html'}\n", "")
    assert (tmp_path / "8863" / "report.js").is_file()


def test_chosen_slides_go_into_one_file(run: Run, tmp_path: Path) -> None:
    for name in ("8863", "9022", "9100"):
        add_slide(tmp_path, make_source(6, 6), name)
    ran = run("report", tmp_path, "--single-file", "9100", "--single-file", "8863")
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'report-single.html'}\n")
    assert "9022" not in (tmp_path / "report-single.html").read_text()


def test_what_cannot_be_used_is_one_sentence(run: Run, tmp_path: Path) -> None:
    for args in ((tmp_path / "nowhere",), (tmp_path,)):
        ran = run("report", *args)
        assert ran.code == 2 and "--out" in ran.err and "Traceback" not in ran.err
    add_slide(tmp_path, make_source(6, 6), "8863")
    ran = run("report", tmp_path, "--single-file", "8864")
    assert ran.code == 2 and "8863" in ran.err
    assert run("report").code == 2


def test_scoring_again_after_a_report_leaves_it_alone(run: Run, tmp_path: Path) -> None:
    add_slide(tmp_path, make_source(6, 6), "8863")
    assert run("report", tmp_path).code == 0
    before = (tmp_path / "8863" / "report.js").read_bytes()
    add_slide(tmp_path, make_source(6, 6), "8863", context=1.0)
    assert (tmp_path / "8863" / "report.js").read_bytes() == before
    assert run("report", tmp_path).code == 0
    assert (tmp_path / "8863" / "report.js").read_bytes() != before


class Browser:
    """A headless Chromium, and what it asked for and complained of."""

    def __init__(self, profile: Path) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or "chromium"
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        # The driver is named, so that selenium does not look for one in the network.
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER or "chromedriver"))
        self.requests: list[str] = []

    def open(self, path: Path, width: int = 1400, height: int = 900) -> None:
        """Open a file in a window of this size."""
        self.size(width, height)
        self.driver.get("about:blank")
        self.driver.get(path.absolute().as_uri())
        self.settle()

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def run(self, script: str, *args: object) -> Any:
        return self.driver.execute_script(script, *args)

    def wait(self, script: str, *args: object) -> Any:
        """Wait until an expression is true, and give its value."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, 20, 0.05).until(
            lambda driver: driver.execute_script(f"return {script}", *args)
        )

    def text(self, selector: str) -> str:
        return str(self.run("return document.querySelector(arguments[0]).textContent", selector)).strip()

    def press(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def show(self, url: str) -> None:
        """Open a slide by the address of the page, and wait until it is drawn."""
        self.run("location.hash = '#slide=' + arguments[0]", url)
        self.wait("wsiIdc.viewer.view()?.slide.url === arguments[0]", url)
        # One frame later the threshold has been applied.
        self.wait("document.getElementById('called').textContent !== ''")

    def names(self) -> list[str]:
        return list(
            self.run("return [...document.querySelectorAll('#gallery-table a.name')].map((a) => a.textContent)")
        )

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def asked_for(self) -> list[str]:
        """Every URL that was requested since the last time."""
        logged = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [of["params"]["request"]["url"] for of in logged if of["method"] == "Network.requestWillBeSent"]

    def matrix(self, root: str) -> dict[str, int]:
        """The counts that a confusion matrix shows."""
        return {
            key: int(self.text(f"{root} [data-cell={key}] .count").replace(",", "")) for key in ("tn", "fp", "fn", "tp")
        }

    def set_threshold(self, root: str, value: float) -> None:
        """Move the slider as a hand does, and wait for what follows."""
        self.run(
            "const slider = document.querySelector(arguments[0] + ' input[type=range]');"
            "slider.value = arguments[1]; slider.dispatchEvent(new Event('input', {bubbles: true}));",
            root,
            value,
        )
        self.settle()

    def settle(self) -> None:
        """Wait for two frames: what moves is drawn once a frame."""
        self.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module")
def scores(cohort: Path) -> dict[str, Scores]:
    from wsi_idc.report.gather import find_results, read_results

    read = {name: read_results(name, folder, cohort, None).scores for name, folder in find_results(cohort).items()}
    return {name: of for name, of in read.items() if of is not None}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with its report, never changed."""
    from wsi_idc.report import write_report

    out = tmp_path_factory.mktemp("results")
    make_results(out)
    write_report(out)
    write_report(out, ["8863", "90001"])
    return out


def counts_of(scores: Scores, threshold: float) -> dict[str, int]:
    found = compute_metrics(scores.label[scores.labelled], scores.prob[scores.labelled], threshold)
    return {key: getattr(found, key) for key in ("tn", "fp", "fn", "tp")}


@needs_browser
def test_nothing_leaves_the_page_and_nothing_goes_wrong(browser: Browser, cohort: Path, tmp_path: Path) -> None:
    browser.asked_for()
    browser.complaints()
    browser.open(cohort / "report.html")
    for url in browser.run("return wsiIdc.data.slides.filter((slide) => slide.view).map((slide) => slide.url)"):
        browser.show(url)
    browser.driver.save_screenshot(str(tmp_path / "slide.png"))
    asked = [url for url in browser.asked_for() if not url.startswith(("data:", "about:"))]
    assert asked and all(url.startswith(cohort.as_uri()) for url in asked)
    assert any(url.endswith("8863/mosaic.png") for url in asked)
    assert any(url.endswith("8863/report.js") for url in asked)
    assert browser.complaints() == []
    assert browser.driver.title != "taken"
    assert browser.run("return document.querySelectorAll('img[src=x], b').length") == 0


@needs_browser
def test_slides_can_be_gone_through_faster_than_they_are_drawn(browser: Browser, cohort: Path) -> None:
    browser.open(cohort / "report.html")
    browser.show("8863")
    browser.complaints()
    # A step of a zoom draws at once what was to be drawn with the next frame, and by then the slide is gone.
    browser.run(
        "const view = wsiIdc.viewer.view(); document.getElementById('layer-calls').click(); "
        "view.map.setZoom(view.map.getZoom() + 0.5, {animate: false}); wsiIdc.viewer.close()"
    )
    browser.settle()
    assert browser.complaints() == []


@needs_browser
def test_the_gallery_sorts_and_filters(browser: Browser, cohort: Path) -> None:
    browser.open(cohort / "report.html")
    names = browser.names()
    assert names[:2] == ["8863", "9022"] and len(names) == 8
    auc = browser.run("return Object.fromEntries(wsiIdc.data.slides.map((of) => [of.name, of.figures.auc]))")
    browser.run("document.querySelector('th button[data-key=auc]').click()")
    ranked = [name for name in browser.names() if auc[name] is not None]
    assert ranked == sorted(ranked, key=lambda name: auc[name]) == browser.names()[: len(ranked)]
    assert browser.run("return document.querySelector('[aria-sort=ascending]').textContent").strip() == "AUC"
    browser.run("document.querySelector('th button[data-key=auc]').click()")
    assert browser.names()[: len(ranked)] == ranked[::-1]
    browser.run("document.getElementById('failed-only').click()")
    assert browser.names() == ["no scale.tiff"] and browser.text("#shown") == "1 of 8 slides"
    browser.run("document.getElementById('show-all').click()")
    browser.driver.find_element("id", "search").send_keys("90")
    assert browser.names() == ["9022", "90001"]
    browser.run("document.getElementById('show-all').click()")
    browser.run("document.getElementById('limit-by').value = 'auc'")
    browser.driver.find_element("id", "limit").send_keys(str(auc[ranked[0]]))
    assert browser.names() == ranked[:1]
    browser.driver.find_element("id", "search").send_keys("no such slide")
    assert browser.names() == [] and browser.run("return !document.getElementById('none-shown').hidden")


@needs_browser
@pytest.mark.parametrize("name", ["8863", "9022", "9100", "90001"])
def test_the_slider_counts_as_metrics_json_would(
    browser: Browser, cohort: Path, scores: dict[str, Scores], name: str
) -> None:
    browser.open(cohort / "report.html")
    browser.show(name)
    written = json.loads((cohort / name / "metrics.json").read_text())
    browser.settle()
    assert browser.matrix("#slide-matrix") == {key: written[key] for key in ("tn", "fp", "fn", "tp")}
    assert browser.text("#slide-matrix [data-figure=f1]") == f"{written['f1']:.3f}"
    assert browser.text("#slide-matrix [data-fixed=auc]") == f"{written['auc']:.3f}"
    edge = "return wsiIdc.viewer.view().calls[1].getLatLngs().length"
    loops = browser.run(edge)
    for threshold in (0.0, 0.2, 0.7, 1.0):
        browser.set_threshold("#slide-threshold", threshold)
        assert browser.matrix("#slide-matrix") == counts_of(scores[name], threshold)
    assert browser.run(edge) != loops
    of = scores[name]
    at = float(of.prob[of.labelled][7])
    browser.run(
        "const field = document.querySelector('#slide-threshold input[type=number]');"
        "field.value = arguments[0]; field.dispatchEvent(new Event('input', {bubbles: true}))",
        f"{at:.6f}",
    )
    browser.settle()
    assert browser.matrix("#slide-matrix") == counts_of(of, at)
    browser.run("document.querySelector('#slide-threshold button').click()")
    browser.settle()
    assert browser.matrix("#slide-matrix")["tp"] == written["tp"]


@needs_browser
def test_the_cohorts_slider_counts_as_metrics_json_would(
    browser: Browser, cohort: Path, scores: dict[str, Scores]
) -> None:
    browser.open(cohort / "report.html")
    written = json.loads((cohort / "metrics.json").read_text())
    browser.settle()
    assert browser.matrix("#cohort-figures") == {key: written[key] for key in ("tn", "fp", "fn", "tp")}
    at = browser.run("return document.getElementById('roc-point').getAttribute('cx')")
    browser.set_threshold("#cohort-threshold", 0.731)
    each = [counts_of(of, 0.731) for of in scores.values() if of.labelled.any()]
    assert browser.matrix("#cohort-figures") == {key: sum(of[key] for of in each) for key in ("tn", "fp", "fn", "tp")}
    assert browser.run("return document.getElementById('roc-point').getAttribute('cx')") != at


@needs_browser
def test_a_patch_that_is_pointed_at_is_named(browser: Browser, cohort: Path, scores: dict[str, Scores]) -> None:
    browser.open(cohort / "report.html")
    browser.show("8863")
    of = scores["8863"]
    i = len(of) // 2
    browser.run(
        "const view = wsiIdc.viewer.view();"
        "view.map.fire('mousemove', {latlng: view.place(arguments[0], arguments[1])})",
        int(of.minx[i]) + 1,
        int(of.miny[i]) + 1,
    )
    told = browser.text("#patch")
    assert f"8863_idx5_x{of.minx[i] + 1}_y{of.miny[i] + 1}_class{of.label[i]}.png" in told
    assert f"probability of IDC {of.prob[i]:.3f}" in told
    assert ("called IDC" in told) == bool(of.pred[i])
    assert browser.text(".tip") == told


@needs_browser
def test_layers_switch_and_fade(browser: Browser, cohort: Path) -> None:
    browser.open(cohort / "report.html")
    browser.show("8863")
    opacity = "return getComputedStyle(document.querySelector('.leaflet-{}-pane .leaflet-image-layer')).opacity"
    assert browser.run(opacity.format("heat")) == "0.55"
    assert browser.run(opacity.format("errors")) == "0"
    browser.press("5")
    assert browser.run(opacity.format("errors")) == "0.8"
    assert browser.run(opacity.format("heat")) == "0"
    browser.press("2")
    assert browser.run(opacity.format("errors")) == "0"
    browser.run(
        "const fade = document.getElementById('fade-tissue'); fade.value = 0.3;"
        "fade.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    assert browser.run(opacity.format("tissue")) == "0.3"
    browser.press("1")
    assert browser.run(opacity.format("tissue")) == "0"


@needs_browser
def test_keys_are_enough(browser: Browser, cohort: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(cohort / "report.html")
    browser.run("document.querySelector('a.name').focus()")
    browser.press(Keys.ARROW_DOWN)
    assert browser.run("return document.activeElement.textContent") == "9022"
    browser.press(Keys.ENTER)
    browser.wait("wsiIdc.viewer.view()?.slide.url === '9022'")
    assert browser.run("return document.activeElement.id") == "map"
    centre = "const at = wsiIdc.viewer.view().map.getCenter(); return at.lng"
    before, zoom = browser.run(centre), "wsiIdc.viewer.view().map.getZoom()"
    at = browser.run(f"return {zoom}")
    browser.press("+")
    browser.wait(f"{zoom} > arguments[0]", at)
    browser.press(Keys.ARROW_RIGHT)
    browser.wait("wsiIdc.viewer.view().map.getCenter().lng > arguments[0]", before)
    browser.wait("document.getElementById('patch').textContent.includes('9022_idx5')")
    browser.press("n")
    browser.wait("wsiIdc.viewer.view()?.slide.url === '9100'")
    browser.press("p")
    browser.wait("wsiIdc.viewer.view()?.slide.url === '9022'")
    browser.press(Keys.ESCAPE)
    browser.wait("document.getElementById('slide').hidden")
    assert browser.run("return document.activeElement.textContent") == "9022"


@needs_browser
def test_next_and_previous_keep_what_was_set(browser: Browser, cohort: Path) -> None:
    browser.open(cohort / "report.html")
    browser.show("8863")
    browser.set_threshold("#slide-threshold", 0.75)
    browser.run("document.getElementById('layer-tissue').click()")
    browser.run("const f = document.getElementById('fade-heat'); f.value = 0.3; f.dispatchEvent(new Event('input'))")
    for _ in range(3):  # The third is not labelled: it has no layer of labels to keep.
        browser.run("document.getElementById('next').click()")
        browser.wait("wsiIdc.viewer.view() !== null")
        browser.settle()
    assert browser.run("return wsiIdc.viewer.view().threshold") == 0.75
    assert not browser.run("return document.getElementById('layer-tissue').checked")
    assert browser.run("return document.getElementById('fade-heat').value") == "0.3"
    browser.run("document.getElementById('previous').click()")
    browser.wait("wsiIdc.viewer.view()?.labelled")
    browser.settle()
    assert browser.run("return document.getElementById('layer-labels').checked")
    browser.run("location.hash = ''")
    browser.wait("!document.getElementById('cohort').hidden")
    browser.show("9022")
    assert browser.run("return document.getElementById('layer-tissue').checked")
    assert browser.run("return wsiIdc.viewer.view().threshold === wsiIdc.viewer.view().slide.threshold")


@needs_browser
def test_a_click_draws_no_frame_of_the_keyboard(browser: Browser, cohort: Path) -> None:
    from selenium.webdriver.common.by import By

    browser.open(cohort / "report.html")
    browser.driver.find_element(By.CSS_SELECTOR, "#gallery-table tbody img").click()
    browser.wait("wsiIdc.viewer.view() !== null")
    frame = "return getComputedStyle(document.getElementById('map'), '::after').content"
    assert browser.run(frame) == "none"
    browser.press("\ue014")  # The right arrow.
    browser.settle()
    assert browser.run(frame) != "none"


@needs_browser
def test_the_pooled_figures_are_of_the_slides_in_the_list(
    browser: Browser, cohort: Path, scores: dict[str, Scores]
) -> None:
    browser.open(cohort / "report.html")
    everything = browser.matrix("#cohort-figures")
    browser.run("const s = document.getElementById('search'); s.value = '9022'; s.dispatchEvent(new Event('input'))")
    browser.settle()
    assert browser.matrix("#cohort-figures") == counts_of(scores["9022"], scores["9022"].threshold)
    assert "of 1 slide in the list below" in browser.text("#cohort-of")
    browser.run("document.getElementById('show-all').click()")
    browser.settle()
    assert browser.matrix("#cohort-figures") == everything


@needs_browser
def test_a_slide_is_printed_whole(browser: Browser, cohort: Path, tmp_path: Path) -> None:
    browser.open(cohort / "report.html")
    browser.show("8863")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.size(720, 1000)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    browser.settle()
    try:
        for name in ("map", "layers", "slide-matrix", "colour-bar"):
            box = browser.run(
                "const box = document.getElementById(arguments[0]).getBoundingClientRect();"
                "return [box.width, box.height, box.right]",
                name,
            )
            assert box[0] > 100 and box[1] > 5 and box[2] <= 721, (name, box)
        assert browser.run("return getComputedStyle(document.body).overflow") == "visible"
        assert browser.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
    finally:
        browser.run("dispatchEvent(new Event('afterprint'))")
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@needs_browser
def test_a_hostile_name_is_only_text(browser: Browser, cohort: Path) -> None:
    browser.open(cohort / "report.html")
    url = browser.run("return wsiIdc.data.slides.find((of) => of.name === arguments[0]).url", HOSTILE)
    browser.show(url)
    assert browser.text("#slide-name") == HOSTILE
    assert "wsi-idc heatmap" in browser.text("#slide-note")
    assert browser.run("return document.getElementById('slide-matrix').hidden")
    browser.run("location.hash = '#slide=no%20scale.tiff'")
    browser.wait("!document.getElementById('no-result').hidden")
    assert "<script>" in browser.text("#no-result-why")


@needs_browser
def test_a_page_without_its_folders_says_so(browser: Browser, cohort: Path, tmp_path: Path) -> None:
    shutil.copy(cohort / "report.html", tmp_path)
    browser.open(tmp_path / "report.html")
    browser.run("location.hash = '#slide=8863'")
    browser.wait("document.getElementById('slide-note').textContent.includes('not beside this page')")
    shutil.copytree(cohort / "8863", tmp_path / "8863")
    path = tmp_path / "8863" / "report.js"
    path.write_text(path.read_text().replace('"8863","', '"8863","other', 1))
    browser.open(tmp_path / "report.html")
    browser.show("8863")
    assert "different runs" in browser.text("#slide-note")
    browser.complaints()


@needs_browser
def test_a_page_for_mailing_needs_nothing_beside_it(browser: Browser, cohort: Path, tmp_path: Path) -> None:
    shutil.copy(cohort / "report-single.html", tmp_path)
    browser.complaints()
    browser.asked_for()
    browser.open(tmp_path / "report-single.html")
    browser.show("90001")
    browser.wait("document.querySelector('.leaflet-tissue-pane img').naturalWidth > 0")
    asked = [url for url in browser.asked_for() if not url.startswith(("data:", "about:"))]
    assert asked == [(tmp_path / "report-single.html").as_uri()]
    assert browser.complaints() == []


@needs_browser
@pytest.mark.parametrize("width", [1400, 400])
def test_the_page_fits_its_window(browser: Browser, cohort: Path, width: int, tmp_path: Path) -> None:
    browser.open(cohort / "report.html", width)
    wide = "return document.documentElement.scrollWidth"
    assert browser.run(wide) <= width
    browser.driver.save_screenshot(str(tmp_path / f"gallery-{width}.png"))
    browser.run("scrollTo(0, 500)")
    browser.show("8863")
    assert browser.run(wide) <= width
    assert browser.run("return scrollY") == 0
    assert "For research use only" in browser.text("#map")
    browser.driver.save_screenshot(str(tmp_path / f"slide-{width}.png"))
    # The tissue is really there, and so is colour over it.
    box = browser.run("const at = document.getElementById('map').getBoundingClientRect(); return [at.width, at.height]")
    assert box[0] > width / 2 and box[1] > 300


@needs_browser
@pytest.mark.parametrize("width", [700, 400, 330])
@pytest.mark.parametrize("name", ["9022", "90001"])
def test_the_scale_bar_hides_no_note(browser: Browser, cohort: Path, width: int, name: str) -> None:
    browser.open(cohort / "report.html", width)
    browser.show(name)
    for _ in range(4):
        note, bar = (
            browser.run("return document.querySelector(arguments[0]).getBoundingClientRect()", of)
            for of in (".use-note", ".scale-bar")
        )
        assert note["right"] <= bar["left"] and note["left"] >= 0 and bar["right"] <= width
        browser.driver.find_element("class name", "leaflet-control-zoom-in").click()
        browser.settle()
