"""`ibkit orders`: what stands at the broker, and changing it through the one door."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import confirmed, day, number, wrong
from ibkit.cli.flags import Account, ByUser, Compete, Json, Live, Yes, YesLive, flag, option
from ibkit.cli.running import go, signed_in
from ibkit.cli.tables import orders_table
from ibkit.cli.ticketing import ORDER_TYPES, Wish
from ibkit.errors import IbkitError, NotFound, TradingError
from ibkit.model import Contract, Order, OrderId, OrderTicket, OrderType, Right, SecType, TimeInForce, Trail

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Desk

__all__ = ["app"]

app = cyclopts.App(name="orders", help="List, show, place, cancel or modify orders.")

_KEY = "Names this change; the same key never acts twice [default: a new one]."


@app.command(name="list")
def list_(
    *,
    account: Account = None,
    working: Annotated[bool, flag("Only those that still work.")] = False,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> None:
    """The orders of today and those still working, as the broker lists them."""
    settings = context.load_settings({"IBKR_ACCOUNT_ID": account}, by=by)

    async def work() -> None:
        from ibkit.client import IbkrBroker

        async with signed_in(settings, compete=compete) as ib:
            broker, account_id = IbkrBroker(ib), await ib.selected_account()
            read = await broker.read_orders(account_id)
            if read.first or not read.complete:
                # The first read of a session proves nothing. Source: docs/facts/orders.md §9.
                read = await broker.read_orders(account_id)
        orders = [order for order in read.orders if order.status.working or not working]
        if json:
            output.emit(orders)
        else:
            output.say(orders_table(orders) if orders else "No orders.")
        if not read.complete:
            output.warn("note: IBKR did not call this list complete; look again in a few seconds")

    go(work)


@app.command
def show(
    order_id: str, /, *, account: Account = None, compete: Compete = False, by: ByUser = None, json: Json = False
) -> None:
    """One order in full."""
    settings = context.load_settings({"IBKR_ACCOUNT_ID": account}, by=by)

    async def work() -> None:
        async with signed_in(settings, compete=compete) as ib:
            found = await ib.order(OrderId(order_id))
        if found is None:
            raise _unknown(order_id)
        if json:
            output.emit(found)
            return
        rows = [
            ("Order", found.order_id),
            ("Account", found.account_id),
            ("Status", found.raw_status + (" (parked behind a question)" if found.parked else "")),
            ("What", found.description or found.conid),
            ("Side, type", f"{found.side.value} {found.order_type} {found.tif}"),
            ("Quantity", f"{found.total.normalize():f}, filled {found.filled.normalize():f}"),
            ("Average", found.average_price),
            ("Limit, stop", f"{found.limit_price or '-'}, {found.stop_price or '-'}"),
            ("Reason", found.reason),
            ("Our ref", found.ref),
        ]
        output.say(output.table(("", ""), rows).lstrip("\n"))

    go(work)


@app.command
def place(
    side: Annotated[str, cyclopts.Parameter(help="buy or sell.")],
    quantity: Annotated[str, cyclopts.Parameter(help="Shares or contracts.")],
    symbol: Annotated[str, cyclopts.Parameter(help="Of the stock, or of an option's underlying.")],
    /,
    *,
    type: Annotated[str | None, option(f"{', '.join(ORDER_TYPES)} [default: by the prices].")] = None,  # noqa: A002
    limit_price: Annotated[str | None, option("The limit; of a spread what it costs, negative for a credit.")] = None,
    stop_price: Annotated[str | None, option("The trigger.")] = None,
    trail: Annotated[str | None, option("How far a stop trails: 0.50, or 5%.")] = None,
    offset: Annotated[str | None, option("Of a relative order: how far inside the best price.")] = None,
    take_profit: Annotated[str | None, option("Bracket: a limit order here once it fills.")] = None,
    stop_loss: Annotated[str | None, option("Bracket: a stop order here once it fills.")] = None,
    tif: Annotated[str, option("day, gtc, ioc or opg.")] = "day",
    outside_rth: Annotated[bool, flag("May fill outside regular hours.")] = False,
    expiry: Annotated[str | None, option("Of an option, YYYYMMDD.")] = None,
    strike: Annotated[str | None, option("Of an option.")] = None,
    long_strike: Annotated[str | None, option("Makes it a spread: --strike against this one.")] = None,
    right: Annotated[str | None, option("Of an option: P or C.")] = None,
    account: Account = None,
    live: Live = False,
    yes_live: YesLive = None,
    yes: Yes = False,
    dry_run: Annotated[bool, flag("IBKR's preview, and nothing sent.")] = False,
    key: Annotated[str | None, option(_KEY)] = None,
    confirm: Annotated[tuple[str, ...], option("Message id of a question to answer with yes.")] = (),
    allow_duplicate: Annotated[bool, flag("Also where the same order was placed seconds ago.")] = False,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Place an order, or a bracket, at most once for its key.

    ibkit orders place buy 10 SPY --limit-price 629.50 --take-profit 640 --stop-loss 620
    """
    wish = Wish.read(
        side,
        quantity,
        symbol,
        kind=type,
        limit_price=limit_price,
        stop_price=stop_price,
        trail=trail,
        offset=offset,
        tif=tif,
        outside_rth=outside_rth,
        expiry=expiry,
        strike=strike,
        long_strike=long_strike,
        right=right,
        take_profit=take_profit,
        stop_loss=stop_loss,
    )

    async def work(desk: Desk) -> int:
        from ibkit.cli.desk import key_or_new
        from ibkit.cli.order_text import placed, previewed
        from ibkit.trading.groups import check_group
        from ibkit.trading.ref import own_key

        ticket, others = await wish.tickets(desk)
        check_group(ticket, others, wish.group)
        if dry_run or not (yes or json or not sys.stdin.isatty()):
            preview = await desk.broker.preview(ticket)
            previewed(ticket, others, preview, json=json)
            if dry_run:
                return 5 if preview.error else 0
            if not confirmed("Send it? [y/N] "):
                output.warn("Nothing was sent.")
                return 5
        named = key_or_new(key, desk)
        with context.placing(own_key(named)):
            outcome = await desk.gateway.submit(
                ticket,
                key=named,
                others=others,
                group=wish.group,
                confirm=confirm,
                allow_duplicate=allow_duplicate,
            )
        return placed(outcome, json=json)

    from ibkit.cli.desk import at_desk

    return at_desk(work, account=account, live=live, yes_live=yes_live, compete=compete, json=json, by=by)


