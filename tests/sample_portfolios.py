"""Portfolios as people have them, with the ledgers of their accounts, for reports and exports.

python -m sample_portfolios DIR      # from tests/: each as report (PDF and page) and as the files for accountants
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from ibkit.portfolio.analytics.figures import AccountNow, analyse
from ibkit.portfolio.book import Holding, HoldingSource, Link, Portfolio, PortfolioAccount, Security, SyncStatus
from ibkit.portfolio.days import Flows, Worth
from ibkit.portfolio.kinds import SecurityKind
from ibkit.portfolio.ledger import Ledger, Rules, fold_ledger
from ibkit.portfolio.rates import Rates
from ibkit.portfolio.report.material import Material
from ibkit.portfolio.transactions import (
    ActionKind,
    Converted,
    CorporateAction,
    Ending,
    Listed,
    Paid,
    PaymentKind,
    RowSource,
    Traded,
    Transaction,
)

__all__ = ["NOW", "SAMPLES", "TODAY", "Books", "Sample", "material_of", "stock"]

TODAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)
_BASE_RATES = {"USD": Decimal("0.92"), "CHF": Decimal("1.05"), "GBP": Decimal("1.17")}


def stock(symbol: str, conid: int, currency: str = "USD", kind: str = "STK") -> Listed:
    return Listed(conid=conid, symbol=symbol, asset_class=kind, currency=currency)


def option(underlying: Listed, expiry: date, right: str, strike: int) -> Listed:
    code = f"{underlying.symbol:<6}{expiry:%y%m%d}{right}{strike * 1000:08d}"
    return Listed(
        conid=900_000_000 + expiry.toordinal() * 100 + strike % 97 + (50 if right == "C" else 0),
        symbol=code,
        asset_class="OPT",
        currency=underlying.currency,
        multiplier=Decimal(100),
        expiry=expiry,
        strike=Decimal(strike),
        right=right,
        underlying_conid=underlying.conid,
    )


@dataclass
class Books:
    """The life of one account, told in order."""

    account_id: str
    base: str = "USD"
    told: list[Transaction] = field(default_factory=list)

    def _head(self, day: date, currency: str, **given: Any) -> dict[str, Any]:
        number = len(self.told) + 1
        rate = Decimal(1) if currency == self.base else _BASE_RATES.get(currency)
        return {
            "account_id": self.account_id,
            "ids": (f"trade:{self.account_id}-{number}",),
            "at": datetime(day.year, day.month, day.day, 15, tzinfo=UTC),
            "day": day,
            "booked_on": day,
            "sequence": number,
            "fx_rate": rate,
            "source": RowSource(digest="d" * 64, section="Trades", row=number),
            **given,
        }

    def trade(self, day: date, what: Listed, quantity: str, price: str, fee: str = "1", **given: Any) -> Traded:
        size, unit = Decimal(quantity), Decimal(price)
        made = Traded(
            listed=what,
            quantity=size,
            price=unit,
            proceeds=-size * unit * what.multiplier,
            commission=-Decimal(fee),
            commission_currency=given.pop("commission_currency", what.currency),
            **self._head(day, what.currency, **given),
        )
        self.told.append(made)
        return made

    def pay(self, day: date, kind: PaymentKind, amount: str, currency: str = "", what: Listed | None = None) -> None:
        currency = currency or self.base
        head = self._head(day, currency)
        self.told.append(
            Paid(kind=kind, currency=currency, amount=Decimal(amount), listed=what, description=kind.value, **head)
        )

    def convert(self, day: date, currency: str, quantity: str, price: str) -> None:
        size, unit = Decimal(quantity), Decimal(price)
        self.told.append(
            Converted(
                pair=f"{currency}.{self.base}",
                currency=currency,
                quantity=size,
                other_currency=self.base,
                proceeds=-size * unit,
                price=unit,
                commission=Decimal(-2),
                commission_currency=self.base,
                **self._head(day, currency),
            )
        )

    def split(self, day: date, what: Listed, more: str) -> None:
        self.told.append(
            CorporateAction(
                kind=ActionKind.SPLIT, listed=what, quantity=Decimal(more), **self._head(day, what.currency)
            )
        )

    def ledger(self, rules: Rules | None = None) -> Ledger:
        return fold_ledger(self.account_id, self.told, rules=rules or Rules(base=self.base))


@dataclass(frozen=True)
class Sample:
    portfolio: Portfolio
    ledgers: Mapping[str, Ledger]
    without: Mapping[str, str]
    history: Mapping[str, tuple[Sequence[Worth], Flows]]
    rates: Mapping[str, Rates]
    benchmark: Mapping[date, float] | None = None


def material_of(sample: Sample, **given: Any) -> Material:
    accounts = [
        AccountNow(
            name=account.name,
            day=None,
            currency="" if account.link is None else account.link.currency,
            net_liquidation=None if account.link is None else account.link.total_value,
            holdings=account.holdings,
            rates=sample.rates.get(account.name),
            by_hand=account.link is None,
        )
        for account in sample.portfolio.accounts
    ]
    figures = analyse(
        accounts,
        sample.portfolio.securities,
        sample.portfolio.currency,
        as_of=TODAY,
        history=sample.history,
        benchmark=sample.benchmark,
    )
    return Material(
        portfolio=sample.portfolio,
        figures=figures,
        made_at=NOW,
        benchmark=sample.benchmark,
        ledgers=sample.ledgers,
        without_ledger=sample.without,
        **given,
    )


# -- what they share --------------------------------------------------------------------------------------------------


def _weekdays(first: date, last: date = TODAY) -> list[date]:
    return [day for n in range((last - first).days + 1) if (day := first + timedelta(days=n)).weekday() < 5]


def _walk(days: Sequence[date], begin: float, seed: int, drift: float = 0.0003, spread: float = 0.009) -> list[float]:
    chance, level, found = random.Random(seed), begin, []
    for _ in days:
        level *= 1 + chance.gauss(drift, spread)
        found.append(level)
    return found


def _worths(
    account_id: str, currency: str, days: Sequence[date], values: Sequence[float], rates: Mapping[str, Decimal]
) -> list[Worth]:
    return [
        Worth(day=day, account_id=account_id, currency=currency, net_liquidation=_cents(value), rates=rates)
        for day, value in zip(days, values, strict=True)
    ]


def _cents(value: float) -> Decimal:
    return Decimal(round(value * 100)) / 100


def _held(ledger: Ledger, prices: Mapping[str, str], kinds: Mapping[str, SecurityKind]) -> tuple[Holding, ...]:
    """What the ledger adds up to, at these prices."""
    found = []
    for conid, held in ledger.held.items():
        listed = held.listed
        price = Decimal(prices[listed.symbol])
        value = held.quantity * price * listed.multiplier
        is_option = listed.is_option
        found.append(
            Holding(
                symbol=listed.symbol,
                units=held.quantity,
                conid=conid,
                source=HoldingSource.IBKR,
                currency=listed.currency,
                kind=SecurityKind.OPTION if is_option else kinds.get(listed.symbol, SecurityKind.STOCK),
                average_cost=round(held.cost / held.quantity, 6),
                market_price=price,
                market_value=value,
                unrealized_pnl=value - held.cost,
                realized_pnl=Decimal(0),
                multiplier=listed.multiplier,
                expiry=listed.expiry,
                strike=listed.strike,
                right=listed.right,
                synced_at=NOW,
            )
        )
    cash = [
        Holding(
            symbol=currency,
            units=amount,
            source=HoldingSource.IBKR,
            currency=currency,
            kind=SecurityKind.CASH,
            market_value=amount,
        )
        for currency, amount in ledger.cash.items()
        if amount
    ]
    return tuple(sorted([*found, *cash], key=lambda holding: holding.key))


def _linked(name: str, ledger: Ledger, holdings: tuple[Holding, ...], worth: Decimal, **given: Any) -> PortfolioAccount:
    fields: dict[str, Any] = {"last_sync": NOW - timedelta(minutes=12), "status": SyncStatus.SUCCESS}
    link = Link(
        account_id=ledger.account_id,
        connection_id="main",
        currency=ledger.rules.base,
        total_value=worth,
        **(fields | given),
    )
    return PortfolioAccount(name=name, holdings=holdings, link=link)


def _worth(holdings: Sequence[Holding], rates: Mapping[str, Decimal], base: str) -> Decimal:
    return sum(
        (round(h.market_value * (Decimal(1) if h.currency == base else rates[h.currency]), 2)
         for h in holdings if h.market_value is not None and (h.currency == base or h.currency in rates)),
        Decimal(0),
    )  # fmt: skip


def _portfolio(
    number: int, name: str, currency: str, accounts: Sequence[PortfolioAccount], securities: Sequence[Security]
) -> Portfolio:
    return Portfolio(
        portfolio_id=f"{number:032x}",
        user_id="ada",
        name=name,
        currency=currency,
        accounts=tuple(accounts),
        securities=tuple(securities),
        created_at=NOW,
        updated_at=NOW,
    )


def _ended_at(values: list[float], worth: Decimal) -> list[float]:
    """So scaled that the last is what the account is worth."""
    return [value * float(worth) / values[-1] for value in values]


# -- 1: shares and funds of the United States, for the long term ----------


def long_term() -> Sample:
    aapl, msft, nvda = stock("AAPL", 265598), stock("MSFT", 272093), stock("NVDA", 4815747)
    vti, bnd, brk = stock("VTI", 12340039), stock("BND", 43652089), stock("BRK B", 72063691)
    chance = random.Random(1)
    taxable, ira = Books("U1000001"), Books("U1000002")
    day = date(2022, 1, 10)
    number = 0
    while day < date(2026, 11, 1):
        day += timedelta(days=max(0, day.weekday() - 4) and 7 - day.weekday())
        taxable.pay(day, PaymentKind.DEPOSIT, "3000")
        which, price = (
            (vti, 210 + number), (aapl, 150 + number), (msft, 290 + 2 * number), (bnd, 72), (nvda, 20 + number),
        )[number % 5]  # fmt: skip
        taxable.trade(day, which, str(2900 // int(price)), f"{price + chance.random():.2f}")
        if number % 3 == 2:
            shares = sum(t.quantity for t in taxable.told if isinstance(t, Traded) and t.listed == vti)
            taxable.pay(day + timedelta(days=5), PaymentKind.DIVIDEND, f"{float(shares) * 0.9:.2f}", what=vti)
            taxable.pay(day + timedelta(days=5), PaymentKind.WITHHOLDING_TAX, f"{-float(shares) * 0.135:.2f}", what=vti)
            taxable.pay(day + timedelta(days=9), PaymentKind.INTEREST, f"{chance.random() * 9:.2f}")
        number += 1
        day = date(day.year + day.month // 12, day.month % 12 + 1, 10)
    held = sum(t.quantity for t in taxable.told if isinstance(t, Traded) and t.listed == nvda)
    taxable.split(date(2026, 11, 9), nvda, str(held * 3))
    taxable.trade(date(2026, 11, 12), nvda, "-1000", "31.07")
    taxable.trade(date(2026, 11, 12), aapl, "-7", "231.55", "0.35")
    ira.pay(date(2023, 3, 1), PaymentKind.DEPOSIT, "60000")
    ira.trade(date(2023, 3, 2), vti, "150", "201.25")
    ira.trade(date(2023, 3, 2), brk, "70", "312.4")
    ira.pay(date(2026, 9, 30), PaymentKind.FEE, "-4.50")
    prices = {"AAPL": "238.12", "MSFT": "441.06", "NVDA": "33.1", "VTI": "288.4", "BND": "73.02", "BRK B": "488.7"}
    kinds = {"VTI": SecurityKind.ETF, "BND": SecurityKind.ETF}
    days = _weekdays(date(2022, 1, 10))
    accounts, ledgers, history = [], {}, {}
    for name, books, seed in (("Taxable", taxable, 3), ("My IRA", ira, 5)):
        ledger = books.ledger()
        holdings = _held(ledger, prices, kinds)
        worth = _worth(holdings, {}, "USD")
        accounts.append(_linked(name, ledger, holdings, worth))
        ledgers[name] = ledger
        began = next(n for n, each in enumerate(days) if each >= books.told[0].day)
        flows = {t.day: t.amount for t in books.told if isinstance(t, Paid) and t.kind is PaymentKind.DEPOSIT}
        values, level = [], 0.0
        for each, rate in zip(days[began:], _walk(days[began:], 1, seed, 0.0004, 0.0085), strict=True):
            level += float(flows.get(each, 0)) / rate
            values.append(level * rate)
        history[name] = (
            _worths(books.account_id, "USD", days[began:], _ended_at(values, worth), {}),
            Flows(known=((date(2022, 1, 1), TODAY),), amounts=dict(list(flows.items())[1:])),
        )
    told = [
        ("AAPL", 265598, "Apple Inc", "Technology", SecurityKind.STOCK),
        ("MSFT", 272093, "Microsoft Corp", "Technology", SecurityKind.STOCK),
        ("NVDA", 4815747, "NVIDIA Corp", "Technology", SecurityKind.STOCK),
        ("VTI", 12340039, "Vanguard Total Stock Market ETF", "", SecurityKind.ETF),
        ("BND", 43652089, "Vanguard Total Bond Market ETF", "", SecurityKind.ETF),
        ("BRK B", 72063691, "Berkshire Hathaway Inc, class B", "Financial", SecurityKind.STOCK),
    ]
    securities = [Security(symbol=s, conid=c, name=n, sector=x, kind=k) for s, c, n, x, k in told]
    levels = dict(zip(days, _walk(days, 4700, 11, 0.0003, 0.009), strict=True))
    portfolio = _portfolio(1, "Long term", "USD", accounts, securities)
    return Sample(portfolio, ledgers, {}, history, {}, levels)


# -- 2: one who sells options ----------


def option_seller() -> Sample:
    spy = stock("SPY", 756733)
    books = Books("U2000001")
    books.pay(date(2026, 1, 5), PaymentKind.DEPOSIT, "250000")
    for month in range(1, 11):
        third = next(d for d in _weekdays(date(2026, month, 15)) if d.weekday() == 4)
        strike = 560 + 5 * month
        put = option(spy, third, "P", strike)
        books.trade(date(2026, month, 6), put, "-2", f"{4 + month % 3}.35", "2.1")
        if month == 4:
            ends = books.trade(third, put, "2", "0", "0", ending=Ending.ASSIGNMENT)
            books.trade(third, spy, "200", str(strike), "0", delivery=True, related=ends.key)
        elif month % 4 == 3:
            books.trade(date(2026, month, 12), put, "2", "2.05", "2.1")
        else:
            books.trade(third, put, "2", "0", "0", ending=Ending.EXPIRATION)
        if month > 4:
            call = option(spy, third, "C", 640 + 2 * month)
            books.trade(date(2026, month, 7), call, "-2", "3.15", "2.1")
            books.trade(third, call, "2", "0", "0", ending=Ending.EXPIRATION)
    books.pay(date(2026, 4, 30), PaymentKind.DIVIDEND, "361.20", what=spy)
    books.pay(date(2026, 10, 3), PaymentKind.INTEREST, "812.33")
    books.trade(date(2026, 11, 3), spy, "-100", "648.2")
    december, january = date(2026, 12, 18), date(2027, 1, 15)
    for what, size, price in (
        (option(spy, december, "P", 615), "-3", "6.4"), (option(spy, december, "P", 590), "3", "3.1"),
        (option(spy, december, "C", 670), "-1", "4.9"), (option(spy, january, "P", 600), "-2", "9.05"),
        (option(spy, january, "C", 690), "-2", "4.2"),
    ):  # fmt: skip
        books.trade(date(2026, 11, 5), what, size, price, "3.15")
    ledger = books.ledger()
    prices = {held.listed.symbol: "3.85" for held in ledger.held.values()} | {"SPY": "652.4"}
    holdings = _held(ledger, prices, {"SPY": SecurityKind.ETF})
    worth = _worth(holdings, {}, "USD")
    days = _weekdays(date(2026, 1, 6))
    history = {
        "Wheel": (
            _worths("U2000001", "USD", days, _ended_at(_walk(days, 250000, 8, 0.0004, 0.004), worth), {}),
            Flows(known=((date(2026, 1, 1), TODAY),)),
        )
    }
    account = _linked("Wheel", ledger, holdings, worth)
    # One more than the ledger tells: somebody traded after its last statement.
    changed = tuple(replace(each, units=each.units + 10) if each.symbol == "SPY" else each for each in account.holdings)
    securities = [Security(symbol="SPY", conid=756733, name="SPDR S&P 500 ETF Trust", kind=SecurityKind.ETF)]
    portfolio = _portfolio(2, "Option income", "USD", [replace(account, holdings=changed)], securities)
    return Sample(portfolio, {"Wheel": ledger}, {}, history, {})


# -- 3: several currencies, bonds, funds and cash in Europe ----------


def european() -> Sample:
    asml, nesn = stock("ASML", 117589399, "EUR"), stock("NESN", 29612249, "CHF")
    shel, volv = stock("SHEL", 556196440, "GBP"), stock("VOLV.B", 40482713, "SEK")
    bund = Listed(
        conid=600000001, symbol="BUND 2.3 02/15/33", asset_class="BOND", currency="EUR", multiplier=Decimal("10")
    )
    fund, world = stock("LU0290358497", 600000002, "EUR", "FUND"), stock("IWDA", 100292038, "EUR")
    vti = stock("VTI", 12340039, "USD")
    books = Books("U3000001", "EUR")
    books.pay(date(2024, 2, 1), PaymentKind.DEPOSIT, "180000")
    for currency, amount, price in (
        ("CHF", "20000", "1.05"), ("GBP", "15000", "1.17"), ("USD", "25000", "0.92"), ("SEK", "90000", "0.088"),
    ):  # fmt: skip
        books.convert(date(2024, 2, 2), currency, amount, price)
    books.trade(date(2024, 2, 5), asml, "25", "812.4", "4")
    books.trade(date(2024, 2, 5), nesn, "120", "98.36", "5")
    books.trade(date(2024, 2, 5), shel, "300", "25.115", "6", taxes=Decimal("-37.67"))
    books.trade(date(2024, 2, 6), volv, "250", "271.8", "49")
    books.trade(date(2024, 2, 6), bund, "30", "97.35", "6")
    books.trade(date(2024, 2, 7), fund, "110.375", "143.21", "0")
    books.trade(date(2024, 2, 7), world, "310", "86.02", "3")
    books.trade(date(2024, 3, 7), vti, "60", "257.1", "0.92", commission_currency="EUR")
    for year in (2024, 2025, 2026):
        books.pay(date(year, 4, 25), PaymentKind.DIVIDEND, "360", "CHF", nesn)
        books.pay(date(year, 4, 25), PaymentKind.WITHHOLDING_TAX, "-126", "CHF", nesn)
        books.pay(date(year, 6, 24), PaymentKind.DIVIDEND, "81.30", "GBP", shel)
        books.pay(date(year, 2, 15), PaymentKind.INTEREST, "69", "EUR", bund)
        books.pay(date(year, 5, 2), PaymentKind.DIVIDEND, "2250", "SEK", volv)
        books.pay(date(year, 7, 3), PaymentKind.INTEREST, "-12.48", "EUR")
    books.trade(date(2025, 10, 2), shel, "-120", "27.305", "6")
    books.convert(date(2025, 10, 6), "GBP", "-3200", "1.151")
    books.trade(date(2026, 8, 14), asml, "-8", "705.1", "4")
    books.pay(date(2026, 9, 1), PaymentKind.WITHDRAWAL, "-12000")
    ledger = books.ledger()
    prices = {
        "ASML": "731.9", "NESN": "88.42", "SHEL": "27.91", "VOLV.B": "288.1", "BUND 2.3 02/15/33": "98.1",
        "LU0290358497": "151.07", "IWDA": "104.66", "VTI": "288.4",
    }  # fmt: skip
    kinds = {
        "BUND 2.3 02/15/33": SecurityKind.BOND, "LU0290358497": SecurityKind.FUND, "IWDA": SecurityKind.ETF,
        "VTI": SecurityKind.ETF,
    }  # fmt: skip
    holdings = _held(ledger, prices, kinds)
    worth = _worth(holdings, {**_BASE_RATES, "SEK": Decimal("0.087")}, "EUR")
    rates = Rates(day=TODAY, base="EUR", of=_BASE_RATES)  # nobody told one of the Swedish crown
    days = _weekdays(date(2024, 2, 6))
    history = {
        "Depot": (
            _worths("U3000001", "EUR", days, _ended_at(_walk(days, 180000, 21, 0.0002, 0.006), worth), _BASE_RATES),
            Flows(known=((date(2024, 2, 1), TODAY),), amounts={date(2026, 9, 1): Decimal(-12000)}),
        )
    }
    told = [
        ("ASML", 117589399, "ASML Holding NV", "Technology", SecurityKind.STOCK, "EUR"),
        ("NESN", 29612249, "Nestlé SA", "Consumer, non-cyclical", SecurityKind.STOCK, "CHF"),
        ("SHEL", 556196440, "Shell plc", "Energy", SecurityKind.STOCK, "GBP"),
        ("VOLV.B", 40482713, "Volvo AB, serie B", "Industrial", SecurityKind.STOCK, "SEK"),
        (
            "BUND 2.3 02/15/33",
            600000001,
            "Bundesrepublik Deutschland 2,3 % 2033",
            "Government",
            SecurityKind.BOND,
            "EUR",
        ),
        ("LU0290358497", 600000002, "Xtrackers II EUR Overnight Rate Swap", "", SecurityKind.FUND, "EUR"),
        ("IWDA", 100292038, "iShares Core MSCI World UCITS ETF", "", SecurityKind.ETF, "EUR"),
        ("VTI", 12340039, "Vanguard Total Stock Market ETF", "", SecurityKind.ETF, "USD"),
    ]
    securities = [Security(symbol=s, conid=c, name=n, sector=x, kind=k, currency=y) for s, c, n, x, k, y in told]
    gold = PortfolioAccount(name="Tresor", holdings=(Holding(symbol="GOLD", units=Decimal("2.5"), currency="EUR"),))
    securities.append(
        Security(
            symbol="GOLD",
            name="Barren, Unze",
            kind=SecurityKind.COMMODITY,
            currency="EUR",
            unit_price=Decimal("3812.5"),
        )
    )
    account = _linked("Depot", ledger, holdings, worth, last_sync=NOW - timedelta(days=3))
    portfolio = _portfolio(3, "Europa-Depot", "EUR", [account, gold], securities)
    why = {"Tresor": "it is kept by hand"}
    return Sample(portfolio, {"Depot": ledger}, why, history, {"Depot": rates})


# -- 4: names that are hard to write ----------


def hard_names() -> Sample:
    first = PortfolioAccount(
        name="My IRA/1 <script>alert('x')</script>",
        holdings=(
            Holding(symbol="<img src=x onerror=alert(1)>", units=Decimal("1.5")),
            Holding(symbol="A&B/C; DROP", units=Decimal(10), currency="USD", average_cost=Decimal("0.00012345")),
            Holding(symbol='"quoted" \\ back', units=Decimal("-3"), currency="USD"),
        ),
    )
    second = PortfolioAccount(
        name="日本/株 🚀 Ærøskøbing",
        holdings=(
            Holding(symbol="🚀", units=Decimal("12345678901234567890.12345678"), currency="USD"),
            Holding(symbol="x" * 180, units=Decimal("0.00000001"), currency="JPY"),
            Holding(symbol="GOLD", units=Decimal(2), currency="EUR"),
        ),
    )
    securities = [
        Security(symbol="A&B/C; DROP", name="<b>Bold</b> & {{ 7 * 7 }} {% raw %}", unit_price=Decimal("12.5")),
        Security(
            symbol="GOLD", name="Ζεύς и Ψυχή", kind=SecurityKind.COMMODITY, currency="EUR", unit_price=Decimal(2000)
        ),
    ]
    portfolio = _portfolio(
        4, "Kids & <b>kitchen</b> 🚀/2026", "USD", [first, second, PortfolioAccount(name="empty")], securities
    )
    why = dict.fromkeys((account.name for account in portfolio.accounts), "it is kept by hand")
    return Sample(portfolio, {}, why, {}, {})


SAMPLES = {
    "long-term": long_term,
    "option-seller": option_seller,
    "european": european,
    "hard-names": hard_names,
}


def _write(folder: Path) -> None:
    from ibkit.portfolio.report.making import report_of
    from ibkit.render.page import page_of
    from ibkit.render.pdf import pdf_of

    folder.mkdir(parents=True, exist_ok=True)
    for name, make in SAMPLES.items():
        report = report_of(material_of(make()))
        (folder / f"{name}.html").write_bytes(page_of(report))
        (folder / f"{name}.pdf").write_bytes(pdf_of(report))


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
