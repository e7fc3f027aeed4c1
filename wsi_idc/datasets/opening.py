"""Which data a command works on, and where downloaded and painted data are kept."""

from __future__ import annotations

import os
from pathlib import Path

from wsi_idc._util.files import DISK_FULL, cache_folder
from wsi_idc.datasets.case import Case
from wsi_idc.datasets.dataset import Dataset
from wsi_idc.datasets.idc import IdcDataset
from wsi_idc.errors import DataNotFoundError
from wsi_idc.io.stores import is_url, without_secrets

DATA_VARIABLE = "WSI_IDC_DATA"
ZARR_FILE = "zarr.json"
"""A folder with this is a Zarr, and so no folder of patches."""

DEMO = "demo"
DEMO_SEED = 0
DEMO_VERSION = 2
"""Counts up when the phantom is painted differently, so that no old one is taken from the cache."""

NO_DATA = (
    "No data are named: fetch the IDC set with `wsi-idc download`, name your copy with --data PATH, "
    "or try the synthetic cases with --data demo."
)


def downloaded_data() -> Path:
    """Where `download` puts the IDC set; the folder is there only when the set is whole."""
    return cache_folder() / "breast-histopathology-images"


def locate_data(data: str | Path | None = None) -> Path:
    """Find the data to work on.

    Parameters
    ----------
    data : path or "demo", optional
        By default what the variable ``WSI_IDC_DATA`` names, else what was downloaded. "demo" is a phantom of a few
        cases, painted on first use.

    Raises
    ------
    DataNotFoundError
        Where there is nothing.
    """
    named = data or os.environ.get(DATA_VARIABLE)
    if not named:
        if not downloaded_data().is_dir():
            raise DataNotFoundError(NO_DATA)
        return downloaded_data()
    if is_url(str(named)):
        told = without_secrets(str(named))
        raise DataNotFoundError(f"{told} is an address, which is not taken for patches: give a path of this machine.")
    return demo_data() if str(named) == DEMO else Path(named)


def demo_data() -> Path:
    """Folder of the demo phantom, painted now if it is not there."""
    from wsi_idc.phantom import DEMO_CASES, write_phantom

    path = cache_folder() / f"demo-{DEMO_VERSION}"
    if path.is_dir():
        return path
    try:
        return write_phantom(path, DEMO_CASES, DEMO_SEED)
    except OSError as error:
        if path.is_dir():  # painted meanwhile by another run
            return path
        if error.errno in DISK_FULL:
            raise
        raise DataNotFoundError(
            f"The demo cannot be painted into {path.parent}: set XDG_CACHE_HOME to a folder that can be written."
        ) from error


def open_dataset(data: str | Path | None = None) -> Dataset:
    """Open the patches that `locate_data` finds: a folder, a zip, or a patch store."""
    path = locate_data(data)
    if (path / ZARR_FILE).is_file():
        from wsi_idc.datasets.store import PatchStore

        return PatchStore(path)
    return IdcDataset(path)


def open_case(case: str | int, data: str | Path | None = None) -> Case:
    """Open one case of an IDC data set: ``open_case(8863, "archive.zip")``.

    The case holds its patches in memory; nothing needs closing.
    """
    with open_dataset(data) as dataset:
        return dataset.case(str(case))
