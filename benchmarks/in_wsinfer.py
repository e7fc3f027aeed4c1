"""Score slides with wsinfer and a model of ours: ``python in_wsinfer.py MODEL.pt SLIDES RESULTS WORKERS``.

Runs in the Python that has wsinfer, and calls what ``wsinfer run`` calls; that command itself asks the network for a
list of models first. The last line of stdout is the seconds without imports.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from wsinfer.modellib.models import LocalModelTorchScript
from wsinfer.modellib.run_inference import run_inference
from wsinfer.patchlib import segment_and_patch_directory_of_slides
from wsinfer_zoo.client import ModelConfiguration


def main(model: str, slides: str, results: str, workers: str) -> None:
    config = ModelConfiguration.from_dict(json.loads(Path(model).with_suffix(".json").read_text()))
    began = time.monotonic()
    segment_and_patch_directory_of_slides(
        slides, results, patch_size_px=config.patch_size_pixels, patch_spacing_um_px=config.spacing_um_px
    )
    run_inference(
        slides,
        results,
        LocalModelTorchScript(config, model),
        batch_size=32,
        num_workers=int(workers),
        speedup=False,
    )
    print(time.monotonic() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
