"""Whether a slide's scale and size can be."""

from __future__ import annotations

from wsi_idc.errors import SlideError
from wsi_idc.geometry import LARGEST_MM, MAX_MPP, MIN_MPP, PatchSpec, plausible_mpp, plausible_size


def checked_mpp(
    path: str, mpp: tuple[float, float] | None, patch: PatchSpec, allow_upsampling: bool, note: str = ""
) -> tuple[float, float]:
    """The scale of level 0 in µm/px; SlideError where there is none, or none that patches can be made of.

    `note` says what the file tells that is not understood.
    """
    if mpp is None and note:
        raise SlideError(f"{path} does not say its scale in a way that is understood ({note}): give it with --mpp.")
    if mpp is None:
        raise SlideError(f"{path} does not say its scale: give it in µm/px with --mpp.")
    if not all(map(plausible_mpp, mpp)):
        told = " x ".join(f"{value:g}" for value in dict.fromkeys(mpp))
        raise SlideError(
            f"{path} has a scale of {told} µm/px, where {MIN_MPP:g} to {MAX_MPP:g} is plausible: give the true one "
            "with --mpp."
        )
    if max(mpp) > patch.coarsest_mpp and not allow_upsampling:
        raise SlideError(
            f"{path} has {max(mpp):.4g} µm/px at its finest, too coarse for {patch.mpp:g} µm/px: give the true "
            "scale with --mpp, or take it all the same with --allow-upsampling."
        )
    return mpp


def check_size(path: str, size_px: tuple[int, int], mpp: tuple[float, float]) -> None:
    """SlideError where no glass is as large as what the file declares."""
    if not plausible_size(size_px, mpp):
        width, height = (length * scale / 1000 for length, scale in zip(size_px, mpp, strict=True))
        raise SlideError(
            f"{path} declares {size_px[0]:,} x {size_px[1]:,} px, which at {max(mpp):g} µm/px are {width:,.0f} x "
            f"{height:,.0f} mm, where glass has {LARGEST_MM[0]:g} x {LARGEST_MM[1]:g} at most: give the true scale "
            "with --mpp, or fetch the file again."
        )
