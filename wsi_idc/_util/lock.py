"""One run at a time in a results folder, on one machine or on several that share a file system.

The lock is a file, ``.lock``, that only one process can make. A stale one is never removed by that name, for by then
another run may have broken it and made its own: it is renamed to ``.lock-<random>``, *set aside*, and judged again
under that name, which nobody makes anew. What is set aside goes on being a lock until it is found stale or its holder
removes it, so a run that made ``.lock`` has the folder only if nothing live is set aside. A live lock that was set
aside by mistake is not put back, since a third run can make its own ``.lock`` before that.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from wsi_idc._util.files import DISK_FULL, Closable
from wsi_idc.errors import OutputError, printable

LOCK_FILE = ".lock"

STALE_S = 300.0
"""A lock that nobody touched for so long is stale, where its process cannot be asked for.

Five beats: the clocks of two machines may differ by minutes, and a file server may be away for a while.
"""

BEAT_S = 60.0
"""How often a lock is touched by its holder."""

HALF_WRITTEN_S = 5.0
"""An empty lock is one that is about to be written, until it is so old."""

ASIDE = LOCK_FILE + "-"
LONGEST = 4096
PROC = Path("/proc")


class FolderLock(Closable):
    """A folder that is locked for its holder until `close`; see `try_lock` and `wait_lock`."""

    def __init__(self, folder: Path, token: str) -> None:
        self.folder = folder
        self._token = token
        self._process = os.getpid()
        self._closed = threading.Event()
        self._removed = False
        self._heart: threading.Thread | None = None

    def close(self) -> None:
        """Unlock the folder; nothing happens the second time, or where the lock is gone or another's."""
        # A forked child has a copy of this object, but the lock is its parent's.
        if self._removed or self._process != os.getpid():
            return
        self._closed.set()
        # One that cannot be removed is stale when this process ends; that must not hide why a run failed.
        with suppress(OSError):
            try:
                self._remove()
            except BaseException:
                # Interrupted on the way: this process may live on, and the lock with it.
                self._remove()
                raise
        self._removed = True
        if self._heart:
            self._heart.join(timeout=1)

    def _remove(self) -> None:
        path = self.folder / LOCK_FILE
        # Set aside first: between a look at the file and its removal, this name can become another's.
        if _token(path) == self._token:
            _set_aside(path)
        for aside in _all_aside(self.folder):
            if _token(aside) == self._token:
                aside.unlink(missing_ok=True)

    def _path(self) -> Path | None:
        """Where the lock is now."""
        path = self.folder / LOCK_FILE
        # In this order: a lock that is not there any more is aside, and never comes back.
        if _token(path) == self._token:
            return path
        return next((aside for aside in _all_aside(self.folder) if _token(aside) == self._token), None)

    def _start(self) -> None:
        """Begin to touch the lock."""
        heart = threading.Thread(target=self._beat, name=f"lock of {self.folder.name}", daemon=True)
        heart.start()
        self._heart = heart

    def _beat(self) -> None:
        missed = 0
        # Gone, or another's: looked for twice, as a file server may be away for a moment.
        while missed < 2 and not self._closed.wait(BEAT_S):
            path = None
            with suppress(OSError):
                path = self._path()
                if path:
                    os.utime(path)
            missed = 0 if path else missed + 1


def try_lock(folder: Path) -> FolderLock | None:
    """Lock a folder; None where a live run holds it.

    A lock is stale, and broken, where its process on this machine has ended or, for one of another machine or without
    readable content, where nobody touched it for `STALE_S`.

    Parameters
    ----------
    folder : Path
        Must be there.

    Raises
    ------
    OutputError
        The folder is gone or cannot be written.
    OSError
        The disk is full.
    """
    taken = _take(folder)
    return taken if isinstance(taken, FolderLock) else None


def wait_lock(folder: Path, on_wait: Callable[[str], None] | None = None, poll_s: float = 0.5) -> FolderLock:
    """Lock a folder as soon as no live run holds it.

    Parameters
    ----------
    folder : Path
        As in `try_lock`, and so are the errors.
    on_wait : callable, optional
        Told once, if there is anything to wait for, who holds the folder: ``process 123 on host``.
    poll_s : float
        Seconds between two looks.
    """
    taken = _take(folder)
    if on_wait and not isinstance(taken, FolderLock):
        on_wait(taken)
    while not isinstance(taken, FolderLock):
        time.sleep(poll_s)
        taken = _take(folder)
    return taken


def _take(folder: Path) -> FolderLock | str:
    """Lock a folder, or say who holds it."""
    path = folder / LOCK_FILE
    with _told_of(folder):
        while True:
            taken = _taken_at_once(folder)
            if taken is not None:
                return taken
            try:
                holder = _holder(path)
            except FileNotFoundError:
                continue  # Released meanwhile.
            if holder is not None:
                return holder
            _set_aside(path)


