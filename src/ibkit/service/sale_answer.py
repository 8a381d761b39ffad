"""A sale as a document: before it is made, while it goes on, once it is over, and from the records alone.

Source: requirements OPT-05, OPT-06.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from ibkit.model import Right, to_cents
from ibkit.service.market_documents import spelled
from ibkit.service.previews import LimitReading
from ibkit.trading.intent import Intent
from ibkit.trading.outcome import Outcome
from ibkit.trading.selling.legs import Leg, Sale
from ibkit.trading.selling.preview import SalePreview
from ibkit.trading.selling.trade import RecordState, Trade, TradeResult, TradeStatus

__all__ = [
    "LegOutcome",
    "OptionOfLeg",
    "SaleAnswer",
    "SaleData",
    "SaleLeg",
    "SaleLegPreview",
    "SaleOutcome",
    "SalePreviewAnswer",
    "in_fields",
    "leg_document",
    "legs_of",
    "preview_document",
    "recorded_leg",
]

LegOutcome = Literal[
    "waiting", "sold_and_protected", "closed", "bought_back", "refused", "not_started", "unknown", "unprotected"
]
State = Literal["running", "over", "interrupted"]
Side = Literal["put", "call"]
SaleOutcome = Literal["completed", "partly", "failed", "critical"]
_KEY_FLAG = re.compile(r"--key \S+?(?=[:.,;]?(?:\s|$))")
_FLAG = re.compile(r"--([a-z][a-z-]*)")


def in_fields(text: str) -> str:
    """What a remedy says to a command line, said to whoever sends fields.

    >>> in_fields("Repeat with --key 0123456789abcdef:put: it never sells twice. Or pass --allow-delayed.")
    'Repeat with the same Idempotency-Key: it never sells twice. Or pass allow_delayed.'
    """
    return _FLAG.sub(lambda found: found[1].replace("-", "_"), _KEY_FLAG.sub("the same Idempotency-Key", text))


class SaleLeg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One side. Prices per unit; credit, max_risk and max_loss in the contract's currency; null: not known, or none.

    sold_and_protected: with a working stop. closed: sold, and over already, by its stop or with gain. bought_back: no
    stop could be placed, so it was bought back. refused: not sold. not_started: the side before it ended critically.
    unknown, unprotected: somebody must look. max_loss: at expiry without the stop; null also where it is unbounded.
    """

    side: Side
    outcome: LegOutcome
    strike: Decimal | None = None
    long_strike: Decimal | None = None
    conid: int | None = None
    filled_quantity: Decimal | None = None
    entry_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: str | None = None
    take_profit_price: Decimal | None = None
    credit: Decimal | None = None
    max_risk: Decimal | None = None
    max_loss: Decimal | None = None
    order_id: str | None = None
    stop_order_id: str | None = None
    take_profit_order_id: str | None = None
    trade_id: str | None = None
    message: str = ""
    code: str | None = None
    remedy: str | None = None
    warnings: list[str] = []


