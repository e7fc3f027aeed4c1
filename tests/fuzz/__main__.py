"""Fuzz a target with atheris: ``python -m tests.fuzz TARGET [--minutes N] [--found DIR] [option of libFuzzer ...]``.

Inputs that lead somewhere new are kept in ``DIR/<target>``, which the next call starts from; one that shows a defect is
``DIR/<target>-crash-...``.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from importlib import import_module
from pathlib import Path

import atheris

TARGETS = ("names", "zip_index", "run_json")
PRODUCT = [
    "wsi_idc.naming",
    "wsi_idc.datasets",
    "wsi_idc.slides",
    "wsi_idc.io",
    "wsi_idc.scoring",
    "wsi_idc.report",
    "zipfile",
    "json",
]
SECONDS, MEMORY_MB = 10, 2_048
"""For one input, and in all: what takes more is a defect, too."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--found", type=Path, default=Path("fuzz"))
    args, options = parser.parse_known_args()
    for name in [name for name in sys.modules if name.split(".")[0] in ("zipfile", "json")]:
        del sys.modules[name]
    with atheris.instrument_imports(include=PRODUCT):
        target = import_module(f"tests.fuzz.{args.target}")
    corpus = args.found / args.target
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / f"seed-{zlib.crc32(seed):08x}").write_bytes(seed)
    words = args.found / f"{args.target}.dict"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.WORDS))
    limits = [f"-max_total_time={round(args.minutes * 60)}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEMORY_MB}"]
    kept = [f"-dict={words}", f"-artifact_prefix={args.found / args.target}-", str(corpus)]
    atheris.Setup([sys.argv[0], *limits, *options, *kept], target.one_input)
    atheris.Fuzz()


def _escaped(word: str | bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in (word.encode() if isinstance(word, str) else word))


if __name__ == "__main__":
    main()
