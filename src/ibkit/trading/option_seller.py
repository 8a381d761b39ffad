"""Selling an option and protecting it with a stop, from the contract to the working stop.

    contract → strike and quote checks → record (pending) → SELL → fill, or the rest cancelled
             → BUY STP from the average fill → working → record (complete) → executions

From the entry order on, the way runs to its end even when the caller is cancelled: it then hurries, cancels what
has not filled, and still places the stop. Source: requirements TRD-13 to TRD-16, OPT-03, OPT-04, OPT-07.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import anyio

from ibkit.clock import Clock
from ibkit.errors import IbkitError, OutcomeUnknown, StorageError
from ibkit.model import (
    AccountId,
    Contract,
    Increments,
    Key,
    OrderTicket,
    OrderType,
    Quote,
    Ref,
    Side,
)
from ibkit.trading.gateway import OrderGateway
from ibkit.trading.intent import Intent, IntentState
from ibkit.trading.ports import Alerts, Broker, Trades
from ibkit.trading.protection import STOP_TRIES, Protected, Protection, Standing
from ibkit.trading.ref import check_key, derive_ref, make_key
from ibkit.trading.risk import Facts
from ibkit.trading.sale import (
    Number,
    OnStopFailure,
    SaleRequest,
    check_last_minute,
    check_quote,
    check_strike,
    entry_ticket,
    request_of,
    stop_price,
    trade_id_of,
)
from ibkit.trading.sale_records import SaleRecords
from ibkit.trading.sale_result import (
    closed_result,
    failure,
    named,
    numbers,
    planned_entry,
    preview_figures,
    protected_result,
    rejected,
)
from ibkit.trading.timeline import Observer, Step, StepKind, unobserved
from ibkit.trading.trade import RecordState, TradeResult, TradeStatus

__all__ = ["OptionSeller"]

log = logging.getLogger(__name__)

HURRY_S = 120.0
"""How long a cancelled sale may go on to protect what it sold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Market:
    """What was read before the sale."""

    contract: Contract
    quote: Quote
    quote_at: datetime
    underlying_price: Decimal | None
    sell_grid: Increments
    buy_grid: Increments
    warnings: tuple[str, ...] = ()

    @property
    def snapshot(self) -> Mapping[str, str]:
        """Column market_snapshot of the record."""
        prices = {
            "bid": self.quote.bid,
            "ask": self.quote.ask,
            "last": self.quote.last,
            "underlying_price": self.underlying_price,
        }
        known = {name: f"{price:f}" for name, price in prices.items() if price is not None}
        return {**known, "availability": self.quote.availability.value}


_SUGGESTED_FROM = 8
"""Strikes around the market that a suggestion is made from: each costs a look-up at IBKR."""


_SECOND_LOOK_S = 1.0
"""A stop that is refused late is refused within about half a second. Source: docs/facts/orders.md §8."""


class _Hurry:
    """Set when the caller was cancelled: waits end, protection goes on."""

    def __init__(self) -> None:
        self.now = False

    def __call__(self) -> bool:
        return self.now


