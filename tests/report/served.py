"""A results folder with a raw slide, and a server over it as a browser meets it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from tests.plotting.conftest import MadeSource
from tests.plotting.results import add_slide
from wsi_idc.export.ome_tiff import write_tiff
from wsi_idc.report.live import LiveResults
from wsi_idc.report.server import make_app, serving
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import Patch, Patches

SLIDE, TOKEN = "a/b.tif", "the-key-to-all-of-it"
SIZE_PX, MPP, PATCH_PX = (3_000, 2_300), 1.0, 400


def pixels_of_slide() -> NDArray[np.uint8]:
    """Tissue-like colours that change slowly, with a line of one pixel every 64."""
    width, height = SIZE_PX
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([180 + 40 * np.sin(x / 97), 130 + 40 * np.sin(y / 131), np.full(x.shape, 190)], axis=-1)
    pixels[(x % 64 == 0) | (y % 64 == 0)] = (60, 20, 90)
    return pixels.astype(np.uint8)


def write_slide(path: Path) -> Path:
    """Write that slide as a pyramidal TIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tiff(path, da.from_array(pixels_of_slide(), chunks=(512, 512, 3)), (MPP, MPP))
    return path


def add_raw_slide(out: Path, path: Path, name: str = SLIDE, labels: bool = True, seed: int = 0) -> Scores:
    """Write the results of a slide of which every tile is scored."""
    width, height = SIZE_PX
    patches = [
        Patch(x, y, min(PATCH_PX, width - x), min(PATCH_PX, height - y), int(x > y) if labels else None)
        for y in range(0, height, PATCH_PX)
        for x in range(0, width, PATCH_PX)
    ]
    colours = np.full((len(patches), 3), 200, dtype=np.uint8)
    source = MadeSource(
        Patches.of(patches), SIZE_PX, colours, kind="slide", path=str(path), mpp=(MPP, MPP), mpp_source="file"
    )
    return add_slide(out, source, name, draw=False, seed=seed)


@dataclass(frozen=True)
class Answer:
    """What a server answers."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Asks as a program does that may send whatever it likes."""

    address: str
    cookie: str = ""

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        """Headers are named with underscores; one that is empty is left out."""
        at = urlsplit(self.address)
        connection = http.client.HTTPConnection(at.hostname or "", at.port or 0, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"Host": at.netloc, "Cookie": self.cookie} | named
        if body is not None:
            given = {"Content-Type": "application/json"} | given
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            connection.putrequest(method, path, skip_host=True)
            for name, value in given.items():
                if value:
                    connection.putheader(name, value)
            if content is not None:
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def enter(self, token: str = TOKEN) -> Answer:
        """Open the address with the key, and keep the cookie."""
        answer = self.ask(f"/?token={token}")
        self.cookie = answer.headers.get("set-cookie", "").split(";")[0]
        return answer


@contextmanager
def served(out: Path, once: str = "") -> Iterator[Client]:
    """Serve a results folder; the client does not have the cookie yet."""
    with serving(make_app(LiveResults(out), TOKEN, once)) as (address, _):
        yield Client(address)
