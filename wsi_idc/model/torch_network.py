"""A network under PyTorch, on the processor: models of other laboratories come as TorchScript programs, too."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.errors import ModelError
from wsi_idc.model.fixed_batch import FixedBatchNetwork, short
from wsi_idc.model.interface import Interface

_MOST_BYTES = 1 << 32
"""Of a file, packed or unpacked: the largest networks of pathology have some 2.5 GB."""

_WARM_UPS = 2
"""TorchScript watches its first runs, and may compute in another way from then on."""


class TorchNetwork(FixedBatchNetwork):
    """A `FixedBatchNetwork` that PyTorch runs; it takes ``(n, 3, height, width)``.

    To load it is to let its author's code run. `load_model` does so only where that is allowed.

    Parameters
    ----------
    model : path
        A ``.pt`` file that ``torch.jit.save`` wrote.
    sha256 : str
        Of that file: nothing else is loaded.
    interface : Interface
        What its ``.json`` says.
    threads : int, optional
        By default as many as there are processors that this process may use.

    Raises
    ------
    ModelError
        Where PyTorch is not installed or cannot run the model, or the model is not what its ``.json`` says.
    """

    def __init__(self, model: Path, sha256: str, interface: Interface, threads: int | None = None) -> None:
        require_torch()
        import torch

        self._torch: Any = torch
        self._module = _load(model, sha256)
        # PyTorch's threads of its own would be as many again for each of ours.
        super().__init__(model, interface, threads=threads, settle_thread=lambda: torch.set_num_threads(1))
        for _ in range(_WARM_UPS):
            self._find_activation()

    @cached_property
    def runtime(self) -> str:
        return f"torch {self._torch.__version__}"

    def _forward(self, batch: NDArray[np.float32]) -> Any:
        with self._torch.inference_mode():
            given = self._module(self._torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2))))
        if not isinstance(given, self._torch.Tensor):
            raise ModelError(f"{self._model} gives a {type(given).__name__} where a tensor is needed: export it so.")
        return given.numpy()


def require_torch() -> None:
    """ModelError where PyTorch is missing."""
    if not find_spec("torch"):
        raise ModelError("PyTorch is not installed, which .pt models need: pip install 'wsi-idc[torch]'.")


def _load(model: Path, sha256: str) -> Any:
    """The module of a ``.pt`` file; what is no TorchScript program is never unpickled."""
    import torch

    if model.stat().st_size > _MOST_BYTES:
        raise ModelError(f"{model} has more than {_MOST_BYTES:,} bytes: export a smaller model.")
    content = model.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{model} changed while it was read: start again.")
    _check_archive(model, content)
    try:
        return torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
    except Exception as error:  # PyTorch raises whatever its parts raise
        raise ModelError(f"{model} cannot be loaded by PyTorch {torch.__version__}: {short(error)}") from error


def _check_archive(model: Path, content: bytes) -> None:
    """ModelError where the bytes are no archive of a TorchScript program."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename.partition("/")[2]: info.file_size for info in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise ModelError(
            f"{model} is not a whole TorchScript program: fetch it again, or save one with torch.jit.save."
        ) from error
    if "constants.pkl" not in members or not any(name.startswith("code/") for name in members):
        raise ModelError(
            f"{model} holds no TorchScript program, but weights or pickled objects alone: save one with "
            "torch.jit.script(model.eval()) and torch.jit.save, or export it to ONNX."
        )
    if sum(members.values()) > _MOST_BYTES:
        raise ModelError(f"{model} unpacks to more than {_MOST_BYTES:,} bytes: export a smaller model.")
