"""What every set of cases answers, be it a folder, a zip or a patch store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

from wsi_idc._util.files import Closable
from wsi_idc.datasets.case import Case
from wsi_idc.errors import UnknownCaseError
from wsi_idc.naming import is_case_number
from wsi_idc.source import Problem

_SHOWN = 40
"""Signs of a case's number that an error shows: any text may be asked for."""


class Dataset(Closable, ABC):
    """Cases of named patches.

    Attributes
    ----------
    path : Path
    """

    path: Path

    @property
    @abstractmethod
    def cases(self) -> list[str]:
        """Case numbers in ascending order."""

    @abstractmethod
    def labels(self, case: str) -> Sequence[int | None]:
        """Labels of a case's patches in row-major order, without their pixels."""

    @abstractmethod
    def case(self, case: str) -> Case:
        """Open one case; UnknownCaseError where the data hold none of that number."""

    @property
    @abstractmethod
    def problems(self) -> Sequence[Problem]:
        """Everything odd in the set as far as names tell."""

    @property
    def passed_over(self) -> tuple[int, int]:
        """How many second copies of patches, and how many other files, were left out."""
        return 0, 0

    def check(self, cases: Iterable[str]) -> None:
        """UnknownCaseError for the first of these that the data do not hold."""
        for case in cases:
            if case not in self.cases:
                raise unknown_case(case, self.cases, self.path)


def unknown_case(case: str, cases: list[str], path: Path) -> UnknownCaseError:
    """The error that names the cases nearest to one that is not there."""
    wanted = int(case) if is_case_number(case) else 0
    nearest = sorted(cases, key=lambda other: abs(int(other) - wanted))[:3] if wanted else cases[:3]
    shown = case if len(case) <= _SHOWN else f"{case[:_SHOWN]}..."
    total = "1 case" if len(cases) == 1 else f"{len(cases)} cases"
    return UnknownCaseError(
        f"There is no case {shown!r} among the {total} of {path}: the nearest are {', '.join(nearest)}."
    )
