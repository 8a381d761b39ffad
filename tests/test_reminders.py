"""Reminders of what grows old: one alert, a month later the next, and none once it is renewed."""

from __future__ import annotations

from pathlib import Path

import pytest

from credential_desks import ADA, fields_for, opened_desk, put, settings_of_vault
from ibkit.bootstrap.alerting import open_alerting
from ibkit.bootstrap.reminders import Reminders
from ibkit.trading.alerting.events import EventKind
from simulators import make_simulator

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
