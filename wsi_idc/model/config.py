"""The ``.json`` beside a model: wsinfer's model configuration, and where the weights come from."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wsi_idc._util.files import write_json
from wsi_idc.errors import ModelError, printable
from wsi_idc.geometry import IDC_PATCH, INPUT_PX, PATCH_PX, PatchSpec, plausible_mpp
from wsi_idc.model.calibration import Calibration
from wsi_idc.model.neighbourhood import Neighbourhood
from wsi_idc.model.stain import METHOD, Normalization, Rgb

CLASS_NAMES = ("no_idc", "idc")

_MOST_BYTES, _LONGEST = 1 << 24, 200
"""Of a configuration's file, and of a text in it that goes on sheets. The bundled one has 50 kB."""

DEFAULT_BATCH = 256
"""Patches given to the network at once: TensorFlow is at its fastest from here on."""


@dataclass(frozen=True)
class ModelConfig:
    """What has to be known of a model beside its weights.

    Attributes
    ----------
    name : str
        Name under which the model appears on sheets.
    sha256 : str
        Of the ``.keras`` file that this belongs to.
    threshold : float
        A patch is called IDC where its probability is at least this.
    patch : PatchSpec
        Size and scale of the patches that it was trained on, and takes.
    calibration : Calibration or None
        What the network's probability goes through before it is compared or written.
    normalization : Normalization or None
        What the slide's glass and stain are brought to before the network; None leaves patches as they are.
    context : Neighbourhood or None
        What the patches around a patch say of it, as far as that was learned.
    training : dict
        How the weights were made: data fingerprint, cases trained and tuned on, split, seed, epochs, metrics.
    """

    name: str
    sha256: str
    threshold: float
    version: str = ""
    architecture: str = "cancernet"
    calibration: Calibration | None = None
    training: dict[str, Any] = field(default_factory=dict, repr=False)
    patch: PatchSpec = IDC_PATCH
    normalization: Normalization | None = None
    context: Neighbourhood | None = None

    @property
    def trained_on(self) -> tuple[str, ...]:
        """Cases that the weights were fitted to."""
        return tuple(self.training.get("cases_train", ()))

    @property
    def has_seen(self) -> frozenset[str]:
        """Cases that the weights were fitted to, or the epoch and the threshold chosen on."""
        return frozenset((*self.trained_on, *self.training.get("cases_val", ())))

    @property
    def digest(self) -> str:
        """SHA-256 of all that stands in the ``.json``, calibration and threshold among it."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """The configuration in the shape of wsinfer's, with what is our own behind it."""
        return {
            "spec_version": "1.0",
            "architecture": self.architecture,
            "num_classes": len(CLASS_NAMES),
            "class_names": list(CLASS_NAMES),
            "patch_size_pixels": self.patch.size_px,
            "spacing_um_px": self.patch.mpp,
            "transform": [{"name": "CenterCrop", "arguments": {"size": INPUT_PX}}, {"name": "ToTensor"}],
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "threshold": self.threshold,
            "calibration": self.calibration and asdict(self.calibration),
            **({} if self.normalization is None else {"normalization": self.normalization.as_dict()}),
            **({} if self.context is None else {"context": self.context.as_dict()}),
            "training": self.training,
        }

    def write(self, path: Path) -> None:
        """Write the configuration as `read_config` reads it."""
        write_json(path, self.as_dict())


def read_config(path: Path) -> ModelConfig:
    """Read the ``.json`` beside a model; ModelError where it is missing or does not describe one."""
    try:
        raw = json.loads(_read_text(path))
        config = ModelConfig(
            name=_text(raw["name"], "name"),
            sha256=_text(raw["sha256"], "sha256"),
            threshold=_number(raw["threshold"], "threshold"),
            version=_text(raw.get("version", ""), "version"),
            architecture=_text(raw["architecture"], "architecture"),
            patch=_read_patch(raw),
            calibration=_read_calibration(raw.get("calibration")),
            normalization=_read_normalization(raw.get("normalization")),
            context=None if raw.get("context") is None else Neighbourhood.from_dict(raw["context"]),
            training=raw.get("training", {}),
        )
        if not isinstance(config.training, dict):
            raise TypeError("training is no object")
        for part in ("cases_train", "cases_val"):
            cases = config.training.get(part, [])
            if not isinstance(cases, list) or not all(isinstance(case, str) for case in cases):
                raise TypeError(f"{part} is no list of case numbers")
        described = raw["class_names"], raw.get("num_classes", 2), config.patch.size_px
        fits = described == (list(CLASS_NAMES), len(CLASS_NAMES), PATCH_PX)
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: a model is a .keras file and the .json beside it.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path} does not describe a model ({error!r}): write it with `wsi-idc train`.") from error
    if not fits:
        raise ModelError(f"{path} describes a model of other classes or patch size than IDC patches have.")
    if not 0 <= config.threshold <= 1:
        raise ModelError(f"{path} has the threshold {config.threshold}, which is not between 0 and 1.")
    return config


def _read_text(path: Path) -> str:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
    return path.read_text(encoding="utf-8")


def _text(value: object, name: str) -> str:
    """A text that fits on a line of a sheet."""
    if not isinstance(value, str) or len(value) > _LONGEST or value != printable(value):
        raise TypeError(f"{name} is no text of at most {_LONGEST} printable signs")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is no number")
    return float(value)


def _read_patch(raw: dict[str, Any]) -> PatchSpec:
    size, mpp = _number(raw["patch_size_pixels"], "patch_size_pixels"), _number(raw["spacing_um_px"], "spacing_um_px")
    if not (plausible_mpp(mpp) and size == int(size) > 0):
        raise ValueError(f"patches of {size:g} pixels at {mpp:g} µm/px cannot be")
    return PatchSpec(int(size), mpp)


def _read_calibration(raw: dict[str, Any] | None) -> Calibration | None:
    if raw is None:
        return None
    calibration = Calibration(_number(raw["scale"], "scale"), _number(raw["bias"], "bias"))
    if not (0 < calibration.scale < math.inf and math.isfinite(calibration.bias)):
        raise ValueError(f"a calibration of {raw} turns the order of the probabilities around or is no number")
    return calibration


def _read_normalization(raw: dict[str, Any] | None) -> Normalization | None:
    if raw is None:
        return None
    if raw["method"] != METHOD:
        raise ValueError(f"its normalization is {printable(str(raw['method']))[:_LONGEST]}, which is not known here")
    colours = {name: _rgb(raw[name], name) for name in ("means", "spreads", "usual_means", "usual_spreads")}
    glass, density = _number(raw["glass"], "glass"), _number(raw["density"], "density")
    if not (0 < glass < 256 and 0 < density < math.inf):
        raise ValueError("its normalization wants glass that is no light, or a density that is none")
    return Normalization(glass=glass, density=density, **colours)


def _rgb(raw: Any, name: str) -> Rgb:
    """Three numbers above 0, in a range that optical densities have."""
    red, green, blue = (_number(value, name) for value in raw)
    if not all(0 < value < 6 for value in (red, green, blue)):
        raise ValueError(f"{name} are no optical densities")
    return red, green, blue


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