@app.command
def questions(*, json: Json = False) -> None:
    """IBKR's questions by id: what each means, and what ibkit answers to it."""
    from ibkit.trading.questions import QUESTIONS, standing_answer

    allowed = context.load_settings(require_method=False).trading.auto_confirm

    if json:
        output.emit(
            [
                {
                    "id": known.message_id,
                    "meaning": known.meaning,
                    "tied_to": known.tied_to or None,
                    "answer": standing_answer(known, allowed),
                }
                for known in QUESTIONS.values()
            ]
        )
        return
    rows = [(known.message_id, standing_answer(known, allowed), known.meaning) for known in QUESTIONS.values()]
    output.say(output.table(("Id", "Answer", "Meaning"), rows))
    output.say("Any other question is shown to you, or declined where nobody is there. o403 is not answered on live.")


@app.command
def cancel(
    order_id: Annotated[str | None, cyclopts.Parameter(help="The broker's number of the order.")] = None,
    /,
    *,
    all: Annotated[bool, flag("Every working order of the account; needs --yes.")] = False,  # noqa: A002
    account: Account = None,
    live: Live = False,
    yes_live: YesLive = None,
    yes: Yes = False,
    key: Annotated[str | None, option(_KEY)] = None,
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Cancel an order and wait for its end: cancelled, or filled after all."""
    if (order_id is None) is not all:
        raise wrong("order", "give the number of one order, or --all")
    if all and not yes:
        raise wrong("--all", "it cancels the stops that protect positions, too; repeat with --yes")

    async def work(desk: Desk) -> int:
        if order_id is None:
            from ibkit.cli.desk import key_or_new
            from ibkit.cli.order_text import cancelled_all

            return cancelled_all(await desk.gateway.cancel_all(desk.account_id, key=key_or_new(key, desk)), json=json)
        result = await _cancel_one(desk, OrderId(order_id), key)
        if json:
            output.emit(result)
        else:
            output.say(str(result["message"]))
        return int(str(result["exit_code"]))

    from ibkit.cli.desk import at_desk

    return at_desk(work, account=account, live=live, yes_live=yes_live, compete=compete, json=json, by=by)


@app.command
def modify(
    order_id: Annotated[str, cyclopts.Parameter(help="The broker's number of the order.")],
    /,
    *,
    quantity: Annotated[str | None, option("The new quantity.")] = None,
    limit_price: Annotated[str | None, option("The new limit price.")] = None,
    stop_price: Annotated[str | None, option("The new stop price.")] = None,
    account: Account = None,
    live: Live = False,
    yes_live: YesLive = None,
    key: Annotated[str | None, option(_KEY)] = None,
    confirm: Annotated[tuple[str, ...], option("Message id of a question to answer with yes.")] = (),
    compete: Compete = False,
    by: ByUser = None,
    json: Json = False,
) -> int:
    """Change the quantity or a price of a working order."""
    changes = {"quantity": quantity, "limit_price": limit_price, "stop_price": stop_price}
    given = {name: number(f"--{name.replace('_', '-')}", text) for name, text in changes.items() if text is not None}
    if not given:
        raise wrong("order", "nothing to change: give --quantity, --limit-price or --stop-price")
    for name, value in given.items():
        if value <= 0:
            raise wrong(f"--{name.replace('_', '-')}", f"{value} is not above 0")

    async def work(desk: Desk) -> int:
        from ibkit.cli.desk import key_or_new

        order = await desk.client.order(OrderId(order_id))
        if order is None:
            raise _unknown(order_id)
        ticket = await _changed(desk, order, given)
        outcome = await desk.gateway.modify(order.order_id, ticket, key=key_or_new(key, desk), confirm=confirm)
        outcome.require()
        if json:
            output.emit({"order_id": order.order_id, "state": outcome.state.value, "ticket": ticket.label})
        else:
            output.say(f"Order {order.order_id} is now: {ticket.label}")
        return 0

    from ibkit.cli.desk import at_desk

    return at_desk(work, account=account, live=live, yes_live=yes_live, compete=compete, json=json, by=by)


async def _changed(desk: Desk, order: Order, given: dict[str, Decimal]) -> OrderTicket:
    """The order as a ticket in full, with the changes: what a change leaves out would count as changed, too."""
    try:
        kind, tif = OrderType(order.order_type), TimeInForce(order.tif.upper() or "DAY")
    except ValueError:
        raise TradingError(
            f"Order {order.order_id} is of a kind that cannot be modified here: {order.order_type} {order.tif}",
            code="E-ORD-REJECT",
            remedy="Change it in IBKR's own order window, or cancel it and place a new one.",
        ) from None
    contract = await _contract_of(desk, order)
    try:
        return OrderTicket(
            account_id=order.account_id,
            contract=contract,
            side=order.side,
            order_type=kind,
            quantity=given.get("quantity", order.total),
            limit_price=given.get("limit_price", order.limit_price),
            stop_price=given.get("stop_price", order.stop_price),
            tif=tif,
            trail=await _trail_of(desk, order),
        )
    except ValueError as error:
        raise wrong("order", str(error)) from None


async def _trail_of(desk: Desk, order: Order) -> Trail | None:
    """How far the order trails: IBKR's list does not say it, the journal does where the order is ours."""
    intent = await desk.books.journal.by_order(order.account_id, order.order_id)
    return None if intent is None or intent.planned.ticket is None else intent.ticket.trail


async def _cancel_one(desk: Desk, order_id: OrderId, key: str | None) -> dict[str, object]:
    """What became of one cancel. An order that is filled, or unknown, is an error in the broker's words."""
    from ibkit.cli.desk import key_or_new
    from ibkit.trading import IntentState

    outcome = await desk.gateway.cancel(desk.account_id, order_id, key=key_or_new(key, desk))
    outcome.require()
    intent = outcome.intent
    match outcome.state:
        case IntentState.CANCELLED:
            filled = f"; {intent.filled.normalize():f} of it had filled before" if intent.filled else ""
            message, code, exit_code = f"Order {order_id} is cancelled{filled}.", None, 0
        case IntentState.FILLED:
            price = f" at {intent.average_price}" if intent.average_price is not None else ""
            message, code, exit_code = (
                f"Order {order_id} was filled{price} before it could be cancelled.",
                "E-ORD-REJECT",
                5,
            )
        case _:
            message = (
                f"IBKR took the cancel of order {order_id}, but has not said its end; look at `ibkit orders show`."
            )
            code, exit_code = "E-ORD-UNKNOWN", 7
    if code is not None:
        output.report(IbkitError(message, code=code), json=False)
    return {"order_id": order_id, "state": outcome.state.value, "message": message, "exit_code": exit_code}


async def _contract_of(desk: Desk, order: Order) -> Contract:
    """The order's contract: from the journal where the order is ours, else from IBKR's description of it."""
    intent = await desk.books.journal.by_order(order.account_id, order.order_id)
    if intent is not None and intent.planned.ticket is not None:
        return intent.ticket.contract
    info = await desk.client.contract_info(order.conid)
    kinds = {kind.value: kind for kind in SecType}
    rights = {"P": Right.PUT, "C": Right.CALL, "PUT": Right.PUT, "CALL": Right.CALL}
    return Contract(
        conid=order.conid,
        symbol=info.symbol or str(order.conid),
        sec_type=kinds.get(info.instrument_type or "", SecType.OTHER),
        currency=info.currency or "USD",
        multiplier=Decimal(str(info.multiplier)) if info.multiplier else Decimal(1),
        expiry=day("expiry", info.maturity_date) if info.maturity_date else None,
        strike=Decimal(str(info.strike)) if info.strike else None,
        right=rights.get((info.right or "").upper()),
        trading_class=info.trading_class,
    )


def _unknown(order_id: str) -> NotFound:
    return NotFound(
        f"Order {order_id} is not known to IBKR",
        code="E-NOT-FOUND",
        remedy="`ibkit orders list` shows the orders of today and those still working.",
    )
