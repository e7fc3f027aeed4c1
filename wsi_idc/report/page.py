"""``report.html``: code, table and thumbnails in one page, everything that comes from a name escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from wsi_idc._version import __version__
from wsi_idc.evaluation.cohort_metrics import SlideSummary
from wsi_idc.plotting.caption import PHANTOM, RESEARCH_USE, context_text, threshold_text
from wsi_idc.plotting.error_map import HATCH_RGB, HATCHED, OUTCOMES
from wsi_idc.plotting.overlay import LINE_RGB, UNREADABLE_LINE_RGB, UNREADABLE_RGB
from wsi_idc.plotting.style import colour_table
from wsi_idc.report.gather import SlideResults
from wsi_idc.report.svg_curves import draw_reliability, draw_roc
from wsi_idc.report.thumbnails import Thumbnails, data_uri
from wsi_idc.report.totals import STEPS, Pooled

STATIC = Path(__file__).with_name("static")
SCRIPTS = (
    *("common.js", "cohort.js", "gallery.js", "outline.js", "controls.js", "tiles.js", "map.js", "viewer.js"),
    *("panes.js", "saving.js", "places.js", "ruler.js", "lasso.js", "corrections.js", "main.js"),
)
VIEWER_LIBRARY, VIEWER_FILES = "XStatic-Leaflet", "xstatic/pkg/leaflet/data"
MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Column:
    """A column that the gallery sorts and filters by; `decimals` is for reading."""

    key: str
    label: str
    decimals: int = 3
    shown: bool = True


COLUMNS = (
    Column("patches", "Patches", 0),
    Column("positives", "Called IDC", 0),
    Column("tissue_mm2", "Tissue mm²", 1),
    Column("idc_mm2", "IDC mm²", 1),
    Column("balanced_accuracy", "Balanced accuracy"),
    Column("sensitivity", "Sensitivity"),
    Column("specificity", "Specificity"),
    Column("f1", "F1"),
    Column("auc", "AUC"),
    Column("unreadable", "Unreadable", 0, shown=False),
    Column("n", "Labelled patches", 0, shown=False),
    Column("accuracy", "Accuracy", shown=False),
    Column("precision", "Precision", shown=False),
    Column("npv", "NPV", shown=False),
    Column("average_precision", "Average precision", shown=False),
    Column("brier", "Brier score", shown=False),
    Column("seconds", "Seconds", 1, shown=False),
)

FIGURES = (
    ("balanced_accuracy", "Balanced accuracy"),
    ("sensitivity", "Sensitivity"),
    ("specificity", "Specificity"),
    ("f1", "F1"),
    ("precision", "Precision"),
    ("npv", "NPV"),
    ("accuracy", "Accuracy"),
)
"""Those that move with the threshold."""

HELP = {
    "balanced_accuracy": "Mean of sensitivity and specificity: 0.5 is chance, whatever the share of IDC",
    "sensitivity": "Share of the patches labelled IDC that are called IDC: TP / (TP + FN)",
    "specificity": "Share of the patches labelled no IDC that are called no IDC: TN / (TN + FP)",
    "f1": "Harmonic mean of precision and sensitivity: 2 TP / (2 TP + FP + FN)",
    "precision": "Share of the patches called IDC that are labelled IDC: TP / (TP + FP)",
    "npv": "Negative predictive value: share of the patches called no IDC that are labelled so, TN / (TN + FN)",
    "accuracy": "Share of all labelled patches that are called as labelled; high where one class is rare",
    "auc": "Area under the ROC curve: how often an IDC patch gets a higher probability than one without",
    "average_precision": "Area under the precision-recall curve; chance is the share of IDC",
    "brier": "Mean squared difference of probability and label: 0 is perfect, lower is better",
    "ece": "Mean difference of probability and the share of IDC among patches of that probability; 0 is perfect",
    "patches": "Patches or tiles on tissue that were scored or tried",
    "positives": "Patches whose probability is at least the threshold",
    "tissue_mm2": "Area of the patches with a probability",
    "idc_mm2": "Area of the patches that are called",
}
"""What figures mean, for whoever points at them."""

FIXED_FIGURES = (("auc", "AUC"), ("average_precision", "Average precision"), ("brier", "Brier score"))


@dataclass(frozen=True)
class Shown:
    """A slide of the page.

    Attributes
    ----------
    results : SlideResults
        Without the scores, of which there can be many.
    thumbnails : Thumbnails
    told : mapping
        What the page's script gets.
    embedded : str or None
        Its patches as JSON, where they go into the page.
    """

    results: SlideResults
    thumbnails: Thumbnails
    told: Mapping[str, Any]
    embedded: str | None = None


def figures_of(summary: SlideSummary) -> dict[str, float | None]:
    """A slide's figures by the names of `COLUMNS`."""
    known = {**vars(summary), **({} if summary.metrics is None else summary.metrics.as_dict())}
    return {column.key: known.get(column.key) for column in COLUMNS}


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(STATIC),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure_text
    environment.filters["threshold"] = threshold_text
    environment.filters["uri"] = data_uri
    return environment.get_template("page.html.jinja")


