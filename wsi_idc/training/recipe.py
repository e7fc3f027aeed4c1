"""How to train: what fixes the weights, together with the data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wsi_idc.model.cancernet import DROPOUT
from wsi_idc.model.classifier import find_model
from wsi_idc.model.stain import Normalization
from wsi_idc.splits import Split, SplitName
from wsi_idc.training.augment import Jitter

LEARNING_RATE = 3e-3
TUNING_RATE = 1e-3
CORRECTING_RATE = 1e-4
"""Learning rates from fresh weights, from given ones, and with corrected patches: higher ones forget what the model
knew."""


@dataclass(frozen=True)
class StartingModel:
    """Weights to go on from.

    Attributes
    ----------
    path : Path
        Of a ``.keras`` file with the layers of CancerNet, and its ``.json`` beside it.
    sha256 : str
        Of the ``.keras`` file.
    normalization : Normalization or None
        What its ``.json`` says.
    dropout : float
        The one that it was trained with, as far as its ``.json`` says.
    """

    path: Path
    sha256: str
    normalization: Normalization | None
    dropout: float = DROPOUT

    @classmethod
    def read(cls, path: str | Path) -> StartingModel:
        """Read what the ``.json`` says; ModelError as `find_model`."""
        found, config = find_model(path)
        dropout = config.training.get("dropout")
        if not isinstance(dropout, float) or not 0 <= dropout < 1:
            dropout = DROPOUT
        return cls(found, config.sha256, config.normalization, dropout)


@dataclass(frozen=True)
class Recipe:
    """How to train. With the data, it fixes the weights.

    Attributes
    ----------
    learning_rate : float
        Of Adam at the start; it falls to nothing along a cosine over `epochs`.
    start : StartingModel, optional
        Weights to go on from; by default fresh ones.
    new_head : bool
        With `start`, its last layer is made afresh.
    dropout : float
        As in `build_cancernet`.
    patience : int
        Epochs without a better validation AUC after which training stops.
    patches_per_case : int, optional
        At most this many patches of a case in an epoch, drawn anew for each, so that a case of many patches does not
        outweigh the others. By default all.
    normalization : Normalization or None
        What each case's glass and stain are brought to; None leaves patches as they are.
    jitter : Jitter
        How far colours are varied.
    averaging : float
        The weights that count are a running mean over about this share, 0-1, of the steps so far: the latest ones.
    """

    split: SplitName = "patient"
    extra_train: bool = False
    exclude: tuple[str, ...] = ()
    seed: int = 0
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = LEARNING_RATE
    dropout: float = DROPOUT
    patience: int = 15
    patches_per_case: int | None = None
    averaging: float = 0.1
    normalization: Normalization | None = field(default_factory=Normalization)
    jitter: Jitter = field(default_factory=Jitter)
    start: StartingModel | None = None
    new_head: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As JSON keeps it: the weights to go on from are named by their SHA-256."""
        return {**asdict(self), "start": self.start and self.start.sha256}

    @property
    def parts(self) -> Split:
        """Which case or patch trains, tunes and tests."""
        return Split(self.split, self.seed, self.extra_train, self.exclude)
