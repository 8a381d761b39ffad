"""`ibkit portfolio`: books by hand, files, and what comes from IBKR."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Bench

Run = Callable[..., Any]
Make = Callable[..., Bench]


def holdings(ibkit: Run, name: str = "Savings", account: str = "Vault") -> dict[str, str]:
    found = ibkit("portfolio", "show", name, account, "--json")
    assert found.code == 0, found.err
    return {each["symbol"]: each["units"] for each in found.json["holdings"]}


def said(ibkit: Run, *words: str) -> str:
    ran = ibkit("portfolio", *words)
    assert ran.code == 0, ran.err
    return str(ran.out)


@pytest.mark.requirement("SYN-01")
def test_books_are_kept_by_hand(ibkit: Run, home: Path) -> None:
    assert "There is no portfolio" in said(ibkit, "list")
    assert "Made Savings (" in said(ibkit, "create", "Savings", "--currency", "eur")
    assert "Added Vault to Savings." in said(ibkit, "account", "add", "Savings", "Vault")
    assert "Vault holds 1.5 GOLD now." in said(ibkit, "set", "Savings", "Vault", "GOLD", "1.5")
    said(ibkit, "set", "Savings", "Vault", "SHORT", "-2")
    assert holdings(ibkit) == {"GOLD": "1.5", "SHORT": "-2"}
    said(ibkit, "set", "Savings", "Vault", "SHORT", "0")
    assert holdings(ibkit) == {"GOLD": "1.5"}
    shown = said(ibkit, "show", "Savings")
    assert "Vault (by hand)" in shown
    assert "GOLD" in shown
    said(ibkit, "account", "rename", "Savings", "Vault", "Safe")
    missing = ibkit("portfolio", "show", "Savings", "Vault")
    assert (missing.code, "There are: Safe" in missing.err) == (2, True)
    assert ibkit("portfolio", "account", "delete", "Savings", "Safe").code == 2  # it holds something
    said(ibkit, "account", "delete", "Savings", "Safe", "--yes")
    row = ibkit("portfolio", "list", "--json").json["portfolios"][0]
    assert (row["name"], row["currency"], row["accounts"]) == ("Savings", "EUR", 0)
    assert ibkit("portfolio", "delete", "Savings").code == 2
    assert "Deleted Savings." in said(ibkit, "delete", row["id"], "--yes")
    gone = ibkit("portfolio", "show", "Savings", "--json")
    assert (gone.code, gone.error["code"] if hasattr(gone, "error") else "E-NOT-FOUND") == (2, "E-NOT-FOUND")


@pytest.mark.requirement("SYN-01")
@pytest.mark.parametrize("form", ["json", "yaml", "csv"])
def test_a_portfolio_goes_out_as_a_file_and_comes_back(ibkit: Run, home: Path, form: str) -> None:
    said(ibkit, "create", "Savings")
    said(ibkit, "account", "add", "Savings", "Vault")
    said(ibkit, "set", "Savings", "Vault", "GOLD", "0.10000000000000000001")
    file = home / f"Copy.{form}"
    assert f"Wrote {file}." in said(ibkit, "export", "Savings", "--format", form, "--to", str(file))
    assert "with 1 accounts and 1 holdings" in said(ibkit, "import", str(file))
    names = {each["name"] for each in ibkit("portfolio", "list", "--json").json["portfolios"]}
    assert names == ({"Savings", "Copy"} if form == "csv" else {"Savings"})
    file.write_bytes(b"{")
    before = ibkit("portfolio", "list", "--json").out
    assert ibkit("portfolio", "import", str(file)).code == 2
    assert ibkit("portfolio", "import", str(home / "none.json")).code == 2
    assert ibkit("portfolio", "import", str(home / "none.pdf")).code == 2
    assert ibkit("portfolio", "list", "--json").out == before


@pytest.mark.requirement("FUT-05")
def test_a_portfolio_goes_out_for_accountants(ibkit: Run, home: Path) -> None:
    said(ibkit, "create", "Savings")
    said(ibkit, "account", "add", "Savings", "Vault")
    said(ibkit, "set", "Savings", "Vault", "GOLD", "1.5")
    text = said(ibkit, "export", "Savings", "--format", "beancount")
    assert "Assets:Vault:GOLD  1.5 GOLD" in text
    assert "Vault: no ledger is kept of this account (no transaction of it is known)" in text
    refused = ibkit("portfolio", "export", "Savings", "--format", "portfolio-performance")
    assert (refused.code, ".zip" in refused.err) == (2, True)
    file = home / "a.zip"
    said(ibkit, "export", "Savings", "--format", "portfolio-performance", "--to", str(file))
    with zipfile.ZipFile(file) as packed:
        rows = list(csv.DictReader(io.StringIO(packed.read("portfolio-transactions.csv").decode()), delimiter=";"))
    assert [(row["Type"], row["Shares"], row["Ticker Symbol"]) for row in rows] == [
        ("Delivery (Inbound)", "1.5", "GOLD")
    ]


@pytest.mark.requirement("SYN-04")
@pytest.mark.requirement("SYN-06")
@pytest.mark.requirement("SYN-13")
def test_an_account_is_connected_synced_and_disconnected(
    ibkit: Run, bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator = bench().simulator
    ibkit("orders", "place", "SPY", "BUY", "3", "--market", "--yes")
    said(ibkit, "create", "Savings")
    said(ibkit, "account", "add", "Savings", "Vault")
    said(ibkit, "set", "Savings", "Vault", "GOLD", "1")
    wrong = ibkit("portfolio", "connect", "Savings", "Vault", "--to", "U999", "--json")
    assert wrong.code == 2
    assert "DU1000001" in wrong.err
    connected = said(ibkit, "connect", "Savings", "Vault", "--to", "DU1000001")
    assert "IBKR DU1000001, synced 20" in connected
    assert "cash" in connected
    assert "GOLD" not in holdings(ibkit)
    assert "nothing changed" in said(ibkit, "sync", "Savings")
    edit = ibkit("portfolio", "set", "Savings", "Vault", "GOLD", "2")
    assert (edit.code, "E-CONFLICT" in edit.err) == (5, True)
    assert "IBKR DU1000001, synced" in said(ibkit, "list")

    simulator.control(
        "POST", "faults", {"fault": "html", "endpoint": "POSITIONS", "times": 50, "params": {"status": 200}}
    )
    before = holdings(ibkit)
    failed = ibkit("portfolio", "sync", "Savings", "Vault")
    assert (failed.code, "E-SYNC-FAILED" in failed.err) == (5, True)
    assert holdings(ibkit) == before
    status = said(ibkit, "status", "Savings")
    assert "error" in status
    assert "-> Holdings were left unchanged." in status

    said(ibkit, "disconnect", "Savings", "Vault")
    assert holdings(ibkit) == before
    assert ibkit("portfolio", "disconnect", "Savings", "Vault").code == 5
    said(ibkit, "restore", "Savings", "Vault")
    assert holdings(ibkit) == {"GOLD": "1"}


@pytest.mark.requirement("SYN-01")
def test_what_was_kept_before_there_was_a_user_is_theirs_and_of_two_one_is_named(
    ibkit: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(ibkit, "create", "Savings")
    for name in ("anna", "bob"):
        monkeypatch.setattr("sys.stdin", io.StringIO("violet lamps near the harbour\n"))
        assert ibkit("user", "add", name, "--role", "trader").code == 0
        if name == "anna":
            assert "Savings" in said(ibkit, "list")
    several = ibkit("portfolio", "list")
    assert (several.code, "--user" in several.err) == (2, True)
    assert "Savings" in said(ibkit, "list", "--user", "anna")
    assert "There is no portfolio" in said(ibkit, "list", "--user", "bob")


@pytest.mark.requirement("FUT-05")
def test_the_figures_of_a_portfolio(ibkit: Run, bench: Make, home: Path) -> None:
    bench()
    bought = ibkit("orders", "place", "buy", "3", "SPY", "--limit-price", "640", "--yes")
    assert bought.code == 0, (bought.out, bought.err)
    said(ibkit, "create", "Savings")
    said(ibkit, "account", "add", "Savings", "Vault")
    said(ibkit, "account", "add", "Savings", "Empty")
    said(ibkit, "connect", "Savings", "Vault", "--to", "DU1000001")
    told = ibkit("portfolio", "analytics", "Savings", "--json")
    assert told.code == 0, told.err
    assert {each["name"] for each in told.json["by_type"]} == {"etf", "cash"}
    assert sum(float(each["net_share"]) for each in told.json["by_type"]) == pytest.approx(100)
    assert told.json["net_liquidation"] is None  # the other account is kept by hand
    shown = said(ibkit, "analytics", "Savings")
    for line in ("Value of holdings", "SPY", "Not known:", "  net_liquidation: Empty: it is kept by hand"):
        assert line in shown, shown

    quoted = ibkit("portfolio", "analytics", "Savings", "--greeks", "--json")
    assert (quoted.code, quoted.err) == (0, ""), quoted.err
    assert quoted.json["by_type"] == told.json["by_type"]

    first = "2020-01-01"
    paid = said(
        ibkit,
        "flows",
        "Savings",
        "Vault",
        "2020-03-02=5000",
        "2020-06-15=-750.5",
        "--from",
        first,
        "--to",
        "2020-12-31",
    )
    assert paid == "Vault: payments are known from 2020-01-01 to 2020-12-31; 2 in all.\n"
    kept = ibkit("portfolio", "flows", "Savings", "Vault", "--from", "2021-01-01", "--to", "2021-01-31", "--json").json
    assert kept == {"known": [[first, "2021-01-31"]], "amounts": {"2020-03-02": "5000", "2020-06-15": "-750.5"}}

    (home / "levels.csv").write_text("day,level\n2026-11-19,5000\n2026-11-20,5010.5\n")
    beside = said(ibkit, "analytics", "Savings", "--benchmark", str(home / "levels.csv"))
    assert "  performance: it takes two days with a snapshot, there are 1" in beside
    (home / "wrong.csv").write_text("2026-11-19,5000\n2026-11-20,-1\n")
    for words in (
        ("analytics", "Savings", "--as-of", "yesterday"),
        ("analytics", "Savings", "--as-of", "2026-11-20", "--greeks"),
        ("analytics", "Savings", "--as-of", "2999-01-01"),
        ("analytics", "Savings", "--from", "2026-02-02", "--to", "2026-02-01"),
        ("analytics", "Savings", "--currency", "1"),
        ("analytics", "Savings", "--benchmark", str(home / "wrong.csv")),
        ("analytics", "Savings", "--benchmark", str(home / "none.csv")),
        ("flows", "Savings", "Vault", "2020-03-02=5", "2020-03-02=6", "--from", first, "--to", "2020-12-31"),
        ("flows", "Savings", "Vault", "2019-03-02=5", "--from", first, "--to", "2020-12-31"),
        ("flows", "Savings", "Vault", "2020-03-02", "--from", first, "--to", "2020-12-31"),
        ("flows", "Savings", "Nowhere", "--from", first, "--to", "2020-12-31"),
    ):
        refused = ibkit("portfolio", *words)
        assert refused.code == 2, (words, refused.out, refused.err)
