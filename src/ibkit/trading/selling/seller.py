"""Selling an option or a vertical spread and protecting it, from the contract to the working exits.

    contract → strike and quote checks → record (pending) → SELL → fill, or the rest cancelled
             → stop (and take profit) from the average fill → working → record (complete) → executions

From the entry order on, the way runs to its end even when the caller is cancelled: it then hurries, cancels what
has not filled, and still places the stop. Source: requirements TRD-13 to TRD-16, OPT-03, OPT-04, OPT-07.

The steps: `option_market` (what is read), `previewing`, `entry` (the order), `protection` (the exits), `sale_records`,
`sale_result`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

from ibkit.clock import Clock
from ibkit.errors import IbkitError, OutcomeUnknown
from ibkit.model import AccountId, Key, OrderTicket, OrderType, Ref, Trail
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import IntentState
from ibkit.trading.ports import Alerts, Broker
from ibkit.trading.ref import check_key, derive_ref, make_key
from ibkit.trading.selling.by_hand import HeldPositions
from ibkit.trading.selling.entry import EntryOrder, NothingSold, may_have_sold
from ibkit.trading.selling.exit_orders import STOP_TRIES, ExitOrders
from ibkit.trading.selling.hurry import Hurry, unbroken
from ibkit.trading.selling.market import Market, MarketReader
from ibkit.trading.selling.ports import Trades
from ibkit.trading.selling.previewing import SalePreviewer
from ibkit.trading.selling.protection import Protected, Protection
from ibkit.trading.selling.records import SaleRecords
from ibkit.trading.selling.result import closed_result, failure, protected_result
from ibkit.trading.selling.sale import Number, OnStopFailure, SaleRequest, entry_ticket, request_of, trade_id_of
from ibkit.trading.selling.standing import Standing
from ibkit.trading.selling.trade import RecordState, TradeResult, TradeStatus
from ibkit.trading.timeline import Observer, Step, StepKind, unobserved

__all__ = ["OptionSeller"]

log = logging.getLogger(__name__)

_SECOND_LOOK_S = 1.0
"""A stop that is refused late is refused within about half a second. Source: docs/facts/orders.md §8."""


class OptionSeller:
    """Sells options and spreads of one account and protects each with a stop at the broker.

    random: `random(n)` gives n random bytes, for fresh keys. fill_timeout_s: the setting FILL_TIMEOUT.
    """

    def __init__(
        self,
        broker: Broker,
        gateway: OrderGateway,
        *,
        trades: Trades,
        alerts: Alerts,
        clock: Clock,
        account_id: AccountId,
        random: Callable[[int], bytes],
        fill_timeout_s: float = 20.0,
        max_strike_distance_pct: Decimal = Decimal(5),
        observe: Observer = unobserved,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._account_id = account_id
        self._random = random
        self._observe = observe
        self._reader = MarketReader(
            broker=broker, clock=clock, max_strike_distance_pct=max_strike_distance_pct, observe=observe
        )
        self._records = SaleRecords(
            broker=broker,
            trades=trades,
            alerts=alerts,
            clock=clock,
            account_id=account_id,
            environment=gateway.environment,
            observe=observe,
        )
        self._entry = EntryOrder(
            gateway=gateway,
            reader=self._reader,
            records=self._records,
            clock=clock,
            fill_timeout_s=fill_timeout_s,
            observe=observe,
        )
        self._previewer = SalePreviewer(broker=broker, gateway=gateway, clock=clock, observe=observe)
        self._protection = Protection(
            gateway=gateway,
            orders=ExitOrders(broker=broker, gateway=gateway, clock=clock, observe=observe),
            held=HeldPositions(broker, clock),
            clock=clock,
            fill_timeout_s=fill_timeout_s,
            observe=observe,
        )
        self.last_result: TradeResult | None = None
        """Of the sale before, also where a cancellation kept it from being returned."""

    async def sell_option_with_stop(
        self,
        symbol: str,
        strike: Number,
        right: str,
        stop_multiple: Number = 3.0,
        quantity: int = 1,
        expiry: str | date | None = None,
        *,
        width: Number | None = None,
        trail: Trail | None = None,
        take_profit: Number | None = None,
        exit_at: datetime | None = None,
        order_type: str | OrderType = "market",
        limit_price: Number | None = None,
        on_stop_failure: str | OnStopFailure = "close",
        key: str | None = None,
        confirm: tuple[str, ...] = (),
        allow_delayed: bool = False,
        dry_run: bool = False,
        force: bool = False,
        more_follow: bool = False,
    ) -> TradeResult:
        """Sell, wait for the fill, place a BUY STP at average fill x `stop_multiple`, confirm that it works.

        expiry: YYYYMMDD, default today in New York. right: 'P' or 'C'. key: names the sale; repeated, it goes on
        where it was and never sells twice. A failure of the broker, the market or the stores is a TradeResult with
        its code; only wrong arguments raise (ConfigError, E-VALIDATION).

        width:       sells a vertical instead, as one combination, whose protection is bought so far beyond `strike`.
        trail:       a trailing stop instead of one at `stop_multiple`.
        take_profit: buys back, too, at this part of the entry price (0 to 1); one group with the stop.
        exit_at:     when a worker closes it at the latest; kept with the trade, nothing at the broker.
        more_follow: other sales come at once; the executions of all are then read by `finish`, together.
        """
        self.last_result = None
        checked = make_key(self._random) if key is None else check_key(key)
        request = request_of(
            symbol=symbol,
            strike=strike,
            right=right,
            stop_multiple=stop_multiple,
            quantity=quantity,
            expiry=expiry,
            width=width,
            trail=trail,
            take_profit=take_profit,
            exit_at=exit_at,
            order_type=order_type,
            limit_price=limit_price,
            on_stop_failure=on_stop_failure,
            key=checked,
            confirm=confirm,
            allow_delayed=allow_delayed,
            dry_run=dry_run,
            force=force,
            now=self._clock.now(),
        )
        try:
            result = await self._sell(request, more_follow=more_follow)
        except IbkitError as error:
            result = self._failure(request, error)
        self._tell_result(result)
        return result

    async def finish(self) -> None:
        """Read and record the executions of sales that were followed by others."""
        await self._records.catch_up()

    # -- before the order -----------------------------------------------------------------------------------------

    async def _sell(self, request: SaleRequest, *, more_follow: bool) -> TradeResult:
        known = None if request.dry_run else await self._gateway.find(request.key)
        try:
            market = await (self._reader.look(request) if known is None else self._reader.resumed(request, known))
            ticket = entry_ticket(request, market.contract, self._account_id, market.sell_grid)
            if request.dry_run:
                return await self._previewer.show(request, market, ticket)
            trade = await self._records.before(
                ticket,
                key=request.key,
                ref=self._ref(request.key),
                snapshot=market.snapshot,
                plan=request.exits,
            )
        except IbkitError as error:
            if known is None or not may_have_sold(known):
                raise
            raise OutcomeUnknown(
                f"CRITICAL: {known.label} was sent by an earlier run ({known.state.value}) and could not be looked "
                f"after: {error.message}",
                code="E-ORD-UNKNOWN",
                remedy=_repeat(request),
            ) from error
        if trade.record_state is RecordState.COMPLETE and trade.status is TradeStatus.CLOSED:
            return closed_result(request, trade)

        async def work(hurry: Hurry) -> TradeResult:
            return await self._held_to(request, market, ticket, hurry, more_follow, known is not None)

        return await unbroken(
            work,
            on_interrupt=lambda: self._tell(StepKind.CRITICAL, "interrupted: protecting what was sold before leaving"),
            at_end=lambda result, error: self._tell_result(self._interrupted(request, result, error)),
        )

    def _ref(self, key: Key) -> Ref:
        return derive_ref(tenant=self._gateway.tenant, environment=self._gateway.environment, key=key)

    # -- from the order on ----------------------------------------------------------------------------------------

    async def _held_to(
        self,
        request: SaleRequest,
        market: Market,
        ticket: OrderTicket,
        hurry: Hurry,
        more_follow: bool,
        earlier_run: bool,
    ) -> TradeResult:
        """`_carry_out`; a mistake of our own in the middle of a sale is told as what it leaves behind, too."""
        try:
            return await self._carry_out(request, market, ticket, hurry, more_follow, earlier_run)
        except Exception as error:
            if isinstance(error, IbkitError):
                raise
            known = await self._gateway.find(request.key)
            if known is None or not may_have_sold(known):
                raise
            log.exception("a sale broke off", extra={"ref": known.ref})
            message = (
                f"CRITICAL: {known.label} ({known.state.value}): ibkit broke off with {type(error).__name__}; what was "
                "sold may have no stop"
            )
            await self._records.unprotected(known.ref, message)
            raise OutcomeUnknown(message, code="E-ORD-UNKNOWN", remedy=_repeat(request)) from error

    async def _carry_out(
        self,
        request: SaleRequest,
        market: Market,
        ticket: OrderTicket,
        hurry: Hurry,
        more_follow: bool,
        earlier_run: bool,
    ) -> TradeResult:
        sold = await self._entry.sell(request, market, ticket, hurry)
        if isinstance(sold, NothingSold):
            result = self._failure(request, sold.error)
            conid = market.structure.short.conid
            return dataclasses.replace(result, order_id=sold.entry.order_id, contract_id=conid)
        average = sold.average_price
        prices = None if average is None else market.prices(request, average)
        warnings: tuple[str, ...] = ()
        for _ in range(STOP_TRIES + 1):
            protected = await self._protection.protect(
                sold,
                prices=prices,
                increments=market.buy_grid,
                on_failure=request.on_stop_failure,
                confirm=request.confirm,
                hurried=hurry,
                earlier_run=earlier_run,
            )
            warnings = await self._records.after(sold, protected, with_executions=not more_follow and not hurry())
            if more_follow and not hurry():
                await self._clock.sleep(_SECOND_LOOK_S)  # reading the executions takes as long, and longer
            if not await self._stop_has_ended(protected):
                break
        result = protected_result(request, market, sold, protected, warnings=(*market.warnings, *warnings))
        if result.success:
            await self._records.all_clear(sold.ref)
        else:
            await self._records.unprotected(sold.ref, result.message)
        return result

    async def _stop_has_ended(self, protected: Protected) -> bool:
        """Whether the stop was refused, cancelled or filled since it was seen working: IBKR may take a moment.

        Source: docs/facts/orders.md §8 (Inactive follows the acknowledgement), §12.3 (c).
        """
        if protected.standing is not Standing.PROTECTED or protected.stop is None:
            return False
        now = await self._gateway.refreshed(protected.stop)
        if now.state is IntentState.ACKED:
            return False
        self._tell(StepKind.STOP, f"stop order {now.order_id} has ended: {now.state.value} {now.reason}".rstrip())
        return True

    # -- results --------------------------------------------------------------------------------------------------

    def _interrupted(self, request: SaleRequest, result: TradeResult | None, error: IbkitError | None) -> TradeResult:
        if result is not None:
            return result
        unsettled = OutcomeUnknown(
            "CRITICAL: interrupted before the sale was settled", code="E-ORD-UNKNOWN", remedy=_repeat(request)
        )
        return self._failure(request, error or unsettled)

    def _failure(self, request: SaleRequest, error: IbkitError) -> TradeResult:
        return failure(request, error, trade_id=trade_id_of(self._ref(request.key)))

    def _tell_result(self, result: TradeResult) -> None:
        self.last_result = result
        kind = StepKind.CRITICAL if result.critical else StepKind.DONE
        self._tell(kind, result.message, code=result.code, key=result.key or "")

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self._observe(Step(kind=kind, at=self._clock.now(), text=text, details=details))


def _repeat(request: SaleRequest) -> str:
    return f"Repeat with --key {request.key}: it goes on where it was and never sells twice."
