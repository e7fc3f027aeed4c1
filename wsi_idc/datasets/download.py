"""Fetch the IDC set from Kaggle."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path

from wsi_idc._util.files import DISK_FULL, make_folder
from wsi_idc.datasets.opening import downloaded_data
from wsi_idc.errors import DataNotFoundError, OutputError

DATASET = "paultimothymooney/breast-histopathology-images"
NEEDED_BYTES = 5_000_000_000
"""The archive (1.6 GB) and the patches that come out of it (3 GB), side by side while it is unpacked."""


def download() -> Path:
    """Fetch the set with kagglehub, which shows progress and goes on where it stopped.

    Returns
    -------
    Path
        The folder of patches, in the cache, where it is found from then on.

    Raises
    ------
    OutputError
        Where the disk is too full.
    DataNotFoundError
        Where Kaggle cannot be reached.
    """
    final = downloaded_data()
    if final.is_dir():
        return final
    make_folder(final.parent)
    free = shutil.disk_usage(final.parent).free
    if free < NEEDED_BYTES:
        raise OutputError(
            f"{final.parent} has {free / 1e9:.1f} GB free and the IDC set needs {NEEDED_BYTES / 1e9:.0f}: make room, "
            "or set XDG_CACHE_HOME to a larger disk."
        )
    os.environ["KAGGLEHUB_CACHE"] = str(final.parent / "kagglehub")
    try:
        with redirect_stdout(sys.stderr):  # kagglehub logs to stdout, which is for the path alone
            import kagglehub

            fetched = kagglehub.dataset_download(DATASET)
    except Exception as error:  # kagglehub raises whatever its HTTP library raises
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise DataNotFoundError(
            f"Kaggle did not give {DATASET} ({type(error).__name__}): check the network and try again, or fetch the "
            "archive in a browser and name it with --data."
        ) from error
    return Path(fetched).rename(final)
