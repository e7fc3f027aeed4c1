"""What opens a slide anywhere: it travels to a worker, and the worker reads."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any, Protocol, Self

from wsi_idc.datasets.dataset import Dataset
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.errors import SlideError
from wsi_idc.geometry import IDC_PATCH, PatchSpec
from wsi_idc.io.staging import SlideCache, Staged
from wsi_idc.source import PatchSource

if TYPE_CHECKING:
    from wsi_idc.slides.slide import Slide


class SlideRef(Protocol):
    """How to open a slide. Hashable and pickled, with paths that a worker finds, too.

    A worker keeps what it has opened. So each has the token of a run: files may change before the next.
    """

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """Folder of the slide's results, relative to ``--out``."""

    def open(self) -> AbstractContextManager[PatchSource]:
        """Open the slide."""


@dataclass(frozen=True)
class CaseRef:
    """A case of a data set."""

    data: str
    name: str
    run: str

    def open(self) -> AbstractContextManager[PatchSource]:
        return nullcontext(dataset_of_run(self.data, self.run).case(self.name))


_opening = Lock()


def dataset_of_run(data: str, run: str) -> Dataset:
    """A data set, opened and indexed once for all threads of this process, and kept open."""
    with _opening:
        return _dataset(data, run)


def forget_datasets() -> None:
    """Let go of the data sets that are kept open."""
    _dataset.cache_clear()


@lru_cache(maxsize=2)
def _dataset(data: str, run: str) -> Dataset:
    dataset = open_dataset(data)
    dataset.cases  # noqa: B018  (all are asked for one by one, and a zip would be looked through for each)
    return dataset


@dataclass(frozen=True)
class SlideOptions:
    """How raw slides are read: see `Slide`."""

    mpp: float | None = None
    min_tissue: float = 0.3
    tissue_mask: bool = True
    icc: bool = False
    allow_upsampling: bool = False
    image: str | None = None
    patch: PatchSpec = IDC_PATCH
    label_classes: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    positive_class: str = ""
    roi: Path | None = None
    overlap: float = 0.0
    step: float | None = None

    def for_model(self, path: str | Path | None, class_name: str | None = None) -> Self:
        """The same, with the patches and the classes of a model: see `load_model`."""
        from wsi_idc.model.locating import locate_model

        config = locate_model(path).read_config()
        classes = config.classes.choose(class_name)
        return replace(self, patch=config.patch, class_names=classes.told_apart, positive_class=classes.positive)

    def open(self, path: Path, **more: Any) -> Slide:
        """Open a slide with these and more options of `Slide`."""
        from wsi_idc.slides.slide import Slide

        return Slide(path, **vars(self), **more)


@dataclass(frozen=True)
class FileRef:
    """A raw slide, whose results stand under a name of their own."""

    path: Path
    name: str
    options: SlideOptions
    run: str
    labels: Path | None = None
    told: str = ""
    """Where the file was fetched from; empty where it was not."""

    def open(self) -> AbstractContextManager[PatchSource]:
        if self.told:
            return open_staged(self.path, self.told, self.options, name=self.name, labels=self.labels)
        return self.options.open(self.path, name=self.name, labels=self.labels)


@dataclass(frozen=True)
class RemoteRef:
    """A raw slide in a store, which is staged before it can be opened."""

    url: str
    name: str
    options: SlideOptions
    run: str
    cache: SlideCache

    def stage(self, stop: Event) -> tuple[FileRef, Staged]:
        """Fetch the slide: what opens it, and what keeps it in the cache."""
        staged = self.cache.stage(self.url, stop)
        return FileRef(staged.path, self.name, self.options, self.run, told=staged.told), staged

    def open(self) -> AbstractContextManager[PatchSource]:
        raise SlideError(f"{self.name} lies in a store: it has to be staged first.")


def open_staged(path: Path, told: str, options: SlideOptions, **more: Any) -> Slide:
    """Open a slide that was fetched, as one that lies where it came from."""
    try:
        slide = options.open(path, **more)
    except SlideError as error:
        raise SlideError(str(error).replace(str(path), told)) from None
    slide.path = told
    return slide


@dataclass(frozen=True)
class RefusedRef:
    """What a list names as a slide, but cannot be one: it fails with the reason, and costs no other slide."""

    name: str
    reason: str

    def open(self) -> AbstractContextManager[PatchSource]:
        raise SlideError(self.reason)
