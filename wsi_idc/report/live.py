"""A results folder that is looked at while it may change: the page, slides' patches and pixels, corrections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from wsi_idc._util.cache import Latest
from wsi_idc.errors import OptionError
from wsi_idc.naming import visible
from wsi_idc.report.editing import Box, Change, Editor
from wsi_idc.report.entries import FILES, corrections_in, show, tell_classes
from wsi_idc.report.gather import Run, SlideResults, find_results, read_results, read_summary
from wsi_idc.report.page import Shown, build_page
from wsi_idc.report.slide_file import make_slide_data, slide_script, tell_correction
from wsi_idc.report.tiles import OVERLAP_PX, TILE_PX, SlideTiles, open_tiles, slide_path, version_of
from wsi_idc.report.totals import Pool
from wsi_idc.scoring.corrections import Correction
from wsi_idc.scoring.file_names import MOSAIC_FILE, RUN_FILE, SCORES_FILE
from wsi_idc.scoring.scores import Scores

SERVED = (MOSAIC_FILE, *FILES)
"""Files of a slide's folder that are given out."""

OPEN_SLIDES = 2
"""Slides that are held open: each keeps decoded tiles of its own."""

CACHED_BYTES = 100_000_000
"""Of encoded tiles."""

_READ_SLIDES = 4
"""Slides whose patches are held."""

Stamp = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class _Entry:
    """A slide that the page names."""

    name: str
    folder: Path


@dataclass(frozen=True)
class _Read:
    """A slide's run and patches."""

    run: Run
    scores: Scores
    boxes: frozenset[Box]


