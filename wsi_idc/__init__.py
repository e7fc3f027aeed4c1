"""Whole-slide image analysis for invasive ductal carcinoma of the breast.

The functions below are what the commands call. They are imported when they are first used, so that
``import wsi_idc`` loads neither Keras nor matplotlib.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "draw_sheet": "wsi_idc.views.sheet",
    "evaluate": "wsi_idc.evaluation.evaluate",
    "load_model": "wsi_idc.model.classifier",
    "open_case": "wsi_idc.sources.locate",
    "open_slide": "wsi_idc.sources.slide",
    "score": "wsi_idc.scoring.score",
    "train": "wsi_idc.model.training",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
