"""A planned window in the service: told ahead, no order meanwhile, cancels and the kill switch work, told when over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibkit.bootstrap.maintenance import Maintenance, open_maintenance, planned
from ibkit.clock import ManualClock
from ibkit.settings import Settings
from ibkit.store.maintenance import Window
from ibkit.trading.alerting.incident import Happening
from ibkit.users import Role
from service_desks import ORDER, new_key, settings_of, until
from service_people import served_people

pytestmark = pytest.mark.requirement("OPS-06")
NOW = datetime(2026, 12, 3, 15, 0, tzinfo=UTC)
START, END = datetime(2026, 12, 5, 22, 0, tzinfo=UTC), datetime(2026, 12, 5, 23, 0, tzinfo=UTC)


def window(**given: Any) -> Window:
    named = {"starts_at": START, "ends_at": END, "now": NOW, **given}
    return planned(named["starts_at"], named["ends_at"], "New disks.", by="cli:anna", now=named["now"], force=True)


@pytest.mark.anyio
async def test_people_are_told_when_it_is_planned_an_hour_before_and_when_it_is_over_each_once(tmp_path: Path) -> None:
    settings, clock, told = settings_of(tmp_path), ManualClock(NOW), list[Happening]()

    async def tell(happening: Happening) -> None:
        told.append(happening)

    ours, other = (Maintenance(settings, clock, tell=tell) for _ in range(2))

    async def look() -> list[str]:
        told.clear()
        await ours.look()
        await other.look()
        return [each.message for each in told]

    assert await look() == []
    async with open_maintenance(settings) as store:
        await store.plan(window())
    (first,) = await look()
    assert first.startswith("Maintenance from 2026-12-05 22:00 to 2026-12-05 23:00 UTC: New disks. Orders are refused")
    assert await look() == []
    assert (ours.current, ours.next and ours.next.text) == (None, "New disks")
    clock.advance((START - NOW - timedelta(hours=1)).total_seconds())
    assert len(await look()) == 1
    clock.advance(3600)
    assert await look() == []
    assert ours.current is not None
    clock.advance(3600)
    assert await look() == [
        "The maintenance from 2026-12-05 22:00 to 2026-12-05 23:00 UTC is over: orders are taken again"
    ]
    assert (ours.current, ours.next) == (None, None)
    assert await look() == []


@pytest.mark.anyio
async def test_one_that_is_called_off_is_told_so_and_one_that_nobody_heard_of_is_not(tmp_path: Path) -> None:
    settings, clock, told = settings_of(tmp_path), ManualClock(NOW), list[Happening]()

    async def tell(happening: Happening) -> None:
        told.append(happening)

    watch, heard, unheard = Maintenance(settings, clock, tell=tell), window(), window()
    async with open_maintenance(settings) as store:
        await store.plan(heard)
        await watch.look()
        await store.plan(unheard)
        for each in (heard, unheard):
            assert await store.cancel(each.window_id, at=clock.now())
    told.clear()
    await watch.look()
    (only,) = told
    assert only.message.endswith("is called off")
    assert (watch.current, watch.next) == (None, None)


@pytest.mark.anyio
async def test_a_database_that_is_away_opens_no_window_and_closes_none(tmp_path: Path) -> None:
    clock = ManualClock(START)
    settings: Settings = settings_of(tmp_path)

    async def tell(happening: Happening) -> None:
        pass

    watch = Maintenance(settings, clock, tell=tell)
    async with open_maintenance(settings) as store:
        await store.plan(window())
    await watch.look()
    (tmp_path / "gone").mkdir()
    watch._settings = settings_of(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'gone'}")
    await watch.look()
    assert watch.current is not None


def test_orders_and_sales_are_503_with_the_end_and_cancels_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibkit.bootstrap.maintenance._LOOK_EVERY_S", 0.1)
    with served_people(tmp_path, mock=True) as people:
        ada, owner = people.person(), people.person(Role.OWNER)
        resting = {**ORDER, "order_type": "limit", "limit_price": 150, "time_in_force": "gtc"}
        order = ada.ask("POST", "/broker-order", resting, key=new_key())
        assert order.status == 201, order.raw
        assert ada.ask("GET", "/api/ibkr/status").json["maintenance"] is None
        now = datetime.now(UTC).replace(microsecond=0)
        held = window(starts_at=now - timedelta(minutes=1), ends_at=now + timedelta(hours=1), now=now)

        def shown() -> Any:
            return ada.ask("GET", "/api/ibkr/status").json["maintenance"]

        async def begin(_: object) -> None:
            async with open_maintenance(people.settings) as store:
                await store.plan(held)

        async def end(_: object) -> None:
            async with open_maintenance(people.settings) as store:
                assert await store.cancel(held.window_id, at=datetime.now(UTC))

        key = new_key()
        first = ada.ask("POST", "/broker-order", {**resting, "limit_price": 149}, key=key)
        assert first.status == 201, first.raw
        people.within(begin)
        until(lambda: shown() is not None)
        # Whoever lost an answer learns what became of it; what sends nothing is no order.
        again = ada.ask("POST", "/broker-order", {**resting, "limit_price": 149}, key=key)
        assert (again.status, again.data["id"]) == (200, first.data["id"])
        assert ada.ask("POST", "/broker-order/preview", resting).status == 200
        assert ada.ask("POST", "/broker-order", {**resting, "dry_run": True}, key=new_key()).status in (200, 201)
        sale = {"broker": "mock", "side": "put", "symbol": "SPY", "quantity": 1, "put_strike": 600}
        for method, path, body in (
            ("POST", "/broker-order", resting),
            ("POST", "/api/broker-order", resting),
            ("PATCH", f"/broker-order/{order.data['id']}", {"limit_price": 151}),
            ("POST", "/api/option-sale", sale),
        ):
            refused = ada.ask(method, path, body, key=new_key())
            assert (refused.status, refused.code) == (503, "E-MAINT"), refused.raw
            assert "New disks" in refused.json["error"]["message"]
            assert "with the same key" in " ".join(refused.json["error"]["remedy"])
            assert 3500 < int(refused.headers["retry-after"]) <= 3600
        assert (shown()["now"], shown()["text"]) == (True, "New disks")
        assert ada.ask("GET", f"/broker-order/{order.data['id']}").status == 200
        assert ada.ask("DELETE", f"/broker-order/{order.data['id']}").status in (200, 202)
        assert owner.ask("POST", "/api/kill", {"note": "meanwhile"}).status == 200
        people.within(end)
        until(lambda: shown() is None)
        assert owner.ask("POST", "/api/kill/release", {"note": "over"}).status in (200, 202)
        again = ada.ask("POST", "/broker-order", resting, key=new_key())
        assert again.status in (201, 202), again.raw


@pytest.mark.anyio
async def test_of_many_windows_the_nearest_are_followed(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    async with open_maintenance(settings) as store:
        for week in reversed(range(60)):
            shift = timedelta(weeks=week)
            await store.plan(window(starts_at=START + shift, ends_at=END + shift))
        ahead = await store.windows(ending_after=NOW)
        assert [each.starts_at for each in ahead][:2] == [START, START + timedelta(weeks=1)]
