"""The instruction set of the processor, which decides the last bits of a network's output."""

from __future__ import annotations

import platform
from functools import cache

import numpy as np

_LEVELS = (
    ("AVX512F", "avx512"),
    ("AVX2", "avx2"),
    ("AVX", "avx"),
    ("SVE", "sve"),
    ("ASIMD", "neon"),
    ("NEON", "neon"),
)
"""From the widest to the narrowest, by NumPy's names."""


@cache
def instruction_set() -> str:
    """The processor's kind and its widest vectors, like ``x86_64 avx512``."""
    known = getattr(getattr(np, "_core", None), "_multiarray_umath", None)
    features: dict[str, bool] = getattr(known, "__cpu_features__", {})
    widest = next((name for feature, name in _LEVELS if features.get(feature)), "")
    return f"{platform.machine()} {widest}".strip()
