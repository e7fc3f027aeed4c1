"""``wsi-idc info``."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import click

from wsi_idc._version import __version__
from wsi_idc.cli import DONE, options

PACKAGES = (
    "tensorflow",
    "keras",
    "numpy",
    "scikit-image",
    "tifffile",
    "zarr",
    "dask",
    "matplotlib",
    "openslide-python",
)


@click.command("info")
@options.data
@options.model
@options.allow_code
def command(data: str | None, model: Path | None, allow_code: bool) -> int:
    """Show versions, devices, and the model and data that would be used; with --data, its cases and counts."""
    from wsi_idc.cli.console import loading, ready_model
    from wsi_idc.datasets.opening import locate_data
    from wsi_idc.errors import DataNotFoundError

    model = ready_model(model, allow_code)
    with loading(quiet=False):
        from wsi_idc.model.classifier import load_model

        classifier = load_model(model, allow_code=allow_code)
        device = classifier.device
    config = classifier.config
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    click.echo(f"wsi-idc {__version__}, Python {platform.python_version()}, {platform.platform()}")
    click.echo(f"packages: {versions}")
    click.echo(f"device: {device} ({classifier.runtime})")
    click.echo(
        f"model: {config.name} {config.sha256[:8]}, threshold {config.threshold:g}, "
        f"trained on {len(config.trained_on)} cases, {model or 'bundled'}"
    )
    try:
        path = locate_data(data)
    except DataNotFoundError as error:
        if data is not None:
            raise
        click.echo(f"data: none. {error}")
        return DONE
    click.echo(f"data: {path}")
    if data is not None:
        _describe(path)
    return DONE


def _describe(path: Path) -> None:
    """Print a line a case, then what was passed over."""
    from wsi_idc.cli.console import list_problems
    from wsi_idc.datasets.opening import open_dataset

    with open_dataset(path) as dataset:
        total = [0, 0]
        click.echo("case,patches,no_idc,idc,unlabelled")
        for case in dataset.cases:
            labels = list(dataset.labels(case))
            counts = [labels.count(0), labels.count(1)]
            total = [total[0] + counts[0], total[1] + counts[1]]
            click.echo(f"{case},{len(labels)},{counts[0]},{counts[1]},{labels.count(None)}")
        copies, foreign = dataset.passed_over
        noun = "case" if len(dataset.cases) == 1 else "cases"
        click.echo(
            f"{len(dataset.cases):,} {noun}, {total[0]:,} patches without and {total[1]:,} with IDC; "
            f"left out: {copies:,} second copies, {foreign:,} other files"
        )
        list_problems(dataset.problems)
