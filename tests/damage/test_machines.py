"""Settings and limits of a user's machine that must change nothing, or are answered with one sentence."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conftest import Ran, make_patch_set

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems lack what is set here")

RunApart = Callable[..., Ran]

PYTHON = (sys.executable, "-m", "wsi_idc")


def sh(script: str, *args: object, within: tuple[str, ...] = (), timeout: float = 240, **environ: str) -> Ran:
    """Run a script of the shell, in which ``"$@"`` are a command of wsi-idc with its arguments."""
    done = subprocess.run(
        [*within, "bash", "-c", script, "bash", *PYTHON, *map(str, args)],
        capture_output=True,
        text=True,
        errors="replace",
        env=os.environ | environ,
        timeout=timeout,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("settings", ["text.usetex: True", "axes.grid: True\nfont.size: 30\naxes.facecolor: red"])
def test_pictures_do_not_follow_the_users_matplotlibrc(
    run_apart: RunApart, patch_set: Path, tmp_path: Path, settings: str
) -> None:
    (tmp_path / "matplotlibrc").write_text(settings)
    args = ("heatmap", "patient", "8863", "--data", patch_set, "--pdf")
    plain = run_apart(*args, "--out", tmp_path / "plain")
    own = run_apart(*args, "--out", tmp_path / "own", MATPLOTLIBRC=str(tmp_path / "matplotlibrc"))
    assert (plain.code, own.code) == (0, 0), own.err
    for name in ("confusion.png", "heatmap.png", "heatmap.pdf"):
        assert (tmp_path / "own/8863" / name).read_bytes() == (tmp_path / "plain/8863" / name).read_bytes()


def test_a_backend_of_matplotlib_that_is_none(run_apart: RunApart, patch_set: Path, tmp_path: Path) -> None:
    args = ("heatmap", "patient", "8863", "--data", patch_set, "--out", tmp_path)
    ran = run_apart(*args, "--quiet", MPLBACKEND="none of these", MPLCONFIGDIR=str(tmp_path / "new"))
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("content", ['{"image_data_format": "channels_first", "floatx": "float16"}', "{"])
def test_training_does_not_follow_an_old_keras_json(
    run_apart: RunApart, patch_set: Path, tmp_path: Path, content: str
) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text(content)
    args = ("train", "--data", patch_set, "--split", "patch", "--epochs", 1, "--batch-size", 8)
    ran = run_apart(*args, "--out", tmp_path / "out", HOME=str(tmp_path), KERAS_HOME=str(tmp_path / ".keras"))
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'out/cancernet.keras'}\n"), ran.err


@pytest.mark.parametrize(
    ("backend", "said"),
    [("theano", "KERAS_BACKEND=theano cannot run the model: set it to tensorflow, jax, torch, or unset it.")],
)
def test_a_backend_of_keras_that_is_none(
    run_apart: RunApart, patch_set: Path, tmp_path: Path, backend: str, said: str
) -> None:
    ran = run_apart("score", "patient", "8863", "--data", patch_set, "--out", tmp_path, KERAS_BACKEND=backend)
    assert (ran.code, ran.out, ran.err) == (2, "", f"Error: {said}\n")


@pytest.mark.parametrize("encoding", ["cp932", "ascii", "gbk"])
def test_help_where_letters_are_missing(run_apart: RunApart, encoding: str) -> None:
    ran = sh('"$@"', "mosaic", "slide", "--help", PYTHONIOENCODING=encoding)
    assert ran.code == 0, ran.err
    assert "--mpp" in ran.out


@pytest.mark.parametrize("closing", ["2>&-", ">&-", "<&- >&- 2>&-", "| true"])
def test_streams_that_are_closed(patch_set: Path, tmp_path: Path, closing: str) -> None:
    sh(f'"$@" {closing}', "score", "patient", "8863", "9022", "--data", patch_set, "--out", tmp_path)
    for case in ("8863", "9022"):
        assert (tmp_path / case / "run.json").is_file()


def test_stdout_on_a_full_disk(patch_set: Path, tmp_path: Path) -> None:
    ran = sh('"$@" > /dev/full', "score", "patient", "8863", "--data", patch_set, "--out", tmp_path)
    assert ran.code == 1
    assert "what is printed could not be written" in ran.err
    assert (tmp_path / "8863/run.json").is_file()


def _within(*mounts: str) -> tuple[str, ...]:
    """A program to run others with, which see these file systems."""
    words = ("unshare", "--mount", "sh", "-c", f'{" && ".join(mounts)} && exec "$@"', "sh")
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    return words


@pytest.mark.parametrize("options", ["ro", "size=64k"])
def test_no_room_in_shared_memory(patch_set: Path, tmp_path: Path, options: str) -> None:
    within = _within(f"mount -t tmpfs -o {options} none /dev/shm")
    fill = "head -c 65536 /dev/zero > /dev/shm/full 2>/dev/null; " if options != "ro" else ""
    ran = sh(f'{fill}"$@"', "heatmap", "all", "--data", patch_set, "--out", tmp_path, within=within)
    assert ran.code == 0, ran.err
    assert (tmp_path / "8863/heatmap.png").is_file()


def test_no_room_for_temporary_files(patch_set: Path, tmp_path: Path) -> None:
    """The network is translated into a cache that is new, by way of the temporary folder."""
    (tmp_path / "small").mkdir()
    within = _within(f"mount -t tmpfs -o size=64k none {tmp_path / 'small'}")
    args = ("score", "patient", "8863", "--data", patch_set, "--out", tmp_path / "out")
    ran = sh('"$@"', *args, within=within, TMPDIR=str(tmp_path / "small"), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert (ran.code == 0 and (tmp_path / "out/8863/run.json").is_file()) or (
        ran.code == 2 and ran.err.count("\n") == 1 and ran.err.startswith("Error: ")
    ), ran.err


@pytest.mark.parametrize("address", ["tls://127.0.0.1:9", "tcp://127.0.0.1:9", "nonsense://x"])
def test_a_scheduler_that_cannot_be_reached(run_apart: RunApart, patch_set: Path, tmp_path: Path, address: str) -> None:
    ran = run_apart("score", "all", "--data", patch_set, "--out", tmp_path, "--scheduler", address)
    assert ran.code == 2
    assert ran.err.startswith(f"Error: No dask scheduler answers at {address}") and ran.err.count("\n") == 1


@pytest.mark.parametrize("most", [8, 12, 20])
def test_no_further_process_or_thread(most: int) -> None:
    """The limit counts for users who are not root: one without the right to pass it, who may read what root may."""
    kept = "-all,+dac_override,+dac_read_search"
    words = ("setpriv", "--reuid", "4242", "--clear-groups", "--inh-caps", kept, "--ambient-caps", kept)
    if shutil.which("setpriv") is None or subprocess.run([*words, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no other user can be")
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        make_patch_set(Path(folder) / "idc")
        args = ("score", "all", "--data", Path(folder) / "idc", "--out", Path(folder) / "out")
        ran = sh(f'ulimit -u {most} && "$@"', *args, within=words, HOME=folder, XDG_CACHE_HOME=folder)
    assert ran.code == 2
    assert ran.err.endswith("Error: no further process or thread can be started: allow more of them (ulimit -u).\n")


def test_a_small_address_space(patch_set: Path, tmp_path: Path) -> None:
    args = ("score", "patient", "8863", "--data", patch_set, "--out", tmp_path / "out")
    for kilobytes in (400_000, 1_000_000):
        ran = sh(f'ulimit -v {kilobytes} && "$@"', *args)
        assert "Traceback" not in ran.err
        assert ran.code == 0 or (ran.code == 2 and ran.err.splitlines()[-1].startswith("Error: "))


FORKED = """
import multiprocessing
import numpy
from wsi_idc import load_model

