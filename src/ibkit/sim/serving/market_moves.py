"""POST /__sim/market: prices, quotes and halts by hand, now or at set seconds from now.

{"symbol", "price"}                                  the underlying stands there and moves on; its options follow
{"conid", "bid", "ask", "bid_size", "ask_size"}      the quote is held (null: nobody bids, offers)
{"conid", "release": true}                           the quote is the market's own again
{"symbol", "halted": true|false}
{"moves": [any of these, each with "after": seconds]}

Moves together make a path, the legs of a combo included. A later move of the same thing takes the place of what was to
follow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = ["move_market"]

_MOST_MOVES = 10_000
_FARTHEST_S = 30 * 86_400


def move_market(world: World, body: Mapping[str, Any]) -> datetime:
    """Carry out what a body asks for; gives the moment of the last move.

    Raises ValueError or LookupError for what cannot be done; the moves before it hold.
    """
    if "moves" not in body:
        return _move(world, body)
    moves = body["moves"]
    if not isinstance(moves, list) or not moves or len(moves) > _MOST_MOVES:
        raise ValueError(f"moves: a list of 1 to {_MOST_MOVES} objects")
    if not all(isinstance(move, Mapping) for move in moves):
        raise ValueError("moves: each is an object")
    # In the order of time, since a move takes the place of what follows it.
    return [_move(world, move) for move in sorted(moves, key=_after)][-1]


def _move(world: World, body: Mapping[str, Any]) -> datetime:
    at = world.now + timedelta(seconds=_after(body))
    if body.get("release") is True:
        world.market.release(int(body["conid"]), at=at)
    elif "conid" in body:
        sizes = {name: int(body[name]) for name in ("bid_size", "ask_size") if name in body}
        world.market.set_quote(int(body["conid"]), _side(body, "bid"), _side(body, "ask"), at=at, **sizes)
    elif "halted" in body:
        world.market.halt(str(body.get("symbol")), at, halted=body["halted"] is True)
    else:
        world.market.set_price(str(body.get("symbol")), _number(body, "price"), at)
    return at


def _after(body: Mapping[str, Any]) -> float:
    seconds = float(_number(body, "after")) if "after" in body else 0.0
    if not 0 <= seconds <= _FARTHEST_S:
        raise ValueError(f"after: 0 to {_FARTHEST_S} seconds")
    return seconds


def _side(body: Mapping[str, Any], name: str) -> Decimal | None:
    """A bid or an ask; null where nobody bids or offers."""
    return None if name in body and body[name] is None else _number(body, name)


def _number(body: Mapping[str, Any], name: str) -> Decimal:
    try:
        number = Decimal(str(body[name]))
    except (KeyError, InvalidOperation):
        raise ValueError(f"{name}: a number is wanted") from None
    if not number.is_finite():
        raise ValueError(f"{name}: a number is wanted")
    return number
