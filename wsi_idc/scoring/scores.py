"""The scores of one slide: a row per patch, and ``scores.csv``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.files import replacing_text
from wsi_idc.errors import OptionError
from wsi_idc.metrics import ClassMetrics, Metrics, compute_metrics, count_classes
from wsi_idc.model.classes import IDC_CLASSES, Classes
from wsi_idc.model.neighbourhood import LEARNED, Context, Neighbourhood
from wsi_idc.scoring.context import smooth_over_neighbours
from wsi_idc.source import UNKNOWN, Patch, Patches

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "minx",
    "miny",
    "width",
    "height",
    "prob_no_idc",
    "prob_idc",
    "label",
    "pred",
    "status",
)
CLASS_COLUMN = "label_class"
DECIMALS = 6
MAX_SIGMA = 10.0
"""Neighbours farther away than this many patches (4 mm of the IDC set) say nothing of a patch."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What the model says of every patch of a slide, in row-major order.

    Attributes
    ----------
    slide : str
    minx, miny, width, height : ndarray of int64, shape (n,)
        Box of each patch in 0-based pixels of level 0; not to be written to.
    prob_no_idc, prob_idc : ndarray of float64, shape (n,)
        Probabilities as written, to 6 decimals; NaN where the patch is unreadable. Of another model's classes: of all
        but the positive one, and of that.
    label : ndarray of int8, shape (n,)
        1 for IDC, 0 for none, -1 where unknown.
    threshold : float
        A patch is called IDC where its probability, ``prob``, is at least this.
    context : float, "learned" or None
        Where ``prob_idc_context`` comes from: sigma, in patches, of a blur over scored neighbours, or the model.
    prob_idc_context : ndarray of float64, shape (n,), or None
        As written, to 6 decimals; None without `context`.
    classes : Classes
        The model's, and which of them is positive, which is what "IDC" means here.
    prob_classes : ndarray of float64, shape (n, classes), or None
        Probabilities of all classes as written; None where these are no IDC and IDC.
    follows_context : bool
        Whether calls follow ``prob_idc_context`` rather than ``prob_idc``.
    class_label : ndarray of int64, shape (n,), or None
        Number of the class that outlines give each patch, -1 where they give none; None where they tell of no classes,
        or there are only two.
    """

    slide: str
    minx: NDArray[np.int64]
    miny: NDArray[np.int64]
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    prob_no_idc: NDArray[np.float64]
    prob_idc: NDArray[np.float64]
    label: NDArray[np.int8]
    threshold: float
    context: Context = None
    prob_idc_context: NDArray[np.float64] | None = None
    classes: Classes = IDC_CLASSES
    prob_classes: NDArray[np.float64] | None = None
    follows_context: bool = False
    class_label: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.minx)

    def __repr__(self) -> str:
        return f"Scores({self.slide!r}, {len(self):,} patches, {int(self.pred.sum()):,} called {self.classes.title})"

    @property
    def columns(self) -> dict[str, NDArray[np.float64]]:
        """Probabilities of all classes by their columns in ``scores.csv``."""
        told = [self.prob_no_idc, self.prob_idc] if self.prob_classes is None else list(self.prob_classes.T)
        return dict(zip(self.classes.columns, told, strict=True))

    @property
    def measured(self) -> dict[str, NDArray[np.float64]]:
        """Those that other programs are given: of two classes the positive one alone."""
        names = self.classes.columns
        return {names[i]: self.columns[names[i]] for i in self.classes.measured}

    def to_dataframe(self) -> pd.DataFrame:
        """The table of ``scores.csv``, a row per patch.

        Returns
        -------
        pandas.DataFrame
            With the columns of ``scores.csv``; `label` is NA where it is unknown, and `pred` where there is no
            probability.
        """
        import pandas as pd

        readable = self.readable
        table = {
            "minx": self.minx,
            "miny": self.miny,
            "width": self.width,
            "height": self.height,
            **self.columns,
            "label": pd.array(np.where(self.label == UNKNOWN, 0, self.label), dtype="Int8"),
            "pred": pd.array(self.pred.astype(np.int8), dtype="Int8"),
            "status": np.where(readable, "ok", "unreadable"),
        }
        frame = pd.DataFrame(table)
        frame.loc[self.label == UNKNOWN, "label"] = pd.NA
        frame.loc[~readable, "pred"] = pd.NA
        if self.prob_idc_context is not None:
            frame[self.classes.context_column] = self.prob_idc_context
        if self.class_label is not None:
            frame[CLASS_COLUMN] = pd.array([name or pd.NA for name in self.labelled_classes], dtype="string")
        return frame

    @property
    def labelled_classes(self) -> list[str]:
        """The labelled class of each patch; empty where none is known."""
        if self.class_label is None:
            return [""] * len(self)
        names = (*self.classes.names, "")
        return [names[number] for number in self.class_label.tolist()]

    @cached_property
    def readable(self) -> NDArray[np.bool_]:
        """Which patches have a probability."""
        return np.asarray(~np.isnan(self.prob_idc))

    @property
    def prob(self) -> NDArray[np.float64]:
        """The probability that calls, figures and pictures follow."""
        followed = self.prob_idc_context if self.follows_context else None
        return self.prob_idc if followed is None else followed

    @property
    def called_in_context(self) -> Context:
        """The context that calls follow, if any."""
        return self.context if self.follows_context else None

    @property
    def prob_column(self) -> str:
        """The column of ``scores.csv`` that calls follow."""
        return self.classes.context_column if self.follows_context else self.classes.column

    @cached_property
    def pred(self) -> NDArray[np.bool_]:
        """Which patches are called IDC; never an unreadable one."""
        return np.asarray(self.prob >= self.threshold)

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Which patches have a probability and a label to compare it with."""
        return np.asarray(self.readable & (self.label != UNKNOWN))

    def of_labelled(self) -> Scores:
        """The labelled patches alone: all that metrics need."""
        keep = self.labelled
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        kept: dict[str, Any] = {name: of[keep] for name, of in columns.items() if isinstance(of, np.ndarray)}
        return replace(self, **kept)

    @cached_property
    def metrics(self) -> Metrics | None:
        """Patch-level figures over the labelled patches; None where there is none."""
        if not self.labelled.any():
            return None
        return compute_metrics(self.label[self.labelled], self.prob[self.labelled], self.threshold)

    @cached_property
    def most_probable(self) -> NDArray[np.intp]:
        """Number of each patch's class of highest probability, the first of equals; -1 where it is unreadable."""
        probs = np.column_stack([*self.columns.values()])
        return np.where(self.readable, np.argmax(np.nan_to_num(probs), axis=1), UNKNOWN)

    @cached_property
    def class_metrics(self) -> ClassMetrics | None:
        """Figures of all classes over the patches whose class is labelled; None where there is none."""
        if self.class_label is None:
            return None
        known = self.readable & (self.class_label != UNKNOWN)
        if not known.any():
            return None
        return count_classes(self.classes.names, self.class_label[known], self.most_probable[known])

    @property
    def metrics_json(self) -> dict[str, Any] | None:
        """What ``metrics.json`` says of the slide; None where nothing is labelled."""
        if self.metrics is None:
            return None
        return self.metrics.as_dict() | ({} if self.class_metrics is None else self.class_metrics.as_dict())

    def areas_mm2(self, mpp: tuple[float, float]) -> tuple[float, float]:
        """Area of the patches with a probability, and of those called IDC, at a scale of level 0 in µm/px."""
        area = self._area_mm2(mpp)
        return float(area[self.readable].sum()), float(area[self.pred].sum())

    def labelled_mm2(self, mpp: tuple[float, float]) -> float:
        """Area of the patches labelled IDC, at a scale of level 0 in µm/px."""
        return float(self._area_mm2(mpp)[self.label == 1].sum())

    def _area_mm2(self, mpp: tuple[float, float]) -> NDArray[np.float64]:
        """Area of each patch, shape (n,)."""
        return np.asarray(self.width * self.height * (mpp[0] * mpp[1] / 1e6), dtype=np.float64)

    def with_threshold(self, threshold: float) -> Scores:
        """The same probabilities, called at another threshold."""
        return replace(self, threshold=threshold)

    def with_labels(self, label: NDArray[np.int8], class_label: NDArray[np.int64] | None = None) -> Scores:
        """The same probabilities beside other labels and, of several classes, other labelled classes, shape (n,)."""
        return replace(self, label=label, class_label=_of_several(class_label, self.classes))

    def with_class(self, name: str) -> Scores:
        """The same probabilities, with another class as the positive one."""
        if name == self.classes.positive:
            return self
        return _of_classes(
            self.with_context(None), self.classes.choose(name), np.column_stack([*self.columns.values()])
        )

    def with_context(self, sigma: float | None) -> Scores:
        """The same probabilities, called as blurred over the neighbours or, with None, as they are."""
        if sigma is None:
            return replace(self, context=None, prob_idc_context=None, follows_context=False)
        side = max(int(self.width.max(initial=1)), 1), max(int(self.height.max(initial=1)), 1)
        position = np.column_stack([self.minx / side[0], self.miny / side[1]])
        blurred = np.round(smooth_over_neighbours(position, self.prob_idc, sigma), DECIMALS)
        return replace(self, context=sigma, prob_idc_context=blurred, follows_context=True)

    def with_neighbourhood(self, learned: Neighbourhood, pitch: tuple[float, float], *, follow: bool = False) -> Scores:
        """The same probabilities beside those that the model infers with the neighbours.

        Parameters
        ----------
        learned : Neighbourhood
        pitch : tuple of float
            From patch to patch in x and y, in pixels of level 0.
        follow : bool
            Whether calls follow them.
        """
        position = np.rint(np.column_stack([self.minx / pitch[0], self.miny / pitch[1]])).astype(np.int64)
        inferred = np.round(learned.apply(position, self.prob_idc), DECIMALS)
        return replace(self, context=LEARNED, prob_idc_context=inferred, follows_context=follow)


