"""`--user NAME --connection NAME`: looking and trading by a user's connection instead of the settings' login."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from cli.conftest import Bench
from credential_desks import fields_for, put
from ibkit.bootstrap import run, using
from ibkit.bootstrap.credential_desk import Asker, open_credential_desk
from ibkit.bootstrap.multi_user import accept_licence
from ibkit.bootstrap.session_book import open_connection_rows
from ibkit.bootstrap.session_leases import is_kept, lease_folder, lease_name_of
from ibkit.settings import Settings, load
from ibkit.sim.serving.inprocess import CLOUD_URL
from ibkit.store.connection_rows import ConnectionRow
from ibkit.store.locks import held
from ibkit.store.records import open_records
from ibkit.store.users import SqlUsers
from ibkit.trading.connection import ConnectionState, Standing
from ibkit.users import Role, User
from programs import edges_of
from simulators import make_simulator
from vaults import OLD

Make = Callable[..., Any]
KEY = "a-key-of-sixteen-characters"
pytestmark = pytest.mark.requirement("SES-15")


class Firm(Bench):
    """An installation of several users: anna has the simulator's first login, bob its second."""

    @property
    def settings(self) -> Settings:
        return load(directory=self.home, require_method=False)

    def user(self, name: str, role: Role = Role.TRADER, *, enabled: bool = True) -> str:
        async def work() -> None:
            database = open_records(self.settings.database_url, parts=("users",))
            at = datetime(2026, 11, 1, tzinfo=UTC)
            user = User(user_id=f"id-of-{name}", name=name, role=role, created_at=at, enabled=enabled)
            await SqlUsers(database).add(user)
            await database.close()

        run(work)
        return f"id-of-{name}"

    def connection(self, user_id: str, name: str, login: int, *, pinned: bool = False) -> None:
        """Credentials that have passed their test. pinned: to the first account of the login."""

        async def work() -> None:
            async with open_credential_desk(self.settings) as desk:
                who = Asker.here(user_id)
                account = {"account_id": str(self.account(login))} if pinned else {}
                await put(desk, fields_for(self.simulator, user=login) | account, who=who, connection_id=name)
                assert (await desk.test(who, name)).failure is None

        run(work)

    def account(self, login: int) -> str:
        return str(self.simulator.users[login].user.accounts[0].id)

    def ordered(self) -> list[str]:
        """The accounts of the orders that left."""
        return [path.split("/")[-2] for path in self.posted()]

    def acts(self, action: str) -> list[dict[str, Any]]:
        return list(self.run("audit", "list", "--action", action, "--json").json)


@pytest.fixture
def firm(ibkit: Make, home: Any) -> Iterator[Firm]:
    simulator = make_simulator()
    (home / ".env").write_text(
        f"ENCRYPTION_KEY={OLD}\nENABLE_MULTI_USER=true\nSSO_SETTLE_SECONDS=0\nAPP_ENV=test\nIBKR_BASE_URL={CLOUD_URL}\n"
    )
    (home / ".env").chmod(0o600)
    with ExitStack() as stack:
        stack.enter_context(using(edges_of(simulator)))
        made = Firm(ibkit, home, simulator)
        at = datetime(2026, 11, 1, tzinfo=UTC)
        run(lambda: accept_licence(made.settings, "IBKR letter 7", by="cli:tests", at=at))
        yield made


ORDER = ("orders", "place", "buy", "1", "AAPL", "--yes", "--json")


def test_each_user_looks_and_trades_by_a_connection_of_their_own(firm: Firm) -> None:
    anna, bob = firm.user("anna"), firm.user("bob")
    firm.connection(anna, "main", 0)
    firm.connection(bob, "first", 1, pinned=True)
    assert [row["account_id"] for row in firm.run("accounts", "list", "--user", "anna", "--json").json] == [
        firm.account(0)
    ]
    for user, name in (("anna", "main"), (bob, "first")):  # by name, or by id
        told = firm.run(*ORDER, "--user", user, "--connection", name, "--key", KEY)
        assert (told.code, told.json["key"]) == (0, KEY), told.err
    assert firm.ordered() == [firm.account(0), firm.account(1)]  # one key, two users, two orders
    again = firm.run(*ORDER, "--user", "anna", "--key", KEY)
    assert (again.code, again.json["cached"], len(firm.ordered())) == (0, True, 2), again.err

    for command in (("positions", "list"), ("orders", "list"), ("quote", "AAPL"), ("status",), ("session", "status")):
        told = firm.run(*command, "--user", "bob", "--json")
        assert told.code == 0, (command, told.err)
    held = firm.run("positions", "list", "--user", "bob", "--json").json
    assert {row["account_id"] for row in held} == {firm.account(1)}

    orders = firm.acts("orders.")
    assert {act["actor"].split(":")[0] for act in orders} == {"cli"}
    assert [act["details"]["user"] for act in orders] == [bob, anna]
    uses = {act["object"] for act in firm.acts("credentials.use")}
    assert uses == {f"{anna}/main", f"{bob}/first"}


