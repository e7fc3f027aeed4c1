"""Models of Hugging Face's hub, fetched because a user named one."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path

from wsi_idc.errors import ModelError
from wsi_idc.model.fixed_batch import short

_ADDRESS = re.compile(r"hf:/{1,2}(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
_WANTED = ["config.json", "*.onnx", "*.onnx.data", "model.keras", "torchscript_model.pt"]
"""What a model here consists of; weights for other tools stay where they are."""


def fetch_model(address: str) -> Path:
    """The folder that a repository of the hub was fetched to, or lies in already.

    ``HF_ENDPOINT``, ``HF_HOME``, ``HF_TOKEN`` and ``HF_HUB_OFFLINE`` are followed, as by other programs.

    Parameters
    ----------
    address : str
        ``hf://owner/name``, and where wanted ``@revision``: a branch, a tag or a commit. One slash is enough.

    Raises
    ------
    ModelError
        Where it is no such address, huggingface_hub is not installed, or nothing can be fetched.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ModelError(f"{address} is no model of a hub: write hf://owner/name, or hf://owner/name@revision.")
    if not find_spec("huggingface_hub"):
        raise ModelError("huggingface_hub is not installed, which hf:// models need: pip install 'wsi-idc[hub]'.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    named = f"hf://{found['repository']}"
    try:
        return Path(
            snapshot_download(
                found["repository"], revision=found["revision"], allow_patterns=_WANTED, library_name="wsi-idc"
            )
        )
    except Exception as error:  # of huggingface_hub, of what it speaks HTTP with, and of the system
        where = f" at {found['revision']}" if found["revision"] else ""
        raise ModelError(
            f"{named}{where} cannot be fetched: {short(error)} Look whether the name is right and the network is there."
        ) from error
