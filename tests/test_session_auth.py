"""`ibkit.create_ibkr_session_auth`: one connection of one user, which signs in by itself, looks and orders."""

from __future__ import annotations

import gc
import re
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ibkit
from credential_desks import fields_for, put
from ibkit.bootstrap import run, using
from ibkit.bootstrap.credential_desk import Asker, open_credential_desk
from ibkit.bootstrap.multi_user import accept_licence
from ibkit.bootstrap.session_desk import open_session_desk
from ibkit.errors import ConfigError, IbkitError, KeyReused, NotFound, NotPermitted, TradingError
from ibkit.settings import load
from ibkit.sim.serving.inprocess import Simulator
from ibkit.store.records import open_records
from ibkit.store.users import SqlUsers
from ibkit.trading.connection import ConnectionState
from ibkit.users import Role, User
from programs import edges_of, environ_of
from simulators import make_simulator
from vaults import OLD

KEY = "a-key-of-sixteen-characters"
METHODS = ("gateway", "oauth1a", "oauth2")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def gateway(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    yield from at(make_simulator(), home, monkeypatch)


def at(made: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch, method: str = "gateway") -> Iterator[Simulator]:
    monkeypatch.setattr("os.environ", environ_of(made, home, method))
    with using(edges_of(made)):
        yield made


def paths(simulator: Simulator) -> list[str]:
    return [each.path.removeprefix("/v1/api") for each in simulator.requests]


def placed(simulator: Simulator) -> list[str]:
    return [each.path for each in simulator.requests if each.method == "POST" and each.path.endswith("/orders")]


def accounts(simulator: Simulator) -> list[str]:
    return [path.split("/")[-2] for path in placed(simulator)]


def tables(home: Path, table: str) -> list[dict[str, Any]]:
    (there,) = home.rglob("ibkit.db")
    with sqlite3.connect(there) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"select * from {table}")]  # names of ours


