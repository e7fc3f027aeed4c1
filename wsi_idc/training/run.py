"""Fit the weights of CancerNet, epoch by epoch, from the start or a checkpoint."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.files import replacing, write_json
from wsi_idc._version import __version__
from wsi_idc.datasets.labelled import LabelledPatches
from wsi_idc.errors import ModelError, TrainingError
from wsi_idc.geometry import PATCH_PX
from wsi_idc.metrics import Metrics, compute_metrics
from wsi_idc.model.backend import keras
from wsi_idc.model.cancernet import build_cancernet
from wsi_idc.model.case_stains import CaseStains, StainedPatches
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.model.keras_network import load_keras, predict
from wsi_idc.training.augment import Augment
from wsi_idc.training.history import HISTORY_FILE, Epoch, best_epoch, read_history, write_history
from wsi_idc.training.mixing import mix_in
from wsi_idc.training.moments import refresh_moments
from wsi_idc.training.recipe import Recipe

MODEL_FILE = "cancernet.keras"
PLAN_FILE = "training.json"
CHECKPOINT_FILE = "checkpoint.npz"

AVERAGE_EVERY = 8
"""Steps between two additions to the running mean of the weights: each one copies them all."""

WATCHED_PATCHES = 2_000
"""How many training patches the training AUC is taken from, without augmentation."""

MOMENT_PATCHES = 2_048
"""How many augmented training patches the moments of batch normalization are estimated on."""

OnBatch = Callable[[int, int, int], None]


def class_weights(label: NDArray[np.int8], weight: NDArray[np.float64]) -> dict[int, float]:
    """Weight of each class in the loss, so that both count the same in all; 1 on average over the patches.

    `weight`, shape ``(n,)``, says how often each patch is drawn.
    """
    counts = np.bincount(label, weight, minlength=2)
    return {value: float(counts.sum() / (2 * count)) for value, count in enumerate(counts)}


class TrainingRun:
    """One training, from its start or its checkpoint to the finished weights."""

    def __init__(
        self,
        data: LabelledPatches,
        recipe: Recipe,
        folder: Path,
        trains: NDArray[np.intp],
        watches: NDArray[np.intp],
        keep_last: bool,
        corrected: StainedPatches | None,
        known: CaseStains | None,
    ) -> None:
        self.data, self.recipe, self.folder, self.keep_last = data, recipe, folder, keep_last
        self.trains, self.watches, self.corrected = trains, watches, corrected
        self.hold_moments = known is not None
        self.stains = CaseStains.measure(data, recipe.normalization) if known is None else known
        self.history: list[Epoch] = []
        self.case, count = np.unique(data.case[trains], return_inverse=True, return_counts=True)[1:]
        drawn = np.minimum(count, recipe.patches_per_case or count)
        self.patches = int(drawn.sum())
        self.class_weight = class_weights(data.label[trains], (drawn / count)[self.case])
        rng = np.random.default_rng(recipe.seed)
        self.sample = np.sort(rng.permutation(trains)[:WATCHED_PATCHES])

    @property
    def stale(self) -> int:
        """Epochs since the one that is kept."""
        if self.keep_last or not self.history:
            return 0
        return len(self.history) - best_epoch(self.history).epoch

    def start(self, resume: bool) -> None:
        plan = {
            **self.recipe.as_dict(),
            "fingerprint": self.data.fingerprint,
            "version": __version__,
            "held_out": sorted(set(self.data.case[self.watches].tolist()), key=int),
            "keep_last": self.keep_last,
            "corrected": self.corrected and self.corrected.patches.fingerprint,
        }
        plan = json.loads(json.dumps(plan))
        keras.utils.set_random_seed(self.recipe.seed)
        self.network = build_cancernet(self.recipe.dropout)
        if self.recipe.start is not None:
            _go_on_from(self.recipe.start.path, self.network, self.recipe.new_head)
        for layer in self.network.layers:
            if self.hold_moments and isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
        self.augment = Augment(self.recipe.seed, self.recipe.jitter)
        self.model = keras.Sequential([keras.Input((PATCH_PX, PATCH_PX, 3), dtype="uint8"), self.augment, self.network])
        schedule = keras.optimizers.schedules.CosineDecay(self.recipe.learning_rate, self.steps * self.recipe.epochs)
        self.model.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy")
        self.model.optimizer.build(self.model.trainable_variables)
        self.average, self.averaged = self.network.get_weights(), 0
        checkpoint, saved = self.folder / CHECKPOINT_FILE, self.folder / PLAN_FILE
        if resume and checkpoint.exists():
            try:
                self._go_on(checkpoint, saved, plan)
            except TrainingError:
                raise
            except Exception as error:  # NumPy raises whatever its parts raise
                raise TrainingError(
                    f"The checkpoint in {self.folder} is damaged: start again without --resume."
                ) from error
            return
        checkpoint.unlink(missing_ok=True)
        write_json(saved, plan)

    def _go_on(self, checkpoint: Path, saved: Path, plan: dict[str, Any]) -> None:
        if json.loads(saved.read_text(encoding="utf-8")) != plan:
            raise TrainingError(
                f"{self.folder} holds a training of other data or options: give the same, another --out, "
                "or no --resume."
            )
        with np.load(checkpoint, allow_pickle=False) as state:
            for i, variable in enumerate(self._variables()):
                variable.assign(state[f"variable/{i}"])
            self.average = [state[f"average/{i}"] for i in range(len(self.average))]
        self.averaged = int(self.model.optimizer.iterations)
        self.history = read_history(self.folder / HISTORY_FILE)[: self.averaged // self.steps]

    def _variables(self) -> list[keras.Variable]:
        """All that training changes, but for the average and the seeds, which each epoch sets anew."""
        return [*self.network.weights, *self.model.optimizer.variables]

    @property
    def steps(self) -> int:
        """Batches in an epoch; patches that do not fill the last one wait for another epoch's shuffle."""
        return max(self.patches // self.recipe.batch_size, 1)

    def epoch(self, epoch: int, on_batch: OnBatch | None) -> Epoch:
        started = time.monotonic()
        self._reseed(epoch)
        losses, done, total = [], 0, self.steps * self.recipe.batch_size
        for step, batch in enumerate(self._batches(epoch), 1):
            pixels, label = mix_in(
                *(self.stains.pixels(self.data, batch), self.data.label[batch], self.corrected),
                np.random.default_rng([self.recipe.seed, epoch, 2, step]),
            )
            result = self.model.train_on_batch(pixels, label, class_weight=self.class_weight)
            losses.append(float(np.ravel(result)[0]))
            if step == self.steps or step % AVERAGE_EVERY == 0:
                self._add_to_average()
            done += len(batch)
            if on_batch:
                on_batch(epoch, done, total)
        with self._averaged():
            refresh_moments(self.network, () if self.hold_moments else self._augmented(epoch))
            metrics, loss = self._figures(self.watches)
            row = Epoch(
                epoch=epoch,
                loss=float(np.mean(losses)),
                auc=_number(self._figures(self.sample)[0].auc),
                val_loss=loss,
                val_auc=_number(metrics.auc),
                val_balanced_accuracy=_number(metrics.balanced_accuracy),
                seconds=round(time.monotonic() - started, 1),
            )
            self.history.append(row)
            # Weights and history come first: a checkpoint is never ahead of them.
            if self.stale == 0:
                with replacing(self.folder / MODEL_FILE) as temporary:
                    self.network.save(temporary)
        write_history(self.folder / HISTORY_FILE, self.history)
        state = {f"variable/{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(self._variables())}
        state |= {f"average/{i}": weights for i, weights in enumerate(self.average)}
        with replacing(self.folder / CHECKPOINT_FILE) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **state)
        return row

    def _batches(self, epoch: int) -> Iterator[NDArray[np.intp]]:
        order = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.trains))
        if self.recipe.patches_per_case:
            order = order[_turn(self.case[order]) < self.recipe.patches_per_case]
        size = self.recipe.batch_size
        return (self.trains[order[step * size : (step + 1) * size]] for step in range(self.steps))

    def _augmented(self, epoch: int) -> Iterator[Any]:
        """Training patches as the network is shown them, to estimate moments on."""
        size = self.recipe.batch_size
        rows = np.random.default_rng([self.recipe.seed, epoch, 1]).permutation(self.trains)
        for start in range(0, min(MOMENT_PATCHES, max(len(rows) // size, 1) * size), size):
            yield self.augment(self.stains.pixels(self.data, rows[start : start + size]), training=True)

    def _reseed(self, epoch: int) -> None:
        """Start every random layer anew, so that an epoch does not depend on the one before but for the weights."""
        random = [layer for layer in (*self.model.layers, *self.network.layers) if hasattr(layer, "seed_generator")]
        for i, layer in enumerate(random):
            state = np.random.SeedSequence([self.recipe.seed, epoch, i]).generate_state(2)
            layer.seed_generator.state.assign(state)

    def _add_to_average(self) -> None:
        done = int(self.model.optimizer.iterations)
        kept = math.exp((self.averaged - done) / max(self.recipe.averaging * done, 1))
        now = self.network.get_weights()
        self.average = [kept * old + (1 - kept) * new for old, new in zip(self.average, now, strict=True)]
        self.averaged = done

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Meanwhile, the network has its averaged weights."""
        now = self.network.get_weights()
        self.network.set_weights(self.average)
        try:
            yield
        finally:
            self.network.set_weights(now)

    def _figures(self, rows: NDArray[np.intp]) -> tuple[Metrics, float]:
        """Figures at 0.5 and the cross-entropy with the training's class weights."""
        label, prob = self.data.label[rows], predict_rows(self.network, self.data, rows, self.stains)
        weight = np.where(label == 1, self.class_weight[1], self.class_weight[0])
        hit = np.clip(np.where(label == 1, prob, 1 - prob), 1e-7, 1)
        loss = float(np.sum(-np.log(hit) * weight) / np.sum(weight)) if len(rows) else float("nan")
        return compute_metrics(label, prob, 0.5), loss


def _go_on_from(path: Path, network: keras.Sequential, new_head: bool) -> None:
    """Give the network the weights of another; ModelError where that has other layers."""
    weights = load_keras(path).get_weights()
    if [of.shape for of in weights] != [of.shape for of in network.get_weights()]:
        raise ModelError(f"{path} has other layers than CancerNet, so training cannot go on from it.")
    if new_head:
        head = network.layers[-1].get_weights()
        weights[-len(head) :] = head
    network.set_weights(weights)


def _turn(case: NDArray[np.intp]) -> NDArray[np.intp]:
    """The how-manieth of its case each patch is, from 0."""
    order = np.argsort(case, kind="stable")
    first = np.searchsorted(case[order], case[order])
    turn = np.empty(len(case), dtype=np.intp)
    turn[order] = np.arange(len(case)) - first
    return turn


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def predict_rows(
    network: keras.Model, data: LabelledPatches, rows: NDArray[np.intp], stains: CaseStains
) -> NDArray[np.float32]:
    """Probability of IDC of some rows, with few pixels copied at a time."""
    blocks = np.array_split(rows, -(-len(rows) // 4_096) or 1)
    size = min(len(rows), DEFAULT_BATCH)  # what fills a batch up would be computed, too
    return np.concatenate([predict(network, stains.pixels(data, block), size)[:, 1] for block in blocks])
