"""Score or draw a cohort on a cluster that a file describes.

``python pipelines/score_cohort.py CLUSTER.yaml score --data idc.zarr --out results`` starts the cluster, runs
``wsi-idc score all`` on it with all that follows, and lets the cluster go. With ``heatmap`` instead it draws, too.
Interrupted, the same command goes on. The files in ``clusters/`` are to be copied and filled in.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from wsi_idc.cli import main


def start(description: dict[str, Any]) -> Any:
    """Start a cluster: ``class`` with its ``options``, of so many ``workers``."""
    module, _, name = description["class"].rpartition(".")
    cluster = getattr(import_module(module), name)(**description.get("options", {}))
    cluster.scale(description["workers"])
    return cluster


def run(cluster_file: str, command: str, *options: str) -> int:
    with start(yaml.safe_load(Path(cluster_file).read_text())) as cluster:
        return main([command, "all", "--scheduler", cluster.scheduler_address, *options])


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[2] not in ("score", "heatmap"):
        sys.exit(__doc__)
    sys.exit(run(*sys.argv[1:]))
