"""One run at a time in a results folder, on one machine or on several that share a file system.

The lock is the file ``.lock``, locked with filelock for as long as its holder lives: the system lets go of it when a
process ends, however it ends. Where that lock is free, the note in the file is what its last holder left. One of this
machine has ended, so the folder is free. Of one on another machine the system may not know, since not every shared file
system carries locks from machine to machine; so a holder writes its note again every minute, and a note that was
written within five minutes keeps the folder. Its age is taken from a file made just now in the same folder, for the
clocks of two machines may differ.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import random
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from weakref import WeakSet

from filelock import lock_descriptor

from wsi_idc._util.files import DISK_FULL, TEMPORARY, Closable
from wsi_idc.errors import OutputError, printable

LOCK_FILE = ".lock"

STALE_S = 300.0
"""A note of another machine that was not written for so long is stale: five beats."""

BEAT_S = 60.0
"""How often a holder writes its note again."""

_FIRST_BEAT_S = 1.0

HALF_WRITTEN_S = 5.0
"""An empty lock is one that is about to be written, until it is so old."""

_BEING_MADE_S = 0.25
"""How long `try_lock` waits for another process that has just made its lock."""

_SETTLE_S = 1.0
"""After a note of another machine is replaced: whether a third machine did the same is seen after so long."""

_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_RELEASED = b"released\n"
_LONGEST = 4096
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class FolderLock(Closable):
    """A folder that is locked for its holder until `close`; see `try_lock` and `wait_lock`."""

    def __init__(self, path: Path, handle: int, note: _Note) -> None:
        self._path, self._handle, self._note = path, handle, note
        self._using = threading.Lock()
        self._closed = threading.Event()
        self._heart: threading.Thread | None = None
        _held.add(self)

    def close(self) -> None:
        """Unlock the folder; nothing happens the second time, or in a forked child."""
        with self._using:
            if self._handle < 0:
                return
            self._closed.set()
            # A file that cannot be removed is no lock without its holder.
            with suppress(OSError):
                try:
                    _remove(self._path, self._handle, self._note)
                except BaseException:
                    # Interrupted on the way: this process may live on, and the lock with it.
                    _remove(self._path, self._handle, self._note)
                    raise
                finally:
                    handle, self._handle = self._handle, -1
                    os.close(handle)
        if self._heart and self._heart is not threading.current_thread():
            self._heart.join(timeout=1)

    def _start(self) -> None:
        """Write the note, and go on doing so."""
        _write(self._handle, self._note)
        heart = threading.Thread(target=self._beat, name=f"lock of {self._path.parent.name}", daemon=True)
        heart.start()
        self._heart = heart

    def _beat(self) -> None:
        missed = 0
        # What is open is not yet on the file server; few locks live so long that it matters.
        pause = min(_FIRST_BEAT_S, BEAT_S)
        # Gone, or another's: looked for twice, as a file server may be away for a moment.
        while missed < 2 and not self._closed.wait(pause):
            pause, missed = BEAT_S, missed + 1
            with suppress(OSError), self._using:
                if self._handle < 0:
                    return
                if _Note.read(_content(self._path)) == self._note:
                    _write(self._handle, self._note)
                    os.fsync(self._handle)
                    missed = 0

    def _forget(self) -> None:
        """In a forked child: the lock is the parent's, and must not outlive it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._using = threading.Lock()
        self._closed.set()


_held: WeakSet[FolderLock] = WeakSet()
"""Locks whose handles a forked child has to let go."""


def _forget_all() -> None:
    for lock in list(_held):
        lock._forget()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def try_lock(folder: Path) -> FolderLock | None:
    """Lock a folder; None where a live run holds it.

    Parameters
    ----------
    folder : Path
        Must be there.

    Raises
    ------
    OutputError
        The folder is gone, cannot be written, or its file system has no locks.
    OSError
        The disk is full.
    """
    taken = _take(folder / LOCK_FILE)
    return taken if isinstance(taken, FolderLock) else None


def wait_lock(
    folder: Path, on_wait: Callable[[str], None] | None = None, poll_s: float = 0.5, name: str = LOCK_FILE
) -> FolderLock:
    """Lock a folder as soon as no live run holds it.

    Parameters
    ----------
    folder : Path
        As in `try_lock`, and so are the errors.
    on_wait : callable, optional
        Called once, if there is anything to wait for, with who holds the folder: ``process 123 on host``.
    poll_s : float
        Seconds between two looks.
    name : str
        Of the lock's file, where it is not all of the folder that is locked.
    """
    path = folder / name
    taken = _take(path)
    if on_wait and not isinstance(taken, FolderLock):
        on_wait(taken)
    while not isinstance(taken, FolderLock):
        time.sleep(poll_s)
        taken = _take(path)
    return taken


def _take(path: Path) -> FolderLock | str:
    """Take the lock of a file, or say who holds it."""
    made_here: set[int] = set()
    patient_until = time.monotonic() + _BEING_MADE_S
    with _lock_errors(path.parent):
        while True:
            taken = _take_once(path, made_here)
            if taken is not None:
                return taken
            if time.monotonic() > patient_until:
                return "another run"
            # Another process has just made its lock, or removed it.
            time.sleep(random.uniform(0, 0.02))


