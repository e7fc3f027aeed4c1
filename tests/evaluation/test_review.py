from __future__ import annotations

import numpy as np

from wsi_idc.evaluation.review import Reviewed, rank_looks, unlike_neighbours
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.source import Patch


def grid(slide: str, prob: list[list[float]], label: list[list[int | None]] | None = None) -> Scores:
    """Patches of 50 px; the threshold is 0.5."""
    patches = [
        Patch(50 * x, 50 * y, 50, 50, None if label is None else label[y][x])
        for y, row in enumerate(prob)
        for x in range(len(row))
    ]
    idc = np.array(prob, dtype=np.float32).ravel()
    return make_scores(slide, patches, np.stack([1 - idc, idc], axis=1), 0.5)


SURE = [[0.02] * 5 for _ in range(5)]


def changed(**places: float) -> list[list[float]]:
    """A slide that is surely no IDC, but for some patches named like ``x1y2``."""
    prob = [list(row) for row in SURE]
    for place, value in places.items():
        prob[int(place[3])][int(place[1])] = value
    return prob


def test_a_sure_slide_is_worth_no_look() -> None:
    assert rank_looks([Reviewed(grid("a", SURE))]) == []


def test_each_reason_is_found() -> None:
    label: list[list[int | None]] = [[0] * 5 for _ in range(5)]
    label[4][4] = 1
    slides = [
        Reviewed(grid("near", changed(x0y0=0.45))),
        Reviewed(grid("alone", changed(x2y2=0.99))),
        Reviewed(grid("wrong", SURE, label)),
        Reviewed(grid("strange", SURE), ("stain", "material")),
        Reviewed(grid("usual", SURE), ("material", "trained")),
    ]
    looks = {look.slide: look for look in rank_looks(slides)}
    assert set(looks) == {"near", "alone", "wrong", "strange"}
    assert looks["near"].box == (0, 0, 50, 50) and looks["near"].reasons == ("near the threshold",)
    assert looks["alone"].box == (100, 100, 50, 50)
    assert looks["alone"].reasons == ("called IDC unlike all its neighbours",)
    assert looks["wrong"].box == (200, 200, 50, 50)
    assert looks["wrong"].reasons == ("called no IDC against its label",)
    assert looks["strange"].reasons == ("caution: stain",)


def test_no_slide_and_no_reason_fills_the_list() -> None:
    doubtful = [[0.5] * 20 for _ in range(20)]
    slides = [Reviewed(grid("a", doubtful)), Reviewed(grid("b", changed(x0y0=0.4, x4y4=0.99)))]
    looks = rank_looks(slides, top=20, per_slide=5)
    assert [look.slide for look in looks].count("a") == 5
    assert [look.slide for look in looks].count("b") == 2
    assert {look.slide for look in rank_looks(slides, top=2)} == {"a", "b"}
    assert len(rank_looks(slides, top=3)) == 3


def test_the_most_doubtful_comes_first_and_a_patch_comes_once() -> None:
    slide = Reviewed(grid("a", changed(x0y0=0.45, x2y2=0.501, x4y4=0.4)))
    looks = rank_looks([slide])
    assert [look.prob_idc for look in looks] == [0.501, 0.45, 0.4]
    assert looks[0].reasons == ("near the threshold", "called IDC unlike all its neighbours")


def test_what_is_corrected_is_not_asked_again() -> None:
    slide = grid("a", changed(x0y0=0.45, x3y3=0.44))
    looks = rank_looks([Reviewed(slide, ("stain",), {(0, 0, 50, 50)})])
    assert [look.box for look in looks] == [(150, 150, 50, 50)]
    assert looks[0].reasons == ("near the threshold", "caution: stain")


def test_neighbours_are_patches_that_touch() -> None:
    # At the right border and at the left one of the next row: they do not touch.
    apart = grid("a", changed(x4y1=0.9, x0y2=0.9))
    assert np.flatnonzero(unlike_neighbours(apart)).tolist() == [9, 10]
    corner = grid("a", changed(x3y1=0.9, x4y2=0.9))
    assert not unlike_neighbours(corner).any()
    hole = grid("a", [[0.98 if (x, y) != (2, 2) else 0.1 for x in range(5)] for y in range(5)])
    assert np.flatnonzero(unlike_neighbours(hole)).tolist() == [12]
    lost = grid("a", changed(x2y2=float("nan"), x1y1=0.9))
    assert np.flatnonzero(unlike_neighbours(lost)).tolist() == [6]
    assert unlike_neighbours(grid("a", [])).tolist() == []