def build_page(
    title: str, slides: Sequence[Shown], pooled: Pooled | None, thresholds: Sequence[float], live: bool = False
) -> str:
    """The page as text.

    Parameters
    ----------
    title : str
        Of the cohort.
    slides : sequence of Shown
    pooled : Pooled or None
    thresholds : sequence of float
        At which slides were called, the one of the pooled figures first.
    live : bool
        The page is served by `wsi_idc.report.server`, and slides can be corrected.
    """
    positive = _positive(slides)
    columns = tuple(replace(column, label=column.label.replace("IDC", positive)) for column in COLUMNS)
    scripts = _scripts()
    return _template().render(
        title=title,
        slides=slides,
        states=Counter(slide.results.state for slide in slides),
        about=_about(slides, thresholds),
        pooled=pooled,
        roc=pooled and draw_roc(pooled),
        reliability=pooled and draw_reliability(pooled),
        columns=columns,
        positive=positive,
        moving=FIGURES,
        fixed=FIXED_FIGURES,
        help={key: text.replace("IDC", positive) for key, text in HELP.items()},
        outcomes={key: {"name": name, "rgb": rgb} for key, (name, rgb) in OUTCOMES.items()},
        hatched=HATCHED,
        research_use=RESEARCH_USE,
        phantom=PHANTOM,
        version=__version__,
        style=Markup(_library("leaflet.css") + _static("report.css")),
        scripts=[Markup(script) for script in scripts],
        policy=page_policy(live),
        live=live,
        data=Markup(script_json(_told(slides, pooled, thresholds, columns) | {"live": live})),
        embedded=[(slide.results.url, Markup(slide.embedded)) for slide in slides if slide.embedded is not None],
        library_version=metadata.version(VIEWER_LIBRARY).rsplit(".", 1)[0],
        library_licence=_static("leaflet-licence.txt"),
    )


def _positive(slides: Sequence[Shown]) -> str:
    """What the slides' models call the class that is mapped, or IDC where that differs."""
    names = {str(slide.told["positive"]) for slide in slides if "positive" in slide.told}
    return names.pop() if len(names) == 1 else "IDC"


def _about(slides: Sequence[Shown], thresholds: Sequence[float]) -> dict[str, Any]:
    """What is said of the whole cohort."""
    runs = [slide.results.run for slide in slides if slide.results.run is not None]
    contexts = {slide.told["context"] for slide in slides if slide.results.run is not None}
    models = Counter((run.model, run.sha256[:8]) for run in runs)
    return {
        "models": [" ".join(model) for model, _ in models.most_common()],
        "thresholds": [threshold_text(value) for value in thresholds],
        "contexts": sorted(map(context_text, contexts)),
        "finished": max((run.finished for run in runs), default=""),
        "versions": sorted({run.version for run in runs}),
        "phantoms": sum(run.kind == "phantom" for run in runs),
        "trained_on": sum(run.trained_on_it for run in runs),
        "nominal": any(run.nominal for run in runs),
    }


def _told(
    slides: Sequence[Shown], pooled: Pooled | None, thresholds: Sequence[float], columns: Sequence[Column]
) -> dict[str, Any]:
    """What the page's scripts get."""
    colours = np.rint(colour_table("cividis")).astype(np.uint8)
    return {
        "colours": colours.tobytes().hex(),
        "outcomes": {key: rgb for key, (_, rgb) in OUTCOMES.items()},
        "hatch": [HATCHED, HATCH_RGB],
        "line": LINE_RGB,
        "unreadable": [UNREADABLE_RGB, UNREADABLE_LINE_RGB],
        "steps": STEPS,
        "researchUse": RESEARCH_USE,
        "phantom": PHANTOM,
        "columns": {column.key: column.label for column in columns},
        "slides": [slide.told for slide in slides],
        "cohort": None
        if pooled is None
        else {
            "threshold": thresholds[0],
            "counts": {key: getattr(pooled.metrics, key) for key in ("tn", "fp", "fn", "tp")},
            "calledIdc": pooled.called_idc.tolist(),
            "calledNone": pooled.called_none.tolist(),
        },
    }


def script_json(value: object) -> str:
    """JSON that can stand inside a script element: no tag in it can begin or end anything."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def figure_text(value: float | None, decimals: int = 3) -> str:
    """A figure for reading; an en dash where it is undefined."""
    return "\N{EN DASH}" if value is None else f"{value:,.{decimals}f}"


@cache
def page_policy(live: bool) -> str:
    """A Content-Security-Policy: our own scripts, and files beside the page; nothing from a network, whatever is in it.

    ``file:`` is named since browsers do not agree on what 'self' is for a page from a disk. A page that is served may
    also ask its server for data.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in _scripts()
    )
    beside = "'self'" if live else "'self' file:"
    asked = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; script-src {beside} {hashes}; style-src 'unsafe-inline'; "
        f"img-src {beside} data:; {asked}base-uri 'none'; form-action 'none'"
    )


@cache
def _scripts() -> tuple[str, ...]:
    return (_library("leaflet.js"), *(_static(name) for name in SCRIPTS))


def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _library(name: str) -> str:
    """A file of Leaflet from its installed package, without what it would load."""
    path = Path(str(metadata.distribution(VIEWER_LIBRARY).locate_file(f"{VIEWER_FILES}/{name}")))
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"url\([^)]*\)", "none", text) if name.endswith(".css") else text
