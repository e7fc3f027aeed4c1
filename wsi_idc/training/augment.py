"""Augmentation suited to histology, in Keras operations, so that it runs where the network runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from wsi_idc.geometry import INPUT_PX, MARGIN_PX, PATCH_PX
from wsi_idc.model.backend import keras
from wsi_idc.model.stain import Normalization
from wsi_idc.training.jpeg_loss import jpeg_loss

ops = keras.ops

RGB_FROM_HED = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=np.float32)
"""Optical density in R, G, B of haematoxylin, eosin and DAB (Ruifrok & Johnston 2001)."""

HED_FROM_RGB = np.linalg.inv(RGB_FROM_HED)

JPEG_QUALITY = (30.0, 98.0)

_MEANS = np.array(Normalization().means, dtype=np.float32)
_FADE = Normalization().density


@dataclass(frozen=True)
class Jitter:
    """How far colours are varied in training; each patch on its own.

    Attributes
    ----------
    stain, stain_offset : float
        Each of haematoxylin, eosin and DAB times ``exp(N(0, stain))`` plus ``N(0, stain_offset)`` optical density.
    mixing : float
        The three optical densities are mixed by the unit matrix plus ``N(0, mixing)``.
    mean, spread : float
        Errors of a slide's normalization: ``N(0, mean)`` is added to the optical density of each channel, and its
        distance from the usual mean multiplied by ``exp(N(0, spread))``.
    contrast : float
        Light times ``exp(N(0, contrast))`` around its mean.
    light : float
        Each channel times ``1 - |N(0, light)|``.
    grey : float
        At most so large a share of grey is mixed in, 0-1.
    jpeg : float
        Share of the patches that lose what JPEG of a quality from 30 to 98 does, 0-1.
    """

    stain: float = 0.2
    stain_offset: float = 0.02
    mixing: float = 0.07
    mean: float = 0.06
    spread: float = 0.12
    contrast: float = 0.15
    light: float = 0.03
    grey: float = 0.35
    jpeg: float = 0.5


STILL = Jitter(stain=0, stain_offset=0, mixing=0, mean=0, spread=0, contrast=0, light=0, grey=0, jpeg=0)


@keras.saving.register_keras_serializable("wsi_idc")
class Augment(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Turn uint8 patches into the network's input, varied at random while training.

    Training: one of the eight flips and right-angle turns, a shift by up to `shift_px` pixels (edges mirrored), colours
    as `jitter` says, and for a part of each batch the loss of JPEG. Otherwise: the central crop, as
    `network.preprocess` makes it.

    Input ``(n, 50, 50, 3)`` uint8, output ``(n, 48, 48, 3)`` float32 in 0-1.
    """

    def __init__(self, seed: int, jitter: Jitter = Jitter(), *, shift_px: int = 6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed, self.jitter, self.shift_px = seed, jitter, shift_px
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, patches: Any, training: bool = False) -> Any:
        pixels = ops.cast(patches, "float32") / 255.0
        if not training:
            return pixels[:, MARGIN_PX : MARGIN_PX + INPUT_PX, MARGIN_PX : MARGIN_PX + INPUT_PX]
        pixels = self._shift(self._shift(pixels, axis=1), axis=2)
        for turned in (_upside_down, _left_to_right, _across_diagonal):
            pixels = ops.where(self._uniform(pixels, (1, 1, 1), 0.0, 1.0) < 0.5, turned(pixels), pixels)
        return self._compress(self._relight(self._restain(pixels)))

    def _normal(self, pixels: Any, shape: tuple[int, ...], deviation: float) -> Any:
        drawn = keras.random.normal((ops.shape(pixels)[0], *shape), seed=self.seed_generator)
        # What lies further out is a colour that no slide has.
        return ops.clip(drawn, -2.5, 2.5) * deviation

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
        """Vary the optical density: one matrix and one offset a patch, fading out towards glass."""
        jitter = self.jitter
        density = -ops.log((pixels * 255.0 + 1.0) / 256.0)
        unit = ops.eye(3)
        stains = ops.exp(self._normal(pixels, (3, 1), jitter.stain))
        matrix = ops.matmul(ops.convert_to_tensor(HED_FROM_RGB), stains * ops.convert_to_tensor(RGB_FROM_HED))
        offset = ops.matmul(self._normal(pixels, (1, 3), jitter.stain_offset), ops.convert_to_tensor(RGB_FROM_HED))
        mixing = unit + self._normal(pixels, (3, 3), jitter.mixing)
        spread = ops.exp(self._normal(pixels, (1, 3), jitter.spread))
        means = ops.convert_to_tensor(_MEANS)
        matrix = ops.matmul(matrix, mixing) * spread
        offset = ops.matmul(offset, mixing) * spread + means * (1.0 - spread)
        offset = offset + self._normal(pixels, (1, 3), jitter.mean)
        flat = ops.reshape(density, (-1, INPUT_PX * INPUT_PX, 3))
        fade = ops.minimum(ops.mean(flat, axis=-1, keepdims=True) / _FADE, 1.0)
        varied = flat + fade * (ops.matmul(flat, matrix - unit) + offset)
        return ops.reshape(ops.exp(-varied) * (256.0 / 255.0) - 1.0 / 255.0, (-1, INPUT_PX, INPUT_PX, 3))

    def _relight(self, pixels: Any) -> Any:
        """Vary contrast, light and saturation."""
        jitter = self.jitter
        contrast = ops.exp(self._normal(pixels, (1, 1, 1), jitter.contrast))
        light = 1.0 - ops.abs(self._normal(pixels, (1, 1, 3), jitter.light))
        share = self._uniform(pixels, (1, 1, 1), 0.0, 1.0) * jitter.grey
        pixels = pixels + share * (ops.mean(pixels, axis=-1, keepdims=True) - pixels)
        middle = ops.mean(pixels, axis=(1, 2, 3), keepdims=True)
        return ops.clip(((pixels - middle) * contrast + middle) * light, 0.0, 1.0)

    def _compress(self, pixels: Any) -> Any:
        """The loss of JPEG on the first part of the batch, which is shuffled: the rest costs nothing."""
        if not self.jitter.jpeg:
            return pixels
        batch = ops.shape(pixels)[0]
        # JAX wants a number where the batch has one; TensorFlow traces batches of any size.
        count = (
            int(batch * self.jitter.jpeg)
            if isinstance(batch, int)
            else ops.cast(ops.floor(ops.cast(batch, "float32") * self.jitter.jpeg), "int32")
        )
        lossy, rest = pixels[:count], pixels[count:]
        quality = keras.random.uniform((ops.shape(lossy)[0],), *JPEG_QUALITY, seed=self.seed_generator)
        return ops.concatenate([jpeg_loss(lossy, quality), rest], axis=0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed, "jitter": asdict(self.jitter), "shift_px": self.shift_px}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Augment:
        return cls(**{**config, "jitter": Jitter(**config["jitter"])})

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], INPUT_PX, INPUT_PX, 3)


def _upside_down(pixels: Any) -> Any:
    return ops.flip(pixels, axis=1)


def _left_to_right(pixels: Any) -> Any:
    return ops.flip(pixels, axis=2)


def _across_diagonal(pixels: Any) -> Any:
    return ops.transpose(pixels, (0, 2, 1, 3))
