"""The operations on portfolios, as the description of the interface tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkit.bootstrap.portfolio_files import EXPORTS
from ibkit.service import portfolio_documents as documents
from ibkit.service import portfolio_forms as forms
from ibkit.service.analytics_documents import AnalyticsInfo
from ibkit.service.operation import Operation, query

__all__ = ["PORTFOLIOS"]

_PORTFOLIO: Mapping[str, Any] = {
    "name": "portfolio_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "example": "7d1f0c7de2a94f6c8d5e7a9012bc34de",
}
_NAME: Mapping[str, Any] = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "Of the account, encoded: `My%20IRA%2F1` is `My IRA/1`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "example": "Savings",
}
_CONNECTION = query(
    "connection_id", {"type": "string", "minLength": 1, "maxLength": 64}, "Of this connection of yours alone."
)
_READ = (400, 401, 403, 404, 409, 422, 503)
_WRITE = (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503, 507)
_ACT = (400, 401, 403, 404, 409, 422, 429, 503, 507)
_BROKER = (400, 401, 403, 404, 409, 422, 424, 429, 502, 503, 504, 507)
_HOLDINGS = [{"symbol": "AAPL", "units": 1.5}, {"symbol": "GOLD", "units": 3}]
_BOOK: Mapping[str, Any] = {
    "name": "Savings",
    "currency": "USD",
    "accounts": [{"name": "My IRA/1", "holdings": _HOLDINGS}],
    "securities": [{"symbol": "GOLD", "name": "Bars", "type": "commodity", "tags": ["metal"], "unit_price": 2000.1}],
}
_FILE: Mapping[str, Any] = {
    "format": "ibkit-portfolio",
    "version": 1,
    "name": "Savings",
    "currency": "USD",
    "accounts": [{"name": "My IRA/1", "holdings": [{"symbol": "AAPL", "units": "1.5"}]}],
}
_COMPARED = (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)
_LEVELS: Mapping[str, Any] = {"levels": "day,level\n2026-11-19,5000\n2026-11-20,5012.5\n"}
_FORM = query("format", {"enum": list(EXPORTS), "default": "json"}, "Of the file.")
_REPORT_FORM = query("format", {"enum": ["pdf", "html"], "default": "pdf"}, "Of the file.")
_OF_TABLE = (
    query("name", {"type": "string", "minLength": 1, "maxLength": 200}, "Of the portfolio, for a table."),
    query("currency", {"type": "string", "pattern": "^[A-Za-z]{3,5}$", "default": "USD"}, "Its currency, for a table."),
)
_DAY = {"type": "string", "format": "date"}
_CODE = {"type": "string", "pattern": "^[A-Za-z]{3,5}$"}
_OF_FIGURES = (
    {**query("as_of", _DAY, "What was held at the end of this day, in place of now."), "example": "2026-11-20"},
    {**query("from", _DAY, "First day of the performance [default: all there are]."), "example": "2026-01-02"},
    {**query("to", _DAY, "Its last day [default: `as_of`, or today]."), "example": "2026-11-20"},
    {**query("currency", _CODE, "Of all money [default: the portfolio's]."), "example": "USD"},
)
_GREEKS = query(
    "greeks",
    {"type": "boolean", "default": False},
    "With delta and theta of the options held now, asked of logins that are open; it takes some seconds.",
)
_ONE = "/portfolio/{portfolio_id}"
_ACCOUNT = f"{_ONE}/accounts/{{name}}"

PORTFOLIOS: tuple[Operation, ...] = (
    Operation(
        path="/portfolio",
        method="get",
        name="listPortfolios",
        summary="Your portfolios, by name",
        answers={200: documents.PortfolioList},
        errors=_READ,
        also_under_api=True,
    ),
    Operation(
        path="/portfolio",
        method="post",
        name="createPortfolio",
        summary="A new portfolio, with its accounts and securities",
        answers={201: documents.PortfolioInfo},
        errors=_WRITE,
        takes=forms.PortfolioForm,
        examples={"savings": _BOOK},
        also_under_api=True,
    ),
    Operation(
        path=_ONE,
        method="get",
        name="showPortfolio",
        summary="All of a portfolio, with the state of its syncs",
        answers={200: documents.PortfolioInfo},
        errors=_READ,
        parameters=(_PORTFOLIO,),
        also_under_api=True,
    ),
    Operation(
        path=_ONE,
        method="put",
        name="changePortfolio",
        summary="Write a portfolio; accounts and securities that are left out stay as they are",
        answers={200: documents.PortfolioInfo},
        errors=_WRITE,
        takes=forms.PortfolioForm,
        examples={"savings": _BOOK},
        parameters=(_PORTFOLIO,),
        also_under_api=True,
    ),
    Operation(
        path=_ONE,
        method="delete",
        name="deletePortfolio",
        summary="Delete a portfolio with all that is in it",
        answers={200: documents.DeletedPortfolio},
        errors=_ACT,
        parameters=(_PORTFOLIO,),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/analytics",
        method="get",
        name="portfolioAnalytics",
        summary="Allocation, concentration, results, returns and options, now or as of a day",
        answers={200: AnalyticsInfo},
        errors=(*_READ, 429),
        parameters=(_PORTFOLIO, *_OF_FIGURES, _GREEKS),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/analytics",
        method="post",
        name="portfolioBesideBenchmark",
        summary="The same figures, with the performance beside a benchmark: a table of days and levels",
        answers={200: AnalyticsInfo},
        errors=_COMPARED,
        examples=_LEVELS,
        parameters=(_PORTFOLIO, *_OF_FIGURES, _GREEKS),
        takes_file=("text/csv",),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/report",
        method="get",
        name="portfolioReport",
        summary="A report for people, of what is held now: PDF, or a page without scripts",
        answers={200: None},
        errors=(*_READ, 429),
        parameters=(_PORTFOLIO, _REPORT_FORM, *_OF_FIGURES[1:]),
        gives_file=("application/pdf", "text/html"),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/report",
        method="post",
        name="reportBesideBenchmark",
        summary="The same report, with the performance beside a benchmark: a table of days and levels",
        answers={200: None},
        errors=_COMPARED,
        examples=_LEVELS,
        parameters=(
            _PORTFOLIO,
            _REPORT_FORM,
            query(
                "name", {"type": "string", "minLength": 1, "maxLength": 60, "default": "Benchmark"}, "Of the benchmark."
            ),
            *_OF_FIGURES[1:],
        ),
        takes_file=("text/csv",),
        gives_file=("application/pdf", "text/html"),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/export",
        method="get",
        name="exportPortfolio",
        summary="A portfolio as a file: to be read back, or for accountants' programs",
        answers={200: None},
        errors=_READ,
        parameters=(_PORTFOLIO, _FORM),
        gives_file=("application/json", "application/yaml", "text/csv", "text/plain", "application/zip"),
        also_under_api=True,
    ),
    Operation(
        path="/portfolio/import",
        method="post",
        name="importPortfolio",
        summary="A new portfolio from a file, read whole or not at all",
        answers={201: documents.PortfolioInfo},
        errors=_WRITE,
        examples={"exported": _FILE},
        parameters=_OF_TABLE,
        takes_file=("application/json", "application/yaml", "text/csv"),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/accounts",
        method="post",
        name="addAccount",
        summary="A new account of a portfolio, kept by hand",
        answers={201: documents.PortfolioInfo},
        errors=_WRITE,
        takes=forms.AccountForm,
        examples={"account": {"name": "Second", "holdings": _HOLDINGS}},
        parameters=(_PORTFOLIO,),
        also_under_api=True,
    ),
    Operation(
        path=_ACCOUNT,
        method="get",
        name="showAccount",
        summary="One account, with its holdings",
        answers={200: documents.AccountInfo},
        errors=_READ,
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path=_ACCOUNT,
        method="put",
        name="changeAccount",
        summary="Rename an account, or write its holdings; those that were synced cannot be edited",
        answers={200: documents.PortfolioInfo},
        errors=_WRITE,
        takes=forms.AccountForm,
        examples={"holdings": {"holdings": _HOLDINGS}},
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path=_ACCOUNT,
        method="delete",
        name="deleteAccount",
        summary="Delete an account with its holdings",
        answers={200: documents.PortfolioInfo},
        errors=_ACT,
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ACCOUNT}/connect/ibkr",
        method="post",
        name="connectAccount",
        summary="Link an account to one at IBKR, and sync it",
        answers={200: documents.AccountInfo},
        errors=(*_BROKER, 408, 413, 415),
        takes=forms.ConnectForm,
        examples={"paper": {"account_id": "DU1234567"}},
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ACCOUNT}/sync-status",
        method="get",
        name="syncStatus",
        summary="How the last sync ended, and when the next one is planned",
        answers={200: documents.SyncStatusInfo},
        errors=_READ,
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ACCOUNT}/sync",
        method="post",
        name="syncAccount",
        summary="Read all positions and cash now; whatever fails, the holdings stay as they were",
        answers={200: documents.SyncAnswer},
        errors=_BROKER,
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ACCOUNT}/disconnect",
        method="post",
        name="disconnectAccount",
        summary="Keep an account by hand again; its holdings stay as they were synced last",
        answers={200: documents.AccountInfo},
        errors=_ACT,
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ACCOUNT}/restore",
        method="post",
        name="restoreAccount",
        summary="Bring back the holdings of before the account was connected",
        answers={200: documents.AccountInfo},
        errors=_ACT,
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path="/ibkr/test-connection",
        method="get",
        name="testPortfolioConnection",
        summary="Whether accounts and positions can be read; a failure is told in the answer",
        answers={200: documents.ConnectionTestAnswer},
        errors=_READ,
        parameters=(_CONNECTION,),
        also_under_api=True,
    ),
    Operation(
        path="/ibkr/accounts",
        method="get",
        name="brokerAccounts",
        summary="The accounts at IBKR that your connections see, and what they are linked to",
        answers={200: documents.BrokerAccounts},
        errors=_BROKER,
        parameters=(_CONNECTION,),
        also_under_api=True,
    ),
)
