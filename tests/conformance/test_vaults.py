"""The vault in SQL: one suite for SQLite and for a real PostgreSQL server."""

from __future__ import annotations

import base64
import logging
import struct
import traceback
from datetime import timedelta

import anyio
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from canaries import Canaries, laid_bare
from fakes import START
from ibkit.clock import ManualClock
from ibkit.errors import ConfigError, InvalidRequest, NotFound, StorageError
from ibkit.model import AuthMethod, Environment, OAuth1Credentials, Secret
from ibkit.store import rotation
from ibkit.store.credentials import SqlCredentials
from ibkit.store.migrating import for_engine
from ibkit.store.records import open_records
from ibkit.store.rotation import rotate
from ibkit.store.vault import SqlVault
from ibkit.store.vault_tables import CREDENTIALS, KEYS, SEALED
from ibkit.vault import Draft, Place, Status
from ibkit.vault.seal import key_id, prefix_of
from vaults import IV, NEW, OLD, OTHER, VALUES, draft, opened, ring_of

pytestmark = pytest.mark.anyio

PLACE = Place(user="u1", record="webhook", field="url")
OLD_ID, NEW_ID = ring_of(OLD).current_id, ring_of(NEW).current_id


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state/ibkit.db"
    return request.getfixturevalue("postgres_database")


async def run(vault, statement):
    """What a statement of the test's own does to the database, past the vault."""

    def work(connection):
        result = for_engine(connection).execute(statement)
        return result.all() if result.returns_rows else None

    return await vault.database.write(work)


async def texts(vault):
    return [row.text for row in await run(vault, select(SEALED.c.text).order_by(SEALED.c.sealed_id))]


# --- the keys -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("VLT-04")
async def test_another_key_is_refused_and_changes_nothing_until_the_old_one_is_listed(url):
    async with opened(url, ring_of(OLD)) as vault:
        await vault.put(PLACE, Secret("https://hooks.example/canary"))
        before = await texts(vault), await run(vault, select(KEYS))
    with pytest.raises(StorageError, match=OLD_ID) as caught:
        async with opened(url, ring_of(NEW)):
            raise AssertionError("a vault of another key was opened")
    assert (caught.value.code, caught.value.exit_code) == ("E-ENC", 3)
    assert "ENCRYPTION_KEY_PREVIOUS" in caught.value.remedy
    async with opened(url, ring_of(OLD)) as vault:
        assert (await texts(vault), await run(vault, select(KEYS))) == before
    async with opened(url, ring_of(NEW, OLD)) as vault:
        found = await vault.get(PLACE)
        assert found is not None
        assert found.reveal() == "https://hooks.example/canary"
        assert [(key.key_id, key.current, key.texts) for key in await vault.keys() if key.current] == [
            (NEW_ID, True, 0)
        ]
        assert await vault.pending() == 1
    # From now on the database needs both: the old one alone does not open what the new one seals.
    with pytest.raises(StorageError, match=NEW_ID):
        async with opened(url, ring_of(OLD)):
            raise AssertionError("a vault whose newest key is missing was opened")


@pytest.mark.requirement("VLT-04")
async def test_a_check_value_that_was_changed_or_moved_is_refused(url):
    async with opened(url, ring_of(OLD)) as vault:
        await vault.put(PLACE, Secret("a secret"))
        sealed = (await texts(vault))[0]
        await run(vault, update(KEYS).values(check_value=sealed))
    with pytest.raises(StorageError, match="another place") as caught:
        async with opened(url, ring_of(OLD)):
            raise AssertionError("it was opened")
    assert caught.value.code == "E-ENC"


@pytest.mark.requirement("VLT-04")
async def test_two_that_open_an_empty_vault_at_once_register_one_key(url):
    await open_records(Secret(url), parts=("vault",)).close()

    async def open_once():
        async with opened(url, ring_of(OLD)) as vault:
            assert [key.key_id for key in await vault.keys()] == [OLD_ID]

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(open_once)


