"""The orders of one user, by how their keys begin: theirs alone, newest first, page by page."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from fakes import START
from ibkit.clock import ManualClock
from ibkit.model import Environment
from ibkit.store import open_journal
from ibkit.trading.events import Expired, Operation
from ibkit.trading.ref import key_of_user, keys_of_user
from journal_words import other_key, planned

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("GWY-07")]


async def test_they_are_found_by_their_keys_newest_first_and_in_pages(tmp_path):
    async with open_journal(tmp_path / "journal.sqlite", clock=ManualClock(START)) as journal:
        placed = []
        for number in range(5):
            user = "bob" if number == 2 else "ada"
            at = START + timedelta(seconds=number // 2)  # two of them at the same moment
            wish = planned(key_of_user(user, other_key(number)), at=at)
            placed.append((await journal.plan(wish))[0])
        (nobodys, _) = await journal.plan(planned(other_key(9)))  # of the command line
        change = planned(key_of_user("ada", other_key(7)), operation=Operation.MODIFY)
        change_intent, _ = await journal.plan(dataclasses.replace(change, target="17"))

        async def found(user="ada", **more):
            asked = {"environment": Environment.PAPER, "operation": Operation.PLACE, "limit": 10, **more}
            return [intent.intent_id for intent in await journal.of_keys(keys_of_user(user), **asked)]

        ids = [intent.intent_id for intent in placed]
        assert await found() == [ids[4], ids[3], ids[1], ids[0]]
        assert await found("bob") == [ids[2]]
        assert await found("eve") == []
        assert await found(operation=Operation.MODIFY) == [change_intent.intent_id]
        assert await found(environment=Environment.LIVE) == []
        assert await found("eve", or_nobodys=True) == [nobodys.intent_id]
        assert set(await found("bob", or_nobodys=True)) == {ids[2], nobodys.intent_id}
        first = await found(limit=2)
        assert first + await found(limit=2, before=first[-1]) == await found()
        ended = START + timedelta(hours=1)
        await journal.append(placed[0], Expired(at=ended, reason="old"))
        assert await found(changed_since=ended) == [ids[0]]
