"""Which slides a task of an array job scores."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_idc.errors import OptionError
from wsi_idc.scoring.array_jobs import Shard, parse_shard


@dataclass(frozen=True)
class Slide:
    name: str


names = st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=40)


@given(names, st.integers(1, 12))
def test_every_slide_is_in_one_shard_and_shards_are_even(found: list[str], count: int) -> None:
    slides = [Slide(name) for name in found]
    shards = [Shard(number, count).select(slides) for number in range(1, count + 1)]
    assert sorted(slide.name for shard in shards for slide in shard) == sorted(found)
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1
    for shard in shards:
        assert shard == [slide for slide in slides if slide in shard], "not in the order of the cohort"


@given(names, st.integers(1, 12), st.randoms())
def test_the_order_of_the_list_changes_no_shard(found: list[str], count: int, rng: object) -> None:
    slides = [Slide(name) for name in found]
    mixed = list(slides)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    for number in range(1, count + 1):
        assert set(Shard(number, count).select(slides)) == set(Shard(number, count).select(mixed))


@pytest.mark.parametrize(
    ("text", "environ", "number", "count"),
    [
        ("2/8", {}, 2, 8),
        ("1/1", {}, 1, 1),
        ("2/8", {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "9"}, 2, 8),
        ("auto", {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "1"}, 3, 8),
        ("auto", {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "0"}, 1, 8),
        (
            "auto",  # --array=10-25:5
            {
                "SLURM_ARRAY_TASK_ID": "20",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_STEP": "5",
            },
            3,
            4,
        ),
        ("auto/8", {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_MIN": "3"}, 3, 8),
        ("auto/8", {"PBS_ARRAY_INDEX": "8"}, 8, 8),
        ("auto", {"LSB_JOBINDEX": "4", "LSB_JOBINDEX_END": "16"}, 4, 16),
        ("auto", {"LSB_JOBINDEX": "5", "LSB_JOBINDEX_END": "9", "LSB_JOBINDEX_STEP": "2"}, 3, 5),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "5"}, 1, 5),
        ("auto/5", {"AWS_BATCH_JOB_ARRAY_INDEX": "4"}, 5, 5),
        ("auto", {"BATCH_TASK_INDEX": "2", "BATCH_TASK_COUNT": "3"}, 3, 3),
        (
            "auto",  # A SLURM cluster whose nodes are a batch of Google's.
            {
                "BATCH_TASK_INDEX": "0",
                "BATCH_TASK_COUNT": "1",
                "SLURM_ARRAY_TASK_ID": "2",
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
            2,
            4,
        ),
    ],
)
def test_the_task_of_an_array(text: str, environ: dict[str, str], number: int, count: int) -> None:
    shard = parse_shard(text, environ)
    assert (shard.number, shard.count) == (number, count)
    if text.startswith("auto"):
        name, value = shard.source.split("=")
        assert environ[name] == value


@pytest.mark.parametrize(
    ("text", "environ", "said"),
    [
        ("", {}, "--shard 2/8"),
        ("2", {}, "--shard 2/8"),
        ("-1/8", {}, "--shard 2/8"),
        ("٢/8", {}, "--shard 2/8"),
        ("2/8/9", {}, "--shard 2/8"),
        ("0/8", {}, "no shard 0 of 8"),
        ("9/8", {}, "no shard 9 of 8"),
        ("1/0", {}, "no shard 1 of 0"),
        ("auto", {}, "SLURM_ARRAY_TASK_ID"),
        ("auto", {"LSB_JOBINDEX": "0", "LSB_JOBINDEX_END": "0"}, "no task of an array job"),
        ("auto", {"PBS_ARRAY_INDEX": "3"}, "--shard auto/N"),
        ("auto", {"AWS_BATCH_JOB_ARRAY_INDEX": "3"}, "--shard auto/N"),
        ("auto/8", {"PBS_ARRAY_INDEX": "0"}, "PBS_ARRAY_INDEX=0"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "x", "SLURM_ARRAY_TASK_COUNT": "8"}, "no number"),
        # --array=1,4,9
        ("auto", {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"}, "evenly"),
        ("auto", {"LSB_JOBINDEX": "4", "LSB_JOBINDEX_END": "9", "LSB_JOBINDEX_STEP": "2"}, "evenly"),
    ],
)
def test_what_is_no_shard(text: str, environ: dict[str, str], said: str) -> None:
    with pytest.raises(OptionError) as refused:
        parse_shard(text, environ)
    assert said in str(refused.value)
