"""Scores to pictures: the mosaic, the overlay, the sheet, the confusion matrix and the training curve."""

import os
import sys
from contextlib import suppress


def _import_matplotlib() -> None:
    """Import Matplotlib even where ``MPLBACKEND`` names no backend: pages are drawn by a canvas of their own."""
    asked = os.environ.pop("MPLBACKEND")
    try:
        import matplotlib

        with suppress(ValueError):
            matplotlib.rcParams["backend"] = asked
    finally:
        os.environ["MPLBACKEND"] = asked


if "MPLBACKEND" in os.environ and "matplotlib" not in sys.modules:
    _import_matplotlib()
