"""Processes that work for this one."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children

import psutil
import pytest

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


def test_killed_they_are_gone_at_once() -> None:
    began = time.monotonic()
    with Helpers() as helpers:
        process = helpers.submit(os.getpid).result()
        helpers.submit(time.sleep, 600)
        helpers.kill()
        assert not psutil.pid_exists(process)
    assert time.monotonic() - began < 300
