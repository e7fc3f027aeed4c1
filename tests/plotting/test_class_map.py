from __future__ import annotations

import numpy as np

from tests.plotting.conftest import make_source
from wsi_idc.model.classes import Classes
from wsi_idc.plotting.class_map import COLOURS, paint_classes
from wsi_idc.plotting.mosaic import rebuild_mosaic
from wsi_idc.plotting.overlay import LUMA, UNREADABLE_RGB
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
    assert painted.shape[0] > mosaic.pixels.shape[0]
    assert painted.shape[1] == mosaic.pixels.shape[1]
    hatched = []
    for patch, number in zip(source.patches, chosen, strict=True):
        inner = slice(patch.y + 5, patch.y + patch.height - 5), slice(patch.x + 5, patch.x + patch.width - 5)
        tile = painted[inner].reshape(-1, 3).astype(float)
        if number < 0:
            assert (tile == UNREADABLE_RGB).all(axis=1).mean() > 0.5
            continue
        over = 0.75 * np.array(COLOURS[number]) + 0.25 * (mosaic.pixels[inner] @ LUMA).mean()
        np.testing.assert_allclose(np.median(tile, axis=0), over, atol=1.5)
        hatched.append((number, len(np.unique(tile, axis=0)) > 1))
    # In grey print the hatching tells neighbouring classes apart.
    assert all(lines == (number == 1) for number, lines in hatched)
