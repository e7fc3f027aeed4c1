"""What DICOM files refer to as their source: the DICOM slide itself, or a description of a slide of another format."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, VLWholeSlideMicroscopyImageStorage

from wsi_idc.io.dicom import has_dicom_magic
from wsi_idc.source import SlideFacts

_THICKNESS_MM = 0.001
"""Where nothing tells of a section's thickness, which the standard wants."""

_FRAME_PX = 256

_PATIENT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "IssuerOfPatientID"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "StudyDescription", "ReferringPhysicianName"),
    *("ContainerIdentifier", "SpecimenDescriptionSequence", "IssuerOfTheContainerIdentifierSequence"),
    "SpecificCharacterSet",
)
"""Taken over only where the patient's data are to be kept."""


@dataclass(frozen=True)
class SlideReference:
    """A slide as a source in DICOM's words.

    Attributes
    ----------
    image : Dataset
        What highdicom needs to know of the slide, without pixels.
    seed : str
        For UIDs.
    origin_mm : tuple of float
        Centre of the slide's first pixel in its frame of reference: x, y, z.
    orientation : tuple of float
        Direction of its rows, then of its columns, as unit vectors.
    spacing_mm : tuple of float
        Height and width of a pixel of level 0.
    thickness_mm : float
    keeps_patient : bool
    own_study : bool
        Whether the files are in another study than the slide.
    study_of_slide : str
    """

    image: Dataset
    seed: str
    origin_mm: tuple[float, float, float]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float]
    thickness_mm: float
    keeps_patient: bool
    own_study: bool
    study_of_slide: str


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep pydicom's and highdicom's warnings from the log: they quote values, and these may name people."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def describe_slide(source: SlideFacts, original: Dataset | None, *, keep_patient: bool) -> SlideReference:
    """Describe a slide: from its own file (`find_instance`) if that is DICOM, else with UIDs from its fingerprint."""
    seed = sha256(source.fingerprint.encode()).hexdigest()
    keeps_patient = keep_patient and original is not None
    known = original if original is not None else Dataset()
    study_of_slide = str(known.get("StudyInstanceUID") or _uid(seed, "slide's study"))
    measures = _measures(known)
    spacing = tuple(float(side) for side in measures.get("PixelSpacing") or (source.mpp[1] / 1e3, source.mpp[0] / 1e3))
    thickness = float(measures.get("SliceThickness") or _THICKNESS_MM)
    corner = next(iter(known.get("TotalPixelMatrixOriginSequence") or [Dataset()]))
    origin = tuple(float(corner.get(f"{axis}OffsetInSlideCoordinateSystem") or 0) for axis in "XYZ")
    orientation = tuple(float(part) for part in known.get("ImageOrientationSlide") or (1, 0, 0, 0, 1, 0))
    image = Dataset()
    image.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    image.Modality = "SM"
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    image.SOPInstanceUID = known.get("SOPInstanceUID") or _uid(seed, "slide")
    image.SeriesInstanceUID = known.get("SeriesInstanceUID") or _uid(seed, "slide's series")
    image.FrameOfReferenceUID = known.get("FrameOfReferenceUID") or _uid(seed, "frame of reference")
    image.PositionReferenceIndicator = "SLIDE_CORNER"
    image.StudyInstanceUID = study_of_slide if keeps_patient else _uid(seed, "study")
    image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "", f"wsi-idc-{seed[:12]}", "", ""
    image.AccessionNumber = image.StudyID = image.StudyDate = image.StudyTime = image.ReferringPhysicianName = ""
    image.ContainerIdentifier = f"wsi-idc-{seed[:12]}"
    image.IssuerOfTheContainerIdentifierSequence = []
    image.ContainerTypeCodeSequence = [_code("433466003", "SCT", "Microscope slide")]
    image.SpecimenDescriptionSequence = [_specimen(f"wsi-idc-{seed[:12]}", _uid(seed, "specimen"))]
    image.Rows, image.Columns = int(known.get("Rows") or _FRAME_PX), int(known.get("Columns") or _FRAME_PX)
    image.TotalPixelMatrixColumns, image.TotalPixelMatrixRows = source.size_px
    image.DimensionOrganizationType = "TILED_FULL"
    across, down = -(-source.size_px[0] // image.Columns), -(-source.size_px[1] // image.Rows)
    image.NumberOfFrames = across * down
    image.LossyImageCompression = str(known.get("LossyImageCompression") or "00")
    if image.LossyImageCompression == "01":
        image.LossyImageCompressionRatio = known.get("LossyImageCompressionRatio") or 1
        image.LossyImageCompressionMethod = known.get("LossyImageCompressionMethod") or "ISO_10918_1"
    image.ImageOrientationSlide = list(orientation)
    image.TotalPixelMatrixOriginSequence = [_offsets(origin)]
    image.SharedFunctionalGroupsSequence = [_shared(spacing, thickness)]
    if keeps_patient:
        for name in (name for name in _PATIENT if name in known):
            setattr(image, name, known.get(name))
    return SlideReference(
        image,
        seed,
        (origin[0], origin[1], origin[2]),
        orientation,
        (spacing[0], spacing[1]),
        thickness,
        keeps_patient,
        own_study=original is not None and not keeps_patient,
        study_of_slide=study_of_slide,
    )


def find_instance(source: SlideFacts) -> Dataset | None:
    """The file of a DICOM slide's finest level, without its pixels; None of any other slide."""
    path = Path(source.path)
    if source.kind == "idc" or not path.is_file() or not has_dicom_magic(path):
        return None
    with without_warnings():
        series = pydicom.dcmread(path, stop_before_pixels=True, force=True).get("SeriesInstanceUID")
        for found in _beside(path):
            size = found.get("TotalPixelMatrixColumns"), found.get("TotalPixelMatrixRows")
            flavour = list(found.get("ImageType") or [])[2:3]
            if found.get("SeriesInstanceUID") == series and flavour == ["VOLUME"] and size == source.size_px:
                return found
    warnings.warn(
        f"{path} is DICOM, but none of the files beside it is its finest level: the DICOM files that are made do not "
        "refer to it.",
        stacklevel=2,
    )
    return None


def _beside(path: Path) -> Iterator[Dataset]:
    """The slide's own file, and all other DICOM files in its folder."""
    for file in (path, *sorted(other for other in path.parent.iterdir() if other != path)):
        with suppress(OSError, InvalidDicomError):
            if file.is_file() and has_dicom_magic(file):
                yield pydicom.dcmread(file, stop_before_pixels=True)


def _measures(known: Dataset) -> Dataset:
    """The pixel measures of a slide; none where they are not told for all frames at once."""
    shared = next(iter(known.get("SharedFunctionalGroupsSequence") or [Dataset()]))
    measures: Dataset = next(iter(shared.get("PixelMeasuresSequence") or [Dataset()]))
    return measures


def _shared(spacing: tuple[float, ...], thickness: float) -> Dataset:
    measures = Dataset()
    measures.PixelSpacing = [_decimal(side) for side in spacing]
    measures.SliceThickness = _decimal(thickness)
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    return shared


def _offsets(origin: tuple[float, ...]) -> Dataset:
    item = Dataset()
    for axis, offset in zip("XYZ", origin, strict=True):
        setattr(item, f"{axis}OffsetInSlideCoordinateSystem", _decimal(offset))
    return item


def _specimen(identifier: str, uid: UID) -> Dataset:
    item = Dataset()
    item.SpecimenIdentifier, item.SpecimenUID = identifier, uid
    item.IssuerOfTheSpecimenIdentifierSequence = []
    item.SpecimenPreparationSequence = []
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _decimal(value: float) -> str:
    """A number in the sixteen characters that a decimal string may take."""
    return f"{value:.10g}"[:16]


def _uid(seed: str, of: str) -> UID:
    return UID(f"2.25.{uuid5(NAMESPACE_OID, f'wsi-idc/{seed}/{of}').int}")
