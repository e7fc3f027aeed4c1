"""Augmentation suited to histology, in Keras operations, so that it runs where the network runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from wsi_idc.geometry import INPUT_PX, MARGIN_PX, PATCH_PX
from wsi_idc.model.backend import keras

ops = keras.ops

RGB_FROM_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=np.float32)
"""Optical density in R, G, B of haematoxylin, eosin and DAB (Ruifrok & Johnston 2001)."""

HED_FROM_RGB = np.linalg.inv(RGB_FROM_HED)


@keras.saving.register_keras_serializable("wsi_idc")
class Augment(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Turn uint8 patches into the network's input, varied at random while training.

    Training: one of the eight flips and right-angle turns, a shift by up to `shift_px` pixels (edges
    mirrored), each stain scaled by up to ``1 ± stain`` and offset by up to ``± stain_offset`` in optical
    density, brightness scaled by up to ``1 ± brightness``; every patch on its own. Otherwise: the central
    crop, as `cancernet.preprocess` makes it.

    Input ``(n, 50, 50, 3)`` uint8, output ``(n, 48, 48, 3)`` float32 in 0-1.
    """

    def __init__(
        self,
        seed: int,
        *,
        shift_px: int = 6,
        stain: float = 0.25,
        stain_offset: float = 0.03,
        brightness: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.seed, self.shift_px = seed, shift_px
        self.stain, self.stain_offset, self.brightness = stain, stain_offset, brightness
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, patches: Any, training: bool = False) -> Any:
        pixels = ops.cast(patches, "float32") / 255.0
        if not training:
            return pixels[:, MARGIN_PX : MARGIN_PX + INPUT_PX, MARGIN_PX : MARGIN_PX + INPUT_PX]
        pixels = self._shift(self._shift(pixels, axis=1), axis=2)
        for turned in (_upside_down, _left_to_right, _across_diagonal):
            pixels = ops.where(self._uniform(pixels, (1, 1, 1), 0.0, 1.0) < 0.5, turned(pixels), pixels)
        return self._restain(pixels)

    def _uniform(self, pixels: Any, shape: tuple[int, ...], low: float, high: float) -> Any:
        return keras.random.uniform((ops.shape(pixels)[0], *shape), low, high, seed=self.seed_generator)

    def _shift(self, pixels: Any, axis: int) -> Any:
        """Cut `INPUT_PX` pixels along `axis`, from a start of its own for each patch."""
        reach = MARGIN_PX + self.shift_px
        offset = ops.floor(self._uniform(pixels, (1,), -self.shift_px, self.shift_px + 1.0)) + MARGIN_PX
        index = ops.cast(offset, "int32") + ops.arange(INPUT_PX, dtype="int32")
        mirrored = np.pad(np.arange(PATCH_PX), reach, mode="reflect").astype("int32")
        index = ops.take(ops.convert_to_tensor(mirrored), index + reach)
        index = ops.expand_dims(index, (2, 3) if axis == 1 else (1, 3))
        return ops.take_along_axis(pixels, index, axis=axis)

    def _restain(self, pixels: Any) -> Any:
        density = -ops.log(ops.maximum(pixels, 1.0 / 255.0))
        stains = ops.matmul(density, ops.convert_to_tensor(HED_FROM_RGB))
        scale = self._uniform(pixels, (1, 1, 3), 1.0 - self.stain, 1.0 + self.stain)
        offset = self._uniform(pixels, (1, 1, 3), -self.stain_offset, self.stain_offset)
        light = self._uniform(pixels, (1, 1, 1), 1.0 - self.brightness, 1.0 + self.brightness)
        varied = ops.exp(-ops.matmul(stains * scale + offset, ops.convert_to_tensor(RGB_FROM_HED)))
        return ops.clip(varied * light, 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        options = ("seed", "shift_px", "stain", "stain_offset", "brightness")
        return {**super().get_config(), **{name: getattr(self, name) for name in options}}

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], INPUT_PX, INPUT_PX, 3)


def _upside_down(pixels: Any) -> Any:
    return ops.flip(pixels, axis=1)


def _left_to_right(pixels: Any) -> Any:
    return ops.flip(pixels, axis=2)


def _across_diagonal(pixels: Any) -> Any:
    return ops.transpose(pixels, (0, 2, 1, 3))