class LiveResults:
    """A results folder and the slides that it names; nothing else is read. Threads may share it.

    Parameters
    ----------
    out : Path
        The results folder.
    on_slide : callable, optional
        Called after each slide that is read for the page with the number done and the total.
    beside : Path, optional
        Another results folder of the same slides, of which the second pane shows the maps.

    Raises
    ------
    DataNotFoundError
        Where a folder holds no results.
    OptionError
        Where the two folders have no slide in common.
    """

    def __init__(
        self, out: Path, on_slide: Callable[[int, int], None] | None = None, beside: Path | None = None
    ) -> None:
        self._out, self._beside = out, beside
        self._titles = [visible(str(folder)) for folder in (out, beside)]
        if beside is not None and not find_results(out).keys() & find_results(beside).keys():
            raise OptionError(
                f"{out} and {beside} have no slide in common: name another results folder of the same slides."
            )
        self._lock = Lock()
        self._shown: dict[str, tuple[Stamp, Shown]] = {}
        self._page: tuple[dict[str, Stamp], str] = {}, ""
        self._entries: dict[str, _Entry] = {}
        self._editors: dict[str, Editor] = {}
        self._reads = Latest[_Read](_READ_SLIDES)
        self._open = Latest[SlideTiles](OPEN_SLIDES)
        self._tiles = Latest[bytes | None](CACHED_BYTES, size=lambda tile: len(tile or b""))
        self.page(on_slide)

    def page(self, on_slide: Callable[[int, int], None] | None = None) -> str:
        """The page; slides whose files have changed since the last time are read again."""
        with self._lock:
            found = find_results(self._out)
            others = {} if self._beside is None else find_results(self._beside)
            stamps = {name: _stamp(folder) + _stamp_of(others.get(name)) for name, folder in found.items()}
            if stamps == self._page[0]:
                return self._page[1]
            rows, pool = read_summary(self._out), Pool()
            slides = []
            for name, folder in found.items():
                results = read_results(name, folder, self._out, rows.get(name))
                if results.scores is not None:
                    pool.add(results.scores)
                stamp, shown = self._shown.get(name, (None, None))
                if shown is None or stamp != stamps[name]:
                    shown, _ = show(results, live=True)
                    told = _tell_beside(results, self._other(name, others))
                    shown = replace(shown, told={**shown.told, "beside": told and {**told, "folders": self._titles}})
                shown = replace(shown, results=replace(results, scores=None))
                self._shown[name] = stamps[name], shown
                slides.append(shown)
                self._entries[results.url] = _Entry(name, folder)
                if on_slide:
                    on_slide(len(slides), len(found))
            title = visible(self._out.resolve().name)
            page = build_page(title, slides, pool.sum_up(self._out), pool.thresholds, live=True)
            self._page = stamps, page
            return page

    def knows(self, url: str) -> bool:
        """Whether the page names a slide of this relative URL."""
        return url in self._entries

    def script(self, url: str) -> str | None:
        """``report.js`` of a slide as it is now; None where it has no scores."""
        read = self._read(url)
        if read is None:
            return None
        return slide_script(url, make_slide_data(read.scores, *corrections_in(self._entries[url].folder)))

    def beside(self, url: str) -> str | None:
        """Patches of the same slide in the folder beside this one, as JSON; None where it has none."""
        name = self._entries[url].name
        other = self._other(name, {} if self._beside is None else find_results(self._beside))
        return None if other is None or other.scores is None else make_slide_data(other.scores).text

    def _other(self, name: str, others: Mapping[str, Path]) -> SlideResults | None:
        if self._beside is None or name not in others:
            return None
        return read_results(name, others[name], self._beside, None)

    def file(self, url: str, name: str) -> Path | None:
        """One of the files that a slide's view shows or links to; None where it is not there, or leads elsewhere."""
        if name not in SERVED:
            return None
        path = self._entries[url].folder / name
        inside = path.resolve().is_relative_to(self._out.resolve())
        return path if inside and path.is_file() else None

    def info(self, url: str) -> dict[str, Any] | None:
        """Size and tiles of a slide; None where its file is not there. SlideError where it cannot be shown."""
        read = self._read(url)
        path = None if read is None else slide_path(read.run)
        if read is None or path is None:
            return None
        tiles = self._slide(path, read.run)
        return {
            "width": tiles.shape.width,
            "height": tiles.shape.height,
            "depth": tiles.shape.depth,
            "tile": TILE_PX,
            "overlap": OVERLAP_PX,
            "grey": tiles.grey(read.scores),
            "tiles": f"{url}/tiles/{version_of(path)}",
        }

    def tile(self, url: str, version: str, depth: int, column: int, row: int) -> bytes | None:
        """A tile as JPEG; None where there is none, or where the slide's file is another by now."""
        read = self._read(url)
        path = None if read is None else slide_path(read.run)
        if read is None or path is None or version != version_of(path):
            return None
        run = read.run

        def make() -> bytes | None:
            return self._slide(path, run).jpeg(depth, column, row)

        return self._tiles.get((url, version, depth, column, row), make)

    def corrections(self, url: str) -> dict[str, Any] | None:
        """What is corrected on a slide now; None where it has no scores."""
        read = self._read(url)
        return None if read is None else _told(self._editor(url, read.run), self._editor(url, read.run).read())

    def change(self, url: str, change: Change) -> dict[str, Any] | None:
        """Save a change, and tell all corrections then: see `Editor.change`."""
        read = self._read(url)
        if read is None:
            return None
        editor = self._editor(url, read.run)
        return _told(editor, editor.change(change, read.boxes.__contains__, read.run.sha256))

    def undo(self, url: str) -> dict[str, Any] | None:
        """Take the last change back, and tell all corrections then: see `Editor.undo`."""
        read = self._read(url)
        if read is None:
            return None
        editor = self._editor(url, read.run)
        return _told(editor, editor.undo())

    def _read(self, url: str) -> _Read | None:
        entry = self._entries[url]
        stamp = _stamp(entry.folder)
        try:
            return self._reads.get((url, stamp[:2]), lambda: self._read_now(entry))
        except _NoScoresError:
            return None

    def _read_now(self, entry: _Entry) -> _Read:
        results = read_results(entry.name, entry.folder, self._out, None)
        if results.run is None or results.scores is None:
            raise _NoScoresError
        of = results.scores
        columns = (of.minx.tolist(), of.miny.tolist(), of.width.tolist(), of.height.tolist())
        return _Read(results.run, of, frozenset(zip(*columns, strict=True)))

    def _slide(self, path: Path, run: Run) -> SlideTiles:
        return self._open.get((version_of(path), run), lambda: open_tiles(path, run))

    def _editor(self, url: str, run: Run) -> Editor:
        return self._editors.setdefault(url, Editor(self._entries[url].folder, run.origin_px))


class _NoScoresError(Exception):
    """A slide has no scores now."""


def _told(editor: Editor, corrections: tuple[Correction, ...]) -> dict[str, Any]:
    return {"corrections": [tell_correction(one) for one in corrections], "undoable": editor.undoable}


def _tell_beside(results: SlideResults, other: SlideResults | None) -> dict[str, Any] | None:
    """What the page gets of another run of a slide; None where it is not of the same pixels and patches."""
    if other is None or other.run is None or other.scores is None or results.run is None:
        return None
    if (other.run.size_px, other.run.mpp, other.run.patch) != (results.run.size_px, results.run.mpp, results.run.patch):
        return None
    return {
        "model": f"{other.run.model} {other.run.sha256[:8]}",
        "threshold": other.scores.threshold,
        "positive": other.scores.classes.title,
        **tell_classes(other.scores.classes),
        "context": other.scores.called_in_context,
    }


def _stamp_of(folder: Path | None) -> Stamp:
    return () if folder is None else _stamp(folder)


def _stamp(folder: Path) -> Stamp:
    """Changes with the files of a slide."""
    return tuple(map(_file_stamp, (folder / name for name in (RUN_FILE, SCORES_FILE, MOSAIC_FILE))))


def _file_stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
