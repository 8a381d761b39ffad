"""The legs of one sale, one after the other, and what came of them (OPT-02, OPT-06)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from ibkit.error_catalogue import CATALOGUE
from ibkit.model import Conid, Key, Order, OrderId, Position, Right
from ibkit.trading.ref import check_key, child_key
from ibkit.trading.selling.structure import long_strike
from ibkit.trading.selling.trade import TradeResult

if TYPE_CHECKING:
    from ibkit.trading.selling.seller import OptionSeller

__all__ = ["Leg", "Runner", "Sale", "leg_keys", "sell_legs"]

Work = Callable[[], Awaitable[TradeResult]]
Runner = Callable[[Work], Awaitable[tuple[TradeResult | None, bool]]]
"""Runs one leg: its result, and whether somebody interrupted meanwhile."""


async def _to_its_end(work: Work) -> tuple[TradeResult | None, bool]:
    return await work(), False


@dataclass(frozen=True, slots=True)
class Leg:
    """One side of a sale. width: of a vertical, whose protection is bought so far beyond `strike`."""

    right: Right
    strike: Decimal
    width: Decimal | None = None

    @property
    def word(self) -> str:
        return "put" if self.right is Right.PUT else "call"

    @property
    def strikes(self) -> str:
        """`629`, of a vertical `629/624`."""
        if self.width is None:
            return f"{self.strike.normalize():f}"
        return f"{self.strike.normalize():f}/{long_strike(self.strike, self.right, self.width).normalize():f}"


@dataclass(slots=True)
class Sale:
    """What was done. not_started: legs that were left out after a critical failure or an interruption."""

    results: list[tuple[Leg, TradeResult]] = field(default_factory=list)
    not_started: list[Leg] = field(default_factory=list)
    interrupted: bool = False
    working: tuple[Order, ...] = ()
    positions: tuple[Position, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> dict[Conid, str]:
        """What to call the contracts that were dealt in."""
        held = {position.contract.conid: position.contract.label for position in self.positions}
        ours = {
            result.contract_id: f"{result.symbol} {result.expiry:%Y%m%d} {result.strike.normalize():f} {result.right}"
            for _, result in self.results
            if result.contract_id is not None and result.expiry is not None
        }
        return {**held, **ours}

    @property
    def names_by_order(self) -> dict[OrderId, str]:
        """What to call the exits of spreads, whose contract has no number of its own."""
        return {
            order_id: f"{result.symbol} {result.expiry:%Y%m%d} {leg.strikes} {result.right}"
            for leg, result in self.results
            for order_id in (result.stop_order_id, result.take_profit_order_id)
            if leg.width is not None and order_id is not None and result.expiry is not None
        }

    @property
    def good(self) -> int:
        return sum(result.success for _, result in self.results)

    @property
    def critical(self) -> bool:
        return any(result.critical for _, result in self.results)

    @property
    def complete(self) -> bool:
        return not self.not_started and self.good == len(self.results) > 0

    @property
    def first_failure(self) -> TradeResult | None:
        return next((result for _, result in self.results if not result.success), None)

    @property
    def outcome(self) -> Literal["completed", "partly", "failed", "critical"]:
        if self.critical:
            return "critical"
        if self.complete:
            return "completed"
        return "partly" if self.good else "failed"

    @property
    def exit_code(self) -> int:
        """0 all sold and protected, 6 some, 7 unprotected or unknown; nothing sold: the code of the reason."""
        match self.outcome:
            case "critical":
                return 7
            case "completed":
                return 0
            case "partly":
                return 6
        failure = self.first_failure
        return CATALOGUE[failure.code].exit if failure is not None and failure.code in CATALOGUE else 5


def leg_keys(key: str, rights: Sequence[Right]) -> list[Key]:
    """A key for each side, the same each time for the same sale."""
    return [child_key(check_key(key), "put" if right is Right.PUT else "call") for right in rights]


async def sell_legs(
    seller: OptionSeller,
    legs: Sequence[Leg],
    keys: Sequence[str],
    *,
    into: Sale | None = None,
    run: Runner = _to_its_end,
    **terms: Any,
) -> Sale:
    """First the put, then the call; after a critical failure, or an interruption, the rest is not started.

    into: where what is done is written down as it happens; it is what is given back.
    """
    sale = Sale() if into is None else into
    for number, (leg, key) in enumerate(zip(legs, keys, strict=True), start=1):
        if sale.critical or sale.interrupted:
            sale.not_started.append(leg)
            continue

        async def work(leg: Leg = leg, key: str = key, more_follow: bool = number < len(legs)) -> TradeResult:
            return await seller.sell_option_with_stop(
                terms["symbol"],
                leg.strike,
                leg.right.value,
                terms["stop_multiple"],
                terms["quantity"],
                terms["expiry"],
                width=leg.width,
                key=key,
                more_follow=more_follow,
                **terms["options"],
            )

        result, interrupted = await run(work)
        sale.interrupted = sale.interrupted or interrupted
        # A cancelled sale still ran to its end: the seller protects what it sold and keeps the result.
        result = result or seller.last_result
        if result is None:
            sale.not_started.append(leg)
        else:
            sale.results.append((leg, result))
    if not sale.interrupted:
        await seller.finish()
    return sale
