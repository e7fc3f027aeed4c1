"""The classes of a model: what its probabilities are of, and which of them counts as positive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from wsi_idc.errors import OptionError

CLASS_NAMES = ("no_idc", "idc")

_USUAL_POSITIVES = ("idc", "tumor", "tumour")


@dataclass(frozen=True)
class Classes:
    """Names of a model's classes, and the one that maps show and calls follow.

    Attributes
    ----------
    names : tuple of str
        In the order of the model's probabilities.
    positive : str
        One of them.
    """

    names: tuple[str, ...] = CLASS_NAMES
    positive: str = CLASS_NAMES[1]

    @property
    def index(self) -> int:
        """Column of the positive class."""
        return self.names.index(self.positive)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of ``scores.csv`` that hold the probabilities, named as wsinfer names them."""
        return tuple(f"prob_{name}" for name in self.names)

    @property
    def column(self) -> str:
        """That of the positive class."""
        return f"prob_{self.positive}"

    @property
    def context_column(self) -> str:
        """That of the positive class, blurred over the neighbours."""
        return f"{self.column}_context"

    @property
    def measured(self) -> tuple[int, ...]:
        """Columns that say something of their own: of two classes, one tells the other."""
        return tuple(range(len(self.names))) if len(self.names) > 2 else (self.index,)

    @property
    def told_apart(self) -> tuple[str, ...]:
        """The names of more than two classes: of two, one is what the other is not."""
        return self.names if len(self.names) > 2 else ()

    @property
    def title(self) -> str:
        """What pictures call the positive class."""
        return "IDC" if self.positive == CLASS_NAMES[1] else self.positive.replace("_", " ")

    @property
    def negative_title(self) -> str:
        """What pictures call everything else."""
        return f"no {self.title}"

    def choose(self, name: str | None) -> Classes:
        """The same classes with another positive one; OptionError where there is no class of that name."""
        if name is None:
            return self
        if name not in self.names:
            raise OptionError(f"The model has no class {name}: choose --class from {', '.join(self.names)}.")
        return replace(self, positive=name)


IDC_CLASSES = Classes()


def usual_positive(names: Sequence[str]) -> str:
    """The class that counts as positive where nothing says which: ``idc``, else ``tumor``, else the last."""
    by_name = {name.lower(): name for name in reversed(names)}
    return next((by_name[usual] for usual in _USUAL_POSITIVES if usual in by_name), names[-1])
