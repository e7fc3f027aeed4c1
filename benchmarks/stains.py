"""How a model holds where slides are stained otherwise.

``python benchmarks/stains.py DATA MODEL.keras [MODEL.keras ...] [--slides DIR] [--patches-per-case N]``

The published validation cases are scored as they are, and carried over to other stains in two ways: Macenko (each stain
vector in place of the case's own, concentrations at their 99th percentile) and Reinhard (mean and spread of the optical
density). For each: AUC, balanced accuracy at the model's threshold, and the share of patches called IDC.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsi_idc import open_dataset, open_slide
from wsi_idc.datasets.labelled import LabelledPatches, load_patches
from wsi_idc.evaluation.evaluate import evaluate
from wsi_idc.metrics import compute_metrics
from wsi_idc.model.classifier import load_model
from wsi_idc.model.stain import even_sample
from wsi_idc.splits import official_parts

Array = NDArray[np.float64]

STAINS: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, float]]] = {
    # Optical density in R, G, B of haematoxylin and of eosin, and their 99th percentiles.
    "Ruifrok & Johnston": ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (1.2, 1.0)),
    "Macenko reference": ((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581), (1.9705, 1.0308)),
    "navy": ((0.78, 0.60, 0.18), (0.09, 0.95, 0.28), (1.8, 0.8)),
    "brown": ((0.45, 0.68, 0.58), (0.15, 0.75, 0.65), (1.5, 1.1)),
    "faded": ((0.60, 0.70, 0.38), (0.15, 0.90, 0.40), (0.7, 0.4)),
    "eosin-heavy": ((0.62, 0.70, 0.35), (0.12, 0.93, 0.34), (1.2, 2.0)),
    "haematoxylin-heavy": ((0.65, 0.68, 0.33), (0.10, 0.95, 0.30), (2.6, 0.6)),
    "grey mix": ((0.58, 0.60, 0.54), (0.45, 0.66, 0.60), (1.4, 0.9)),
}
"""The first is published by Ruifrok & Johnston (2001), the second by Macenko et al. (2009); the others are invented."""

_STAINED = 0.15


def density_of(pixels: NDArray[np.uint8]) -> Array:
    """Optical density, any shape."""
    return np.asarray(-np.log((pixels.astype(np.float64) + 1) / 256))


def light_of(density: Array) -> NDArray[np.uint8]:
    """Light, 0-255, of an optical density."""
    return np.clip(np.rint(256 * np.exp(-density) - 1), 0, 255).astype(np.uint8)


def vectors_of(density: Array) -> tuple[Array, Array]:
    """Stain vectors, shape (2, 3), haematoxylin first, and 99th percentiles of stained pixels ``(n, 3)`` (Macenko)."""
    stained = density[density.mean(axis=1) > _STAINED]
    axes = np.linalg.eigh(np.cov(stained.T))[1][:, [2, 1]]
    axes = axes * np.where(axes.sum(axis=0) < 0, -1, 1)
    angle = np.arctan2(*(stained @ axes).T[::-1])
    ends = [axes @ (np.cos(a), np.sin(a)) for a in np.percentile(angle, [1, 99])]
    vectors = np.array(sorted((np.maximum(end, 0.01) for end in ends), key=lambda end: -end[0] / np.linalg.norm(end)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    amounts = stained @ np.linalg.pinv(vectors)
    return vectors, np.maximum(np.percentile(amounts, 99, axis=0), 0.05)


def macenko(density: Array, vectors: Array, most: Array) -> Array:
    """Density ``(n, 3)`` with other stain vectors and amounts; what is neither stain is left."""
    own, own_most = vectors_of(density)
    return np.asarray(np.maximum((density @ np.linalg.pinv(own)) * (most / own_most), 0) @ vectors)


def reinhard(density: Array, means: Array, spreads: Array) -> Array:
    """Density ``(n, 3)`` with another mean and spread of the stained pixels, fading out towards glass."""
    mean = density.mean(axis=1, keepdims=True)
    stained = density[mean[:, 0] > _STAINED]
    moved = (density - stained.mean(axis=0)) / np.maximum(stained.std(axis=0), 0.02) * spreads + means
    return np.asarray(np.maximum(density + np.minimum(mean / _STAINED, 1) * (moved - density), 0))


def painted(vectors: Array, most: Array) -> tuple[Array, Array]:
    """Mean and spread that tissue of typical amounts has in a stain."""
    rng = np.random.default_rng(0)
    amounts = rng.gamma([1.6, 2.2], [0.16, 0.17], (20_000, 2)) * most
    density = amounts @ vectors
    density = density[density.mean(axis=1) > _STAINED]
    return density.mean(axis=0), density.std(axis=0)


def references(slides: Path | None) -> Iterator[tuple[str, Array, Array, Array, Array]]:
    """Name, stain vectors, amounts, means and spreads of each stain to carry cases over to."""
    for name, (first, second, most) in STAINS.items():
        vectors = np.array([first, second]) / np.linalg.norm([first, second], axis=1, keepdims=True)
        yield name, vectors, np.array(most), *painted(vectors, np.array(most))
    for path in sorted(slides.iterdir()) if slides else ():
        if path.suffix not in {".svs", ".tif"}:
            continue
        mpp = 0.25 if path.name.startswith("tcga") else None  # its file has none
        with open_slide(path, mpp=mpp) as slide:
            read = [slide.read(start, stop) for start, stop in even_sample(len(slide.patches))]
        if not read:
            continue  # no tissue found
        pixels = np.concatenate([block.pixels[block.readable] for block in read]).reshape(-1, 3)
        density = density_of(pixels)
        stained = density[density.mean(axis=1) > _STAINED]
        yield path.name, *vectors_of(density), stained.mean(axis=0), stained.std(axis=0)


def carried(data: LabelledPatches, method: str, reference: tuple[Array, Array, Array, Array]) -> LabelledPatches:
    """Each case with another stain."""
    vectors, most, means, spreads = reference
    pixels = np.empty_like(data.pixels)
    for case in np.unique(data.case):
        of = data.case == case
        density = density_of(data.pixels[of]).reshape(-1, 3)
        moved = macenko(density, vectors, most) if method == "Macenko" else reinhard(density, means, spreads)
        pixels[of] = light_of(moved).reshape(data.pixels[of].shape)
    return replace(data, pixels=pixels)


def sample(data: LabelledPatches, most: int) -> LabelledPatches:
    """At most so many patches of each case, drawn at random with a fixed seed."""
    rng = np.random.default_rng(0)
    rows = [rng.permutation(np.flatnonzero(data.case == case))[:most] for case in np.unique(data.case)]
    kept = np.sort(np.concatenate(rows))
    return replace(
        data, pixels=data.pixels[kept], label=data.label[kept], case=data.case[kept], position=data.position[kept]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--slides", type=Path, help="folder whose .svs and .tif files give stains, too")
    parser.add_argument("--patches-per-case", type=int, default=40)
    asked = parser.parse_args()
    with open_dataset(asked.data) as dataset:
        lists = official_parts()
        data = load_patches(dataset, [case for case in dataset.cases if lists.get(case) == "val"])
    data = sample(data, asked.patches_per_case)
    models = [load_model(path) for path in asked.models]
    print(f"{len(data):,} patches of {len(set(data.case)):,} cases; AUC, balanced accuracy, share called")
    print("| stain | " + " | ".join(str(path) for path in asked.models) + " |")
    print("| --- |" + " --- |" * len(models))

    def row(name: str, shown: LabelledPatches) -> None:
        cells = []
        for model in models:
            prob = evaluate(shown, model).prob
            figures = compute_metrics(shown.label, prob, model.config.threshold)
            called = np.mean(prob >= model.config.threshold)
            cells.append(f"{figures.auc:.3f}, {figures.balanced_accuracy:.3f}, {called:.0%}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)

    row("as it is", data)
    for name, *reference in references(asked.slides):
        for method in ("Macenko", "Reinhard"):
            row(f"{name}, {method}", carried(data, method, (reference[0], reference[1], reference[2], reference[3])))
    if (healthy := data.label == 0).any():
        for model in models:
            prob = evaluate(data, model).prob[healthy]
            print(f"healthy at hand: {np.mean(prob < model.config.threshold):.3f} of {len(prob):,} not called")


if __name__ == "__main__":
    main()
