from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.plotting.conftest import caption_of, make_source
from wsi_idc.model.classes import Classes
from wsi_idc.plotting.class_map import COLOURS, add_legend, paint_classes
from wsi_idc.plotting.mosaic import rebuild_mosaic
from wsi_idc.plotting.overlay import UNREADABLE_RGB, as_grey
from wsi_idc.plotting.slide_pictures import draw_all
from wsi_idc.plotting.style import Style
from wsi_idc.scoring.scores import make_scores

CLASSES = Classes(("normal", "in_situ", "invasive"), "invasive")


def test_each_patch_has_the_colour_of_its_most_probable_class() -> None:
    source = make_source(6, 5, labels="none")
    probs = np.random.default_rng(0).dirichlet([1, 1, 1], len(source.patches)).astype(np.float32)
    probs[7] = np.nan
    scores = make_scores(source.slide, source.patches, probs, 0.5, CLASSES)
    chosen = scores.most_probable
    assert chosen[7] == -1
    expected = np.nan_to_num(probs).argmax(axis=1)
    assert (chosen == expected)[np.arange(len(chosen)) != 7].all()
    assert set(expected) == {0, 1, 2}

    mosaic = rebuild_mosaic(source)
    painted = paint_classes(mosaic, scores)
    assert painted.shape == mosaic.pixels.shape
    whole = add_legend(painted, scores)
    np.testing.assert_array_equal(whole[: len(painted)], painted)
    for colour in COLOURS[:3]:
        assert (whole[len(painted) :] == colour).all(axis=2).any()
    hatched = []
    for patch, number in zip(source.patches, chosen, strict=True):
        inner = slice(patch.y + 5, patch.y + patch.height - 5), slice(patch.x + 5, patch.x + patch.width - 5)
        tile = painted[inner].reshape(-1, 3).astype(float)
        if number < 0:
            assert (tile == UNREADABLE_RGB).all(axis=1).mean() > 0.5
            continue
        over = 0.75 * np.array(COLOURS[number]) + 0.25 * as_grey(mosaic.pixels)[inner].mean()
        np.testing.assert_allclose(np.median(tile, axis=0), over, atol=1.5)
        hatched.append((number, len(np.unique(tile, axis=0)) > 1))
    # In grey print the hatching tells neighbouring classes apart.
    assert all(lines == (number == 1) for number, lines in hatched)


def test_the_word_phantom_hides_none_of_the_legend(tmp_path: Path) -> None:
    source = make_source(6, 5, labels="none", kind="phantom")
    probs = np.random.default_rng(0).dirichlet([1, 1, 1], len(source.patches)).astype(np.float32)
    scores = make_scores(source.slide, source.patches, probs, 0.5, CLASSES)
    draw_all(source, scores, caption_of(source), Style(dpi=72), tmp_path)
    drawn, mosaic = np.asarray(Image.open(tmp_path / "classes.png")), rebuild_mosaic(source)
    plain = add_legend(paint_classes(mosaic, scores), scores)
    height = len(mosaic.pixels)
    assert (drawn[:height] != plain[:height]).any()
    np.testing.assert_array_equal(drawn[height:], plain[height:])
