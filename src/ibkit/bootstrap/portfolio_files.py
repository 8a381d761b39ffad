"""A portfolio to and from the bytes of a file, by the name of its form."""

from __future__ import annotations

from datetime import datetime

from ibkit.bootstrap.yaml_files import read_yaml, yaml_of
from ibkit.portfolio.book import Portfolio
from ibkit.portfolio.files import csv_of, json_of, plain_of, portfolio_from, read_csv, read_json

__all__ = ["file_of", "portfolio_of_file"]


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
