"""A portfolio to and from the bytes of a file, by the name of its form."""

from __future__ import annotations

from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from ibkit.bootstrap.portfolio_ledgers import ledgers_of
from ibkit.bootstrap.yaml_files import read_yaml, yaml_of
from ibkit.portfolio.accountants.beancount import beancount_of
from ibkit.portfolio.accountants.portfolio_performance import tables_of, zip_of
from ibkit.portfolio.book import Portfolio
from ibkit.portfolio.days import trading_day
from ibkit.portfolio.files import FORMATS, csv_of, json_of, plain_of, portfolio_from, read_csv, read_json

if TYPE_CHECKING:
    from ibkit.bootstrap.portfolios import PortfolioDesk
    from ibkit.portfolio.ledger import Ledger

__all__ = ["ENDINGS", "EXPORTS", "exported", "file_of", "portfolio_of_file"]

EXPORTS: Final = (*FORMATS, "beancount", "portfolio-performance")
"""What a portfolio is written as; the first ones are read back, the others are for accountants' programs."""
ENDINGS: Final = {**{form: form for form in FORMATS}, "beancount": "beancount", "portfolio-performance": "zip"}


async def exported(desk: PortfolioDesk, user_id: str, portfolio: Portfolio, form: str) -> bytes:
    """form: of `EXPORTS`. For accountants with the ledgers of its accounts; one without stands with what it holds."""
    if form in FORMATS:
        return file_of(portfolio, form)
    ledgers, without = await ledgers_of(desk, user_id, portfolio)
    work = partial(_for_accountants, portfolio, ledgers, without, form, trading_day(desk.clock.now()))
    return await anyio.to_thread.run_sync(work)  # ten years of trades take long enough to hold others up


def _for_accountants(
    portfolio: Portfolio, ledgers: dict[str, Ledger], without: dict[str, str], form: str, today: date
) -> bytes:
    if form == "beancount":
        return beancount_of(portfolio, ledgers, without, today=today)
    return zip_of(tables_of(portfolio, ledgers, without, today=today))


def file_of(portfolio: Portfolio, form: str) -> bytes:
    """form: json, yaml or csv (`files.FORMATS`)."""
    match form:
        case "json":
            return json_of(portfolio)
        case "yaml":
            return yaml_of(plain_of(portfolio))
        case _:
            assert form == "csv", "the forms are three"
            return csv_of(portfolio)


def portfolio_of_file(
    body: bytes, form: str, *, portfolio_id: str, user_id: str, at: datetime, name: str = "", currency: str = "USD"
) -> Portfolio:
    """name, currency: of a table, which has no place for them. ConfigError (E-VALIDATION) naming the place."""
    if form == "csv":
        return read_csv(body, name=name, currency=currency, portfolio_id=portfolio_id, user_id=user_id, at=at)
    plain = read_yaml(body) if form == "yaml" else read_json(body)
    return portfolio_from(plain, portfolio_id=portfolio_id, user_id=user_id, at=at)
