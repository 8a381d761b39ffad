"""The locks on live money at the command line (OPT-08): asked for by name, typed by a person, tried on paper."""

from __future__ import annotations

import sys

from ibkit.bootstrap.live_locks import check_named, check_validated
from ibkit.cli import output
from ibkit.errors import TradingError
from ibkit.model import AccountId

__all__ = ["confirm_live"]


def confirm_live(account_id: AccountId, *, yes_live: str | None, validated: bool, json: bool) -> None:
    """E-LIVE unless a person names the live account, and this installation has sold and closed on paper before."""
    check_validated(validated)
    if yes_live is not None:
        said = yes_live
    elif sys.stdin.isatty() and not json:
        said = input(f"LIVE MONEY. Type the account id ({account_id}) to go on: ").strip()
    else:
        raise TradingError(
            "Live trading not confirmed: nobody can be asked here",
            code="E-LIVE",
            remedy=f"Repeat with --yes-live {account_id}.",
        )
    check_named(account_id, said)
    output.warn(f"LIVE: trading account {account_id}")
