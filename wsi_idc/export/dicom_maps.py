"""Probabilities and calls as DICOM: a Parametric Map and a Segmentation that lie over the slide."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID

from wsi_idc._util.files import replacing
from wsi_idc._version import __version__
from wsi_idc.export.dicom_source import SlideReference, describe_slide, find_instance, without_warnings
from wsi_idc.export.probability import probability_grid
from wsi_idc.model.config import ModelConfig
from wsi_idc.naming import PHANTOM_MARK, visible
from wsi_idc.plotting.caption import RESEARCH_USE, context_text
from wsi_idc.scoring.file_names import PROBABILITY_DICOM, SEGMENTATION_DICOM
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import SlideFacts

UNSCORED = -1.0
"""Value of the map where nothing was scored; its Float Pixel Padding Value says so."""

TILE_PX = 256
"""Side of a frame, at most."""

_NO_DATE, _NO_TIME = "19000101", "000000"
"""The standard wants a time of making; the same scores are to give the same bytes."""

_MANUFACTURER = "wsi-idc"


def write_dicom_maps(
    source: SlideFacts, scores: Scores, model: ModelConfig, folder: str | Path, *, keep_patient: bool = False
) -> tuple[Path, Path]:
    """Write ``probability.dcm`` and ``segmentation.dcm`` into the results folder of a slide, each atomically.

    A pixel is a patch, and the corner of both is the corner of the slide. Of a DICOM slide both are in its frame of
    reference and name it as their source; of any other slide they are in a study of its own, whose UIDs follow from
    the slide's fingerprint. The same scores give the same bytes.

    Parameters
    ----------
    source : SlideFacts
    scores : Scores
        The same slide.
    model : ModelConfig
        What scored it.
    folder : path
    keep_patient : bool
        Take patient, study and specimen over from a DICOM slide. By default nothing of them but the UIDs of the images
        that are referred to, and the files form a study of their own.

    Raises
    ------
    OutputError
        Where the folder cannot be written.
    """
    folder = Path(folder)
    paths = folder / PROBABILITY_DICOM, folder / SEGMENTATION_DICOM
    original = find_instance(source)
    with without_warnings():
        reference = describe_slide(source, original, keep_patient=keep_patient)
        for path, make in zip(paths, (_parametric_map, _segmentation), strict=True):
            made = make(source, scores, model, reference)
            _settle(made, reference)
            with replacing(path) as temporary:
                made.save_as(temporary)
    return paths


def _parametric_map(
    source: SlideFacts, scores: Scores, model: ModelConfig, reference: SlideReference
) -> hd.pm.ParametricMap:
    grid = probability_grid(scores, source)
    values = np.where(np.isnan(grid), np.float32(UNSCORED), grid)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="prob_idc",
        lut_explanation="Probability of IDC",
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=codes.DCM.ProbabilityOfCancer,
    )
    made = hd.pm.ParametricMap(
        [reference.image],
        values,
        **_series("probability", 1, values, scores, model, reference),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1.0)],
        content_label="PROBABILITY_IDC",
        content_qualification=hd.ContentQualificationValues.RESEARCH,
        **_geometry(source, values, reference),
    )
    made.FloatPixelPaddingValue = made.FloatPixelPaddingRangeLimit = UNSCORED
    made.SeriesDescription = f"{_program(source)}: probability of IDC"
    # A Parametric Map has no module for an algorithm: as equipment that contributed, with what it is.
    made.ContributingEquipmentSequence = [*made.get("ContributingEquipmentSequence", []), _equipment(model)]
    return made


def _segmentation(
    source: SlideFacts, scores: Scores, model: ModelConfig, reference: SlideReference
) -> hd.seg.Segmentation:
    # Through the same grid, and not by comparing its rounded probabilities with the threshold again.
    called = replace(scores, prob_idc=np.where(scores.readable, scores.pred, np.nan), prob_idc_context=None)
    values = (probability_grid(called, source) == 1).astype(np.uint8)
    algorithm = hd.AlgorithmIdentificationSequence(
        name=_text(model.name),
        family=codes.DCM.ArtificialIntelligence,
        version=model.sha256,
        source=_MANUFACTURER,
        parameters={"threshold": f"{scores.threshold:g}", "context": context_text(scores.called_in_context)},
    )
    description = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="IDC",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.InfiltratingDuctCarcinoma,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        anatomic_regions=[codes.SCT.Breast],
    )
    made = hd.seg.Segmentation(
        [reference.image],
        values,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[description],
        **_series("segmentation", 2, values, scores, model, reference),
        omit_empty_frames=False,
        content_label="IDC",
        **_geometry(source, values, reference),
    )
    made.PatientOrientation = None
    made.SeriesDescription = f"{_program(source)}: patches called IDC"
    return made


def _series(
    kind: str,
    number: int,
    values: NDArray[np.generic],
    scores: Scores,
    model: ModelConfig,
    reference: SlideReference,
) -> dict[str, Any]:
    """What both files say of the series, the program and the model. UIDs follow from what is written."""
    pixels = sha256(values.tobytes()).hexdigest()
    told = (
        reference.seed,
        str(reference.keeps_patient),
        __version__,
        model.sha256,
        scores.threshold,
        scores.called_in_context,
    )
    seed = "/".join(map(str, (kind, pixels, *told)))
    return {
        "series_instance_uid": hashed_uid(f"series/{seed}"),
        "series_number": number,
        "sop_instance_uid": hashed_uid(f"instance/{seed}"),
        "instance_number": 1,
        "manufacturer": _MANUFACTURER,
        "manufacturer_model_name": _text(model.name),
        "software_versions": [f"wsi-idc {__version__}", model.sha256],
        "device_serial_number": model.sha256,
        "content_description": RESEARCH_USE,
    }


def _geometry(source: SlideFacts, values: NDArray[np.generic], reference: SlideReference) -> dict[str, Any]:
    """Where the pixels lie: as wide and high as a patch, from the corner of the slide on.

    Positions in DICOM are those of the centres of pixels, and a pixel of the slide is much smaller than one here.
    """
    side = [source.patch.um / source.mpp[1] * reference.spacing_mm[0]]
    side += [source.patch.um / source.mpp[0] * reference.spacing_mm[1]]
    along_row, along_column = np.array(reference.orientation[:3]), np.array(reference.orientation[3:])
    shift = (side[1] - reference.spacing_mm[1]) / 2 * along_row + (side[0] - reference.spacing_mm[0]) / 2 * along_column
    corner = np.array(reference.origin_mm) + shift
    return {
        "pixel_measures": hd.PixelMeasuresSequence(pixel_spacing=side, slice_thickness=reference.thickness_mm),
        "plane_orientation": hd.PlaneOrientationSequence(hd.CoordinateSystemNames.SLIDE, reference.orientation),
        "plane_positions": [
            hd.PlanePositionSequence(
                hd.CoordinateSystemNames.SLIDE, image_position=corner.tolist(), pixel_matrix_position=(1, 1)
            )
        ],
        "tile_pixel_array": True,
        "tile_size": tuple(min(length, TILE_PX) for length in values.shape),
        "dimension_organization_type": hd.DimensionOrganizationTypeValues.TILED_SPARSE,
    }


def _equipment(model: ModelConfig) -> hd.ContributingEquipment:
    return hd.ContributingEquipment(
        manufacturer=_MANUFACTURER,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=_text(model.name),
        software_versions=[f"wsi-idc {__version__}", model.sha256],
        device_serial_number=model.sha256,
        contribution_description=f"Probability of invasive ductal carcinoma, patch by patch. {RESEARCH_USE}",
    )


def _program(source: SlideFacts) -> str:
    return PHANTOM_MARK if source.kind == "phantom" else "wsi-idc"


def _text(name: str) -> str:
    """A name as DICOM's long string: up to 64 characters, and no backslash, which parts values."""
    return visible(name).replace("\\", "/")[:64]


