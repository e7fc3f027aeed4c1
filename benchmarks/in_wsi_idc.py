"""Score a slide as ``score slide`` does: ``python in_wsi_idc.py SLIDE RESULTS``.

The last line of stdout is the seconds without imports and model.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from wsi_idc.model.classifier import load_model
from wsi_idc.scoring.results import score_into
from wsi_idc.slides.slide import Slide


def main(path: str, out: str) -> None:
    model = load_model()
    began = time.monotonic()
    with Slide(Path(path)) as slide:
        score_into(slide, model, Path(out))
    print(time.monotonic() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
