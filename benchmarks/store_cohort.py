"""A cohort of phantom slides from an object store that fails now and then, against the same slides in a folder.

    python -m benchmarks.store_cohort [--slides 50] [--gpus 0,1] [--into-store]

The store is moto's server on the loopback address, behind a proxy: of five slides one comes slowly, one is cut off, one
is answered 503 twice, one comes short without a word, and one comes as it is. One key of the list is missing. While the
cohort is scored, all that lies in the cache is added up every 5 ms, and the files that were deleted there and that a
process still holds open. Exit code 1 where a slide is not scored, the cache exceeds its bound, or a table differs.

With --into-store results go to the store, too, through the same proxy, and are read from there in the end.
With --gpus the driver is a program that lists as many GPUs, and processors do the work of their processes.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from tests.io.cache_watch import CacheWatch
from tests.io.faulty import Faulty
from wsi_idc.cli import main as wsi_idc
from wsi_idc.export.phantom_slides import write_phantom_slide
from wsi_idc.phantom import case_numbers, paint_slide

FAULTS = ("plain", "slow", "cut", "busy", "short")
MISSING = "missing.tif"


def write_slides(folder: Path, count: int) -> list[Path]:
    """Phantom slides of 12 patches, named after what goes wrong with them on their way."""
    folder.mkdir()
    files = []
    for place, case in enumerate(case_numbers(count)):
        files.append(folder / f"{case}-{FAULTS[place % len(FAULTS)]}.tif")
        write_phantom_slide(paint_slide(case, 1, 200, 150), files[-1], 1)
    return files


def add_driver(folder: Path, gpus: int) -> None:
    """A driver that lists so many GPUs."""
    folder.mkdir()
    program = folder / "nvidia-smi"
    rows = "".join(f"{place}, GPU-{place}, 8192\\n" for place in range(gpus))
    program.write_text(f"#!/bin/sh\nprintf '{rows}'\n")
    program.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"


def download(client: Any, folder: Path) -> None:
    """All results in the store."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="slides", Prefix="results/"):
        for one in page["Contents"]:
            path = folder / one["Key"].removeprefix("results/")
            path.parent.mkdir(parents=True, exist_ok=True)
            client.download_file("slides", one["Key"], str(path))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=50)
    parser.add_argument("--gpus")
    parser.add_argument("--into-store", action="store_true")
    given = parser.parse_args()
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    proxy = Faulty(server.get_host_and_port()[1])
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{proxy.behind}")
    client.create_bucket(Bucket="slides")
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{proxy.server_port}"
    with TemporaryDirectory() as name:
        folder = Path(name)
        files = write_slides(folder / "slides", given.slides)
        for file in files:
            client.upload_file(str(file), "slides", file.name)
        keys = [*(file.name for file in files), MISSING]
        (folder / "far.csv").write_text("\n".join(["path,name", *(f"s3://slides/{key},{key}" for key in keys)]))
        sizes = sorted(file.stat().st_size for file in files)
        bound = sum(sizes[-3:])
        if given.gpus:
            add_driver(folder / "bin", 2)
        began = monotonic()
        with CacheWatch(folder / "cache") as watch:
            ended = wsi_idc(
                ["score", "all", "--quiet", "--manifest", str(folder / "far.csv"), "--out"]
                + ["s3://slides/results" if given.into_store else str(folder / "far")]
                + ["--cache", str(folder / "cache"), "--cache-gb", str(bound / 1e9)]
                + (["--gpus", given.gpus] if given.gpus else [])
            )
        seconds = monotonic() - began
        if given.into_store:
            download(client, folder / "far")
        near = wsi_idc(["score", "all", "--quiet", "--slides", str(folder / "slides"), "--out", str(folder / "near")])
        with (folder / "far" / "summary.csv").open(newline="") as file:
            failed = [(row["slide"], row["error"]) for row in csv.DictReader(file) if row["status"] != "ok"]
        tables = {
            path.parent.name: path.read_bytes() == (folder / "near" / path.parent.name / path.name).read_bytes()
            for path in (folder / "far").glob("*/scores.csv")
        }
    lines = [
        f"{len(tables)} of {len(keys)} slides scored in {seconds:.1f} s, {sum(sizes) / 1e6:.1f} MB in the store",
        f"tables equal to those of the folder, byte for byte: {sum(tables.values())} of {len(files)}",
        f"cache: at most {watch.most / 1e6:.2f} of {bound / 1e6:.2f} MB, deleted but open {watch.most_held / 1e6:.2f}",
        *(f"failed: {slide}: {error}" for slide, error in failed),
    ]
    print("\n".join(lines))
    whole = (
        (ended, near) == (1, 0) and sum(tables.values()) == len(files) and [slide for slide, _ in failed] == [MISSING]
    )
    return 0 if whole and 0 < watch.most <= bound and not watch.most_held else 1


if __name__ == "__main__":
    sys.exit(main())
