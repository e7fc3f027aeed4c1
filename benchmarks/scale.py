"""What one run costs with many dask workers: ``python benchmarks/scale.py [--workers 1,10,100]``.

Everything but the work itself is real: scheduler, transport, locks, results. The tasks sleep for as long as they take
on slides, each worker is a process with one thread, and all are on this machine. Linux only.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import dask
from distributed import Client, LocalCluster
from sleepers import Sleeper, classify_sleeping, describe_sleeping

from wsi_idc.model.classifier import load_model
from wsi_idc.scoring import engine
from wsi_idc.scoring.engine import Cohort

PATCHES, DESCRIBE_S, PATCH_S = 6_991, 0.9, 6.5e-4
"""Of a slide of 40 x 30 mm: tiles, and processor time to find its tissue and hash it, and per tile."""


QUIET = {
    "distributed.admin.tick.interval": "10s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}
"""What a worker does while it waits takes 2 % of a core, and all of them share this machine's."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,10,30,100")
    parser.add_argument("--slides-per-worker", type=int, default=3)
    asked = parser.parse_args()
    engine.describe_task = describe_sleeping  # type: ignore[assignment]
    engine.classify_task = classify_sleeping  # type: ignore[assignment]
    classifier = load_model()
    slide_s = DESCRIBE_S + PATCHES * PATCH_S
    print(f"slides of {PATCHES:,} tiles, {slide_s:.1f} s each")
    print("| workers | slides | took | of it used by the workers | processor time of the run, per slide |")
    print("| --- | --- | --- | --- | --- |")
    dask.config.set(QUIET)
    for count in map(int, asked.workers.split(",")):
        slides = asked.slides_per_worker * count
        refs = [Sleeper(f"slide-{i}", PATCHES, DESCRIBE_S, PATCH_S) for i in range(slides)]
        with (
            LocalCluster(n_workers=count, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
            Client(cluster) as client,
            TemporaryDirectory() as out,
        ):
            client.wait_for_workers(count)
            client.submit(describe_sleeping, Sleeper("", PATCHES, 0, 0), None, None).result()
            client.run(describe_sleeping, Sleeper("", PATCHES, 0, 0), None, None)
            began, used = time.monotonic(), time.process_time()
            outcomes = Cohort(client, refs, None, classifier, Path(out)).run()
            took, used = time.monotonic() - began, time.process_time() - used
            assert all(outcome.result for outcome in outcomes), outcomes[0].error
        share = slides * slide_s / count / took
        print(f"| {count} | {slides} | {took:.1f} s | {share:.0%} | {used / slides:.3f} s |", flush=True)


if __name__ == "__main__":
    main()
