"""User-facing exceptions. Each message is one sentence that says what is wrong and what to do."""

from __future__ import annotations


class WsiIdcError(Exception):
    """Base of all errors that this package raises on purpose; the command line prints it and exits with 2."""


class DataNotFoundError(WsiIdcError, FileNotFoundError):
    """No data were named, or nothing is there."""


class NotIdcDataError(WsiIdcError, ValueError):
    """The data are there, but they are not named patches of the IDC set."""


class UnknownCaseError(WsiIdcError, LookupError):
    """The data set holds no such case."""


class SlideError(WsiIdcError, ValueError):
    """The slide cannot be opened, has no usable scale, or holds too little detail."""


class ModelError(WsiIdcError, ValueError):
    """The file is not a model that this package can run."""


class OutputError(WsiIdcError, OSError):
    """Results cannot be written where they should go."""


class CorrectionsError(WsiIdcError, ValueError):
    """A file of corrections cannot be read."""


class OptionError(WsiIdcError, ValueError):
    """An option has a value that cannot be used."""


class WorkerError(WsiIdcError, RuntimeError):
    """A worker on another machine lacks something that all tasks need, or has another than was asked for.

    Parameters
    ----------
    message : str
    path : str
        What it does not see; empty where it is not about a file.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message, path)
        self.path = path

    def __str__(self) -> str:
        return str(self.args[0])


class TrainingError(WsiIdcError, ValueError):
    """The data or options given cannot train a network."""


def printable(text: str) -> str:
    """A text on one line, with a space for each control character, as file names may hold them."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
