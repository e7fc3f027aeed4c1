"""Captions of pictures: slide, model, threshold, cautions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from wsi_idc._version import __version__
from wsi_idc.model.config import ModelConfig
from wsi_idc.model.neighbourhood import Context
from wsi_idc.scoring.cautions import find_cautions
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import Caution, MppSource, PatchSource, SourceKind

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
        ISO date of the drawing.
    context : float, "learned" or None
        What the calls follow of the neighbours: see `Scores.called_in_context`.
    cautions : tuple of Caution
        Why the results must be taken with caution.
    """

    slide: str
    kind: SourceKind
    model_name: str
    model_sha256: str
    mpp_source: MppSource
    version: str
    date: str
    context: Context = None
    cautions: tuple[Caution, ...] = ()

    @property
    def title(self) -> str:
        """The slide, and what kind of slide it is."""
        kinds = {"idc": "IDC patch set", "slide": "whole-slide image", "phantom": "synthetic tissue"}
        return f"{self.case} \N{MIDDLE DOT} {kinds[self.kind]}"

    @property
    def case(self) -> str:
        """The slide as it is called: only cases of patches have a nominal scale."""
        return f"{'Case' if self.mpp_source == 'nominal' else 'Slide'} {self.slide}"

    @property
    def model(self) -> str:
        """The model's name and the first 8 hex digits of its hash."""
        name = self.model_name if len(self.model_name) <= 40 else f"{self.model_name[:39]}\N{HORIZONTAL ELLIPSIS}"
        return f"{name} {self.model_sha256[:8]}"

    def provenance(self, threshold: float) -> str:
        """What the footer says but for the slide: model, threshold, context where on, version and date."""
        known = " (trained or tuned on this case)" if any(one.code == "trained" for one in self.cautions) else ""
        parts = [f"model {self.model}{known}", f"threshold {threshold_text(threshold)}"]
        if self.context is not None:
            parts.append(f"context {context_text(self.context)}")
        parts += [f"wsi-idc {self.version}", self.date]
        return " \N{MIDDLE DOT} ".join(parts)


def make_caption(
    source: PatchSource, model: ModelConfig, scores: Scores, cautions: tuple[Caution, ...] | None = None
) -> Caption:
    """Caption for pictures of this slide drawn today from this model's scores."""
    return Caption(
        slide=source.slide,
        kind=source.kind,
        model_name=model.name,
        model_sha256=model.sha256,
        mpp_source=source.mpp_source,
        version=__version__,
        date=date.today().isoformat(),
        context=scores.called_in_context,
        cautions=find_cautions(source, model) if cautions is None else cautions,
    )


def context_text(context: Context) -> str:
    """A context as footers name it."""
    return "off" if context is None else context if isinstance(context, str) else f"{context:g}"


def threshold_text(threshold: float) -> str:
    """A threshold in as many decimals as it has, at least two and at most four."""
    short = f"{threshold:.4f}".rstrip("0")
    return short if len(short) >= 4 else f"{threshold:.2f}"
