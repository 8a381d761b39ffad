"""A portfolio as tables that Portfolio Performance imports: what happened where a ledger is kept, else what is held.

Its names of columns and types are those of its English interface. A cash account has one currency there, so each
account of ours has one for each. What it has no type for (a conversion, a split, an expiry) stands as the deposits,
removals and deliveries that come to the same. Source: Portfolio Performance's CSV import (its manual, File > Import >
CSV files; fields of `account-transaction` and `portfolio-transaction`).
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from ibkit.model.prices import to_cents
from ibkit.portfolio.book import Portfolio, PortfolioAccount, Security
from ibkit.portfolio.files import inert
from ibkit.portfolio.kinds import SecurityKind
from ibkit.portfolio.ledger import Ledger, Movement, movements
from ibkit.portfolio.transactions import (
    Converted,
    CorporateAction,
    Listed,
    Paid,
    PaymentKind,
    Traded,
    Transaction,
    Transferred,
    cash_of,
    kind_of_transaction,
)

__all__ = ["ACCOUNT_COLUMNS", "PORTFOLIO_COLUMNS", "Tables", "tables_of", "zip_of"]

ACCOUNT_COLUMNS: Final = (
    *("Date", "Type", "Value", "Transaction Currency", "Taxes", "Shares"),
    *("ISIN", "Ticker Symbol", "Security Name", "Note", "Cash Account", "Securities Account"),
)
PORTFOLIO_COLUMNS: Final = (
    *("Date", "Type", "Value", "Transaction Currency", "Fees", "Taxes", "Shares"),
    *("ISIN", "Ticker Symbol", "Security Name", "Note", "Cash Account", "Securities Account"),
)
_BY_SIGN: Final = {
    PaymentKind.DIVIDEND: ("Dividend", "Fees"),
    PaymentKind.PAYMENT_IN_LIEU: ("Dividend", "Fees"),
    PaymentKind.WITHHOLDING_TAX: ("Tax Refund", "Taxes"),
    PaymentKind.INTEREST: ("Interest", "Interest Charge"),
    PaymentKind.FEE: ("Fees Refund", "Fees"),
    PaymentKind.COMMISSION_ADJUSTMENT: ("Fees Refund", "Fees"),
    PaymentKind.DEPOSIT: ("Deposit", "Removal"),
    PaymentKind.WITHDRAWAL: ("Deposit", "Removal"),
    PaymentKind.OTHER: ("Deposit", "Removal"),
}
"""Of what came, and of what went: amounts have no sign in these tables."""
_CASH: Final = ("Deposit", "Removal")
_FEES: Final = ("Fees Refund", "Fees")
_TAXES: Final = ("Tax Refund", "Taxes")
_DELIVERY: Final = ("Delivery (Inbound)", "Delivery (Outbound)")
_ISIN: Final = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]")
_ZERO: Final = Decimal(0)
_HOW: Final = """\
Two tables for Portfolio Performance: File > Import > CSV files. Delimiter: semicolon. Encoding: UTF-8. First line
contains header. Date format: YYYY-MM-DD. Number format: 0,000.00. Import portfolio-transactions.csv as "Portfolio
Transactions" first, then account-transactions.csv as "Account Transactions". Make a deposit account for each name in
"Cash Account" before, in the currency that stands in it.

