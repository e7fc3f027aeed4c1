"""Where a cohort is scored: threads of this process, a process per GPU, or the workers of a running dask scheduler."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import dask
from distributed import Client, LocalCluster, Nanny, Scheduler, SpecCluster, Worker, WorkerPlugin
from distributed.comm import inproc
from distributed.security import Security

from wsi_idc._util.cpu_count import processors, require_threads
from wsi_idc._util.worker_pool import interrupts_held, main_hidden, start_tracker
from wsi_idc.errors import OptionError
from wsi_idc.scoring.gpus import Gpu

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

_START_S = 120
"""How long the processes of all GPUs may take to start."""

_LEAST_READERS = 2
"""Threads of a GPU: one reads ahead while the other's patches are classified."""


@contextmanager
def connect(scheduler: str | None = None, workers: int | None = None, gpus: Sequence[Gpu] = ()) -> Iterator[Client]:
    """Give a dask client.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running scheduler, like ``tcp://10.0.0.1:8786``; its workers must find data and model under the
        same paths. By default threads of this process share one model: reading and decoding go on while the network
        is busy, nothing can be reached from other machines, and no process has to load Keras again.
    workers : int, optional
        Number of those threads; by default the number of processors.
    gpus : sequence of Gpu
        Where given, and no scheduler is, a process for each of them, which sees that one alone. They divide the threads
        among them, and each has two at least.

    Raises
    ------
    OptionError
        Where no scheduler answers, it has no worker, or the processes of GPUs do not start.
    """
    require_threads()
    with _quiet_logs(), dask.config.set(_ALWAYS):
        yield from _connected(scheduler, workers) if scheduler or not gpus else _on_gpus(gpus, workers)


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
            Client(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]
        ):
            yield client
        return
    default = dask.config.get("scheduler", None)
    try:
        client = Client(scheduler, timeout=_ANSWER_S)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        # One that is refused stays the default of the process.
        dask.config.set(scheduler=default)
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


_FEWER = "end other programs, or name fewer with --gpus."


class _Quiet(WorkerPlugin):
    """Ends dask's notices in a process of its own."""

    name = "wsi-idc quiet"

    def setup(self, worker: Worker) -> None:
        for name in ("distributed", "distributed.worker", "distributed.nanny"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def _on_gpus(gpus: Sequence[Gpu], workers: int | None) -> Iterator[Client]:
    """Give a client of one process per GPU, which is started again where it dies."""
    if find_spec("cryptography") is None:
        raise OptionError('--gpus needs the package cryptography: pip install "wsi-idc[gpu]".')
    # Whoever reaches a scheduler can have it run anything, and other users of this machine reach its ports.
    common = {"host": _HOST, "protocol": "tls://", "security": Security.temporary(), "dashboard_address": _LOOPBACK}  # type: ignore[no-untyped-call]
    threads = max((workers or processors()) // len(gpus), _LEAST_READERS)
    each = {**common, "nthreads": threads, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    processes = {place: {"cls": Nanny, "options": {**each, "env": gpu.environment}} for place, gpu in enumerate(gpus)}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}), main_hidden():
        start_tracker()
        with interrupts_held():
            # The thread that starts them, now or again, inherits this: Ctrl-C is for this process alone.
            try:
                cluster = SpecCluster(  # type: ignore[no-untyped-call]
                    workers=processes,
                    scheduler={"cls": Scheduler, "options": {**common, "port": 0}},
                    security=common["security"],
                    silence_logs=logging.CRITICAL,
                )
            except RuntimeError as error:
                raise OptionError(f"The processes of {len(gpus)} GPUs cannot start ({error}): {_FEWER}") from error
        with cluster, Client(cluster, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            client.register_plugin(_Quiet())
            try:
                client.wait_for_workers(len(gpus), timeout=_START_S)
            except TimeoutError as error:
                raise OptionError(
                    f"The processes of {len(gpus)} GPUs did not start within {_START_S} s: {_FEWER}"
                ) from error
            yield client
