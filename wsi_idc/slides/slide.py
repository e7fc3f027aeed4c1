"""A raw slide as a grid of tiles of one size in µm, of which those with tissue are scored."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cache import cached_property
from wsi_idc._util.files import Closable
from wsi_idc.errors import OptionError, SlideError, WsiIdcError
from wsi_idc.geometry import IDC_PATCH, PatchSpec, step_of
from wsi_idc.io.choice import described
from wsi_idc.io.opening import open_reader
from wsi_idc.naming import PHANTOM_MARK
from wsi_idc.slides.colour_profile import profile_name, srgb_converter
from wsi_idc.slides.pictures import STRIP_PX, Picture, PictureReader
from wsi_idc.slides.scale import check_size, checked_mpp
from wsi_idc.slides.tile_grid import TileGrid
from wsi_idc.slides.tissue import find_tissue, tissue_share, unlike_he
from wsi_idc.source import UNKNOWN, Block, Caution, ImageInfo, MppSource, Patches, Problem, SourceKind

if TYPE_CHECKING:
    from wsi_idc.slides.annotations import Annotations, RegionOfInterest

MIN_TISSUE = 0.3
"""Share of a tile that must be tissue for it to be scored."""

TISSUE_MPP = 16.0
"""Scale at which tissue is looked for, in µm/px."""

READ_FINER = 4
"""Tiles are averaged from a level at least so many times as fine as the patches, that is of 2 µm/px or finer.

