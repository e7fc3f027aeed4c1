from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from wsi_idc.evaluation.bootstrap import bootstrap_intervals
from wsi_idc.evaluation.cohort_metrics import (
    SUMMARY_COLUMNS,
    SlideSummary,
    failed,
    pooled_metrics,
    summarise,
    write_cohort_metrics,
    write_summary,
)
from wsi_idc.evaluation.reliability import expected_calibration_error
from wsi_idc.metrics import compute_metrics
from wsi_idc.naming import cell_text
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.source import Patch, Problem

MPP = (4.0, 5.0)
PATCHES = [Patch(0, 0, 50, 50, 1), Patch(50, 0, 38, 50, 0), Patch(0, 50, 50, 42, None), Patch(50, 50, 38, 42, 1)]
PROBS = np.array([[0.1, 0.9], [0.75, 0.25], [0.4, 0.6], [np.nan, np.nan]], np.float32)
UNREADABLE = Problem("x/8863_idx5_x51_y51_class1.png", "is cut off")


def slide_scores(name: str, label: list[int | None], prob: list[float], threshold: float = 0.5) -> Scores:
    patches = [Patch(50 * i, 0, 50, 50, known) for i, known in enumerate(label)]
    return make_scores(name, patches, np.array([(1 - p, p) for p in prob], np.float32).reshape(-1, 2), threshold)


def cohort(names: list[str], unlabelled: bool = False) -> list[Scores]:
    rng = np.random.default_rng(0)
    return [
        slide_scores(
            name,
            [None] * 30 if unlabelled else [None, *rng.integers(0, 2, 29).tolist()],
            [*rng.random(29).tolist(), np.nan],
        )
        for name in names
    ]


def written(path: Path, *rows: SlideSummary) -> list[dict[str, str]]:
    write_summary(path, rows)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t"])
def test_no_cell_is_a_formula(tmp_path: Path, sign: str) -> None:
    name = f"{sign}HYPERLINK(0).svs"
    (row,) = written(tmp_path / "summary.csv", failed(name, f"{sign}cmd|' /C calc'!A0 is not there."))
    assert row["slide"] == f"'{name}"
    assert cell_text(row["slide"]) == name
    assert row["error"].startswith("'=" if sign == "=" else ("'" + sign, " "))


def test_no_cell_turns_the_direction_of_text(tmp_path: Path) -> None:
    (row,) = written(tmp_path / "summary.csv", failed("a\u202egvs.exe", "a\u2066b is not there."))
    assert row["slide"] == "a\\u202egvs.exe"
    assert "\u2066" not in row["error"]


def test_areas_count_readable_patches_with_the_scale_of_each_axis() -> None:
    tissue, idc = make_scores("a", PATCHES, PROBS, 0.5).areas_mm2(MPP)
    assert tissue == pytest.approx((50 * 50 + 38 * 50 + 50 * 42) * 4 * 5 / 1e6)
    assert idc == pytest.approx((50 * 50 + 50 * 42) * 4 * 5 / 1e6)


def test_a_slide_with_unreadable_patches_is_partial_and_says_why() -> None:
    scores = make_scores("8863", PATCHES, PROBS, 0.5)
    summary = summarise(scores, MPP, 1.5, [UNREADABLE])
    assert (summary.slide, summary.status) == ("8863", "partial")
    assert (summary.patches, summary.unreadable, summary.positives) == (4, 1, 2)
    assert (summary.tissue_mm2, summary.idc_mm2) == scores.areas_mm2(MPP)
    assert summary.metrics == scores.metrics
    assert summary.error == "1 of 4 patches cannot be read, the first: is cut off"


def test_a_whole_slide_is_ok() -> None:
    summary = summarise(make_scores("a", PATCHES[:3], PROBS[:3], 0.5), MPP, 1.5, [])
    assert (summary.status, summary.error, summary.unreadable) == ("ok", "", 0)


def test_no_tissue_is_an_outcome_of_its_own() -> None:
    summary = summarise(slide_scores("a", [], []), MPP, 1.5, [])
    assert (summary.status, summary.error) == ("no tissue", "no tissue was found")
    assert (summary.patches, summary.positives, summary.tissue_mm2, summary.metrics) == (0, 0, 0.0, None)


def test_the_summary_to_the_letter(tmp_path: Path) -> None:
    rows = (
        summarise(make_scores("b/y.svs", PATCHES, PROBS, 0.5), MPP, 1.23456, [UNREADABLE]),
        summarise(slide_scores("a, b.svs", [None], [0.25]), (0.5, 0.5), 2.0, []),
        summarise(slide_scores("bare.svs", [], []), MPP, None, []),
        failed("c.svs", "c.svs does not say its scale", 0.1),
    )
    write_summary(tmp_path / "summary.csv", rows)
    assert (tmp_path / "summary.csv").read_bytes().decode() == (
        "slide,status,patches,unreadable,positives,cautions,tissue_mm2,idc_mm2,n,tn,fp,fn,tp,threshold,accuracy,"
        "balanced_accuracy,sensitivity,specificity,precision,npv,f1,auc,average_precision,brier,seconds,error\n"
        "b/y.svs,partial,4,1,2,,0.13,0.092,2,1,0,0,1,0.5,1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0,1.0,"
        '0.03625,1.235,"1 of 4 patches cannot be read, the first: is cut off"\n'
        '"a, b.svs",ok,1,0,0,,0.000625,0.0' + "," * 17 + "2.0,\n"
        "bare.svs,no tissue,0,0,0,,0.0,0.0" + "," * 17 + ",no tissue was found\n"
        "c.svs,failed" + "," * 23 + "0.1,c.svs does not say its scale\n"
    )