def test_a_change_and_a_cancel_are_the_users_too(firm: Firm) -> None:
    anna = firm.user("anna")
    firm.connection(anna, "main", 0)
    resting = firm.run(*ORDER, "--limit-price", "10", "--user", "anna").json
    by = ("--user", "anna", "--json")
    changed = firm.run("orders", "modify", resting["order_id"], "--limit-price", "11", *by)
    assert changed.code == 0, changed.err
    gone = firm.run("orders", "cancel", resting["order_id"], *by)
    assert (gone.code, gone.json["state"]) == (0, "cancelled"), gone.err
    told = [(act["action"], act["details"]["user"]) for act in firm.acts("orders.")]
    assert told == [("orders.cancel", anna), ("orders.modify", anna), ("orders.place", anna)]


def test_a_limit_of_the_user_holds_at_the_command_line(firm: Firm) -> None:
    anna = firm.user("anna")
    firm.connection(anna, "main", 0)
    set_ = firm.run("risk", "set", "max_shares", "2", "--user", anna, "--note", "small", "--json")
    assert set_.code == 0, set_.err
    refused = firm.run("orders", "place", "buy", "3", "AAPL", "--yes", "--user", "anna", "--json")
    assert refused.code == 5, refused.out
    assert "max_quantity: 3 > 2" in refused.json["message"]
    assert firm.ordered() == []


def test_a_session_is_that_of_the_users_connection(firm: Firm) -> None:
    anna = firm.user("anna")
    firm.connection(anna, "main", 0)
    assert firm.run("session", "logout", "--user", "anna", "--json").code == 0
    assert [(act["action"], act["object"]) for act in firm.acts("sessions.")] == [("sessions.logout", f"{anna}/main")]
    assert firm.run("session", "connect", "--user", "anna", "--connection", "main").code == 0
    assert firm.run("session", "history", "--user", "anna", "--json").code == 0


def test_what_is_not_theirs_is_refused_before_anything_is_sent(firm: Firm) -> None:
    anna, bob = firm.user("anna"), firm.user("bob")
    viewer, gone = firm.user("vera", Role.VIEWER), firm.user("gone", enabled=False)
    firm.user("new")
    firm.connection(anna, "main", 0, pinned=True)
    firm.connection(bob, "first", 1)
    for each in (viewer, gone):
        firm.connection(each, "main", 0)
    sent = len(firm.simulator.requests)
    for flags, code, words in (
        (("--user", "nobody"), "E-NOT-FOUND", "nobody"),
        (("--user", "anna", "--connection", "first"), "E-NOT-FOUND", "connection"),
        (("--user", "anna", "--account", firm.account(1)), "E-NOT-FOUND", "account"),
        (("--user", "vera"), "E-FORBIDDEN", "viewer"),
        (("--user", "gone"), "E-FORBIDDEN", "disabled"),
        (("--user", "new"), "E-NOT-CONFIGURED", "no connection"),
        (("--connection", "main"), "E-VALIDATION", "--user"),
        (("--user", "anna", "--live"), "E-LIVE", "paper"),
    ):
        told = firm.run(*ORDER, *flags)
        assert (told.error["code"], words in told.error["message"]) == (code, True), (flags, told.err)
        assert told.code not in (0, 7)
    sale = ("sell-option", "--side", "put", "--put-strike", "600", "--yes", "--json", "--user", "anna")
    assert firm.run(*sale, "--env", "live").error["code"] == "E-CONFIG-CONFLICT"
    assert firm.run(*sale, "--start-cleanup").error["code"] == "E-VALIDATION"
    assert len(firm.simulator.requests) == sent


def test_without_several_users_there_is_no_connection_of_a_user(bench: Callable[..., Bench]) -> None:
    at = bench()
    told = at.run("positions", "list", "--user", "anna", "--json")
    assert (told.error["code"], "ENABLE_MULTI_USER" in told.error["message"]) == ("E-NOT-FOUND", True)
    assert at.posted() == []


def test_a_sale_is_the_users_with_its_stop(firm: Firm) -> None:
    anna = firm.user("anna")
    firm.connection(anna, "main", 0)
    flags = ("--side", "put", "--delta", "0.2", "--yes", "--json", "--key", KEY, "--user", "anna")
    sold = firm.run("sell-option", *flags)
    assert (sold.code, sold.json["key"]) == (0, KEY), sold.err
    assert {act["details"]["user"] for act in firm.acts("orders.place")} == {anna}
    sent = firm.ordered()
    assert set(sent) == {firm.account(0)}
    again = firm.run("sell-option", *flags)
    assert (again.code, firm.ordered()) == (0, sent), again.err