@pytest.mark.requirement("VLT-05")
async def test_a_running_process_reads_the_keys_again_when_another_has_rotated(url):
    rings, clock = [ring_of(OLD)], ManualClock(START)
    async with opened(url, lambda: rings[-1], clock=clock) as running:
        await running.put(PLACE, Secret("before"))
        rings.append(ring_of(NEW, OLD))
        async with opened(url, ring_of(NEW, OLD)) as other:
            assert (await rotate(other)).rewrapped == 1
        found = await running.get(PLACE)
        assert found is not None
        assert found.reveal() == "before"
        await running.put(PLACE, Secret("after"))
        assert (await texts(running))[0].startswith(prefix_of(NEW_ID))


@pytest.mark.requirement("VLT-05")
async def test_a_process_that_has_only_the_replaced_key_writes_nothing_with_it(url):
    asked = []
    clock = ManualClock(START)

    def keys():
        asked.append(clock.monotonic())
        return ring_of(OLD)

    async with opened(url, keys, clock=clock) as stale:
        await stale.put(PLACE, Secret("before"))
        async with opened(url, ring_of(NEW, OLD)) as other:
            await rotate(other)
        for _ in range(3):
            with pytest.raises(StorageError, match="replaced") as caught:
                await stale.put(PLACE, Secret("lost"))
            assert caught.value.code == "E-ENC"
        with pytest.raises(StorageError, match="not configured"):
            await stale.get(PLACE)
        assert asked == [0.0, 0.0]
        clock.advance(6)
        with pytest.raises(StorageError, match="not configured"):
            await stale.get(PLACE)
        assert len(asked) == 3
    async with opened(url, ring_of(NEW)) as vault:
        found = await vault.get(PLACE)
        assert found is not None
        assert found.reveal() == "before"


@pytest.mark.requirement("VLT-14")
async def test_keys_older_than_an_instant_are_those_still_sealed_with(url):
    clock = ManualClock(START)
    async with opened(url, ring_of(OLD), clock=clock) as vault:
        await vault.put(PLACE, Secret("a secret"))
        clock.advance(91 * 86_400)
        due = clock.now() - timedelta(days=90)
        assert [key.key_id for key in await vault.keys_older_than(due)] == [OLD_ID]
        assert await vault.keys_older_than(START) == ()
    async with opened(url, ring_of(NEW, OLD), clock=clock) as vault:
        assert [key.key_id for key in await vault.keys_older_than(due)] == [OLD_ID]
        await rotate(vault)
        assert await vault.keys_older_than(due) == ()


# --- one secret at its place ------------------------------------------------------------------------------------------


@pytest.mark.requirement("VLT-02")
async def test_what_the_database_holds_opens_with_cryptography_alone_by_the_documented_format(url):
    async with opened(url, ring_of(OLD)) as vault:
        await vault.put(PLACE, Secret("plain text"))
        version, id_, wrapped, nonce, sealed = (await texts(vault))[0].split(".")
    decode = lambda part: base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))  # noqa: E731
    binding = b"".join(
        struct.pack(">I", len(part.encode())) + part.encode() for part in (version, id_, "u1", "webhook", "url")
    )
    wrapped = decode(wrapped)
    data_key = AESGCM(bytes.fromhex(OLD)).decrypt(wrapped[:12], wrapped[12:], b"ibkit wrap" + binding)
    assert AESGCM(data_key).decrypt(decode(nonce), decode(sealed), b"ibkit text" + binding) == b"plain text"


@pytest.mark.requirement("VLT-02")
async def test_a_secret_is_replaced_kept_apart_by_user_and_forgotten(url):
    others = Place(user="u2", record="webhook", field="url")
    async with opened(url, ring_of(OLD)) as vault:
        assert await vault.get(PLACE) is None
        for place, value in ((PLACE, "first"), (PLACE, "second"), (others, "third")):
            await vault.put(place, Secret(value))
        assert [(await vault.get(place)).reveal() for place in (PLACE, others)] == ["second", "third"]
        assert len(await texts(vault)) == 2
        assert await vault.forget(user="u1", record="webhook") == 1
        assert await vault.get(PLACE) is None
        assert (await vault.get(others)).reveal() == "third"