def checked_threshold(threshold: float | None, default: float) -> float:
    """The threshold, or where none is given the default; OptionError where it is no probability."""
    chosen = default if threshold is None else threshold
    if not 0 <= chosen <= 1:
        raise OptionError(f"A threshold of {chosen} is no probability: choose one from 0 to 1.")
    return chosen


def checked_context(context: Context, learned: Neighbourhood | None) -> Context:
    """The context itself; OptionError where there is no Gaussian of that width, or the model has learned none."""
    if context == LEARNED:
        if learned is None:
            raise OptionError("The model has learned no context: give a sigma, or a model with one.")
    elif context is not None and not (isinstance(context, int | float) and 0 < context <= MAX_SIGMA):
        raise OptionError(
            f"A context of {context} patches cannot be used: choose a sigma above 0, at most {MAX_SIGMA:g}, or "
            f"{LEARNED}."
        )
    return context


def check_steps(overlapping: bool, context: Context) -> None:
    """OptionError where the learned context, which knows patches beside each other, is wanted of overlapping tiles."""
    if overlapping and context == LEARNED:
        raise OptionError(f"The {LEARNED} context is of tiles without overlap: leave out --overlap, or give a sigma.")


def make_scores(
    slide: str,
    patches: Sequence[Patch],
    probs: NDArray[np.float32],
    threshold: float,
    classes: Classes = IDC_CLASSES,
) -> Scores:
    """Join patches with their probabilities, shape ``(n, classes)``, of (no IDC, IDC); NaN where unreadable."""
    rounded = np.array(np.round(probs.astype(np.float64), DECIMALS), dtype=np.float64)
    table = Patches.of(patches)
    minx, miny = table.boxes[:, :2].T.copy()
    width, height = map(_compact, table.boxes[:, 2:].T)
    none = np.empty(len(rounded))
    scores = Scores(slide, minx, miny, width, height, none, none, table.labels, threshold)
    return _of_classes(scores, classes, rounded).with_labels(table.labels, table.class_labels)


