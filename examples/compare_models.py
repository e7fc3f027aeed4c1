"""Compare two models on cases that neither has seen: ``python examples/compare_models.py A.keras B.keras [DATA]``.

The interval of the difference comes from a paired bootstrap: both models are judged on the same resamples of cases.
"""

from __future__ import annotations

import sys

import numpy as np

from wsi_idc import evaluate, load_model, load_patches, open_dataset
from wsi_idc.evaluation.evaluate import Evaluation

RESAMPLES = 1_000


def balanced_accuracy(judged: Evaluation, draws: np.ndarray) -> np.ndarray:
    """Balanced accuracy in each resample; `draws`, shape (resamples, cases), says how often a case was drawn."""
    counts = [(of.tp, of.fn, of.tn, of.fp) for of in judged.per_case.values()]
    tp, fn, tn, fp = (draws @ np.array(counts)).T
    with np.errstate(invalid="ignore"):  # a resample may lack a class
        return np.asarray((tp / (tp + fn) + tn / (tn + fp)) / 2)


def main(first: str, second: str, data: str = "demo") -> None:
    models = [load_model(first), load_model(second)]
    with open_dataset(data) as dataset:
        seen = models[0].config.has_seen | models[1].config.has_seen
        cases = [case for case in dataset.cases if case not in seen]
        patches = load_patches(dataset, cases)
    if len(cases) < 2:
        sys.exit(f"{data} has fewer than two cases that neither model has seen: there is no bootstrap of one case.")
    judged = [evaluate(patches, model) for model in models]
    print(f"{len(patches):,} patches of {len(cases)} cases that neither model has seen")
    for path, model, one in zip((first, second), models, judged, strict=True):
        print(f"{model.config.name} ({path}), threshold {one.threshold:.3f}")
        for name in ("balanced_accuracy", "auc"):
            low, high = one.intervals[name] or (np.nan, np.nan)
            print(f"  {name} {getattr(one.metrics, name):.3f}, 95 % over cases {low:.3f} to {high:.3f}")
    draws = np.random.default_rng(0).multinomial(len(cases), np.full(len(cases), 1 / len(cases)), RESAMPLES)
    gain = balanced_accuracy(judged[1], draws) - balanced_accuracy(judged[0], draws)
    low, middle, high = np.nanpercentile(gain, (2.5, 50, 97.5))
    print(f"balanced accuracy, second less first: {middle:+.3f} ({low:+.3f} to {high:+.3f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
