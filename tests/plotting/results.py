"""Results folders made without a network: what `SlideRun` and a cohort write, of the made-up slides."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tests.plotting.conftest import MadeSource, caption_of, make_probs, make_source
from wsi_idc.evaluation.cohort_metrics import SlideSummary, failed, summarise, write_cohort_metrics, write_summary
from wsi_idc.model.config import ModelConfig
from wsi_idc.plotting.slide_pictures import draw_all
from wsi_idc.plotting.style import Style
from wsi_idc.scoring.results import SlideRun
from wsi_idc.scoring.score import Scored
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.source import Problem

SCRIPT = '<script>document.title="taken"</script>'
HOSTILE = 'deep/<!--<script></script><img src=x onerror=alert(1)> "it\'s" & &lt; \N{GRINNING FACE} 100%#?.svs'
"""A slide in two folders, whose names together open and close what a page is made of."""
THRESHOLD = 0.4321987


@dataclass(frozen=True)
class MadeScorer:
    """What `SlideRun` asks of a classifier."""

    config: ModelConfig = field(
        default_factory=lambda: ModelConfig(
            "CancerNet", "3fa9c07be1d24455" * 4, THRESHOLD, training={"cases_train": ["9022"]}
        )
    )
    runtime: str = "none"
    device: str = "none"
    instruction_set: str = "none"


def add_slide(
    out: Path, source: MadeSource, name: str, *, draw: bool = True, context: float | None = None, seed: int = 0
) -> Scores:
    """Write one slide's folder as ``heatmap`` does, or with ``draw=False`` as ``score`` does."""
    source = replace(source, slide=name)
    prob = make_probs(source, seed)
    scores = make_scores(name, source.patches, np.stack([1 - prob, prob], axis=1), THRESHOLD)
    lost = tuple(Problem(f"patch {i}", SCRIPT) for i in sorted(source.unreadable))
    (out / name).mkdir(parents=True, exist_ok=True)
    run = SlideRun(source, MadeScorer(), out, context=context, command=["wsi-idc"])
    result = run.write(Scored(scores, lost))
    if draw:
        draw_all(source, result.scores, caption_of(source), Style(dpi=72), result.folder)
    run.seal(result)
    return result.scores


def make_results(out: Path) -> dict[str, Scores]:
    """A cohort of every kind of slide, with ``summary.csv`` and ``metrics.json``."""
    raw: dict[str, object] = {"kind": "slide", "mpp_source": "file"}
    scores = {
        "8863": add_slide(out, make_source(24, 20, keep=0.8), "8863"),
        "9022": add_slide(out, make_source(12, 10, unreadable=5), "9022", context=1.0, seed=1),
        "9100": add_slide(out, make_source(12, 10), "9100", draw=False, seed=2),
        "10253": add_slide(out, make_source(12, 10, labels="none"), "10253"),
        "90001": add_slide(out, make_source(12, 10, kind="phantom"), "90001", seed=3),
        "empty.svs": add_slide(out, make_source(12, 10, keep=0, labels="none", **raw), "empty.svs"),
        HOSTILE: add_slide(out, make_source(12, 10, labels="none", **raw), HOSTILE, draw=False),
    }
    rows: list[SlideSummary] = [summarise(of, (8.0, 8.0), 2.0) for of in scores.values()]
    write_summary(out / "summary.csv", [*rows, failed("no scale.tiff", f"no scale {SCRIPT}")])
    write_cohort_metrics(out / "metrics.json", list(scores.values()))
    return scores
