"""A network under OpenVINO: on a processor about twice as fast as under TensorFlow, and loaded without it.

The translation is kept in the cache, by the hash of the model, so that only its first use needs Keras.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cpu_count import processors
from wsi_idc._util.files import DISK_FULL, cache_folder, is_private, make_private, replacing_folder, write_json
from wsi_idc.errors import OutputError
from wsi_idc.model.config import DEFAULT_BATCH, file_sha256
from wsi_idc.model.interface import CANCERNET, Interface, check_shapes

# OpenVINO tells its makers over the network whenever it is imported. Where this package is missing, it does not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

# With its first array it looks numpy up, and two threads that do so at once wait for each other for ever.
_ = openvino.Tensor(np.zeros(1, dtype=np.float32)).data

_BATCH = 16
"""Patches given to a processor at once: OpenVINO is at its fastest here."""

_SUMS_FILE = "sha256.json"


class OpenVinoNetwork:
    """A `Network` that OpenVINO runs, in float32.

    Every processor works on batches of its own, always of the same size, so that the number of processors changes no
    bit of the outcome.

    Parameters
    ----------
    model : path
        A ``.keras`` file, checked as `load_model` does, whose SHA-256 is the next.
    sha256 : str
    threads : int, optional
        By default as many as there are processors that this process may use.
    interface : Interface
        What its ``.json`` says.
    """

    device = "cpu"

    def __init__(self, model: Path, sha256: str, threads: int | None = None, interface: Interface = CANCERNET) -> None:
        self._interface = interface
        count = threads or processors()
        self._requests = 4 * count
        self._free: deque[Any] = deque()
        self._feeding = Lock()
        core = openvino.Core()
        with ExitStack() as stack:
            network = core.read_model(_translated(model, sha256, interface, stack))
            # The translation may have been made beside another .json.
            taken, given = (_shape(port) for port in (network.input(0), network.output(0)))
            check_shapes(model, taken, given, interface)
            self._outputs = int(given[1] or 0)
            network.reshape([_BATCH, *interface.input_px, 3])
            self._compiled = core.compile_model(
                network,
                "CPU",
                # By itself it takes bfloat16 on some processors.
                {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": count, "INFERENCE_NUM_THREADS": count},
            )

    @cached_property
    def runtime(self) -> str:
        return f"openvino {metadata.version('openvino')}"

    def predict(self, patches: NDArray[np.uint8], batch_size: int = DEFAULT_BATCH) -> NDArray[np.float32]:
        raw = np.empty((len(patches), self._outputs), dtype=np.float32)
        running: deque[tuple[Any, int]] = deque()

        # No callbacks: OpenVINO's queue of requests, which has them, can wait for ever when it is let go.
        def finish() -> Any:
            request, start = running.popleft()
            request.wait()
            part = raw[start : start + _BATCH]
            part[:] = request.get_output_tensor(0).data[: len(part)]
            return request

        # Threads take turns: while one keeps the processors busy, another reads and normalizes. Side by side they would
        # push each other's batches out of the caches.
        with self._feeding:
            for start in range(0, len(patches), _BATCH):
                request = finish() if len(running) == self._requests else self._free_request()
                batch = patches[start : start + _BATCH]
                # What an earlier batch left behind a shorter one is computed, and not looked at.
                self._interface.transform(batch, request.get_input_tensor(0).data[: len(batch)])
                request.start_async()
                running.append((request, start))
        while running:
            self._free.append(finish())
        return self._interface.probabilities(raw, self._interface.activation)

    def _free_request(self) -> Any:
        with suppress(IndexError):
            return self._free.pop()
        return self._compiled.create_infer_request()


def _shape(port: Any) -> list[int | None]:
    return [side.get_length() if side.is_static else None for side in port.get_partial_shape()]


def _translated(model: Path, sha256: str, interface: Interface, stack: ExitStack) -> Path:
    """The network as OpenVINO reads it: from the cache, or translated now.

    Where the cache cannot be written, or others can write there, the files are gone when `stack` is closed.

    Raises
    ------
    ModelError
        As `load_keras`.
    OutputError
        Where there is room for them neither in the cache nor in the folder of temporary files.
    """
    cache = cache_folder()
    try:
        folder = make_private(cache / "openvino") / f"{sha256}-{metadata.version('openvino')}"
        if not _is_whole(folder):
            _translate(model, interface, folder)
        return folder / "network.xml"
    except OSError as error:
        reason = error.strerror
    warnings.warn(f"The translated model cannot be kept in {cache} ({reason}): each run translates it.", stacklevel=5)
    try:
        folder = Path(stack.enter_context(TemporaryDirectory())) / "network"
        _translate(model, interface, folder)
    except OSError as error:
        raise OutputError(
            f"The model cannot be translated in {cache} ({reason}) or {gettempdir()} ({error.strerror}): make room of "
            "about 50 MB, or set XDG_CACHE_HOME or TMPDIR to another folder."
        ) from error
    return folder / "network.xml"


def _is_whole(folder: Path) -> bool:
    """Whether a translation is there as it was written, by this user and nobody else."""
    with suppress(OSError, ValueError, AttributeError):
        if not all(is_private(path) for path in (folder, *folder.iterdir())):
            return False
        sums = json.loads((folder / _SUMS_FILE).read_text(encoding="utf-8"))
        return len(sums) == 2 and all(file_sha256(folder / name) == sha256 for name, sha256 in sums.items())
    return False


def _translate(model: Path, interface: Interface, folder: Path) -> None:
    """Check a model and write it as OpenVINO's files, with their hashes; ModelError as `load_keras`."""
    from wsi_idc.model.keras_network import load_keras

    network = load_keras(model, interface)
    with replacing_folder(folder) as made, _disk_errors():
        # Beside the outcome, and with it removed: the folder of temporary files may have no room.
        saved = made.with_name("saved")
        network.export(saved, format="tf_saved_model", verbose=False)
        openvino.serialize(openvino.Core().read_model(saved), made / "network.xml")
        for path in made.iterdir():
            path.chmod(0o600)
        write_json(made / _SUMS_FILE, {path.name: file_sha256(path) for path in sorted(made.iterdir())})
        (made / _SUMS_FILE).chmod(0o600)
        made.chmod(0o700)


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Make an OSError of what TensorFlow and OpenVINO raise where a disk is full."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        for number in (*DISK_FULL, errno.EFBIG):
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number)) from error
        raise
