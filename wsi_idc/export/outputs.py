"""All that ``heatmap`` leaves beside the scores: pictures, and files for other programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from wsi_idc._util.files import remove
from wsi_idc.errors import OptionError
from wsi_idc.export.geojson import write_contours, write_geojson
from wsi_idc.model.classes import IDC_CLASSES
from wsi_idc.model.config import ModelConfig
from wsi_idc.plotting.caption import make_caption
from wsi_idc.plotting.slide_pictures import draw_all
from wsi_idc.plotting.style import Style
from wsi_idc.scoring.file_names import (
    GEOJSON_FILE,
    OVERLAY_TIFF,
    PROBABILITY_DICOM,
    PROBABILITY_TIFF,
    PROBABILITY_ZARR,
    SEGMENTATION_DICOM,
)
from wsi_idc.scoring.handles import SlideRef
from wsi_idc.scoring.results import SlideResult
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import Caution, PatchSource

GeoJsonForm = Literal["tiles", "contours", "tiles.gz", "contours.gz", "none"]
OmeForm = Literal["tiff", "zarr"]


@dataclass(frozen=True)
class Outputs:
    """What is made of the scores of a slide.

    Attributes
    ----------
    style : Style
        Of the pictures.
    geojson : str
        What ``scores.geojson`` holds: the tiles, or the contours of what is called IDC; with ``.gz``, compressed.
    ome : tuple of str
        ``tiff``: the probabilities and the overlay as OME-TIFF; ``zarr``: the probabilities as OME-Zarr.
    dicom : bool
        Probabilities and calls as DICOM, too: see `write_dicom_maps`.
    keep_patient : bool
        Take patient and study over from a DICOM slide.
    pictures : bool
        With False: DICOM only, and whatever else is there stays as it is.
    pdf : bool
        The sheet as ``heatmap.pdf``, too.

    Raises
    ------
    OptionError
        Where `keep_patient` is asked for without `dicom`, or highdicom is not installed.
    """

    style: Style = field(default_factory=Style)
    geojson: GeoJsonForm = "tiles"
    ome: tuple[OmeForm, ...] = ()
    dicom: bool = False
    keep_patient: bool = False
    pictures: bool = True
    pdf: bool = False

    def __post_init__(self) -> None:
        if self.keep_patient and not self.dicom:
            raise OptionError("--keep-patient goes with --dicom: give both, or neither.")
        if self.dicom and find_spec("highdicom") is None:
            raise OptionError('--dicom needs highdicom, which is not installed: pip install "wsi-idc[dicom]".')

    def check(self, model: ModelConfig) -> None:
        """OptionError where the codes of the DICOM files do not fit what the model says."""
        if self.dicom and model.classes != IDC_CLASSES:
            raise OptionError(
                f"--dicom is for models of IDC, and {model.name} is of {', '.join(model.classes.names)}: leave it out."
            )


def write_outputs(
    source: PatchSource,
    scores: Scores,
    model: ModelConfig,
    wanted: Outputs,
    folder: str | Path,
    cautions: tuple[Caution, ...] | None = None,
) -> Path:
    """Write them into a results folder, remove those of an earlier call that are not wanted; give ``heatmap.png``.

    Without pictures: ``probability.dcm``.

    `cautions` are those of the `SlideResult`; by default what `find_cautions` finds without the slide's stain.
    """
    folder = Path(folder)
    wanted.check(model)
    if wanted.dicom:
        from wsi_idc.export.dicom_maps import write_dicom_maps

        write_dicom_maps(source, scores, model, folder, keep_patient=wanted.keep_patient)
    if not wanted.pictures:
        return folder / PROBABILITY_DICOM
    sheet = draw_all(source, scores, make_caption(source, model, scores, cautions), wanted.style, folder, wanted.pdf)
    form, _, ending = wanted.geojson.partition(".")
    geojson = folder / (f"{GEOJSON_FILE}.{ending}" if ending else GEOJSON_FILE)
    tiff, overlay, zarr = (folder / name for name in (PROBABILITY_TIFF, OVERLAY_TIFF, PROBABILITY_ZARR))
    kept = {geojson} if form != "none" else set()
    kept |= {tiff, overlay} if "tiff" in wanted.ome else set()
    kept |= {zarr} if "zarr" in wanted.ome else set()
    dicom = {folder / PROBABILITY_DICOM, folder / SEGMENTATION_DICOM}
    kept |= dicom if wanted.dicom else set()
    for path in {folder / GEOJSON_FILE, folder / f"{GEOJSON_FILE}.gz", tiff, overlay, zarr, *dicom} - kept:
        remove(path)
    if form == "tiles":
        write_geojson(scores, geojson, origin_px=source.origin_px)
    elif form == "contours":
        write_contours(scores, geojson, source.mpp, origin_px=source.origin_px)
    if "tiff" in wanted.ome:
        from wsi_idc.export.overlay_image import write_overlay_tiff
        from wsi_idc.export.probability import write_probability_tiff

        write_probability_tiff(scores, source, tiff)
        write_overlay_tiff(source, scores, wanted.style, overlay)
    if "zarr" in wanted.ome:
        from wsi_idc.export.probability import write_probability_zarr

        write_probability_zarr(scores, source, zarr)
    return sheet


def write_outputs_apart(ref: SlideRef, result: SlideResult, model: ModelConfig, wanted: Outputs) -> Path:
    """`write_outputs` for another process, which opens the slide itself."""
    with ref.open() as source:
        return write_outputs(source, result.scores, model, wanted, result.folder, result.cautions)
