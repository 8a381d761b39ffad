"""One row of a payload as it came: what a figure was read from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ibkit.errors import NotFound
from ibkit.portfolio.picture import RawPayload
from ibkit.store.ledgers import FLEX
from ibkit.wire.flex import decode_flex

__all__ = ["raw_row"]


def raw_row(payload: RawPayload, *, statement: int, section: str, row: int) -> Mapping[str, str]:
    """Its fields by IBKR's names, each as text. NotFound where the payload has no such row."""
    found: Any = None
    if payload.what == FLEX:
        for each in decode_flex(payload.body).statements:
            if each.number == statement:
                rows = each.sections.get(section, ())
                found = rows[row].raw if 0 <= row < len(rows) else None
    else:
        told = json.loads(payload.body)
        these = told if isinstance(told, list) else [told]
        found = these[row] if 0 <= row < len(these) and isinstance(these[row], dict) else None
    if found is None:
        raise NotFound("row not found", code="E-NOT-FOUND", details={"thing": "row"})
    return {str(name): each if isinstance(each, str) else json.dumps(each) for name, each in found.items()}
