"""Score one case from Python and draw its sheet: ``python examples/one_case.py [CASE [DATA [OUT.png]]]``."""

from __future__ import annotations

import sys
from pathlib import Path

from wsi_idc import Style, draw_sheet, load_model, make_caption, open_case, rebuild_mosaic, score


def main(case: str = "90001", data: str = "demo", out: str = "heatmap.png") -> None:
    """Score `case` of `data` and draw its sheet."""
    source = open_case(case, data)
    model = load_model()
    scored = score(source, model)
    for problem in (*source.problems, *scored.problems):
        print(problem, file=sys.stderr)
    scores = scored.scores
    print(f"{len(scores)} patches, {scores.pred.sum()} of them called IDC")
    if scores.metrics is not None:
        print(scores.metrics)
    caption = make_caption(source, model.config, scores)
    draw_sheet(rebuild_mosaic(source), scores, caption, Style(), Path(out))
    print(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