@pytest.mark.requirement("VLT-02")
async def test_rows_that_are_swapped_or_given_to_another_user_do_not_open(url):
    async with opened(url, ring_of(OLD)) as vault:
        places = [Place(user, record, field) for user in ("u1", "u2") for record in ("a", "b") for field in ("x", "y")]
        for place in places:
            await vault.put(place, Secret(f"{place}"))
        sealed = await texts(vault)
        for mine in range(len(places)):
            for theirs in range(len(places)):
                if mine == theirs:
                    continue
                await run(vault, update(SEALED).where(SEALED.c.sealed_id == mine + 1).values(text=sealed[theirs]))
                with pytest.raises(StorageError) as caught:
                    await vault.get(places[mine])
                assert caught.value.code == "E-ENC"
            await run(vault, update(SEALED).where(SEALED.c.sealed_id == mine + 1).values(text=sealed[mine]))
            assert (await vault.get(places[mine])).reveal() == f"{places[mine]}"


# --- the old format ---------------------------------------------------------------------------------------------------


def old_text(value: str, key: str = OLD) -> str:
    """As the older product wrote it: one nonce for everything, the tag behind a colon."""
    sealed = AESGCM(bytes.fromhex(key)).encrypt(bytes.fromhex(IV), value.encode(), None)
    return f"{sealed[:-16].hex()}:{sealed[-16:].hex()}"


async def put_old(vault: SqlVault, value: str, place: Place = PLACE, key: str = OLD) -> None:
    row = {"user_id": place.user, "record": place.record, "field": place.field, "text": old_text(value, key)}
    await run(vault, insert(SEALED).values(row))


@pytest.mark.requirement("VLT-03")
@pytest.mark.parametrize("value", ["an old secret", "", "ünï\ncode"])
async def test_old_text_opens_and_is_sealed_anew_at_its_first_reading(url, value):
    async with opened(url, ring_of(NEW, OLD), old_iv=IV) as vault:
        await put_old(vault, value)
        assert (await vault.get(PLACE)).reveal() == value
        assert [each.startswith(prefix_of(NEW_ID)) for each in await texts(vault)] == [True]
    async with opened(url, ring_of(NEW)) as vault:
        assert (await vault.get(PLACE)).reveal() == value


@pytest.mark.requirement("VLT-03")
async def test_old_text_without_the_iv_or_with_another_key_stays_as_it_is(url):
    async with opened(url, ring_of(NEW)) as vault:
        await put_old(vault, "an old secret")
        with pytest.raises(StorageError, match="ENCRYPTION_IV is not set") as caught:
            await vault.get(PLACE)
        assert caught.value.code == "E-ENC"
    async with opened(url, ring_of(NEW), old_iv=IV) as vault:
        with pytest.raises(StorageError, match="none of the keys"):
            await vault.get(PLACE)
        assert await texts(vault) == [old_text("an old secret")]


@pytest.mark.requirement("VLT-03", "VLT-05")
async def test_rotation_seals_old_text_anew_too(url):
    async with opened(url, ring_of(NEW, OLD), old_iv=IV) as vault:
        await put_old(vault, "an old secret")
        assert (await rotate(vault)).rewrapped == 1
        assert (await vault.get(PLACE)).reveal() == "an old secret"
        assert await vault.pending() == 0


@pytest.mark.requirement("VLT-03")
async def test_it_is_known_whether_anything_of_the_old_format_is_left(url):
    async with opened(url, ring_of(NEW, OLD), old_iv=IV) as vault:
        await vault.put(PLACE, Secret("new"))
        assert await vault.in_old_format() == 0
        await put_old(vault, "an old secret", Place(user="u1", record="mail", field="url"))
        assert await vault.in_old_format() == 1
        await rotate(vault)
        assert await vault.in_old_format() == 0


# --- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("VLT-08")
async def test_bad_credentials_over_good_ones_leave_the_good_ones_in_use(url):
    clock = ManualClock(START)
    async with opened(url, ring_of(OLD), clock=clock) as vault:
        credentials = SqlCredentials(vault)
        good = await credentials.put(draft(label="mine"))
        assert (good.status, good.version, good.label) == (Status.INACTIVE, 1, "mine")
        with pytest.raises(ConfigError) as caught:
            await credentials.use(user_id="u1", connection_id="main")
        assert caught.value.code == "E-NOT-CONFIGURED"
        await credentials.activate(good.credential_id)
        clock.advance(10)
        bad = await credentials.put(draft(access_token="anothertoken"))
        await credentials.fail(bad.credential_id, "IBKR refused the access token anothertoken at step 2")

        used = await credentials.use(user_id="u1", connection_id="main")
        assert used.credential_id == good.credential_id
        login = used.login()
        assert isinstance(login, OAuth1Credentials)
        assert login.access_token == VALUES["access_token"]
        assert login.signature_key.reveal() == VALUES["signature_key"]
        shown = {each.status: each for each in await credentials.of_user("u1")}
        assert shown[Status.ERROR].last_error == "IBKR refused the access token **** at step 2"
        assert shown[Status.ERROR].version == 2
        assert shown[Status.ACTIVE].last_error is None


