"""Where a cohort is scored: threads of this process, or the workers of a running dask scheduler."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster
from distributed.comm import inproc

from wsi_idc._util.cpu_count import processors, require_threads
from wsi_idc.errors import OptionError

_HOST = "127.0.0.1"
_LOOPBACK = f"{_HOST}:0"

_FOR_ONE_WORKER = {
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.admin.tick.interval": "2s",
    "distributed.admin.system-monitor.interval": "10s",
}
"""What dask does by default for many workers and a dashboard takes a third of its own time."""

_ALWAYS = {"distributed.worker.profile.enabled": False}
"""It looks at all threads' stacks a hundred times a second, and with that can halt Python 3.11 for good."""

_ANSWER_S = 15
"""How long a scheduler may take to answer, and a first worker to come."""


@contextmanager
def connect(scheduler: str | None = None, workers: int | None = None) -> Iterator[Client]:
    """Give a dask client.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running scheduler, like ``tcp://10.0.0.1:8786``; its workers must find data and model under the
        same paths. By default threads of this process share one model: reading and decoding go on while the network
        is busy, nothing can be reached from other machines, and no process has to load Keras again.
    workers : int, optional
        Number of those threads; by default the number of processors.

    Raises
    ------
    OptionError
        Where no scheduler answers, or it has no worker.
    """
    require_threads()
    with _quiet_logs(), dask.config.set(_ALWAYS):
        yield from _connected(scheduler, workers)


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Dask's notices of what ends and restarts are none of the user's business."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]  # Dask sets a level for each.
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _connected(scheduler: str | None, workers: int | None) -> Iterator[Client]:
    if scheduler is None:
        # To name its threads it would ask how a server in the internet is reached, and where that fails a name server.
        if not getattr(inproc.global_manager, "_ip", None):
            inproc.global_manager._ip = _HOST
        with (
            dask.config.set(_FOR_ONE_WORKER),
            LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=1,
                threads_per_worker=workers or processors(),
                processes=False,
                # There is no dashboard, but both open a port for one, on all addresses by default.
                dashboard_address=_LOOPBACK,
                worker_dashboard_address=_LOOPBACK,
                memory_limit=0,
            ) as cluster,
            Client(cluster) as client,  # type: ignore[no-untyped-call]
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=_ANSWER_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise OptionError(
            f"No dask scheduler answers at {scheduler}: start one, or leave out --scheduler; "
            "for tls:// set distributed.comm.tls in dask's configuration."
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_ANSWER_S)
        except TimeoutError as error:
            raise OptionError(
                f"The dask scheduler at {scheduler} has no worker: start one with `dask worker`."
            ) from error
        yield client
