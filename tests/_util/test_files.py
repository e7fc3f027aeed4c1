from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from wsi_idc._util import files
from wsi_idc._util.files import (
    cache_folder,
    is_private,
    make_folder,
    make_private,
    remove_unfinished,
    replacing,
    sync,
    temporary_folder,
    write_json,
)
from wsi_idc.errors import OutputError


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="full"), replacing(path) as temporary:
        temporary.write_text("half")
        raise ValueError("full")
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"auc": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another place"):
        make_folder(tmp_path / "file" / "below")


def test_only_what_was_being_written_here_is_removed(tmp_path: Path) -> None:
    own = [tmp_path / name for name in (".old-scores.csv", ".my-run.json", ".-scores.csv", "a-scores.csv")]
    for path in own:
        path.touch()
    for name in ("scores.csv", "[ab].csv"):
        with replacing(tmp_path / name) as temporary:
            left = temporary.with_name(f"{temporary.name[:9]}left-{name}")
            left.write_text("half")
        remove_unfinished(tmp_path, name)
        assert not left.exists()
    with temporary_folder(tmp_path / "b.zarr") as folder:
        assert folder.name.startswith(files.TEMPORARY)
    assert sorted(tmp_path.iterdir()) == sorted([*own, tmp_path / "scores.csv", tmp_path / "[ab].csv"])


@pytest.mark.skipif(os.name != "posix", reason="no umask")
def test_the_umask_holds_and_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to all threads: a file that another one makes meanwhile would be open to everybody."""
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "umask", lambda mask: pytest.fail("the umask was changed"))
            write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_what_is_durable_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: steps.append(_name_of(handle)) or fsync(handle))
    monkeypatch.setattr(Path, "replace", lambda self, to: steps.append("rename") or rename(self, to))
    write_json(tmp_path / "run.json", 1, durable=True)
    assert [step.rpartition("-")[2] for step in steps] == ["run.json", "rename", tmp_path.name.rpartition("-")[2]]
    steps.clear()
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "0").touch()
    sync([tmp_path / "a.zarr", tmp_path / "missing"])
    assert steps == ["0", "a.zarr"]


def _name_of(handle: int) -> str:
    return Path(f"/proc/self/fd/{handle}").readlink().name


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners")
def test_private_folders(tmp_path: Path) -> None:
    folder = make_private(tmp_path / "a" / "b")
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    with pytest.raises(PermissionError, match="another user can write there"):
        make_private(folder)
    (tmp_path / "link").symlink_to(folder.parent)
    assert not is_private(tmp_path / "link")


@pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="needs root")
def test_what_is_anothers_is_not_private(tmp_path: Path) -> None:
    os.chown(make_private(tmp_path / "a"), 12345, 12345)
    assert not is_private(tmp_path / "a")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "wsi-idc"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in cache_folder().parents
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache/wsi-idc"))
    with pytest.raises(OutputError, match="set XDG_CACHE_HOME"):
        cache_folder()
