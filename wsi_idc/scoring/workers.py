"""What a worker must have before it scores for another machine: the same model, run in the same way, and the data."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from wsi_idc.errors import DataNotFoundError, ModelError, NotIdcDataError, OptionError, UnknownCaseError, WorkerError
from wsi_idc.scoring.handles import CaseRef, FileRef, SlideRef
from wsi_idc.source import PatchSource

if TYPE_CHECKING:
    from wsi_idc.model.classifier import Classifier
    from wsi_idc.model.config import ModelConfig

_PROCESS = uuid4().hex
"""Of this process alone."""


@dataclass(frozen=True)
class AskedModel:
    """The model that a task is to be done with, as the process has it that made the task.

    Attributes
    ----------
    path : Path or None
        As in `load_model`.
    sha256 : str
        Of the weights.
    digest : str
        Of the configuration: calibration and threshold stand there.
    runtime : str
        What runs the network.
    process : str
        Who asks: threads of that process take what it has.
    class_name : str
        The class that counts as positive.
    allow_code : bool
        Whether a TorchScript program may be run.
    """

    path: Path | None
    sha256: str
    digest: str
    runtime: str
    process: str
    class_name: str
    allow_code: bool = False

    @classmethod
    def of(cls, path: Path | None, classifier: Classifier, allow_code: bool = False) -> AskedModel:
        """A loaded model, to be named in tasks."""
        config, runtime = classifier.config, classifier.runtime
        return cls(path, config.sha256, config.digest, runtime, _PROCESS, config.classes.positive, allow_code)

    def load(self) -> Classifier:
        """Load it here; WorkerError where something else is found or it runs in another way."""
        from wsi_idc.model.classifier import find_model, load_model

        try:
            # Before it is loaded: leave was given for this program, and no other.
            self._check_files(find_model(self.path)[1].for_class(self.class_name))
            classifier = load_model(self.path, self.class_name, allow_code=self.allow_code)
        except (ModelError, OptionError) as error:
            raise WorkerError(f"The worker on {platform.node()} cannot load the model: {error}") from error
        self._check_files(classifier.config)
        self._check_runtime(classifier)
        return classifier

    def _check_files(self, config: ModelConfig) -> None:
        here, named = platform.node(), self.path or "the bundled model"
        if config.sha256 != self.sha256:
            raise WorkerError(f"The worker on {here} has other weights of {named}: give it the same version.")
        if config.digest != self.digest:
            raise WorkerError(
                f"The worker on {here} has another .json of {named}, with another calibration, threshold or training: "
                "give it the same file."
            )

    def _check_runtime(self, classifier: Classifier) -> None:
        if classifier.runtime != self.runtime:
            raise WorkerError(
                f"The worker on {platform.node()} runs the model with {classifier.runtime} and this machine "
                f"with {self.runtime}, whose probabilities differ: install the same on both, or set KERAS_BACKEND "
                "alike."
            )


def open_source(ref: SlideRef, asked_by: str) -> PatchSource:
    """Open a slide for a task; WorkerError where another machine asks, and the data are not there on this one."""
    if asked_by == _PROCESS:
        return ref.open().__enter__()
    missing = next((path for path in _paths(ref) if not path.exists()), None)
    if missing is not None:
        raise _unseen(missing, f"does not see {missing}")
    try:
        return ref.open().__enter__()
    except (DataNotFoundError, NotIdcDataError, UnknownCaseError) as error:
        if not isinstance(ref, CaseRef):
            raise
        raise _unseen(Path(ref.data), f"finds no case {ref.name} in {ref.data}") from error


def _unseen(path: Path, what: str) -> WorkerError:
    return WorkerError(
        f"The worker on {platform.node()} {what}: workers must see the data under the same path.", str(path)
    )


def _paths(ref: SlideRef) -> list[Path]:
    if isinstance(ref, CaseRef):
        return [Path(ref.data)]
    if isinstance(ref, FileRef):
        return [ref.path, *([ref.labels] if ref.labels else [])]
    return []
