"""How well the domain of a model tells slides that are unlike its training cases.

``python benchmarks/domain.py DATA [--model FILE] [--slides DIR] [--write]``: learned from the model's training cases,
and tried on the published validation cases (whole, and 64 patches of each): as they are, and blurred, magnified,
dark, grey or with other faults. ``--write`` puts it into the model's ``.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.transform import rescale

from wsi_idc import measure_stain, open_dataset, open_slide
from wsi_idc.datasets.labelled import load_patches
from wsi_idc.model.classifier import bundled_model, find_model
from wsi_idc.model.domain import fit_domain
from wsi_idc.model.stain import estimate_stain
from wsi_idc.splits import official_parts

Patches = NDArray[np.uint8]
MPP_OF = {"tcga-cr-7395-01a-01-ts1.svs": 0.25}
"""Of files that do not say it."""


def blurred(sigma_px: float) -> Callable[[Patches], Patches]:
    return lambda patches: gaussian_filter(patches, (0, sigma_px, sigma_px, 0))


def magnified(patches: Patches) -> Patches:
    middle = patches[:, 12:37, 12:37]
    return np.stack([rescale(one, 2, order=3, channel_axis=-1, preserve_range=True).round() for one in middle]).astype(
        np.uint8
    )


def grey(patches: Patches) -> Patches:
    return np.repeat(patches.mean(axis=-1, keepdims=True).round().astype(np.uint8), 3, axis=-1)


FAULTS: dict[str, Callable[[Patches], Patches]] = {
    "64 patches": lambda patches: patches,
    "8 patches": lambda patches: patches[:8],
    "1 patch": lambda patches: patches[:1],
    "blurred, sigma 0.7 px": blurred(0.7),
    "blurred, sigma 1 px": blurred(1),
    "blurred, 8 patches": lambda patches: blurred(1)(patches[:8]),
    "blurred, 1 patch": lambda patches: blurred(1)(patches[:1]),
    "magnified twice": magnified,
    "half the light": lambda patches: patches // 2,
    "grey": grey,
    "red and blue exchanged": lambda patches: patches[..., ::-1],
    "inverted": lambda patches: 255 - patches,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", type=Path, default=bundled_model())
    parser.add_argument("--slides", type=Path, help="folder of .svs and .tif files of other tissue")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    path, config = find_model(asked.model)
    target, lists = config.normalization, official_parts()
    assert target is not None, "the model takes no stain out"
    rng = np.random.default_rng(0)
    with open_dataset(asked.data) as dataset:
        stains = [measure_stain(dataset.case(case), target) for case in config.trained_on]
        domain = fit_domain([stain for stain in stains if stain is not None])
        assert domain is not None, "too few cases"
        whole, sampled = [], []
        for case in (case for case in dataset.cases if lists.get(case) == "val"):
            stain = measure_stain(dataset.case(case), target)
            assert stain is not None
            whole.append(domain.distance(stain))
            pixels = load_patches(dataset, [case]).pixels
            sampled.append(pixels[np.sort(rng.permutation(len(pixels))[:64])])
    print(f"learned from {domain.cases} cases; 99 % of them stay below {domain.limit:.2f}")
    print("| validation cases | median distance | beyond the limit |\n| --- | --- | --- |")
    rows = {"whole": whole} | {
        name: [domain.distance(estimate_stain(fault(patches), target)) for patches in sampled]
        for name, fault in FAULTS.items()
    }
    for name, distances in rows.items():
        print(f"| {name} | {np.median(distances):.2f} | {np.mean(np.array(distances) > domain.limit):.0%} |")
    for file in sorted(asked.slides.iterdir()) if asked.slides else ():
        if file.suffix in {".svs", ".tif"}:
            with open_slide(file, mpp=MPP_OF.get(file.name)) as slide:
                stain = measure_stain(slide, target)
                assert stain is not None
                print(f"{file.name}, {len(slide.patches)} tiles: {domain.distance(stain):.2f}")
    if asked.write:
        replace(config, domain=domain).write(path.with_suffix(".json"))


if __name__ == "__main__":
    main()
