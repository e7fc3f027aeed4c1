"""Whether installation, model, data, scheduler, disk and limits are fit for a run: `examine`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from wsi_idc._util.files import DEFAULT_OUT
from wsi_idc.doctor.check import Check, fail
from wsi_idc.errors import WsiIdcError

Examination = tuple[str, Callable[[], Iterable[Check]]]


def examine(
    data: str | Path | None = None,
    model: str | Path | None = None,
    out: str | Path = DEFAULT_OUT,
    scheduler: str | None = None,
    slides: str | Path | None = None,
    *,
    allow_code: bool = False,
) -> Iterator[Check]:
    """Check, one thing after the other, what a run needs; the checks after one that fails are made as well.

    Nothing is left behind, and no folder is made but for a moment. The network is used for a `scheduler`, for
    `slides` in a store, and for a model that has to be fetched.

    Parameters
    ----------
    data : path or "demo", optional
        As in `open_dataset`.
    model : path, optional
        As in `load_model`.
    out : path
        Where results are to go; it need not be there.
    scheduler : str, optional
        Address of a running dask scheduler.
    slides : path, optional
        Folder of raw slides, or an address in a store.
    allow_code : bool
        As in `load_model`.

    Yields
    ------
    Check
    """
    from wsi_idc.doctor import cluster, installation, machine, material

    examinations: list[Examination] = [
        ("python", installation.python),
        ("packages", installation.packages),
        ("extras", installation.extras),
        ("openslide", installation.openslide),
        ("model", partial(material.model, model, allow_code)),
        ("gpu", partial(machine.gpu, model, allow_code)),
        ("data", partial(material.data, data)),
        ("out", partial(machine.out, Path(out))),
        ("cache", machine.cache),
        ("threads", machine.threads),
        ("files", machine.open_files),
        ("memory", machine.memory),
    ]
    if slides is not None:
        examinations.append(("slides", partial(material.slides, slides)))
    if scheduler is not None:
        examinations.append(("scheduler", partial(cluster.scheduler, scheduler, data, model)))
    for name, look in examinations:
        try:
            yield from look()
        except WsiIdcError as error:
            yield fail(name, str(error))
        except Exception as error:
            yield fail(name, f"cannot be checked ({type(error).__name__}: {error}): mend that first.")
