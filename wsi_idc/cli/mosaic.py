"""``wsi-idc mosaic``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wsi_idc.cli import DONE, INCOMPLETE, options
from wsi_idc.cli.suggestions import SuggestingGroup
from wsi_idc.geometry import IDC_PATCH, MAX_MPP, MIN_MPP

if TYPE_CHECKING:
    from wsi_idc.source import PatchSource

_form = options.together(
    click.option(
        "--format",
        "form",
        type=click.Choice(["png", "ome-tiff", "ome-zarr"]),
        default="png",
        show_default=True,
        help="png: about 8 µm/px, coarser beyond 8,192 pixels a side; the others: exactly 8 µm/px, as a pyramid. "
        "With --mpp-out all have that scale.",
    ),
    click.option(
        "--ome-zarr",
        "version",
        type=click.Choice(["0.4", "0.5"]),
        help="Version of OME-Zarr. [default: 0.4]",
    ),
    click.option(
        "--compression",
        type=click.Choice(["jpeg", "deflate"]),
        help="Of OME-TIFF: jpeg is small, deflate keeps every pixel. [default: jpeg]",
    ),
    click.option(
        "--mpp-out",
        type=click.FloatRange(MIN_MPP, MAX_MPP),
        metavar="UM",
        help="Scale of the image in µm/px, not finer than the slide. [default: 8]",
    ),
    options.out,
    options.quiet,
)


@click.group("mosaic", cls=SuggestingGroup)
def command() -> None:
    """Rebuild the image of a slide at 8 µm/px, or as --mpp-out says, in OUT/<slide>/."""


@command.command("patient")
@click.argument("case", metavar="ID")
@options.data
@_form
def patient(case: str, data: str | None, quiet: bool, **given: Any) -> int:
    """Rebuild a case of the IDC set from its patches."""
    from wsi_idc.cli.console import list_problems
    from wsi_idc.cli.runs import find_cases

    with find_cases([case], data, quiet) as dataset:
        source = dataset.case(case)
        list_problems(source.problems)
        return _write(source, quiet=quiet, **given)


@command.command("slide")
@click.argument("file", metavar="FILE", type=options.FILE)
@options.pixels
@_form
def slide(
    file: Path,
    mpp: float | None,
    image: str | None,
    icc: bool,
    allow_upsampling: bool,
    mpp_out: float | None,
    **given: Any,
) -> int:
    """Bring a raw slide to 8 µm/px: whatever OpenSlide reads, and OME-TIFF."""
    from wsi_idc.slides.slide import Slide

    patch = IDC_PATCH if mpp_out is None else replace(IDC_PATCH, mpp=mpp_out)
    with Slide(
        file, mpp=mpp, image=image, icc=icc, allow_upsampling=allow_upsampling, tissue_mask=False, patch=patch
    ) as source:
        return _write(source, mpp_out=mpp_out, **given)


def _write(
    source: PatchSource,
    *,
    form: str,
    version: Any,
    compression: Any,
    mpp_out: float | None,
    out: Path,
    quiet: bool,
) -> int:
    from wsi_idc._util.files import make_folder, remove_unfinished
    from wsi_idc._util.lock import wait_lock
    from wsi_idc.cli.console import list_problems, print_path, progress_bar, say_waiting
    from wsi_idc.scoring.file_names import MOSAIC_FILE, MOSAIC_TIFF, MOSAIC_ZARR, MOSAICS
    from wsi_idc.scoring.origins import ORIGINS_FILE, making

    if version and form != "ome-zarr":
        raise click.UsageError("--ome-zarr goes with --format ome-zarr.")
    if compression and form != "ome-tiff":
        raise click.UsageError("--compression goes with --format ome-tiff.")
    what = f"Mosaic of {source.slide}"
    folder = make_folder(out / source.slide)
    with progress_bar("Mosaic", None if form == "png" else 0, quiet, "blocks") as bar:

        def move(done: int, total: int) -> None:
            bar.show(what, done, total)

        with wait_lock(folder, say_waiting):
            bar.describe(what)
            remove_unfinished(folder, *MOSAICS, ORIGINS_FILE)
            made = {"png": MOSAIC_FILE, "ome-tiff": MOSAIC_TIFF, "ome-zarr": MOSAIC_ZARR}[form]
            with making(folder, made, source):
                if form == "ome-tiff":
                    from wsi_idc.export.slide_image import write_mosaic_tiff

                    path = write_mosaic_tiff(source, folder, mpp_out, compression=compression or "jpeg", on_block=move)
                elif form == "ome-zarr":
                    from wsi_idc.export.slide_image import write_mosaic_zarr

                    path = write_mosaic_zarr(source, folder, mpp_out, version=version or "0.4", on_block=move)
                elif mpp_out is None:
                    from wsi_idc.plotting.slide_pictures import save_mosaic

                    path = save_mosaic(source, folder)
                else:
                    from wsi_idc.export.slide_image import write_mosaic_png

                    path = write_mosaic_png(source, folder, mpp_out)
    print_path(path)
    list_problems(source.lost)
    return INCOMPLETE if source.lost else DONE
