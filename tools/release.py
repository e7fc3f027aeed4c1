"""Check, build and tag a release: ``python tools/release.py [--tag]``, in an environment with the extra ``test``.

The version stands in ``wsi_idc/_version.py``, and CHANGELOG.md begins with its heading, ``## 0.2.0``. What is built
goes to ``dist/``; what is left to do by hand is printed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class NotReadyError(Exception):
    """Why nothing is released: one sentence that says what to do."""


def read_version(root: Path) -> str:
    """The version of the package, without importing it."""
    text = (root / "wsi_idc" / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None or not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", found[1]):
        raise NotReadyError("wsi_idc/_version.py holds no version like 0.2.0 or 0.2.0rc1: write one there.")
    return found[1]


def check_texts(root: Path, version: str) -> None:
    """NotReadyError where a text that names the version names another."""
    headings = re.findall(r"^## (.+)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if not headings or headings[0].split()[0] != version:
        first = headings[0] if headings else "nothing"
        raise NotReadyError(f'CHANGELOG.md begins with "{first}": put what is new under "## {version}".')
    cited = re.search(r"^version: (.+)$", (root / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    if cited is None or cited[1] != version:
        raise NotReadyError(f"CITATION.cff names another version: write {version} there.")


def git(root: Path, *args: str) -> str:
    return subprocess.run(["git", *args], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


def check_tree(root: Path, version: str) -> None:
    """NotReadyError where files are not committed, or the version has a tag on another commit."""
    changed = git(root, "status", "--porcelain").splitlines()
    if changed:
        raise NotReadyError(f"{len(changed)} files are not committed, the first: {changed[0][3:]}; commit them first.")
    tag = f"v{version}"
    if git(root, "tag", "--list", tag) and git(root, "rev-parse", f"{tag}^{{commit}}") != git(
        root, "rev-parse", "HEAD"
    ):
        raise NotReadyError(f"{tag} is an earlier commit: write the next version into wsi_idc/_version.py.")


def build(root: Path, out: Path) -> dict[str, bytes]:
    """Build the wheel and the source archive from what is committed; by their names."""
    epoch = git(root, "log", "-1", "--format=%ct")
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=root, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        subprocess.run(
            [sys.executable, "-m", "build", "--outdir", out, folder],
            check=True,
            env=os.environ | {"SOURCE_DATE_EPOCH": epoch},
            stdout=subprocess.DEVNULL,
        )
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def release(root: Path, *, tag: bool) -> None:
    """Do all of it; NotReadyError where something is not as it must be."""
    version = read_version(root)
    check_texts(root, version)
    check_tree(root, version)
    dist = root / "dist"
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        built, again = (build(root, Path(out)) for out in (first, second))
    if built != again:
        raise NotReadyError("Two builds of one commit differ: see tools/build_backend.py.")
    if len(built) != 2 or not all(name.startswith(f"wsi_idc-{version}") for name in built):
        raise NotReadyError(f"What was built is not of {version}: {', '.join(built)}.")
    dist.mkdir(exist_ok=True)
    for name, data in built.items():
        (dist / name).write_bytes(data)
    files = [str(dist / name) for name in built]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    if tag and not git(root, "tag", "--list", f"v{version}"):
        git(root, "tag", "--annotate", f"v{version}", "--message", f"wsi-idc {version}")
    print(*files, sep="\n")
    print("To publish:", *([] if tag else ["python tools/release.py --tag"]), sep="\n  ")
    print(f"  git push origin v{version}\n  python -m twine upload {' '.join(files)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--tag", action="store_true", help="tag the commit")
    try:
        release(ROOT, tag=parser.parse_args().tag)
    except NotReadyError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"Error: {' '.join(map(str, error.cmd[:4]))} failed, with {error.returncode}.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
