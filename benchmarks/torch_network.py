"""CancerNet in PyTorch, for tools that take such networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


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


def load_network(weights: str | Path) -> CancerNet:
    """CancerNet with the weights of an ``.npz``, in Keras's order."""
    with np.load(weights) as stored:
        return CancerNet([stored[name] for name in stored.files]).eval()
