"""`ibkit trades`: the trades of the option seller, one by one and as a whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts

from ibkit.cli import context, output
from ibkit.cli.asking import day
from ibkit.cli.flags import Account, Json, flag, option
from ibkit.cli.records import trade_named
from ibkit.cli.running import go
from ibkit.errors import ConfigError
from ibkit.model import AccountId
from ibkit.settings import Settings

if TYPE_CHECKING:
    from ibkit.bootstrap.desks import Books
    from ibkit.trading import Trade

__all__ = ["app"]

app = cyclopts.App(name="trades", help="The trades of the option seller and how they went.")

_Since = Annotated[str | None, option("First day, YYYYMMDD.")]
_Until = Annotated[str | None, option("Last day, YYYYMMDD.")]
_Symbol = Annotated[str | None, option("Only of this underlying.")]
_NoDb = Annotated[bool, flag("From the file that `sell-option --no-db` writes.")]


@app.command(name="list")
def list_(
    *,
    status: Annotated[Literal["open", "closed"] | None, option("Only open or closed ones.")] = None,
    symbol: _Symbol = None,
    since: _Since = None,
    until: _Until = None,
    account: Account = None,
    no_db: _NoDb = False,
    json: Json = False,
) -> None:
    """The trades, newest first."""
    from ibkit.trading.selling.trade import TradeStatus

    query = _query(symbol, since, until, account) | ({"status": TradeStatus(status)} if status else {})

    async def work(books: Books) -> None:
        found = await books.trades.trades(**query)
        if json:
            output.emit([_row(trade) for trade in found])
            return
        rows = [
            (
                trade.trade_id[:8],
                trade.label,
                trade.quantity.normalize(),
                trade.entry_price,
                trade.stop_loss_price,
                trade.exit_price,
                trade.realized_pnl,
                _state(trade),
            )
            for trade in found
        ]
        head = ("Trade", "Option", "Quantity", "Entry", "Stop", "Exit", "Result", "State")
        output.say(output.table(head, rows, right={2, 3, 4, 5, 6}) if rows else "No trades.")

    _with_books(work, no_db=no_db)


@app.command
def show(trade_id: str, /, *, no_db: _NoDb = False, json: Json = False) -> None:
    """One trade in full, with its orders and executions. The first characters of its id will do."""

    async def work(books: Books) -> None:
        trade = await trade_named(books.trades, trade_id)
        if json:
            output.emit(_row(trade))
        else:
            output.say(_full(trade))

    _with_books(work, no_db=no_db)


@app.command
def performance(
    *,
    symbol: _Symbol = None,
    since: _Since = None,
    until: _Until = None,
    account: Account = None,
    no_db: _NoDb = False,
    json: Json = False,
) -> None:
    """Closed trades as a whole: wins, losses, total, and the days."""
    query = _query(symbol, since, until, account)

    async def work(books: Books) -> None:
        from ibkit.trading.selling.performance import performance_of
        from ibkit.trading.selling.trade import TradeStatus

        found = performance_of(await books.trades.trades(**query, status=TradeStatus.CLOSED))
        if json:
            output.emit(found)
        else:
            output.say(found.text)

    _with_books(work, no_db=no_db)


@app.command
def import_journal(
    file: Annotated[Path | None, cyclopts.Parameter(help="The file [default: the one of --no-db].")] = None,
    /,
    *,
    json: Json = False,
) -> None:
    """Store the trades that were written to a file while the database was away. Twice does no harm."""
    settings = context.load_settings(require_method=False)

    async def work(books: Books) -> None:
        from ibkit.bootstrap.desks import trades_journal_path
        from ibkit.store import import_json_lines

        source = file or trades_journal_path(settings)
        if not source.exists():
            raise ConfigError(f"{source} not found", code="E-NOT-FOUND", remedy="Name the file to import.")
        stored = await import_json_lines(source, books.trades)
        if json:
            output.emit({"file": source, "stored": stored})
        else:
            output.say(
                f"{stored} trades stored from {source}." if stored else f"All trades of {source} were there already."
            )

    _with_books(work, no_db=False, settings=settings)


def _with_books(work: Callable[[Books], Awaitable[None]], *, no_db: bool, settings: Settings | None = None) -> None:
    from ibkit.bootstrap.desks import open_books
    from ibkit.clock import SystemClock

    used = settings or context.load_settings(require_method=False)

    async def run() -> None:
        # Records are looked at without a broker, so without a simulator's hour too.
        async with open_books(used, no_db=no_db, clock=SystemClock()) as books:
            await work(books)

    go(run)


def _query(symbol: str | None, since: str | None, until: str | None, account: str | None) -> dict[str, Any]:
    query: dict[str, Any] = {}
    if symbol:
        query["symbol"] = symbol.upper()
    if account:
        query["account_id"] = AccountId(account)
    if since:
        query["since"] = datetime.combine(day("--since", since), time.min, UTC)
    if until:
        query["until"] = datetime.combine(day("--until", until), time.min, UTC) + timedelta(days=1)
    return query


def _state(trade: Trade) -> str:
    if trade.record_state.value != "complete":
        return f"{trade.status.value} ({trade.record_state.value})"
    return (
        f"{trade.status.value}, {trade.exit_reason.value.replace('_', ' ')}"
        if trade.exit_reason
        else trade.status.value
    )


def _full(trade: Trade) -> str:
    rows = [
        ("Trade", trade.trade_id),
        ("Option", f"{trade.label}, contract {trade.conid}"),
        *(
            ("Leg", f"{leg.ratio:+d} {leg.strike.normalize():f} {leg.right.value}, contract {leg.conid}")
            for leg in trade.legs
        ),
        ("Account", f"{trade.account_id} ({trade.environment.value})"),
        ("State", _state(trade)),
        ("Quantity", trade.quantity.normalize()),
        (
            "Entry",
            f"{trade.entry_price or '-'} at {_when(trade.entry_time)}, commission {trade.entry_commission or '-'}",
        ),
        ("Plan", _plan(trade)),
        ("Stop", f"{trade.stop_loss_price or '-'}, order {trade.stop_loss_order_id or '-'}"),
        ("Take profit", f"{trade.take_profit_price or '-'}, order {trade.take_profit_order_id or '-'}"),
        ("Exit", f"{trade.exit_price or '-'} at {_when(trade.exit_time)}, commission {trade.exit_commission or '-'}"),
        ("Result", trade.realized_pnl),
        ("Market then", ", ".join(f"{name} {value}" for name, value in trade.market_snapshot.items()) or "-"),
    ]
    rows += [(f"Order ({link.role.value})", f"{link.order_id or '-'}, ref {link.ref}") for link in trade.links]
    rows += [
        (
            "Execution",
            f"{fill.side.value} {fill.quantity.normalize():f} at {fill.price}, fee {fill.fee or '-'}, {_when(fill.at)}",
        )
        for fill in trade.fills
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {'-' if value is None else value}" for name, value in rows)


def _plan(trade: Trade) -> str:
    """How it is to end, in words."""
    from ibkit.cli.preview_text import exit_time

    plan = trade.exit_plan
    if plan is None:
        return "not kept (from before plans were)"
    words = [
        f"stop at {plan.stop_multiple.normalize():f} x entry" if plan.stop_multiple is not None else "",
        f"stop trailing by {plan.trail.label}" if plan.trail is not None else "",
        f"take profit at {plan.take_profit.normalize():f} x entry" if plan.take_profit is not None else "",
        f"exit at {exit_time(plan.exit_at)}" if plan.exit_at is not None else "",
        f"stop missing: {plan.on_missing.value}",
    ]
    return ", ".join(word for word in words if word)


def _when(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _row(trade: Trade) -> dict[str, Any]:
    """The columns of OPT-07, with the orders and executions."""
    return {
        "trade_id": trade.trade_id,
        "account_id": trade.account_id,
        "environment": trade.environment,
        "symbol": trade.symbol,
        "conid": trade.conid,
        "strike_price": trade.strike_price,
        "option_type": trade.option_type,
        "expiration": trade.expiration,
        "quantity": trade.quantity,
        "status": trade.status,
        "record_state": trade.record_state,
        "ibkr_order_id": trade.ibkr_order_id,
        "ibkr_exec_id": trade.ibkr_exec_id,
        "ibkr_perm_id": trade.ibkr_perm_id,
        "entry_time": trade.entry_time,
        "entry_price": trade.entry_price,
        "entry_commission": trade.entry_commission,
        "stop_loss_order_id": trade.stop_loss_order_id,
        "stop_loss_price": trade.stop_loss_price,
        "take_profit_order_id": trade.take_profit_order_id,
        "take_profit_price": trade.take_profit_price,
        "exit_time": trade.exit_time,
        "exit_price": trade.exit_price,
        "exit_commission": trade.exit_commission,
        "exit_reason": trade.exit_reason,
        "realized_pnl": trade.realized_pnl,
        "market_snapshot": trade.market_snapshot,
        "exit_plan": trade.exit_plan,
        "legs": trade.legs,
        "links": trade.links,
        "executions": trade.fills,
        "created_at": trade.created_at,
        "updated_at": trade.updated_at,
    }
