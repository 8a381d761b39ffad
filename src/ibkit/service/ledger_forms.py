"""What is sent to settle a difference. Requirement FUT-08."""

from __future__ import annotations

from decimal import Decimal

import msgspec

__all__ = ["FixForm", "NoteForm"]


class NoteForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    note: str = ""


class FixForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """adjust: book it by hand, whatever is proposed. cost: of all that is booked, in its currency."""

    note: str = ""
    adjust: bool = False
    cost: Decimal | None = None