def test_undefined_figures_are_empty_and_zeros_are_not(tmp_path: Path) -> None:
    (row,) = written(tmp_path / "s.csv", summarise(slide_scores("a", [0, 0], [0.1, 0.9]), MPP, 1.0, []))
    assert (row["auc"], row["sensitivity"], row["tp"], row["precision"]) == ("", "", "0", "0.0")


def test_each_column_stands_once() -> None:
    assert len(set(SUMMARY_COLUMNS)) == len(SUMMARY_COLUMNS)


def test_a_row_is_a_line_whatever_a_reason_or_a_name_holds(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    (row,) = written(path, failed("sl\udcffide.svs", "libtiff:\n\x1b[31mbad \udcff"))
    assert row["slide"] == r"sl\udcffide.svs"
    assert row["error"] == "libtiff:  [31mbad  "
    assert path.read_bytes().count(b"\n") == 2


def test_a_summary_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def breaking() -> Iterator[SlideSummary]:
        yield failed("a", "reason")
        raise KeyboardInterrupt

    written(tmp_path / "s.csv", failed("old", "reason"))
    before = (tmp_path / "s.csv").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write_summary(tmp_path / "s.csv", breaking())
    assert (tmp_path / "s.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


def test_metrics_of_a_cohort_are_those_of_its_labelled_patches(tmp_path: Path) -> None:
    """Among more than ten slides, so that ranks of one and of two digits are sorted together."""
    labelled = cohort(["b/y.svs", "a", *map(str, range(10))])
    scores = [*labelled, *cohort(["none.svs"], unlabelled=True), slide_scores("bare.svs", [], [])]
    told = write_cohort_metrics(tmp_path / "metrics.json", scores)
    assert told is not None
    case = np.concatenate([np.repeat(of.slide, of.labelled.sum()) for of in labelled])
    label = np.concatenate([of.label[of.labelled] for of in labelled])
    prob = np.concatenate([of.prob[of.labelled] for of in labelled])
    assert pooled_metrics(scores) == compute_metrics(label, prob, 0.5)
    pooled = compute_metrics(label, prob, 0.5).as_dict()
    assert pooled["n"] == 12 * 28
    assert {name: told[name] for name in pooled} == pooled
    assert told["cases"] == 12
    assert told["ece"] == pytest.approx(expected_calibration_error(label, prob))
    assert told["per_case"] == {of.slide: of.metrics.as_dict() for of in labelled if of.metrics}
    by_name = bootstrap_intervals(case, label, prob, 0.5)
    assert told["ci"].keys() == by_name.keys()
    for name, interval in by_name.items():
        assert told["ci"][name] == pytest.approx(interval), name
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(json.dumps(told))


def test_the_order_of_the_slides_changes_no_figure(tmp_path: Path) -> None:
    scores = cohort(["c.svs", "a.svs", "b.svs"])
    one = write_cohort_metrics(tmp_path / "one.json", scores)
    other = write_cohort_metrics(tmp_path / "other.json", scores[::-1])
    assert one is not None
    assert other is not None
    assert list(one["per_case"]) == list(other["per_case"])[::-1]
    assert one["ci"].keys() == other["ci"].keys()
    for name in one["ci"]:
        assert one["ci"][name] == pytest.approx(other["ci"][name]), name


def test_one_slide_has_no_interval(tmp_path: Path) -> None:
    told = write_cohort_metrics(tmp_path / "metrics.json", cohort(["a"]))
    assert told is not None
    assert set(told["ci"].values()) == {None}


def test_figures_follow_the_context_where_that_is_on(tmp_path: Path) -> None:
    scores = [of.with_context(1.0) for of in cohort(["a", "b"])]
    told = write_cohort_metrics(tmp_path / "metrics.json", scores)
    label = np.concatenate([of.label[of.labelled] for of in scores])
    blurred = np.concatenate([of.prob_idc_context[of.labelled] for of in scores if of.prob_idc_context is not None])
    assert told is not None
    assert told["auc"] == compute_metrics(label, blurred, 0.5).auc


def test_without_labels_there_are_no_metrics_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_cohort_metrics(path, cohort(["a", "b"]))
    assert path.is_file()
    assert pooled_metrics(cohort(["a"], unlabelled=True)) is None
    for _ in range(2):
        assert write_cohort_metrics(path, cohort(["a", "b"], unlabelled=True)) is None
        assert not path.exists()


def test_slides_called_at_different_thresholds_have_no_figures_in_common(tmp_path: Path) -> None:
    one, other = cohort(["a", "b"])
    with pytest.raises(ValueError, match="thresholds"):
        write_cohort_metrics(tmp_path / "metrics.json", [one, other.with_threshold(0.4)])
    assert not (tmp_path / "metrics.json").exists()
