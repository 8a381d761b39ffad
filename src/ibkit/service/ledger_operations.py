"""The operations on ledgers, as the description of the interface tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkit.service import ledger_documents as documents
from ibkit.service import ledger_forms as forms
from ibkit.service import ledger_rule_documents as rule_documents
from ibkit.service.flex_token import FlexTokenForm, FlexTokenInfo
from ibkit.service.operation import Operation, query

__all__ = ["LEDGERS"]

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
_DIGEST: Mapping[str, Any] = {
    "name": "digest",
    "in": "path",
    "required": True,
    "description": "SHA-256 of the payload, as `source` tells it.",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    "example": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
_ITEM: Mapping[str, Any] = {
    "name": "item_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "example": "0b9d3c7de2a94f6c8d5e7a9012bc34de",
}
_DAY = {"type": "string", "format": "date"}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_ACCOUNT = query("account", {"type": "string", "minLength": 1, "maxLength": 200}, "Its name, where there are several.")
_AS_OF = {
    **query("as_of", {"type": "string"}, "What was known to have happened until then: a moment, or the end of a day."),
    "example": "2026-11-20",
}
_FROM = {**query("from", _DAY, "By the day whose statement tells of it."), "example": "2026-01-02"}
_TO = {**query("to", _DAY, "The last of these days."), "example": "2026-11-20"}
_READ = (400, 401, 403, 404, 409, 422, 503)
_WRITE = (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 502, 503, 507)
_FETCH = (400, 401, 403, 404, 409, 422, 424, 429, 502, 503, 504, 507)
_ONE = "/portfolio/{portfolio_id}"
_FLEX = f"{_ONE}/accounts/{{name}}/flex"

_OWN = "/api/settings/flex"
_OWN_WRITE = (400, 401, 403, 404, 429, 503)

LEDGERS: tuple[Operation, ...] = (
    Operation(
        path=_OWN,
        method="get",
        name="showFlexToken",
        summary="Your Flex token as a mask, and its query (with ENABLE_MULTI_USER)",
        answers={200: FlexTokenInfo},
        errors=(400, 401, 403, 404, 503),
    ),
    Operation(
        path=_OWN,
        method="post",
        name="putFlexToken",
        summary="Keep your Flex token with its query: statements are fetched with it, once a day by themselves",
        answers={200: FlexTokenInfo},
        errors=(*_OWN_WRITE, 408, 413, 415, 422),
        takes=FlexTokenForm,
        examples={"token": {"token": "123456789012345678901234", "query_id": "998877", "expires_on": "2027-05-01"}},
    ),
    Operation(
        path=_OWN,
        method="delete",
        name="deleteFlexToken",
        summary="Forget your Flex token",
        answers={200: FlexTokenInfo},
        errors=_OWN_WRITE,
    ),
    Operation(
        path=_FLEX,
        method="get",
        name="listStatements",
        summary="The Flex statements of an account, what each leaves out, and the days that none tells of",
        answers={200: documents.StatementsInfo},
        errors=_READ,
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path=_FLEX,
        method="post",
        name="importStatement",
        summary="Take a Flex statement into an account's ledger; one that is cut or of another account changes nothing",
        answers={200: documents.FlexImportInfo},
        errors=_WRITE,
        examples={"statement": '<FlexQueryResponse queryName="ibkit" type="AF">…</FlexQueryResponse>'},
        parameters=(_PORTFOLIO, _NAME),
        takes_file=("application/xml", "text/xml"),
        also_under_api=True,
    ),
    Operation(
        path=f"{_FLEX}/fetch",
        method="post",
        name="fetchStatement",
        summary="Fetch the statement of your Flex query (or FLEX_QUERY_ID) from IBKR, without a session, and take it",
        answers={200: documents.FlexImportInfo},
        errors=_FETCH,
        parameters=(_PORTFOLIO, _NAME, {**_FROM, "description": "First day, in place of the query's period."}, _TO),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/transactions",
        method="get",
        name="portfolioTransactions",
        summary="What happened in an account, each with the row that told it",
        answers={200: documents.TransactionsInfo},
        errors=_READ,
        parameters=(
            _PORTFOLIO,
            _ACCOUNT,
            _AS_OF,
            _FROM,
            _TO,
            query("limit", {**_COUNT, "maximum": 1000}, "At most so many [default: 1000]."),
            query("offset", _COUNT, "Leave out so many at the beginning."),
        ),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/lots",
        method="get",
        name="portfolioLots",
        summary="Open and closed lots of an account, by the rule it has",
        answers={200: documents.LotsInfo},
        errors=_READ,
        parameters=(_PORTFOLIO, _ACCOUNT, _AS_OF),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/income",
        method="get",
        name="portfolioIncome",
        summary="Dividends, interest, fees and taxes of an account, and what its trades realized",
        answers={200: documents.IncomeInfo},
        errors=_READ,
        parameters=(_PORTFOLIO, _ACCOUNT, _AS_OF, _FROM, _TO),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/ledger",
        method="get",
        name="portfolioLedger",
        summary="Cash, positions and results of an account, now or as of any past moment",
        answers={200: documents.LedgerInfo},
        errors=_READ,
        parameters=(_PORTFOLIO, _ACCOUNT, _AS_OF),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/corrections",
        method="get",
        name="portfolioCorrections",
        summary="What was told of an account's transactions before, and what a newer payload told otherwise",
        answers={200: rule_documents.CorrectionsInfo},
        errors=_READ,
        parameters=(
            _PORTFOLIO,
            _ACCOUNT,
            query("limit", {**_COUNT, "maximum": 1000}, "At most so many [default: 1000]."),
            query("offset", _COUNT, "Leave out so many at the beginning."),
        ),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/accounts/{{name}}/ledger-rules",
        method="get",
        name="ledgerRules",
        summary="Which lots of an account are closed first, and where an option's premium goes",
        answers={200: rule_documents.LedgerRulesInfo},
        errors=_READ,
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/accounts/{{name}}/ledger-rules",
        method="put",
        name="changeLedgerRules",
        summary="Choose which lots are closed first; what is left out stays as it is",
        answers={200: rule_documents.LedgerRulesInfo},
        errors=_WRITE,
        takes=rule_documents.LedgerRulesForm,
        examples={
            "last in, first out": {"lot_order": "lifo"},
            "chosen": {
                "lot_order": "specific",
                "picks": [{"closed_by": "exec:9.01", "lots": [{"opened_by": "exec:3.01", "quantity": 50}]}],
            },
        },
        parameters=(_PORTFOLIO, _NAME),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/raw/{{digest}}",
        method="get",
        name="rawPayload",
        summary="A payload as it came: a Flex statement, an answer of IBKR's, a booking by hand",
        answers={200: None},
        errors=_READ,
        parameters=(_PORTFOLIO, _DIGEST),
        gives_file=("application/xml", "application/json"),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/raw/{{digest}}/row",
        method="get",
        name="rawRow",
        summary="One row of a payload, as `source` names it",
        answers={200: documents.RawRowInfo},
        errors=_READ,
        parameters=(
            _PORTFOLIO,
            _DIGEST,
            query("statement", _COUNT, "Which statement in it, from 0."),
            query("section", {"type": "string", "maxLength": 64}, "Of the statement."),
            query("row", _COUNT, "Which row, from 0."),
        ),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/inbox",
        method="get",
        name="portfolioInbox",
        summary="Where ledger, statement and live holdings differ, each with its cause and what to do",
        answers={200: documents.InboxInfo},
        errors=_READ,
        parameters=(_PORTFOLIO, _ACCOUNT),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/inbox/{{item_id}}/accept",
        method="post",
        name="acceptDifference",
        summary="A difference is known and stays, until it differs by another amount",
        answers={200: documents.DifferenceInfo},
        errors=_WRITE,
        takes=forms.NoteForm,
        examples={"known": {"note": "a share of the old broker's"}},
        parameters=(_PORTFOLIO, _ITEM, _ACCOUNT),
        also_under_api=True,
    ),
    Operation(
        path=f"{_ONE}/inbox/{{item_id}}/fix",
        method="post",
        name="fixDifference",
        summary="Do what is proposed: fetch the statement, or book what is missing; what is left is told",
        answers={200: documents.InboxInfo},
        errors=(*_WRITE, 424, 504),
        takes=forms.FixForm,
        examples={"by hand": {"adjust": True, "note": "as the broker wrote"}},
        parameters=(_PORTFOLIO, _ITEM, _ACCOUNT),
        also_under_api=True,
    ),
)