@pytest.mark.requirement("VLT-08", "VLT-14")
async def test_a_passed_test_takes_the_place_of_the_set_in_use_and_of_all_its_texts(url):
    clock = ManualClock(START)
    async with opened(url, ring_of(OLD), clock=clock) as vault:
        credentials = SqlCredentials(vault)
        first = await credentials.put(draft())
        await credentials.activate(first.credential_id)
        clock.advance(60)
        waiting = await credentials.put(draft(access_token="a newer token"))
        newest = await credentials.put(draft(access_token="the newest token"))
        with pytest.raises(NotFound):
            await credentials.activate(waiting.credential_id)
        assert (await credentials.use(user_id="u1", connection_id="main")).credential_id == first.credential_id
        await credentials.activate(newest.credential_id)
        await credentials.activate(newest.credential_id)
        (left,) = await credentials.of_user("u1")
        assert (left.credential_id, left.status, left.version) == (newest.credential_id, Status.ACTIVE, 3)
        assert (left.created_at, left.changed_at) == (START, START + timedelta(seconds=60))
        assert left.last_connected_at == START + timedelta(seconds=60)
        assert len(await texts(vault)) == len(VALUES)
        assert (await credentials.use(user_id="u1", connection_id="main")).fields["access_token"].reveal() == (
            "the newest token"
        )


@pytest.mark.requirement("VLT-08")
async def test_the_database_itself_refuses_a_second_set_in_use(url):
    async with opened(url, ring_of(OLD)) as vault:
        credentials = SqlCredentials(vault)
        await credentials.activate((await credentials.put(draft())).credential_id)
        await credentials.put(draft(access_token="another token"))
        with pytest.raises(StorageError) as caught:
            await run(vault, update(CREDENTIALS).values(status="active"))
        assert isinstance(caught.value.__cause__, IntegrityError)


@pytest.mark.requirement("VLT-07", "VLT-14")
async def test_the_same_credentials_again_change_nothing_and_grow_no_younger(url):
    clock = ManualClock(START)
    async with opened(url, ring_of(OLD), clock=clock) as vault:
        credentials = SqlCredentials(vault)
        first = await credentials.put(draft())
        clock.advance(60)
        assert await credentials.put(draft()) == first
        await credentials.activate(first.credential_id)
        in_use = await credentials.get(first.credential_id)
        await credentials.put(draft(access_token="a mistake"))
        assert len(await credentials.of_connection("u1", "main")) == 2
        # What is in use given again: the mistake that waited is not wanted any more.
        assert await credentials.put(draft()) == in_use
        assert await credentials.of_connection("u1", "main") == (in_use,)
        for other in (draft(label="another label"), draft(key_passphrase="another passphrase")):
            assert (await credentials.put(other)).credential_id != first.credential_id


@pytest.mark.requirement("VLT-14")
async def test_a_set_is_due_for_a_reminder_when_it_is_old_and_again_when_the_last_reminder_is(url):
    clock = ManualClock(START)
    async with opened(url, ring_of(OLD), clock=clock) as vault:
        credentials = SqlCredentials(vault)

        async def due():
            now = clock.now()
            found = await credentials.due_for_reminder(
                changed_before=now - timedelta(days=90), reminded_before=now - timedelta(days=30)
            )
            return [each.connection_id for each in found]

        mine = await credentials.put(draft())
        await credentials.put(draft("untested"))
        await credentials.activate(mine.credential_id)
        clock.advance(90 * 86_400)
        assert await due() == []
        clock.advance(1)
        assert await due() == ["main"]
        await credentials.reminded(mine.credential_id, clock.now())
        clock.advance(30 * 86_400)
        assert await due() == []
        clock.advance(1)
        assert await due() == ["main"]


