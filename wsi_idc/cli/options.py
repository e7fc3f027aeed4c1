"""Options that mean the same wherever they stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wsi_idc._util.files import DEFAULT_OUT
from wsi_idc.errors import OptionError
from wsi_idc.io.stores import is_url, without_secrets
from wsi_idc.model.config import DEFAULT_BATCH
from wsi_idc.model.neighbourhood import LEARNED, Context

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from wsi_idc.export.outputs import GeoJsonForm, OmeForm

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Options = TypeVar("Options", bound="DataclassInstance")


class LocalPath(click.Path):
    """A path of this machine; an address is refused, which would be made into a folder called ``s3:``."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and is_url(value):
            told = without_secrets(value)
            self.fail(f"{told} is an address, which is not taken here: give a path of this machine.", param, ctx)
        return super().convert(value, param, ctx)


FILE = LocalPath()


class PathOrAddress(click.ParamType[Any]):
    """A path, or the address of a store or web server, which stays a text."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        return value if isinstance(value, str) and is_url(value) else Path(value)


def together(*decorators: Callable[[Decorated], Decorated]) -> Callable[[Decorated], Decorated]:
    def decorate(function: Decorated) -> Decorated:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


data = click.option(
    "--data",
    metavar="PATH",
    help="Folder, zip or store of IDC patches, or the word demo for synthetic ones. "
    "[default: WSI_IDC_DATA, else what download fetched]",
)
model = click.option(
    "--model",
    type=FILE,
    metavar="FILE|DIR|hf://OWNER/NAME",
    envvar="WSI_IDC_MODEL",
    help="A .keras, .onnx or .pt file with its .json beside it, a folder of a model hub, or the model's name on "
    "Hugging Face, which is fetched. [default: WSI_IDC_MODEL, else the bundled model]",
)
allow_code = click.option(
    "--allow-code", is_flag=True, help="Run a .pt model, which is a program: it can do whatever you can."
)
out = click.option(
    "--out",
    type=FILE,
    metavar="DIR",
    default=DEFAULT_OUT,
    show_default=True,
    help="Folder that the results go to.",
)
_out_or_store = click.option(
    "--out",
    type=PathOrAddress(),
    metavar="DIR",
    default=DEFAULT_OUT,
    show_default=True,
    help="Folder that the results go to, or an address s3://, gs:// or az://.",
)
batch_size = click.option(
    "--batch-size",
    type=click.IntRange(1, 2_048),
    default=DEFAULT_BATCH,
    show_default=True,
    metavar="N",
    help="Patches given to the network at once.",
)
_scoring_batch = click.option(
    "--batch-size",
    type=click.IntRange(1, 2_048),
    metavar="N",
    help=f"Patches given to the network at once. [default: {DEFAULT_BATCH}; with --gpus what half their memory holds]",
)
restart = click.option("--restart", is_flag=True, help="Ignore finished work.")
quiet = click.option("--quiet", is_flag=True, help="No progress; warnings and errors only.")
threshold = click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Call a patch IDC from this probability on. [default: the model's own]",
)


def _context(value: str) -> Context:
    try:
        return LEARNED if value == LEARNED else float(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is neither a sigma in patches nor the word {LEARNED}.") from error


class_name = click.option(
    "--class",
    "class_name",
    metavar="NAME",
    help="Class of the model that maps show and calls follow. [default: its positive_class, else idc, tumor or the "
    "last]",
)

context = click.option(
    "--context",
    type=_context,
    metavar="SIGMA|learned",
    help="Calls and pictures follow each patch's neighbours, too: as the model has learned them, or by a blur over so "
    "many patches (up to 10; 0.6 to 1 is usual). [default: off]",
)

layout = click.option(
    "--layout",
    type=click.Choice(["wsi-idc", "wsinfer"]),
    default="wsi-idc",
    show_default=True,
    help="wsinfer: lay the scores out as that does, too, for scripts that read its results.",
)


scheduler = click.option(
    "--scheduler", metavar="ADDRESS", help="A running dask scheduler, like tcp://10.0.0.1:8786, to work there."
)


@dataclass(frozen=True)
class Scoring:
    """Options of all commands that score."""

    model: Path | None
    allow_code: bool
    out: Path
    threshold: float | None
    class_name: str | None
    context: Context
    batch_size: int | None
    layout: str
    restart: bool
    quiet: bool
    store: str | None = None
    """Address that the results go to; `out` says nothing then."""


def _taken(kind: type[Options], given: dict[str, Any]) -> Options:
    """Make a dataclass of the options that are its fields, and take them out of what is given."""
    return kind(**{name: given.pop(name) for name in (field.name for field in fields(kind)) if name in given})


def _scoring(place: Any) -> Callable[[Callable[..., Any]], Any]:
    def scoring(function: Callable[..., Any]) -> Any:
        """Options of scoring; the command gets them as one `Scoring`, called ``scoring``."""

        @together(model, allow_code, place, threshold, class_name, context, _scoring_batch, layout, restart, quiet)
        @wraps(function)
        def collect(**given: Any) -> int:
            from wsi_idc.cli.console import ready_model

            if isinstance(given["out"], str):
                given |= {"store": given["out"], "out": DEFAULT_OUT}
            own = _taken(Scoring, given)
            code: int = function(scoring=replace(own, model=ready_model(own.model, own.allow_code)), **given)
            return code

        return collect

    return scoring


scoring = _scoring(out)
scoring_into_store = _scoring(_out_or_store)
"""`scoring`, whose results may go to a store."""

pixels = together(
    click.option(
        "--mpp",
        type=float,
        metavar="UM",
        help="Scale of the slide at its finest in µm/px; stands above the file's own. [default: the file's]",
    ),
    click.option(
        "--image",
        metavar="NAME|INDEX",
        help="Which of several images in one file, by name or number from 0. [default: the largest that is no label, "
        "macro or thumbnail]",
    ),
    click.option("--icc", is_flag=True, help="Convert colours to sRGB by the slide's ICC profile."),
    click.option("--allow-upsampling", is_flag=True, help="Take slides coarser than 1.1 times the model's scale, too."),
)

_slide = together(
    click.option(
        "--min-tissue",
        type=click.FloatRange(0, 1),
        default=0.3,
        show_default=True,
        metavar="F",
        help="Share of a tile that must be tissue.",
    ),
    click.option("--no-tissue-mask", "tissue_mask", flag_value=False, default=True, help="Take every tile."),
    pixels,
)


_labels = click.option(
    "--labels",
    type=FILE,
    metavar="FILE",
    help="Outlines of IDC: GeoJSON as QuPath exports it (also .gz, .zip), or XML of ASAP or ImageScope. A tile is "
    "positive where 80 % of it lie inside.",
)
_label_class = click.option(
    "--label-class",
    "label_classes",
    multiple=True,
    metavar="NAME",
    help="Class of the outlines that are IDC, of --labels or --manifest. May be repeated. [default: Tumor, IDC and "
    "other usual names]",
)
_roi = click.option(
    "--roi",
    type=FILE,
    metavar="FILE",
    help="Score only tiles of which half lies inside the outlines of this file, whatever the tissue mask says.",
)
case_labels = together(_labels, _label_class)
"""Labels of a case, in pixels of its mosaic: ``labels`` and ``label_classes``."""


def check_label_classes(labels: Path | None, label_classes: Sequence[str]) -> None:
    """OptionError where classes of outlines are named without the outlines."""
    if labels is None and label_classes:
        raise OptionError("--label-class goes with --labels: name the file with the outlines, or leave it out.")


def slide(function: Callable[..., int]) -> Callable[..., int]:
    """Options of how raw slides are read; the command gets them as one `SlideOptions`, called ``reading``."""

    @_slide
    @_label_class
    @wraps(function)
    def collect(**given: Any) -> int:
        from wsi_idc.scoring.handles import SlideOptions

        own = _taken(SlideOptions, given)
        return function(reading=own, **given)

    return collect


def one_slide(function: Callable[..., int]) -> Callable[..., int]:
    """`slide`, and the outlines that are of one slide only: its labels, as ``labels``, and its region of interest."""
    return together(_labels, _roi)(slide(function))


steps = together(
    click.option(
        "--overlap",
        type=click.FloatRange(0, 0.75),
        default=0.0,
        metavar="SHARE",
        help="Share of a tile, 0 to 0.75, that overlaps the next: a finer map, at 0.5 in four times the time. "
        "[default: 0]",
    ),
    click.option(
        "--step",
        type=float,
        metavar="UM",
        help="From tile to tile in µm, in place of --overlap; rounded to a pixel of the model's scale.",
    ),
)
"""How closely tiles of raw slides follow each other; for commands with `slide`, which takes them in."""

packing = click.option(
    "--format",
    "form",
    type=click.Choice(["folder", "zip", "store"]),
    help="What to write. [default: zip where OUT ends in .zip, store in .zarr, else folder]",
)

_cache = together(
    click.option(
        "--cache",
        "cache_dir",
        type=FILE,
        metavar="DIR",
        help="Where slides of stores and web servers are kept while they are read, on a disk of this machine. "
        "[default: wsi-idc/stores where the system keeps caches]",
    ),
    click.option(
        "--cache-gb",
        type=click.FloatRange(0, min_open=True),
        metavar="N",
        help="Most gigabytes of them. [default: 50, or half of what is free]",
    ),
)

everything = together(
    click.option(
        "--slides",
        type=PathOrAddress(),
        metavar="DIR",
        help="Score the raw slides under a folder, or under an address s3://, gs:// or az://.",
    ),
    click.option(
        "--manifest", type=FILE, metavar="FILE", help="CSV of slides: path, and where wanted name, mpp and labels."
    ),
    click.option("--workers", type=click.IntRange(1), metavar="N", help="Threads that read. [default: processors]"),
    click.option(
        "--gpus",
        metavar="LIST",
        help="GPUs of this machine to score on, like 0,1, or all: a process for each. [default: what one process "
        "uses by itself]",
    ),
    click.option(
        "--shard",
        metavar="I/N",
        help="Score only the Ith of N parts of the slides, from 1 to N; auto: the part of this task of an array job; "
        "auto/N: of a job of N tasks. When all parts are done, wsi-idc report sums up; in a store, the same "
        "command without --shard.",
    ),
    scheduler,
    _cache,
)

files = together(click.argument("files", nargs=-1, required=True, metavar="FILE...", type=PathOrAddress()), _cache)

_dicom = together(
    click.option(
        "--dicom",
        is_flag=True,
        help="Write probability.dcm (Parametric Map) and segmentation.dcm, too; of a DICOM slide in its frame of "
        "reference.",
    ),
    click.option("--keep-patient", is_flag=True, help="With --dicom: take patient and study over from a DICOM slide."),
)


def dicom(function: Callable[..., int]) -> Callable[..., int]:
    """Options of DICOM without pictures; the command gets an `Outputs`, called ``outputs``, or None."""

    @_dicom
    @wraps(function)
    def collect(dicom: bool, keep_patient: bool, **given: Any) -> int:
        if not dicom and not keep_patient:
            return function(outputs=None, **given)
        from wsi_idc.export.outputs import Outputs

        return function(outputs=Outputs(dicom=dicom, keep_patient=keep_patient, pictures=False), **given)

    return collect


_drawing = together(
    _dicom,
    click.option("--colormap", default="cividis", show_default=True, metavar="NAME", help="A colormap of matplotlib."),
    click.option(
        "--opacity", type=float, default=0.55, show_default=True, metavar="A", help="Of colour over tissue, up to 1."
    ),
    click.option("--pdf", is_flag=True, help="The sheet also as heatmap.pdf: A4, with text that can be searched."),
    click.option(
        "--dpi", type=int, default=200, show_default=True, metavar="N", help="Of sheet and matrix, 72 to 600."
    ),
    click.option(
        "--geojson",
        type=click.Choice(["tiles", "contours", "tiles.gz", "contours.gz", "none"]),
        default="tiles",
        show_default=True,
        help="For QuPath: every tile, or the outlines of what is called IDC; .gz: compressed.",
    ),
    click.option(
        "--ome",
        multiple=True,
        type=click.Choice(["tiff", "zarr"]),
        help="tiff: probabilities and overlay as OME-TIFF; zarr: probabilities as OME-Zarr. May be repeated.",
    ),
)


def drawing(function: Callable[..., int]) -> Callable[..., int]:
    """Options of what is made of the scores; the command gets them as one `Outputs`, called ``outputs``."""

    @_drawing
    @wraps(function)
    def collect(
        colormap: str,
        opacity: float,
        pdf: bool,
        dpi: int,
        geojson: GeoJsonForm,
        ome: tuple[OmeForm, ...],
        dicom: bool,
        keep_patient: bool,
        **given: Any,
    ) -> int:
        from wsi_idc.export.outputs import Outputs
        from wsi_idc.plotting.style import Style

        outputs = Outputs(Style(colormap, opacity, dpi), geojson, ome, dicom, keep_patient, pdf=pdf)
        return function(outputs=outputs, **given)

    return collect
