"""What a removal must not leave behind, and whom it must not take by mistake. Requirement VLT-10."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import insert

from fakes import START
from ibkit.bootstrap.alerting import open_alerting
from ibkit.bootstrap.credential_desk import Asker
from ibkit.bootstrap.multi_user import owns_earlier_orders
from ibkit.bootstrap.user_removal import Removal, Ties, open_removal
from ibkit.clock import SystemClock
from ibkit.errors import ConfigError, NotFound
from ibkit.model import Secret
from ibkit.settings import Settings
from ibkit.store.database import Database
from ibkit.store.earlier_owner import SqlEarlierOwner
from ibkit.store.journal_look import open_orders_of_user
from ibkit.store.migrating import for_engine
from ibkit.store.records import open_records
from ibkit.store.vault_tables import CREDENTIALS, SEALED
from ibkit.trading.alerting import Channel, ChannelKind
from ibkit.trading.ref import child_key, key_of_user
from ibkit.users import Role, User
from service_desks import settings_of
from vaults import OLD

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("VLT-10")]

PASSWORD = Secret("four words nobody guesses")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@asynccontextmanager
async def removal_of(settings: Settings, name: str) -> AsyncIterator[tuple[Removal, User]]:
    async with open_removal(settings, clock=SystemClock()) as removal:
        await removal.keeper.add("olga", Role.OWNER, PASSWORD)
        yield removal, await removal.keeper.add(name, Role.TRADER, PASSWORD)


@asynccontextmanager
async def vault_of(settings: Settings) -> AsyncIterator[Database]:
    database = open_records(settings.database_url, parts=("vault",))
    try:
        yield database
    finally:
        await database.close()


async def test_credentials_that_no_key_can_destroy_keep_their_user(settings: Settings) -> None:
    """Else they would be found when several users are served again, and signed in with."""
    async with removal_of(settings, "ada") as (removal, ada), vault_of(settings) as database:
        assert removal.credentials is None
        now = SystemClock().now()
        row = {
            "credential_id": "c1",
            "user_id": ada.user_id,
            "connection_id": "main",
            "method": "oauth2",
            "environment": "paper",
            "label": "",
            "status": "active",
            "last_error": "",
            "created_at": now,
            "changed_at": now,
            "version": 1,
            "fingerprints": {},
        }
        await database.write(lambda c: for_engine(c).execute(insert(CREDENTIALS).values(row)))
        with pytest.raises(ConfigError) as caught:
            await removal.remove(ada, Asker.here(ada.user_id), force=True)
        assert caught.value.code == "E-ENC-KEY"
        assert (await removal.keeper.named("ada")).enabled


async def test_nobody_who_is_gone_is_told_of_anything_any_more(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, ENCRYPTION_KEY=OLD)
    async with removal_of(settings, "ada") as (removal, ada), open_alerting(settings) as alerting:
        for name in (ada.user_id, "somebody-else"):
            hook = Channel(name="phone", user=name, kind=ChannelKind.WEBHOOK, created_at=START)
            await alerting.channels.put(hook, Secret(f"https://{name}.example/hook"), None)
        await removal.remove(ada, Asker.here(ada.user_id), force=False)
        assert [each.user for each in await alerting.channels.all() if not each.by_operator] == ["somebody-else"]


async def test_a_sealed_text_that_no_key_can_destroy_keeps_its_user(settings: Settings) -> None:
    async with removal_of(settings, "ada") as (removal, ada), vault_of(settings) as database:
        row = {"user_id": ada.user_id, "record": "flex", "field": "access", "text": "v1:sealed"}
        await database.write(lambda c: for_engine(c).execute(insert(SEALED).values(row)))
        with pytest.raises(ConfigError) as caught:
            await removal.remove(ada, Asker.here(ada.user_id), force=True)
        assert caught.value.code == "E-ENC-KEY"


async def test_an_order_that_came_in_at_that_very_moment_counts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [Ties(), Ties(orders=1), Ties(), Ties()]

    async def ties(self: Removal, user_id: str) -> Ties:
        return looks.pop(0)

    monkeypatch.setattr(Removal, "ties", ties)
    async with removal_of(settings, "ada") as (removal, ada):
        with pytest.raises(ConfigError) as caught:
            await removal.remove(ada, Asker.here(ada.user_id), force=False)
        assert caught.value.code == "E-CONFLICT"
        assert (await removal.keeper.named("ada")).enabled
        await removal.remove(ada, Asker.here(ada.user_id), force=False)
        with pytest.raises(NotFound):
            await removal.keeper.named("ada")


async def test_who_has_the_name_by_now_is_somebody_else(settings: Settings) -> None:
    async with removal_of(settings, "ada") as (removal, ada):
        await removal.keeper.remove("ada")
        await removal.keeper.add("ada", Role.TRADER, PASSWORD)
        with pytest.raises(NotFound):
            await removal.remove(ada, Asker.here(ada.user_id), force=True)
        assert (await removal.keeper.named("ada")).enabled


async def test_the_orders_of_before_there_were_users_are_nobodys_again(settings: Settings) -> None:
    async with removal_of(settings, "ada") as (removal, ada), vault_of(settings) as database:
        await SqlEarlierOwner(database).attach(ada.user_id, by="olga", at=SystemClock().now())
        assert await owns_earlier_orders(settings, ada.user_id)
        await removal.remove(ada, Asker.here(ada.user_id), force=True)
        assert await SqlEarlierOwner(database).user_id() == ""


def test_which_orders_are_open_and_whose(tmp_path: Path) -> None:
    """A child of a long key by its order, earlier ones only where they are theirs; no cancel is an order."""
    journal = tmp_path / "orders.db"
    long = key_of_user("ada", "k" * 105)  # type: ignore[arg-type]
    rows = [
        ("1", long, None, None, "place", "filled", 1),
        ("2", child_key(long, "stop-1"), None, "1", "place", "acked", 0),
        ("3", child_key(long, "cancel-1"), None, "1", "cancel", "sending", 0),
        ("4", "before-there-were-users", None, None, "place", "acked", 0),
        ("5", key_of_user("eve", "k" * 20), None, None, "place", "acked", 0),  # type: ignore[arg-type]
        ("6", child_key(long, "leg-1"), "1", None, "place", "unknown_needs_human", 1),
    ]
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute(
            "CREATE TABLE intents (intent_id, key, leg_of, reduces, operation, state, final, resolved DEFAULT 0,"
            " account_id DEFAULT 'DU1', order_id)"
        )
        connection.executemany(
            "INSERT INTO intents (intent_id, key, leg_of, reduces, operation, state, final)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        connection.commit()
    assert open_orders_of_user(journal, "ada") == 2
    assert open_orders_of_user(journal, "ada", or_nobodys=True) == 3
    assert open_orders_of_user(journal, "nobody") == 0
    assert open_orders_of_user(tmp_path / "none.db", "ada") == 0