class OptionSeller:
    """Sells options of one account and protects each with a stop at the broker.

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
        self._broker = broker
        self._gateway = gateway
        self._clock = clock
        self._account_id = account_id
        self._random = random
        self._fill_timeout_s = fill_timeout_s
        self._max_strike_distance_pct = max_strike_distance_pct
        self._observe = observe
        self._records = SaleRecords(
            broker=broker,
            trades=trades,
            alerts=alerts,
            clock=clock,
            account_id=account_id,
            environment=gateway.environment,
            observe=observe,
        )
        self.last_result: TradeResult | None = None
        """Of the sale before, also where a cancellation kept it from being returned."""
        self._protection = Protection(gateway=gateway, clock=clock, fill_timeout_s=fill_timeout_s, observe=observe)

    async def sell_option_with_stop(
        self,
        symbol: str,
        strike: Number,
        right: str,
        stop_multiple: Number = 3.0,
        quantity: int = 1,
        expiry: str | date | None = None,
        *,
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

    # -- before the order -----------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Read and record the executions of sales that were followed by others."""
        await self._records.catch_up()

    async def _sell(self, request: SaleRequest, *, more_follow: bool) -> TradeResult:
        known = None if request.dry_run else await self._gateway.find(request.key)
        try:
            market = await (self._look(request) if known is None else self._resumed(request, known))
            ticket = entry_ticket(request, market.contract, self._account_id, market.sell_grid)
            if request.dry_run:
                return await self._preview(request, market, ticket)
            trade = await self._records.before(
                ticket, key=request.key, ref=self._ref(request.key), snapshot=market.snapshot
            )
        except IbkitError as error:
            if known is None or not _may_have_sold(known):
                raise
            raise OutcomeUnknown(
                f"CRITICAL: {known.label} was sent by an earlier run ({known.state.value}) and could not be looked "
                f"after: {error.message}",
                code="E-ORD-UNKNOWN",
                remedy=f"Repeat with --key {request.key}: it goes on where it was and never sells twice.",
            ) from error
        if trade.record_state is RecordState.COMPLETE and trade.status is TradeStatus.CLOSED:
            return closed_result(request, trade)
        return await self._unbroken(request, lambda hurry: self._held_to(request, market, ticket, hurry, more_follow))

    async def _look(self, request: SaleRequest) -> _Market:
        """Contract, underlying, strike and quote: everything that may still say no without an order."""
        check_last_minute(request, self._clock.now())
        contract = await self._broker.option(
            request.symbol, expiry=request.expiry, strike=request.strike, right=request.right
        )
        self._tell(StepKind.CONTRACT, f"{contract.label} is contract {contract.conid}", conid=str(contract.conid))
        underlying = await self._broker.underlying(request.symbol)
        spot = (await self._broker.quote(underlying.conid)).best
        warning = await self._checked_strike(request, spot)
        sell_grid = await self._broker.increments(contract, side=Side.SELL)
        buy_grid = await self._broker.increments(contract, side=Side.BUY)
        quote = await self._broker.quote(contract.conid)
        check_quote(request, quote)
        market = _Market(
            contract=contract,
            quote=quote,
            quote_at=self._clock.now(),
            underlying_price=spot,
            sell_grid=sell_grid,
            buy_grid=buy_grid,
            warnings=tuple(filter(None, (warning,))),
        )
        text = f"bid {quote.bid}, ask {quote.ask}; {request.symbol} at {spot}"
        self._tell(StepKind.QUOTE, text, **market.snapshot)
        return market

    async def _checked_strike(self, request: SaleRequest, spot: Decimal | None) -> str:
        try:
            return check_strike(request, underlying=spot, strikes=(), most_pct=self._max_strike_distance_pct)
        except IbkitError as error:
            if error.code != "E-STRIKE-GUARD":
                raise
        # Only a refused strike is worth the walk through the chain: the suggestion is made from it.
        listed = await self._broker.option_strikes(
            request.symbol, expiry=request.expiry, right=request.right, near=spot, at_most=_SUGGESTED_FROM
        )
        strikes = tuple(contract.strike for contract in listed if contract.strike is not None)
        return check_strike(request, underlying=spot, strikes=strikes, most_pct=self._max_strike_distance_pct)

    async def _resumed(self, request: SaleRequest, known: Intent) -> _Market:
        """The market of a sale that was begun: no check may stop it from being protected now."""
        contract = known.ticket.contract
        asked = (request.symbol, request.strike, request.right, request.expiry)
        if (contract.symbol, contract.strike, contract.right, contract.expiry) != asked:
            contract = await self._broker.option(
                request.symbol, expiry=request.expiry, strike=request.strike, right=request.right
            )
        self._tell(StepKind.RECOVERY, f"this key is known: {known.label} is {known.state.value}", ref=known.ref)
        return _Market(
            contract=contract,
            quote=Quote(conid=contract.conid),
            quote_at=self._clock.now(),
            underlying_price=None,
            sell_grid=await self._broker.increments(contract, side=Side.SELL),
            buy_grid=await self._broker.increments(contract, side=Side.BUY),
        )

    async def _preview(self, request: SaleRequest, market: _Market, ticket: OrderTicket) -> TradeResult:
        preview = await self._broker.preview(ticket)
        entry = ticket.limit_price or market.quote.bid
        assert entry is not None, "a usable quote has a bid"
        details = {**market.snapshot, **preview_figures(preview)}
        self._tell(StepKind.PREVIEW, "preview by IBKR, nothing sent", **details)
        message = f"Dry run: would sell {request.quantity.normalize():f} {market.contract.label} at about {entry}"
        refused = preview.error is not None
        return TradeResult(
            success=not refused,
            **named(request, market.contract),
            **numbers(request, market.contract, market.buy_grid, entry, request.quantity),
            message=f"Order would be rejected by IBKR: {preview.error}" if refused else message,
            code="E-ORD-REJECT" if refused else "",
            remedy="Change the order as the reason says." if refused else "",
            dry_run=True,
            warnings=(*market.warnings, *preview.warnings),
            details=details,
        )

    def _ref(self, key: Key) -> Ref:
        return derive_ref(tenant=self._gateway.tenant, environment=self._gateway.environment, key=key)

    # -- from the order on ----------------------------------------------------------------------------------------

    async def _unbroken(self, request: SaleRequest, work: Callable[[_Hurry], Awaitable[TradeResult]]) -> TradeResult:
        """`work` to its end. A cancellation only makes it hurry; its result is then told before it goes on."""
        hurry, done = _Hurry(), anyio.Event()
        scope = anyio.CancelScope(shield=True)
        results: list[TradeResult] = []
        errors: list[IbkitError] = []

        async def run() -> None:
            try:
                with scope:
                    results.append(await work(hurry))
            except IbkitError as error:
                errors.append(error)
            finally:
                done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            try:
                await done.wait()
            except BaseException:
                hurry.now = True
                scope.deadline = anyio.current_time() + HURRY_S
                self._tell(StepKind.CRITICAL, "interrupted: protecting what was sold before leaving")
                with anyio.CancelScope(shield=True):
                    await done.wait()
                self._tell_result(self._interrupted(request, results, errors))
                raise
        if errors:
            raise errors[0]
        return results[0]

    def _interrupted(self, request: SaleRequest, results: list[TradeResult], errors: list[IbkitError]) -> TradeResult:
        if results:
            return results[0]
        error = (
            errors[0]
            if errors
            else OutcomeUnknown(
                "CRITICAL: interrupted before the sale was settled",
                code="E-ORD-UNKNOWN",
                remedy=f"Repeat with --key {request.key}: it goes on where it was and never sells twice.",
            )
        )
        return self._failure(request, error)

    async def _held_to(
        self, request: SaleRequest, market: _Market, ticket: OrderTicket, hurry: _Hurry, more_follow: bool
    ) -> TradeResult:
        """`_carry_out`; a mistake of our own in the middle of a sale is told as what it leaves behind, too."""
        try:
            return await self._carry_out(request, market, ticket, hurry, more_follow)
        except Exception as error:
            if isinstance(error, IbkitError):
                raise
            known = await self._gateway.find(request.key)
            if known is None or not _may_have_sold(known):
                raise
            log.exception("a sale broke off", extra={"ref": known.ref})
            message = (
                f"CRITICAL: {known.label} ({known.state.value}): ibkit broke off with {type(error).__name__}; what was "
                "sold may have no stop"
            )
            await self._records.unprotected(known.ref, message)
            raise OutcomeUnknown(
                message,
                code="E-ORD-UNKNOWN",
                remedy=f"Repeat with --key {request.key}: it goes on where it was and never sells twice.",
            ) from error

    async def _carry_out(
        self, request: SaleRequest, market: _Market, ticket: OrderTicket, hurry: _Hurry, more_follow: bool
    ) -> TradeResult:
        entry = await self._enter(request, market, ticket, hurry)
        if isinstance(entry, TradeResult):
            return entry
        entry = await self._priced(entry, market)
        average = entry.average_price
        self._tell(
            StepKind.FILL,
            f"sold {entry.filled.normalize():f} of {request.quantity.normalize():f} at {average}",
            order=entry.order_id or "",
            price="" if average is None else f"{average:f}",
        )
        stop = None if average is None else stop_price(average, request.stop_multiple, market.buy_grid)
        warnings: tuple[str, ...] = ()
        for _ in range(STOP_TRIES + 1):
            protected = await self._protection.protect(
                entry,
                stop=stop,
                increments=market.buy_grid,
                on_failure=request.on_stop_failure,
                confirm=request.confirm,
                hurried=hurry,
            )
            if not hurry():
                await self._records.start_lists()
            warnings = await self._records.after(entry, protected, with_executions=not more_follow and not hurry())
            if more_follow and not hurry():
                await self._clock.sleep(_SECOND_LOOK_S)  # reading the executions takes as long, and longer
            if not await self._stop_has_ended(protected):
                break
        return await self._result(request, market, entry, protected, (*market.warnings, *warnings))

    async def _stop_has_ended(self, protected: Protected) -> bool:
        """Whether the stop was refused, cancelled or filled since it was seen working: IBKR may take a moment.

        Source: docs/facts/orders.md §8 (Inactive follows the acknowledgement), §12.3 (c).
        """
        if protected.standing is not Standing.PROTECTED or protected.stop is None:
            return False
        now = await self._gateway.tracker.refresh(protected.stop)
        if now.state is IntentState.ACKED:
            return False
        self._tell(StepKind.STOP, f"stop order {now.order_id} has ended: {now.state.value} {now.reason}".rstrip())
        return True

    async def _priced(self, entry: Intent, market: _Market) -> Intent:
        """`entry` with the average price of what it sold; without one only where nobody can say it."""
        if entry.average_price is not None:
            return entry
        average = await self._records.average_of(entry) or entry.ticket.limit_price or market.quote.bid
        if average is None:
            try:
                average = (await self._broker.quote(market.contract.conid)).best
            except IbkitError as error:
                self._tell(StepKind.FILL, f"IBKR says no price of what was sold, nor a quote: {error.message}")
        return dataclasses.replace(entry, average_price=average)

    async def _enter(
        self, request: SaleRequest, market: _Market, ticket: OrderTicket, hurry: _Hurry
    ) -> Intent | TradeResult:
        """The entry order once it is over and has sold something, or the result of having sold nothing (surely)."""
        planned = planned_entry(request, market.quote)
        facts = Facts(
            quote=market.quote if market.quote.usable else None,
            quote_at=market.quote_at if market.quote.usable else None,
            increments=market.sell_grid,
            underlying_price=market.underlying_price,
            planned_stop=None if planned is None else stop_price(planned, request.stop_multiple, market.buy_grid),
        )
        try:
            outcome = await self._gateway.submit(
                ticket, key=request.key, confirm=request.confirm, purpose="entry", facts=facts
            )
        except IbkitError as error:
            await self._sold_nothing(request, error)
            raise
        entry = outcome.intent
        if not outcome.accepted:
            refusal = outcome.error
            assert refusal is not None, "what was not accepted has its reason"
            await self._sold_nothing(request, refusal)
            raise refusal
        if entry.state is IntentState.ACKED:
            entry = await self._gateway.wait_for_fill(entry, within_s=self._fill_timeout_s, hurried=hurry)
        late = not entry.final
        if late:
            entry = await self._cancel_rest(entry)
        if entry.filled == 0:
            return await self._nothing_sold(request, entry, late=late)
        if not entry.final:
            message = f"CRITICAL: {entry.label}: the rest could not be cancelled and may still fill unprotected"
            self._tell(StepKind.CRITICAL, message)
            await self._records.unprotected(entry.ref, message)
        return entry

    async def _cancel_rest(self, entry: Intent) -> Intent:
        status = entry.order_status.value if entry.order_status else ""
        share = f"{entry.filled.normalize():f} of {entry.ticket.quantity.normalize():f}"
        self._tell(StepKind.CANCEL, f"filled {share} in time (status {status}): cancelling the rest")
        try:
            return await self._gateway.cancel_rest(entry)
        except IbkitError as error:
            self._tell(StepKind.CANCEL, f"the cancel failed: {error.message}")
        return await self._gateway.wait_for_fill(entry, within_s=5.0)

    async def _sold_nothing(self, request: SaleRequest, error: IbkitError) -> None:
        """Closes the pending record, unless an order of this key may be alive: another run's, or on other terms."""
        try:
            known = await self._gateway.find(request.key)
        except StorageError:
            return
        if known is None or not _may_have_sold(known):
            await self._records.sold_nothing(self._ref(request.key), error)

    async def _nothing_sold(self, request: SaleRequest, entry: Intent, *, late: bool) -> TradeResult:
        """late: we cancelled it for its time, so what the broker says of its end is our doing, no refusal."""
        if entry.final and entry.state is not IntentState.UNKNOWN_NEEDS_HUMAN:
            if entry.state is IntentState.REJECTED_LATE or (entry.reason and not late):
                raise rejected(entry)
            status = entry.order_status.value if entry.order_status else ""
            error = IbkitError(
                f"Order not filled within {self._fill_timeout_s:g} s (status {status})", code="E-ORD-TIMEOUT"
            )
        else:
            error = OutcomeUnknown(
                f"CRITICAL: {entry.label} is order {entry.order_id}: it did not fill in time and its cancel is not "
                "confirmed; it may still fill unprotected",
                code="E-ORD-UNKNOWN",
            )
            await self._records.unprotected(entry.ref, error.message)
        await self._sold_nothing(request, error)
        result = self._failure(request, error)
        return dataclasses.replace(result, order_id=entry.order_id, contract_id=entry.ticket.contract.conid)

    # -- results --------------------------------------------------------------------------------------------------

    async def _result(
        self, request: SaleRequest, market: _Market, entry: Intent, protected: Protected, warnings: tuple[str, ...]
    ) -> TradeResult:
        result = protected_result(
            request,
            market.contract,
            market.buy_grid,
            entry,
            protected,
            warnings=warnings,
            details=dict(market.snapshot),
        )
        if result.success:
            await self._records.all_clear(entry.ref)
        else:
            await self._records.unprotected(entry.ref, result.message)
        return result

    def _failure(self, request: SaleRequest, error: IbkitError) -> TradeResult:
        return failure(request, error, trade_id=trade_id_of(self._ref(request.key)))

    def _tell_result(self, result: TradeResult) -> None:
        self.last_result = result
        kind = StepKind.CRITICAL if result.critical else StepKind.DONE
        self._tell(kind, result.message, code=result.code, key=result.key or "")

    def _tell(self, kind: StepKind, text: str, **details: str) -> None:
        self._observe(Step(kind=kind, at=self._clock.now(), text=text, details=details))


def _may_have_sold(entry: Intent) -> bool:
    """Whether the journal cannot exclude that this entry has sold, or will yet sell, something."""
    alive = entry.state in (IntentState.ACKED, IntentState.UNKNOWN_NEEDS_HUMAN) or entry.state.may_have_left
    return alive or entry.filled > 0