def _taken_at_once(folder: Path) -> FolderLock | str | None:
    """Lock a folder that has no ``.lock``, or say who holds it all the same; None where to try again."""
    note = _Note.of_this_process()
    # Closed on any way out, Ctrl-C included: a lock of this process is live as long as the process is.
    with ExitStack() as undo:
        lock = undo.enter_context(FolderLock(folder, note.token))
        if not _made(folder / LOCK_FILE, note):
            return None
        holder = _live_aside(folder, but=note.token)
        if holder is not None or lock._path() is None:
            return holder
        lock._start()
        undo.pop_all()
        return lock


def _made(path: Path, note: _Note) -> bool:
    """Make a lock file, or find that there is one."""
    began = time.monotonic()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        _write(handle, note)
    except BaseException:
        with suppress(OSError):
            _set_aside(path)
            _live_aside(path.parent)
        raise
    # Held up for long, this run may be taken for dead by one that saw the file empty.
    return time.monotonic() - began < HALF_WRITTEN_S / 2


def _write(handle: int, note: _Note) -> None:
    """Write a lock file and close it, which is when other machines see what is in it."""
    line = json.dumps(asdict(note)).encode() + b"\n"
    try:
        if os.write(handle, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except BaseException:
        # What is half there has no token to be known and removed by, but it can be made stale.
        os.utime(handle, (0, 0))
        raise
    finally:
        os.close(handle)


def _set_aside(path: Path) -> None:
    """Rename the lock file, whosever it is, to a name of its own."""
    with suppress(FileNotFoundError):
        path.rename(path.with_name(ASIDE + secrets.token_hex(8)))


def _all_aside(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(ASIDE)]


def _live_aside(folder: Path, but: str | None = None) -> str | None:
    """Who holds a lock that was set aside, but for the one of this token; those that are stale are removed."""
    found = None
    for path in _all_aside(folder):
        with suppress(FileNotFoundError):
            if but is not None and _token(path) == but:
                continue
            holder = _holder(path)
            if holder is None:
                path.unlink()
            found = found or holder
    return found


@contextmanager
def _told_of(folder: Path) -> Iterator[None]:
    """Turn what the system says against a lock in this folder into an OutputError, but for a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise OutputError(f"{folder} cannot be locked ({error.strerror}): choose another place.") from error


@dataclass(frozen=True)
class _Note:
    """What a lock file says of its holder.

    Attributes
    ----------
    host, boot, space : str or None
        Where `pid` means something. Many containers have the same host name, often that of the machine: the kernel's
        boot id tells apart those of different machines, and the process namespace those of one machine.
    started : int, optional
        When the process started, in ticks since the machine did: another number is another process.
    token : str
        Of this lock alone.
    """

    host: str
    boot: str | None
    space: str | None
    pid: int
    started: int | None
    token: str

    @classmethod
    def of_this_process(cls) -> _Note:
        """A new note."""
        pid = os.getpid()
        _, started = _state_of(pid)
        return cls(*_here(), pid, started, secrets.token_hex(16))

    @classmethod
    def read(cls, content: bytes | None) -> _Note | None:
        """The note in a lock file, if it is whole."""
        try:
            note = cls(**json.loads(content or b""))
        except (ValueError, TypeError, RecursionError):
            return None
        whole = type(note.host) is str and type(note.token) is str and type(note.pid) is int
        return note if whole and 0 < note.pid < 2**31 else None

    @property
    def is_of_here(self) -> bool:
        """Whether the process can be asked for."""
        return (self.host, self.boot, self.space) == _here()

    @property
    def lives(self) -> bool | None:
        """Whether the process is still there; None where the system does not tell which process it is."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # It is there, and another user's.
        state, started = _state_of(self.pid)
        if started is None or self.started is None:
            return None
        # A killed process stays as a zombie until its parent asks for it, which some never do.
        return started == self.started and state not in ("Z", "X")


def _here() -> tuple[str, str | None, str | None]:
    boot = space = None
    with suppress(OSError):
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    with suppress(OSError):
        space = str((PROC / "self/ns/pid").readlink())
    return os.uname().nodename, boot, space


def _state_of(pid: int) -> tuple[str | None, int | None]:
    """State and start time of a process, fields 3 and 22 of its ``stat`` (see ``man 5 proc``)."""
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
        # The name, field 2, stands in brackets and may hold brackets and spaces.
        fields = stat.rpartition(b")")[2].split()
        return fields[0].decode(), int(fields[19])
    except (OSError, ValueError, IndexError):
        return None, None


def _content(path: Path) -> bytes | None:
    """What a lock file holds; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LONGEST)
    except OSError:
        return None


def _token(path: Path) -> str | None:
    note = _Note.read(_content(path))
    return note.token if note else None


def _holder(path: Path) -> str | None:
    """Who holds a lock, None where it is stale; FileNotFoundError where there is none."""
    touched = path.lstat().st_mtime
    content = _content(path)
    note = _Note.read(content)
    lives = note.lives if note and note.is_of_here else None
    if lives is None:
        lives = time.time() - touched < (HALF_WRITTEN_S if content == b"" else STALE_S)
    if not lives:
        return None
    return printable(f"process {note.pid} on {note.host}") if note else "another run"