def predict(patches):
    try:
        model.predict(patches)
    except Exception as error:
        return str(error)

model = load_model()
patches = numpy.zeros((3, 50, 50, 3), numpy.uint8)
model.predict(patches)
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.apply_async(predict, (patches,)).get(60))
"""


def test_a_model_in_a_forked_child_says_so_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True, timeout=180)
    assert "loaded before a fork cannot run in the child" in done.stdout


NO_WINDOWS = """
import concurrent.futures.process, os, signal, sys
# Libraries have looked for what is there before it goes.
import dask, distributed, filelock, matplotlib, numpy, openslide, platformdirs, rich.progress, tifffile, zarr
if sys.argv.pop(1) == "without":
    lacks = "uname fchmod sched_getaffinity memfd_create register_at_fork O_DIRECTORY O_NOFOLLOW"
    for module, names in ((os, lacks), (signal, "pthread_sigmask SIGKILL SIGHUP")):
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
from wsi_idc.cli import main
sys.exit(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="libraries look for what is removed")
@pytest.mark.parametrize("command", [("heatmap", "all"), ("score", "patient", "8863")])
def test_without_what_windows_lacks(patch_set: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    done = {}
    for which in ("with", "without"):
        ran = subprocess.run(
            [sys.executable, "-c", NO_WINDOWS, which, *command, "--data", patch_set, "--out", tmp_path / which],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        done[which] = (tmp_path / which / "8863/scores.csv").read_bytes()
    assert done["with"] == done["without"]
