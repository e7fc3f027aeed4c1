"""Which files a model consists of: a file with its ``.json``, or the folder of a model hub."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from wsi_idc.errors import ModelError
from wsi_idc.model.config import ModelConfig, read_config

TORCHSCRIPT = ".pt"
_ENDINGS = (".keras", ".onnx", TORCHSCRIPT)
_WEIGHTS_ALONE = (".pth", ".ckpt", ".safetensors")
_CONFIG = "config.json"
_FIRST = ("model.onnx", "model.keras", "torchscript_model.pt")
"""Names that hubs use. What carries no code comes first."""

_SNAPSHOT = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)/snapshots/(?P<commit>[0-9a-f]{40})")
"""Of a path in the cache of huggingface_hub, which knows no names with two hyphens in them."""


class ModelFiles(NamedTuple):
    """Where a model lies.

    Attributes
    ----------
    weights : Path
    config : Path
        Its ``.json``.
    name : str
        What it is called where the ``.json`` does not say.
    """

    weights: Path
    config: Path
    name: str

    def read_config(self) -> ModelConfig:
        """What the ``.json`` says; ModelError as `read_config`."""
        return read_config(self.config, self.name)


def bundled_model() -> Path:
    """Where the model that comes with the package lies."""
    return Path(str(resources.files("wsi_idc.model").joinpath("cancernet.keras")))


def locate_model(path: str | Path | None = None) -> ModelFiles:
    """Find the files of a model; ModelError where there is none.

    Parameters
    ----------
    path : path, optional
        A ``.keras``, ``.onnx`` or ``.pt`` file with its ``.json`` beside it, or a folder with one such file, called
        ``model.onnx``, ``model.keras`` or ``torchscript_model.pt`` where there are several, and its ``config.json``; by
        default the bundled model.
    """
    path = bundled_model() if path is None else fetched(path)
    if path.is_dir():
        return _of_folder(path)
    if path.suffix in _WEIGHTS_ALONE:
        raise ModelError(
            f"{path} holds weights without their network: export it to ONNX (torch.onnx.export), or as TorchScript."
        )
    if not path.is_file() or path.suffix not in _ENDINGS:
        raise ModelError(
            f"There is no model at {path}: name a .keras, .onnx or .pt file with its .json beside it, or a folder of "
            "both."
        )
    return ModelFiles(path, path.with_suffix(".json"), path.stem)


def fetched(path: str | Path) -> Path:
    """The folder of what ``hf://owner/name`` names, fetched if need be; any other path as it is."""
    path = Path(path)
    if not path.as_posix().startswith("hf:/"):
        return path
    from wsi_idc.model.hub import fetch_model

    return fetch_model(path.as_posix())


def _of_folder(folder: Path) -> ModelFiles:
    found = sorted(one.name for one in folder.iterdir() if one.suffix in _ENDINGS and one.is_file())
    known = [name for name in _FIRST if name in found] or found
    if not known or (len(known) > 1 and known[0] not in _FIRST):
        what = f"{len(known)} models, {' and '.join(known[:3])}" if known else "no .keras, .onnx or .pt file"
        raise ModelError(f"{folder} holds {what}: name the model's file, with its .json beside it.")
    weights = folder / known[0]
    config = folder / _CONFIG if (folder / _CONFIG).is_file() else weights.with_suffix(".json")
    if not config.is_file():
        raise ModelError(f"{folder} holds {known[0]} without a {_CONFIG}: write one, see docs/how-to.md.")
    snapshot = _SNAPSHOT.search(folder.absolute().as_posix())
    name = folder.absolute().name if snapshot is None else f"{snapshot['owner']}/{snapshot['name']}"
    return ModelFiles(weights, config, name)


def hub_address(weights: Path) -> str:
    """``hf://owner/name@commit`` of a file that lies in huggingface_hub's cache; empty for any other."""
    found = _SNAPSHOT.search(weights.absolute().as_posix())
    return "" if found is None else f"hf://{found['owner']}/{found['name']}@{found['commit']}"