def sets_kept(firm: Firm, user_id: str) -> int:
    async def work() -> int:
        async with open_credential_desk(firm.settings) as desk:
            return len(await desk.of_user(user_id))

    return run(work)


@pytest.mark.requirement("VLT-10", "MON-09")
def test_a_user_with_open_orders_is_removed_only_by_force(firm: Firm) -> None:
    firm.user("olga", Role.OWNER)
    anna = firm.user("anna")
    firm.connection(anna, "main", 0)
    key = firm.run("user", "key", "add", "anna", "--label", "k", "--scope", "read", "--json")
    assert key.code == 0, key.err
    assert firm.run(*ORDER, "--limit-price", "10", "--user", "anna").code == 0

    refused = firm.run("user", "remove", "anna", "--json")
    assert (refused.code, refused.error["code"]) == (5, "E-CONFLICT"), refused.err
    assert "anna has 1 open order" in refused.error["message"]
    assert sets_kept(firm, anna) == 1
    assert {row["enabled"] for row in firm.run("user", "list", "--json").json} == {True}

    gone = firm.run("user", "remove", "anna", "--force", "--json")
    assert (gone.code, gone.json["orders"]) == (0, 1), gone.err
    assert [row["name"] for row in firm.run("user", "list", "--json").json] == ["olga"]
    assert sets_kept(firm, anna) == 0
    assert firm.run("user", "key", "list", "--json").json == []
    assert firm.run("connection", "list", "--json").json == []
    assert firm.run("positions", "list", "--user", "anna", "--json").error["code"] == "E-NOT-FOUND"
    acts = [(act["object"], act["result"], act["details"].get("forced")) for act in firm.acts("users.remove")]
    assert acts == [(anna, "ok", "1 open order"), (anna, "failed", None)]
    assert [act["details"]["user"] for act in firm.acts("orders.place")] == [anna]  # what they did stays
    assert [act["object"] for act in firm.acts("credentials.delete")] == [f"{anna}/main"]


@pytest.mark.requirement("VLT-10")
def test_a_user_whose_orders_have_ended_is_removed_and_the_last_owner_never(firm: Firm) -> None:
    firm.user("olga", Role.OWNER)
    firm.connection(firm.user("anna"), "main", 0)
    resting = firm.run(*ORDER, "--limit-price", "10", "--user", "anna").json
    assert firm.run("orders", "cancel", resting["order_id"], "--user", "anna").code == 0
    gone = firm.run("user", "remove", "anna")
    assert (gone.code, "Removed anna" in gone.out) == (0, True), gone.err
    last = firm.run("user", "remove", "olga", "--force", "--json")
    assert last.error["code"] == "E-FORBIDDEN"
    assert [(row["name"], row["enabled"]) for row in firm.run("user", "list", "--json").json] == [("olga", True)]


@pytest.mark.requirement("VLT-10")
def test_a_live_connection_keeps_its_user_and_one_that_was_left_behind_does_not(firm: Firm) -> None:
    firm.user("olga", Role.OWNER)
    anna = firm.user("anna")
    firm.connection(anna, "main", 0)
    assert firm.run("connection", "list", "anna").code == 0  # makes its row

    async def up() -> ConnectionRow:
        async with open_connection_rows(firm.settings) as rows:
            (row,) = await rows.of_user(anna)
            now = datetime(2026, 11, 2, tzinfo=UTC)
            standing = Standing(ConnectionState.CONNECTED, now)
            assert await rows.note(anna, "main", standing, accounts=(), sessions=(), events=())
            return row

    row = run(up)
    lock = lease_folder(firm.settings) / f"{lease_name_of(row)}.lock"
    with held(lock, what="the connection", remedy=""):
        assert is_kept(firm.settings, row)
        refused = firm.run("user", "remove", "anna", "--json")
        assert (refused.code, refused.error["code"]) == (5, "E-CONFLICT"), refused.err
        assert "a live connection (main)" in refused.error["message"]
    assert firm.run("user", "remove", "anna").code == 0