@pytest.mark.requirement("VLT-08")
async def test_a_failed_use_of_the_set_in_use_is_told_and_it_stays_in_use(url):
    async with opened(url, ring_of(OLD)) as vault:
        credentials = SqlCredentials(vault)
        mine = await credentials.put(draft())
        await credentials.activate(mine.credential_id)
        await credentials.fail(mine.credential_id, "IBKR does not answer " + "x" * 600)
        found = await credentials.get(mine.credential_id)
        assert found.status is Status.ACTIVE
        assert found.last_error is not None
        assert len(found.last_error) == 500


@pytest.mark.requirement("VLT-08")
async def test_credentials_are_opened_for_their_test_and_a_short_value_is_left_in_the_reason(url):
    async with opened(url, ring_of(OLD)) as vault:
        credentials = SqlCredentials(vault)
        mine = await credentials.put(draft(key_passphrase="at", access_token="tokencanary", realm="limited_poa"))
        tested = await credentials.open_for_test(mine.credential_id)
        assert tested.login() == OAuth1Credentials(
            consumer_key=VALUES["consumer_key"],
            access_token="tokencanary",
            access_token_secret=Secret(VALUES["access_token_secret"]),
            signature_key=Secret(VALUES["signature_key"]),
            encryption_key=Secret(VALUES["encryption_key"]),
            dh_params=VALUES["dh_params"],
            key_passphrase=Secret("at"),
        )
        await credentials.fail(mine.credential_id, "refused at step 2: tokencanary, realm limited_poa")
        assert (await credentials.get(mine.credential_id)).last_error == "refused at step 2: ****, realm limited_poa"
        with pytest.raises(NotFound):
            await credentials.open_for_test("nothing")


@pytest.mark.requirement("VLT-08")
async def test_a_disk_that_fails_while_masks_are_made_is_told_and_hidden_by_no_mask(url, monkeypatch):
    async with opened(url, ring_of(OLD), old_iv=IV) as vault:
        credentials = SqlCredentials(vault)
        mine = await credentials.put(draft())

        async def failing(*_):
            raise StorageError("Database problem: the disk is full")

        monkeypatch.setattr(vault, "open", failing)
        with pytest.raises(StorageError, match="disk is full"):
            await credentials.get(mine.credential_id)


@pytest.mark.requirement("VLT-05")
async def test_tasks_that_meet_an_unknown_key_together_all_go_on_with_the_new_ones(url):
    rings = [ring_of(OLD)]
    async with opened(url, lambda: rings[-1]) as running:
        places = await fill(running, 12)
        rings.append(ring_of(NEW, OLD))
        async with opened(url, ring_of(NEW, OLD)) as other:
            await rotate(other)

        async def put(place):
            await running.put(place, Secret(f"secret of {place.record}"))

        async with anyio.create_task_group() as group:
            for place in places:
                group.start_soon(put, place)
        await assert_all_open(running, places)


@pytest.mark.requirement("VLT-09")
async def test_credentials_of_another_user_or_connection_are_never_taken_instead(url):
    async with opened(url, ring_of(OLD)) as vault:
        credentials = SqlCredentials(vault)
        for user, connection in (("u1", "main"), ("u1", "second"), ("", "main")):
            put = await credentials.put(draft(connection, user_id=user))
            await credentials.activate(put.credential_id)
        for user, connection in (("u2", "main"), ("u1", "third"), ("", "second")):
            with pytest.raises(ConfigError) as caught:
                await credentials.use(user_id=user, connection_id=connection)
            assert caught.value.code == "E-NOT-CONFIGURED"
        assert await credentials.delete(user_id="u1", connection_id="main") == 1
        with pytest.raises(ConfigError):
            await credentials.use(user_id="u1", connection_id="main")
        assert (await credentials.use(user_id="u1", connection_id="second")).connection_id == "second"
        assert len(await texts(vault)) == 2 * len(VALUES)
        assert await credentials.of_user("u2") == ()


