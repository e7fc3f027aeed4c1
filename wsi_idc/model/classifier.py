"""A loaded model that turns patches into probabilities."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cpu_count import require_threads
from wsi_idc._util.instruction_set import instruction_set
from wsi_idc.errors import ModelError
from wsi_idc.geometry import PatchSpec
from wsi_idc.model.config import DEFAULT_BATCH, ModelConfig, file_sha256, read_config
from wsi_idc.model.interface import checked_probabilities
from wsi_idc.model.network import Network
from wsi_idc.model.stain import Stain, estimate_stain, normalize

_GPUS = ("/dev/nvidiactl", "/dev/dxg")
"""What the system shows where it has a GPU that Keras can use: the second under WSL."""

_ENDINGS = (".keras", ".onnx")
_TORCH = (".pt", ".pth", ".ckpt", ".safetensors")


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


def bundled_model() -> Path:
    """Where the model that comes with the package lies."""
    return Path(str(resources.files("wsi_idc.model").joinpath("cancernet.keras")))


def model_patch(path: str | Path | None = None) -> PatchSpec:
    """Size and scale of the patches that a model takes, from its ``.json``: see `load_model`."""
    return read_config(_checked_path(path).with_suffix(".json")).patch


def _checked_path(path: str | Path | None) -> Path:
    path = bundled_model() if path is None else Path(path)
    if path.suffix in _TORCH:
        raise ModelError(f"{path} is a PyTorch file, which can hold code: export it to ONNX (torch.onnx.export).")
    if not path.is_file() or path.suffix not in _ENDINGS:
        raise ModelError(f"There is no model at {path}: name a .keras or .onnx file with its .json beside it.")
    return path


def load_model(path: str | Path | None = None, class_name: str | None = None) -> Classifier:
    """Load a model.

    OpenVINO runs a ``.keras`` file where that is installed, no Keras backend is asked for with ``KERAS_BACKEND``, and
    there is no GPU; else Keras does. ONNX Runtime runs an ``.onnx`` file.

    Parameters
    ----------
    path : path, optional
        A ``.keras`` or ``.onnx`` file with its ``.json`` beside it; by default the bundled CancerNet.
    class_name : str, optional
        The class that maps show and calls follow; by default what the ``.json`` says.

    Raises
    ------
    ModelError
        Where the file is missing, is no model that can be run, carries code, has another input or output than its
        ``.json`` says, has weights that are not finite, or does not belong to the ``.json``.
    OptionError
        Where the model has no such class.
    """
    path, config = find_model(path)
    config = config.for_class(class_name)
    require_threads()
    return Classifier(_network(path, config), config)


def find_model(path: str | Path | None = None) -> tuple[Path, ModelConfig]:
    """Where a model lies, and its ``.json``; ModelError where one is missing or they do not belong together.

    A ``.json`` without a `sha256`, as other tools write it, belongs to whatever file has its name.
    """
    path = _checked_path(path)
    config = read_config(path.with_suffix(".json"))
    sha256 = _sha256(path)
    if config.sha256 not in ("", sha256):
        raise ModelError(f"{path} is not the model that {path.with_suffix('.json').name} describes (SHA-256 differs).")
    return path, replace(config, sha256=sha256)


def gpu_is_shown() -> bool:
    """Whether the system shows a GPU that Keras can use."""
    return any(Path(gpu).exists() for gpu in _GPUS)


def _sha256(path: Path) -> str:
    if path.suffix == ".keras":
        return file_sha256(path)
    from wsi_idc.model.onnx_network import onnx_sha256

    return onnx_sha256(path)


def _network(path: Path, config: ModelConfig) -> Network:
    if path.suffix == ".onnx":
        from wsi_idc.model.onnx_network import OnnxNetwork

        return OnnxNetwork(path, config.interface)
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
