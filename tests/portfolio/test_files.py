"""Portfolios as JSON, YAML and CSV: what is written is read back the same, and what is wrong is told with its place."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibkit.bootstrap.yaml_files import read_yaml, yaml_of
from ibkit.errors import ConfigError
from ibkit.portfolio.book import Holding, Portfolio, PortfolioAccount, Security
from ibkit.portfolio.files import csv_of, json_of, plain_of, portfolio_from, read_csv, read_json
from ibkit.portfolio.kinds import SecurityKind
from portfolio_room import NOW, make_portfolio

pytestmark = pytest.mark.requirement("SYN-01")
WHO: dict[str, Any] = {"portfolio_id": "0" * 31 + "1", "user_id": "ada", "at": NOW}


def from_json(body: bytes) -> Portfolio:
    return portfolio_from(read_json(body), **WHO)


def from_yaml(body: bytes) -> Portfolio:
    return portfolio_from(read_yaml(body), **WHO)


def from_csv(body: bytes) -> Portfolio:
    return read_csv(body, name="Savings", currency="USD", **WHO)


names = (
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Cf")), min_size=1, max_size=20)
    .map(str.strip)
    .filter(bool)
)
figures = st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12)
kinds = st.sampled_from(SecurityKind)
holdings = st.builds(
    Holding,
    symbol=names,
    units=figures,
    currency=st.sampled_from(["", "USD", "EUR"]),
    conid=st.none() | st.integers(1, 2**31 - 1),
    average_cost=st.none() | figures,
    market_value=st.none() | figures,
)
securities = st.builds(
    Security,
    symbol=names,
    name=names,
    kind=kinds,
    tags=st.lists(names, max_size=3).map(tuple),
    unit_price=st.none() | figures,
    conid=st.none() | st.integers(1, 2**31 - 1),
)


@st.composite
def portfolios(draw: st.DrawFn) -> Portfolio:
    accounts = [
        PortfolioAccount(
            name=name,
            holdings=tuple(
                sorted(draw(st.lists(holdings, max_size=4, unique_by=lambda each: each.key)), key=lambda each: each.key)
            ),
        )
        for name in draw(st.lists(names, max_size=3, unique=True))
    ]
    known = draw(st.lists(securities, max_size=4, unique_by=lambda each: each.key))
    return make_portfolio(*accounts, securities=tuple(sorted(known, key=lambda each: each.key)))


@given(portfolios())
def test_json_and_yaml_give_back_what_was_written(portfolio: Portfolio) -> None:
    assert from_json(json_of(portfolio)) == portfolio
    assert from_yaml(yaml_of(plain_of(portfolio))) == portfolio


@given(portfolios())
def test_a_table_gives_back_every_holding(portfolio: Portfolio) -> None:
    found = from_csv(csv_of(portfolio))
    there = {account.name: account.holdings for account in portfolio.accounts if account.holdings}
    known = {security.key for security in portfolio.securities}

    def plain(holding: Holding) -> Holding:
        # The table has one column for the kind of a holding and that of its security.
        return replace(holding, kind=None)

    assert {each.name: [plain(h) for h in each.holdings] for each in found.accounts} == {
        name: [plain(each) for each in held] for name, held in there.items()
    }
    assert {h.key[:2] for held in there.values() for h in held} == {each.key for each in found.securities}
    for security in found.securities:
        if security.key in known:
            mine = next(each for each in portfolio.securities if each.key == security.key)
            assert (security.name, security.unit_price) == (mine.name, mine.unit_price)


def test_numbers_stay_exact_however_they_are_written() -> None:
    text = b'{"name": "A", "accounts": [{"name": "B", "holdings": [{"symbol": "X", "units": 0.1}]}]}'
    yaml = b"name: A\naccounts:\n- name: B\n  holdings:\n  - symbol: X\n    units: 12345678901234567.00000001\n"
    assert from_json(text).accounts[0].holdings[0].units == Decimal("0.1")
    assert from_yaml(yaml).accounts[0].holdings[0].units == Decimal("12345678901234567.00000001")


def test_a_spreadsheet_carries_nothing_out() -> None:
    evil = '=HYPERLINK("http://evil")'
    book = make_portfolio(
        PortfolioAccount(name="+A", holdings=(Holding(symbol=evil, units=Decimal(-1)),)),
        securities=(Security(symbol=evil, name="@x"),),
    )
    lines = csv_of(book).decode().split("\r\n")
    assert lines[1].startswith("'+A,\"'=HYPERLINK")
    assert ",-1," in lines[1]
    assert from_csv(csv_of(book)).accounts[0].holdings[0].symbol == evil


def good() -> dict[str, Any]:
    return json.loads(
        json_of(make_portfolio(PortfolioAccount(name="B", holdings=(Holding(symbol="X", units=Decimal(1)),))))
    )


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda book: book.update(colour="red"), "file"),
        (lambda book: book.update(format="other"), "format"),
        (lambda book: book.update(version=2), "format"),
        (lambda book: book.pop("name"), "name"),
        (lambda book: book.update(name=7), "name"),
        (lambda book: book.update(currency="dollar$"), "currency"),
        (lambda book: book.update(accounts={}), "accounts"),
        (lambda book: book["accounts"].append(book["accounts"][0]), "accounts"),
        (lambda book: book["accounts"][0]["holdings"][0].pop("units"), "accounts[1].holdings[1].units"),
        (lambda book: book["accounts"][0]["holdings"][0].update(units="1,000"), "accounts[1].holdings[1].units"),
        (lambda book: book["accounts"][0]["holdings"][0].update(units="NaN"), "accounts[1].holdings[1].units"),
        (lambda book: book["accounts"][0]["holdings"][0].update(units=True), "accounts[1].holdings[1].units"),
        (lambda book: book["accounts"][0]["holdings"][0].update(conid="1.5"), "accounts[1].holdings[1].conid"),
        (lambda book: book["accounts"][0]["holdings"][0].update(type="sock"), "accounts[1].holdings[1].type"),
        (lambda book: book["accounts"][0]["holdings"][0].update(symbol="a\u202eb"), "accounts[1].holdings[1].symbol"),
        (lambda book: book.update(securities=[{"symbol": "X", "tags": "a"}]), "securities[1].tags"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(change, place: str) -> None:
    book = good()
    change(book)
    with pytest.raises(ConfigError) as caught:
        portfolio_from(book, **WHO)
    assert caught.value.code == "E-VALIDATION"
    assert caught.value.details["errors"][0]["field"] == place, caught.value


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "line 1"),
        (b"account,symbol\r\nA,X\r\n", "line 1"),
        (b"account,symbol,units,colour\r\n", "line 1"),
        (b"account,symbol,units,units\r\n", "line 1"),
        (b"account,symbol,units\r\nA,X\r\n", "line 2"),
        (b"account,symbol,units\r\nA,X,1\r\nA,Y,many\r\n", "line 3.units"),
        (b"account,symbol,units\r\n,X,1\r\n", "line 2.account"),
        (b"account,symbol,units\r\nA,X,1\r\nA,X,2\r\n", "accounts.A.holdings"),
        (b'account,symbol,units\r\nA,"X,1\r\n', "file"),
        (b"\xff\xfe\x00", "file"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_its_line(body: bytes, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_csv(body)
    assert caught.value.details["errors"][0]["field"] == place, caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"a: &x [1]\nb: *x\n",
        b"name: A\nname: B\n",
        b"name: !!python/object/apply:os.system ['true']\n",
        b"{" * 5000,
        b"\x00",
        b"a: [1, 2\n",
        b"? [a]\n: b\n",
    ],
)
def test_yaml_that_is_no_plain_data_is_refused(body: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        from_yaml(body)
    assert caught.value.code == "E-VALIDATION"


@pytest.mark.parametrize("body", [b"", b"[", b'{"name": "A"', b"\xff", b"[]", b'"text"', b"<html>"])
def test_json_that_breaks_off_is_refused(body: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        from_json(body)
    assert caught.value.code == "E-VALIDATION"
