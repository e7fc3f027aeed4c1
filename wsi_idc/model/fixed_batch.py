"""What runtimes of other laboratories' networks share: batches of one size, checked outputs, and their activation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cpu_count import processors
from wsi_idc.errors import ModelError, printable
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.model.interface import Activation, Interface

BATCH = 8
"""Patches given to a processor at once, where the model leaves it open: more are no faster."""

_LONGEST_REASON = 200
_PROBES = 8
"""Patches of noise that a network is shown when it is loaded."""

_FEWER = 3
"""How many of them are left out when they are shown again, in other company."""

_SUM_TOLERANCE = 1e-3
_SAME_TOLERANCE = 1e-3
"""Share of the largest output by which one patch's may differ: rounding, where a runtime speeds up after a while."""


class FixedBatchNetwork(ABC):
    """A `Network` on the processor, in float32, whose outcome depends on no batch size and no number of processors.

    Every batch has the same size and is computed by one thread. Without an `activation` in the ``.json``, outputs that
    are no probabilities go through softmax, a single one through sigmoid, as in wsinfer.

    Parameters
    ----------
    model : path
    interface : Interface
        What its ``.json`` says.
    batch : int
        Patches in a batch.
    threads : int, optional
        By default as many as there are processors that this process may use.
    settle_thread : callable, optional
        Called once in each thread.

    Raises
    ------
    ModelError
        Where the network gives something else than its ``.json`` says, or gives it at random.
    """

    device = "cpu"

    def __init__(
        self,
        model: Path,
        interface: Interface,
        batch: int = BATCH,
        threads: int | None = None,
        settle_thread: Callable[[], object] | None = None,
    ) -> None:
        self._model, self._interface, self._batch = model, interface, batch
        self._pool = ThreadPoolExecutor(threads or processors(), initializer=settle_thread)
        self.activation: Activation = self._find_activation()
        """What makes probabilities of the outputs."""

    @abstractmethod
    def _forward(self, batch: NDArray[np.float32]) -> Any:
        """What the network gives for a whole batch ``(n, height, width, 3)``, as an array."""

    def predict(self, patches: NDArray[np.uint8], batch_size: int = DEFAULT_BATCH) -> NDArray[np.float32]:
        return self._interface.probabilities(self.outputs(patches), self.activation)

    def outputs(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the network itself gives, shape (n, outputs)."""
        return self._map(patches, self._interface.transform)

    def _map(self, patches: NDArray[Any], shown: Callable[[NDArray[Any]], NDArray[np.float32]]) -> NDArray[np.float32]:
        step = self._batch
        parts = list(self._pool.map(lambda at: self._run(shown(patches[at : at + step])), range(0, len(patches), step)))
        return np.concatenate(parts) if parts else np.empty((0, len(self._interface.classes.names)), np.float32)

    def _run(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs of at most a batch of inputs ``(n, height, width, 3)``."""
        batch = np.zeros((self._batch, *self._interface.input_px, 3), dtype=np.float32)
        batch[: len(part)] = part
        try:
            raw = np.asarray(self._forward(batch))
        except ModelError:
            raise
        except Exception as error:  # runtimes raise classes of their own, which share no base but this
            raise ModelError(f"{self._model} cannot be run: {short(error)}") from error
        if raw.ndim == 1:
            raw = raw[:, None]
        outputs = raw.shape[1] if raw.ndim == 2 else 0
        if raw.dtype != np.float32 or raw.ndim != 2 or len(raw) != len(batch) or not self._interface.takes(outputs):
            raise ModelError(
                f"{self._model} gives {raw.dtype} {raw.shape} for {len(batch)} patches, where float32 ({len(batch)}, "
                f"{len(self._interface.classes.names)}) is what its .json describes: correct class_names there, or "
                "export the model again."
            )
        return raw[: len(part)]

    def _find_activation(self) -> Activation:
        """What the ``.json`` says, or what the outputs for some noise look like."""
        rng = np.random.default_rng(0)
        noise = rng.random((_PROBES, *self._interface.input_px, 3), dtype=np.float32)
        raw = self._map(noise, np.asarray)
        if np.isnan(raw).any():
            raise ModelError(f"{self._model} gives no numbers (NaN) for plain noise: export it again, in float32.")
        again = self._map(noise[_FEWER:], np.asarray)
        if not np.allclose(again, raw[_FEWER:], rtol=0, atol=_SAME_TOLERANCE * max(1.0, float(np.abs(raw).max()))):
            raise ModelError(
                f"{self._model} does not give the same for the same patch, by chance or by what comes with it: "
                "export it in evaluation mode (model.eval())."
            )
        if self._interface.activation is not None:
            return self._interface.activation
        within = bool(((raw >= 0) & (raw <= 1)).all())
        if raw.shape[1] > 1:
            sums_to_one = np.abs(raw.sum(axis=1) - 1).max() < _SUM_TOLERANCE
            return "none" if within and sums_to_one else "softmax"
        if within:
            raise ModelError(
                f'{self._model} has one output, and whether that is a probability cannot be told: set "activation" in '
                'its .json to "none" where it is, or to "sigmoid".'
            )
        return "sigmoid"


def short(error: Exception) -> str:
    """The reason in one line, without ONNX Runtime's own numbers or TorchScript's calls in front."""
    text = str(error).strip()
    if "Traceback of TorchScript" in text:
        text = text.splitlines()[-1]
    text = printable(" ".join(text.split()))
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text[:_LONGEST_REASON].rstrip(". ") + "."
