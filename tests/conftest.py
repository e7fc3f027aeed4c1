"""What all tests share: small patch sets made on the spot, and the command line as a user runs it."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings
from imagecodecs import png_encode
from numpy.typing import NDArray

import wsi_idc
from wsi_idc.naming import PatchName

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once where Python is told to keep no bytecode, not in each of hundreds of processes."""
    if sys.dont_write_bytecode and not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(wsi_idc.__file__).parent, quiet=2)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where tests run in several processes, start with the files that have slow ones, so that none is left at last."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def session_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of all tests, in whichever process they run."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if hasattr(request.config, "workerinput") else base) / "cache"


@pytest.fixture(scope="session")
def demo(session_cache: Path) -> Path:
    """The demo phantom, painted once; where it lies, the word `demo` finds it."""
    from wsi_idc.datasets.opening import demo_data

    session_cache.mkdir(exist_ok=True)
    with FileLock(session_cache / "demo.lock"), pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(session_cache))
        return demo_data()


@pytest.fixture(autouse=True)
def _away_from_home(
    session_cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test finds the user's data or model, or writes into the working folder."""
    for name in ("WSI_IDC_DATA", "WSI_IDC_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(session_cache))
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command in this process."""
    from wsi_idc.cli import main

    def call(*args: object) -> Ran:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return Ran(code, out, " ".join(err.split()))

    return call


@pytest.fixture
def run_apart() -> Callable[..., Ran]:
    """Run ``python -m wsi_idc`` in a process of its own."""

    def call(*args: object, **environ: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "wsi_idc", *map(str, args)],
            capture_output=True,
            text=True,
            env=os.environ | environ,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return call


def tissue_like(seed: int, height: int = 50, width: int = 50) -> NDArray[np.uint8]:
    """Pink noise, not tissue: enough where only the way of the pixels counts."""
    rng = np.random.default_rng(seed)
    return (rng.normal((205, 150, 190), 25, (height, width, 3))).clip(0, 255).astype(np.uint8)


def write_patch(root: Path, name: PatchName, pixels: NDArray[np.uint8], label_folder: int | None = None) -> Path:
    """Write one patch where Kaggle's archive has it."""
    label = name.label if label_folder is None else label_folder
    folder = root / name.case if label is None else root / name.case / str(label)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / str(name)
    path.write_bytes(png_encode(pixels))
    return path


def make_patch_set(root: Path, cases: tuple[str, ...] = ("8863", "9022"), columns: int = 4, rows: int = 3) -> Path:
    """Write cases of columns x rows patches; the last row and column are cut by the slide's edge, as in real cases.

    Each patch begins with a strip of glass, of which the model wants to know the light.
    """
    for case in cases:
        for row in range(rows):
            for column in range(columns):
                name = PatchName(case, column * 50 + 1, row * 50 + 1, int((row + column) % 3 == 0))
                height = 42 if row == rows - 1 else 50
                width = 38 if column == columns - 1 else 50
                pixels = tissue_like(int(case) + 100 * row + column, height, width)
                pixels[:6] = 244
                write_patch(root, name, pixels)
    return root


def zip_folder(root: Path, path: Path, prefixes: tuple[str, ...] = ("",)) -> Path:
    """Zip a folder, its files once under each of the prefixes."""
    with zipfile.ZipFile(path, "w") as archive:
        for prefix in prefixes:
            for file in sorted(root.rglob("*")):
                if file.is_file():
                    archive.write(file, prefix + file.relative_to(root).as_posix())
    return path


@pytest.fixture
def patch_set(tmp_path: Path) -> Iterator[Path]:
    """Two cases, 8863 and 9022, of twelve patches each."""
    yield make_patch_set(tmp_path / "idc")
