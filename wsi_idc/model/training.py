"""Train CancerNet on labelled patches held in memory as uint8."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from wsi_idc import __version__
from wsi_idc.errors import TrainingError
from wsi_idc.files import make_folder, replacing, replacing_text, write_json
from wsi_idc.geometry import PATCH_PX
from wsi_idc.metrics import Metrics, best_threshold, compute_metrics
from wsi_idc.model.augment import Augment
from wsi_idc.model.cancernet import build_cancernet
from wsi_idc.model.classifier import predict
from wsi_idc.model.config import ModelConfig, file_sha256
from wsi_idc.sources.labelled import LabelledPatches
from wsi_idc.splits import PARTS, Split, SplitName

MODEL_FILE = "cancernet.keras"
HISTORY_FILE = "history.csv"
PLAN_FILE = "training.json"
CHECKPOINT_FILE = "checkpoint.keras"

WATCHED_PATCHES = 4_000
"""How many training patches the training AUC is taken from, without augmentation."""


@dataclass(frozen=True)
class Recipe:
    """How to train. With the data, it fixes the weights.

    Attributes
    ----------
    patience : int
        Epochs without a better validation AUC after which training stops.
    learning_rate : float
        Of Adam at the start; it falls to nothing along a cosine over `epochs`.
    """

    split: SplitName = "patient"
    extra_train: bool = False
    exclude: tuple[str, ...] = ()
    seed: int = 0
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    patience: int = 15

    @property
    def parts(self) -> Split:
        """Which case or patch trains, tunes and tests."""
        return Split(self.split, self.seed, self.extra_train, self.exclude)


@dataclass(frozen=True)
class Trained:
    """The model that was made, and how training went."""

    model: Path
    history: tuple[Epoch, ...]


@dataclass(frozen=True)
class Epoch:
    """A row of ``history.csv``."""

    epoch: int
    loss: float
    auc: float
    val_loss: float
    val_auc: float
    val_balanced_accuracy: float
    seconds: float


def class_weights(label: NDArray[np.int8]) -> dict[int, float]:
    """Weight of each class in the loss, so that both count the same in all; 1 on average over the patches."""
    counts = np.bincount(label, minlength=2)
    return {value: float(len(label) / (2 * count)) for value, count in enumerate(counts)}


def train(
    data: LabelledPatches,
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    on_batch: Callable[[int, int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Trained:
    """Train CancerNet and keep the epoch of the best validation AUC.

    Parameters
    ----------
    data : LabelledPatches
    recipe : Recipe
    out : path
        Folder for ``cancernet.keras`` with its ``.json``, ``history.csv``, and while training runs
        ``training.json`` and ``checkpoint.keras``.
    resume : bool
        Go on from the checkpoint in `out`, where there is one, to the same outcome as without interruption.
    on_batch, on_epoch : callable, optional
        Told of progress: (epoch, patches done, patches in an epoch), and each finished epoch.

    Returns
    -------
    Trained
        The model's threshold is the one of best balanced accuracy on the validation part.

    Raises
    ------
    TrainingError
        Where a part has no patches of a class, or `resume` finds a checkpoint of other data or options.
    """
    folder = make_folder(Path(out))
    part = recipe.parts.divide(data.case, data.label)
    members = {name: np.flatnonzero(part == name) for name in PARTS}
    _check_classes(data, members)
    run = _Run(data, recipe, folder, members)
    run.start(resume)
    for epoch in range(len(run.history) + 1, recipe.epochs + 1):
        if run.stale >= recipe.patience:
            break
        row = run.epoch(epoch, on_batch)
        if on_epoch:
            on_epoch(row)
    return Trained(run.finish(), tuple(run.history))


def _check_classes(data: LabelledPatches, members: dict[str, NDArray[np.intp]]) -> None:
    for name in ("train", "val"):
        negative, positive = np.bincount(data.label[members[name]], minlength=2)
        if not negative or not positive:
            raise TrainingError(
                f"The {name} part has {negative:,} patches without and {positive:,} with IDC, and needs both: "
                "give more cases, or another --split or --seed."
            )


class _Run:
    """One training, from its start or its checkpoint to the finished model."""

    def __init__(
        self, data: LabelledPatches, recipe: Recipe, folder: Path, members: dict[str, NDArray[np.intp]]
    ) -> None:
        self.data, self.recipe, self.folder, self.members = data, recipe, folder, members
        self.history: list[Epoch] = []
        self.class_weight = class_weights(data.label[members["train"]])
        rng = np.random.default_rng(recipe.seed)
        self.watched = np.sort(rng.permutation(members["train"])[:WATCHED_PATCHES])

    @property
    def best(self) -> Epoch:
        return max(self.history, key=lambda row: row.val_auc)

    @property
    def stale(self) -> int:
        """Epochs since the best one."""
        return len(self.history) - self.best.epoch if self.history else 0

    def start(self, resume: bool) -> None:
        plan = asdict(self.recipe) | {"fingerprint": self.data.fingerprint, "version": __version__}
        plan = json.loads(json.dumps(plan))
        checkpoint, saved = self.folder / CHECKPOINT_FILE, self.folder / PLAN_FILE
        if resume and checkpoint.exists():
            try:
                self._go_on(checkpoint, saved, plan)
            except TrainingError:
                raise
            except Exception as error:  # Keras raises whatever its parts raise
                raise TrainingError(
                    f"The checkpoint in {self.folder} is damaged: start again without --resume."
                ) from error
            return
        checkpoint.unlink(missing_ok=True)
        write_json(saved, plan)
        keras.utils.set_random_seed(self.recipe.seed)
        self.network = build_cancernet()
        self.model = keras.Sequential(
            [keras.Input((PATCH_PX, PATCH_PX, 3), dtype="uint8"), Augment(self.recipe.seed), self.network]
        )
        schedule = keras.optimizers.schedules.CosineDecay(self.recipe.learning_rate, self.steps * self.recipe.epochs)
        self.model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")

    def _go_on(self, checkpoint: Path, saved: Path, plan: dict[str, Any]) -> None:
        if json.loads(saved.read_text(encoding="utf-8")) != plan:
            raise TrainingError(
                f"{self.folder} holds a training of other data or options: give the same, another --out, "
                "or no --resume."
            )
        self.model = keras.models.load_model(checkpoint)
        self.network = self.model.get_layer("cancernet")
        done = int(self.model.optimizer.iterations) // self.steps
        self.history = read_history(self.folder / HISTORY_FILE)[:done]

    @property
    def steps(self) -> int:
        """Batches in an epoch; patches that do not fill the last one wait for another epoch's shuffle."""
        return max(len(self.members["train"]) // self.recipe.batch_size, 1)

    def epoch(self, epoch: int, on_batch: Callable[[int, int, int], None] | None) -> Epoch:
        started = time.monotonic()
        self._reseed(epoch)
        losses, done, total = [], 0, self.steps * self.recipe.batch_size
        for batch in self._batches(epoch):
            result = self.model.train_on_batch(
                self.data.pixels[batch], self.data.label[batch], class_weight=self.class_weight
            )
            losses.append(float(np.ravel(result)[0]))
            done += len(batch)
            if on_batch:
                on_batch(epoch, done, total)
        label, prob = self._predict(self.members["val"])
        watched_label, watched_prob = self._predict(self.watched)
        metrics = compute_metrics(label, prob, 0.5)
        row = Epoch(
            epoch=epoch,
            loss=float(np.mean(losses)),
            auc=_number(compute_metrics(watched_label, watched_prob, 0.5).auc),
            val_loss=self._loss(label, prob),
            val_auc=_number(metrics.auc),
            val_balanced_accuracy=_number(metrics.balanced_accuracy),
            seconds=round(time.monotonic() - started, 1),
        )
        self.history.append(row)
        self._save()
        return row

    def _batches(self, epoch: int) -> Iterator[NDArray[np.intp]]:
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(self.members["train"])
        size = self.recipe.batch_size
        return (order[step * size : (step + 1) * size] for step in range(self.steps))

    def _reseed(self, epoch: int) -> None:
        """Start every random layer anew, so that an epoch does not depend on the one before but for the weights."""
        random = [layer for layer in (*self.model.layers, *self.network.layers) if hasattr(layer, "seed_generator")]
        for i, layer in enumerate(random):
            state = np.random.SeedSequence([self.recipe.seed, epoch, i]).generate_state(2)
            layer.seed_generator.state.assign(state)

    def _predict(self, members: NDArray[np.intp]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        return self.data.label[members], predict(self.network, self.data.pixels[members])[:, 1]

    def _loss(self, label: NDArray[np.int8], prob: NDArray[np.float32]) -> float:
        """Cross-entropy with the training's class weights."""
        weight = np.where(label == 1, self.class_weight[1], self.class_weight[0])
        hit = np.clip(np.where(label == 1, prob, 1 - prob), 1e-7, 1)
        return float(np.sum(-np.log(hit) * weight) / np.sum(weight))

    def _save(self) -> None:
        """Write model and history first: a checkpoint is never ahead of them."""
        if self.stale == 0:
            with replacing(self.folder / MODEL_FILE) as temporary:
                self.network.save(temporary)
        write_history(self.folder / HISTORY_FILE, self.history)
        with replacing(self.folder / CHECKPOINT_FILE) as temporary:
            self.model.save(temporary)

    def finish(self) -> Path:
        path = self.folder / MODEL_FILE
        self.network = keras.models.load_model(path, compile=False)
        label, prob = self._predict(self.members["val"])
        threshold = best_threshold(label, prob)
        config = ModelConfig(
            name="CancerNet",
            sha256=file_sha256(path),
            threshold=threshold,
            version=__version__,
            training=self._provenance(compute_metrics(label, prob, threshold)),
        )
        config.write(path.with_suffix(".json"))
        return path

    def _provenance(self, metrics: Metrics) -> dict[str, Any]:
        cases = {f"cases_{name}": sorted(set(self.data.case[self.members[name]].tolist()), key=int) for name in PARTS}
        return {
            **asdict(self.recipe),
            "fingerprint": self.data.fingerprint,
            "epochs_run": len(self.history),
            "best_epoch": self.best.epoch,
            "patches_train": len(self.members["train"]),
            "patches_val": len(self.members["val"]),
            "threshold_from": "best balanced accuracy on the validation patches",
            "metrics_val": metrics.as_dict(),
            "software": {"keras": keras.__version__, "backend": keras.backend.backend()},
            **cases,
        }


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def write_history(path: Path, history: Sequence[Epoch]) -> None:
    """Write ``history.csv``: a row an epoch."""
    with replacing_text(path) as file:
        writer = csv.DictWriter(file, list(Epoch.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in history)


def read_history(path: Path) -> list[Epoch]:
    """Read ``history.csv`` back."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Epoch(int(row["epoch"]), *(float(row[name]) for name in list(Epoch.__dataclass_fields__)[1:]))
            for row in csv.DictReader(file)
        ]
