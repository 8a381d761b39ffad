"""Reminders of what grows old: one alert, a month later the next, and none once it is renewed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from credential_desks import ADA, fields_for, opened_desk, put, settings_of_vault
from ibkit.bootstrap.access import REVIEW
from ibkit.bootstrap.alerting import open_alerting
from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.reminders import Reminders
from ibkit.bootstrap.users import open_users
from ibkit.trading.alert import Severity
from ibkit.trading.alerting.events import EventKind
from ibkit.trading.alerting.incident import Incident
from ibkit.users import Role
from ibkit.vault import Act
from simulators import make_simulator
from user_desks import CHEAP, PASSWORD

pytestmark = pytest.mark.anyio
DAY = 86_400.0


@pytest.mark.requirement("VLT-14", "VLT-05", "MON-07")
async def test_old_credentials_and_keys_are_told_once_a_month_until_they_are_renewed(tmp_path: Path) -> None:
    simulator = make_simulator()
    settings = settings_of_vault(tmp_path)
    async with opened_desk(settings, simulator) as desk, open_alerting(settings) as alerting:
        reminders = Reminders(settings=settings, vault=desk.vault, alerting=alerting)
        await put(desk, fields_for(simulator))
        await put(desk, fields_for(simulator), connection_id="untested")
        await desk.activate(ADA, "main")
        simulator.clock.advance(90 * DAY - 1)
        assert await reminders.look() == 0
        simulator.clock.advance(DAY)
        assert await reminders.look() == 2
        assert await reminders.look() == 0, "another look on the same day says nothing"

        told = {each.event: each for each in await alerting.incidents.incidents()}
        old = told[EventKind.CREDENTIAL_OLD]
        assert (old.subject, old.user, old.count) == ("user-ada/main", "user-ada", 1)
        assert "90 days old" in old.message
        assert told[EventKind.KEY_ROTATION_DUE].remedy.startswith("Make a new one: `ibkit vault rotate`")

        simulator.clock.advance(30 * DAY + 1)
        assert await reminders.look() == 2
        await put(desk, fields_for(simulator, user=1))
        await desk.activate(ADA, "main")
        simulator.clock.advance(31 * DAY)
        assert await reminders.look() == 1, "new credentials are young; the key is not"


@pytest.mark.requirement("SEC-09", "OPS-09")
async def test_who_has_access_is_to_be_looked_at_every_quarter_until_somebody_signs_off(tmp_path: Path) -> None:
    simulator = make_simulator()
    settings = settings_of_vault(tmp_path)
    async with (
        opened_desk(settings, simulator) as desk,
        open_alerting(settings) as alerting,
        open_users(settings, clock=simulator.clock, cost=CHEAP) as users,
    ):
        reminders = Reminders(settings=settings, vault=desk.vault, alerting=alerting)

        async def told() -> list[Incident]:
            await reminders.look()
            return [each for each in await alerting.incidents.incidents() if each.subject == "access review"]

        await users.keeper.add("anna", Role.OWNER, PASSWORD)
        simulator.clock.advance(91 * DAY)
        assert await told() == [], "one user alone has nobody to look at"
        await users.keeper.add("bob", Role.TRADER, PASSWORD)
        (first,) = await told()
        assert (first.event, first.severity, first.count) == (EventKind.SECURITY_FINDING, Severity.WARNING, 1)
        assert "never signed off" in first.message
        assert (await told())[0].count == 1, "another look on the same day says nothing"
        simulator.clock.advance(31 * DAY)
        assert sum(each.count for each in await told()) == 2
        async with audit_log(settings) as log:
            act = Act(at=simulator.clock.now(), actor="cli:anna", action=REVIEW, object="users", details={"by": "Anna"})
            await log.record(act)
        simulator.clock.advance(89 * DAY)
        assert sum(each.count for each in await told()) == 2
        simulator.clock.advance(2 * DAY)
        assert "last signed off on" in (await told())[0].message


@pytest.mark.requirement("OPS-05")
async def test_a_key_for_ibkr_that_is_a_year_old_is_told_once_a_month(tmp_path: Path) -> None:
    simulator = make_simulator()
    key = tmp_path / "signature.pem"
    key.write_text("a key")
    began = simulator.clock.now().timestamp()
    os.utime(key, (began, began))
    settings = settings_of_vault(tmp_path, IB_SIGNATURE_KEY_PATH=str(key))
    async with opened_desk(settings, simulator) as desk, open_alerting(settings) as alerting:
        reminders = Reminders(settings=settings, vault=desk.vault, alerting=alerting)

        async def told() -> list[Incident]:
            await reminders.look()
            return [each for each in await alerting.incidents.incidents() if each.subject == "IB_SIGNATURE_KEY_PATH"]

        simulator.clock.advance(364 * DAY)
        assert await told() == []
        simulator.clock.advance(2 * DAY)
        (first,) = await told()
        assert (first.event, first.count) == (EventKind.KEY_ROTATION_DUE, 1)
        assert "ibkit rotation status" in first.remedy
        assert (await told())[0].count == 1
        simulator.clock.advance(31 * DAY)
        assert sum(each.count for each in await told()) == 2
