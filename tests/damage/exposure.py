"""All commands over files that tell of people, in a process that is watched: what they write, say and ask for.

The slides are a phantom's. What tells of somebody are words that nothing else holds, and a colour that no tissue has.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from gzip import decompress
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import Ran, make_patch_set
from tests.damage import good
from tests.damage.dicom import PERSONAL, dicom_slide

BORN = "19430217"

PLANTED = {
    **{name: f"Qz{name}xq" if field.kind != "CS" else "QZSEXXQ" for name, field in PERSONAL.items()},
    "PatientName": "Qzfamilyxq^Qzgivenxq",
    "PatientBirthDate": BORN,
    "PatientComments": "Qzm\N{LATIN SMALL LETTER U WITH DIAERESIS}nsterxq",
    "SpecimenIdentifier": "Qzspecimenxq",
}
"""Value of each DICOM field that tells of somebody."""

IN_WORDS = {
    "description": ["Qzuserxq", "Qztitlexq", "Qzfilenamexq", "Qzbarcodexq", "Qzlabelxq", "Qzmacroxq", "Qzphantomxq"],
    "OME-XML": ["Qzimagexq", "Qzexperimenterxq", "Qzemailxq", "Qzannotationxq"],
}
"""Words in the texts of the TIFFs."""

PHOTOGRAPH = (0, 255, 0)
"""Colour of the label and of the photograph of the whole glass."""

HOSTILE = "<!--<script>document.title='taken'<", "script>\"'& &lt;i&gt; x.svs"
"""A folder and a file in it, which together close a script."""

_GUARD = """
import os, sys

def watch(event, args):
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = args[0]
    else:
        return
    if host in (None, "", "localhost", "::1", b"localhost") or str(host).startswith("127."):
        return
    with open(os.environ["WSI_IDC_TEST_NETWORK"], "a") as file:
        file.write(f"{event} {host!r} by {sys.argv!r}\\n")
    raise OSError("there is no network in this test")