def _compact(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """A copy, in the memory of one number where all are equal: a cohort keeps the scores of all its slides."""
    alike = len(values) > 0 and bool((values == values[0]).all())
    return np.broadcast_to(values[:1].copy(), values.shape) if alike else values.copy()


def _of_several(class_label: NDArray[np.int64] | None, classes: Classes) -> NDArray[np.int64] | None:
    """Labelled classes, where they can be those of a model that tells more than two apart."""
    if class_label is None or not classes.told_apart:
        return None
    return class_label if class_label.max(initial=UNKNOWN) < len(classes.names) else None


def _of_classes(scores: Scores, classes: Classes, probs: NDArray[np.float64]) -> Scores:
    """The scores with the probabilities of these classes, shape (n, classes)."""
    called = np.array(probs[:, classes.index], dtype=np.float64)
    # What stands in scores.csv where there is such a column.
    others = probs[:, 1 - classes.index] if len(classes.names) == 2 else np.round(1 - called, DECIMALS)
    return replace(
        scores,
        prob_no_idc=np.array(others, dtype=np.float64),
        prob_idc=called,
        classes=classes,
        prob_classes=None if classes == IDC_CLASSES else probs,
    )


def write_scores(path: Path, scores: Scores) -> None:
    """Write ``scores.csv``, atomically."""
    context = scores.prob_idc_context
    columns = [
        *(map(str, side.tolist()) for side in (scores.minx, scores.miny, scores.width, scores.height)),
        *map(_written, scores.columns.values()),
        ["" if label == UNKNOWN else str(label) for label in scores.label.tolist()],
        [str(int(pred)) if ok else "" for pred, ok in zip(scores.pred.tolist(), scores.readable.tolist(), strict=True)],
        ["ok" if ok else "unreadable" for ok in scores.readable.tolist()],
    ]
    if context is not None:
        columns.append(_written(context))
    if scores.class_label is not None:
        columns.append(scores.labelled_classes)
    # Nothing here needs quotes, and the csv module takes twice as long.
    header = _header(scores.classes, context is not None, scores.class_label is not None)
    rows = [header, *zip(*columns, strict=True)]
    with replacing_text(path) as file:
        file.write("".join(",".join(row) + "\n" for row in rows))


def _written(prob: NDArray[np.float64]) -> list[str]:
    """Probabilities as they are written: empty where there is none."""
    return ["" if value != value else f"{value:.{DECIMALS}f}" for value in prob.tolist()]


def _header(classes: Classes, context: bool, class_label: bool = False) -> tuple[str, ...]:
    """Names of the columns."""
    more = [*([classes.context_column] if context else []), *([CLASS_COLUMN] if class_label else [])]
    return (*COLUMNS[:4], *classes.columns, *COLUMNS[6:], *more)


def read_scores(
    path: Path,
    slide: str,
    threshold: float,
    context: Context = None,
    follows_context: bool = True,
    classes: Classes = IDC_CLASSES,
) -> Scores:
    """Read ``scores.csv`` back; ValueError where it is not whole, or was written with another threshold or context."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        told = bool(classes.told_apart) and CLASS_COLUMN in header
        columns = _header(classes, context is not None, told)
        if tuple(header) != columns:
            raise ValueError(f"{path} has other columns than {', '.join(columns)}")
        table = list(rows)
    if any(len(row) != len(header) for row in table):
        raise ValueError(f"{path} has a row that is cut off")
    column = dict(zip(columns, zip(*table, strict=True), strict=True)) if table else dict.fromkeys(columns, ())
    minx, miny, width, height = (np.array(column[name], dtype=np.int64) for name in COLUMNS[:4])
    probs = np.column_stack([_numbers(column[name]) for name in classes.columns])
    label = np.array([int(cell) if cell else UNKNOWN for cell in column["label"]], dtype=np.int8)
    none = np.empty(len(label))
    in_context = None if context is None else _numbers(column[classes.context_column])
    follows = context is not None and follows_context
    scores = Scores(slide, minx, miny, width, height, none, none, label, threshold, context, in_context)
    numbers = {name: i for i, name in enumerate(classes.names)} | {"": UNKNOWN}
    class_label = np.array([numbers[cell] for cell in column[CLASS_COLUMN]], dtype=np.int64) if told else None
    scores = replace(_of_classes(scores, classes, probs), follows_context=follows, class_label=class_label)
    if [cell == "1" for cell in column["pred"]] != scores.pred.tolist():
        raise ValueError(f"{path} was called at another threshold than {threshold}")
    return scores


def _numbers(cells: Sequence[str]) -> NDArray[np.float64]:
    return np.array([float(cell or "nan") for cell in cells], dtype=np.float64)
