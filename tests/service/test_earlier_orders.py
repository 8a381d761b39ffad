"""Orders of before there were several users: they are their owner's, and nobody else sees them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fakes import START
from ibkit.errors import NotFound
from ibkit.model import Key, OrderTicket, OrderType, Side
from ibkit.service.order_listing import Page
from ibkit.service.serving import open_service
from ibkit.store.earlier_owner import SqlEarlierOwner
from ibkit.store.records import open_records
from ibkit.trading.intake import Asked
from ibkit.trading.intent import IntentState
from ibkit.trading.ref import key_of_user
from people import People, person
from service_desks import fast_mock, settings_of


@pytest.mark.anyio
@pytest.mark.requirement("VLT-13", "GWY-07")
async def test_they_are_listed_and_shown_to_their_owner_alone(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, ENABLE_MULTI_USER="true", ENCRYPTION_KEY="0a1b" * 16)
    for owner in ("user-ada", ""):
        database = open_records(settings.database_url, parts=("vault",))
        await SqlEarlierOwner(database).attach(owner, by="cli:tests", at=START)
        await database.close()
        with fast_mock():
            async with open_service(settings, People(), watch=False) as running:
                login = await running.service.brokers.login("mock")
                desk = await login.desk()
                contract = await desk.broker.underlying("AAPL")
                ticket = OrderTicket(
                    account_id=desk.account_id,
                    contract=contract,
                    side=Side.BUY,
                    quantity=Decimal(1),
                    order_type=OrderType.MARKET,
                )
                outcome = await desk.gateway.submit(ticket, key=Key("placed-before-there-were-users"))
                orders = running.service.orders

                async def seen(name: str, orders=orders) -> list[str]:  # type: ignore[no-untyped-def]
                    return [each.id for each in (await orders.listed(person(name), Page())).body.data]

                intent_id = outcome.intent.intent_id
                assert await seen("bob") == []
                with pytest.raises(NotFound):
                    await orders.show(person("bob"), intent_id)
                if owner:
                    assert await seen("ada") == [intent_id]
                    assert (await orders.show(person("ada"), intent_id)).status == 200
                else:
                    assert await seen("ada") == []
                    with pytest.raises(NotFound):
                        await orders.show(person("ada"), intent_id)


@pytest.mark.anyio
@pytest.mark.requirement("GWY-06", "TRD-14")
async def test_an_entry_of_a_sale_that_was_not_sent_is_not_carried_on_without_its_stop(tmp_path: Path) -> None:
    with fast_mock():
        async with open_service(settings_of(tmp_path), People(), watch=False) as running:
            login = await running.service.brokers.login("mock")
            desk = await login.desk()
            ticket = OrderTicket(
                account_id=desk.account_id,
                contract=await desk.broker.underlying("AAPL"),
                side=Side.BUY,
                quantity=Decimal(1),
                order_type=OrderType.MARKET,
            )
            for purpose in ("entry", "order"):
                key = key_of_user("user-ada", Key(f"left-by-an-earlier-{purpose}"))
                asked = Asked(purpose=purpose, user="user-ada")
                planned = desk.gateway.intake.order(desk.broker.username, ticket, key=key, asked=asked)
                _, new = await desk.gateway.intake.store(planned)
                assert new
            later = login.clock.now() + timedelta(seconds=1)
            assert await running.service.orders.resume_left("mock", before=later) == 1
            sale = await desk.gateway.find(key_of_user("user-ada", Key("left-by-an-earlier-entry")))
            assert sale is not None
            assert sale.state is IntentState.INTENT
