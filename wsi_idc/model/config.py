"""The ``.json`` beside a model: wsinfer's model configuration, and where the weights come from."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from wsi_idc._util.files import write_json
from wsi_idc.errors import ModelError, printable
from wsi_idc.geometry import IDC_PATCH, PatchSpec, plausible_mpp
from wsi_idc.model.calibration import Calibration
from wsi_idc.model.classes import CLASS_NAMES as CLASS_NAMES
from wsi_idc.model.classes import IDC_CLASSES, Classes, usual_positive
from wsi_idc.model.domain import Domain
from wsi_idc.model.interface import ACTIVATIONS, Activation, Interface
from wsi_idc.model.neighbourhood import Neighbourhood
from wsi_idc.model.stain import METHOD, Normalization, Rgb
from wsi_idc.model.transform import CANCERNET_TRANSFORM, Transform, read_transform

_MOST_BYTES, _LONGEST = 1 << 24, 200
"""Of a configuration's file, and of a text in it that goes on sheets. The bundled one has 50 kB."""

_SPEC_VERSION = "1.0"
_EVEN = 0.5
"""Threshold where the ``.json`` has none."""

_LONGEST_CLASS = 60

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
        Of the ``.keras``, ``.onnx`` or ``.pt`` file that this belongs to.
    threshold : float
        A patch is called positive, which is IDC, where its probability is at least this.
    patch : PatchSpec
        Size and scale of the patches that it was trained on, and takes.
    calibration : Calibration or None
        What the network's probability goes through before it is compared or written.
    normalization : Normalization or None
        What the slide's glass and stain are brought to before the network; None leaves patches as they are.
    context : Neighbourhood or None
        What the patches around a patch say of it, as far as that was learned.
    domain : Domain or None
        Stain and sharpness of the cases that it was trained on, where they were enough to know.
    training : dict
        How the weights were made: data fingerprint, cases trained and tuned on, split, seed, epochs, metrics.
    classes : Classes
        What the probabilities are of, and which of them is positive.
    transform : Transform
        What makes the network's input of patches.
    activation : str or None
        ``softmax``, ``sigmoid`` or ``none``: what makes probabilities of the network's outputs. None: what Keras gives
        is taken as it is, and what others give by its look (`FixedBatchNetwork`).
    origin : str
        ``hf://owner/name@commit`` of a model that was fetched from there; it is not part of the ``.json``.
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
    domain: Domain | None = field(default=None, repr=False)
    classes: Classes = IDC_CLASSES
    transform: Transform = CANCERNET_TRANSFORM
    activation: Activation | None = None
    origin: str = ""

    @property
    def interface(self) -> Interface:
        """What the network takes and gives."""
        return Interface(self.transform.input_px(self.patch.size_px), self.transform, self.classes, self.activation)

    def for_class(self, name: str | None) -> ModelConfig:
        """The same model with another positive class; OptionError where there is none of that name.

        Of two classes, the threshold and the calibration are turned around; of more, the threshold is 0.5.
        The context, which was learned of the other class, is dropped.
        """
        classes = self.classes.choose(name)
        if classes == self.classes:
            return self
        of_two = len(classes.names) == 2
        calibration = self.calibration and replace(self.calibration, bias=-self.calibration.bias)
        threshold = round(1 - self.threshold, 12) if of_two else _EVEN
        return replace(self, classes=classes, threshold=threshold, calibration=calibration, context=None)

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
        usual = self.classes.positive == usual_positive(self.classes.names)
        return {
            "spec_version": _SPEC_VERSION,
            "architecture": self.architecture,
            "num_classes": len(self.classes.names),
            "class_names": list(self.classes.names),
            "patch_size_pixels": self.patch.size_px,
            "spacing_um_px": self.patch.mpp,
            "transform": self.transform.as_list(),
            "name": self.name,
            "version": self.version,
            "sha256": self.sha256,
            "threshold": self.threshold,
            "calibration": self.calibration and asdict(self.calibration),
            **({} if self.normalization is None else {"normalization": self.normalization.as_dict()}),
            **({} if self.context is None else {"context": self.context.as_dict()}),
            **({} if self.domain is None else {"domain": self.domain.as_dict()}),
            **({} if usual else {"positive_class": self.classes.positive}),
            **({} if self.activation is None else {"activation": self.activation}),
            "training": self.training,
        }

    def write(self, path: Path) -> None:
        """Write the configuration as `read_config` reads it."""
        write_json(path, self.as_dict())