@pytest.mark.requirement("VLT-02")
@pytest.mark.parametrize(
    "change", [{"user_id": "u2"}, {"environment": "live"}, {"connection_id": "second"}, {"method": "oauth2"}]
)
async def test_credentials_whose_row_was_changed_do_not_open(url, change):
    async with opened(url, ring_of(OLD)) as vault:
        credentials = SqlCredentials(vault)
        mine = await credentials.put(draft())
        await credentials.activate(mine.credential_id)
        await run(vault, update(CREDENTIALS).values(change))
        where = {"user_id": "u1", "connection_id": "main"} | change
        with pytest.raises(StorageError) as caught:
            await credentials.use(user_id=where["user_id"], connection_id=where["connection_id"])
        assert caught.value.code == "E-ENC"


@pytest.mark.requirement("VLT-07", "VLT-15")
async def test_reading_gives_masks_and_a_set_that_does_not_open_hides_no_other(url):
    oauth2 = Draft(
        user_id="u1",
        connection_id="second",
        method=AuthMethod.OAUTH2,
        environment=Environment.LIVE,
        fields={
            name: Secret(value)
            for name, value in {
                "client_id": "CLIENT77",
                "client_key_id": "main",
                "private_key": VALUES["signature_key"],
                "credential": "tradername",
                "allowed_ip": "203.0.113.7",
            }.items()
        },
    )
    async with opened(url, ring_of(OLD)) as vault:
        credentials = SqlCredentials(vault)
        await credentials.put(draft())
        assert (await credentials.put(oauth2)).fields == {
            "client_id": "CLIE****",
            "client_key_id": "****",
            "private_key": "****",
            "credential": "trad****",
            "allowed_ip": "203.0.113.7",
        }
        broken = SEALED.c.record.like("%/main")
        await run(vault, update(SEALED).where(broken, SEALED.c.field == "realm").values(text="x"))
        await run(vault, update(SEALED).where(broken, SEALED.c.field == "dh_params").values(text="v1.x.x.x.x"))
        first, second = await credentials.of_user("u1")
        assert set(first.fields.values()) == {None}
        assert second.fields["client_id"] == "CLIE****"


@pytest.mark.requirement("VLT-14")
async def test_each_set_shows_when_it_was_made_changed_and_used_and_old_ones_are_listed(url):
    clock = ManualClock(START)
    async with opened(url, ring_of(OLD), clock=clock) as vault:
        credentials = SqlCredentials(vault)
        mine = await credentials.put(draft())
        await credentials.put(draft("untested"))
        await credentials.activate(mine.credential_id)
        assert (await credentials.get(mine.credential_id)).last_used_at is None
        for seconds, expected in ((5, 5), (10, 5), (60, 75)):
            clock.advance(seconds)
            await credentials.use(user_id="u1", connection_id="main")
            found = await credentials.get(mine.credential_id)
            assert found.last_used_at == START + timedelta(seconds=expected)
        clock.advance(91 * 86_400)
        assert [each.connection_id for each in await credentials.older_than(clock.now() - timedelta(days=90))] == [
            "main"
        ]
        assert await credentials.older_than(clock.now() - timedelta(days=92)) == ()


@pytest.mark.requirement("VLT-11")
@pytest.mark.parametrize("name", ["password", "gateway_password", "Passwd", "otp", "totp", "2fa_code", "second_factor"])
async def test_a_password_of_ibkr_or_a_code_is_refused_and_stored_nowhere(url, name):
    with pytest.raises(InvalidRequest, match="never stored") as caught:
        draft(**{name: "hunter2canary"})
    assert (caught.value.code, caught.value.http_status) == ("E-VALIDATION", 422)
    assert "hunter2" not in laid_bare(caught.value)


