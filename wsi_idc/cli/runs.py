"""What ``score`` and ``heatmap`` share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from wsi_idc._util.files import make_folder
from wsi_idc.cli import DONE, INCOMPLETE
from wsi_idc.cli.console import list_problems, loading, print_path, progress_bar, say_labels, say_waiting, warn
from wsi_idc.cli.options import Scoring, check_label_classes
from wsi_idc.datasets.dataset import Dataset
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.errors import OptionError
from wsi_idc.io.staging import SlideCache
from wsi_idc.io.stores import without_secrets
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.scoring.handles import SlideOptions, open_staged
from wsi_idc.source import PatchSource, find_patches

if TYPE_CHECKING:
    from wsi_idc.export.outputs import Outputs
    from wsi_idc.model.config import ModelConfig
    from wsi_idc.scoring.results import SlideResult
    from wsi_idc.slides.annotations import Annotations
    from wsi_idc.slides.slide import Slide


def find_cases(ids: Sequence[str], data: str | None, quiet: bool) -> Dataset:
    """Open the data set that holds these cases."""
    with progress_bar("Looking for the data (the demo is painted on first use)", None, quiet):
        dataset = open_dataset(data)
        dataset.check(ids)
    return dataset


def score_cases(
    ids: Sequence[str],
    *,
    data: str | None,
    labels: Path | None,
    label_classes: tuple[str, ...],
    scoring: Scoring,
    outputs: Outputs | None = None,
) -> int:
    """Score cases of the IDC set one after the other: see `_score_each`. With `labels` those stand above the names'."""
    numbers = list(dict.fromkeys(ids))
    check_label_classes(labels, label_classes)
    _check_of_one(labels, "--labels", len(numbers), "case")
    with find_cases(numbers, data, scoring.quiet) as dataset:
        annotations = None
        if labels is not None:
            from wsi_idc.slides.annotations import read_annotations

            of_model = SlideOptions().for_model(scoring.model, scoring.class_name)
            annotations = read_annotations(
                labels,
                label_classes=label_classes,
                class_names=of_model.class_names,
                positive_class=of_model.positive_class,
            )
        make_folder(scoring.out)
        return _score_each(_cases(dataset, numbers, annotations), "Case", scoring, outputs)


def _cases(
    dataset: Dataset, numbers: Sequence[str], annotations: Annotations | None
) -> Iterator[AbstractContextManager[PatchSource]]:
    for number in numbers:
        case = dataset.case(number)
        if annotations is not None:
            from wsi_idc.datasets.relabelled import RelabelledCase

            case = RelabelledCase(case, annotations)
        yield nullcontext(case)


def _check_of_one(outlines: Path | None, option: str, count: int, noun: str) -> None:
    """OptionError where one file of outlines is given for several slides."""
    if outlines is not None and count > 1:
        raise OptionError(f"{outlines} cannot hold the outlines of {count} {noun}s: give one {noun} with {option}.")


def score_slides(
    files: Sequence[Path | str],
    *,
    cache_dir: Path | None = None,
    cache_gb: float | None = None,
    reading: SlideOptions,
    labels: Path | None,
    scoring: Scoring,
    outputs: Outputs | None = None,
) -> int:
    """Score raw slides one after the other: see `_score_each`. All must open before the first is scored."""
    reading = reading.for_model(scoring.model, scoring.class_name)
    cache = SlideCache.of(cache_dir, cache_gb) if any(isinstance(path, str) for path in files) else None

    @contextmanager
    def open_slide(path: Path | str) -> Iterator[Slide]:
        if isinstance(path, Path):
            with reading.open(path, labels=labels) as slide:
                yield slide
        elif cache is not None:
            with (
                cache.stage(path) as staged,
                open_staged(staged.path, staged.told, reading, labels=labels) as slide,
            ):
                yield slide

    count = len({path.resolve() if isinstance(path, Path) else path for path in files})
    check_label_classes(labels, reading.label_classes)
    _check_of_one(labels, "--labels", count, "slide")
    _check_of_one(reading.roi, "--roi", count, "slide")
    names: dict[str, Path | str] = {}
    for path in files:
        with open_slide(path) as slide:
            first = names.setdefault(slide.slide, path)
            if not _is_same(first, path):
                told = " and ".join(without_secrets(str(one)) for one in (first, path))
                raise OptionError(f"{told} would share a folder in {scoring.out}: give them an --out each.")
    make_folder(scoring.out)
    return _score_each(map(open_slide, names.values()), "Slide", scoring, outputs)


