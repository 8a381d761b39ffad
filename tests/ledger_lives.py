"""Random lives of a simulated account, and our ledger of them against the simulator's books and its statements.

python tests/ledger_lives.py 1000        # seeds 0 to 999, with the time they took
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from desks import Desk
from ibkit.client.flex_statements import statements_of
from ibkit.model import AccountId
from ibkit.portfolio.fills import trades_of
from ibkit.portfolio.ledger import Ledger, Rules, fold_ledger
from ibkit.portfolio.merging import Correction, merge
from ibkit.portfolio.picture import Execution
from ibkit.portfolio.reconciling_costs import reconcile_costs
from ibkit.portfolio.statements import StatementTold, opening_of
from ibkit.portfolio.transactions import Origin, Traded, Transaction
from ibkit.sim.exchange.books import trade_day
from ibkit.sim.exchange.order_rows import trade_row
from ibkit.sim.exchange.tickets import read_ticket
from ibkit.sim.flex.period import report_day
from ibkit.sim.flex.statement import make_statement
from ibkit.wire.executions import TradeRow, fill_from_wire

__all__ = ["AS_TOLD", "Life", "agrees", "body_of", "event", "ledger_of", "live", "merged", "put", "trade"]

SPY = 756733
ACTIVITY, CONFIRMS = "10000000101", "10000000102"
AS_TOLD = Rules(premium_into_stock=False)
"""As the simulator's statements tell an assignment (docs/facts/accounts-and-portfolio.md §6.6)."""


def event(desk: Desk, **body: object) -> None:
    desk.simulator.control("POST", "events", body)


def trade(desk: Desk, shares: int, price: str = "600.00", conid: int = SPY) -> None:
    row = {"conid": conid, "side": "BUY" if shares > 0 else "SELL", "quantity": abs(shares), "orderType": "LMT"}
    ticket = read_ticket({**row, "tif": "GTC", "price": 1 if shares > 0 else 9000}, desk.world.instruments)
    order = desk.exchange.enter_external(desk.account, ticket, desk.now)
    if order.working:
        desk.exchange.fill(order.id, Decimal(price), None, desk.now)


def put(desk: Desk, pick: int = 0) -> int:
    """A put that expires next; pick: how far from the money."""
    today = report_day(desk.world, desk.now)
    price = desk.world.market.quote(SPY, desk.now).mark or Decimal(0)
    puts = [o for o in desk.world.instruments.chain("SPY", today) if o.right == "P" and o.expiry and o.expiry > today]
    first = min(o.expiry for o in puts if o.expiry)
    near = sorted((o for o in puts if o.expiry == first), key=lambda o: abs((o.strike or 0) - price))
    return near[min(pick, len(near) - 1)].conid


def body_of(
    desk: Desk, first: date | None = None, last: date | None = None, query: str = ACTIVITY, **options: Any
) -> bytes:
    """A statement up to now, without the service."""
    saved = replace(desk.world.flex.queries[query], **options)
    begin = first or report_day(desk.world, desk.world.config.start)
    return make_statement(desk.world, saved, begin, last or report_day(desk.world, desk.now), desk.now)


def options_held(desk: Desk) -> list[Any]:
    return [h for h in desk.book.holdings.values() if h.quantity and h.instrument.is_option]


@dataclass(frozen=True)
class Life:
    desk: Desk
    done: tuple[str, ...]


def live(seed: int, steps: int = 14) -> Life:
    """Some weeks of trades, dividends, tax, interest, fees, splits, conversions, options and their ends."""
    chance = random.Random(seed)  # which life, not a secret
    desk = Desk()
    done: list[str] = []
    for _ in range(chance.randint(3, steps)):
        name = chance.choice(_THINGS)
        done.append(name)
        _do(desk, name, chance)
    return Life(desk, tuple(done))


_THINGS = (
    *("trade",) * 5,
    *("days",) * 3,
    *("put",) * 3,
    *("cash", "fee", "interest", "dividend", "convert", "yen", "split", "rate", "early", "swing"),
)


