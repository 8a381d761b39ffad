"""`ibkit portfolio flex`, `transactions`, `lots`, `income`, `ledger`, `raw`, `lot-order` and `inbox`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from desks import Desk
from ibkit.bootstrap import Edges, using
from ibkit.sim.flex.service import FLEX_PATH
from ibkit.sim.serving.inprocess import CLOUD_URL
from ledger_lives import ACTIVITY, body_of, event, trade
from sim.test_flex import Moving

pytestmark = pytest.mark.requirement("FUT-08")
Run = Callable[..., Any]
SPY = 756733


@pytest.fixture
def books(ibkit: Run, home: Path) -> Callable[..., Any]:
    """`ibkit portfolio …` with an account that is nobody's yet; what it says, or its JSON."""
    (home / ".env").write_text("APP_ENV=test\n")

    def run(*words: str, code: int = 0) -> Any:
        ran = ibkit("portfolio", *words)
        assert ran.code == code, (words, ran.out, ran.err)
        return ran.json if "--json" in words and not code else ran

    run("create", "Savings")
    run("account", "add", "Savings", "IRA")
    return run


def place(home: Path, body: bytes) -> str:
    (home / "activity.xml").write_bytes(body)
    return str(home / "activity.xml")


OF = ("--portfolio", "Savings", "--account", "IRA")


def test_a_statement_is_imported_and_every_figure_leads_to_its_row(books: Any, home: Path) -> None:
    sim = Desk()
    trade(sim, 100)
    first = sim.now.date()
    sim.simulator.advance(timedelta(days=3).total_seconds())
    trade(sim, -40, "650.00")
    event(sim, event="dividend", symbol="SPY", per_share="1.00", tax_pct="15")
    taken = books("flex", "import", place(home, body_of(sim)), *OF, "--json")
    assert (taken["added"], taken["known"], taken["missing"], taken["holdings_count"]) == (4, 0, [], 2)
    again = books("flex", "import", place(home, body_of(sim)), *OF).out
    assert "0 new, 0 corrected, 4 known" in again
    told = books("transactions", "Savings", "--json")
    assert [each["kind"] for each in told["transactions"]] == ["trade", "trade", "dividend", "withholding tax"]
    source = told["transactions"][2]["source"]
    row = books(*("raw", "Savings", source["digest"], "--section", source["section"], "--row", str(source["row"]))).json
    assert (row["type"], row["amount"]) == ("Dividends", told["transactions"][2]["cash"]["USD"])
    assert books("raw", "Savings", source["digest"]).out.encode().strip() == body_of(sim).strip()
    lots = books("lots", "Savings", "--json")
    assert [(each["quantity"], each["opened_by"]) for each in lots["open"]] == [("60", told["transactions"][0]["key"])]
    assert lots["closed"][0]["closed_by"] == told["transactions"][1]["key"]
    income = books("income", "Savings", "--json")
    assert {each["kind"]: each["amount"] for each in income["income"]} == {"dividend": "60", "withholding tax": "-9"}
    now = books("ledger", "Savings", "--json")
    assert (now["positions"][0]["quantity"], Decimal(now["cash"]["USD"])) == ("60", sim.book.cash)
    then = books("ledger", "Savings", "--as-of", str(first), "--json")
    assert then["positions"][0]["quantity"] == "100"
    for command in ("transactions", "lots", "income", "ledger"):
        assert "SPY" in books(command, "Savings").out or command == "income"
    assert "Lots are closed lifo now." in books("lot-order", "Savings", "lifo").out
    assert books("lots", "Savings", "--json")["lot_order"] == "lifo"
    assert "Nothing was told otherwise" in books("corrections", "Savings").out
    assert books("flex", "list", *OF, "--json")["statements"][0]["missing"] == []
    assert "Nothing differs." in books("inbox", "list", "Savings").out
    # `sync` reads the newest statement, and signs in nobody.
    assert books("sync", "Savings", "IRA", "--json")["IRA"]["success"]


def test_what_is_bad_is_named_and_changes_nothing(books: Any, home: Path) -> None:
    sim = Desk()
    trade(sim, 100)
    body = body_of(sim)
    books("flex", "import", place(home, body), *OF)
    before = [books(*words, "--json") for words in (("show", "Savings"), ("ledger", "Savings"))]
    cut = books("flex", "import", place(home, body[: len(body) // 2]), *OF, code=5)
    assert "E-FLEX-STATEMENT" in cut.err
    other = books("flex", "import", place(home, body.replace(sim.account.encode(), b"U7654321")), *OF, "--json", code=5)
    assert other.error["code"] == "E-FLEX-ACCOUNT"
    assert "U7654321" not in other.err
    books("flex", "import", str(home / "none.xml"), *OF, code=2)
    assert [books(*words, "--json") for words in (("show", "Savings"), ("ledger", "Savings"))] == before
    books("ledger", "Savings", "--as-of", "yesterday", code=2)
    books("raw", "Savings", "0" * 64, code=2)
    none = books("flex", "fetch", *OF, code=3)
    assert "FLEX_QUERY_ID" in none.err


def test_a_statement_is_fetched_and_a_difference_settled(books: Any, home: Path) -> None:
    sim = Desk()
    trade(sim, 100)
    sim.simulator.advance(timedelta(days=3).total_seconds())
    event(sim, event="fee", account=sim.account, amount=-10)
    sim.simulator.advance(timedelta(days=1).total_seconds())
    token = sim.world.flex.token_of("simpaper1")
    settings = {"FLEX_TOKEN": token, "FLEX_QUERY_ID": ACTIVITY, "FLEX_URL": CLOUD_URL + FLEX_PATH, "APP_ENV": "test"}
    (home / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    (home / ".env").chmod(0o600)
    first, last = (str((sim.now - timedelta(days=days)).date()) for days in (2, 1))
    clock = Moving(sim.simulator)
    with using(Edges(flex=lambda _: sim.simulator.transport("cloud"), clock=clock, keep_alive=False)):  # type: ignore[arg-type]
        ran = books("flex", "fetch", *OF, "--from", first, "--to", last)
        assert token not in ran.out + ran.err
        (found,) = books("inbox", "list", "Savings", "--json")["differences"]
        assert (found["cause"], found["fix"], found["amount"]) == ("an opening that is not known", "book", "100")
        assert "position" in books("inbox", "accept", "Savings", found["id"], "--note", "known").out
        assert "accepted" in books("inbox", "list", "Savings").out
        assert "Nothing differs." in books("inbox", "fix", "Savings", found["id"], "--cost", "60000").out
        assert books("ledger", "Savings", "--json")["positions"][0]["cost"] == "60000"
