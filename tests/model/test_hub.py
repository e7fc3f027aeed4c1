"""Models in a folder of a hub, and fetched from one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.conftest import Ran
from tests.model.onnx_models import network, saved
from wsi_idc.errors import ModelError
from wsi_idc.model.classifier import load_model
from wsi_idc.model.hub import fetch_model
from wsi_idc.model.locating import locate_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def snapshot(folder: Path, weights: str = "model.onnx") -> Path:
    """A model as a hub lays it out."""
    folder.mkdir(parents=True, exist_ok=True)
    saved(folder / "x.onnx", network(2, 50), size=50, mpp=8.0, transform=[{"name": "ToTensor"}])
    (folder / "x.onnx").rename(folder / weights)
    (folder / "x.json").rename(folder / "config.json")
    (folder / "README.md").write_text("A model.")
    return folder


def test_a_folder_is_taken_as_it_lies(tmp_path: Path, run: Callable[..., Ran]) -> None:
    folder = snapshot(tmp_path / "my-model")
    model = load_model(folder)
    assert (model.config.name, model.config.origin, model.config.patch.size_px) == ("my-model", "", 50)
    (folder / "torchscript_model.pt").write_bytes(b"what carries code comes last")
    assert load_model(folder).config.sha256 == model.config.sha256
    checked = run("model", "check", folder, "--quiet")
    assert checked.code == 0 and "model: my-model" in checked.out


def test_a_folder_of_the_zoo_needs_leave(tmp_path: Path) -> None:
    folder = snapshot(tmp_path / "zoo", "torchscript_model.pt")
    assert locate_model(folder).weights.name == "torchscript_model.pt"
    with pytest.raises(ModelError, match=r"torchscript_model\.pt is a TorchScript program.* give --allow-code"):
        load_model(folder)


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no \.keras, \.onnx or \.pt file: name the model's file"):
        load_model(tmp_path)
    folder = snapshot(tmp_path / "two", "a.onnx")
    assert locate_model(folder).weights.name == "a.onnx"
    shutil.copy(folder / "a.onnx", folder / "b.onnx")
    with pytest.raises(ModelError, match=r"holds 2 models, a\.onnx and b\.onnx: name the model's file"):
        load_model(folder)
    (folder / "b.onnx").unlink()
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"holds a\.onnx without a config\.json: write one"):
        load_model(folder)


@pytest.mark.parametrize("address", ["hf://", "hf://one", "hf:/a/b/c", "hf://a/b@", "hf://a/../b@x y"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ModelError, match="is no model of a hub: write hf://owner/name"):
        fetch_model(address)


@contextmanager
def serving(folder: Path, asked: list[str]) -> Iterator[str]:
    """A hub with one repository, someone/tumour; what it was asked for is noted."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            files = sorted(folder.iterdir())
            if path in ("/api/models/someone/tumour", "/api/models/someone/tumour/revision/main"):
                told = {"id": "someone/tumour", "sha": COMMIT, "siblings": [{"rfilename": one.name} for one in files]}
                self.reply(json.dumps(told).encode())
            elif path == f"/api/models/someone/tumour/tree/{COMMIT}":
                tree = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0" * 40} for f in files]
                self.reply(json.dumps(tree).encode())
            elif path.startswith(f"/someone/tumour/resolve/{COMMIT}/"):
                self.reply((folder / path.rpartition("/")[2]).read_bytes())
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815 - http.server looks for these names

        def reply(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_model_is_fetched_and_its_commit_recorded(tmp_path: Path, run_apart: Callable[..., Ran]) -> None:
    pytest.importorskip("huggingface_hub")
    folder, asked = snapshot(tmp_path / "there"), list[str]()
    (folder / "pytorch_model.bin").write_bytes(b"for other tools")
    name = "hf://someone/tumour"
    with serving(folder, asked) as address:
        there = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        ran = run_apart("phantom", "cases", "--cases", "1", "--quiet", **there)
        assert ran.code == 0, ran.err
        assert asked == []
        ran = run_apart(
            "score", "patient", "90001", "--data", "cases", "--out", "out", "--model", name, "--quiet", **there
        )
        assert ran.code == 0, ran.err
        told = json.loads(Path("out/90001/run.json").read_text())["model"]
        assert told["origin"] == f"hf://someone/tumour@{COMMIT}" and told["name"] == "someone/tumour"
        assert told["sha256"] == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
        assert not any(path.endswith(("pytorch_model.bin", "README.md")) for path in asked)
        wrong = run_apart("model", "check", "hf://someone/else", **there)
        assert wrong.code == 2 and wrong.err.startswith("Error: hf://someone/else cannot be fetched: ")
        assert len(wrong.err.splitlines()) == 1
    # What was fetched by its commit is taken from the disk.
    pinned = run_apart("model", "check", f"{name}@{COMMIT}", **there)
    assert pinned.code == 0 and "model: someone/tumour" in pinned.out