def _do(desk: Desk, name: str, chance: random.Random) -> None:
    def cents(low: int, high: int) -> Decimal:
        return Decimal(chance.choice([n for n in (chance.randint(low, high), 1) if n])) / 100

    match name:
        case "trade":
            trade(desk, chance.choice((-1, 1)) * chance.randint(1, 300), str(Decimal(chance.randint(500, 90000)) / 100))
        case "swing":  # from long to short and back, in one trade
            held = int(desk.book.quantity(SPY))
            trade(desk, -2 * held or 10, "612.34")
        case "days":
            desk.simulator.advance(timedelta(days=chance.randint(1, 4)).total_seconds())
        case "put":
            size, pick = chance.choice((-1, 1)) * chance.randint(1, 3), chance.randint(0, 6)
            trade(desk, size, "3.15", put(desk, pick))
        case "cash":
            event(desk, event="deposit", account=desk.account, amount=cents(-50_000, 50_000))
        case "fee":
            event(desk, event="fee", account=desk.account, amount=-abs(cents(1, 3000)))
        case "interest":
            amount, currency = cents(-500, 500), chance.choice(("USD", "EUR"))
            event(desk, event="interest", account=desk.account, amount=amount, currency=currency)
        case "dividend":
            event(desk, event="dividend", symbol="SPY", per_share=abs(cents(1, 500)), tax_pct=15)
        case "convert":
            event(desk, event="convert", account=desk.account, currency="EUR", quantity=chance.randint(1, 5000))
        case "yen":
            event(desk, event="convert", account=desk.account, currency="JPY", quantity=-chance.randint(1, 900_000))
        case "rate":
            event(desk, event="rate", currency="EUR", rate=Decimal(chance.randint(90, 130)) / 100)
        case "early":
            for holding in options_held(desk)[:1]:
                word = "exercise" if holding.quantity > 0 else "assign"
                size = min(abs(holding.quantity), Decimal(chance.randint(1, 3)))
                event(desk, event=word, account=desk.account, conid=holding.instrument.conid, quantity=size)
        case _:
            new, old = chance.choice(((2, 1), (3, 1), (3, 2), (1, 10)))
            if desk.book.quantity(SPY) * new % old == 0 and not options_held(desk):
                event(desk, event="split", symbol="SPY", new=new, old=old)


def merged(bodies: Sequence[bytes]) -> tuple[list[Transaction], tuple[StatementTold, ...]]:
    """Everything that the files tell, once."""
    there: dict[str, Transaction] = {}
    statements: list[StatementTold] = []
    for body in bodies:
        for told in statements_of(body):
            statements.append(told)
            _put(there, told.transactions)
    return list(there.values()), tuple(statements)


def _put(there: dict[str, Transaction], told: Sequence[Transaction]) -> Sequence[Correction]:
    found = merge(there.values(), told)
    there |= {each.key: each for each in found.added}
    for each in found.corrected:
        for gone in (each.before, *each.also):
            del there[gone.key]
        there[each.after.key] = each.after
    return found.corrected


def live_trades(desk: Desk, told: StatementTold) -> tuple[Traded, ...]:
    """All that IBKR's list of executions would have told, had a sync read it each week. told: names the listings."""
    rows = [trade_row(desk.world, each) for each in desk.exchange.executions(desk.account, desk.now, days=366)]
    wire = msgspec.json.Decoder(list[TradeRow], float_hook=Decimal).decode(msgspec.json.encode(rows))
    executions = [
        Execution(
            fill=fill_from_wire(row, AccountId(desk.account)),
            row=number,
            symbol=row.symbol or "",
            asset_class=row.sec_type or "",
        )
        for number, row in enumerate(wire)
    ]
    listings = {each.listed.conid: each.listed for each in told.transactions if isinstance(each, Traded)}
    found = trades_of(executions, listings, digest="e" * 64)
    assert found.unbooked == ()
    return found.trades


def check_live(desk: Desk, told: StatementTold) -> None:
    """Each live execution moves what the statement says that it moved, and gives way to it."""
    trades = live_trades(desk, told)
    there: dict[str, Transaction] = {each.key: each for each in trades}
    corrected = _put(there, told.transactions)
    assert len(corrected) == len(trades)
    assert [each for each in corrected if each.what] == []
    assert all(each.origin is not Origin.LIVE for each in there.values())
    opening = opening_of([told])
    agrees(desk, fold_ledger(desk.account, there.values(), opening=opening, rules=AS_TOLD), told)
    _put(there, trades)
    agrees(desk, fold_ledger(desk.account, there.values(), opening=opening, rules=AS_TOLD), told)