def _settle(made: Dataset, reference: SlideReference) -> None:
    """Replace what highdicom takes from the clock and from chance, and say what is left out of the patient's data."""
    for keyword, value in (
        *((f"{which}Date", _NO_DATE) for which in ("Content", "Series", "InstanceCreation")),
        *((f"{which}Time", _NO_TIME) for which in ("Content", "Series", "InstanceCreation")),
    ):
        if keyword in made:
            setattr(made, keyword, value)
    for item in made.get("ContributingEquipmentSequence", []):
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    organization = hashed_uid(f"dimensions/{made.SOPInstanceUID}")
    for item in (*made.get("DimensionOrganizationSequence", []), *made.get("DimensionIndexSequence", [])):
        item.DimensionOrganizationUID = organization
    if not reference.keeps_patient:
        made.PatientIdentityRemoved = "YES"
        made.DeidentificationMethod = "wsi-idc: no attribute of patient, study or specimen taken over"
    if reference.own_study and "ReferencedSeriesSequence" in made:
        # The slide is in another study than these files.
        study = Dataset()
        study.StudyInstanceUID = reference.study_of_slide
        study.ReferencedSeriesSequence = made.ReferencedSeriesSequence
        made.StudiesContainingOtherReferencedInstancesSequence = [study]
        del made.ReferencedSeriesSequence


def hashed_uid(seed: str) -> UID:
    """A UID below 2.25 (PS3.5, B.2) that is always the same for a text."""
    return UID(f"2.25.{uuid5(NAMESPACE_OID, f'wsi-idc/{seed}').int}")
