"""A slide as DICOM: as much of the standard as OpenSlide wants, and whatever fields tell of people."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from imagecodecs import jpeg8_encode
from numpy.typing import NDArray

TILE_PX = 200

_WHOLE_SLIDE, _JPEG = "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.1.2.4.50"
_SERIES, _OURS = "1.2.826.0.1.3680043.10.1.1", "1.2.826.0.1.3680043.10.1"
_OF_LONG_LENGTH = {"OB", "SQ", "UN", "UT"}


@dataclass(frozen=True)
class Field:
    """Where a value stands that tells of somebody: its tag, and what kind of value that holds."""

    tag: int
    kind: str


PERSONAL = {
    "AccessionNumber": Field(0x00080050, "SH"),
    "InstitutionName": Field(0x00080080, "LO"),
    "InstitutionAddress": Field(0x00080081, "ST"),
    "ReferringPhysicianName": Field(0x00080090, "PN"),
    "StationName": Field(0x00081010, "SH"),
    "StudyDescription": Field(0x00081030, "LO"),
    "SeriesDescription": Field(0x0008103E, "LO"),
    "PerformingPhysicianName": Field(0x00081050, "PN"),
    "OperatorsName": Field(0x00081070, "PN"),
    "PatientName": Field(0x00100010, "PN"),
    "PatientID": Field(0x00100020, "LO"),
    "IssuerOfPatientID": Field(0x00100021, "LO"),
    "PatientBirthDate": Field(0x00100030, "DA"),
    "PatientSex": Field(0x00100040, "CS"),
    "OtherPatientIDs": Field(0x00101000, "LO"),
    "OtherPatientNames": Field(0x00101001, "PN"),
    "PatientAddress": Field(0x00101040, "LO"),
    "EthnicGroup": Field(0x00102160, "SH"),
    "PatientComments": Field(0x00104000, "LT"),
    "DeviceSerialNumber": Field(0x00181000, "LO"),
    "StudyID": Field(0x00200010, "SH"),
    "ImageComments": Field(0x00204000, "LT"),
    "RequestingPhysician": Field(0x00321032, "PN"),
    "ContainerIdentifier": Field(0x00400512, "LO"),
    "BarcodeValue": Field(0x22000005, "LT"),
    "LabelText": Field(0x22000002, "UT"),
    "SomethingPrivate": Field(0x00091001, "LO"),
}

_SPECIMEN, _SPECIMEN_IDENTIFIER = 0x00400560, 0x00400551


def dicom_slide(
    pixels: NDArray[np.uint8], personal: Mapping[str, str], *, flavour: str = "VOLUME", mpp: float | None = 1.0
) -> bytes:
    """One instance of a slide.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    personal : mapping of str to str
        Values of `PERSONAL`, in UTF-8; and that of ``SpecimenIdentifier``, which stands in a sequence.
    flavour : str
        VOLUME for the tissue, LABEL for the photograph of the label.
    mpp : float or None
        Scale in µm/px; None to leave it out.
    """
    height, width = pixels.shape[:2]
    frames = list(_frames(pixels))
    instance = f"{_OURS}.{len(flavour)}"
    own: dict[int, tuple[str, bytes]] = {
        0x00080005: ("CS", b"ISO_IR 192"),
        0x00080008: ("CS", f"ORIGINAL\\PRIMARY\\{flavour}\\NONE".encode()),
        0x00080016: ("UI", _WHOLE_SLIDE.encode()),
        0x00080018: ("UI", instance.encode()),
        0x00080060: ("CS", b"SM"),
        0x00090010: ("LO", b"SOMEBODY"),
        0x0020000D: ("UI", f"{_OURS}.2".encode()),
        0x0020000E: ("UI", _SERIES.encode()),
        0x00209311: ("CS", b"TILED_FULL"),
        0x00280002: ("US", struct.pack("<H", 3)),
        0x00280004: ("CS", b"YBR_FULL_422"),
        0x00280006: ("US", struct.pack("<H", 0)),
        0x00280008: ("IS", str(len(frames)).encode()),
        0x00280010: ("US", struct.pack("<H", TILE_PX)),
        0x00280011: ("US", struct.pack("<H", TILE_PX)),
        0x00280100: ("US", struct.pack("<H", 8)),
        0x00280101: ("US", struct.pack("<H", 8)),
        0x00280102: ("US", struct.pack("<H", 7)),
        0x00280103: ("US", struct.pack("<H", 0)),
        0x00480006: ("UL", struct.pack("<I", width)),
        0x00480007: ("UL", struct.pack("<I", height)),
    }
    told = dict(personal)
    if "SpecimenIdentifier" in told:
        identifier = _element(_SPECIMEN_IDENTIFIER, "LO", told.pop("SpecimenIdentifier").encode())
        own[_SPECIMEN] = ("SQ", _item(identifier))
    if mpp is not None:
        spacing = _element(0x00280030, "DS", f"{mpp / 1000}\\{mpp / 1000}".encode())
        own[0x52009229] = ("SQ", _item(_element(0x00289110, "SQ", _item(spacing))))
    own |= {PERSONAL[name].tag: (PERSONAL[name].kind, value.encode()) for name, value in told.items()}
    body = b"".join(_element(tag, *own[tag]) for tag in sorted(own))
    return bytes(128) + b"DICM" + _meta(instance) + body + _pixel_data(frames)


def _frames(pixels: NDArray[np.uint8]) -> Iterable[bytes]:
    """JPEG tiles in row-major order, those at the edge filled up with white."""
    height, width = pixels.shape[:2]
    for top in range(0, height, TILE_PX):
        for left in range(0, width, TILE_PX):
            part = pixels[top : top + TILE_PX, left : left + TILE_PX]
            tile = np.full((TILE_PX, TILE_PX, 3), 255, dtype=np.uint8)
            tile[: part.shape[0], : part.shape[1]] = part
            yield bytes(jpeg8_encode(tile, level=90))


def _meta(instance: str) -> bytes:
    elements = (
        _element(0x00020001, "OB", b"\0\1")
        + _element(0x00020002, "UI", _WHOLE_SLIDE.encode())
        + _element(0x00020003, "UI", instance.encode())
        + _element(0x00020010, "UI", _JPEG.encode())
        + _element(0x00020012, "UI", _OURS.encode())
    )
    return _element(0x00020000, "UL", struct.pack("<I", len(elements))) + elements


def _element(tag: int, kind: str, value: bytes) -> bytes:
    """Explicit type, little endian, filled up to an even length."""
    value += (b"\0" if kind in ("UI", "OB") else b" ") * (len(value) % 2)
    length = struct.pack("<2xI" if kind in _OF_LONG_LENGTH else "<H", len(value))
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind.encode() + length + value


def _item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _pixel_data(frames: Iterable[bytes]) -> bytes:
    """Encapsulated frames after an empty table of offsets."""
    items = b"".join(_item(frame + b"\0" * (len(frame) % 2)) for frame in frames)
    head = struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"OB", 0xFFFFFFFF)
    return head + _item(b"") + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
