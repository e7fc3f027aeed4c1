"""Why the results of a slide must be taken with caution."""

from __future__ import annotations

from wsi_idc.geometry import IDC_PATCH
from wsi_idc.model.config import ModelConfig
from wsi_idc.model.stain import Stain
from wsi_idc.source import Caution, SlideFacts


def find_cautions(source: SlideFacts, model: ModelConfig, stain: Stain | None = None) -> tuple[Caution, ...]:
    """Collect what the data, the model and the two together tell.

    Parameters
    ----------
    source : SlideFacts
    model : ModelConfig
    stain : Stain, optional
        What was taken out of the slide.
    """
    found = list(source.cautions)
    if source.slide in model.has_seen:
        sentence = "The model was trained or tuned on this case: its metrics are optimistically biased."
        found.append(Caution("trained", "trained or tuned on this case", sentence))
    if source.kind == "slide":
        sentence = "The model was never evaluated on slides of this kind, only on cases of the IDC patch set."
        if model.patch != IDC_PATCH:
            sentence = "The model comes from elsewhere: how well it does on slides of this kind is not known here."
        found.append(Caution("material", "never evaluated on such slides", sentence))
    if stain is not None:
        told = stain.cautions() + ([] if model.domain is None else model.domain.cautions(stain))
        found += [Caution(code, code.replace("-", " "), sentence) for code, sentence in told]
    return tuple(found)
