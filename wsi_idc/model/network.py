"""What runs a network, and what the network is shown of a patch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsi_idc.model.interface import CANCERNET


class Network(Protocol):
    """A network that is ready to classify, whatever runs it."""

    @property
    def runtime(self) -> str:
        """Name and version of what runs it, like ``keras-tensorflow 2.21.0``."""

    @property
    def device(self) -> str:
        """``cpu`` or ``gpu``."""

    def predict(self, patches: NDArray[np.uint8], batch_size: int) -> NDArray[np.float32]:
        """The network's own probabilities ``(n, classes)`` of uint8 patches ``(n, size, size, 3)``.

        They do not depend on `batch_size`, or on which patches come together. Threads may call it.
        """


def preprocess(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Crop uint8 patches ``(n, 50, 50, 3)`` to their central 48x48 and scale them to 0-1, as float32.

    For a model that wants glass and stain taken out, the patches go through `stain.normalize` first.
    """
    return CANCERNET.transform(patches)
