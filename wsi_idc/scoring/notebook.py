"""What notebooks show of results: HTML, with everything that comes from a name escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsi_idc.scoring.results import SlideResult

LARGEST_BYTES = 4_000_000
"""A larger picture is named and not shown: notebooks keep what they show."""


def slide_html(result: SlideResult) -> str:
    """A scored slide: metrics and cautions, and the sheet where it was drawn."""
    scores = result.scores
    row: dict[str, object] = {"slide": scores.slide, "patches": len(scores), "called IDC": int(scores.pred.sum())}
    if scores.metrics is not None:
        row |= {"AUC": scores.metrics.auc, "balanced accuracy": scores.metrics.balanced_accuracy}
    cautions = "; ".join(caution.short for caution in result.cautions)
    table = table_html([row], f"CAUTION: {cautions}" if cautions else "")
    sheet = result.sheet_path
    if not sheet.is_file():
        return table
    if sheet.stat().st_size > LARGEST_BYTES:
        return f"{table}<p>{escape(str(sheet))}</p>"
    data = base64.b64encode(sheet.read_bytes()).decode("ascii")
    return f'{table}<img style="max-width: 100%" alt="{escape(scores.slide)}" src="data:image/png;base64,{data}">'


def table_html(rows: Sequence[Mapping[str, object]], below: str = "") -> str:
    """A table of these rows, which have the same columns, and a line below it."""
    names = "".join(f"<th>{escape(name)}</th>" for name in (rows[0] if rows else ()))
    body = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row.values())}</tr>" for row in rows)
    line = f"<p>{escape(below)}</p>" if below else ""
    return f"<table><tr>{names}</tr>{body}</table>{line}"


def _cell(value: object) -> str:
    if value is None:
        return "&ndash;"
    return f"{value:.3f}" if isinstance(value, float) else escape(str(value))
