from __future__ import annotations

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wsi_idc._util import lock as module
from wsi_idc._util.lock import LOCK_FILE, FolderLock, try_lock, wait_lock
from wsi_idc.errors import OutputError

ROOT = Path(module.__file__).parents[2]

HOLD = """
import sys
from pathlib import Path
from wsi_idc._util.lock import try_lock
lock = try_lock(Path(sys.argv[1]))
print("held" if lock else "refused", flush=True)
sys.stdin.read()
"""

# Now and then a process leaves its lock behind, as one that is killed does.
COUNT = """
import os, random, sys
from pathlib import Path
from wsi_idc._util.lock import LOCK_FILE, wait_lock
folder, counter, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for _ in range(rounds):
    with wait_lock(folder, poll_s=0.002):
        count = int(counter.read_text())
        counter.write_text(str(count + 1))
        note = (folder / LOCK_FILE).read_bytes()
    if random.random() < 0.3:
        try:
            with open(folder / LOCK_FILE, "xb") as left:
                left.write(note)
        except FileExistsError:
            pass
"""


def start(script: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@contextmanager
def other_process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that tried to lock the folder and stays, and what came of it."""
    with start(HOLD, folder) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def locked(folder: Path) -> FolderLock:
    lock = try_lock(folder)
    assert lock is not None
    return lock


def note_of_this_process(folder: Path) -> dict[str, Any]:
    with locked(folder):
        lines = (folder / LOCK_FILE).read_text().splitlines()
    assert len(lines) == 1
    note = json.loads(lines[0])
    assert isinstance(note, dict)
    return note


def plant(folder: Path, content: str | bytes | dict[str, Any], age_s: float = 0.0) -> Path:
    path = folder / LOCK_FILE
    if isinstance(content, dict):
        content = json.dumps(content) + "\n"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def heartbeats() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("lock of ")]


def wait_for(condition: Callable[[], bool], patience_s: float = 5.0) -> bool:
    end = time.monotonic() + patience_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def test_a_lock_keeps_out_this_process_and_others(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert try_lock(tmp_path) is None
        with other_process(tmp_path) as (_, answer):
            assert answer == "refused"
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        assert try_lock(tmp_path) is None


def test_another_folder_can_be_locked_meanwhile(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("1", "2")]
    for folder in folders:
        folder.mkdir()
    with locked(folders[0]), locked(folders[1]):
        assert try_lock(folders[0]) is None


def test_what_the_lock_says(tmp_path: Path) -> None:
    note = note_of_this_process(tmp_path)
    assert note["pid"] == os.getpid()
    assert note["host"] == platform.node()
    assert note["token"] != note_of_this_process(tmp_path)["token"]


def test_released_twice_is_released_once(tmp_path: Path) -> None:
    first = locked(tmp_path)
    first.close()
    with locked(tmp_path):
        first.close()
        assert try_lock(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_interrupted_while_it_is_released_it_is_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be held for as long as this process lives, a notebook for example."""
    lock = locked(tmp_path)

    def interrupt(*_: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_remove", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lock.close()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_became_another_is_left_to_it(tmp_path: Path) -> None:
    first = locked(tmp_path)
    (tmp_path / LOCK_FILE).unlink()
    with locked(tmp_path):
        first.close()
        assert try_lock(tmp_path) is None


def test_released_by_an_error_and_in_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    folder = tmp_path / "slide"
    folder.mkdir()
    with locked(folder):
        (folder / LOCK_FILE).unlink()
        folder.rmdir()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with other_process(tmp_path) as (process, answer):
        assert answer == "held"
        assert try_lock(tmp_path) is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked(tmp_path):
            assert try_lock(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_a_zombie_holds_nothing(tmp_path: Path) -> None:
    with other_process(tmp_path) as (process, answer):
        assert answer == "held"
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        locked(tmp_path).close()


def test_a_stopped_process_goes_on_holding(tmp_path: Path) -> None:
    with other_process(tmp_path) as (process, answer):
        assert answer == "held"
        process.send_signal(signal.SIGSTOP)
        os.utime(tmp_path / LOCK_FILE, (0, 0))
        assert try_lock(tmp_path) is None


def test_a_forked_child_neither_releases_nor_keeps_what_its_parent_holds(tmp_path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from wsi_idc._util.lock import try_lock
folder = Path(sys.argv[1])
lock = try_lock(folder)
tried, done = os.pipe()
child = os.fork()
if not child:
    lock.close()
    os.write(done, repr(try_lock(folder)).encode())
    sys.stdin.read()
    os._exit(0)
print(os.read(tried, 9).decode(), child, flush=True)
os._exit(0)
"""
    with start(script, tmp_path) as process:
        assert process.stdout is not None
        got, child = process.stdout.readline().split()
        assert got == "None"
        assert process.wait() == 0
        # The child lives on, and the lock does not.
        os.kill(int(child), 0)
        locked(tmp_path).close()


@pytest.mark.parametrize("pid", ["own", 1, 2**22 + 1])
@pytest.mark.parametrize("host", [{}, {"host": "a container of this machine"}], ids=["here", "container"])
def test_a_lock_of_this_machine_that_nobody_holds_is_taken_at_once(
    tmp_path: Path, pid: int | str, host: dict[str, str]
) -> None:
    """Whatever process has its number by now."""
    note = note_of_this_process(tmp_path) | host
    plant(tmp_path, note if pid == "own" else note | {"pid": pid})
    locked(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


FAR = {"host": "node17", "boot": "x", "space": "y", "pid": 4, "started": 1, "token": "t"}
YEAR_S = 365 * 24 * 3600


def test_of_another_machine_the_age_decides(tmp_path: Path) -> None:
    plant(tmp_path, FAR, age_s=240)
    assert try_lock(tmp_path) is None
    plant(tmp_path, FAR, age_s=301)
    locked(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ahead_s", [301, YEAR_S])
def test_a_lock_dated_ahead_is_stale(tmp_path: Path, ahead_s: int) -> None:
    """A live one is dated by the same clock as the file that it is compared with."""
    plant(tmp_path, FAR, age_s=-ahead_s)
    locked(tmp_path).close()


@pytest.mark.parametrize("wrong_s", [-YEAR_S, -360, 360, YEAR_S])
def test_the_clock_of_this_machine_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong_s: int
) -> None:
    plant(tmp_path, FAR)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + wrong_s)
    assert try_lock(tmp_path) is None
    monkeypatch.undo()
    plant(tmp_path, FAR, age_s=301)
    monkeypatch.setattr(time, "time", lambda: now() + wrong_s)
    locked(tmp_path).close()


def test_two_machines_that_replace_one_stale_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system carries no locks between them, the note that stands in the end decides."""
    path = plant(tmp_path, FAR, age_s=301)
    sleep = time.sleep

    def late(seconds: float) -> None:
        path.write_text(json.dumps(FAR | {"token": "third", "pid": 5}))
        sleep(0)

    monkeypatch.setattr(time, "sleep", late)
    assert try_lock(tmp_path) is None
    assert json.loads(path.read_text())["token"] == "third"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> bool:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(module, "lock_descriptor", refuse)
    with pytest.raises(OutputError, match=r"cannot be locked \(its file system has no file locks.*another place"):
        try_lock(tmp_path)


def test_a_half_written_lock(tmp_path: Path) -> None:
    plant(tmp_path, b"", age_s=1)
    assert try_lock(tmp_path) is None
    plant(tmp_path, b"", age_s=10)
    locked(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("elsewhere")])
def test_no_file(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / LOCK_FILE)
    with pytest.raises(OutputError, match="cannot be locked"):
        try_lock(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_where_an_open_file_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: what stays behind is no lock, on this machine or another."""
    lock = locked(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    lock.close()
    monkeypatch.undo()
    assert (tmp_path / LOCK_FILE).read_bytes() == b"released\n"
    monkeypatch.setattr(module, "_here", lambda: ("far", "other"))
    locked(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


GARBAGE = [b"\0" * 100, b"{", b"[]", b"7", b'{"pid": 1}', b"\xff\xfe", b"[" * 100_000, b'{"token": {}}']


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_of_garbage_the_age_decides(tmp_path: Path, content: bytes) -> None:
    plant(tmp_path, content, age_s=240)
    assert try_lock(tmp_path) is None
    plant(tmp_path, content, age_s=301)
    locked(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pid", [0, -1, 2**80, True, "1", None])
def test_no_process_number(tmp_path: Path, pid: object) -> None:
    note = note_of_this_process(tmp_path) | {"pid": pid}
    plant(tmp_path, note)
    assert try_lock(tmp_path) is None
    plant(tmp_path, note, age_s=301)
    locked(tmp_path).close()


def test_no_update_is_lost(tmp_path: Path) -> None:
    folder, counter, rounds = tmp_path / "slide", tmp_path / "counter", 20
    folder.mkdir()
    counter.write_text("0")
    processes = [start(COUNT, folder, counter, rounds) for _ in range(8)]
    said = [process.communicate()[1] for process in processes]
    assert said == [""] * 8
    assert counter.read_text() == str(8 * rounds)
    # The last round may have planted a stale one.
    locked(folder).close()
    assert list(folder.iterdir()) == []


def test_waiting_says_once_for_whom(tmp_path: Path) -> None:
    told: list[str] = []
    with wait_lock(tmp_path, told.append):
        assert told == []
    with other_process(tmp_path) as (process, _):
        threading.Timer(0.1, process.kill).start()
        with wait_lock(tmp_path, told.append, poll_s=0.005):
            assert process.wait() == -signal.SIGKILL
            assert told == [f"process {process.pid} on {platform.node()}"]
            assert try_lock(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_waiting_for_what_cannot_be_read_or_printed(tmp_path: Path) -> None:
    until = ", which is taken over when it has been silent for 5 minutes"
    contents: list[tuple[dict[str, Any] | bytes, str]] = [
        (FAR | {"host": "a\x1b[2Jb"}, f"process 4 on a [2Jb{until}"),
        (b"?", f"another run{until}"),
    ]
    for content, who in contents:
        path = plant(tmp_path, content)
        told: list[str] = []

        def release(who: str, told: list[str] = told, path: Path = path) -> None:
            told.append(who)
            path.unlink()

        wait_lock(tmp_path, release, poll_s=0.001).close()
        assert told == [who]


def test_waiting_can_be_interrupted(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from wsi_idc._util.lock import wait_lock\n"
    script += "wait_lock(Path(sys.argv[1]), lambda who: print(who, flush=True))"
    with locked(tmp_path), start(script, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"process {os.getpid()} on ")
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == -signal.SIGINT
        assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]
        assert try_lock(tmp_path) is None


def test_the_holder_touches_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    path = tmp_path / LOCK_FILE
    with locked(tmp_path):
        for _ in range(3):
            os.utime(path, (0, 0))
            assert wait_for(lambda: path.stat().st_mtime > 0)
        assert len(heartbeats()) == 1
        assert heartbeats()[0].daemon
    assert heartbeats() == []


def test_the_heart_stops_when_the_lock_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    note = note_of_this_process(tmp_path)
    with locked(tmp_path):
        path = plant(tmp_path, note | {"token": "another"}, age_s=1000)
        before = path.stat().st_mtime_ns
        assert wait_for(lambda: not heartbeats())
        assert path.stat().st_mtime_ns == before
    assert path.exists()


def test_no_thread_without_a_lock(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert all(try_lock(tmp_path) is None for _ in range(5))
        assert len(heartbeats()) == 1


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    for lock in (try_lock, wait_lock):
        with pytest.raises(OutputError, match=r"gone cannot be locked \(No such file or directory\): choose another"):
            lock(tmp_path / "gone")


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match=r"cannot be locked \(Permission denied\): choose another place\."):
        try_lock(tmp_path)


@pytest.mark.parametrize("written", [0, 10])
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, line: write(handle, line[:written]))
    with pytest.raises(OSError, match="No space left") as caught:
        try_lock(tmp_path)
    monkeypatch.undo()
    assert not isinstance(caught.value, OutputError)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_while_it_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FolderLock, "_start", interrupt)
    with pytest.raises(KeyboardInterrupt):
        try_lock(tmp_path)
    assert list(tmp_path.iterdir()) == []
