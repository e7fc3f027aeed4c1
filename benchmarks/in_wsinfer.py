"""Score slides with wsinfer and CancerNet's weights: ``python in_wsinfer.py WEIGHTS.npz SLIDES RESULTS WORKERS``.

Runs in the Python that has wsinfer, and calls what ``wsinfer run`` calls; that command itself asks the network for a
list of models first.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from wsinfer.modellib.models import LocalModelTorchScript
from wsinfer.modellib.run_inference import run_inference
from wsinfer.patchlib import segment_and_patch_directory_of_slides
from wsinfer_zoo.client import ModelConfiguration, TransformConfigurationItem


class SeparableConv(torch.nn.Module):
    """Keras's SeparableConv2D with ReLU, then batch normalisation."""

    def __init__(self, depthwise, pointwise, bias, *norm) -> None:
        super().__init__()
        channels, filters = depthwise.shape[2], bias.shape[0]
        self.depthwise = torch.nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.depthwise.weight.data = torch.tensor(depthwise.transpose(2, 3, 0, 1))
        self.pointwise = torch.nn.Conv2d(channels, filters, 1)
        self.pointwise.weight.data = torch.tensor(pointwise.transpose(3, 2, 0, 1))
        self.pointwise.bias.data = torch.tensor(bias)
        self.norm = normalisation(torch.nn.BatchNorm2d, *norm)

    def forward(self, x):
        return self.norm(torch.relu(self.pointwise(self.depthwise(x))))


def normalisation(kind, gamma, beta, mean, variance):
    norm = kind(len(gamma), eps=1e-3)
    norm.load_state_dict(
        {
            "weight": torch.tensor(gamma),
            "bias": torch.tensor(beta),
            "running_mean": torch.tensor(mean),
            "running_var": torch.tensor(variance),
            "num_batches_tracked": torch.tensor(0),
        }
    )
    return norm


def dense(kernel, bias):
    layer = torch.nn.Linear(*kernel.shape)
    layer.weight.data, layer.bias.data = torch.tensor(kernel.T.copy()), torch.tensor(bias)
    return layer


class CancerNet(torch.nn.Module):
    """CancerNet up to its logits, from the list of its weights in Keras's order; input (n, 3, 50, 50) in 0-1."""

    def __init__(self, weights) -> None:
        super().__init__()
        convs = [SeparableConv(*weights[i : i + 7]) for i in range(0, 42, 7)]
        pool = torch.nn.MaxPool2d(2)
        self.blocks = torch.nn.Sequential(convs[0], pool, *convs[1:3], pool, *convs[3:6], pool)
        self.hidden, self.norm = dense(*weights[42:44]), normalisation(torch.nn.BatchNorm1d, *weights[44:48])
        self.out = dense(*weights[48:50])

    def forward(self, x):
        features = self.blocks(x[:, :, 1:49, 1:49]).permute(0, 2, 3, 1).flatten(1)
        return self.out(self.norm(torch.relu(self.hidden(features))))


def main(weights: str, slides: str, results: str, workers: str) -> None:
    with np.load(weights) as stored:
        network = CancerNet([stored[name] for name in stored.files]).eval()
    path = Path(results) / "cancernet.pt"
    torch.jit.save(torch.jit.script(network), path)
    config = ModelConfiguration(
        architecture="cancernet",
        num_classes=2,
        class_names=["no_idc", "idc"],
        patch_size_pixels=50,
        spacing_um_px=4.0,
        transform=[
            TransformConfigurationItem(name="Resize", arguments={"size": 50}),
            TransformConfigurationItem(name="ToTensor", arguments={}),
        ],
    )
    segment_and_patch_directory_of_slides(slides, results, patch_size_px=50, patch_spacing_um_px=4.0)
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