@pytest.mark.requirement("VLT-15")
async def test_no_secret_is_in_the_database_the_log_or_a_traceback(url, tmp_path, caplog):
    canaries = Canaries()
    for name, value in VALUES.items():
        canaries.add(name, value)
    for name, key in (("key", OLD), ("raw key", bytes.fromhex(OLD))):
        canaries.add(name, key)
    caplog.set_level(logging.DEBUG)
    said = []
    async with opened(url, ring_of(OLD)) as vault:
        credentials = SqlCredentials(vault)
        mine = await credentials.put(draft())
        await credentials.activate(mine.credential_id)
        await credentials.use(user_id="u1", connection_id="main")
        said.append(repr((await credentials.get(mine.credential_id), draft(), vault.ring)))
        await run(vault, update(SEALED).where(SEALED.c.field == "dh_params").values(text="v1.x.x.x.x"))
        for failing in (
            lambda: credentials.use(user_id="u1", connection_id="main"),
            lambda: credentials.fail("nothing", "reason"),
            lambda: run(vault, text("INSERT INTO nowhere VALUES (1)")),
        ):
            with pytest.raises((StorageError, NotFound)) as caught:
                await failing()
            said += [laid_bare(caught.value), "".join(traceback.format_exception(caught.value))]
        said += [repr(row) for table in (CREDENTIALS, SEALED, KEYS) for row in await run(vault, select(table))]
        # With the vault open: the write-ahead log of SQLite is there, too.
        said += [file.read_bytes().decode("latin-1") for file in sorted(tmp_path.rglob("*")) if file.is_file()]
    said.append(caplog.text)
    assert canaries.found_in("\n".join(said)) == set()
    assert canaries.found_in(VALUES["access_token"]) == {"access_token"}  # the watch itself works


# --- rotation ---------------------------------------------------------------------------------------------------------


async def fill(vault, count=100):
    places = [Place("u1", f"record/{number}", "field") for number in range(count)]
    for place in places:
        await vault.put(place, Secret(f"secret of {place.record}"))
    return places


async def assert_all_open(vault, places):
    assert [(await vault.get(place)).reveal() for place in places] == [f"secret of {place.record}" for place in places]


@pytest.mark.requirement("VLT-05")
async def test_rotation_of_a_hundred_records_leaves_all_of_them_with_the_new_key(url):
    async with opened(url, ring_of(OLD)) as vault:
        places = await fill(vault)
    told = []
    async with opened(url, ring_of(NEW, OLD)) as vault:
        done = await rotate(vault, batch=30, tell=told.append)
        assert (done.key_id, done.rewrapped, done.verified, done.unreadable) == (NEW_ID, 100, 100, ())
        assert done.forgotten == (OLD_ID,)
        assert told == [30, 60, 90, 100]
        again = await rotate(vault)
        assert (again.rewrapped, again.verified, again.forgotten) == (0, 100, ())
    async with opened(url, ring_of(NEW)) as vault:
        await assert_all_open(vault, places)
        assert all(each.startswith(prefix_of(NEW_ID)) for each in await texts(vault))


