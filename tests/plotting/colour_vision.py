"""How colours look to the colour-blind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DEFICIENCIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Linear RGB to linear RGB at severity 1.0: Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113."""


def simulate(rgb: NDArray[np.float64], deficiency: str) -> NDArray[np.float64]:
    """SRGB colours 0-1, shape (..., 3), as they look with a deficiency; unchanged with ``none``."""
    if deficiency == "none":
        return rgb
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.array(DEFICIENCIES[deficiency]).T).clip(0, 1)
    return np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
