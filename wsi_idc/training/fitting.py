"""Train CancerNet on labelled patches held in memory as uint8."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsi_idc._util.files import make_folder, replacing, replacing_text, write_json
from wsi_idc._version import __version__
from wsi_idc.datasets.labelled import LabelledPatches
from wsi_idc.errors import ModelError, TrainingError
from wsi_idc.geometry import PATCH_PX
from wsi_idc.metrics import Metrics, compute_metrics
from wsi_idc.model.backend import keras, own_settings
from wsi_idc.model.calibration import Decision, decide
from wsi_idc.model.cancernet import DROPOUT, build_cancernet
from wsi_idc.model.case_stains import CaseStains, StainedPatches
from wsi_idc.model.classifier import find_model
from wsi_idc.model.config import DEFAULT_BATCH, ModelConfig, file_sha256
from wsi_idc.model.domain import Domain, fit_domain
from wsi_idc.model.keras_network import load_keras, predict
from wsi_idc.model.neighbourhood import Neighbourhood, fit_neighbourhood
from wsi_idc.model.stain import Normalization
from wsi_idc.splits import PARTS, Split, SplitName
from wsi_idc.training.augment import Augment, Jitter
from wsi_idc.training.mixing import corrections_told, mix_in, rows_apart
from wsi_idc.training.moments import refresh_moments

MODEL_FILE = "cancernet.keras"
HISTORY_FILE = "history.csv"
PLAN_FILE = "training.json"
CHECKPOINT_FILE = "checkpoint.npz"

AVERAGE_EVERY = 8
"""Steps between two additions to the running mean of the weights: each one copies them all."""

WATCHED_PATCHES = 2_000
"""How many training patches the training AUC is taken from, without augmentation."""

MOMENT_PATCHES = 2_048
"""How many augmented training patches the moments of batch normalization are estimated on."""

LEARNING_RATE = 3e-3
TUNING_RATE = 1e-3
CORRECTING_RATE = 1e-4
"""Learning rates from fresh weights, from given ones, and with corrected patches: higher ones forget what the model
knew."""

_CHANCE_AUC = 0.55
_SURE_THRESHOLD = 0.02
"""A validation AUC up to this, and a threshold this close to 0 or 1, are no outcome of a sound training."""


@dataclass(frozen=True)
class StartingModel:
    """Weights to go on from.

    Attributes
    ----------
    path : Path
        Of a ``.keras`` file with the layers of CancerNet, and its ``.json`` beside it.
    sha256 : str
        Of the ``.keras`` file.
    normalization : Normalization or None
        What its ``.json`` says.
    dropout : float
        The one that it was trained with, as far as its ``.json`` says.
    """

    path: Path
    sha256: str
    normalization: Normalization | None
    dropout: float = DROPOUT

    @classmethod
    def read(cls, path: str | Path) -> StartingModel:
        """Read what the ``.json`` says; ModelError as `find_model`."""
        found, config = find_model(path)
        dropout = config.training.get("dropout")
        if not isinstance(dropout, float) or not 0 <= dropout < 1:
            dropout = DROPOUT
        return cls(found, config.sha256, config.normalization, dropout)


@dataclass(frozen=True)
class Recipe:
    """How to train. With the data, it fixes the weights.

    Attributes
    ----------
    learning_rate : float
        Of Adam at the start; it falls to nothing along a cosine over `epochs`.
    start : StartingModel, optional
        Weights to go on from; by default fresh ones.
    new_head : bool
        With `start`, its last layer is made afresh.
    dropout : float
        As in `build_cancernet`.
    patience : int
        Epochs without a better validation AUC after which training stops.
    patches_per_case : int, optional
        At most this many patches of a case in an epoch, drawn anew for each, so that a case of many patches does not
        outweigh the others. By default all.
    normalization : Normalization or None
        What each case's glass and stain are brought to; None leaves patches as they are.
    jitter : Jitter
        How far colours are varied.
    averaging : float
        The weights that count are a running mean over about this share, 0-1, of the steps so far: the latest ones.
    """

    split: SplitName = "patient"
    extra_train: bool = False
    exclude: tuple[str, ...] = ()
    seed: int = 0
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = LEARNING_RATE
    dropout: float = DROPOUT
    patience: int = 15
    patches_per_case: int | None = None
    averaging: float = 0.1
    normalization: Normalization | None = field(default_factory=Normalization)
    jitter: Jitter = field(default_factory=Jitter)
    start: StartingModel | None = None
    new_head: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As JSON keeps it: the weights to go on from are named by their SHA-256."""
        return {**asdict(self), "start": self.start and self.start.sha256}

    @property
    def parts(self) -> Split:
        """Which case or patch trains, tunes and tests."""
        return Split(self.split, self.seed, self.extra_train, self.exclude)


