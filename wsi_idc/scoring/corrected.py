"""Read the patches that somebody corrected from the sources that they were scored from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.datasets.case import Case
from wsi_idc.datasets.labelled import LabelledPatches
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.errors import CorrectionsError, DataNotFoundError, UnknownCaseError, WsiIdcError
from wsi_idc.geometry import PATCH_PX, PatchSpec
from wsi_idc.model.case_stains import CaseStains, StainedPatches
from wsi_idc.model.stain import Normalization, Stain
from wsi_idc.scoring.corrections import CORRECTIONS_FILE, corrected_boxes, read_corrections
from wsi_idc.scoring.file_names import RUN_FILE
from wsi_idc.scoring.handles import SlideOptions
from wsi_idc.scoring.run_json import UNSOUND, read_run
from wsi_idc.scoring.slide_stain import measure_stain
from wsi_idc.source import PatchSource, Problem

if TYPE_CHECKING:
    from wsi_idc.slides.slide import Slide

Boxes = Mapping[tuple[int, int, int, int], bool]


def load_corrected(
    out: str | Path,
    normalization: Normalization | None,
    *,
    data: str | Path | None = None,
    on_slide: Callable[[int, int], None] | None = None,
) -> StainedPatches:
    """Read every corrected patch of a results folder (7.5 kB each), with the stain of its whole slide.

    Parameters
    ----------
    out : path
        Results folder whose slides have ``corrections.geojson``.
    normalization : Normalization or None
        What the model wants taken out of slides.
    data : path, optional
        Where the cases of named patches are; by default where ``run.json`` says.
    on_slide : callable, optional
        Called after each slide with the number read and the total.

    Raises
    ------
    CorrectionsError
        Where no patch is corrected; where a slide is not there, or is another than was scored; where a file of
        corrections or the ``run.json`` beside it is damaged.
    """
    out = Path(out)
    if not out.is_dir():
        raise DataNotFoundError(f"{out} is no folder: name the results folder whose slides were corrected.")
    folders = sorted(path.parent for path in out.rglob(CORRECTIONS_FILE))
    said = {folder: corrected_boxes(read_corrections(folder)) for folder in folders}
    said = {folder: boxes for folder, boxes in said.items() if boxes}
    if not said:
        raise CorrectionsError(
            f"No patch is corrected below {out}: correct some with wsi-idc view, or in QuPath as {CORRECTIONS_FILE} in "
            "a slide's folder."
        )
    parts, stains, digest = [], {}, hashlib.sha256()
    problems: list[Problem] = []
    for done, (folder, boxes) in enumerate(said.items(), 1):
        slide, pixels, label, position, stain = _read_slide(folder, boxes, normalization, data, problems)
        parts.append((np.full(len(label), slide), pixels, label, position))
        if stain is not None:
            stains[slide] = stain
        digest.update(slide.encode("utf-8", "surrogateescape") + pixels.tobytes() + label.tobytes())
        if on_slide:
            on_slide(done, len(said))
    case, pixels, label, position = (np.concatenate(of) for of in zip(*parts, strict=True))
    if not len(label):
        raise CorrectionsError(f"No correction below {out} lies on a patch that can be read: correct scored patches.")
    patches = LabelledPatches(pixels, label, case, position, digest.hexdigest(), tuple(problems))
    return StainedPatches(patches, CaseStains(normalization, stains))


def _read_slide(
    folder: Path,
    boxes: Boxes,
    normalization: Normalization | None,
    data: str | Path | None,
    problems: list[Problem],
) -> tuple[str, NDArray[np.uint8], NDArray[np.int8], NDArray[np.int64], Stain | None]:
    """Name, pixels, labels, positions and stain of the corrected patches of a slide."""
    try:
        run = read_run(folder)
        with _open(run, data) as source:
            if source.fingerprint != run["source"]["fingerprint"]:
                raise CorrectionsError(
                    f"{source.path} is not what {folder} was scored from: score it again, and correct that."
                )
            pixels, label, position = _pixels(source, boxes, folder, problems)
            return str(run["slide"]), pixels, label, position, measure_stain(source, normalization)
    except (DataNotFoundError, UnknownCaseError) as error:
        raise CorrectionsError(f"The slide of {folder} cannot be opened: {error}") from error
    except WsiIdcError:
        raise
    except UNSOUND as error:
        raise CorrectionsError(f"{folder / RUN_FILE} is missing or damaged: score the slide again.") from error


def _open(run: Mapping[str, Any], data: str | Path | None) -> Case | Slide:
    """Open a slide as it was opened for scoring; what does not matter here, as its labels, is left out."""
    source = run["source"]
    if source["mpp_source"] != "nominal":
        return _slide(source, run)
    if data is not None:
        with suppress(UnknownCaseError), open_dataset(data) as dataset:
            return dataset.case(str(run["slide"]))
    with open_dataset(str(source["path"])) as dataset:
        return dataset.case(str(run["slide"]))


def _slide(source: Mapping[str, Any], run: Mapping[str, Any]) -> Slide:
    model, least = run["model"], source["min_tissue"]
    if "step_px" in source:
        raise CorrectionsError(f"{run['slide']} has overlapping tiles: correct results without --overlap or --step.")
    # A region of interest stands above the mask, and its file may be gone: any tile may have been scored.
    masked = least is not None and "roi_sha256" not in source
    options = SlideOptions(
        mpp=float(source["mpp"][0]) if source["mpp_source"] == "option" else None,
        min_tissue=float(least) if masked else 0.0,
        tissue_mask=masked,
        icc=bool(source["converted_to_srgb"]),
        allow_upsampling=True,
        image=source["image"],
        patch=PatchSpec(int(model["patch_size_pixels"]), float(model["spacing_um_px"])),
    )
    return options.open(Path(source["path"]), name=str(run["slide"]), read_finer=float(source["read_finer"]))


def _pixels(
    source: PatchSource, boxes: Boxes, folder: Path, problems: list[Problem]
) -> tuple[NDArray[np.uint8], NDArray[np.int8], NDArray[np.int64]]:
    """Pixels, labels and positions of the corrected patches of a slide, in its own order."""
    places = [tuple(box) for box in source.patches.boxes.tolist()]
    rows = [i for i, box in enumerate(places) if box in boxes]
    if len(rows) < len(boxes):
        lost = len(boxes) - len(rows)
        problems.append(Problem(str(folder / CORRECTIONS_FILE), f"{lost:,} corrections lie on no patch of the slide"))
    pixels = np.empty((len(rows), PATCH_PX, PATCH_PX, 3), dtype=np.uint8)
    kept = []
    for place, row in enumerate(rows):
        block = source.read(row, row + 1)
        problems += block.problems
        if block.readable[0]:
            pixels[place] = block.pixels[0]
            kept.append(place)
    chosen = [places[rows[place]] for place in kept]
    label = np.array([boxes[box] for box in chosen], dtype=np.int8)
    position = np.array([box[:2] for box in chosen], dtype=np.int64).reshape(-1, 2)
    return pixels[kept], label, position
