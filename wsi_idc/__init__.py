"""Whole-slide image analysis for invasive ductal carcinoma of the breast.

The functions below are what the commands call. They are imported when they are first used, so that
``import wsi_idc`` loads neither Keras nor matplotlib.
"""

from importlib import import_module
from typing import Any

from wsi_idc._version import __version__

_WHERE = {
    "Caption": "wsi_idc.plotting.caption",
    "Case": "wsi_idc.datasets.case",
    "CaseStains": "wsi_idc.model.case_stains",
    "Caution": "wsi_idc.source",
    "Classifier": "wsi_idc.model.classifier",
    "Correction": "wsi_idc.scoring.corrections",
    "Dataset": "wsi_idc.datasets.dataset",
    "Evaluation": "wsi_idc.evaluation.evaluate",
    "Jitter": "wsi_idc.training.augment",
    "LabelledPatches": "wsi_idc.datasets.labelled",
    "Metrics": "wsi_idc.metrics",
    "ModelConfig": "wsi_idc.model.config",
    "Mosaic": "wsi_idc.plotting.mosaic",
    "Normalization": "wsi_idc.model.stain",
    "Outputs": "wsi_idc.export.outputs",
    "PatchSpec": "wsi_idc.geometry",
    "Problem": "wsi_idc.source",
    "Recipe": "wsi_idc.training.recipe",
    "Scored": "wsi_idc.scoring.score",
    "ScoredCohort": "wsi_idc.cohort",
    "Scores": "wsi_idc.scoring.scores",
    "Shard": "wsi_idc.scoring.array_jobs",
    "Slide": "wsi_idc.slides.slide",
    "SlideOptions": "wsi_idc.scoring.handles",
    "SlideResult": "wsi_idc.scoring.results",
    "Stain": "wsi_idc.model.stain",
    "StainedPatches": "wsi_idc.model.case_stains",
    "StartingModel": "wsi_idc.training.recipe",
    "Style": "wsi_idc.plotting.style",
    "Trained": "wsi_idc.training.fitting",
    "WsiIdcError": "wsi_idc.errors",
    "compare": "wsi_idc.report.comparison",
    "draw_sheet": "wsi_idc.plotting.sheet",
    "evaluate": "wsi_idc.evaluation.evaluate",
    "load_corrected": "wsi_idc.scoring.corrected",
    "export_tables": "wsi_idc.tables",
    "load_model": "wsi_idc.model.classifier",
    "load_patches": "wsi_idc.datasets.labelled",
    "make_caption": "wsi_idc.plotting.caption",
    "measure_stain": "wsi_idc.scoring.slide_stain",
    "normalize": "wsi_idc.model.stain",
    "open_case": "wsi_idc.datasets.opening",
    "open_dataset": "wsi_idc.datasets.opening",
    "open_slide": "wsi_idc.slides.slide",
    "preprocess": "wsi_idc.model.network",
    "read_corrections": "wsi_idc.scoring.corrections",
    "rebuild_mosaic": "wsi_idc.plotting.mosaic",
    "save_model": "wsi_idc.model.saving",
    "score": "wsi_idc.scoring.score",
    "score_cohort": "wsi_idc.cohort",
    "score_into": "wsi_idc.scoring.results",
    "sum_up_results": "wsi_idc.report.cohort_files",
    "train": "wsi_idc.training.fitting",
    "train_on_corrections": "wsi_idc.training.tuning",
    "write_corrections": "wsi_idc.scoring.corrections",
    "write_mosaic_tiff": "wsi_idc.export.slide_image",
    "write_outputs": "wsi_idc.export.outputs",
    "write_report": "wsi_idc.report",
    "write_review": "wsi_idc.report.worklist",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_WHERE]
