"""How patches become the input of a network: the ``transform`` of a model's ``.json``, as wsinfer's zoo writes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_idc.geometry import INPUT_PX

_TO_FLOATS = {"ToTensor": True, "PILToTensor": False}
"""Steps that make numbers of pixels, and whether these are scaled to 0-1."""

_RGB = 3
_LARGEST_PX = 4_096


@dataclass(frozen=True)
class Transform:
    """Steps from uint8 patches to float32 input.

    Attributes
    ----------
    geometry : tuple of (str, int, int)
        ``Resize`` and ``CenterCrop`` in order, each with height and width in pixels.
    scaled : bool
        Whether 0-255 becomes 0-1 (``ToTensor``) or stays (``PILToTensor``).
    mean, std : tuple of float
        Of red, green and blue, taken off and divided by (``Normalize``); empty where there is no such step.
    """

    geometry: tuple[tuple[str, int, int], ...] = (("CenterCrop", INPUT_PX, INPUT_PX),)
    scaled: bool = True
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def input_px(self, patch_px: int) -> tuple[int, int]:
        """Height and width of what the network gets of a square patch."""
        return self.geometry[-1][1:] if self.geometry else (patch_px, patch_px)

    def __call__(self, patches: NDArray[np.uint8], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Float32 input ``(n, height, width, 3)`` of uint8 patches ``(n, size, size, 3)``, where given in `out`."""
        for step, height, width in self.geometry:
            patches = _resize(patches, height, width) if step == "Resize" else _crop(patches, height, width)
        shown = np.empty(patches.shape, dtype=np.float32) if out is None else out
        shown[:] = patches
        if self.scaled:
            shown /= np.float32(255)
        if self.mean:
            shown -= np.array(self.mean, dtype=np.float32)
            shown /= np.array(self.std, dtype=np.float32)
        return shown

    def as_list(self) -> list[dict[str, Any]]:
        """The steps as `read_transform` reads them."""
        steps: list[dict[str, Any]] = [
            {"name": step, "arguments": {"size": height if height == width else [height, width]}}
            for step, height, width in self.geometry
        ]
        steps.append({"name": "ToTensor" if self.scaled else "PILToTensor"})
        if self.mean:
            steps.append({"name": "Normalize", "arguments": {"mean": list(self.mean), "std": list(self.std)}})
        return steps


CANCERNET_TRANSFORM = Transform()


def _resize(patches: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Pillow's bilinear filter, which torchvision's Resize applies to images."""
    if patches.shape[1:3] == (height, width):
        return patches
    out = np.empty((len(patches), height, width, _RGB), dtype=np.uint8)
    for i, patch in enumerate(patches):
        out[i] = np.asarray(Image.fromarray(patch).resize((width, height), Image.Resampling.BILINEAR))
    return out


def _crop(patches: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The centre; a margin that cannot be halved is rounded to even, as torchvision does."""
    top, left = round((patches.shape[1] - height) / 2), round((patches.shape[2] - width) / 2)
    return patches[:, top : top + height, left : left + width]


def read_transform(steps: Any, patch_px: int) -> Transform:
    """Read the steps; ValueError or TypeError that says which of them cannot be followed.

    Parameters
    ----------
    steps : object
        What the ``.json`` says: a list of names and arguments.
    patch_px : int
        Edge of the patches.
    """
    if not isinstance(steps, list):
        raise TypeError("its transform is no list of steps")
    geometry: list[tuple[str, int, int]] = []
    scaled: bool | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    height, width = patch_px, patch_px
    for step in steps:
        name = step.get("name") if isinstance(step, dict) else None
        given = (step.get("arguments") or {}) if isinstance(step, dict) else {}
        if not isinstance(given, dict):
            raise TypeError(f"the arguments of {name} in its transform are no object")
        if name in ("Resize", "CenterCrop") and scaled is None:
            size = _size(given.get("size"), str(name))
            if name == "CenterCrop" and (size[0] > height or size[1] > width):
                raise ValueError(f"its transform crops {size[0]}x{size[1]} px out of {height}x{width}")
            height, width = size
            geometry.append((str(name), height, width))
        elif name in _TO_FLOATS and scaled is None:
            scaled = _TO_FLOATS[name]
        elif name == "Normalize" and scaled is not None and not mean:
            mean, std = _channels(given.get("mean"), "mean"), _channels(given.get("std"), "std")
            if min(std) <= 0:
                raise ValueError("the std of Normalize in its transform is not above 0")
        else:
            raise ValueError(
                f"its transform has {str(name)[:40]!r} where Resize and CenterCrop, then ToTensor or PILToTensor, then "
                "Normalize are known"
            )
    if scaled is None:
        raise ValueError("its transform has no ToTensor, so what the network takes of the pixels is not known")
    return Transform(tuple(geometry), scaled, mean, std)


def _size(value: Any, name: str) -> tuple[int, int]:
    both = value if isinstance(value, list) else [value, value]
    if len(both) != 2 or not all(type(side) is int and 0 < side <= _LARGEST_PX for side in both):
        raise ValueError(f"the size of {name} in its transform is no whole number of pixels up to {_LARGEST_PX:,}")
    return both[0], both[1]


def _channels(value: Any, name: str) -> tuple[float, ...]:
    numbers = isinstance(value, list) and all(isinstance(one, int | float) and abs(one) < 1e6 for one in value)
    if not numbers or len(value) != _RGB:
        raise ValueError(f"the {name} of Normalize in its transform is not three numbers")
    return tuple(map(float, value))
