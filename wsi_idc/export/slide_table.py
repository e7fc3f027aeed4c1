"""What a table for other programs holds of a slide."""

from __future__ import annotations

from dataclasses import dataclass

from wsi_idc.geometry import PatchSpec
from wsi_idc.plotting.caption import context_text
from wsi_idc.scoring.scores import Scores


@dataclass(frozen=True, eq=False)
class SlideTable:
    """The patches of a slide, and what was run on it.

    Attributes
    ----------
    scores : Scores
    kind : str
        ``idc``, ``slide`` or ``phantom``.
    mpp : tuple of float
        Scale of level 0 along x and y in µm/px.
    nominal_mpp : bool
        Whether that scale is the set's, not the file's.
    size_px : tuple of int
        Width and height of level 0.
    patch : PatchSpec
    model, model_sha256 : str
    cautions : tuple of str
        Codes.
    version : str
        Of the package that scored it.
    """

    scores: Scores
    kind: str
    mpp: tuple[float, float]
    nominal_mpp: bool
    size_px: tuple[int, int]
    patch: PatchSpec
    model: str
    model_sha256: str
    cautions: tuple[str, ...]
    version: str

    def about(self) -> dict[str, str | int | float | bool]:
        """What is the same for all patches, by name: numbers and texts only. `context` is what calls follow."""
        return {
            "kind": self.kind,
            "mpp_x": self.mpp[0],
            "mpp_y": self.mpp[1],
            "nominal_mpp": self.nominal_mpp,
            "width_px": self.size_px[0],
            "height_px": self.size_px[1],
            "patch_size_px": self.patch.size_px,
            "patch_um_px": self.patch.mpp,
            "patches": len(self.scores),
            "unreadable": int((~self.scores.readable).sum()),
            "model": self.model,
            "model_sha256": self.model_sha256,
            "threshold": self.scores.threshold,
            "context": context_text(self.scores.called_in_context),
            "cautions": " ".join(self.cautions),
            "wsi_idc_version": self.version,
        }
