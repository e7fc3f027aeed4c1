"""Models with one change each: a file that is no CancerNet is refused before it runs, or takes memory."""

from __future__ import annotations

import json
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import Ran
from tests.damage import tiff
from tests.damage.tiff import Change
from wsi_idc.errors import ModelError
from wsi_idc.model.cancernet import build_cancernet
from wsi_idc.model.classifier import bundled_model, load_model
from wsi_idc.model.config import ModelConfig, file_sha256, read_config

Run = Callable[..., Ran]

BUNDLED = json.loads(bundled_model().with_suffix(".json").read_text())
CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def vouched(path: Path) -> Path:
    """Write the .json that belongs to a file: whoever makes a hostile model makes it, too."""
    ModelConfig("test", file_sha256(path), 0.5).write(path.with_suffix(".json"))
    return path


def repacked(path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The bundled model with another content of its zip."""
    with zipfile.ZipFile(bundled_model()) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return vouched(path)


def member(name: str, change: Change) -> Callable[[dict[str, bytes]], object]:
    return lambda members: members.update({name: change(members[name])})


def layer(index: int, **to: Any) -> Callable[[dict[str, bytes]], object]:
    """Change what the network's description says of a layer."""

    def change(data: bytes) -> bytes:
        whole = json.loads(data)
        whole["config"]["layers"][index] |= to
        return json.dumps(whole).encode()

    return member(CONFIG, change)


ARCHIVES: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "no description": (lambda members: members.pop(CONFIG), ""),
    "no weights": (lambda members: members.pop(WEIGHTS), ""),
    "description cut": (member(CONFIG, tiff.cut(0.5)), ""),
    "description a list": (member(CONFIG, tiff.become(b"[]")), ""),
    "description nested deeply": (member(CONFIG, tiff.become(b"[" * 100_000)), ""),
    "weights cut": (member(WEIGHTS, tiff.cut(0.5)), ""),
    "weights of noise": (member(WEIGHTS, lambda data: np.random.default_rng(0).bytes(len(data))), ""),
    "weights that unfold": (member(WEIGHTS, lambda data: bytes(200_000_000)), "it unpacks to 200,0"),
    "description that unfolds": (member(CONFIG, lambda data: bytes(200_000_000)), "it unpacks to 205,0"),
    "file above": (lambda members: members.update({"../evil": b"x"}), r"it holds \.\./evil"),
    "file elsewhere": (lambda members: members.update({"/tmp/evil": b"x"}), "it holds /tmp/evil"),
    "another file": (lambda members: members.update({"assets/a.txt": b"x"}), "it holds assets/a.txt"),
    "module of the system": (layer(1, module="os", class_name="system", registered_name=None), ""),
    "function by name": (layer(1, module="builtins", class_name="exec", registered_name=None), ""),
    "class of somebody's": (layer(1, module="evil", class_name="Evil", registered_name="evil>Evil"), ""),
}


@pytest.mark.parametrize(("change", "said"), ARCHIVES.values(), ids=ARCHIVES)
def test_archives_that_are_no_model(tmp_path: Path, change: Callable[[dict[str, bytes]], object], said: str) -> None:
    path = repacked(tmp_path / "a.keras", change)
    with pytest.raises(ModelError, match=rf"is not a Keras model that can be loaded safely: .*{said}"):
        load_model(path)
    assert {file.name for file in tmp_path.iterdir()} == {"a.keras", "a.json"}


def test_weights_of_any_size_are_not_made(tmp_path: Path) -> None:
    """A description of 30 billion weights, on weights for a network of 1.2 million."""
    network = keras.Sequential([keras.Input((48, 48, 3)), keras.layers.Flatten(), keras.layers.Dense(2, name="last")])
    network.save(tmp_path / "small.keras")
    with zipfile.ZipFile(tmp_path / "small.keras") as archive:
        small = json.loads(archive.read(CONFIG))
    wide = json.loads(json.dumps(small["config"]["layers"][2]))
    wide["config"] |= {"units": 4_000_000, "name": "wide"}
    wide.pop("build_config", None)
    last = small["config"]["layers"].pop()
    last.pop("build_config", None)
    small["config"]["layers"] += [wide, last]
    path = repacked(tmp_path / "a.keras", member(CONFIG, tiff.become(json.dumps(small).encode())))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=r"it declares 27,6\d\d,\d+,\d+ weights, more than it holds"):
        load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"<html>", b"no zip"], ids=repr)
def test_files_that_are_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.keras").write_bytes(content)
    with pytest.raises(ModelError, match="is not a Keras model that can be loaded safely: File is not a zip file"):
        load_model(vouched(tmp_path / "a.keras"))


def plain(shape: tuple[int, ...] = (48, 48, 3), classes: int = 2, *layers: keras.Layer) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *layers, keras.layers.Flatten(), keras.layers.Dense(classes)])


