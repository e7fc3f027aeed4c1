"""The targets of `tests.fuzz` over what is kept of it: nothing but errors of ours comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import names, run_json, zip_index

TARGETS: dict[str, Any] = {"names": names, "zip_index": zip_index, "run_json": run_json}
CORPUS = Path(__file__).with_name("corpus")
KEPT = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_fuzzing_kept(path: Path) -> None:
    TARGETS[path.parent.name].one_input(path.read_bytes())


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["names", "zip_index"])
def test_what_fuzzing_starts_from(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].one_input(seed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(run_json.ODD),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40)
@given(st.data())
def test_no_value_of_run_json_ends_in_anything_else(data: st.DataObject) -> None:
    told = json.loads(run_json.seeds()[0])
    place = data.draw(st.sampled_from(run_json.places(told)))
    run_json.one_input(json.dumps(run_json.with_value(told, place, data.draw(JSON))).encode())
