"""What is said of a slide beside its pictures."""

from __future__ import annotations

from dataclasses import dataclass

from wsi_idc.sources.base import MppSource, SourceKind

RESEARCH_USE = "For research use only. Not for use in diagnostic procedures."
PHANTOM = "PHANTOM \N{EN DASH} synthetic tissue"


@dataclass(frozen=True)
class Caption:
    """Where a picture's slide and scores come from.

    Attributes
    ----------
    slide : str
        Case number, or name of the slide.
    kind : SourceKind
    model_name, model_sha256 : str
    mpp_source : MppSource
        Where the scale comes from: a nominal one is said to be so.
    version : str
        Version of this package.
    date : str
        ISO date of the scoring.
    context : float or None
        Sigma of the smoothing over neighbours, where it is on.
    trained_on : bool
        Whether the model was trained on this very slide, so that the figures flatter.
    """

    slide: str
    kind: SourceKind
    model_name: str
    model_sha256: str
    mpp_source: MppSource
    version: str
    date: str
    context: float | None = None
    trained_on: bool = False

    @property
    def title(self) -> str:
        """The slide, and what kind of slide it is."""
        kinds = {
            "idc": ("Case", "IDC patch set"),
            "slide": ("Slide", "whole-slide image"),
            "phantom": ("Case", "synthetic tissue"),
        }
        what, kind = kinds[self.kind]
        return f"{what} {self.slide} \N{MIDDLE DOT} {kind}"

    @property
    def case(self) -> str:
        return f"{'Slide' if self.kind == 'slide' else 'Case'} {self.slide}"

    @property
    def model(self) -> str:
        """The model's name and the first 8 hex digits of its hash."""
        name = self.model_name if len(self.model_name) <= 40 else f"{self.model_name[:39]}\N{HORIZONTAL ELLIPSIS}"
        return f"{name} {self.model_sha256[:8]}"

    def provenance(self, threshold: float) -> str:
        """What the footer says but for the slide: model, threshold, context where on, version and date."""
        seen = " (trained on this case)" if self.trained_on else ""
        parts = [f"model {self.model}{seen}", f"threshold {threshold_text(threshold)}"]
        if self.context is not None:
            parts.append(f"context {self.context:g}")
        parts += [f"wsi-idc {self.version}", self.date]
        return " \N{MIDDLE DOT} ".join(parts)


def threshold_text(threshold: float) -> str:
    """A threshold in as many decimals as it has, at least two and at most four."""
    short = f"{threshold:.4f}".rstrip("0")
    return short if len(short) >= 4 else f"{threshold:.2f}"
