"""``run.json`` in a results folder: what the next run and the report make of it."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.plotting.conftest import MadeSource, make_probs, make_source
from tests.plotting.results import THRESHOLD, MadeScorer
from wsi_idc.errors import printable
from wsi_idc.evaluation.cohort_metrics import SUMMARY_FILE, summarise, write_summary
from wsi_idc.plotting.slide_pictures import save_mosaic
from wsi_idc.report import REPORT_FILE, write_report
from wsi_idc.report.gather import read_results
from wsi_idc.scoring.file_names import RUN_FILE, SCORES_FILE
from wsi_idc.scoring.results import SlideRun
from wsi_idc.scoring.score import Scored
from wsi_idc.scoring.scores import make_scores
from wsi_idc.source import Problem

SLIDE = "8863"

Place = tuple[str | int, ...]
"""Keys that lead to a value of JSON."""

ODD: tuple[object, ...] = (
    *(None, True, 0, -1, 0.5, 10**30, 10**400, float("nan"), float("inf"), "", "x", "\ud800", "\x1b[31m", "</script>"),
    *([], [0], ["a", "b"], [[]], {}, {"path": 3, "reason": None}, [{"path": [], "reason": {}}]),
)
"""What a value may be that it should not be."""

WORDS = (
    *(b"null", b"true", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1e-999", b"[]", b"{}", b"9" * 400, b'"\\ud800"'),
    *(b'"path":', b'"reason":', b'"threshold":', b'"context":', b'"seconds":', b'"total":', b'"size_px":', b'"mpp":'),
)


@dataclass(frozen=True)
class Results:
    """A results folder as a run leaves it, and what it was made of."""

    out: Path
    source: MadeSource
    scored: Scored
    files: dict[str, bytes]

    @property
    def folder(self) -> Path:
        return self.out / SLIDE

    def put_back(self, run: bytes) -> None:
        """The folder as it was, with another ``run.json``."""
        for name, content in (self.files | {RUN_FILE: run}).items():
            (self.folder / name).write_bytes(content)


@cache
def _results() -> Results:
    """Twelve patches without labels, two of them unreadable, and their mosaic."""
    out = Path(tempfile.mkdtemp(prefix="wsi-idc-fuzz-"))
    source = replace(make_source(4, 3, labels="none", unreadable=2), slide=SLIDE)
    prob = make_probs(source)
    scores = make_scores(SLIDE, source.patches, np.stack([1 - prob, prob], axis=1), THRESHOLD)
    scored = Scored(scores, tuple(Problem(f"patch {i}", "unreadable: damaged") for i in sorted(source.unreadable)))
    (out / SLIDE).mkdir()
    run = SlideRun(source, MadeScorer(), out)
    result = run.write(scored)
    save_mosaic(source, result.folder)
    run.seal(result)
    return Results(out, source, scored, {path.name: path.read_bytes() for path in (out / SLIDE).iterdir()})


def seeds() -> list[bytes]:
    """The good file, it without each of its parts, and with each of its values replaced by each odd one."""
    good = _results().files[RUN_FILE]
    told = json.loads(good)
    without = [json.dumps({name: told[name] for name in told if name != left_out}).encode() for left_out in told]
    odd = [json.dumps(with_value(told, place, value)).encode() for place in places(told) for value in ODD]
    return [good, b"", b"[]", b"[" * 2_000, good[: len(good) // 2], *without, *odd]


def places(value: object, above: Place = ()) -> list[Place]:
    """Where values stand, those that hold others included."""
    keys: Iterable[str | int] = ()
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
    below = [place for key in keys for place in places(value[key], (*above, key))]  # type: ignore[index]
    return [above, *below] if above else below


def with_value(told: dict[str, Any], place: Place, value: object) -> dict[str, Any]:
    """The same with another value at a place."""
    changed = copy.deepcopy(told)
    holder: Any = changed
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return changed


def one_input(data: bytes) -> None:
    """Make a report over a folder with this ``run.json``, and run on in it."""
    results = _results()
    results.put_back(data)
    read = read_results(SLIDE, results.folder, results.out, None)
    if read.scores is not None:
        write_report(results.out)
        (results.out / REPORT_FILE).read_text(encoding="utf-8")
    else:
        assert read.state == "unfinished"
    _run_on(results)
    again = read_results(SLIDE, results.folder, results.out, None)
    assert again.state == "partial", again.error


def _run_on(results: Results) -> None:
    """What a run does: takes what is finished, or scores again, tells of it, and leaves all as it should be."""
    run = SlideRun(results.source, MadeScorer(), results.out)
    result = run.write(run.finished or results.scored)
    run.seal(result)
    for problem in result.unreadable:
        printable(str(problem))
    row = summarise(result.scores, results.source.mpp, run.seconds, result.unreadable)
    write_summary(results.out / SUMMARY_FILE, [row])
    assert (results.folder / SCORES_FILE).read_bytes() == results.files[SCORES_FILE]
