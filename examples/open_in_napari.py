"""Look at a scored slide in napari: ``python examples/open_in_napari.py wsi-idc-results/8863``.

The folder holds what ``wsi-idc heatmap … --ome zarr`` and ``wsi-idc mosaic … --format ome-zarr`` write. Needs
``pip install "napari[all]" napari-ome-zarr``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dask.array as da
from napari_ome_zarr import napari_get_reader


def read(path: Path) -> tuple[list[da.Array], dict[str, Any]]:
    """Levels of an OME-Zarr image, axes c, y, x, and what napari wants to know of it: scale, units, names."""
    reader = napari_get_reader(str(path))
    if reader is None:
        sys.exit(f"{path} is not there: see the first lines of this program.")
    ((levels, about, _),) = reader()
    return levels, {key: about[key] for key in ("scale", "units", "axis_labels")}


def add_layers(viewer: Any, folder: Path) -> None:
    """Add the slide to a viewer, and over it the probability; what was not scored lets the slide through."""
    levels, about = read(folder / "mosaic.ome.zarr")
    viewer.add_image([da.moveaxis(level, 0, -1) for level in levels], rgb=True, name=folder.name, **about)
    levels, about = read(folder / "probability.ome.zarr")
    shown = {"colormap": "cividis", "contrast_limits": (0, 1), "opacity": 0.55}
    viewer.add_image([level[0] for level in levels], name="probability of IDC", **shown, **about)


if __name__ == "__main__":
    import napari

    viewer = napari.Viewer()
    add_layers(viewer, Path(sys.argv[1]))
    viewer.scale_bar.visible = True
    napari.run()
