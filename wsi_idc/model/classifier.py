"""A loaded model that turns patches into probabilities."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cpu_count import require_threads
from wsi_idc._util.instruction_set import instruction_set
from wsi_idc.errors import ModelError
from wsi_idc.model.config import DEFAULT_BATCH, ModelConfig, file_sha256
from wsi_idc.model.interface import checked_probabilities
from wsi_idc.model.locating import TORCHSCRIPT, ModelFiles, hub_address, locate_model
from wsi_idc.model.locating import bundled_model as bundled_model
from wsi_idc.model.network import Network
from wsi_idc.model.stain import Stain, estimate_stain, normalize

_GPUS = ("/dev/nvidiactl", "/dev/dxg")
"""What the system shows where it has a GPU that Keras can use: the second under WSL."""


@dataclass(frozen=True)
class Classifier:
    """CancerNet or another network, with its configuration.

    It works in the process that loaded it: the threads of a network do not survive a fork.
    """

    network: Network
    config: ModelConfig
    process: int = field(default_factory=os.getpid, repr=False, compare=False)

    def predict(
        self, patches: NDArray[np.uint8], batch_size: int = DEFAULT_BATCH, *, stain: Stain | None = None
    ) -> NDArray[np.float32]:
        """Probabilities of patches, calibrated.

        Parameters
        ----------
        patches : ndarray of uint8, shape (n, size, size, 3)
            Of one slide, in the size and scale of ``config.patch``.
        batch_size : int
        stain : Stain, optional
            The slide's (`measure_stain`), where the model wants it taken out. By default it is measured on the patches
            that are given: then give all of a slide at once.

        Returns
        -------
        ndarray of float32, shape (n, classes)
            Of ``config.classes``: of no IDC and of IDC.

        Raises
        ------
        ModelError
            Where the network gives something else than probabilities.
        """
        target = self.config.normalization
        if target is None:
            return self.predict_normalized(patches, batch_size)
        return self.predict_normalized(normalize(patches, stain or estimate_stain(patches, target), target), batch_size)

    def predict_normalized(self, patches: NDArray[np.uint8], batch_size: int = DEFAULT_BATCH) -> NDArray[np.float32]:
        """As `predict`, for patches of any slides that are normalized already."""
        if os.getpid() != self.process:
            raise ModelError(
                "A model that was loaded before a fork cannot run in the child: load it there with load_model, or have "
                "multiprocessing start processes by spawn."
            )
        raw = checked_probabilities(self.network.predict(patches, batch_size))
        if self.config.calibration is None:
            return raw
        column = self.config.classes.index
        called = self.config.calibration.apply(raw[:, column])
        others = [] if raw.shape[1] == 1 else [1 - called]
        return np.column_stack([*others[:column], called, *others[column:]]).astype(np.float32)

    @property
    def runtime(self) -> str:
        """Name and version of what runs the network, like ``keras-tensorflow 2.21.0``."""
        return self.network.runtime

    @property
    def device(self) -> str:
        """``cpu`` or ``gpu``."""
        return self.network.device

    @property
    def instruction_set(self) -> str:
        """What the processor computes with, like ``x86_64 avx512``."""
        return instruction_set()


def load_model(
    path: str | Path | None = None, class_name: str | None = None, *, allow_code: bool = False
) -> Classifier:
    """Load a model.

    OpenVINO runs a ``.keras`` file where that is installed, no Keras backend is asked for with ``KERAS_BACKEND``, and
    there is no GPU; else Keras does. ONNX Runtime runs an ``.onnx`` file, PyTorch a ``.pt`` file.

    Parameters
    ----------
    path : path, optional
        A ``.keras``, ``.onnx`` or ``.pt`` file with its ``.json`` beside it, a folder of a model hub, or
        ``hf://owner/name@revision``, which is fetched; by default the bundled CancerNet. See `locate_model`.
    class_name : str, optional
        The class that maps show and calls follow; by default what the ``.json`` says.
    allow_code : bool
        Load a ``.pt`` file, too. That is a TorchScript program, which runs with your rights.

    Raises
    ------
    ModelError
        Where the file is missing, is no model that can be run, carries code that is not allowed, has another input or
        output than its ``.json`` says, has weights that are not finite, or does not belong to the ``.json``.
    OptionError
        Where the model has no such class.
    """
    files = locate_model(path)
    if files.weights.suffix == TORCHSCRIPT and not allow_code:
        raise ModelError(
            f"{files.weights} is a TorchScript program, which would run with your rights: give --allow-code "
            "(allow_code=True) if you trust those who made it."
        )
    path, config = _with_hash(files)
    config = config.for_class(class_name)
    require_threads()
    return Classifier(_network(path, config), config)


def find_model(path: str | Path | None = None) -> tuple[Path, ModelConfig]:
    """Where a model lies, and its ``.json``; ModelError where one is missing or they do not belong together.

    A ``.json`` without a `sha256`, as other tools write it, belongs to whatever file has its name.
    """
    return _with_hash(locate_model(path))


def _with_hash(files: ModelFiles) -> tuple[Path, ModelConfig]:
    path, config = files.weights, files.read_config()
    sha256 = _sha256(path)
    if config.sha256 not in ("", sha256):
        raise ModelError(f"{path} is not the model that {files.config.name} describes (SHA-256 differs).")
    return path, replace(config, sha256=sha256, origin=hub_address(path))


def gpu_is_shown() -> bool:
    """Whether the system shows a GPU that Keras can use."""
    return any(Path(gpu).exists() for gpu in _GPUS)


def _sha256(path: Path) -> str:
    if path.suffix != ".onnx":
        return file_sha256(path)
    from wsi_idc.model.onnx_network import onnx_sha256

    return onnx_sha256(path)


def _network(path: Path, config: ModelConfig) -> Network:
    if path.suffix == ".onnx":
        from wsi_idc.model.onnx_network import OnnxNetwork

        return OnnxNetwork(path, config.interface)
    if path.suffix == TORCHSCRIPT:
        from wsi_idc.model.torch_network import TorchNetwork

        return TorchNetwork(path, config.sha256, config.interface)
    keras_asked_for = "KERAS_BACKEND" in os.environ
    if find_spec("openvino") and not keras_asked_for and not gpu_is_shown():
        from wsi_idc.model.openvino_network import OpenVinoNetwork

        try:
            return OpenVinoNetwork(path, config.sha256, interface=config.interface)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            warnings.warn(f"OpenVINO cannot run {path}, so Keras does: {reason}", stacklevel=3)
    from wsi_idc.model.keras_network import KerasNetwork, load_keras

    return KerasNetwork(load_keras(path, config.interface), config.interface)