def test_the_doctor_looks_at_a_users_connection(firm: Firm) -> None:
    anna = firm.user("anna")
    firm.connection(anna, "main", 0)
    firm.user("bob")

    def told(*arguments: str) -> dict[str, tuple[str, str]]:
        ran = firm.run("doctor", *arguments, "--json")
        return {check["name"]: (check["mark"], check["said"]) for check in ran.json["checks"]}

    found = told("--user", "anna", "--connect")
    assert found["connection"][0] == "OK", found
    assert "the default one of anna" in found["connection"][1]
    assert found["sign-in"][0] == "OK", found
    assert firm.account(0) in found["accounts"][1]
    assert {act["object"] for act in firm.acts("credentials.use")} == {f"{anna}/main"}
    for arguments in (("--user", "bob"), ("--user", "anna", "--connection", "other"), ("--user", "nobody")):
        assert told(*arguments)["connection"][0] == "FAIL"
    assert told("--user", "anna", "--offline")["IBKR"][0] != "OK"


@pytest.mark.requirement("OPS-10")
def test_a_worker_watches_over_the_login_of_one_user(firm: Firm) -> None:
    """What anna sold is watched by a worker of hers, and bob's login is none of its business."""
    anna, bob = firm.user("anna"), firm.user("bob")
    firm.connection(anna, "main", 0)
    firm.connection(bob, "first", 1, pinned=True)
    sold = firm.run("sell-option", "--side", "put", "--user", "anna", "--key", KEY, "--json")
    assert sold.code == 0, sold.err
    world = firm.simulator.world
    world.exchange.end(world.exchange.orders[int(sold.json["legs"][0]["stop_order_id"])], "cancelled", world.now)
    firm.simulator.advance(120)
    bobs = firm.run("worker", "--once", "--user", "bob", "--json")
    assert (bobs.code, bobs.json["unprotected"]) == (0, []), bobs.err
    annas = firm.run("worker", "--once", "--user", "anna", "--json")
    assert annas.code == 7, annas.err
    assert annas.json["unprotected"][0].startswith("CRITICAL: SPY 20261120 629 P has no working stop")
    for command in (("worker", "status"), ("worker", "stop")):
        none = firm.run(*command, "--user", "anna")
        assert none.code in (2, 5), none.err
    nobody = firm.run("worker", "--once", "--user", "carl", "--json")
    assert (nobody.code, firm.ordered().count(firm.account(1))) == (2, 0), nobody.err


@pytest.mark.requirement("TRD-18")
def test_the_orders_of_one_users_login_are_cancelled_and_an_account_is_stopped_where_it_is(firm: Firm) -> None:
    anna, bob = firm.user("anna"), firm.user("bob")
    firm.connection(anna, "main", 0)
    firm.connection(bob, "first", 1, pinned=True)
    for user in ("anna", "bob"):
        placed = firm.run(*ORDER, "--limit-price", "100", "--user", user)
        assert placed.code == 0, placed.err
    done = firm.run("kill", "--cancel-all", "--account", firm.account(0), "--user", "anna", "--json")
    assert done.code == 0, done.err
    (halt,) = done.json["halts"]
    assert (halt["account_id"], halt["environment"]) == (firm.account(0), "paper")
    working = [order.account for order in firm.simulator.world.exchange.orders.values() if order.state == "live"]
    assert working == [firm.account(1)]
    (elsewhere,) = firm.run("kill", "--account", "U7654321", "--json").json
    assert elsewhere["environment"] == "live"


def test_verify_judges_what_is_kept_of_a_users_connections(firm: Firm) -> None:
    anna = firm.user("anna")
    firm.user("bob")
    firm.connection(anna, "paper", 0)
    good = firm.run("verify", "--user", "anna", "--json")
    assert (good.code, good.json["complete"]) == (0, True), good.out + good.err
    (check,) = good.json["checks"]
    assert (check["name"], check["mark"]) == ("paper (in use)", "OK")
    assert "keys and parameters fit" in check["said"]
    assert firm.run("verify", "--user", "anna", "--connection", "paper").code == 0
    assert [each["result"] for each in firm.acts("credentials.verify")] == ["ok", "ok"]
    for words in (("--user", "bob"), ("--user", "anna", "--connection", "other"), ("--user", "nobody")):
        missing = firm.run("verify", *words, "--json")
        assert (missing.code, missing.json["complete"]) == (3, False)
        assert missing.json["checks"][0]["code"] == "E-NOT-FOUND", missing.out
    whose = firm.run("verify", "--connection", "paper")
    assert whose.code == 2
    assert "no --user is given" in whose.err, whose.err

    async def spoil() -> None:  # as a database that somebody has changed by hand
        database = open_records(firm.settings.database_url, parts=("vault",))
        query = (
            "UPDATE sealed SET text = (SELECT text FROM sealed WHERE field = 'client_id') WHERE field = 'private_key'"
        )
        await database.write(lambda connection: connection.execute(text(query)))
        await database.close()

    run(spoil)
    bad = firm.run("verify", "--user", "anna", "--json")
    assert (bad.code, bad.json["checks"][0]["code"]) == (3, "E-ENC"), bad.out
