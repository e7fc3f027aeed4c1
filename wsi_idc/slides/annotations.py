"""Which outlines on a slide are IDC, and where; and regions of interest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from wsi_idc.errors import OptionError
from wsi_idc.slides.annotation_files import DrawnObject, FileContents, read_contents, short
from wsi_idc.slides.class_names import IdcClasses, class_number, is_ignored, is_region, number_classes
from wsi_idc.slides.outline_shapes import cut, cut_out, share_inside, unite
from wsi_idc.source import UNKNOWN, Patches

LABEL_SHARE = 0.8
"""Share of a tile that must lie inside outlines of IDC for it to be positive."""

ROI_SHARE = 0.5
"""Share of a tile that must lie inside a region of interest for it to be scored."""

CountedAs = Literal["idc", "class", "cut out", "not counted"]

_ORDER: tuple[CountedAs, ...] = ("idc", "class", "cut out", "not counted")
_NO_CLASS = "no class"
_MOST_NAMED, _MOST_LISTED = 5, 1_000
_NAME_CHARACTERS = 200


@dataclass(frozen=True)
class ClassCount:
    """How many outlines a class has, and what they are counted as."""

    name: str
    outlines: int
    counted_as: CountedAs


@dataclass(frozen=True)
class Annotations:
    """Where invasive carcinoma was outlined, and what else a file of annotations holds.

    Attributes
    ----------
    path : str
    sha256 : str
        Of the file.
    idc : tuple of Polygon or MultiPolygon
        In pixels of level 0; they may overlap. What was cut out is left out.
    classes : tuple of ClassCount
        What counts first, then what is cut out; the most frequent first. Objects that never count have their kind
        behind the name, ``IDC (tile)``.
    skipped : tuple of str
        A sentence for each outline that is broken, with its place, and for what has no area.
    unclassified : bool
        Whether outlines count that have no class, as there is none in the whole file.
    of_class : tuple of tuple of Polygon or MultiPolygon
        Of each of the classes that were asked for; empty where no outline is of one of them.
    """

    path: str
    sha256: str
    idc: tuple[BaseGeometry, ...]
    classes: tuple[ClassCount, ...] = ()
    skipped: tuple[str, ...] = ()
    unclassified: bool = False
    of_class: tuple[tuple[BaseGeometry, ...], ...] = ()

    def labels(self, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
        """1 for each box (x, y, width, height; shape (n, 4)) that lies inside by 80 % or more, else 0."""
        return (_shares(self.idc, boxes) >= LABEL_SHARE).astype(np.int64)

    def class_labels(self, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of the class inside whose outlines each box lies by 80 % or more, else `UNKNOWN`."""
        share = np.column_stack([_shares(areas, boxes) for areas in self.of_class])
        return np.where(share.max(axis=1) >= LABEL_SHARE, share.argmax(axis=1), UNKNOWN)

    def table(self, boxes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The boxes with their labels, and their classes where outlines tell them: see `Patches`."""
        labels = [self.labels(boxes), *([self.class_labels(boxes)] if self.of_class else [])]
        return np.column_stack([boxes, *labels])

    def miss(self, patches: Patches) -> bool:
        """Whether there are outlines, and no patch of these lies inside one."""
        classes = patches.class_labels
        inside = patches.labels.any() or (classes is not None and (classes != UNKNOWN).any())
        return bool(self.idc or self.of_class) and not inside

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should look at."""
        told = [*self.skipped]
        if self.unclassified:
            count = sum(one.outlines for one in self.classes if one.counted_as == "idc")
            all_of = "its only outline counts" if count == 1 else f"all {count:,} outlines count"
            told.insert(0, f"no object has a class, so {all_of} as IDC: classify what is IDC as Tumor")
        return tuple(told)

    def as_dict(self) -> dict[str, object]:
        """For ``run.json``."""
        return {
            "file": self.path,
            "sha256": self.sha256,
            "classes": {
                one.name: {"outlines": one.outlines, "counted_as": one.counted_as}
                for one in self.classes[:_MOST_LISTED]
            },
            "skipped": list(self.skipped[:_MOST_LISTED]),
        }


@dataclass(frozen=True)
class RegionOfInterest:
    """The part of a slide that is scored.

    Attributes
    ----------
    path : str
    sha256 : str
        Of the file.
    areas : tuple of Polygon or MultiPolygon
        In pixels of level 0; they may overlap.
    skipped : tuple of str
        As in `Annotations`.
    """

    path: str
    sha256: str
    areas: tuple[BaseGeometry, ...]
    skipped: tuple[str, ...] = ()

    def holds(self, boxes: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which boxes (x, y, width, height; shape (n, 4)) lie inside by half or more."""
        return _shares(self.areas, boxes) >= ROI_SHARE


def read_annotations(
    path: str | Path,
    *,
    origin: tuple[float, float] = (0, 0),
    label_classes: Sequence[str] = (),
    class_names: Sequence[str] = (),
    positive_class: str = "",
) -> Annotations:
    """Read where invasive carcinoma was outlined.

    Annotations count whose class says so, by an exact table of names or by `label_classes`. Annotations of another
    class that lie in those, or overlap them, are cut out. Where no object has a class, names are taken for classes if
    one of them says so; else all annotations count. Root objects, TMA cores, detections and tiles never count.

    Parameters
    ----------
    path : path
        GeoJSON (also ``.gz``, or in QuPath's ``.zip``), or XML of ASAP or ImageScope.
    origin : tuple of float
        x and y in pixels of level 0 of the corner that the file counts from: added to what is read.
    label_classes : sequence of str
        Classes that count, in place of the table.
    class_names : sequence of str
        Classes of a model that tells several apart. Where an outline is of one of them, each tells its class, and what
        counts is `positive_class`: of the table's names only where that is one of them.
    positive_class : str
        One of `class_names`.

    Raises
    ------
    DataNotFoundError
        Where there is no such file, or it cannot be read.
    OptionError
        Where it is none of the formats, or holds objects of which none counts.
    """
    if not all(name.strip() for name in label_classes):
        raise OptionError("--label-class has an empty name: name a class as it stands in the file.")
    contents = read_contents(Path(path))
    drawn = [one for one in contents.objects if one.kind == "annotation"]
    numbers = number_classes(class_names)
    number_of = [None if one.negative else class_number(one.classes, numbers) for one in drawn]
    by_class = any(number is not None for number in number_of)
    counting = _names_of_positive(drawn, class_names, positive_class) if by_class and not label_classes else ()
    idc = IdcClasses(label_classes or counting)
    classed = any(one.classes for one in contents.objects)
    by_name = not classed and any(one.name in idc for one in drawn)
    unclassified = not classed and not by_name and not label_classes and any(not one.negative for one in drawn)
    class_of = [_class_of(one, idc, by_name) for one in contents.objects]
    positive: list[BaseGeometry] = []
    other: list[BaseGeometry] = []
    other_class: list[str] = []
    counts: Counter[tuple[str, CountedAs]] = Counter()
    number = iter(number_of)
    for one, name in zip(contents.objects, class_of, strict=True):
        if one.kind != "annotation":
            counts[f"{name or _NO_CLASS} ({one.kind})", "not counted"] += 1
            continue
        counted: CountedAs | None = None if next(number) is None else "class"
        if one.negative or (name and name not in idc and not is_region(name)):
            other.append(one.area)
            other_class.append("" if counted else "negative regions" if one.negative else name)
        elif name in idc or unclassified:
            positive.append(one.area)
            counted = "class" if counted and not label_classes else "idc"
        else:
            counted = counted or "not counted"
        if counted:
            counts[name or _NO_CLASS, counted] += 1
    areas, cutting = cut_out(positive, other)
    cut_classes = {name for name, cuts in zip(other_class, cutting, strict=True) if cuts}
    counts.update((name, "cut out" if name in cut_classes else "not counted") for name in other_class if name)
    classes = tuple(
        ClassCount(name, count, counted_as)
        for (name, counted_as), count in sorted(counts.items(), key=lambda item: (_ORDER.index(item[0][1]), -item[1]))
    )
    enough = positive or (by_class and not label_classes)
    if not enough and (classes or contents.skipped or contents.without_area):
        raise OptionError(_none_counts(path, classes, contents, label_classes))
    of_class = _areas_of_classes(drawn, number_of, len(class_names)) if by_class else ()
    return Annotations(
        str(path),
        contents.sha256,
        _moved(areas, origin),
        classes,
        _skipped(contents),
        unclassified,
        tuple(_moved(each, origin) for each in of_class),
    )


def _names_of_positive(drawn: Sequence[DrawnObject], class_names: Sequence[str], positive_class: str) -> list[str]:
    """Names of outlines that count for the positive class of several: its own, and of IDC those that mean IDC."""
    usual = IdcClasses()
    if positive_class not in usual:
        return [positive_class]
    others = number_classes([name for name in class_names if name != positive_class])
    names = {name for one in drawn for name in one.classes}
    return [positive_class, *(name for name in names if name in usual and class_number([name], others) is None)]


def _areas_of_classes(
    drawn: Sequence[DrawnObject], number: Sequence[int | None], classes: int
) -> list[tuple[BaseGeometry, ...]]:
    """Areas of each class, without outlines of any other class in them: the inner outline says more."""
    found = []
    for wanted in range(classes):
        mine = [one.area for one, of in zip(drawn, number, strict=True) if of == wanted]
        others = [
            one.area
            for one, of in zip(drawn, number, strict=True)
            if of != wanted and (of is not None or one.negative or (one.classes and not is_region(one.classes[0])))
        ]
        found.append(cut_out(mine, others)[0])
    return found


def read_roi(path: str | Path, *, origin: tuple[float, float] = (0, 0)) -> RegionOfInterest:
    """Read regions of interest: all annotations and TMA cores, whatever their class, but for those to be ignored.

    Parameters
    ----------
    path, origin
        As in `read_annotations`.

    Raises
    ------
    DataNotFoundError
        Where there is no such file, or it cannot be read.
    OptionError
        Where it is none of the formats, or holds no outline.
    """
    contents = read_contents(Path(path))
    drawn = [one for one in contents.objects if one.kind in ("annotation", "TMA core")]
    away = [one.area for one in drawn if one.negative or any(map(is_ignored, one.classes))]
    inside = [one.area for one in drawn if not one.negative and not any(map(is_ignored, one.classes))]
    if not inside:
        wrong = f" ({contents.skipped[0]})" if contents.skipped else ""
        raise OptionError(f"{path} holds no outline of a region of interest{wrong}: draw one, or leave out --roi.")
    if away:
        taken = unite(away)
        inside = [cut(area, taken) for area in inside]
    return RegionOfInterest(str(path), contents.sha256, _moved(inside, origin), _skipped(contents))


def _moved(areas: Sequence[BaseGeometry], origin: tuple[float, float]) -> tuple[BaseGeometry, ...]:
    return tuple(translate(area, *origin) for area in areas) if any(origin) else tuple(areas)


def _shares(areas: Sequence[BaseGeometry], boxes: NDArray[np.int64]) -> NDArray[np.float64]:
    x, y, width, height = boxes.T.astype(np.float64)
    return share_inside(areas, x, y, x + width, y + height)


def _class_of(one: DrawnObject, idc: IdcClasses, by_name: bool) -> str:
    """The class of an object: of several names the first that counts, else the first; empty where it has none."""
    names = (one.name,) if by_name and one.name.strip() else one.classes
    chosen = next((name for name in names if name in idc), names[0] if names else "")
    return short(chosen, _NAME_CHARACTERS)


def _skipped(contents: FileContents) -> tuple[str, ...]:
    flawed = [f"{one}, so it was skipped" for one in contents.skipped]
    for (what, of_class), count in contents.without_area.most_common():
        several, of = count != 1, f" of {of_class}" if of_class else ""
        flawed.append(f"{count:,} {what}{'s' if several else ''}{of} {'have' if several else 'has'} no area")
    return tuple(flawed)


def _none_counts(
    path: str | Path, classes: Sequence[ClassCount], contents: FileContents, label_classes: Sequence[str]
) -> str:
    wanted = f"of the class {' or '.join(map(short, label_classes))}" if label_classes else "of IDC"
    names = [short(one.name) for one in classes]
    found = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
    what = f", only of {found}" if found else f", as {_skipped(contents)[0]}"
    advice = "correct --label-class" if label_classes else "classify outlines as Tumor, or name one with --label-class"
    return f"{path} has no outline {wanted}{what}: {advice}."


def labels_line(labels: Mapping[str, Any]) -> str:
    """What `Annotations.as_dict` says, in one line."""
    name, classes = Path(labels["file"]).name, labels["classes"]
    if not classes:
        return f"{name}: no outlines, so no tile is positive"
    shown = [
        _told(of_class, one["outlines"], one["counted_as"], first=i == 0)
        for i, (of_class, one) in enumerate(classes.items())
    ]
    if len(shown) > _MOST_NAMED:
        shown[_MOST_NAMED:] = [f"{len(shown) - _MOST_NAMED:,} more classes, all in run.json"]
    return f"{name}: {'; '.join(shown)}"


def _told(of_class: str, outlines: int, counted_as: CountedAs, *, first: bool) -> str:
    several = outlines != 1
    of = "without a class" if of_class == _NO_CLASS else f"of {short(of_class)}"
    subject = f"{outlines:,} {('outlines ' if several else 'outline ') if first else ''}{of}"
    counted = {
        "idc": "count as IDC" if several else "counts as IDC",
        "class": "count as that class" if several else "counts as that class",
        "cut out": "are cut out" if several else "is cut out",
        "not counted": "not counted",
    }[counted_as]
    return f"{subject} {counted}"