sys.addaudithook(watch)
"""
"""Python reads it at its start, in every process that is started with the same environment."""

_DRIVER = '''
import _thread, json, os, re, sys, threading, time, urllib.request
from wsi_idc.cli import main

def look(said):
    """Look at what `view` serves, then press Ctrl-C."""
    address = None
    while address is None:
        time.sleep(0.1)
        address = re.search(r"http://\\S+", open(said).read())
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
        with opener.open(address[0]) as page, open("said/page.html", "wb") as file:
            file.write(page.read())
        with opener.open(address[0].split("?")[0] + "a.svs/slide.json") as info, open("said/slide.json", "wb") as file:
            file.write(info.read())
    finally:
        _thread.interrupt_main()

def run(i, args):
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        stream.flush()
        file = os.open(f"said/{i}.{name}", os.O_CREAT | os.O_WRONLY)
        os.dup2(file, stream.fileno())
        os.close(file)
    if args[0] == "view":
        threading.Thread(target=look, args=[f"said/{i}.out"], daemon=True).start()
    return main(args)

if __name__ == "__main__":
    with open(sys.argv[1]) as commands:
        codes = [run(i, args) for i, args in enumerate(json.load(commands))]
    with open("said/codes.json", "w") as file:
        json.dump(codes, file)
'''
"""Commands one after the other, with what each says in files of its own, libraries in C included."""


@dataclass(frozen=True)
class Exposure:
    """What came of the commands.

    Attributes
    ----------
    root : Path
        Of everything that was written, but what was put there before.
    ran : dict of str to Ran
        By the words of the command.
    network : list of str
        What was asked of the network, beyond this machine.
    traced : bool
        Whether calls of libraries in C were watched, too.
    """

    root: Path
    ran: dict[str, Ran]
    network: list[str]
    traced: bool


def make_inputs(folder: Path) -> None:
    """Slides that tell of people, some of them damaged, and a set of patches without any."""
    slides = folder / "slides"
    dicom = dicom_slide(good.pixels(), PLANTED)
    photograph = np.full((200, 200, 3), PHOTOGRAPH, dtype=np.uint8)
    files = {
        "dicom/a.dcm": dicom,
        "dicom/label.dcm": dicom_slide(photograph, PLANTED, flavour="LABEL", mpp=None),
        "scale/a.dcm": dicom_slide(good.pixels(), PLANTED, mpp=None),
        "cut/a.dcm": dicom[: dicom.index(b"Qzfamily") + 4],
        "half/a.dcm": dicom[: len(dicom) // 2],
        "a.svs": aperio_slide(),
        "a.ome.tif": ome_slide(),
        "broken.ome.tif": ome_slide().replace(b"</Pixels>", b"<Qzimagexq", 1),
        "phantom.tif": phantom_slide(),
        "/".join(HOSTILE): aperio_slide(),
    }
    for name, content in files.items():
        path = slides / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    make_patch_set(folder / "idc", tuple(str(8863 + i) for i in range(10)), columns=2, rows=2)


def aperio_slide() -> bytes:
    """An SVS with label and macro, and a description that tells of somebody."""
    user, title, name, barcode, label, macro, _ = IN_WORDS["description"]
    told = f"{good.APERIO}|User = {user}|Title = {title}|Filename = {name}|Barcode = {barcode}|Date = 02/17/43"
    photograph = np.full((160, 240, 3), PHOTOGRAPH, dtype=np.uint8)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tiff:
        plain = {"photometric": "rgb", "metadata": None}
        tiff.write(good.pixels(), tile=(400, 400), compression="jpeg", description=told, **plain)
        tiff.write(good.pixels()[::4, ::4], description=f"{good.APERIO}|{user}", **plain)
        for kind, word, subfile in (("label", label, 1), ("macro", macro, 9)):
            text = f"Aperio Image Library v11.2.1\r\n{kind} 240x160|{word}"
            tiff.write(photograph, description=text, subfiletype=subfile, **plain)
    return file.getvalue()


def ome_slide() -> bytes:
    """An OME-TIFF whose XML tells of somebody."""
    image, experimenter, email, annotation = IN_WORDS["OME-XML"]
    scale = {f"PhysicalSize{axis}": good.MPP for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    about = {"axes": "YXS", **scale, "Name": image, "Description": f"{experimenter} {email} {annotation}"}
    file = io.BytesIO()
    with tifffile.TiffWriter(file, ome=True) as tiff:
        tiff.write(good.pixels(), tile=(400, 400), photometric="rgb", compression="deflate", metadata=about)
    return file.getvalue()


def phantom_slide() -> bytes:
    """A TIFF that is known by its description, which goes on with other words."""
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        good.pixels(),
        tile=(400, 400),
        photometric="rgb",
        compression="deflate",
        resolution=(1e4, 1e4),
        resolutionunit="CENTIMETER",
        description=f"wsi-idc phantom case 90001 {IN_WORDS['description'][-1]}",
        metadata=None,
    )
    return file.getvalue()


DICOM, SVS = "slides/dicom/a.dcm", "slides/a.svs"

COMMANDS = [
    "info --data idc",
    "info",
    f"score slide {DICOM} {SVS} --layout wsinfer --out score --batch-size 16",
    "score all --slides slides --out score-all --batch-size 16",
    f"heatmap slide {DICOM} --ome tiff --ome zarr --geojson contours --out heatmap --batch-size 16",
    "heatmap all --slides slides --geojson tiles.gz --dpi 72 --out all --batch-size 16",
    f"mosaic slide {DICOM} --format ome-zarr --out mosaic",
    f"mosaic slide {DICOM} --format ome-tiff --out mosaic",
    f"mosaic slide {SVS} --out mosaic",
    f"tile {DICOM} tiles.zip",
    f"tile {SVS} tiles.zarr",
    "tile slides/scale/a.dcm tiles",
    "report all",
    "report all --single-file dicom/a.dcm --single-file a.svs",
    "view all --no-browser",
    "review all",
    "compare all score-all --out compare",
    "export all --to parquet",
    "export all --to anndata",
    "doctor --data idc --out all",
    f"score slide {DICOM} --dicom --out score",
    "ingest idc idc.zarr",
    "mosaic patient 8863 --data idc.zarr --out mosaic",
    "train --data idc.zarr --epochs 1 --out model",
    "evaluate --data idc.zarr --model model/cancernet.keras --out evaluate",
    "model check model/cancernet.keras",
    "model export --out model/cancernet.onnx",
    "phantom phantom --cases 1 --format zip",
    "score patient 1 --data idc",
    "score patient 8863",
    "no-such-command",
]
"""All there are but ``download``, and what is said where something is wrong."""


def expose(root: Path) -> Exposure:
    """Run everything in a folder, which holds nothing yet."""
    make_inputs(root)
    guard, log, trace = root / "guard", root / "network.txt", root / "trace.txt"
    for folder in (guard, root / "said"):
        folder.mkdir()
    (guard / "sitecustomize.py").write_text(_GUARD)
    (root / "driver.py").write_text(_DRIVER)
    (root / "commands.json").write_text(json.dumps([command.split() for command in COMMANDS]))
    log.touch()
    before = {path.relative_to(root) for path in root.rglob("*")}
    environ = {name: value for name, value in os.environ.items() if name not in _WHERE_NOTHING_IS_TOLD}
    paths = [str(guard), str(Path(__file__).parents[2]), environ.get("PYTHONPATH", "")]
    environ |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "WSI_IDC_TEST_NETWORK": str(log)}
    environ |= {"XDG_CACHE_HOME": str(root / "cache")}
    tracer = _tracer(trace)
    python = [sys.executable, str(root / "driver.py"), str(root / "commands.json")]
    done = subprocess.run(
        [*tracer, *python], cwd=root, env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr + (root / "said").joinpath("0.err").read_text()
    codes = json.loads((root / "said" / "codes.json").read_text())
    ran = {
        command: Ran(code, *((root / "said" / f"{i}.{stream}").read_text() for stream in ("out", "err")))
        for i, (command, code) in enumerate(zip(COMMANDS, codes, strict=True))
    }
    asked = [*log.read_text().splitlines(), *(_reaches_out(trace) if tracer else ())]
    for path in before:
        if (root / path).is_file():
            (root / path).unlink()
    trace.unlink(missing_ok=True)
    return Exposure(root, ran, asked, bool(tracer))


_WHERE_NOTHING_IS_TOLD = ("CI", "TF_BUILD", "JENKINS_URL")
"""Some programs do not report their use where these are set."""


def _tracer(log: Path) -> list[str]:
    """The words before a command that watch its calls of the system; none where that is not allowed."""
    words = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(log)]
    if shutil.which("strace") is None or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        return []
    return words


def _reaches_out(trace: Path) -> Iterator[str]:
    """The calls that name an address of another machine."""
    for line in trace.read_text(errors="replace").splitlines():
        for address in re.findall(r'(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)', line):
            if not address.startswith("127.") and address != "::1":
                yield line


def files_of(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, and what is packed in it, by a name that tells where."""
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        content, name = path.read_bytes(), str(path.relative_to(root))
        yield name, name.encode() + b"\n" + content
        yield from _packed_in(name, content)


