"""`ibkit auth test`, step by step: each says OK, WARN or FAIL; no order is ever sent. Requirement TST-03."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from ibkit.error_catalogue import CATALOGUE
from ibkit.errors import IbkitError
from ibkit.model import AccountId, AuthMethod, Contract, OrderTicket, OrderType, Right, Side
from ibkit.upkeep.checks import Check, Mark, check_all
from ibkit.wire.endpoint import Needs

if TYPE_CHECKING:
    from ibkit.client import Client
    from ibkit.settings import Settings

__all__ = ["Report", "self_test"]

T = TypeVar("T")
_NEW_YORK = ZoneInfo("America/New_York")
_OPEN, _CLOSE = time(9, 30), time(16, 0)
_SYMBOL = "SPY"
_TITLES = {"oauth": "token", "sso": "SSO session", "validate": "login validated", "init": "brokerage session"}
_GATEWAY_TITLES = _TITLES | {"oauth": "gateway", "sso": "gateway login"}


class _Stop(Exception):
    """What follows would mean nothing; the reason is in the report already."""


@dataclass(slots=True)
class Report:
    """tell: called with each step as it ends."""

    tell: Callable[[Check], None]
    steps: list[Check] = field(default_factory=list)

    def note(self, step: Check) -> None:
        self.steps.append(step)
        self.tell(step)

    def ok(self, name: str, said: str) -> None:
        self.note(Check(name, Mark.OK, said))

    def skip(self, name: str, said: str) -> None:
        self.note(Check(name, Mark.SKIP, said))

    def trouble(self, name: str, error: IbkitError, *, mark: Mark = Mark.FAIL) -> None:
        self.note(Check(name, mark, error.message, error.code, error.remedy))

    @property
    def first_failure(self) -> Check | None:
        return next((step for step in self.steps if step.mark is Mark.FAIL), None)

    @property
    def exit_code(self) -> int:
        failure = self.first_failure
        return 0 if failure is None else CATALOGUE[failure.code or "E-INTERNAL"].exit

    @property
    def verdict(self) -> str:
        failure = self.first_failure
        if failure is not None:
            return f"Failed at: {failure.name}"
        warnings = sum(step.mark is Mark.WARN for step in self.steps)
        return "All tests passed" + (f", with {warnings} warning{'s' * (warnings > 1)}" if warnings else "") + "."


async def self_test(
    settings: Settings, report: Report, open_: Callable[[], Client], *, now: Callable[[], datetime]
) -> None:
    """Runs the steps in order and notes each; raises nothing that a broker or a file can cause.

    open_: makes a client that signs in when it is told to.
    """
    try:
        _look_at_files(settings, report, now())
        ib = _made(report, open_)
        async with ib:
            await _sign_in(ib, report)
            accounts = await _accounts(ib, report)
            await _market(ib, report, accounts[0], now())
    except _Stop:
        return


def _look_at_files(settings: Settings, report: Report, now: datetime) -> None:
    """The checks of `ibkit verify`; those that hold are one line together."""
    checks = check_all(settings, now=now)
    for check in checks:
        if check.mark is Mark.FAIL:
            report.note(check)
    if any(check.mark is Mark.FAIL for check in checks):
        raise _Stop
    passed = sum(check.mark is Mark.OK for check in checks)
    where = "" if settings.mock else f"{settings.method.value} at {settings.address.base}, "
    report.ok("settings and keys", f"{where}{settings.environment.value}; {passed} checks")


def _made(report: Report, open_: Callable[[], Client]) -> Client:
    try:
        return open_()
    except IbkitError as error:
        report.trouble("settings and keys", error)
        raise _Stop from error


async def _sign_in(ib: Client, report: Report) -> None:
    """Token flow and brokerage session, as the keeper's four steps tell them."""
    told: set[str] = set()
    for level in (Needs.OUTER_SESSION, Needs.BROKERAGE_SESSION):
        try:
            await ib.connect(upto=level)
        except IbkitError as error:
            _tell_steps(ib, told, report, error)
            if report.first_failure is None:
                report.trouble("sign-in", error)
            raise _Stop from error
        _tell_steps(ib, told, report, None)


def _tell_steps(ib: Client, told: set[str], report: Report, error: IbkitError | None) -> None:
    titles = _GATEWAY_TITLES if ib.method is AuthMethod.GATEWAY else _TITLES
    for name, step in ib.steps.items():
        if step.success is None or name in told:
            continue
        told.add(name)
        if step.success:
            report.ok(titles[name], step.message)
        elif error is not None:
            report.trouble(titles[name], error)


async def _accounts(ib: Client, report: Report) -> tuple[AccountId, ...]:
    async def ask() -> tuple[AccountId, ...]:
        await ib.connect(upto=Needs.PRIMED_ACCOUNTS)
        found = await ib.accounts()
        report.ok("accounts", ", ".join(f"{each.account_id} ({each.environment.value})" for each in found))
        return tuple(each.account_id for each in found)

    found = await _tried(report, "accounts", ask)
    if not found:
        raise _Stop
    return found


