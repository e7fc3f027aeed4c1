"""``wsi-idc model``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wsi_idc.cli import DONE, options
from wsi_idc.cli.suggestions import SuggestingGroup

if TYPE_CHECKING:
    from wsi_idc.model.config import ModelConfig
    from wsi_idc.model.exporting import Form

_FILE = options.FILE


@click.group("model", cls=SuggestingGroup)
def command() -> None:
    """Look at a model of your own, or hand CancerNet to other programs."""


@command.command("check")
@click.argument("file", metavar="FILE", type=_FILE)
@options.allow_code
@options.quiet
def check(file: Path, allow_code: bool, quiet: bool) -> int:
    """Load a model, say what was understood of it, and run it on phantom tiles.

    FILE is what --model takes elsewhere: a .keras, .onnx or .pt file with its .json beside it, a folder, or
    hf://owner/name. What is wrong with it is said in one sentence, with exit
    code 2.
    """
    from wsi_idc.cli.console import loading, ready_model, warn

    ready = ready_model(file, allow_code)
    with loading(quiet):
        from wsi_idc.model.checking import try_model
        from wsi_idc.model.classifier import load_model

        classifier = load_model(ready, allow_code=allow_code)
    for name, value in _understood(classifier.config).items():
        click.echo(f"{name}: {value}")
    with loading(quiet):
        trial = try_model(classifier)
    click.echo(f"runs with: {classifier.runtime} on {classifier.device}, outputs through {trial.activation}")
    columns = zip(classifier.config.classes.columns, trial.lowest, trial.highest, strict=True)
    ranges = ", ".join(f"{name} {low:.4f} to {high:.4f}" for name, low, high in columns)
    click.echo(f"{trial.tiles} phantom tiles: {ranges}")
    click.echo(f"speed: {trial.tiles_per_second:,.0f} tiles/s")
    for sentence in trial.remarks:
        warn(sentence)
    return DONE


def _understood(config: ModelConfig) -> dict[str, str]:
    """What a model's ``.json`` says, as it was taken."""
    height, width = config.interface.input_px
    steps = ", ".join(step["name"] for step in config.transform.as_list())
    names = ", ".join(
        f"{name} (positive)" if name == config.classes.positive else name for name in config.classes.names
    )
    calibration, training = config.calibration, config.trained_on
    return {
        "model": f"{config.name} {config.sha256[:8]}, {config.architecture}",
        "tiles": f"{config.patch.size_px} px at {config.patch.mpp:g} µm/px, {config.patch.um:g} µm wide",
        "input": f"{height}x{width} px, by {steps}",
        "classes": names,
        "threshold": f"{config.threshold:g}",
        "calibration": "none" if calibration is None else f"scale {calibration.scale:g}, bias {calibration.bias:g}",
        "normalization": "none" if config.normalization is None else "glass and stain of the slide",
        "trained on": f"{len(training)} cases" if training else "not said",
    }


@command.command("export")
@options.model
@click.option(
    "--format", "form", type=click.Choice(["onnx", "torchscript", "savedmodel"]), default="onnx", show_default=True
)
@click.option("--out", type=_FILE, metavar="FILE", required=True, help="What to write; the .json goes beside it.")
@options.quiet
def export(model: Path | None, form: Form, out: Path, quiet: bool) -> int:
    """Write a .keras model as ONNX, TorchScript or a TensorFlow SavedModel, with a .json that wsinfer reads beside it.

    The .json says all that this package adds, too. Normalization of glass and stain is in no file, and calibration in
    TorchScript alone.
    """
    from wsi_idc.cli.console import loading

    with loading(quiet):
        from wsi_idc.model.exporting import export_model

        made = export_model(model, out, form)
    click.echo(made)
    return DONE
