"""Standard streams that a user closed, cut off, or that lack a sign."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import TextIO

_PLAIN = {
    "µ": "u",
    "·": "-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}
_ERRORS = "wsi_idc.plain"


class LastingStream(io.TextIOWrapper):
    """A standard stream that a run outlives.

    What is on the disk is the result, so a reader that goes away, as in ``| head``, ends nothing. Signs that the stream
    lacks are written plainly, and bytes of a file name that are no text as they are.

    Attributes
    ----------
    failed : OSError or None
        Why the stream takes nothing any more, but for a reader that went away.
    """

    failed: OSError | None = None

    @classmethod
    def over(cls, stream: TextIO) -> LastingStream:
        """The same stream, made to last."""
        if isinstance(stream, cls):
            return stream
        stream.flush()
        return cls(stream.buffer, stream.encoding, _ERRORS, line_buffering=True)

    def write(self, text: str) -> int:
        """Write, or drop what cannot be written."""
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or drop what cannot be written."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        if error.errno != errno.EPIPE:
            self.failed = error
        _discard(self.fileno())
        super().flush()


def settle() -> None:
    """Make the standard streams last, for a process that is a command."""
    for handle, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(handle)
        except OSError:
            # Else the next file that is opened would be this stream for all that is written in C.
            _discard(handle)
        if getattr(sys, name) is None:
            stream = open(handle, "w" if handle else "r", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    codecs.register_error(_ERRORS, _written_plainly)
    for name in ("stdout", "stderr"):
        setattr(sys, name, LastingStream.over(getattr(sys, name)))


def lost_output() -> OSError | None:
    """Why what is printed did not arrive, if it did not."""
    sys.stdout.flush()
    return sys.stdout.failed if isinstance(sys.stdout, LastingStream) else None


def _discard(handle: int) -> None:
    """Let go what is written to a descriptor."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != handle:
        os.dup2(nowhere, handle)
        os.close(nowhere)


def _written_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    if all("\udc80" <= sign <= "\udcff" for sign in signs):
        return bytes(ord(sign) - 0xDC00 for sign in signs), error.end
    plain = "".join(_PLAIN.get(sign, "?") for sign in signs)
    return plain, error.end