@pytest.mark.requirement("SES-01")
@pytest.mark.parametrize("method", METHODS)
def test_the_whole_way_of_the_documentation(home: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Authenticate, cash, positions, ten AAPL at the market, three keep-alives, log out."""
    for simulator in at(make_simulator(), home, monkeypatch, method):
        session = ibkit.create_ibkr_session_auth("user123")
        session.authenticate()
        summary = session.get_account_summary()
        assert isinstance(summary.totalcashvalue, Decimal)
        assert summary.totalcashvalue > 0
        assert "totalcashvalue" in summary.raw
        assert session.get_positions() == []
        order = session.submit_order("AAPL", "buy", 10, order_type="market", tif="day")
        assert len(order) == 1
        assert order[0].order_id
        assert order[0].order_status in ("Submitted", "Filled", "PreSubmitted")
        before = paths(simulator).count("/tickle")
        for _ in range(3):
            assert session.keep_alive().state is ConnectionState.CONNECTED
        assert paths(simulator).count("/tickle") == before + 3
        (position,) = session.get_positions()
        assert (position.contract.symbol, position.quantity) == ("AAPL", 10)
        assert session.logout() is None
        assert paths(simulator)[-1] == "/logout"
        session.close()


@pytest.mark.requirement("SES-01", "SES-03")
def test_an_order_signs_in_first_and_the_next_one_does_not_again(gateway: Simulator) -> None:
    with ibkit.create_ibkr_session_auth("user123") as session:
        assert gateway.requests == []
        session.submit_order("AAPL", "buy", 1)
        first = paths(gateway)
        status, order = (
            first.index("/iserver/auth/status"),
            next(n for n, path in enumerate(first) if "/orders" in path),
        )
        assert first.index("/tickle") < status < order
        gateway.advance(10)
        session.submit_order("AAPL", "sell", 1)
        later = paths(gateway)[len(first) :]
        assert later.count("/iserver/auth/status") <= 1
        assert not any("ssodh/init" in path for path in later)
    assert len(placed(gateway)) == 2


@pytest.mark.requirement("SES-01")
def test_without_a_login_or_a_gateway_the_error_says_so(
    gateway: Simulator, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.control("POST", "scenario", {"scenario": "not-authenticated"})
    with ibkit.create_ibkr_session_auth("user123") as session:
        for verb in (session.authenticate, lambda: session.submit_order("AAPL", "buy", 1), session.get_positions):
            with pytest.raises(IbkitError) as caught:
                verb()
            assert caught.value.code == "E-GW-NOAUTH"
            assert "Not authenticated" in caught.value.message
    gateway.up = False
    with ibkit.create_ibkr_session_auth("user123") as session:
        with pytest.raises(IbkitError, match="not running") as caught:
            session.submit_order("AAPL", "buy", 1)
        assert caught.value.code == "E-GW-DOWN"
        gateway.up = True
        gateway.control("POST", "scenario", {"scenario": "ok"})
        gateway.advance(30)
        assert session.submit_order("AAPL", "buy", 1)[0].order_id
    assert len(placed(gateway)) == 1


@pytest.mark.requirement("SES-01")
def test_the_asynchronous_twin_does_the_same(gateway: Simulator) -> None:
    async def work() -> None:
        async with ibkit.create_async_ibkr_session_auth("user123") as session:
            assert (await session.authenticate()).status == "connected"
            assert (await session.get_account_summary()).totalcashvalue
            (order,) = await session.submit_order("AAPL", "buy", "10", "limit", 1.5, "gtc")
            assert order.order_status in ("Submitted", "PreSubmitted")
            assert await session.get_positions() == []
            assert (await session.keep_alive()).error is None
            assert await session.logout() is None
        with pytest.raises(RuntimeError, match="open it first"):
            await session.keep_alive()

    run(work)


@pytest.mark.requirement("SES-01", "SES-02")
def test_a_session_is_one_row_without_a_secret(gateway: Simulator, home: Path) -> None:
    with ibkit.create_ibkr_session_auth("user123") as session:
        told = session.authenticate()
        assert (told.expires_at - told.created_at).total_seconds() == 86_400
        gateway.advance(60)
        assert session.authenticate().session_id == told.session_id
        session.keep_alive()
        (row,) = tables(home, "broker_sessions")
        assert (row["session_id"], row["method"], row["environment"]) == (told.session_id, "gateway", "paper")
        assert row["last_keep_alive_at"] is not None
    (there,) = [each for each in gateway.world.logins.sessions if each.method == "gateway"]
    dump = b"".join(each.read_bytes() for each in home.rglob("ibkit.db*"))
    assert told.session_id.encode() in dump
    assert there.id.encode() not in dump


@pytest.mark.requirement("SES-01", "SES-10")
def test_a_log_out_holds_until_somebody_authenticates_whoever_logged_out(gateway: Simulator, home: Path) -> None:
    async def by_another() -> None:
        async with open_session_desk(load()) as desk:
            assert await desk.log_out() is None

    with ibkit.create_ibkr_session_auth("user123") as session:
        session.authenticate()
        assert session.logout() is None
        for verb in (lambda: session.submit_order("AAPL", "buy", 1), session.get_positions, session.keep_alive):
            with pytest.raises(TradingError) as caught:
                verb()
            assert caught.value.code == "E-NOT-CONNECTED"
        session.authenticate()
        assert session.submit_order("AAPL", "buy", 1)
        run(by_another)
        sent = len(gateway.requests)
        with pytest.raises(TradingError, match="logged out"):
            session.submit_order("AAPL", "buy", 2)
        assert not any("/orders" in path for path in paths(gateway)[sent:])
        names = [(each["name"], each["was"], each["state"]) for each in tables(home, "connection_events")]
        assert [name for name, *_ in names].count("logout") == 2
    with ibkit.create_ibkr_session_auth("user123") as session:  # who starts a program anew wants it connected
        assert session.submit_order("AAPL", "buy", 3)
    (row,) = tables(home, "connections")
    assert (row["wanted"], row["state"]) == (1, "configured")


@pytest.mark.requirement("SES-01", "TRD-22")
def test_a_key_is_one_order_of_its_user(gateway: Simulator) -> None:
    with ibkit.create_ibkr_session_auth("anna") as anna:
        first = anna.submit_order("AAPL", "buy", 1, key=KEY)
        assert first[0].key == KEY
        assert anna.submit_order("AAPL", "buy", 1, key=KEY) == first
        with pytest.raises(KeyReused):
            anna.submit_order("AAPL", "buy", 2, key=KEY)
    gateway.advance(5)
    with ibkit.create_ibkr_session_auth("bob") as bob:
        assert bob.submit_order("AAPL", "buy", 2, key=KEY)[0].order_id != first[0].order_id
    assert len(placed(gateway)) == 2


@pytest.mark.requirement("SES-01")
def test_a_refused_order_raises_why_and_names_its_key(gateway: Simulator) -> None:
    with ibkit.create_ibkr_session_auth("anna") as session:
        session.authenticate()
        gateway.control("POST", "scenario", {"scenario": "order-reject-200"})
        with pytest.raises(IbkitError) as caught:
            session.submit_order("AAPL", "buy", 1, key=KEY)
        assert caught.value.code == "E-ORD-REJECT"
        assert caught.value.details["key"] == KEY


@pytest.mark.requirement("SES-01")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("AAPL", "hold", 1), ["action"]),
        (("", "buy", 1), ["symbol"]),
        (("AAPL", "buy", 0), ["quantity"]),
        (("AAPL", "buy", "ten"), ["quantity"]),
        (("AAPL", "buy", float("nan")), ["quantity"]),
        (("AAPL", "buy", 1, "limit"), ["price"]),
        (("AAPL", "buy", 1, "limit", -1), ["price"]),
        (("AAPL", "buy", 1, "market", 5), ["price"]),
        (("AAPL", "buy", 1, "stop", 5), ["order_type"]),
        (("AAPL", "buy", 1, "market", None, "opg"), ["tif"]),
        (("AAPL", "hold", -1, "stop", None, "never"), ["action", "quantity", "order_type", "tif"]),
    ],
)
def test_a_wrong_call_names_all_that_is_wrong_and_sends_nothing(
    gateway: Simulator, arguments: Any, named: list[str]
) -> None:
    with ibkit.create_ibkr_session_auth("anna") as session:
        with pytest.raises(ConfigError) as caught:
            session.submit_order(*arguments)
        assert caught.value.code == "E-VALIDATION"
        assert re.findall(r"(\w+): ", caught.value.message.removeprefix("Invalid request: ")) == named
    assert gateway.requests == []


@pytest.mark.requirement("SES-01", "GWY-09")
def test_an_account_is_named_where_there_are_several(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for simulator in at(make_simulator("multi-account"), home, monkeypatch):
        with ibkit.create_ibkr_session_auth("anna") as session:
            with pytest.raises(ConfigError) as caught:
                session.submit_order("AAPL", "buy", 1)
            assert caught.value.code == "E-ACC-AMBIGUOUS"
            first, second = str(caught.value.details["ids"]).split(", ")
            assert session.submit_order("AAPL", "buy", 1, account_id=first)
            assert session.get_account_summary(second).account_id == second
            with pytest.raises(NotFound):
                session.submit_order("AAPL", "buy", 1, account_id="DU9999999")
        assert accounts(simulator) == [first]


@pytest.mark.requirement("SES-01")
def test_nothing_happens_before_the_first_verb_and_nothing_is_left_after_close(gateway: Simulator, home: Path) -> None:
    before = threading.active_count()
    session = ibkit.create_ibkr_session_auth("anna")
    assert (gateway.requests, list(home.rglob("*.db"))) == ([], [])
    session.authenticate()
    session.close()
    session.close()
    gc.collect()
    assert threading.active_count() <= before + 1  # anyio keeps one idle worker thread for a while
    assert session.keep_alive().state is ConnectionState.CONNECTED  # the next verb opens it anew
    session.close()


@pytest.mark.requirement("SES-01")
def test_what_is_missing_is_told_at_the_first_verb(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"HOME": str(home)})
    session = ibkit.create_ibkr_session_auth("anna")
    with pytest.raises(ConfigError) as caught:
        session.authenticate()
    assert caught.value.code == "E-NOT-CONFIGURED"
    with pytest.raises(ConfigError, match="user_id"):
        ibkit.create_ibkr_session_auth(" ").authenticate()


@pytest.mark.requirement("SES-01", "CFG-05")
def test_live_money_needs_its_account_by_name_and_a_paper_run_before(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_simulator()
    (live,) = [number for number, keys in enumerate(made.users) if keys.user.username == "simlive1"]
    environ = environ_of(made, home, "oauth1a", user=live) | {"IBKR_ENV": "live"}
    monkeypatch.setattr("os.environ", environ)
    with using(edges_of(made)):
        for named in (None, "U0000000", str(made.users[live].user.accounts[0].id)):
            with ibkit.create_ibkr_session_auth("anna", live_account=named) as session:
                assert session.get_account_summary().totalcashvalue
                with pytest.raises(TradingError) as caught:
                    session.submit_order("AAPL", "buy", 1)
                assert caught.value.code == "E-LIVE"
            made.advance(10)
    assert placed(made) == []


@pytest.mark.requirement("SES-01", "CFG-04")
def test_the_simulated_broker_needs_no_login(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"HOME": str(home), "BROKER_PROVIDER": "mock"})
    with ibkit.create_ibkr_session_auth("anna") as session:
        assert session.authenticate().method == "mock"
        assert session.submit_order("AAPL", "buy", 10)[0].order_id


# -- several users ----------------------------------------------------------------------------------------------------


class Firm:
    """An installation of several users, with the settings' own login beside: nobody is to act by that."""

    def __init__(self, home: Path, simulator: Simulator) -> None:
        self.simulator = simulator
        self.settings = load()

    def user(self, name: str, role: Role = Role.TRADER, *, enabled: bool = True) -> None:
        async def work() -> None:
            database = open_records(self.settings.database_url, parts=("users",))
            at = datetime(2026, 11, 1, tzinfo=UTC)
            await SqlUsers(database).add(
                User(user_id=f"id-of-{name}", name=name, role=role, created_at=at, enabled=enabled)
            )
            await database.close()

        run(work)

    def connection(self, name: str, connection_id: str, login: int) -> None:
        """Credentials that have passed their test."""

        async def work() -> None:
            async with open_credential_desk(self.settings) as desk:
                who = Asker.here(f"id-of-{name}")
                account = str(self.simulator.users[login].user.accounts[0].id)
                fields = fields_for(self.simulator, user=login) | {"account_id": account}
                await put(desk, fields, who=who, connection_id=connection_id)
                assert (await desk.test(who, connection_id)).failure is None

        run(work)


@pytest.fixture
def firm(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Firm]:
    simulator = make_simulator()
    more = {"ENABLE_MULTI_USER": "true", "ENCRYPTION_KEY": OLD, "SSO_SETTLE_SECONDS": "0"}
    monkeypatch.setattr("os.environ", environ_of(simulator, home) | more)
    with using(edges_of(simulator)):
        yield Firm(home, simulator)


@pytest.mark.requirement("SES-01", "VLT-09", "VLT-12", "SES-15")
def test_each_user_trades_by_a_connection_of_their_own(firm: Firm) -> None:
    firm.user("anna")
    firm.user("bob")
    firm.connection("anna", "one", 0)
    firm.connection("bob", "main", 1)
    with pytest.raises(ConfigError) as caught:
        ibkit.create_ibkr_session_auth("anna").authenticate()
    assert caught.value.code == "E-LICENCE"
    run(lambda: accept_licence(firm.settings, "IBKR letter 7", by="cli:tests", at=datetime(2026, 11, 1, tzinfo=UTC)))
    with (
        ibkit.create_ibkr_session_auth("anna") as anna,
        ibkit.create_ibkr_session_auth("id-of-bob", connection_id="main") as bob,
    ):
        anna.submit_order("AAPL", "buy", 1, key=KEY)
        bob.submit_order("AAPL", "buy", 1, key=KEY)
        assert anna.authenticate().user_id == "id-of-anna"
        assert bob.authenticate().connection_id == "main"
    first, second = accounts(firm.simulator)
    assert first != second
    with pytest.raises(NotFound):
        ibkit.create_ibkr_session_auth("anna", "main").authenticate()
    assert len(placed(firm.simulator)) == 2


@pytest.mark.requirement("SES-01", "VLT-10")
def test_who_is_disabled_may_only_look_or_has_no_connection_does_not_sign_in(firm: Firm) -> None:
    run(lambda: accept_licence(firm.settings, "IBKR letter 7", by="cli:tests", at=datetime(2026, 11, 1, tzinfo=UTC)))
    firm.user("gone", enabled=False)
    firm.user("viewer", Role.VIEWER)
    firm.user("new")
    for name in ("gone", "viewer"):
        firm.connection(name, "main", 0)
    sent = len(firm.simulator.requests)
    for name, kind, code in (
        ("gone", NotPermitted, "E-FORBIDDEN"),
        ("viewer", NotPermitted, "E-FORBIDDEN"),
        ("nobody", NotFound, "E-NOT-FOUND"),
        ("new", ConfigError, "E-NOT-CONFIGURED"),
    ):
        with pytest.raises(kind) as caught:
            ibkit.create_ibkr_session_auth(name).submit_order("AAPL", "buy", 1)
        assert caught.value.code == code, name
    assert len(firm.simulator.requests) == sent


# -- what a user holds ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("SYN-16")
def test_a_user_holds_what_all_of_their_connections_hold_and_one_that_is_down_is_told_inside(firm: Firm) -> None:
    run(lambda: accept_licence(firm.settings, "IBKR letter 7", by="cli:tests", at=datetime(2026, 11, 1, tzinfo=UTC)))
    firm.user("anna")
    firm.connection("anna", "one", 0)
    firm.connection("anna", "two", 1)
    with ibkit.create_ibkr_session_auth("anna", "one") as session:
        session.submit_order("AAPL", "buy", 2, key=KEY)
    whole = ibkit.get_portfolio("anna")
    assert (whole.user_id, whole.complete) == ("id-of-anna", True)
    assert [each.connection_id for each in whole.connections] == ["one", "two"]
    (first,) = whole.connections[0].accounts
    assert [(each.contract.symbol, each.quantity) for each in first.positions] == [("AAPL", 2)]
    assert first.summary is not None
    assert first.summary.net_liquidation
    assert [each.currency for each in first.cash] == ["USD"]
    assert whole.connections[1].accounts[0].positions == ()
    assert not placed(firm.simulator)[1:]

    opened = [each.endpoint for each in firm.simulator.requests].count("SSODH_INIT")
    ibkit.get_portfolio("anna")
    assert [each.endpoint for each in firm.simulator.requests].count("SSODH_INIT") == opened, "looking opens no session"

    second = firm.simulator.users[1].user.accounts[0].id
    firm.simulator.control(
        "POST",
        "faults",
        {"fault": "html", "path": f"*/{second}/summary", "times": 9, "params": {"status": 200}},
    )
    part = ibkit.get_portfolio("id-of-anna")
    errors = [account.error for each in part.connections for account in each.accounts]
    assert len([error for error in errors if error is None]) == len(errors) - 1
    (failed,) = [error for error in errors if error is not None]
    assert failed.remedy
    assert not part.complete

    firm.simulator.up = False
    gone = ibkit.get_portfolio("anna")
    assert [each.accounts for each in gone.connections] == [(), ()]
    assert all(each.error is not None and each.error.code.startswith("E-") for each in gone.connections)


@pytest.mark.requirement("SYN-16")
def test_with_one_user_it_is_the_login_of_the_settings(gateway: Simulator) -> None:
    (only,) = ibkit.get_portfolio("me").connections
    assert only.error is None
    assert [account.account.account_id for account in only.accounts] == ["DU1000001"]
    with pytest.raises(ConfigError):
        ibkit.get_portfolio(" ")
    gateway.up = False
    (down,) = ibkit.get_portfolio("me").connections
    assert down.error is not None
    assert down.error.code == "E-GW-DOWN"