A slide's levels are compressed one by one. JPEG takes from a level at the scale of the patches what the network looks
at, and raises its probabilities; averaged over 4x4 pixels the loss matters little. See docs/model.md.
"""

LEAST_JPEG_QUALITY = 70
"""A slide compressed more than that is taken with caution."""

_STRIP_TILES = 16
"""Tiles of a row read at once, at most: samples of a few tiles from all over the slide must not read most of it."""


@dataclass(frozen=True)
class _Strip:
    """Neighbouring tiles of a row at the scale of the patches.

    Attributes
    ----------
    left : int
        First column of `pixels`, counted from the slide's corner.
    pixels : ndarray of uint8, shape (h, w, 3)
    opaque : ndarray of bool, shape (h, w)
    """

    left: int
    pixels: NDArray[np.uint8]
    opaque: NDArray[np.bool_]


class Slide(Closable):
    """A raw slide.

    Parameters
    ----------
    path : path
        A file that OpenSlide can read, an OME-TIFF, or with `mpp` a JPEG, PNG or untiled TIFF of tissue.
    mpp : float, optional
        Scale of level 0 in µm/px; stands above the file's own.
    min_tissue : float
        Share of a tile, 0-1, that must be tissue for it to be scored.
    tissue_mask : bool
        Without it every tile is scored.
    icc : bool
        Convert the colours to sRGB by the file's ICC profile.
    allow_upsampling : bool
        Take a slide that is coarser than 1.1 times the scale of the patches, too.
    labels : path, optional
        Outlines of IDC in pixels of level 0 counted from `origin_px`, as QuPath does: see `read_annotations`. A tile is
        labelled 1 where at least 80 % of it lie inside, else 0. Without them tiles have no label.
    label_classes : sequence of str
        Classes of the outlines that are IDC, in place of the table of usual names.
    class_names, positive_class
        Of a model that tells several classes apart: see `read_annotations`.
    roi : path, optional
        Outlines of what is scored, as a file of the same forms: tiles of which at least half lies inside, whatever the
        tissue mask says.
    name : str, optional
        What the slide is called; by default as its file.
    patch : PatchSpec
        Size and scale of the tiles: the model's.
    image : str, optional
        Which of several images in the file, by name or number from 0; by default the largest that is no label, macro or
        thumbnail.
    read_finer : float
        How many times as fine as the patches the level is at least that tiles are averaged from, where there is one.
    overlap : float
        Share of a tile, 0 to 0.75, that it has in common with the next: see `step_of`. The patches are then the cells
        of the grid of steps, and what is read of each is the tile around it.
    step : float, optional
        From tile to tile in µm, in place of `overlap`.

    Raises
    ------
    SlideError
        Where the file cannot be opened, has no usable scale, or holds too little detail.
    OptionError
        Where the labels or the region of interest cannot be used, or the file holds no such image.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        mpp: float | None = None,
        min_tissue: float = MIN_TISSUE,
        tissue_mask: bool = True,
        icc: bool = False,
        allow_upsampling: bool = False,
        labels: str | Path | None = None,
        label_classes: Sequence[str] = (),
        class_names: Sequence[str] = (),
        positive_class: str = "",
        roi: str | Path | None = None,
        name: str | None = None,
        patch: PatchSpec = IDC_PATCH,
        image: str | None = None,
        read_finer: float = READ_FINER,
        overlap: float = 0.0,
        step: float | None = None,
    ) -> None:
        self.patch, self.tile = step_of(patch, overlap, step), patch
        self._reader = open_reader(path, image)
        self.path = str(path)
        self.slide = name or self._reader.name
        self.kind: SourceKind = "phantom" if self.description.startswith(PHANTOM_MARK) else "slide"
        self.mpp_source: MppSource = "file" if mpp is None else "option"
        self._min_tissue = min_tissue if tissue_mask else None
        try:
            self.mpp = checked_mpp(
                self.path,
                self._reader.mpp if mpp is None else (mpp, mpp),
                patch,
                allow_upsampling,
                self._reader.scale_note,
            )
            check_size(self.path, self.size_px, self.mpp)
            convert = srgb_converter(self.path, self._reader) if icc else None
            wanted = {
                "label_classes": tuple(label_classes),
                "class_names": tuple(class_names),
                "positive_class": positive_class,
            }
            self._annotations, self._roi = _outlines(labels, wanted, roi, self.origin_px)
        except WsiIdcError:
            self.close()
            raise
        self._pictures = PictureReader(self.path, self._reader, convert)
        self._tiles = TileGrid(self.size_px, self.mpp, self.patch, self.tile)
        self.details: dict[str, object] = {
            "min_tissue": self._min_tissue,
            "icc_profile": profile_name(self._reader.icc_profile),
            "converted_to_srgb": convert is not None,
            "read_finer": read_finer,
            "image": self._reader.image,
            "origin_px": list(self.origin_px),
        }
        if self._roi is not None:
            self.details["roi_sha256"] = self._roi.sha256
        if self.patch != self.tile:
            self.details["step_px"] = self.patch.size_px
        self._read_finer = read_finer
        self._of_thread = threading.local()

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of level 0."""
        finest = self._reader.levels[0]
        return finest.width_px, finest.height_px

    @property
    def origin_px(self) -> tuple[int, int]:
        """Where QuPath counts pixels from: the corner of what was scanned, in pixels of level 0."""
        return (0, 0) if self._reader.bounds is None else self._reader.bounds[:2]

    @property
    def images(self) -> tuple[ImageInfo, ...]:
        """What else the file holds."""
        return self._reader.images

    @property
    def description(self) -> str:
        """What the file says of itself in free text."""
        return self._reader.description

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """What is odd about the file and its labels. With labels, looks for tissue first."""
        found = []
        if self._reader.image is not None:
            others = "; ".join(map(described, self.images))
            reason = f"of its images {self._reader.image} is scored, and not {others}: --image picks another"
            found.append(Problem(self.path, reason))
        if self._roi is not None:
            found += [Problem(self._roi.path, told) for told in self._roi.skipped]
        if self._annotations is not None:
            found += [Problem(self._annotations.path, told) for told in self._annotations.warnings]
            if self.patches and self._annotations.miss(self.patches):
                reason = "no tile lies inside the outlines of its labels: are they of this slide, in its pixels?"
                found.append(Problem(self.path, reason))
        return tuple(found)

    @cached_property
    def cautions(self) -> tuple[Caution, ...]:
        """Why its results must be taken with caution, as far as the file tells. Looks at the thumbnail."""
        found = []
        if unlike_he(self.thumbnail):
            sentence = "Its colours are unlike haematoxylin and eosin, which the model was trained on."
            found.append(Caution("stain", "stain unlike H&E", sentence))
        quality = self._reader.jpeg_quality
        if quality is not None and quality < LEAST_JPEG_QUALITY:
            sentence = f"It is compressed with JPEG of quality {quality}, which can change what the model sees."
            found.append(Caution("compression", f"JPEG quality {quality}", sentence))
        if self.mpp_source == "option":
            sentence = "Its scale was given by hand: with a wrong one every result is wrong."
            found.append(Caution("scale", f"scale given by hand ({self.mpp[0]:g} µm/px)", sentence))
        if max(self.mpp) > self.patch.coarsest_mpp:
            sentence = (
                f"It was scanned at {max(self.mpp):.4g} µm/px and enlarged: it holds less detail than the model needs."
            )
            found.append(Caution("upsampled", "enlarged", sentence))
        return tuple(found)

    @property
    def labels_from(self) -> Mapping[str, object] | None:
        """Which outlines the labels come from, for ``run.json``; None where there are none."""
        return None if self._annotations is None else self._annotations.as_dict()

    @property
    def lost(self) -> Sequence[Problem]:
        """Where `region`, `picture` and the search for tissue met what cannot be read."""
        return self._pictures.lost

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all files of the slide."""
        return self._reader.fingerprint()

    @cached_property
    def tissue(self) -> NDArray[np.bool_] | None:
        """Where there is tissue, in pixels of the thumbnail, shape (h, w); None without a tissue mask."""
        return None if self._min_tissue is None else find_tissue(self.thumbnail, (TISSUE_MPP, TISSUE_MPP))

    @property
    def thumbnail(self) -> NDArray[np.uint8]:
        """The slide at 16 µm/px, shape (h, w, 3); what cannot be read has the background's colour."""
        return self._overview.pixels

    @cached_property
    def _overview(self) -> Picture:
        across, down = (_lattice(length, mpp) for length, mpp in zip(self.size_px, self.mpp, strict=True))
        seen = self._pictures.picture(across, down)
        if not (seen.opaque | seen.lost).any():
            raise SlideError(f"{self.path} holds no pixels, as all of its tiles are empty: fetch or export it again.")
        return seen

    def picture(self, factor: int) -> NDArray[np.uint8]:
        """The slide reduced by a whole factor, shape (ceil(height / factor), ceil(width / factor), 3).

        What cannot be read has the background's colour.
        """
        edges = (np.minimum(np.arange(-(-length // factor) + 1) * factor, length) for length in self.size_px)
        across, down = (edge.astype(np.float64) for edge in edges)
        return self._pictures.picture(across, down).pixels

    def close_up(self, center: tuple[float, float], side_um: float, side_px: int) -> NDArray[np.uint8]:
        """A square of the slide around x and y in pixels of level 0, shape (side_px, side_px, 3).

        Near an edge it is moved inwards, and what lies beyond a slide that is smaller has the background's colour, as
        what cannot be read.
        """
        across, down = (
            min(max(middle - side / 2, 0.0), max(length - side, 0.0)) + np.linspace(0, side, side_px + 1)
            for middle, length, side in zip(
                center, self.size_px, (side_um / self.mpp[0], side_um / self.mpp[1]), strict=True
            )
        )
        return self._pictures.picture(across, down).pixels

    def window(
        self, left: int, top: int, width: int, height: int, factor: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Part of the slide, reduced by a whole factor. Threads may call it.

        Parameters
        ----------
        left, top, width, height : int
            In reduced pixels, within the slide.
        factor : int
            Pixels of level 0 to one of the window, along either side; 1 gives the slide's own pixels.

        Returns
        -------
        pixels : ndarray of uint8, shape (height, width, 3)
            What cannot be read has the background's colour.
        lost : ndarray of bool, shape (height, width)
            Where that is.
        """
        edges = (
            np.minimum(np.arange(first, first + count + 1) * factor, length).astype(np.float64)
            for first, count, length in zip((left, top), (width, height), self.size_px, strict=True)
        )
        across, down = edges
        seen = self._pictures.picture(across, down)
        return seen.pixels, seen.lost

    @cached_property
    def _grid(self) -> NDArray[np.int64]:
        """Row and column of each tile that is scored, shape (n, 2), in row-major order."""
        cells = np.argwhere(self._tiles.on_slide(self._reader.bounds))
        if self._roi is not None:
            kept = self._roi.holds(self._tiles.boxes(cells).astype(np.float64))
            if not kept.any():
                raise OptionError(
                    f"No tile of {self.path} lies inside {self._roi.path} by half or more: name outlines of this "
                    "slide, in its pixels, with --roi."
                )
            return cells[kept]
        if self.tissue is not None and self._min_tissue is not None:
            x, y = (
                edges.astype(np.float64) * (mpp / TISSUE_MPP)
                for edges, mpp in zip(self._tiles.edges, self.mpp, strict=True)
            )
            row, column = cells.T
            # What cannot be seen may be tissue: it is scored from a level that can be read, or told as unreadable.
            mask = self.tissue | self._overview.lost
            share = tissue_share(mask, x[column], y[row], x[column + 1], y[row + 1])
            return cells[share >= self._min_tissue]
        return cells

    @cached_property
    def patches(self) -> Patches:
        """The tiles that are scored, in row-major order."""
        boxes = self._tiles.boxes(self._grid)
        if self._annotations is None:
            return Patches(np.column_stack([boxes, np.full(len(boxes), UNKNOWN)]))
        return Patches(self._annotations.table(boxes))

    @property
    def tile_places(self) -> NDArray[np.int64]:
        """Left, top, width and height of each scored tile in pixels at the scale of the patches, shape (n, 4)."""
        return self._tiles.places(self._grid)

    @property
    def mosaic_px(self) -> tuple[int, int]:
        """Width and height at the scale of the patches."""
        return self._tiles.mosaic_px

    def region(self, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """Part of the slide at the scale of the patches, shape (height, width, 3).

        What cannot be read has the background's colour.
        """
        return self._pictures.picture(
            np.arange(left, left + width + 1, dtype=np.float64) * (self.patch.mpp / self.mpp[0]),
            np.arange(top, top + height + 1, dtype=np.float64) * (self.patch.mpp / self.mpp[1]),
            self._read_finer,
        ).pixels

    def read(self, start: int, stop: int) -> Block:
        """Read the tiles ``start`` to ``stop - 1``. Threads may call it."""
        grid = self._grid[start:stop]
        pixels = np.full((len(grid), self.tile.size_px, self.tile.size_px, 3), 255, dtype=np.uint8)
        readable, problems = np.ones(len(grid), dtype=np.bool_), []
        for i, (row, column) in enumerate(grid.tolist()):
            try:
                tile = self._tile(row, column)
            except OSError as error:
                readable[i] = False
                patch = self.patches[start + i]
                problems.append(Problem(self.path, f"the tile at x {patch.x}, y {patch.y}: {error}"))
            else:
                pixels[i, : tile.shape[0], : tile.shape[1]] = tile
        return Block(pixels, readable, tuple(problems))

    def _tile(self, row: int, column: int) -> NDArray[np.uint8]:
        """Pixels of a tile at the scale of the patches, smaller at the slide's right and bottom edge."""
        strip = self._strip_with(row, column)
        if strip is None:
            tile, opaque = self._pictures.read(*self._tiles.pixel_edges(row, column, column + 1), self._read_finer)
        else:
            left, right = self._tiles.tile_px(0, column)
            mine = slice(left - strip.left, right - strip.left)
            tile, opaque = strip.pixels[:, mine], strip.opaque[:, mine]
        if not opaque.any():
            raise OSError("nothing is stored there")
        return tile

    def _strip_with(self, row: int, column: int) -> _Strip | None:
        """The tiles that are read at once with this one, whatever is asked for first; None where that fails."""
        index = column // self._strip_tiles
        held: tuple[int, int, _Strip | None] = getattr(self._of_thread, "strip", (-1, -1, None))
        if held[:2] != (row, index):
            mine = (self._grid[:, 0] == row) & (self._grid[:, 1] // self._strip_tiles == index)
            first, last = self._grid[mine, 1].min(), self._grid[mine, 1].max()
            try:
                edges = self._tiles.pixel_edges(row, int(first), int(last) + 1)
                strip = _Strip(self._tiles.tile_px(0, int(first))[0], *self._pictures.read(*edges, self._read_finer))
            except OSError:
                strip = None
            held = self._of_thread.strip = (row, index, strip)
        return held[2]

    @cached_property
    def _strip_tiles(self) -> int:
        """Tiles of a row that are read at once."""
        x, y = (self.patch.mpp / self._read_finer / mpp for mpp in self.mpp)
        level = self._reader.levels[self._reader.level_for((x, y))]
        tile_px = (self.patch.um / self.mpp[0] / level.downsample[0]) * (
            self.tile.um / self.mpp[1] / level.downsample[1]
        )
        return min(max(1, int(STRIP_PX / tile_px)), _STRIP_TILES)


def _lattice(length_px: int, mpp: float) -> NDArray[np.float64]:
    """Edges of pixels of `TISSUE_MPP` along one side, in pixels of level 0; the last is cut."""
    step = TISSUE_MPP / mpp
    return np.append(np.arange(int(np.ceil(length_px / step))) * step, length_px)


def _outlines(
    labels: str | Path | None, wanted: Mapping[str, Any], roi: str | Path | None, origin_px: tuple[int, int]
) -> tuple[Annotations | None, RegionOfInterest | None]:
    """Labels and region of interest, each None where no file is given. Without any, Shapely need not be loaded."""
    if labels is None and roi is None:
        return None, None
    from wsi_idc.slides.annotations import read_annotations, read_roi

    return (
        None if labels is None else read_annotations(labels, origin=origin_px, **wanted),
        None if roi is None else read_roi(roi, origin=origin_px),
    )


open_slide = Slide
"""Open a raw slide: ``open_slide("slide.svs", mpp=0.5)``."""