def _take_once(path: Path, made_here: set[int]) -> FolderLock | str | None:
    """Take a lock, or say who holds it; None where to try again. `made_here`: files that this call made."""
    handle, writable, made = _open(path)
    lock: FolderLock | None = None
    try:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        if made:
            made_here.add(state.st_ino)
        if not _locked(handle):
            content = _content(path)
            return None if not content else _named(_Note.read(content))
        if not _is_at(path, handle):
            return None
        content = os.pread(handle, _LONGEST, 0) if hasattr(os, "pread") else os.read(handle, _LONGEST)
        note = _Note.read(content)
        if content or state.st_ino not in made_here:
            holder = _live_elsewhere(path.parent, handle, content, note)
            if holder is not None:
                return holder or None
        if not writable:
            path.unlink()  # Another user's, and stale. Nobody can lock it meanwhile.
            return None
        own = _Note.of_this_process()
        lock = FolderLock(path, handle, own)
        lock._start()
        if note is not None and not note.is_of_here:
            time.sleep(_SETTLE_S)
            now = _Note.read(_content(path))
            if now != own:
                return _named(now)
        taken, lock = lock, None
        handle = -1
        return taken
    finally:
        # On any way out, Ctrl-C included: a lock of this process is live as long as the process is.
        if lock is not None:
            lock.close()
        elif handle >= 0:
            os.close(handle)


def _open(path: Path) -> tuple[int, bool, bool]:
    """Open a lock file, or make it: its descriptor, whether it can be written, and whether it was made."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    while True:
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True, True
        with suppress(FileNotFoundError):
            try:
                return os.open(path, flags | os.O_RDWR), True, False
            except PermissionError:
                return os.open(path, flags | os.O_RDONLY), False, False


def _locked(handle: int) -> bool:
    """Have the system lock a file, if no other process has."""
    try:
        return lock_descriptor(handle, blocking=False)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise OSError(error.errno, "its file system has no file locks, as where it is mounted without") from error
        raise


def _live_elsewhere(folder: Path, handle: int, content: bytes, note: _Note | None) -> str | None:
    """Who on another machine holds a lock that is free on this one; empty where it is being made, None where nobody."""
    if content.startswith(_RELEASED) or (note is not None and note.is_of_here):
        return None
    age = _age(folder, handle)
    if not content:
        return "" if abs(age) < HALF_WRITTEN_S else None
    # What a live holder writes is never dated ahead: the file server dates it, like the file it is compared with.
    if abs(age) >= STALE_S:
        return None
    return f"{_named(note)}, which is taken over when it has been silent for {STALE_S / 60:.0f} minutes"


def _age(folder: Path, handle: int) -> float:
    """How long ago a file was written, in seconds, by the clock of the file system it lies on."""
    made, name = tempfile.mkstemp(prefix=TEMPORARY, suffix="-clock", dir=folder)
    try:
        os.write(made, b"0")
        os.fsync(made)
        return os.fstat(made).st_mtime - os.fstat(handle).st_mtime
    finally:
        os.close(made)
        Path(name).unlink(missing_ok=True)


def _is_at(path: Path, handle: int) -> bool:
    """Whether a file that is open is the one of this name."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _write(handle: int, note: _Note) -> None:
    """Write a note, so that other machines see it."""
    # Windows keeps others from reading the first byte of what is locked.
    line = b" " + json.dumps(asdict(note)).encode() + b"\n"
    os.lseek(handle, 0, os.SEEK_SET)
    if os.write(handle, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(handle, len(line))


def _remove(path: Path, handle: int, own: _Note) -> None:
    """Remove a lock file that this process holds, and no other of that name."""
    if not _is_at(path, handle) or _Note.read(_content(path)) not in (None, own):
        return
    try:
        path.unlink()
    except OSError:
        # Windows removes no file that is open. Whoever comes next sees that nobody holds it.
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, _RELEASED)
        os.ftruncate(handle, len(_RELEASED))


@contextmanager
def _lock_errors(folder: Path) -> Iterator[None]:
    """Turn the system's errors about a lock in this folder into an OutputError, but for a full disk."""
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
    host : str
    boot : str or None
        The kernel's boot id, where there is one: machines, unlike containers of one machine, never share it.
    pid : int
    token : str
        Of this lock alone.
    """

    host: str
    boot: str | None
    pid: int
    token: str

    @classmethod
    def of_this_process(cls) -> _Note:
        """A new note."""
        return cls(*_here(), os.getpid(), secrets.token_hex(16))

    @classmethod
    def read(cls, content: bytes | None) -> _Note | None:
        """The note in a lock file, if it is whole."""
        try:
            raw = json.loads(content or b"")
            note = cls(raw["host"], raw["boot"], raw["pid"], raw["token"])
        except (ValueError, TypeError, LookupError, RecursionError):
            return None
        whole = type(note.host) is str and type(note.token) is str and type(note.pid) is int
        return note if whole and 0 < note.pid < 2**31 else None

    @property
    def is_of_here(self) -> bool:
        """Whether it is of a process of this machine, in whatever container."""
        host, boot = _here()
        return self.boot == boot if boot is not None else (self.boot is None and self.host == host)


@cache
def _here() -> tuple[str, str | None]:
    """Host name and boot id of this machine."""
    boot = None
    with suppress(OSError):
        boot = _BOOT_ID.read_text().strip() or None
    return platform.node(), boot


def _named(note: _Note | None) -> str:
    return printable(f"process {note.pid} on {note.host}") if note else "another run"


def _content(path: Path) -> bytes | None:
    """What a lock file holds; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            with suppress(PermissionError):
                return file.read(_LONGEST)
            file.seek(1)
            return file.read(_LONGEST)
    except OSError:
        return None
