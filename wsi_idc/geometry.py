"""Boxes, grids and scale: numbers only, no pixels and no files."""

from __future__ import annotations

PATCH_PX = 50
"""Edge of a patch in pixels."""

PATCH_MPP = 4.0
"""Scale at which patches are scored, in µm/px. For the IDC set it is nominal: 0.25 µm/px reduced 16:1."""

INPUT_PX = 48
"""Edge of what the network sees: the centre of a patch."""

MARGIN_PX = (PATCH_PX - INPUT_PX) // 2
"""What is cut from each side of a patch to leave that centre."""
