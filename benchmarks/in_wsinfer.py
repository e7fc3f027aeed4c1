"""Score slides with wsinfer and CancerNet's weights: ``python in_wsinfer.py WEIGHTS.npz SLIDES RESULTS WORKERS``.

Runs in the Python that has wsinfer, and calls what ``wsinfer run`` calls; that command itself asks the network for a
list of models first.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch_network import load_network
from wsinfer.modellib.models import LocalModelTorchScript
from wsinfer.modellib.run_inference import run_inference
from wsinfer.patchlib import segment_and_patch_directory_of_slides
from wsinfer_zoo.client import ModelConfiguration, TransformConfigurationItem


def main(weights: str, slides: str, results: str, workers: str) -> None:
    path = Path(results) / "cancernet.pt"
    torch.jit.save(torch.jit.script(load_network(weights)), path)
    config = ModelConfiguration(
        architecture="cancernet",
        num_classes=2,
        class_names=["no_idc", "idc"],
        patch_size_pixels=50,
        spacing_um_px=8.0,
        transform=[
            TransformConfigurationItem(name="Resize", arguments={"size": 50}),
            TransformConfigurationItem(name="ToTensor", arguments={}),
        ],
    )
    segment_and_patch_directory_of_slides(slides, results, patch_size_px=50, patch_spacing_um_px=8.0)
    run_inference(
        slides,
        results,
        LocalModelTorchScript(config, str(path)),
        batch_size=32,
        num_workers=int(workers),
        speedup=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
