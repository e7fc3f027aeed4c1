"""Files of annotations made on the spot, as QuPath, ASAP and ImageScope write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Corners = Sequence[Sequence[float]]

SQUARE: Corners = [[10, 20], [110, 20], [110, 120], [10, 120], [10, 20]]


def box(left: float, top: float, right: float, bottom: float) -> Corners:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def polygon(*rings: object) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry: object, **properties: object) -> dict[str, object]:
    return {
        "type": "Feature",
        "id": "f1",
        "geometry": geometry,
        "properties": {"objectType": "annotation"} | properties,
    }


def named(name: str, corners: Corners = SQUARE, **properties: object) -> dict[str, object]:
    return feature(polygon(corners), classification={"name": name, "color": [200, 0, 0]}, **properties)


def collection(*features: object) -> dict[str, object]:
    return {"type": "FeatureCollection", "features": list(features)}


def write(path: Path, document: object) -> Path:
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return path


def asap(*annotations: tuple[str, str, Corners]) -> bytes:
    """Annotations of a type and a group, closed by ASAP itself."""
    inner = "".join(
        f'<Annotation Name="Annotation {i}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58"><Coordinates>'
        + "".join(f'<Coordinate Order="{k}" X="{x}" Y="{y}" />' for k, (x, y) in enumerate(corners))
        + "</Coordinates></Annotation>"
        for i, (kind, group, corners) in enumerate(annotations)
    )
    groups = '<AnnotationGroups><Group Name="Tumor" PartOfGroup="None" Color="#64FE2E"><Attributes /></Group>'
    return (
        f'<?xml version="1.0"?>\n<ASAP_Annotations>\n<Annotations>{inner}</Annotations>{groups}</AnnotationGroups>'
        "</ASAP_Annotations>\n"
    ).encode()


def region(corners: Corners, *, kind: int = 0, negative: int = 0, text: str = "") -> str:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in corners)
    return (
        f'<Region Id="1" Type="{kind}" Zoom="0.5" Text="{text}" NegativeROA="{negative}" InputRegionId="0">'
        f'<Attributes/><Vertices>{vertices}</Vertices></Region>'
    )  # fmt: skip


def imagescope(*layers: tuple[str, Iterable[str]], description: str = "") -> bytes:
    inner = "".join(
        f'<Annotation Id="{i}" Name="{name}" ReadOnly="0" LineColor="65280" Type="4"><Attributes>'
        f'<Attribute Name="Description" Id="0" Value="{description}"/></Attributes><Regions><RegionAttributeHeaders>'
        f'<AttributeHeader Id="9999" Name="Region" ColumnWidth="-1"/></RegionAttributeHeaders>{"".join(regions)}'
        "</Regions><Plots/></Annotation>"
        for i, (name, regions) in enumerate(layers, 1)
    )
    return f'<Annotations MicronsPerPixel="0.252">{inner}</Annotations>'.encode()


def boxes_of(*edges: tuple[int, int, int, int]) -> NDArray[np.int64]:
    """Left, top, right and bottom to x, y, width and height."""
    table = np.array(edges)
    return np.column_stack([table[:, :2], table[:, 2:] - table[:, :2]])