class SaleData(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """state: running, over, or interrupted (an earlier process was at it: repeat the key, and it goes on where it was).

    outcome: completed (all sold and protected), partly, failed (nothing sold), critical (a side is unprotected, unknown
    or was bought back for want of a stop); null while it runs.
    """

    key: str
    state: State
    outcome: SaleOutcome | None
    message: str
    broker: str
    account_id: str
    environment: str
    simulated: bool
    symbol: str
    expiry: date | None
    quantity: Decimal | None
    legs: list[SaleLeg]
    notes: list[str]
    created_at: datetime
    ended_at: datetime | None


class SaleAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """cached: it was there already when it was asked for, and nothing was sent."""

    data: SaleData
    cached: bool


class OptionOfLeg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """side: what the sale does with it."""

    side: Literal["BUY", "SELL"]
    conid: int
    option: str
    strike: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    mid: Decimal | None
    delta: float | None


class SaleLegPreview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One side by itself. allowed: neither IBKR nor a limit refuses it; else code, message and remedy say why.

    entry: what a unit brings at worst. stop: from that entry. max_loss: at expiry without the stop; null where it is
    unbounded, or nothing is known. margin: IBKR's what-if. multiplier: units in one contract.
    """

    side: Side
    allowed: bool
    strike: Decimal
    long_strike: Decimal | None
    multiplier: Decimal | None
    options: list[OptionOfLeg]
    entry: Decimal | None
    credit: Decimal | None
    stop: Decimal | None
    trail: str | None
    take_profit: Decimal | None
    max_risk: Decimal | None
    max_loss: Decimal | None
    unlimited_loss: bool | None
    break_even: Decimal | None
    initial_margin_change: Decimal | None
    initial_margin_after: Decimal | None
    maintenance_margin_change: Decimal | None
    maintenance_margin_after: Decimal | None
    equity_after: Decimal | None
    commission: Decimal | None
    limits: list[LimitReading]
    warnings: list[str]
    message: str
    code: str | None
    remedy: str | None


class SalePreviewAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """credit, commission: of all sides; null where one is not known. allowed: each side is."""

    allowed: bool
    account_id: str
    environment: str
    symbol: str
    expiry: date
    quantity: Decimal
    exit_at: datetime | None
    credit: Decimal | None
    commission: Decimal | None
    legs: list[SaleLegPreview]


# -- made, or being made ----------------------------------------------------------------------------------------------


def legs_of(sale: Sale, legs: tuple[Leg, ...], *, over: bool) -> list[SaleLeg]:
    """Each side as it stands. over: nothing more comes of those that have no result."""
    done = {leg.right: result for leg, result in sale.results}
    rest: LegOutcome = "not_started" if over else "waiting"
    return [
        leg_document(leg, done[leg.right])
        if leg.right in done
        else SaleLeg(side=_side(leg.right), outcome=rest, strike=spelled(leg.strike))
        for leg in legs
    ]


def leg_document(leg: Leg, result: TradeResult) -> SaleLeg:
    sold = result.sold
    return SaleLeg(
        side=_side(leg.right),
        outcome=_outcome(result),
        strike=spelled(result.strike),
        long_strike=_spelled(result.long_strike),
        conid=result.contract_id,
        filled_quantity=spelled(result.filled_quantity),
        entry_price=result.entry_price if sold else None,
        stop_price=result.stop_loss if sold else None,
        trail=None if result.trail is None else result.trail.label,
        take_profit_price=result.take_profit if sold else None,
        credit=_cents(result.credit) if sold else None,
        max_risk=_cents(result.max_risk) if sold else None,
        max_loss=_cents(result.max_loss) if sold else None,
        order_id=result.order_id,
        stop_order_id=result.stop_order_id,
        take_profit_order_id=result.take_profit_order_id,
        trade_id=result.trade_id,
        message=in_fields(result.message),
        code=result.code or None,
        remedy=in_fields(result.remedy) or None,
        warnings=list(result.warnings),
    )


def _outcome(result: TradeResult) -> LegOutcome:
    if result.success:
        return "closed" if result.closed else "sold_and_protected"
    if not result.critical:
        return "refused"
    if result.closed:
        return "bought_back"
    return "unknown" if result.code == "E-ORD-UNKNOWN" else "unprotected"


# -- from the records -------------------------------------------------------------------------------------------------


def recorded_leg(right: Right, entry: Intent, trade: Trade | None) -> SaleLeg:
    """One side as journal and trades tell it, when no process has its result."""
    error = None if entry.state.in_progress else Outcome(entry).error
    ticket, contract = entry.ticket, entry.ticket.contract
    strikes = {leg.ratio: leg.contract.strike for leg in contract.legs} or {1: contract.strike}
    average = entry.average_price if trade is None or trade.entry_price is None else trade.entry_price
    quantity = entry.filled
    return SaleLeg(
        side=_side(right),
        outcome=_recorded_outcome(entry, trade),
        strike=_spelled(strikes.get(1)),
        long_strike=_spelled(strikes.get(-1)),
        conid=contract.conid if trade is None else trade.conid,
        filled_quantity=spelled(quantity),
        entry_price=average,
        stop_price=None if trade is None else trade.stop_loss_price,
        take_profit_price=None if trade is None else trade.take_profit_price,
        credit=None if average is None else _cents(average * ticket.contract.multiplier * quantity),
        order_id=entry.order_id,
        stop_order_id=None if trade is None else trade.stop_loss_order_id,
        take_profit_order_id=None if trade is None else trade.take_profit_order_id,
        trade_id=None if trade is None else trade.trade_id,
        message=entry.label if error is None else error.message,
        code=None if error is None else error.code,
        remedy=None if error is None else in_fields(error.remedy),
    )


def _recorded_outcome(entry: Intent, trade: Trade | None) -> LegOutcome:
    if trade is not None and trade.record_state is RecordState.COMPLETE:
        if trade.status is TradeStatus.CLOSED:
            return "closed"
        return "unprotected" if trade.stop_loss_order_id is None else "sold_and_protected"
    if entry.state.in_progress or not entry.final:
        return "unknown"
    return "refused" if not entry.filled and Outcome(entry).error is not None else "unknown"


# -- before it is made ------------------------------------------------------------------------------------------------


def preview_document(leg: Leg, result: TradeResult) -> SaleLegPreview:
    preview = result.preview
    margin = None if preview is None else preview.margin
    refused = preview is not None and any(limit.objection for limit in preview.limits)
    return SaleLegPreview(
        side=_side(leg.right),
        allowed=result.success and not refused,
        strike=spelled(result.strike),
        long_strike=_spelled(result.long_strike),
        multiplier=preview.legs[0].contract.multiplier if preview is not None and preview.legs else None,
        options=[] if preview is None else _options(preview),
        entry=None if preview is None else preview.entry,
        credit=None if preview is None else _cents(preview.credit),
        stop=None if preview is None else preview.stop,
        trail=None if preview is None or preview.trail is None else preview.trail.label,
        take_profit=None if preview is None else preview.take_profit,
        max_risk=None if preview is None else _cents(preview.max_risk),
        max_loss=None if preview is None else _cents(preview.max_loss),
        unlimited_loss=None if preview is None else preview.max_loss is None,
        break_even=None if preview is None else preview.break_even,
        initial_margin_change=None if margin is None else margin.initial_margin_change,
        initial_margin_after=None if margin is None else margin.initial_margin_after,
        maintenance_margin_change=None if margin is None else margin.maintenance_margin_change,
        maintenance_margin_after=None if margin is None else margin.maintenance_margin_after,
        equity_after=None if margin is None else margin.equity_after,
        commission=None if margin is None else margin.commission,
        limits=[] if preview is None else _limits(preview),
        warnings=list(result.warnings),
        message=in_fields(result.message),
        code=result.code or None,
        remedy=in_fields(result.remedy) or None,
    )


def _options(preview: SalePreview) -> list[OptionOfLeg]:
    return [
        OptionOfLeg(
            side="BUY" if each.side.value == "BUY" else "SELL",
            conid=each.contract.conid,
            option=each.contract.label,
            strike=_spelled(each.contract.strike),
            bid=each.quote.bid,
            ask=each.quote.ask,
            mid=each.quote.mid,
            delta=each.quote.delta,
        )
        for each in preview.legs
    ]


def _limits(preview: SalePreview) -> list[LimitReading]:
    return [
        LimitReading(
            control=each.control,
            name=each.name,
            state=each.state,
            value=each.value or None,
            limit=each.limit or None,
            headroom=each.headroom,
            message=each.objection or None,
            code=None,
        )
        for each in preview.limits
    ]


def _side(right: Right) -> Side:
    return "put" if right is Right.PUT else "call"


def _cents(value: Decimal | None) -> Decimal | None:
    return None if value is None else to_cents(value)


def _spelled(value: Decimal | None) -> Decimal | None:
    return None if value is None else spelled(value)
