"""The locks on live money (OPT-08), whoever asks: wanted by name, the account named, tried on paper before."""

from __future__ import annotations

from ibkit.errors import ConfigError, NotPermitted, TradingError
from ibkit.model import AccountId, Environment, environment_of
from ibkit.settings import Settings

__all__ = ["check_named", "check_validated", "refuse_before_connecting"]


def refuse_before_connecting(settings: Settings, *, live: bool, flag: str = "--live") -> None:
    """What needs no broker to be refused: read-only mode, an account of the other kind, live money not asked for.

    flag: how live money is asked for.
    """
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
        raise TradingError(f"Live trading not confirmed: {flag} was given, but IBKR_ENV is paper", code="E-LIVE")
    if is_live and not live:
        raise TradingError(f"Live trading not confirmed: IBKR_ENV is live, but {flag} was not given", code="E-LIVE")


def check_validated(validated: bool) -> None:
    """E-LIVE unless this installation has sold and closed on paper before."""
    if not validated:
        raise TradingError(
            "Live trading not confirmed: this installation has not passed the paper validation",
            code="E-LIVE",
            remedy="Run `ibkit trade validate` with a paper account first.",
        )


def check_named(account_id: AccountId, said: str) -> None:
    """E-LIVE unless what was said is the account."""
    if said != account_id:
        raise TradingError(f"Live trading not confirmed: {said or 'nothing'} is not {account_id}", code="E-LIVE")