def ledger_of(bodies: Sequence[bytes], account: str, rules: Rules = AS_TOLD) -> Ledger:
    transactions, statements = merged(bodies)
    return fold_ledger(account, transactions, opening=opening_of(statements), rules=rules)


def agrees(desk: Desk, ledger: Ledger, told: StatementTold) -> None:
    """The ledger against the simulator's books, and against the statement, to the last digit."""
    book = desk.book
    assert _present(ledger.cash) == _present({"USD": book.cash, **book.foreign})
    assert {conid: held.quantity for conid, held in ledger.held.items()} == {
        conid: h.quantity for conid, h in book.holdings.items() if h.quantity
    }
    assert _present(ledger.cash) == _present({row.currency: row.ending for row in told.cash})
    assert {conid: held.quantity for conid, held in ledger.held.items()} == {
        row.listed.conid: row.quantity for row in told.positions
    }
    if ledger.rules != AS_TOLD:
        return
    for row in told.positions:
        held = ledger.held[row.listed.conid]
        assert held.cost == row.cost, row.listed.symbol
        assert held.unrealized(row.price) == (row.value or 0) - (row.cost or 0)
    realized: dict[str, Decimal] = {}
    for closed in ledger.closed:
        realized[closed.closed_by] = realized.get(closed.closed_by, Decimal(0)) + closed.realized
    for each in told.transactions:
        if getattr(each, "told_realized", None) is not None:
            # Known by any of its ids: which is first depends on the section that told it.
            ours = sum((realized.get(each_id, Decimal(0)) for each_id in each.ids), Decimal(0))
            assert ours == each.told_realized, each  # type: ignore[union-attr]


def balanced(ledger: Ledger, started: Decimal) -> bool:
    """cash = opening + realized - cost + payments + transfers, in dollars, without conversions."""
    paid = sum((amounts.get("USD", Decimal(0)) for amounts in ledger.paid().values()), Decimal(0))
    realized, cost = ledger.realized().get("USD", Decimal(0)), ledger.cost().get("USD", Decimal(0))
    converted = Decimal(0)
    for each in ledger.transactions:
        if type(each).__name__ == "Converted":
            from ibkit.portfolio.transactions import cash_of

            converted += cash_of(each).get("USD", Decimal(0))
    moved = ledger.transferred.get("USD", Decimal(0))
    return ledger.cash["USD"] == started + realized - cost + paid + converted + moved


def _present(amounts: Any) -> dict[str, Decimal]:
    return {currency: amount for currency, amount in amounts.items() if amount}


def check(seed: int) -> tuple[str, ...]:
    """One life told in several ways: whole; in overlapping halves; with live executions or confirmations first."""
    life = live(seed)
    desk = life.desk
    whole = body_of(desk)
    (told,) = statements_of(whole, accounts={desk.account})
    agrees(desk, ledger_of([whole], desk.account), told)
    check_live(desk, told)
    confirms = body_of(desk, query=CONFIRMS)
    middle = desk.world.config.start.date() + (desk.now.date() - desk.world.config.start.date()) / 2
    first, last = body_of(desk, last=middle), body_of(desk, first=middle)
    for bodies in ([confirms, whole], [first, confirms, last, whole], [whole, confirms, first, last]):
        agrees(desk, ledger_of(bodies, desk.account), told)
    carried = ledger_of([whole], desk.account, Rules())
    agrees(desk, carried, told)
    assert balanced(carried, opening_of([told]).cash["USD"])
    for rules in (AS_TOLD, Rules()):
        assert reconcile_costs([told], told.transactions, opening_of([told]), rules) == ()
    assert trade_day(desk.now) >= told.first
    return life.done


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    began = time.monotonic()
    seen: dict[str, int] = {}
    for number in range(count):
        try:
            for thing in check(number):
                seen[thing] = seen.get(thing, 0) + 1
        except AssertionError:
            sys.stderr.write(f"seed {number} does not agree\n")
            raise
    sys.stdout.write(f"{count} lives agree to the last digit; {time.monotonic() - began:.0f} s; {seen}\n")