def _is_same(first: Path | str, second: Path | str) -> bool:
    """Whether two slides of one name are one: of files those of one folder, which may be parts of it."""
    if isinstance(first, Path) and isinstance(second, Path):
        return first.resolve().parent == second.resolve().parent
    return first == second


def _score_each(
    sources: Iterable[AbstractContextManager[PatchSource]],
    noun: str,
    scoring: Scoring,
    outputs: Outputs | None,
) -> int:
    """Score slides one after the other, and draw them where `outputs` are given; print a path for each."""
    command = ["wsi-idc", *map(without_secrets, sys.argv[1:])]
    results: list[SlideResult] = []
    with loading(scoring.quiet):
        from wsi_idc.model.classifier import bundled_model, load_model
        from wsi_idc.scoring.results import score_into

        classifier = load_model(scoring.model, scoring.class_name, allow_code=scoring.allow_code)
    if scoring.layout == "wsinfer":
        from wsi_idc.export.wsinfer import write_run_metadata, write_wsinfer

        write_run_metadata(scoring.out, classifier.config, scoring.model or bundled_model(), command)
    try:
        for opened in sources:
            with opened as source:
                opening = "looking for tissue" if noun == "Slide" else "reading"
                with progress_bar(f"{noun} {source.slide}: {opening}", None, scoring.quiet):
                    total = len(find_patches(source))
                with progress_bar(f"{noun} {source.slide}", total, scoring.quiet) as bar:
                    result = score_into(
                        source,
                        classifier,
                        scoring.out,
                        threshold=scoring.threshold,
                        context=scoring.context,
                        batch_size=scoring.batch_size or DEFAULT_BATCH,
                        restart=scoring.restart,
                        command=command,
                        on_patches=bar.advance,
                        on_wait=say_waiting,
                        draw=None if outputs is None else _drawing(source, classifier.config, outputs),
                    )
            if scoring.layout == "wsinfer":
                write_wsinfer(result.scores, scoring.out, source.origin_px)
            print_path(result.sheet_path if outputs is not None and outputs.pictures else result.scores_path)
            results.append(result)
    finally:
        _report(results, classifier.config, noun.lower(), scoring.quiet)
    return INCOMPLETE if any(result.unreadable for result in results) else DONE


def _drawing(source: PatchSource, model: ModelConfig, outputs: Outputs) -> Callable[[SlideResult], Path]:
    from wsi_idc.export.outputs import write_outputs

    return lambda result: write_outputs(source, result.scores, model, outputs, result.folder, result.cautions)


def _report(results: Sequence[SlideResult], model: ModelConfig, noun: str, quiet: bool) -> None:
    """Say what a reader of the figures must know, what was odd, and at last each patch that was not scored."""
    for result in results:
        if result.scores.slide in model.has_seen:
            seen = f"{noun} {result.scores.slide}"
            warn(f"the model was trained or tuned on {seen}: its metrics are optimistically biased")
        if not len(result.scores):
            warn(f"no tissue was found on {noun} {result.scores.slide}")
        for caution in result.cautions:
            if caution.code != "trained":
                warn(f"{noun} {result.scores.slide}: {caution.sentence}")
        if not quiet:
            say_labels(result.labels)
        list_problems(result.oddities, "all in run.json")
    for result in results:
        for problem in result.unreadable:
            warn(str(problem))
        if result.unreadable:
            warn(
                f"{len(result.unreadable):,} of the {len(result.scores):,} patches of {noun} {result.scores.slide} "
                "could not be scored"
            )
