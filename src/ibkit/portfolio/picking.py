"""Lots that a person picks for a trade to close. Requirement FUT-08."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from ibkit.errors import ConfigError
from ibkit.portfolio.transactions import Transaction

__all__ = ["check_picks"]


def check_picks(picks: Mapping[str, Sequence[tuple[str, Decimal]]], there: Sequence[Transaction]) -> None:
    """An unknown lot would be passed over, and another one closed in its place. ConfigError (E-VALIDATION)."""
    listings = {each.key: getattr(getattr(each, "listed", None), "conid", None) for each in there}
    for closing, parts in picks.items():
        for key in (closing, *(key for key, _ in parts)):
            if listings.get(key) is None:
                raise _no_pick(f"{key} is no transaction of this ledger")
            if listings[key] != listings[closing]:
                raise _no_pick(f"{key} is of another listing than {closing}")
        if any(not size.is_finite() or size <= 0 for _, size in parts):
            raise _no_pick(f"of {closing}: a size is not above 0")


def _no_pick(why: str) -> ConfigError:
    return ConfigError(
        f"Invalid request: lots: {why}",
        code="E-VALIDATION",
        remedy="Take the ids that `ibkit portfolio lots` and `transactions` show; nothing was changed.",
        details={"errors": [{"field": "lots", "message": why}]},
    )
