"""``wsi-idc view``: the command, and its page in a browser."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_report import Browser, needs_browser
from tests.conftest import Ran
from tests.plotting.conftest import make_source
from tests.plotting.results import add_slide
from tests.report.served import SLIDE, Client, add_raw_slide, pixels_of_slide, write_slide
from wsi_idc.report import write_report
from wsi_idc.scoring.corrections import CORRECTIONS_FILE, read_corrections, write_corrections

ROOT = Path(__file__).parents[2]


@contextmanager
def viewing(out: Path, *options: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running command, and the address that it has printed."""
    command = [sys.executable, "-m", "wsi_idc", "view", str(out), "--no-browser", *map(str, options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a raw slide and of a case, never changed."""
    folder = tmp_path_factory.mktemp("made")
    slide = write_slide(folder / "slides" / "b.tif")
    add_raw_slide(folder / "results", slide)
    add_slide(folder / "results", make_source(6, 5), "8863")
    return folder / "results"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


def test_the_address_is_printed_and_ctrl_c_ends_it(out: Path) -> None:
    with viewing(out) as (process, address):
        assert address.startswith("http://127.0.0.1:") and "/?token=" in address
        client = Client(address.split("?")[0])
        assert client.ask("/").status == 403
        assert client.enter(address.split("=")[1]).status == 200
        assert SLIDE.encode() in client.ask("/").body
        process.send_signal(signal.SIGINT)
        rest, said = process.communicate(timeout=20)
    assert (process.returncode, rest, said) == (0, "", "")


def test_a_named_port_is_taken(out: Path) -> None:
    with viewing(out) as (_, address):
        port = address.split(":")[2].split("/")[0]
        with viewing(out, "--port", port) as (other, nothing):
            _, said = other.communicate(timeout=20)
        assert (nothing, other.returncode) == ("", 2) and "--port" in said and "Traceback" not in said


def test_what_cannot_be_viewed_is_one_sentence(run: Callable[..., Ran], tmp_path: Path) -> None:
    for args in ((tmp_path / "nowhere",), (tmp_path,), ()):
        ran = run("view", *args, "--no-browser")
        assert ran.code == 2 and "--out" in ran.err and "Traceback" not in ran.err
    assert run("view", "--port", "70000").code == 2


def test_what_is_saved_survives_a_kill(out: Path) -> None:
    change = {"kind": "IDC", "boxes": [[400, 0, 400, 400]], "who": "Ada", "note": ""}
    with viewing(out) as (process, address):
        client = Client(address.split("?")[0])
        client.enter(address.split("=")[1])
        assert client.ask(f"/{SLIDE}/corrections", "POST", change).status == 200
        process.kill()
        process.wait()
    assert [one.who for one in read_corrections(out / SLIDE)] == ["Ada"]
    with viewing(out) as (_, address):
        client = Client(address.split("?")[0])
        client.enter(address.split("=")[1])
        assert [one["who"] for one in client.ask(f"/{SLIDE}/corrections").json["corrections"]] == ["Ada"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


LOADED = (
    "(() => { const of = [...document.querySelectorAll('.leaflet-tissue-pane img')];"
    "return of.length > 0 && of.every((image) => image.complete && image.naturalWidth > 0); })()"
)
SAVED = "document.getElementById('saved').textContent.startsWith('Saved in')"


def open_slide(browser: Browser, address: str, name: str = SLIDE) -> None:
    browser.size(1400, 900)
    browser.driver.get("about:blank")
    browser.driver.get(address)
    browser.show(name)
    browser.wait(LOADED)


def pick(browser: Browser, x: int, y: int) -> tuple[int, int]:
    """Where a level-0 pixel stands in the window."""
    at = browser.run(
        "const view = wsiIdc.viewer.view(); const at = view.map.latLngToContainerPoint(view.place(...arguments));"
        "const box = view.map.getContainer().getBoundingClientRect(); return [at.x + box.left, at.y + box.top];",
        x,
        y,
    )
    return round(at[0]), round(at[1])


def mouse(browser: Browser, *places: tuple[int, int], press: bool = True, right: int = 0) -> None:
    """Move the mouse along places in level-0 pixels, with its button held; `right` points on in a pane beside."""
    from selenium.webdriver.common.action_chains import ActionChains

    chain = ActionChains(browser.driver, duration=20)
    for k, place in enumerate(places):
        x, y = pick(browser, *place)
        chain.w3c_actions.pointer_action.move_to_location(x + right, y)
        if press and not k:
            chain.w3c_actions.pointer_action.pointer_down()
    if press:
        chain.w3c_actions.pointer_action.pointer_up()
    chain.perform()


def name_oneself(browser: Browser, name: str = "Ada Lovelace") -> None:
    browser.wait("document.getElementById('ask-name').open")
    browser.press(name, "\ue007")
    browser.wait("!document.getElementById('ask-name').open")


@needs_browser
def test_a_slide_is_seen_at_full_size_beneath_the_map(browser: Browser, out: Path, tmp_path: Path) -> None:
    with viewing(out) as (_, address):
        browser.complaints()
        browser.asked_for()
        open_slide(browser, address)
        assert "token" not in browser.run("return location.href")
        assert browser.run("return document.cookie") == ""
        browser.run("for (const key of ['heat', 'calls', 'labels']) document.getElementById(`layer-${key}`).click()")
        # One pixel of the slide to one of the screen.
        browser.run("const v = wsiIdc.viewer.view(); v.map.setView(v.place(1500, 1100), 3, {animate: false})")
        browser.wait(LOADED)
        browser.settle()
        browser.driver.save_screenshot(str(tmp_path / "full.png"))
        seen = np.asarray(Image.open(tmp_path / "full.png").convert("RGB")).astype(int)
        left, top = pick(browser, 1400, 1000)
        part = seen[top : top + 200, left : left + 200]
        truth = pixels_of_slide().astype(int)[1000:1200, 1400:1600]
        # The dark lines of one pixel are where they are in the slide.
        dark = [np.flatnonzero(of.mean(axis=(0, 2)) < of.mean() - 25).tolist() for of in (part, truth)]
        assert dark[0] == dark[1] and len(dark[0]) == 3
        assert np.abs(part - truth).mean() < 12
        asked = [url for url in browser.asked_for() if not url.startswith(("data:", "about:"))]
        assert all(url.startswith(address.split("?")[0]) for url in asked)
        assert sum("/tiles/" in url for url in asked) > 10
        assert browser.complaints() == []
        # It zooms until a pixel is four of the screen, and out to the whole slide.
        assert browser.run("return wsiIdc.viewer.view().map.getMaxZoom()") == 5
        browser.press("0")
        browser.wait(LOADED)
        assert "cannot be shown" not in browser.text("#slide-note")


@needs_browser
def test_patches_are_painted_by_mouse_and_by_keys(browser: Browser, out: Path) -> None:
    before = (out / SLIDE / "scores.csv").read_bytes()
    with viewing(out) as (process, address):
        open_slide(browser, address)
        browser.run("document.querySelector('#correct [data-tool=IDC]').click()")
        mouse(browser, (600, 600), (1800, 600), (1800, 1000))
        name_oneself(browser)
        browser.wait(SAVED)
        painted = {(x, 400) for x in (400, 800, 1200, 1600)} | {(1600, 800)}
        saved = read_corrections(out / SLIDE)
        assert {one.box[:2] for one in saved} == painted
        assert {(one.who, one.is_idc) for one in saved} == {("Ada Lovelace", True)}
        # The map stands still while the brush is on, and moves again without it.
        centre = "return wsiIdc.viewer.view().map.getCenter().lng"
        at = browser.run(centre)
        browser.press("v")
        mouse(browser, (200, 1800), press=False)
        browser.press("o")
        browser.wait("document.getElementById('corrected').textContent.includes('6 patches (5 IDC, 1 no IDC)')")
        browser.wait(SAVED)
        assert browser.run(centre) == at
        assert "corrected: no IDC, by Ada Lovelace" in browser.text("#patch")
        browser.press("z")
        browser.wait("document.getElementById('corrected').textContent.includes('5 patches')")
        browser.wait(SAVED)
        assert {one.box[:2] for one in read_corrections(out / SLIDE)} == painted
        process.kill()
        process.wait()
    assert (out / SLIDE / "scores.csv").read_bytes() == before
    with viewing(out) as (_, address):
        open_slide(browser, address)
        assert "5 patches (5 IDC, 0 no IDC)" in browser.text("#corrected")
        assert browser.text("#by") == "Corrections are by Ada Lovelace"
        # Its name was asked once: the next correction is saved without.
        mouse(browser, (200, 200), press=False)
        browser.press("i")
        browser.wait(SAVED)
        assert len(read_corrections(out / SLIDE)) == 6
        # What QuPath saves in the meantime is taken when one comes back.
        write_corrections(out / SLIDE, [])
        browser.run("dispatchEvent(new Event('focus'))")
        browser.wait("document.getElementById('corrected').textContent === 'Nothing is corrected.'")


@needs_browser
def test_a_note_is_put_to_a_place_and_changed(browser: Browser, out: Path) -> None:
    with viewing(out) as (_, address):
        open_slide(browser, address)
        mouse(browser, (1000, 700), press=False)
        browser.press("c")
        browser.wait("document.getElementById('ask-note').open")
        browser.press("mitosis <b>?</b>")
        browser.run("document.querySelector('#ask-note [value=ok]').click()")
        browser.wait("document.getElementById('ask-name').open || document.getElementById('saved').textContent !== ''")
        if browser.run("return document.getElementById('ask-name').open"):
            name_oneself(browser)
        browser.wait(SAVED)
        (note,) = read_corrections(out / SLIDE)
        assert (note.is_idc, note.note) == (None, "mitosis <b>?</b>")
        assert abs(note.minx + note.width / 2 - 1000) < 8 and abs(note.miny + note.height / 2 - 700) < 8
        browser.driver.find_element("css selector", ".note-pin").click()
        browser.wait("document.getElementById('ask-note').open")
        assert browser.run("return document.querySelector('#ask-note textarea').value") == "mitosis <b>?</b>"
        browser.press("\ue017")  # Delete: the text is selected.
        browser.run("document.querySelector('#ask-note [value=ok]').click()")
        browser.wait("document.getElementById('corrected').textContent === 'Nothing is corrected.'")
        browser.wait(SAVED)
        assert read_corrections(out / SLIDE) == ()
        assert browser.run("return document.querySelectorAll('.note b').length") == 0


@needs_browser
def test_what_cannot_be_saved_is_said_and_not_shown(browser: Browser, out: Path) -> None:
    with viewing(out) as (_, address):
        open_slide(browser, address)
        browser.run("document.cookie = 'wsi-idc-name=Ada; Path=/'")
        (out / SLIDE / CORRECTIONS_FILE).write_text("{")
        mouse(browser, (1000, 700), press=False)
        browser.press("i")
        browser.wait("document.getElementById('saved').textContent.startsWith('Not saved')")
        assert CORRECTIONS_FILE in browser.text("#saved")
        assert (out / SLIDE / CORRECTIONS_FILE).read_text() == "{"


@needs_browser
def test_regions_disagreements_and_doubts_are_gone_through(browser: Browser, out: Path) -> None:
    with viewing(out) as (_, address):
        open_slide(browser, address, "8863")
        sums = browser.run(
            "const v = wsiIdc.viewer.view(); const prob = (of) => of.reduce((sum, i) => sum + v.patches.prob[i], 0);"
            "return wsiIdc.places.listOf(v, 'regions').map(prob)"
        )
        assert len(sums) > 1 and sums == sorted(sums, reverse=True)
        called = browser.run(
            "const v = wsiIdc.viewer.view(); return v.patches.minx.filter((_, i) => v.isCalled(i)).length"
        )
        inside = browser.run("return wsiIdc.places.listOf(wsiIdc.viewer.view(), 'regions').flat().length")
        assert called == inside
        for key, start in (
            ("r", "Region 1 of"),
            ("r", "Region 2 of"),
            ("R", "Region 1 of"),
            ("d", "Disagreement 1 of"),
        ):
            browser.press(key)
            assert browser.text("#place-note").startswith(start)
        counts = browser.matrix("#slide-matrix")
        wrong = browser.run("return wsiIdc.places.listOf(wsiIdc.viewer.view(), 'disagreements').flat().length")
        assert wrong == counts["fp"] + counts["fn"]
        browser.press("u")
        nearest = browser.run(
            "const v = wsiIdc.viewer.view(); const far = (i) => Math.abs(v.patches.prob[i] / 1e6 - v.threshold);"
            "const all = v.patches.prob.map((_, i) => far(i)); return [far(v.pointed), Math.min(...all)]"
        )
        assert nearest[0] == nearest[1]
        browser.set_threshold("#slide-threshold", 1.0)
        browser.press("r")
        assert "Nothing is called" in browser.text("#place-note")


@needs_browser
def test_a_link_leads_to_the_same_place(browser: Browser, out: Path) -> None:
    with viewing(out) as (_, address):
        open_slide(browser, address)
        browser.run("const v = wsiIdc.viewer.view(); v.map.setView(v.place(1200, 900), 2, {animate: false})")
        browser.press("l")
        browser.wait("location.hash.includes('&at=')")
        link = browser.run("return location.href")
        assert "token" not in link and link.endswith(f"#slide={SLIDE}&at=1200,900,2")
        browser.driver.get("about:blank")
        browser.driver.get(link)
        browser.wait("wsiIdc.viewer.view()?.map.getZoom() === 2")
        x, y = browser.run("const v = wsiIdc.viewer.view(); return v.placeBack(v.map.getCenter())")
        assert abs(x - 1200) < 5 and abs(y - 900) < 5


@needs_browser
def test_the_ruler_measures_in_mm(browser: Browser, out: Path) -> None:
    with viewing(out) as (_, address):
        open_slide(browser, address)
        browser.press("m")
        mouse(browser, (200, 200))
        mouse(browser, (200, 1800), press=False)
        mouse(browser, (1400, 1800))
        length = float(browser.text(".ruler-label").removesuffix(" mm"))
        # 1.2 and 1.6 mm along x and y, within a point of the screen.
        assert length == pytest.approx(2.0, abs=0.01)
        browser.press("\ue00c")
        assert browser.run("return document.querySelector('.ruler-label') === null")
        assert not browser.run("return document.getElementById('slide').hidden")


@needs_browser
def test_the_keys_are_listed(browser: Browser, out: Path) -> None:
    with viewing(out) as (_, address):
        open_slide(browser, address)
        browser.press("?")
        browser.wait("document.getElementById('keys').open")
        listed = browser.run("return [...document.querySelectorAll('#keys kbd')].map((of) => of.textContent)")
        assert {*"rRdDuUlmnpiovecz0"} <= {*listed}
        browser.press("\ue00c")
        browser.wait("!document.getElementById('keys').open")


@needs_browser
def test_the_report_shows_corrections_and_cannot_change_them(browser: Browser, out: Path) -> None:
    from wsi_idc.scoring.corrections import Correction

    hostile = "</script><script>document.title='taken'</script>"
    boxes = [(50, 50), (100, 50)]
    write_corrections(
        out / "8863",
        [
            *(Correction(x, y, 50, 50, True, "", "Ada", "2026-01-01T00:00:00+00:00") for x, y in boxes),
            Correction(0, 0, 20, 20, None, hostile, "Bo", "2026-01-01T00:00:00+00:00"),
        ],
    )
    write_report(out)
    browser.complaints()
    for path in (out / "report.html", write_report(out, ["8863"])):
        browser.open(path)
        browser.show("8863")
        assert browser.text("#corrected") == "Corrected: 2 patches (2 IDC, 0 no IDC), 1 note"
        assert browser.run("return document.getElementById('correct') === null")
        assert browser.run("return [...wsiIdc.corrections.layer().lines.values()][0].true[1].getLatLngs().length") == 1
        at = browser.run("return getComputedStyle(document.querySelector('.note-pin')).display")
        browser.press("6")
        assert at != "none" == browser.run("return getComputedStyle(document.querySelector('.note-pin')).display")
        browser.press("i")
        assert browser.driver.title != "taken" and browser.complaints() == []
    written = json.loads((out / "8863" / CORRECTIONS_FILE).read_text())
    assert len(written["features"]) == 3


@needs_browser
def test_a_slide_whose_file_is_gone_is_said(browser: Browser, out: Path) -> None:
    run = out / SLIDE / "run.json"
    run.write_text(json.dumps(json.loads(run.read_text()) | {}).replace("b.tif", "gone.tif", 2))
    with viewing(out) as (_, address):
        browser.driver.get(address)
        browser.show(SLIDE)
        assert "is not there" in browser.text("#slide-note")
        assert browser.run("return wsiIdc.viewer.view().tissue === undefined")


STANDS = (
    "const of = [wsiIdc.viewer.view(), wsiIdc.panes.pane()];"
    "return of.map(({map}) => [map.getZoom(), map.getCenter().lng, map.getCenter().lat])"
)


AGREE = (
    "(() => { const [a, b] = [wsiIdc.viewer.view(), wsiIdc.panes.pane()].map(({map}) => map.getCenter());"
    "return Math.hypot(a.lng - b.lng, a.lat - b.lat) * 2 ** wsiIdc.viewer.view().map.getZoom() < 3; })()"
)
"""Whether the two maps show one place, but for points of the screen that cannot be halved."""


def beside(browser: Browser, key: str) -> Any:
    """Where the two maps stand, once they stand still, after a key."""
    browser.press(key)
    browser.wait("!wsiIdc.viewer.view().map._animatingZoom && !wsiIdc.panes.pane().map._animatingZoom")
    time.sleep(0.5)
    return browser.run(STANDS)


def stand_alike(left: list[float], right: list[float]) -> bool:
    """Whether two maps have one zoom, and one centre but for a pixel of the screen: maps stand on whole ones."""
    zoom, *centre = left
    return bool(zoom == pytest.approx(right[0]) and centre == pytest.approx(right[1:], abs=2**-zoom))


@needs_browser
def test_two_panes_pan_zoom_and_point_together(browser: Browser, out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    scores = add_raw_slide(other, out.parent / "b.tif", seed=1)
    add_slide(other, make_source(6, 5), "8863", draw=False, seed=1)
    with viewing(out, "--beside", other) as (_, address):
        browser.complaints()
        open_slide(browser, address)
        assert browser.run("return document.getElementById('beside').hidden")
        browser.press("b")
        browser.wait(f"wsiIdc.panes.pane() && {LOADED}")
        # The slide alone: no colour and no line lies over it.
        shown = "return [...document.querySelectorAll('#beside .patches')].map((of) => Number(of.style.opacity))"
        assert set(browser.run(shown)) == {0}
        # The first map gives half of its width away, and both end at one place.
        browser.wait(AGREE)
        before = browser.run(STANDS)
        for key in ("+", "\ue014", "-"):  # Also an arrow.
            left, right = beside(browser, key)
            assert stand_alike(left, right) and left != pytest.approx(before[0])
            before = [left, right]
        # What the second pane does the first follows.
        browser.run("wsiIdc.panes.pane().map.setZoom(2, {animate: false})")
        left, right = browser.run(STANDS)
        assert stand_alike(left, right) and left[0] == 2
        browser.press("0", "b")
        browser.wait(f"wsiIdc.panes.pane()?.run && {AGREE}")
        time.sleep(0.5)
        box = browser.run(
            "const of = document.getElementById('beside').getBoundingClientRect(); return [of.left, of.top]"
        )
        own = browser.run("const of = document.getElementById('map').getBoundingClientRect(); return [of.left, of.top]")
        browser.settle()
        x, y = pick(browser, 200, 200)
        at_window(browser, round(x + box[0] - own[0]), y)
        called = "IDC" if scores.pred[0] else "no IDC"
        assert f"{other}: probability {scores.prob[0]:.3f}, called {called}" in browser.text("#patch")
        assert browser.run("return wsiIdc.panes.pane().map.hasLayer(wsiIdc.viewer.view().tip)")
        assert str(other) in browser.text("#beside .pane-name")
        # A slide that the other run has as well keeps the pane; b then closes it.
        browser.show("8863")
        browser.wait("wsiIdc.panes.pane()?.run")
        browser.press("b")
        assert browser.run("return document.getElementById('beside').hidden && !document.querySelector('.pane-name')")
        assert browser.complaints() == []


def test_runs_without_a_slide_in_common_are_not_put_side_by_side(run: Callable[..., Ran], out: Path) -> None:
    add_slide(out.parent / "other", make_source(6, 5), "9022")
    ran = run("view", out, "--beside", out.parent / "other", "--no-browser")
    assert ran.code == 2 and "no slide in common" in ran.err and "Traceback" not in ran.err


def at_window(browser: Browser, x: int, y: int) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    chain = ActionChains(browser.driver, duration=20)
    chain.w3c_actions.pointer_action.move_to_location(x, y)
    chain.perform()


@needs_browser
def test_a_lasso_corrects_what_it_encloses_in_one_step(browser: Browser, out: Path) -> None:
    with viewing(out) as (_, address):
        open_slide(browser, address)
        browser.run("document.cookie = 'wsi-idc-name=Ada; Path=/'")
        browser.press("O", "a")
        # An L. It touches the patches in its inner corner and at its ends, but not their centres.
        corners = [(50, 50), (1150, 50), (1150, 350), (350, 350), (350, 1550), (50, 1550), (50, 50)]
        mouse(browser, *((x + 400, y + 400) for x, y in corners))
        browser.wait("document.getElementById('corrected').textContent.includes('6 patches (0 IDC, 6 no IDC)')")
        browser.wait(SAVED)
        inside = {(400, 400), (800, 400), (1200, 400), (400, 800), (400, 1200), (400, 1600)}
        assert {one.box[:2] for one in read_corrections(out / SLIDE)} == inside
        browser.press("z")
        browser.wait("document.getElementById('corrected').textContent === 'Nothing is corrected.'")
        browser.wait(SAVED)
        # The line is gone, and a second press brings the brush back.
        browser.press("a")
        assert browser.run("return document.getElementById('brush').value") == "1"
        # In the second pane it is the same.
        browser.press("b", "a")
        browser.wait("wsiIdc.panes.pane() !== null")
        browser.settle()
        left = browser.run(
            "return document.getElementById('beside').offsetLeft - document.getElementById('map').offsetLeft"
        )
        mouse(browser, (1250, 450), (1550, 450), (1550, 750), (1250, 750), right=left)
        browser.wait("document.getElementById('corrected').textContent.includes('1 patch ')")
        browser.wait(SAVED)
        assert [one.box[:2] for one in read_corrections(out / SLIDE)] == [(1200, 400)]
