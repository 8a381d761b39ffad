"""The journal's file from the side of its callers: what an order waits for, and what only a person looks at."""

from __future__ import annotations

import anyio.to_thread
import pytest

from fakes import ACCOUNT, START, USER
from ibkit.clock import ManualClock
from ibkit.model import Environment
from ibkit.store import open_journal
from ibkit.trading.risk import Scope
from journal_words import KEY, planned

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("OPT-07")]


async def test_what_an_order_waits_for_is_read_without_a_change_of_threads(tmp_path, monkeypatch):
    """A change of threads takes ten times as long as the few rows of these questions."""
    scope = Scope(environment=Environment.PAPER, account_id=ACCOUNT, symbol="SPY")

    async def no_thread(*_arguments, **_options):
        pytest.fail("it went to another thread")

    async with open_journal(tmp_path / "journal.sqlite", clock=ManualClock(START)) as journal:
        intent, _ = await journal.plan(planned())
        with monkeypatch.context() as patched:
            patched.setattr(anyio.to_thread, "run_sync", no_thread)
            assert await journal.by_key(tenant="local", environment=Environment.PAPER, key=KEY) == intent
            assert await journal.events(intent.intent_id) == (intent.planned,)
            assert await journal.usernames((ACCOUNT,)) == (USER,)
            assert await journal.controls(ACCOUNT) == (0, 0)
            assert (await journal.risk.state(scope, START)).limits == await journal.risk.limits(scope)
            assert await journal.risk.generation() == 0
