"""What `POST /__sim/events` asks of accounts: what happens to them without an order.

{"event": "deposit" | "fee" | "interest", "account", "amount", "currency", "description"}   signed: − goes out
{"event": "convert", "account", "currency", "quantity", "rate"}     + buys the currency, − sells it
{"event": "dividend", "symbol", "per_share", "tax_pct"}             on what each account holds
{"event": "split", "symbol", "new", "old"}
{"event": "exercise" | "assign", "account", "conid", "quantity"}    before the option's end
{"event": "rate", "currency", "rate"}                               what a currency is worth from now on
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from ibkit.sim.exchange.history import CashKind, HistoryEntry, entry_row
from ibkit.sim.exchange.settlement import end_early

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = ["history_of", "move_account"]

_Body = Mapping[str, Any]


def move_account(world: World, body: _Body) -> list[dict[str, object]]:
    """Do it, and give the entries that it made. Raises ValueError; then nothing happened."""
    event = str(body.get("event", ""))
    if event not in _EVENTS:
        raise ValueError(f"event: one of {', '.join(_EVENTS)}")
    before = {number for number, _ in _numbered(world)}
    _EVENTS[event](world, body)
    return [entry_row(entry) for number, entry in _numbered(world) if number not in before]


def history_of(world: World) -> list[dict[str, object]]:
    """Everything that ever happened in any account, in order."""
    return [entry_row(entry) for _, entry in _numbered(world)]


def _numbered(world: World) -> list[tuple[int, HistoryEntry]]:
    entries = [entry for book in world.books.accounts.values() for entry in book.history]
    return sorted(((entry.number, entry) for entry in entries), key=lambda row: row[0])


def _cash(kind: CashKind, negative: CashKind | None = None) -> Callable[[World, _Body], None]:
    def act(world: World, body: _Body) -> None:
        amount = _number(body, "amount")
        world.exchange.events.cash(
            _text(body, "account"),
            negative if negative is not None and amount < 0 else kind,
            amount,
            currency=body.get("currency"),
            description=str(body.get("description") or ""),
        )

    return act


def _convert(world: World, body: _Body) -> None:
    rate = _number(body, "rate") if "rate" in body else None
    world.exchange.events.convert(_text(body, "account"), _text(body, "currency"), _number(body, "quantity"), rate=rate)


def _dividend(world: World, body: _Body) -> None:
    tax = _number(body, "tax_pct") if "tax_pct" in body else Decimal(0)
    world.exchange.events.dividend(_text(body, "symbol"), _number(body, "per_share"), tax_pct=tax)


def _split(world: World, body: _Body) -> None:
    world.exchange.events.split(_text(body, "symbol"), _whole(body, "new"), _whole(body, "old"))


def _ended(*, long: bool) -> Callable[[World, _Body], None]:
    def act(world: World, body: _Body) -> None:
        account, conid = _text(body, "account"), _whole(body, "conid")
        if account not in world.books.accounts:
            raise ValueError(f"no account is called {account}; there are: {', '.join(world.books.accounts)}")
        if (world.books[account].quantity(conid) > 0) != long:
            raise ValueError(f"{account} is not {'long' if long else 'short'} in {conid}")
        end_early(world, account, conid, _number(body, "quantity"), world.now)

    return act


def _rate(world: World, body: _Body) -> None:
    world.books.set_rate(_text(body, "currency"), _number(body, "rate"), world.now)


_EVENTS: dict[str, Callable[[World, _Body], None]] = {
    "deposit": _cash("Deposits/Withdrawals"),
    "fee": _cash("Other Fees"),
    "interest": _cash("Broker Interest Received", "Broker Interest Paid"),
    "convert": _convert,
    "dividend": _dividend,
    "split": _split,
    "exercise": _ended(long=True),
    "assign": _ended(long=False),
    "rate": _rate,
}


def _text(body: _Body, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: a text is wanted")
    return value


def _number(body: _Body, name: str) -> Decimal:
    try:
        return Decimal(str(body[name]))
    except (KeyError, InvalidOperation) as error:
        raise ValueError(f"{name}: a number is wanted") from error


def _whole(body: _Body, name: str) -> int:
    number = _number(body, name)
    if not number.is_finite() or number != int(number):
        raise ValueError(f"{name}: a whole number is wanted")
    return int(number)