def without_numbers() -> keras.Model:
    network = build_cancernet()
    network.set_weights([np.full_like(weights, np.nan) for weights in network.get_weights()])
    return network


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: plain((96, 96, 3)), "96, 96"),
        (lambda: plain((48, 48, 1)), "48, 48, 1"),
        (lambda: plain((48, 48, 3), 3), "None, 3"),
        (lambda: plain((48, 48, 3), 2, keras.layers.Lambda(lambda x: x)), "safely"),
        (without_numbers, "not finite"),
    ],
    ids=["larger input", "grey input", "three classes", "code", "NaN"],
)
def test_networks_that_are_none_of_ours(tmp_path: Path, make: Callable[[], keras.Model], said: str) -> None:
    make().save(tmp_path / "a.keras")
    with pytest.raises(ModelError, match=said):
        load_model(vouched(tmp_path / "a.keras"))


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in BUNDLED.items() if name not in names}


CONFIGS: dict[str, Any] = {
    "a list": [],
    "none": None,
    "a text": "x",
    **{f"no {name}": without(name) for name in ("architecture", "class_names", "transform")},
    **{f"no {name}": without(name) for name in ("patch_size_pixels", "spacing_um_px")},
    **{f"threshold {value!r:.9}": BUNDLED | {"threshold": value} for value in (True, "0.5", None, -0.1, 1.5)},
    "threshold NaN": BUNDLED | {"threshold": float("nan")},
    "threshold of 400 digits": BUNDLED | {"threshold": 10**400},
    "name none": BUNDLED | {"name": None},
    "name a table": BUNDLED | {"name": {"a": 1}},
    "name of two lines": BUNDLED | {"name": "a\nb"},
    "name that steers the terminal": BUNDLED | {"name": "\x1b[31m"},
    "name of a million signs": BUNDLED | {"name": "x" * 1_000_000},
    "hash none": BUNDLED | {"sha256": None},
    "hash a list": BUNDLED | {"sha256": ["ab"]},
    "version a table": BUNDLED | {"version": {}},
    "calibration a list": BUNDLED | {"calibration": [1]},
    "calibration empty": BUNDLED | {"calibration": {}},
    "calibration NaN": BUNDLED | {"calibration": {"scale": float("nan"), "bias": 0}},
    "calibration upside down": BUNDLED | {"calibration": {"scale": -1, "bias": 0}},
    "calibration of 400 digits": BUNDLED | {"calibration": {"scale": 1, "bias": 10**400}},
    "training none": BUNDLED | {"training": None},
    "training a text": BUNDLED | {"training": "abc"},
    "cases a text": BUNDLED | {"training": {"cases_train": "8863"}},
    "cases numbers": BUNDLED | {"training": {"cases_val": [8863]}},
    "cases none": BUNDLED | {"training": {"cases_train": None}},
    "three classes": BUNDLED | {"class_names": ["a", "b", "c"]},
    "three classes by number": BUNDLED | {"num_classes": 3},
    "no class": BUNDLED | {"class_names": [], "num_classes": 0},
    "classes of one name": BUNDLED | {"class_names": ["a", "a"]},
    "class of two columns": BUNDLED | {"class_names": ["a,b", "c"]},
    "calibration of three": BUNDLED | {"class_names": ["a", "b", "c"], "num_classes": 3},
    "positive none of them": BUNDLED | {"positive_class": "tumor"},
    "activation unknown": BUNDLED | {"activation": "relu"},
    "another form": BUNDLED | {"spec_version": "2.0"},
    "patches a text": BUNDLED | {"patch_size_pixels": "50"},
    "scale none": BUNDLED | {"spacing_um_px": None},
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_configurations_of_something_else(tmp_path: Path, config: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as caught:
        read_config(tmp_path / "a.json")
    assert str(caught.value).startswith(str(tmp_path / "a.json"))
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b" " * 20_000_000], ids=lambda content: repr(content[:4])
)
def test_configurations_that_are_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ModelError, match="does not describe a model"):
        read_config(tmp_path / "a.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


@given(name=st.sampled_from(sorted(BUNDLED)), value=JSON)
@example(name="training", value=[[None, None]])
def test_any_value_is_a_configuration_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(BUNDLED | {name: value}))
    try:
        config = read_config(path)
    except ModelError:
        return
    config.write(path)
    assert read_config(path) == config


def test_another_models_description(run: Run, patch_set: Path, tmp_path: Path) -> None:
    path = repacked(tmp_path / "a.keras", lambda members: None)
    path.with_suffix(".json").write_bytes(bundled_model().with_suffix(".json").read_bytes())
    ran = run("score", "patient", "8863", "--data", patch_set, "--model", path, "--out", tmp_path / "out")
    assert (ran.code, ran.out) == (2, "")
    assert "SHA-256 differs" in ran.err
    assert not list((tmp_path / "out").glob("*"))
