"""Corrections of a slide while a person makes them: checked, saved at once, undone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Literal, cast, get_args

from wsi_idc._util.lock import FolderLock, wait_lock
from wsi_idc.errors import OptionError
from wsi_idc.report.gather import WIDEST_PX
from wsi_idc.scoring.corrections import Correction, read_corrections, write_corrections

Box = tuple[int, int, int, int]
Kind = Literal["IDC", "no IDC", "erase", "note"]

LONGEST_NAME, LONGEST_NOTE = 100, 2_000
"""Characters."""

MOST_UNDONE = 200
"""Changes of a slide that can be undone."""

_LOCK_FILE = ".corrections.lock"
"""Not the lock of all the folder, which a run may hold for long."""

_POLL_S = 0.02


@dataclass(frozen=True)
class Change:
    """What a person asks for.

    Attributes
    ----------
    kind : str
        ``IDC`` and ``no IDC`` correct patches, ``erase`` takes corrections back, ``note`` puts a note to a place.
    boxes : tuple of Box
        Left, top, width and height in pixels of level 0; of a note, its place.
    who : str
    note : str
        An empty one takes back the note that is there.
    """

    kind: Kind
    boxes: tuple[Box, ...]
    who: str
    note: str = ""


@dataclass(frozen=True)
class _Step:
    """A change as it was made, which can be undone."""

    removed: tuple[Correction, ...]
    added: tuple[Correction, ...]


def parse_change(asked: Any) -> Change:
    """Check what a page sends; OptionError where it is not as it should be."""
    match asked:
        case {"kind": str() as kind, "boxes": list() as boxes, "who": str() as who, "note": str() as note}:
            pass
        case _:
            raise OptionError("A correction needs kind, boxes, who and note: reload the page.")
    if kind not in get_args(Kind):
        raise OptionError("A correction is IDC, no IDC, erase or note: reload the page.")
    who = " ".join(who.split())
    if not who or len(who) > LONGEST_NAME or not who.isprintable():
        raise OptionError(f"Corrections need the name of who makes them, of at most {LONGEST_NAME} characters.")
    if len(note) > LONGEST_NOTE or not all(sign.isprintable() or sign == "\n" for sign in note):
        raise OptionError(f"A note is plain text of at most {LONGEST_NOTE:,} characters: shorten it.")
    if not boxes or (kind == "note" and len(boxes) != 1) or not all(map(_is_box, boxes)):
        raise OptionError("A correction needs boxes in pixels of the slide: reload the page.")
    return Change(cast(Kind, kind), tuple((box[0], box[1], box[2], box[3]) for box in boxes), who, note.strip())


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(type(side) is int and 0 <= side < WIDEST_PX for side in box)
        and min(box[2:]) > 0
    )


class Editor:
    """The corrections of one slide.

    The file is read before each change, so what QuPath saved in between stays, and locked, so what others change who
    look at the same results does, too.

    Parameters
    ----------
    folder : Path
        Results folder of the slide.
    origin_px : tuple of int
        Where QuPath counts pixels from.
    """

    def __init__(self, folder: Path, origin_px: tuple[int, int]) -> None:
        self._folder, self._origin = folder, origin_px
        self._steps: deque[_Step] = deque(maxlen=MOST_UNDONE)
        self._lock = Lock()

    @property
    def undoable(self) -> int:
        """How many changes can be undone."""
        return len(self._steps)

    def read(self) -> tuple[Correction, ...]:
        """All corrections; CorrectionsError where the file is damaged."""
        return read_corrections(self._folder)

    def change(self, change: Change, patches: Callable[[Box], bool], model_sha256: str) -> tuple[Correction, ...]:
        """Make a change and save it.

        Parameters
        ----------
        change : Change
        patches : callable
            Whether a box is a patch of the slide.
        model_sha256 : str
            Of the model whose scores are corrected.

        Returns
        -------
        tuple of Correction
            All that hold now.

        Raises
        ------
        OptionError
            Where a box is no patch.
        CorrectionsError
            Where the file is damaged: nothing is overwritten.
        OutputError, OSError
            Where it cannot be saved.
        """
        if change.kind in ("IDC", "no IDC") and not all(map(patches, change.boxes)):
            raise OptionError("That is no patch of this slide's scores: reload the page.")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock, self._alone():
            before = self.read()
            step = _step(change, before, now, model_sha256)
            if step.removed or step.added:
                self._save(before, step)
                self._steps.append(step)
            return _applied(before, step)

    def undo(self) -> tuple[Correction, ...]:
        """Take the last change back, but for what was changed otherwise since; without one, nothing happens."""
        with self._lock:
            if not self._steps:
                return self.read()
            with self._alone():
                now, last = self.read(), self._steps[-1]
                gone = tuple(one for one in last.added if one in now)
                taken = {one.box for one in now if one.is_idc is not None and one not in gone}
                back = tuple(one for one in last.removed if one.is_idc is None or one.box not in taken)
                step = _Step(gone, back)
                self._save(now, step)
                self._steps.pop()
                return _applied(now, step)

    def _alone(self) -> FolderLock:
        """Keep other programs of this package from changing the corrections."""
        return wait_lock(self._folder, poll_s=_POLL_S, name=_LOCK_FILE)

    def _save(self, before: Sequence[Correction], step: _Step) -> None:
        write_corrections(self._folder, _applied(before, step), self._origin)


def _applied(before: Iterable[Correction], step: _Step) -> tuple[Correction, ...]:
    return (*(one for one in before if one not in step.removed), *step.added)


def _step(change: Change, before: Sequence[Correction], now: str, model_sha256: str) -> _Step:
    boxes = dict.fromkeys(change.boxes)
    if change.kind == "note":
        there = tuple(one for one in before if one.is_idc is None and one.box in boxes)
        if [one.note for one in there] == [change.note]:
            return _Step((), ())
        made = [Correction(*box, None, change.note, change.who, now, model_sha256) for box in boxes if change.note]
        return _Step(there, tuple(made))
    there = tuple(one for one in before if one.is_idc is not None and one.box in boxes)
    if change.kind == "erase":
        return _Step(there, ())
    is_idc = change.kind == "IDC"
    # What says the same already keeps its time and author.
    same = {one.box for one in there if one.is_idc == is_idc}
    notes = {one.box: one.note for one in there}
    added = [
        Correction(*box, is_idc, notes.get(box, ""), change.who, now, model_sha256) for box in boxes if box not in same
    ]
    return _Step(tuple(one for one in there if one.box not in same), tuple(added))
