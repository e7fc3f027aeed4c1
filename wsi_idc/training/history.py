"""How a training went, epoch by epoch."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from wsi_idc._util.files import replacing_text

HISTORY_FILE = "history.csv"


@dataclass(frozen=True)
class Epoch:
    """A row of ``history.csv``; the figures are those of the averaged weights, but for `loss`."""

    epoch: int
    loss: float
    auc: float
    val_loss: float
    val_auc: float
    val_balanced_accuracy: float
    seconds: float


OnEpoch = Callable[[Epoch], None]


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """The epoch of highest validation AUC, the first among equals."""
    return max(history, key=lambda row: row.val_auc)


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Write ``history.csv``: a row an epoch."""
    with replacing_text(path) as file:
        writer = csv.DictWriter(file, list(Epoch.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in history)


def read_history(path: Path) -> list[Epoch]:
    """Read ``history.csv`` back."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Epoch(int(row["epoch"]), *(float(row[name]) for name in list(Epoch.__dataclass_fields__)[1:]))
            for row in csv.DictReader(file)
        ]