@dataclass(frozen=True)
class Trained:
    """The model that was made, and how training went.

    Attributes
    ----------
    doubts : tuple of str
        A sentence for each figure that can only be a fault.
    """

    model: Path
    history: tuple[Epoch, ...]
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Epoch:
    """A row of ``history.csv``; the figures are those of the averaged weights, but for `loss`."""

    epoch: int
    loss: float
    auc: float
    val_loss: float
    val_auc: float
    val_balanced_accuracy: float
    seconds: float


OnBatch = Callable[[int, int, int], None]
OnEpoch = Callable[[Epoch], None]


@own_settings()
def train(
    data: LabelledPatches,
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    corrected: StainedPatches | None = None,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
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
    corrected : StainedPatches, optional
        Patches that somebody corrected, mixed into every batch: see `mix_in`. Their slides neither tune nor test.
    on_batch, on_epoch : callable, optional
        Called with (epoch, patches done, patches in an epoch) after each batch, and with each finished epoch.

    Returns
    -------
    Trained
        The model's calibration and threshold come from the validation part: see `decide`.

    Raises
    ------
    TrainingError
        Where a part has no patches of a class, or `resume` finds a checkpoint of other data or options.
    """
    part = recipe.parts.divide(data.case, data.label)
    trains, tunes, tests = (rows_apart(data, np.flatnonzero(part == name), name, corrected) for name in PARTS)
    trained = fit(
        *(data, recipe, Path(out), trains, tunes),
        resume=resume,
        corrected=corrected,
        on_batch=on_batch,
        on_epoch=on_epoch,
    )
    stains = CaseStains.measure(data, recipe.normalization)
    prob = kept_predictions(trained, data, tunes, stains)
    decision = decide(data.label[tunes], prob, data.case[tunes])
    calibrated = decision.calibration.apply(prob)
    write_config(
        trained,
        decision,
        recipe.normalization,
        learned_context(data, tunes, prob, decision),
        learned_domain(data, trains, stains),
        {
            **corrections_told(provenance(data, recipe, trained, train=trains, val=tunes, test=tests), corrected),
            "best_epoch": best_epoch(trained.history).epoch,
            "threshold_from": "best balanced accuracy on the validation patches, every case counting the same",
            "metrics_val": compute_metrics(data.label[tunes], calibrated, decision.threshold).as_dict(),
        },
    )
    return replace(trained, doubts=doubts(best_epoch(trained.history).val_auc, decision.threshold))


def doubts(auc: float, threshold: float) -> tuple[str, ...]:
    """A sentence for each of these figures that can only be a fault: the validation AUC and the threshold."""
    found = []
    if auc <= _CHANCE_AUC:
        found.append(
            f"The validation AUC is {auc:.3f}, hardly better than chance: check the labels, or train for more --epochs."
        )
    if not _SURE_THRESHOLD <= threshold <= 1 - _SURE_THRESHOLD:
        found.append(
            f"The threshold is {threshold:.4f}, so nearly all patches get one call: check that training and "
            "validation cases are of one kind, or train for more --epochs."
        )
    return tuple(found)


@own_settings()
def fit(
    data: LabelledPatches,
    recipe: Recipe,
    folder: Path,
    trains: NDArray[np.intp],
    watches: NDArray[np.intp],
    *,
    keep_last: bool = False,
    resume: bool = False,
    corrected: StainedPatches | None = None,
    known: CaseStains | None = None,
    on_batch: OnBatch | None = None,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Fit the weights to some rows of the data, and write them without their ``.json``.

    Parameters
    ----------
    trains : ndarray of int, shape (m,)
        Rows that the weights are fitted to.
    watches : ndarray of int, shape (k,)
        Rows whose AUC says which epoch is kept and when to stop. May be empty with `keep_last`.
    keep_last : bool
        Keep the last epoch instead, and let the watched rows decide nothing.
    known : CaseStains, optional
        Stains of the cases, where the data are too few to measure them on. The moments of batch normalization, for
        which they are too few as well, then stay those of the weights that training goes on from.
    corrected : StainedPatches, optional
        As in `train`.
    data, recipe, folder, resume, on_batch, on_epoch
        As in `train`.
    """
    _check_classes(data.label[trains], "training")
    if not keep_last:
        _check_classes(data.label[watches], "validation")
    run = _Run(data, recipe, make_folder(folder), trains, watches, keep_last, corrected, known)
    run.start(resume)
    for epoch in range(len(run.history) + 1, recipe.epochs + 1):
        if run.stale >= recipe.patience:
            break
        row = run.epoch(epoch, on_batch)
        if on_epoch:
            on_epoch(row)
    return Trained(folder / MODEL_FILE, tuple(run.history))


def _check_classes(label: NDArray[np.int8], name: str) -> None:
    negative, positive = np.bincount(label, minlength=2)
    if not negative or not positive:
        raise TrainingError(
            f"The {name} part has {negative:,} patches without and {positive:,} with IDC, and needs both: "
            "give more cases, or another --split or --seed."
        )


def class_weights(label: NDArray[np.int8], weight: NDArray[np.float64]) -> dict[int, float]:
    """Weight of each class in the loss, so that both count the same in all; 1 on average over the patches.

    `weight`, shape ``(n,)``, says how often each patch is drawn.
    """
    counts = np.bincount(label, weight, minlength=2)
    return {value: float(counts.sum() / (2 * count)) for value, count in enumerate(counts)}


class _Run:
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
        label, prob = self.data.label[rows], _predict(self.network, self.data, rows, self.stains)
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


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """The epoch of highest validation AUC, the first among equals."""
    return max(history, key=lambda row: row.val_auc)


def _predict(
    network: keras.Model, data: LabelledPatches, rows: NDArray[np.intp], stains: CaseStains
) -> NDArray[np.float32]:
    """Probability of IDC of some rows, with few pixels copied at a time."""
    blocks = np.array_split(rows, -(-len(rows) // 4_096) or 1)
    size = min(len(rows), DEFAULT_BATCH)  # what fills a batch up would be computed, too
    return np.concatenate([predict(network, stains.pixels(data, block), size)[:, 1] for block in blocks])


def kept_predictions(
    trained: Trained, data: LabelledPatches, rows: NDArray[np.intp], stains: CaseStains
) -> NDArray[np.float32]:
    """Probability of IDC of some rows, shape ``(len(rows),)``, by the weights that were kept, not calibrated."""
    return _predict(keras.models.load_model(trained.model, compile=False), data, rows, stains)


def learned_context(
    data: LabelledPatches, rows: NDArray[np.intp], raw: ArrayLike, decision: Decision
) -> Neighbourhood | None:
    """What neighbours say of a patch, from the network's own probabilities of rows that did not train."""
    prob, position = decision.calibration.apply(raw), data.position[rows] // PATCH_PX
    return fit_neighbourhood(data.case[rows], position, prob, data.label[rows], decision.threshold)


def learned_domain(data: LabelledPatches, trains: NDArray[np.intp], stains: CaseStains) -> Domain | None:
    """Stain and sharpness of the cases that trained; None where stains are not measured."""
    return fit_domain([stains.of_case[case] for case in np.unique(data.case[trains]).tolist() if stains.of_case])


def write_config(
    trained: Trained,
    decision: Decision,
    normalization: Normalization | None,
    context: Neighbourhood | None,
    domain: Domain | None,
    training: dict[str, Any],
) -> None:
    """Write the ``.json`` beside the weights."""
    config = ModelConfig(
        name="CancerNet",
        sha256=file_sha256(trained.model),
        threshold=decision.threshold,
        calibration=decision.calibration,
        normalization=normalization,
        context=context,
        domain=domain,
        version=__version__,
        training=training,
    )
    config.write(trained.model.with_suffix(".json"))


def provenance(data: LabelledPatches, recipe: Recipe, trained: Trained, **rows: NDArray[np.intp]) -> dict[str, Any]:
    """What made the weights: recipe, data, software, and for each named part its cases and the number of patches."""
    return {
        **recipe.as_dict(),
        "fingerprint": data.fingerprint,
        "epochs_run": len(trained.history),
        "software": {"keras": keras.__version__, "backend": keras.backend.backend()},
        **{f"patches_{part}": len(of) for part, of in rows.items()},
        **{f"cases_{part}": sorted(set(data.case[of].tolist()), key=int) for part, of in rows.items()},
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