@pytest.mark.requirement("VLT-05")
async def test_a_rotation_that_fails_at_any_batch_leaves_everything_readable_and_is_gone_on_with(url, monkeypatch):
    async with opened(url, ring_of(OLD)) as vault:
        places = await fill(vault, 20)
    put = rotation._put
    for failing in range(9):  # each of the five batches: at first, and after the one before it
        calls = []

        def broken(connection, found, calls=calls, failing=failing):
            calls.append(len(found))
            done = put(connection, found)
            if len(calls) > failing % 2:
                raise KeyError("pulled out")
            return done

        monkeypatch.setattr(rotation, "_put", broken)
        async with opened(url, ring_of(NEW, OLD)) as vault:
            with pytest.raises(KeyError):
                await rotate(vault, batch=4)
            await assert_all_open(vault, places)
            kept = sum(each.startswith(prefix_of(NEW_ID)) for each in await texts(vault))
            assert kept == 4 * ((failing + 1) // 2)
            with pytest.raises(StorageError):
                async with opened(url, ring_of(NEW)):
                    raise AssertionError("the old key is needed still")
    monkeypatch.setattr(rotation, "_put", put)
    async with opened(url, ring_of(NEW, OLD)) as vault:
        done = await rotate(vault, batch=4)
        assert (done.rewrapped, done.verified, done.forgotten) == (4, 20, (OLD_ID,))
    async with opened(url, ring_of(NEW)) as vault:
        await assert_all_open(vault, places)


@pytest.mark.requirement("VLT-05")
async def test_others_read_write_and_delete_while_keys_are_rotated(url, monkeypatch):
    async with opened(url, ring_of(OLD)) as vault:
        places = await fill(vault, 60)
    both = ring_of(NEW, OLD)
    put = rotation._put
    async with opened(url, both) as vault, opened(url, both) as other:

        def meanwhile(connection, found):
            # Between the reading of a batch and its writing somebody replaces one text and deletes another.
            for each, change in zip(found, ("replaced", "deleted"), strict=False):
                here = SEALED.c.sealed_id == each.old.sealed_id
                statement = delete(SEALED).where(here) if change == "deleted" else None
                if statement is not None:
                    connection.execute(statement)
                else:
                    fresh = each.text.replace(each.text[-4:], "AAAA")
                    connection.execute(update(SEALED).where(here).values(text=fresh))
            return put(connection, found)

        readings = 0
        stop = anyio.Event()

        async def read():
            nonlocal readings
            while not stop.is_set():
                await assert_all_open(other, places)
                readings += 1

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(read)
            done = await rotate(vault, batch=10)
            stop.set()
        assert done.verified == 60
        assert readings >= 3
        # And now with changes in the very batch: they are left as they are, and told where they do not open.
        monkeypatch.setattr(rotation, "_put", meanwhile)
        async with opened(url, ring_of(OTHER, NEW)) as third:
            done = await rotate(third, batch=30)
            assert (done.rewrapped, done.verified) == (56, 56)
            assert len(done.unreadable) == 2
            assert done.forgotten == ()


@pytest.mark.requirement("VLT-05")
async def test_no_key_is_forgotten_while_a_text_of_it_is_there(url, monkeypatch):
    """A text of the old key that comes, past every fence, after the last look: its key stays needed."""
    async with opened(url, ring_of(OLD)) as vault:
        await vault.put(PLACE, Secret("late"))
        (late,) = await texts(vault)
        await run(vault, delete(SEALED))
        await fill(vault, 3)
    verify = rotation._verify_all

    async def then_late(vault, batch):
        found = await verify(vault, batch)
        await run(vault, insert(SEALED).values(user_id="u1", record="webhook", field="url", text=late))
        return found

    monkeypatch.setattr(rotation, "_verify_all", then_late)
    async with opened(url, ring_of(NEW, OLD)) as vault:
        assert (await rotate(vault)).forgotten == ()
        assert (await vault.get(PLACE)).reveal() == "late"
        monkeypatch.undo()
        assert (await rotate(vault)).forgotten == (OLD_ID,)
        assert (await vault.get(PLACE)).reveal() == "late"


@pytest.mark.requirement("VLT-05")
async def test_text_that_does_not_open_is_named_kept_and_keeps_its_key_needed(url):
    async with opened(url, ring_of(OLD)) as vault:
        places = await fill(vault, 5)
        sealed = await texts(vault)
        await run(vault, update(SEALED).where(SEALED.c.sealed_id == 3).values(text=sealed[0]))
    async with opened(url, ring_of(NEW, OLD)) as vault:
        done = await rotate(vault)
        assert (done.rewrapped, done.verified, done.unreadable, done.forgotten) == (4, 4, ("record/2 field",), ())
        assert (await texts(vault))[2] == sealed[0]
        await run(vault, delete(SEALED).where(SEALED.c.sealed_id == 3))
        assert (await rotate(vault)).forgotten == (OLD_ID,)
        await assert_all_open(vault, [places[0], *places[3:]])


@pytest.mark.requirement("VLT-05")
@pytest.mark.parametrize("step", ["_rewrap_all", "_verify_all"])
async def test_a_rotation_that_another_one_overtakes_gives_up(url, monkeypatch, step):
    rings = [ring_of(NEW, OLD)]
    async with opened(url, ring_of(OLD)) as vault:
        places = await fill(vault, 10)
    own = getattr(rotation, step)

    async def after_another(*arguments):
        monkeypatch.setattr(rotation, step, own)
        rings.append(ring_of(OTHER, NEW, OLD))
        async with opened(url, rings[-1]) as second:
            await rotate(second)
        return await own(*arguments)

    monkeypatch.setattr(rotation, step, after_another)
    async with opened(url, lambda: rings[-1]) as first:
        with pytest.raises(StorageError, match="taken over"):
            await rotate(first, batch=4)
    async with opened(url, ring_of(OTHER)) as vault:
        await assert_all_open(vault, places)


def test_a_key_is_named_by_what_tells_nothing_of_it():
    assert key_id(Secret(bytes.fromhex(OLD))) == OLD_ID
    assert OLD_ID not in OLD