async def _market(ib: Client, report: Report, account: AccountId, now: datetime) -> None:
    """Everything that only reads, then a sale that is only priced."""
    # Outside the exchange's hours an empty quote is no fault.
    closed = not _trading_hours(now)
    mark = Mark.WARN if closed else Mark.FAIL
    stock = await _tried(report, f"contract {_SYMBOL}", lambda: _stock(ib, report))
    option = None
    if stock is not None:
        spot = await _tried(report, f"quote {_SYMBOL}", lambda: _quote(ib, report, stock), mark=mark)
        option = await _tried(report, f"option on {_SYMBOL}", lambda: _near_option(ib, report, now, spot))
    await _tried(report, "positions", lambda: _positions(ib, report, account))
    await _tried(report, "orders", lambda: _orders(ib, report, account))
    if option is None:
        report.skip("simulated sale", "no option to price")
    else:
        await _tried(report, "simulated sale", lambda: _price_sale(ib, report, account, option), mark=mark)
    if closed:
        said = "the market is closed: quotes may be empty or old"
        report.note(Check("market hours", Mark.WARN, said, None, "Run it again between 9:30 and 16:00 New York time."))


async def _stock(ib: Client, report: Report) -> Contract:
    stock = await ib.underlying(_SYMBOL)
    report.ok(f"contract {_SYMBOL}", f"conid {stock.conid}")
    return stock


async def _quote(ib: Client, report: Report, stock: Contract) -> Decimal | None:
    quote = await ib.quote(stock.conid)
    report.ok(f"quote {_SYMBOL}", f"bid {_shown(quote.bid)}, ask {_shown(quote.ask)}, last {_shown(quote.last)}")
    return quote.last or quote.mark or quote.bid


async def _near_option(ib: Client, report: Report, now: datetime, spot: Decimal | None) -> Contract:
    """The put next to the price (or in the middle of the list) of the next expiry that still trades."""
    local = now.astimezone(_NEW_YORK)
    first = local.date() + timedelta(days=1 if local.time() >= _CLOSE else 0)
    days = await ib.expiries(_SYMBOL, on_or_after=first, at_least=1)
    if not days:
        raise IbkitError(f"No option expiry listed for {_SYMBOL} from {first} on", code="E-EXPIRY")
    if spot is None:
        listed = await ib.strikes(_SYMBOL, month=days[0], right=Right.PUT)
        if not listed:
            raise IbkitError(f"No put listed for {_SYMBOL} in {days[0]:%B %Y}", code="E-CONTRACT")
        spot = listed[len(listed) // 2]
    near = spot
    # Not every strike of a month is listed on each of its days: three of them are surely enough.
    options = await ib.option_strikes(_SYMBOL, expiry=days[0], right=Right.PUT, near=near, at_most=3)
    option = min(options, key=lambda each: abs((each.strike or Decimal(0)) - near))
    report.ok(f"option on {_SYMBOL}", f"{option.label}, conid {option.conid}")
    return option


async def _positions(ib: Client, report: Report, account: AccountId) -> None:
    report.ok("positions", f"{len(await ib.positions(account))} in {account}")


async def _orders(ib: Client, report: Report, account: AccountId) -> None:
    found, _ = await ib.orders(account)
    report.ok("orders", f"{len(found)} of today")


async def _price_sale(ib: Client, report: Report, account: AccountId, option: Contract) -> None:
    """What selling one option would do, asked of the broker's what-if: nothing is placed."""
    ticket = OrderTicket(
        account_id=account, contract=option, side=Side.SELL, order_type=OrderType.MARKET, quantity=Decimal(1)
    )
    preview = await ib.preview(ticket)
    if preview.error:
        raise IbkitError(f"IBKR would refuse it: {preview.error}", code="E-ORD-REJECT")
    margin = _shown(preview.initial_margin_change)
    said = f"{ticket.label}: margin {margin}, commission {_shown(preview.commission)}; nothing was sent"
    report.ok("simulated sale", said)


async def _tried(report: Report, name: str, work: Callable[[], Awaitable[T]], *, mark: Mark = Mark.FAIL) -> T | None:
    """What `work` gives; None, with the error noted under `name`, where it fails."""
    try:
        return await work()
    except IbkitError as error:
        report.trouble(name, error, mark=mark)
        return None


def _trading_hours(now: datetime) -> bool:
    """Regular hours of a weekday in New York; holidays are not known here, and only soften a failure less."""
    local = now.astimezone(_NEW_YORK)
    return local.weekday() < 5 and _OPEN <= local.time() < _CLOSE


def _shown(value: Decimal | None) -> str:
    return "-" if value is None else format(value, "f")
