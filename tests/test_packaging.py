"""What a release is made of: builds, the image, the recipe, and the checks before them."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent

CONDA = {
    "dask": "dask-core",
    "isal": "python-isal",
    "matplotlib": "matplotlib-base",
    "openslide-bin": "openslide",
    "xstatic-leaflet": "xstatic-leaflet",
}
"""Names on conda-forge that are not those of PyPI."""


def requirements(text: str) -> dict[str, str]:
    found = [Requirement(line) for line in text.split("\n") if line.strip()]
    return {one.name.lower(): str(one.specifier) for one in found}


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def image_context(folder: Path) -> Path:
    """What .containerignore lets into an image: a list of what is taken, under the rule that nothing is."""
    rules = [line for line in (ROOT / ".containerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    for name in (rule[1:] for rule in rules if rule[0] == "!"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(source, folder / name)
    return folder


def build(source: Path, out: Path) -> dict[str, bytes]:
    """Both archives, without a network: setuptools is this environment's."""
    program = (
        "import sys, build; p = build.ProjectBuilder(sys.argv[1]);"
        "[p.build(kind, sys.argv[2]) for kind in ('sdist', 'wheel')]"
    )
    environ = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(
        [sys.executable, "-c", program, source, out], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_builds_are_the_same_bytes_and_the_image_has_all_they_need(tmp_path: Path) -> None:
    first = build(image_context(tmp_path / "a"), tmp_path / "one")
    time.sleep(1.1)  # Times in archives are of whole seconds.
    assert build(image_context(tmp_path / "b"), tmp_path / "two") == first
    wheel, source = sorted(first, key=lambda name: name.endswith(".gz"))
    with zipfile.ZipFile(tmp_path / "one" / wheel) as archive:
        names = set(archive.namelist())
    for data in ("model/cancernet.keras", "model/cancernet.json", "report/static/viewer.js", "official_split.csv"):
        assert f"wsi_idc/{data}" in names
    assert not any(name.startswith(("tests", "tools")) for name in names)
    with tarfile.open(tmp_path / "one" / source) as tar:
        assert any(name.endswith("/tools/build_backend.py") for name in tar.getnames())
        assert {member.mtime for member in tar} == {1_700_000_000}
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *(tmp_path / "one").iterdir()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_image_names_extras_that_are_there_and_no_root(setup: configparser.ConfigParser) -> None:
    text = (ROOT / "Containerfile").read_text()
    extras = {name for names in re.findall(r"extras=([\w,-]+)", text) for name in names.split(",")}
    assert "gpu" in extras and extras <= set(setup["options.extras_require"])
    last = text.rsplit("\nFROM ", 1)[1]
    users = re.findall(r"^USER (\d+):(\d+)$", last, re.MULTILINE)
    assert len(users) == 1 and "0" not in users[0]
    assert 'VOLUME ["/data", "/results"]' in last and 'ENTRYPOINT ["wsi-idc"]' in last
    assert "pip" not in last and last.index("\nRUN") < last.index("\nUSER")


def test_the_recipe_asks_for_what_the_package_asks_for(setup: configparser.ConfigParser) -> None:
    text = (ROOT / "recipe" / "meta.yaml").read_text()
    run = text.split("  run:\n")[1].split("\n\n")[0]
    asked = {line.split()[1]: "".join(line.split()[2:]) for line in run.splitlines()}
    python = asked.pop("python")
    assert set(python.split(",")) == set(setup["options"]["python_requires"].split(","))
    needed = requirements(setup["options"]["install_requires"])
    assert asked == {CONDA.get(name, name): bound for name, bound in needed.items()}
    pattern = re.search(r"regex_pattern='(.+?)'", text)
    assert pattern and re.search(pattern[1], (ROOT / "wsi_idc" / "_version.py").read_text())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that is ready for release 1.2.3."""
    root = tmp_path / "project"
    (root / "tools").mkdir(parents=True)
    (root / "wsi_idc").mkdir()
    shutil.copy(ROOT / "tools" / "release.py", root / "tools")
    shutil.copy(ROOT / "tools" / "build_backend.py", root / "tools")
    (root / "wsi_idc" / "__init__.py").write_text("")
    (root / "wsi_idc" / "_version.py").write_text('__version__ = "1.2.3"\n')
    (root / "CHANGELOG.md").write_text("# Changes\n\n## 1.2.3\n\n- New.\n\n## 1.2.2\n")
    (root / "CITATION.cff").write_text("version: 1.2.3\n")
    for command in (
        ["init", "--quiet"],
        ["config", "user.email", "a@example.org"],
        ["config", "user.name", "A"],
        ["add", "."],
        ["commit", "--quiet", "--message", "All"],
    ):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def checks(project: Path) -> str:
    """What stands in the way of a release; empty where nothing does. Nothing is built."""
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tools'); import release\n"
        "root = Path('.')\n"
        "try:\n version = release.read_version(root); release.check_texts(root, version)\n"
        " release.check_tree(root, version)\n"
        "except release.NotReadyError as error: print(error)"
    )
    environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=project, env=environ, capture_output=True, text=True, check=True
    ).stdout


def test_a_project_that_is_ready(project: Path) -> None:
    assert checks(project) == ""
    subprocess.run(["git", "tag", "v1.2.3"], cwd=project, check=True)
    assert checks(project) == "", "a release that was cut off goes on"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("wsi_idc/_version.py", '__version__ = "1.2"\n', "holds no version like"),
        ("wsi_idc/_version.py", '__version__ = "1.2.4"\n', 'begins with "1.2.3": put what is new under "## 1.2.4"'),
        ("CHANGELOG.md", "## Unreleased\n\n## 1.2.3\n", 'begins with "Unreleased"'),
        ("CHANGELOG.md", "", 'begins with "nothing"'),
        ("CITATION.cff", "version: 1.2.2\n", "CITATION.cff names another version"),
        ("note.txt", "", "1 files are not committed, the first: note.txt"),
    ],
)
def test_a_project_that_is_not(project: Path, file: str, text: str, said: str) -> None:
    (project / file).write_text(text)
    assert said in checks(project)


def test_a_version_that_was_released(project: Path) -> None:
    subprocess.run(["git", "tag", "v1.2.3"], cwd=project, check=True)
    subprocess.run(["git", "commit", "--quiet", "--allow-empty", "--message", "More"], cwd=project, check=True)
    assert "v1.2.3 is an earlier commit" in checks(project)