Shares of an option are contracts times the size of a contract. A conversion stands as a removal and a deposit; a split,
a merger or an expiry as deliveries. Amounts are rounded to the cent.
"""


@dataclass(frozen=True, slots=True)
class Tables:
    """account, portfolio: their rows, as texts by column. without: accounts that are only held, and why."""

    account: list[Mapping[str, str]] = field(default_factory=list)
    portfolio: list[Mapping[str, str]] = field(default_factory=list)
    without: dict[str, str] = field(default_factory=dict)


def tables_of(
    portfolio: Portfolio, ledgers: Mapping[str, Ledger], without: Mapping[str, str], *, today: date
) -> Tables:
    """See `beancount_of`."""
    tables = Tables()
    known = {security.key: security for security in portfolio.securities}
    for account in portfolio.accounts:
        writer = _Writer(tables, account.name, known)
        ledger = ledgers.get(account.name)
        if ledger is None:
            tables.without[account.name] = without.get(account.name, "there is no ledger of it")
            writer.held(account, today)
        else:
            writer.life(ledger)
    return tables


def zip_of(tables: Tables) -> bytes:
    """Both tables and how to read them, the same bytes for the same tables."""
    lines = [
        f"{name}: no ledger is kept of it ({why}): what it holds is delivered." for name, why in tables.without.items()
    ]
    told = "\n".join([_HOW, *lines]).rstrip("\n") + "\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, body in (
            ("portfolio-transactions.csv", _csv(PORTFOLIO_COLUMNS, tables.portfolio)),
            ("account-transactions.csv", _csv(ACCOUNT_COLUMNS, tables.account)),
            ("READ-ME.txt", told),
        ):
            packed.writestr(zipfile.ZipInfo(name), body)
    return out.getvalue()


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", delimiter=";", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class _Writer:
    tables: Tables
    name: str
    known: Mapping[tuple[str, int], Security]

    # -- what happened ------------------------------------------------------------------------------------------------

    def life(self, ledger: Ledger) -> None:
        moved: dict[str, Decimal] = {}
        for each in ledger.transactions:
            for currency, amount in cash_of(each).items():
                moved[currency] = moved.get(currency, _ZERO) + amount
        first = min((each.booked_on for each in ledger.transactions), default=None)
        if first is not None:
            for currency, amount in sorted(ledger.cash.items()):
                self._cash(first, _CASH, amount - moved.get(currency, _ZERO), currency, "opening balance")
        for movement in movements(ledger):
            for this in movement.transactions:
                self._one(this, movement)

    def _one(self, this: Transaction, movement: Movement) -> None:
        day, said = this.booked_on, kind_of_transaction(this)
        match this:
            case Traded():
                self._trade(this, said)
            case Paid():
                listed = this.listed if this.listed is not None and this.listed.symbol else None
                types = _BY_SIGN[this.kind]
                if "Dividend" in types and listed is None:
                    types = _BY_SIGN[PaymentKind.INTEREST]
                note = f"{said}: {this.description}" if this.description not in ("", said) else said
                self._cash(day, types, this.amount, this.currency, note, listed)
            case Converted():
                note = f"conversion {this.pair} at {this.price:f}"
                self._cash(day, _CASH, this.quantity, this.currency, note)
                self._cash(day, _CASH, this.proceeds, this.other_currency, note)
                self._cash(day, _FEES, this.commission or _ZERO, this.commission_currency or this.other_currency, note)
            case Transferred():
                if this.listed is not None and this.quantity:
                    self._delivered(day, this.listed, this.quantity, abs(this.cost), said)
                self._cash(day, _CASH, this.cash, this.currency, said)
            case CorporateAction():
                if this.quantity:
                    self._delivered(day, this.listed, this.quantity, _moved(movement, this.listed), said)
                types = ("Dividend", "Removal") if this.listed.symbol else _CASH
                self._cash(day, types, this.proceeds, this.listed.currency, said, this.listed)

    def _trade(self, this: Traded, said: str) -> None:
        own = (this.commission_currency or this.listed.currency) == this.listed.currency
        fee = this.commission or _ZERO
        inside = (fee if own else _ZERO) + this.taxes
        gross = abs(this.proceeds)
        # Where costs are refunds, or more than a sale brought, they stand by themselves: these tables have no signs.
        apart = fee > 0 or this.taxes > 0 or (this.quantity < 0 and -inside >= gross) or not gross
        value = gross if apart else gross - inside if this.quantity > 0 else gross + inside
        types = _DELIVERY if not gross else ("Buy", "Sell")
        row = self._row(this.booked_on, types[0] if this.quantity > 0 else types[1], value, this.listed.currency, said)
        row |= self._of(this.listed) | {"Shares": _shares(this.quantity, this.listed)}
        if not apart:
            row |= {"Fees": _cents(fee) if own and fee else "", "Taxes": _cents(this.taxes) if this.taxes else ""}
        self.tables.portfolio.append(row)
        currency = this.commission_currency or this.listed.currency
        if apart or not own:
            self._cash(this.booked_on, _FEES, fee, currency, f"commission of {this.listed.symbol}")
        if apart:
            self._cash(this.booked_on, _TAXES, this.taxes, this.listed.currency, f"taxes of {this.listed.symbol}")

    # -- what is only held --------------------------------------------------------------------------------------------

    def held(self, account: PortfolioAccount, today: date) -> None:
        for holding in account.holdings:
            if holding.kind is SecurityKind.CASH:
                self._cash(today, _CASH, holding.units, holding.symbol, "opening balance: no ledger is kept")
                continue
            if not holding.units:
                continue
            security = self.known.get((holding.symbol, holding.conid or 0))
            currency = holding.currency or ("" if security is None else security.currency)
            listed = Listed(
                conid=holding.conid or 0, symbol=holding.symbol, currency=currency, multiplier=holding.multiplier
            )
            cost, said = holding.average_cost, "opening balance: no ledger is kept"
            if cost is None:
                said += ", and no cost is known"
            self._delivered(today, listed, holding.units, abs(holding.units * (cost or _ZERO)), said)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _delivered(self, day: date, listed: Listed, quantity: Decimal, value: Decimal, note: str) -> None:
        row = self._row(day, _DELIVERY[0] if quantity > 0 else _DELIVERY[1], value, listed.currency, note)
        self.tables.portfolio.append(row | self._of(listed) | {"Shares": _shares(quantity, listed)})

    def _cash(
        self,
        day: date,
        types: tuple[str, str],
        amount: Decimal,
        currency: str,
        note: str,
        listed: Listed | None = None,
    ) -> None:
        if to_cents(amount):
            row = self._row(day, types[0] if amount > 0 else types[1], amount, currency, note)
            self.tables.account.append(row | ({} if listed is None else self._of(listed)))

    def _row(self, day: date, kind: str, value: Decimal, currency: str, note: str) -> dict[str, str]:
        return {
            "Date": str(day),
            "Type": kind,
            "Value": _cents(value),
            "Transaction Currency": currency,
            "Note": inert(note),
            "Cash Account": inert(f"{self.name} ({currency})"),
            "Securities Account": inert(self.name),
        }

    def _of(self, listed: Listed) -> dict[str, str]:
        security = self.known.get((listed.symbol, listed.conid)) or self.known.get((listed.symbol, 0))
        isin = "" if security is None or not _ISIN.fullmatch(security.identifier) else security.identifier
        name = listed.description or listed.symbol if security is None or not security.name else security.name
        return {"ISIN": isin, "Ticker Symbol": inert(listed.symbol), "Security Name": inert(name)}


def _moved(movement: Movement, listed: Listed) -> Decimal:
    """By how much the cost of what is held of it changed."""
    for there, before, after in movement.lots:
        if there.conid == listed.conid:
            return abs(sum((lot.cost for lot in after), _ZERO) - sum((lot.cost for lot in before), _ZERO))
    return _ZERO


def _shares(quantity: Decimal, listed: Listed) -> str:
    return f"{abs(quantity * listed.multiplier).normalize():f}"


def _cents(amount: Decimal) -> str:
    return f"{abs(to_cents(amount)):.2f}"
