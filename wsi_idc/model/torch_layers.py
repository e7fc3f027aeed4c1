"""Keras layers in PyTorch: a network whose layers follow each other, as TorchScript for other programs."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from wsi_idc.model.calibration import Calibration


class _Flat(torch.nn.Module):  # type: ignore[misc]
    """Colours last, then one row a patch, as Keras flattens."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class _Affine(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, scale: float, offset: float) -> None:
        super().__init__()
        self.scale, self.offset = scale, offset

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale + self.offset


class _Largest(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.amax(dim=(2, 3))


class _Mean(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


ACTIVATIONS: dict[str, Callable[[], Any]] = {
    "relu": torch.nn.ReLU,
    "sigmoid": torch.nn.Sigmoid,
    "softmax": lambda: torch.nn.Softmax(dim=1),
    "tanh": torch.nn.Tanh,
    "elu": torch.nn.ELU,
}
"""Keras's names."""


def modules(layer: Any) -> list[Any]:
    """PyTorch modules of a Keras layer without its activation; KeyError or NotImplementedError for one unknown here."""
    shape = layer.input.shape
    if getattr(layer, "data_format", None) == "channels_first":
        raise NotImplementedError
    return _LAYERS[type(layer).__name__](layer, tuple(shape[1:3]) if len(shape) == 4 else (1, 1))


def _convolution(layer: Any, side: tuple[int, int]) -> list[Any]:
    return _convolve(layer, np.asarray(layer.kernel).transpose(3, 2, 0, 1), layer.groups, _bias(layer), side)


def _separable(layer: Any, side: tuple[int, int]) -> list[Any]:
    depthwise, pointwise = np.asarray(layer.depthwise_kernel), np.asarray(layer.pointwise_kernel)
    rows, columns, channels, times = depthwise.shape
    each = depthwise.transpose(2, 3, 0, 1).reshape(channels * times, 1, rows, columns)
    mixed = torch.nn.Conv2d(channels * times, pointwise.shape[-1], 1)
    _fill(mixed, pointwise.transpose(3, 2, 0, 1), _bias(layer))
    return [*_convolve(layer, each, channels, None, side), mixed]


def _normalize(layer: Any, _side: tuple[int, int]) -> list[Any]:
    mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    if layer.axis not in (-1, [-1], len(layer.input.shape) - 1):
        raise NotImplementedError
    kind = torch.nn.BatchNorm2d if len(layer.input.shape) == 4 else torch.nn.BatchNorm1d
    norm = kind(len(mean), eps=float(layer.epsilon))
    norm.running_mean, norm.running_var = _tensor(mean), _tensor(variance)
    gamma = np.asarray(layer.gamma) if layer.scale else np.ones_like(mean)
    _fill(norm, gamma, np.asarray(layer.beta) if layer.center else np.zeros_like(mean))
    return [norm]


def _pool(layer: Any, side: tuple[int, int]) -> list[Any]:
    window, steps = tuple(layer.pool_size), tuple(layer.strides)
    largest = type(layer).__name__ == "MaxPooling2D"
    if layer.padding != "same":
        return [(torch.nn.MaxPool2d if largest else torch.nn.AvgPool2d)(window, steps)]
    before_after = _same(side, window, steps, (1, 1))
    if not largest and any(before_after):
        raise NotImplementedError  # Keras leaves the padding out of the mean, which AvgPool2d after a pad does not
    pad = [torch.nn.ConstantPad2d(before_after, -np.inf)] if any(before_after) else []
    return [*pad, (torch.nn.MaxPool2d if largest else torch.nn.AvgPool2d)(window, steps)]


def _pool_all(layer: Any, _side: tuple[int, int]) -> list[Any]:
    if layer.keepdims:
        raise NotImplementedError
    return [_Largest() if type(layer).__name__ == "GlobalMaxPooling2D" else _Mean()]


def _flatten(layer: Any, _side: tuple[int, int]) -> list[Any]:
    return [_Flat() if len(layer.input.shape) == 4 else torch.nn.Flatten()]


def _dense(layer: Any, _side: tuple[int, int]) -> list[Any]:
    if len(layer.input.shape) != 2:
        raise NotImplementedError
    kernel = np.asarray(layer.kernel)
    made = torch.nn.Linear(*kernel.shape)
    _fill(made, kernel.T, _bias(layer))
    return [made]


def _rescale(layer: Any, _side: tuple[int, int]) -> list[Any]:
    return [_Affine(float(layer.scale), float(layer.offset))]


def crop(before_px: tuple[int, int], after_px: tuple[int, int]) -> Any:
    """The centre of patches ``(n, 3, *before_px)``, as the transform's CenterCrop takes it."""
    top, left = (round((before - after) / 2) for before, after in zip(before_px, after_px, strict=True))
    bottom, right = before_px[0] - after_px[0] - top, before_px[1] - after_px[1] - left
    return torch.nn.ZeroPad2d((-left, -right, -top, -bottom))


def calibrate(calibration: Calibration, positive: int) -> Any:
    """What makes outputs before softmax, of two classes, such that softmax gives calibrated probabilities."""
    made = torch.nn.Linear(2, 2)
    weights, bias = np.zeros((2, 2)), np.zeros(2)
    weights[positive, positive], weights[positive, 1 - positive] = calibration.scale, -calibration.scale
    bias[positive] = calibration.bias
    _fill(made, weights, bias)
    return made


def script(parts: Sequence[Any]) -> bytes:
    """The bytes of a ``.pt`` file."""
    module = torch.nn.Sequential(*parts).eval().requires_grad_(False)
    written = io.BytesIO()
    torch.jit.save(torch.jit.script(module), written)
    return written.getvalue()


def _convolve(layer: Any, kernel: Any, groups: int, bias: Any, side: tuple[int, int]) -> list[Any]:
    window, steps, apart = kernel.shape[2:], tuple(layer.strides), tuple(layer.dilation_rate)
    pads = _same(side, window, steps, apart) if layer.padding == "same" else (0, 0, 0, 0)
    left, right, top, bottom = pads
    even = left == right and top == bottom
    made = torch.nn.Conv2d(
        kernel.shape[1] * groups,
        kernel.shape[0],
        window,
        steps,
        padding=(top, left) if even else 0,
        dilation=apart,
        groups=groups,
        bias=bias is not None,
    )
    _fill(made, kernel, bias)
    return [made] if even else [torch.nn.ZeroPad2d(pads), made]


def _same(side: Any, window: Any, steps: Any, apart: Any) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of Keras's padding ``same``: the odd pixel goes to the right and the bottom."""
    pads: list[int] = []
    for length, wide, step, gap in reversed(list(zip(side, window, steps, apart, strict=True))):
        missing = max((-(-length // step) - 1) * step + (wide - 1) * gap + 1 - length, 0)
        pads += [missing // 2, missing - missing // 2]
    return pads[0], pads[1], pads[2], pads[3]


def _bias(layer: Any) -> Any:
    return np.asarray(layer.bias) if layer.use_bias else None


def _tensor(values: Any) -> torch.Tensor:
    return torch.tensor(np.array(values, dtype=np.float32))


def _fill(module: Any, weight: Any, bias: Any) -> None:
    module.weight.data = _tensor(weight)
    if bias is not None:
        module.bias.data = _tensor(bias)
    elif module.bias is not None:
        module.bias.data = torch.zeros_like(module.bias)


_LAYERS: dict[str, Callable[[Any, tuple[int, int]], list[Any]]] = {
    "Conv2D": _convolution,
    "SeparableConv2D": _separable,
    "BatchNormalization": _normalize,
    "MaxPooling2D": _pool,
    "AveragePooling2D": _pool,
    "GlobalAveragePooling2D": _pool_all,
    "GlobalMaxPooling2D": _pool_all,
    "Flatten": _flatten,
    "Dense": _dense,
    "Rescaling": _rescale,
}
"""What makes PyTorch modules of a Keras layer and the height and width of its input."""
