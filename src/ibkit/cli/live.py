"""The locks on live money at the command line (OPT-08): asked for by name, typed by a person, tried on paper."""

from __future__ import annotations

import sys
from collections.abc import Collection

from ibkit.bootstrap.live_locks import check_named, check_validated
from ibkit.cli import output
from ibkit.errors import TradingError
from ibkit.model import AccountId, Environment, environment_of

__all__ = ["accounts_said", "confirm_live", "confirmed_of"]


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


def accounts_said(named: Collection[str]) -> frozenset[str]:
    """The live accounts that whoever starts a service named. E-LIVE where there is none, for nobody is asked there."""
    if not named:
        raise TradingError(
            "Live trading not confirmed: --live was given, but no account was named",
            code="E-LIVE",
            remedy="Name each account to trade: --yes-live U1234567 --yes-live U7654321.",
        )
    for each in named:
        if environment_of(AccountId(each)) is not Environment.LIVE:
            raise TradingError(f"Live trading not confirmed: {each} is no live account", code="E-LIVE")
    return frozenset(named)


def confirmed_of(account_id: AccountId, said: frozenset[str], *, validated: bool) -> bool:
    """Whether that account of a login may be traded; the others can be looked at."""
    if account_id not in said:
        output.warn(f"Account {account_id} was not named with --yes-live: its orders are refused")
        return False
    try:
        check_validated(validated)
    except TradingError as error:
        output.warn(f"{error.message}: orders of {account_id} are refused until then and a new start")
        return False
    output.warn(f"LIVE: trading account {account_id}")
    return True
