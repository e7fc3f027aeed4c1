"""What a network takes and gives, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import ModelError
from wsi_idc.geometry import INPUT_PX
from wsi_idc.model.classes import IDC_CLASSES, Classes
from wsi_idc.model.transform import CANCERNET_TRANSFORM, Transform

Activation = Literal["softmax", "sigmoid", "none"]
ACTIVATIONS: tuple[Activation, ...] = ("softmax", "sigmoid", "none")


@dataclass(frozen=True)
class Interface:
    """What a network takes and gives, as the ``.json`` beside it says.

    Attributes
    ----------
    input_px : tuple of int
        Height and width of its input.
    transform : Transform
        What makes that input of patches.
    classes : Classes
    activation : str or None
        What makes probabilities of its outputs; None leaves it to whatever runs the network.
    """

    input_px: tuple[int, int] = (INPUT_PX, INPUT_PX)
    transform: Transform = CANCERNET_TRANSFORM
    classes: Classes = IDC_CLASSES
    activation: Activation | None = None

    @property
    def fewest_outputs(self) -> int:
        """Of two classes, a network may give the positive one alone."""
        return 1 if len(self.classes.names) == 2 else len(self.classes.names)

    def takes(self, outputs: int) -> bool:
        """Whether so many outputs can be those of the classes."""
        return outputs in (self.fewest_outputs, len(self.classes.names))

    def probabilities(self, raw: NDArray[np.float32], activation: Activation | None) -> NDArray[np.float32]:
        """Probabilities of all classes, shape (n, classes), of outputs of shape (n, outputs)."""
        if activation == "softmax":
            raw = np.exp(raw - raw.max(axis=1, keepdims=True))
            raw = raw / raw.sum(axis=1, keepdims=True)
        elif activation == "sigmoid":
            # Of the logarithm, as exp alone overflows for what is surely not.
            raw = np.exp(-np.logaddexp(np.float32(0), -raw))
        if raw.shape[1] < len(self.classes.names):
            both = (raw, 1 - raw) if self.classes.index == 0 else (1 - raw, raw)
            raw = np.hstack(both)
        return raw.astype(np.float32, copy=False)


CANCERNET = Interface()


def check_shapes(
    path: Path, taken: Sequence[int | None], given: Sequence[int | None], interface: Interface = CANCERNET
) -> None:
    """ModelError where an input ``(None, height, width, 3)`` or output ``(None, n)`` is not what the ``.json`` says."""
    height, width = interface.input_px
    fits = tuple(taken[1:]) == (height, width, 3) and taken[0] is None and len(given) == 2 and given[0] is None
    if not (fits and given[1] is not None and interface.takes(given[1])):
        count = len(interface.classes.names)
        raise ModelError(
            f"{path} takes {tuple(taken)} and gives {tuple(given)}, where (None, {height}, {width}, 3) and (None, "
            f"{count}) are what its .json describes: correct the transform or the class_names there."
        )


def checked_probabilities(probs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities within 0 and 1; ModelError where a network gives something else."""
    if np.isnan(probs).any():
        raise ModelError("The model gives no numbers (NaN) for some patches: export it again, in float32.")
    if len(probs) and not (probs.min() > -_TOLERANCE and probs.max() < 1 + _TOLERANCE):
        raise ModelError(
            f"The model gives values from {probs.min():.3g} to {probs.max():.3g}, which are no probabilities: set "
            '"activation" in its .json to "softmax" or "sigmoid".'
        )
    return probs.clip(0, 1)


_TOLERANCE = 1e-4
"""Rounding in float32."""