def read_config(path: Path, name: str | None = None) -> ModelConfig:
    """Read the ``.json`` beside a model; ModelError where it is missing or does not describe one.

    What wsinfer's model zoo writes is enough. Where it names no `sha256`, the configuration has an empty one; the name
    is `name` or the file's then, and the threshold 0.5.
    """
    try:
        raw = json.loads(_read_text(path))
        if not isinstance(raw, dict):
            raise TypeError("it is no JSON object")
        if raw.get("spec_version", _SPEC_VERSION) != _SPEC_VERSION:
            raise ValueError(f"its spec_version is not {_SPEC_VERSION}")
        patch = _read_patch(raw)
        config = ModelConfig(
            name=_text(raw.get("name", name or path.stem), "name"),
            sha256=_text(raw.get("sha256", ""), "sha256"),
            threshold=_number(raw.get("threshold", _EVEN), "threshold"),
            version=_text(raw.get("version", ""), "version"),
            architecture=_text(raw["architecture"], "architecture"),
            patch=patch,
            calibration=_read_calibration(raw.get("calibration")),
            normalization=_read_normalization(raw.get("normalization")),
            context=None if raw.get("context") is None else Neighbourhood.from_dict(raw["context"]),
            domain=None if raw.get("domain") is None else Domain.from_dict(raw["domain"]),
            training=raw.get("training", {}),
            classes=_read_classes(raw),
            transform=read_transform(raw["transform"], patch.size_px),
            activation=_read_activation(raw),
        )
        if config.calibration is not None and len(config.classes.names) > 2:
            raise ValueError("its calibration is for one class against another, and it has more than two")
        if not isinstance(config.training, dict):
            raise TypeError("training is no object")
        for part in ("cases_train", "cases_val"):
            cases = config.training.get(part, [])
            if not isinstance(cases, list) or not all(isinstance(case, str) for case in cases):
                raise TypeError(f"{part} is no list of case numbers")
    except FileNotFoundError as error:
        raise ModelError(
            f"{path} is missing: a model is a .keras, .onnx or .pt file and the .json beside it, see docs/how-to.md."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path} does not describe a model: {_reason(error)}; see docs/how-to.md.") from error
    if not 0 <= config.threshold <= 1:
        raise ModelError(f"{path} has the threshold {config.threshold}, which is not between 0 and 1.")
    return config


def _reason(error: Exception) -> str:
    """What is wrong, in few words."""
    told = f"it has no {error.args[0]}" if isinstance(error, KeyError) else str(error)
    return printable(" ".join(told.split()))[:_LONGEST] or type(error).__name__


def _read_classes(raw: dict[str, Any]) -> Classes:
    names = raw["class_names"]
    if not isinstance(names, list) or not names:
        raise TypeError("class_names is no list of names")
    for name in names:
        # Columns of a table are called after them.
        if not 0 < len(_text(name, "a class")) <= _LONGEST_CLASS or set(name) & set(",\"'/\\") or name != name.strip():
            raise ValueError(f"a class cannot be called {name[:_LONGEST_CLASS]!r}")
    if len(set(names)) < len(names):
        raise ValueError("two of its class_names are the same")
    if raw.get("num_classes", len(names)) != len(names):
        raise ValueError(f"num_classes is {printable(str(raw['num_classes']))[:20]}, and class_names has {len(names)}")
    positive = raw.get("positive_class", usual_positive(names))
    if positive not in names:
        raise ValueError("its positive_class is not among its class_names")
    return Classes(tuple(names), positive)


def _read_activation(raw: dict[str, Any]) -> Activation | None:
    activation = raw.get("activation")
    for known in ACTIVATIONS:
        if activation == known:
            return known
    if activation is not None:
        raise ValueError(f"its activation is none of {', '.join(ACTIVATIONS)}")
    return None


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
