from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import Ran


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["heatmap", "8863"], "say `wsi-idc heatmap patient 8863`"),
        (["8863"], "say `wsi-idc heatmap patient 8863`"),
        (["mosaic", "8863"], "say `wsi-idc mosaic patient 8863`"),
        (["score", "a.svs"], "say `wsi-idc score slide a.svs`"),
        (["a.svs"], "say `wsi-idc heatmap slide a.svs`"),
        (["patient", "8863"], "say `wsi-idc heatmap patient`"),
        (["heatmpa"], "did you mean `wsi-idc heatmap`?"),
        (["Score"], "did you mean `wsi-idc score`?"),
        (["score", "pateint", "8863"], "did you mean `wsi-idc score patient`?"),
        (["xyzzy"], "`wsi-idc --help` lists them."),
        (["score", "\x1b[31m" + "x" * 5_000], "`wsi-idc score --help` lists them."),
    ],
)
def test_a_word_that_is_no_command_is_answered_with_what_was_meant(
    run: Callable[..., Ran], words: list[str], said: str
) -> None:
    ran = run(*words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "\x1b" not in ran.err
    assert len(ran.err) < 400


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("wsi-idc hea", "heatmap"), ("wsi-idc heatmap pa", "patient"), ("wsi-idc train --see", "--seed")],
)
def test_shells_complete(typed: str, completed: str) -> None:
    environ = {"_WSI_IDC_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    code = "import sys; sys.argv = ['wsi-idc']\nfrom wsi_idc.cli import main\nsys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | environ
    )
    assert done.stdout == f"plain,{completed}\n"
