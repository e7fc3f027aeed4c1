"""Processes that work for this one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children
from pathlib import Path

import psutil
import pytest

from wsi_idc._util import worker_pool
from wsi_idc._util.worker_pool import Helpers


def test_one_that_is_killed_costs_what_it_had_and_no_more() -> None:
    with Helpers() as helpers:
        with pytest.raises(BrokenProcessPool):
            helpers.submit(os._exit, 1).result()
        assert helpers.submit(os.getpid).result() != os.getpid()
    assert active_children() == []


def test_they_know_nothing_of_ctrl_c() -> None:
    with Helpers() as helpers:
        process = helpers.submit(os.getpid).result()
        os.kill(process, signal.SIGINT)
        assert helpers.submit(abs, -1).result() == 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set(), "this process goes on to"


WITHOUT_GUARD = """
import os
from wsi_idc._util.worker_pool import Helpers
print("begun", flush=True)
with Helpers() as helpers:
    assert helpers.submit(os.getpid).result() != os.getpid()
print("ended", __name__)
"""


@pytest.mark.parametrize("through", ["file", "stdin", "-c"])
def test_a_program_without_a_guard(tmp_path: Path, through: str) -> None:
    """It is not run again by what it starts; that waited for ever for a lock that the first one held."""
    script = tmp_path / "script.py"
    script.write_text(WITHOUT_GUARD)
    args = {"file": [str(script)], "stdin": ["-"], "-c": ["-c", WITHOUT_GUARD]}[through]
    ran = subprocess.run(
        [sys.executable, *args], input=WITHOUT_GUARD, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "begun\nended __main__\n", "")


@pytest.mark.parametrize("error", [OSError(errno.EROFS, "Read-only file system"), RuntimeError("can't start")])
def test_where_no_process_can_be_started_the_work_is_done_here(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(worker_pool, "ProcessPoolExecutor", refuse)
    with Helpers() as helpers:
        with pytest.warns(UserWarning, match="No further process can be started") as said:
            assert helpers.submit(os.getpid).result() == os.getpid()
        assert ("/dev/shm" in str(said[0].message)) == isinstance(error, OSError)
        with pytest.raises(ZeroDivisionError):
            helpers.submit(divmod, 1, 0).result()
    assert sys.modules["__main__"].__dict__.get("__name__") == "__main__"


def test_killed_they_are_gone_at_once() -> None:
    began = time.monotonic()
    with Helpers() as helpers:
        process = helpers.submit(os.getpid).result()
        helpers.submit(time.sleep, 600)
        helpers.kill()
        assert not psutil.pid_exists(process)
    assert time.monotonic() - began < 300
