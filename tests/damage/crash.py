"""Commands as processes that are killed, interrupted or short of room, and what must hold of their files after it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import tifffile
import zarr
from PIL import Image

from wsi_idc.scoring.origins import ORIGINS_FILE

PATIENCE_S = 240
"""Nothing takes so long; it ends what hangs."""

TIMES = ("command", "started", "finished", "seconds", "sha256")
"""What two runs may tell differently; a model's file holds when it was saved, and with it its hash."""


def start(*args: object) -> subprocess.Popen[str]:
    """A command in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "wsi_idc", *map(str, args)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background has it ignored, which is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def there(folder: Path, pattern: str, count: int = 1) -> Callable[[], bool]:
    """Whether so many files of a pattern are there by now."""
    return lambda: len(list(folder.glob(pattern))) >= count


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Look again and again, for as long as the process runs."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert process is None or process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.001)


@contextmanager
def halted_when(condition: Callable[[], bool], *args: object) -> Iterator[None]:
    """Start a command, and halt it in the middle of its work; then kill it, and nothing it started."""
    process = start(*args)
    try:
        wait_until(condition, process)
        process.send_signal(signal.SIGSTOP)
        yield
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    ends_with_all_it_started(process)


def kill_when(condition: Callable[[], bool], *args: object) -> None:
    """Start a command, and kill it, and nothing it started, in the middle of its work."""
    with halted_when(condition, *args):
        pass


def interrupt(process: subprocess.Popen[str], again_after_s: float | None = None) -> float:
    """Ctrl-C as a terminal gives it, to all of the group, once or twice; how long the process goes on after it."""
    os.killpg(process.pid, signal.SIGINT)
    if again_after_s is not None:
        time.sleep(again_after_s)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    process.wait(PATIENCE_S)
    return time.monotonic() - began


def ends_with_all_it_started(process: subprocess.Popen[str]) -> None:
    """No process of its group goes on."""
    wait_until(lambda: not list(_of_group(process.pid)))


def _of_group(group: int) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                yield process
        except ProcessLookupError:
            continue


@contextmanager
def dask_cluster(
    folder: Path, within: tuple[str, ...] = (), **environ: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler and a worker in processes of their own: its address, and the scheduler's process.

    The worker is started by the command `within`, if there is one, and has other variables of its environment.
    """
    address = folder / "scheduler.json"
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    env = os.environ | {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env}
    file = ["--scheduler-file", str(address)]
    scheduler, worker = ([sys.executable, "-m", f"distributed.cli.dask_{name}"] for name in ("scheduler", "worker"))
    servers = [
        subprocess.Popen([*scheduler, *local, "--port", "0", *file], **quiet),
        subprocess.Popen(
            [*within, *worker, *file, "--no-nanny", *local, "--nthreads", "1"], **quiet | {"env": env | environ}
        ),
    ]
    try:
        wait_until(lambda: address.exists() and bool(address.read_text()))
        yield json.loads(address.read_text())["address"], servers[0]
    finally:
        for server in servers:
            server.kill()
            server.wait()


def files(folder: Path) -> dict[str, Path]:
    """All files that have their final names, by their place in the folder."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in found.items() if not any(map(_is_temporary, Path(name).parts))}


def assert_whole(folder: Path) -> None:
    """Every file that has its final name can be read from end to end, and none is a lock that still counts."""
    for name, path in files(folder).items():
        if not any(part.endswith(".zarr") for part in Path(name).parts):
            assert READERS[path.suffix](path), name
    for path in folder.rglob("*.zarr"):
        if not path.name.startswith("."):
            for _, array in zarr.open_group(path, mode="r").members(max_depth=None):
                assert not isinstance(array, zarr.Array) or array[...].size


def content(folder: Path) -> dict[str, object]:
    """What two runs must leave alike: the bytes of each file, or all that it says but for times."""
    return {name: TIMELESS.get(path.name, _digest)(path) for name, path in files(folder).items()}


def leftovers(folder: Path) -> list[str]:
    """What has a name of its own that no user asked for: locks, temporary files."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob(".*") if _is_temporary(path.name))


def _is_temporary(name: str) -> bool:
    return name.startswith(".") and name not in (".zarray", ".zattrs", ".zgroup", ORIGINS_FILE)


def _rows(path: Path) -> list[dict[str, str]]:
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    rows = list(csv.DictReader(text.splitlines(), strict=True))
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


def _pixels(path: Path) -> bool:
    with Image.open(path) as image:
        image.load()
        return image.width > 0


def _zip_is_whole(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return archive.testzip() is None


READERS: dict[str, Callable[[Path], object]] = {
    ".csv": lambda path: _rows(path) or path.name == "scores.csv",
    ".html": lambda path: path.read_text(encoding="utf-8").rstrip().endswith("</html>"),
    ".js": lambda path: path.read_text(encoding="utf-8").rstrip().endswith(");"),
    ".json": lambda path: json.loads(path.read_text()),
    ".geojson": lambda path: json.loads(path.read_text()),
    ".png": _pixels,
    ".tif": lambda path: tifffile.imread(path).size,
    ".keras": _zip_is_whole,
    ".npz": _zip_is_whole,
}
"""How each kind of file is read from end to end."""


def _untimed_json(path: Path) -> object:
    def untimed(value: object) -> object:
        if isinstance(value, dict):
            return {key: untimed(inner) for key, inner in value.items() if key not in TIMES or key == "model"}
        return value

    return untimed(json.loads(path.read_text()))


def _untimed_rows(path: Path) -> object:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in _rows(path)]


def _untimed_page(path: Path) -> object:
    """Without the name of the folder, which two runs do not share, either."""
    name = re.escape(path.parent.name)
    page = path.read_text(encoding="utf-8")
    for own in (
        r'"seconds":[^,}]*',
        r'"finished":"[^"]*"',
        r"results up to [^<]*",
        f">{name} \N{EN DASH}",
        f">{name}</h1>",
    ):
        page = re.sub(own, "", page)
    return _sha256(page.encode())


def _digest(path: Path) -> object:
    return _sha256(path.read_bytes())


def _sha256(data: bytes) -> str:
    """A hash, for what differs is shown, and of large files that takes for ever."""
    return hashlib.sha256(data).hexdigest()


def _weights(path: Path) -> dict[str, str]:
    """The names of layers count the models that a process made before."""
    found: dict[str, str] = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(
            lambda name, value: (
                found.update({name: _sha256(value[()].tobytes())}) if isinstance(value, h5py.Dataset) else None
            )
        )
    return found


def _arrays(path: Path) -> dict[str, str]:
    with np.load(path) as arrays:
        return {name: _sha256(arrays[name].tobytes()) for name in arrays.files}


TIMELESS: dict[str, Callable[[Path], object]] = {
    "run.json": _untimed_json,
    "cancernet.json": _untimed_json,
    "summary.csv": _untimed_rows,
    "history.csv": _untimed_rows,
    "report.html": _untimed_page,
    "cancernet.keras": _weights,
    "checkpoint.npz": _arrays,
}
"""What a file says but for times, of those that tell any."""
