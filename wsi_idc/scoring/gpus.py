"""The GPUs of this machine that ``--gpus`` names, and how much one holds."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from wsi_idc.errors import OptionError
from wsi_idc.model.config import DEFAULT_BATCH

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""What CUDA reads; batch schedulers set it to what a job was given."""

NONE_VISIBLE = "-1"

ALL = "all"

_ASK = ("nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits")
_ANSWER_S = 30
"""A driver that has to be loaded first takes seconds."""

_LIST = re.compile(r"\d{1,4}(,\d{1,4})*", re.ASCII)

_BYTES_A_PX = 1_024
"""What a network is taken to hold of each pixel of a patch: 256 numbers of 4 bytes; CancerNet's largest has 32."""

_MOST_BATCH = 1_024
"""The patches of an IDC case: a larger batch would mostly be filled up with nothing."""

_LEAST_BATCH = 16


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine.

    Attributes
    ----------
    name : str
        What `VISIBLE` calls it: a number, or an UUID where that variable holds such.
    memory_bytes : int or None
        Of its own; None where the driver does not say.
    """

    name: str
    memory_bytes: int | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a process must find to use this GPU alone."""
        # Without the order, CUDA counts the fastest first and nvidia-smi by slot.
        return {VISIBLE: self.name, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs that this process may use, in the order of `VISIBLE` where that is set; none without NVIDIA's driver."""
    try:
        told = subprocess.run(_ASK, capture_output=True, text=True, check=True, timeout=_ANSWER_S).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[cell.strip() for cell in line.split(",")] for line in told.splitlines()]
    found = [(row[0], row[1], _bytes(row[2])) for row in rows if len(row) == 3 and row[0].isdecimal()]
    if VISIBLE not in os.environ:
        return tuple(Gpu(index, memory) for index, _, memory in found)
    gpus = []
    for name in filter(None, map(str.strip, os.environ[VISIBLE].split(","))):
        memory = [memory for index, uuid, memory in found if name == index or uuid.startswith(name)]
        if not memory and not name.startswith("MIG-"):
            break  # As CUDA does: the first that it does not know ends the list.
        gpus.append(Gpu(name, memory[0] if memory else None))
    return tuple(gpus)


def _bytes(mebibytes: str) -> int | None:
    return int(mebibytes) << 20 if mebibytes.isdecimal() else None


def choose_gpus(asked: str, found: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """The GPUs that are asked for.

    Parameters
    ----------
    asked : str
        ``0,1``: places in `found`, from 0; or ``all``.
    found : sequence of Gpu

    Raises
    ------
    OptionError
        Where it is no list, or names a GPU twice or one that is not there.
    """
    if asked != ALL and not _LIST.fullmatch(asked):
        raise OptionError(f"--gpus {asked!r} is no list of GPUs: give their numbers, as in --gpus 0,1, or --gpus all.")
    if not found:
        raise OptionError(
            "This machine shows no GPU (nvidia-smi lists none): leave out --gpus to score on the processors."
        )
    numbers = list(range(len(found))) if asked == ALL else [int(number) for number in asked.split(",")]
    if len(set(numbers)) < len(numbers):
        raise OptionError(f"--gpus {asked} names a GPU twice: one worker takes all of a GPU.")
    missing = next((number for number in numbers if number >= len(found)), None)
    if missing is not None:
        raise OptionError(f"There is no GPU {missing}: name some of 0 to {len(found) - 1} with --gpus, or all.")
    return tuple(found[number] for number in numbers)


def batch_by_memory(gpus: Sequence[Gpu], patch_px: int) -> int:
    """Patches that half of the smallest GPU's memory holds in a network: a power of two, 16 to 1,024.

    Parameters
    ----------
    gpus : sequence of Gpu
    patch_px : int
        Width and height of a patch.
    """
    known = [gpu.memory_bytes for gpu in gpus if gpu.memory_bytes]
    if not known:
        return DEFAULT_BATCH
    room = min(known) // 2 // (_BYTES_A_PX * patch_px**2)
    return max(min(1 << room.bit_length() >> 1, _MOST_BATCH), _LEAST_BATCH)


@contextmanager
def gpus_hidden() -> Iterator[None]:
    """Hide all GPUs from a network that this process loads meanwhile; Keras sees none afterwards either."""
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = NONE_VISIBLE
    try:
        yield
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before