def _packed_in(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    if name.endswith(".gz"):
        yield f"{name} unpacked", decompress(content)
    elif content.startswith(b"\x89PNG"):
        for kind, data in _chunks(content):
            if kind in (b"zTXt", b"iTXt", b"iCCP"):
                yield f"{name} {kind!r}", _inflated(data)
    elif content.startswith(b"PK\3\4"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield f"{name}/{member}", member.encode() + archive.read(member)
    elif name.endswith((".html", ".js")):
        for i, data in enumerate(re.findall(rb"base64,([A-Za-z0-9+/=]+)", content)):
            yield f"{name} image {i}", base64.b64decode(data)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12


def _inflated(data: bytes) -> bytes:
    """A chunk and, from wherever it begins in it, what is compressed there."""
    for at in range(len(data)):
        try:
            return data + zlib.decompress(data[at:])
        except zlib.error:
            continue
    return data


def forms_of(word: str) -> Iterator[bytes]:
    """How a word may be written: in small letters, as `spelled_small` makes a file's bytes."""
    for encoding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
        yield word.lower().encode(encoding)
    for shift in range(3):
        # Only what depends on no neighbour: 6 bits a sign.
        whole = base64.b64encode(b" " * shift + word.encode() + b" " * 3).lower()
        yield whole[-(-shift * 8 // 6) : (shift + len(word.encode())) * 8 // 6]


def dates_of(day: str) -> Iterator[bytes]:
    """How a day may be written, given as ``19430217``."""
    y, m, d = day[:4], day[4:6], day[6:]
    for text in (day, f"{y}-{m}-{d}", f"{d}.{m}.{y}", f"{m}/{d}/{y}", f"{d}/{m}/{y}", f"{m}/{d}/{y[2:]}"):
        yield text.encode()


def pictures_of(root: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Every picture that was written, as RGB."""
    for name, content in files_of(root):
        start = content[: len(name) + 24]
        if b"\x89PNG" in start or b"WEBP" in start:
            with Image.open(io.BytesIO(content[max(0, content.find(b"\x89PNG"), content.find(b"RIFF")) :])) as image:
                yield name, np.asarray(image.convert("RGB"))
    for path in (path for path in root.rglob("*.ome.tif") if path.is_file()):
        pixels = tifffile.imread(path)
        if pixels.dtype == np.uint8:
            yield str(path.relative_to(root)), pixels if pixels.shape[-1] == 3 else np.moveaxis(pixels, 0, -1)
