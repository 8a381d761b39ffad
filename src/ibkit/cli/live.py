"""The locks on live money at the command line (OPT-08): asked for by name, typed by a person, tried on paper."""

from __future__ import annotations

import sys

from ibkit.cli import output
from ibkit.errors import ConfigError, NotPermitted, TradingError
from ibkit.model import AccountId, Environment, environment_of
from ibkit.settings import Settings

__all__ = ["confirm_live", "refuse_before_connecting"]


def refuse_before_connecting(settings: Settings, *, live: bool) -> None:
    """What needs no broker to be refused: read-only mode, an account of the other kind, live money not asked for."""
    if settings.general.read_only:
        raise NotPermitted("Read-only mode: trading is disabled", code="E-READONLY")
    if settings.account_id is not None:
        kind = environment_of(settings.account_id)
        if kind is not settings.environment:
            raise ConfigError(
                f"Account {settings.account_id} is a {kind.value} account but IBKR_ENV={settings.environment.value}",
                code="E-ACC-ENV",
            )
    is_live = settings.environment is Environment.LIVE
    if live and not is_live:
        raise TradingError("Live trading not confirmed: --live was given, but IBKR_ENV is paper", code="E-LIVE")
    if is_live and not live:
        raise TradingError("Live trading not confirmed: IBKR_ENV is live, but --live was not given", code="E-LIVE")


def confirm_live(account_id: AccountId, *, yes_live: str | None, validated: bool, json: bool) -> None:
    """E-LIVE unless a person names the live account, and this installation has sold and closed on paper before."""
    if not validated:
        raise TradingError(
            "Live trading not confirmed: this installation has not passed the paper validation",
            code="E-LIVE",
            remedy="Run `ibkit trade validate` with a paper account first.",
        )
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
    if said != account_id:
        raise TradingError(f"Live trading not confirmed: {said or 'nothing'} is not {account_id}", code="E-LIVE")
    output.warn(f"LIVE: trading account {account_id}")
