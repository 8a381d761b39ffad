"""The rows of a Flex statement as IBKR spells them: every attribute optional, whatever else came in `raw`.

Amounts are Decimal with the sign of the statement: what the account pays is negative, a commission too. Which
attributes a row has is chosen in the query's template; unknown ones, and values of enumerations, never matter here.
Source: docs/facts/accounts-and-portfolio.md §6.4 (captures, and the types of ibflex).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import msgspec

__all__ = [
    "AccountInformation",
    "CashReportCurrency",
    "CashTransaction",
    "ChangeInNAV",
    "ConversionRate",
    "CorporateAction",
    "Day",
    "EquitySummaryByReportDateInBase",
    "FlexRow",
    "FxLot",
    "FxTransaction",
    "InterestAccrualsCurrency",
    "Moment",
    "OpenPosition",
    "OptionEAE",
    "SecurityInfo",
    "StatementOfFundsLine",
    "Trade",
    "TradeConfirm",
    "Transfer",
    "UnbundledCommissionDetail",
]

Day = date
"""Under another name: a row may have a field called `date`."""
Moment = datetime | date
"""UTC where a time stands, else the day."""


class FlexRow(msgspec.Struct, frozen=True, kw_only=True):
    """One element. tag: its name; raw: all its attributes as sent; unread: those whose text is none of its kind."""

    tag: str = ""
    raw: Mapping[str, str] = msgspec.field(default_factory=dict)
    unread: tuple[str, ...] = ()
    accountId: str | None = None
    acctAlias: str | None = None
    model: str | None = None
    currency: str | None = None
    levelOfDetail: str | None = None


class _Instrument(FlexRow, frozen=True, kw_only=True):
    fxRateToBase: Decimal | None = None
    assetCategory: str | None = None
    subCategory: str | None = None
    symbol: str | None = None
    description: str | None = None
    conid: int | None = None
    securityID: str | None = None
    securityIDType: str | None = None
    cusip: str | None = None
    isin: str | None = None
    figi: str | None = None
    listingExchange: str | None = None
    underlyingConid: int | None = None
    underlyingSymbol: str | None = None
    underlyingSecurityID: str | None = None
    underlyingListingExchange: str | None = None
    issuer: str | None = None
    multiplier: Decimal | None = None
    strike: Decimal | None = None
    expiry: Day | None = None
    putCall: str | None = None
    principalAdjustFactor: Decimal | None = None


class AccountInformation(FlexRow, frozen=True, kw_only=True):
    """Personal data stand in it: never log."""

    name: str | None = None
    accountType: str | None = None
    customerType: str | None = None
    accountCapabilities: str | None = None
    tradingPermissions: str | None = None
    dateOpened: Day | None = None
    dateFunded: Day | None = None
    dateClosed: Day | None = None
    masterName: str | None = None
    ibEntity: str | None = None


class Trade(_Instrument, frozen=True, kw_only=True):
    """Trades: an execution (`Trade`), or of another level `Order`, `SymbolSummary`, `AssetSummary`, `Lot`."""

    transactionType: str | None = None
    tradeID: str | None = None
    transactionID: str | None = None
    ibOrderID: str | None = None
    ibExecID: str | None = None
    brokerageOrderID: str | None = None
    orderReference: str | None = None
    exchOrderId: str | None = None
    extExecID: str | None = None
    relatedTradeID: str | None = None
    dateTime: Moment | None = None
    tradeDate: Day | None = None
    tradeTime: str | None = None
    orderTime: Moment | None = None
    reportDate: Day | None = None
    settleDateTarget: Day | None = None
    openDateTime: Moment | None = None
    exchange: str | None = None
    buySell: str | None = None
    openCloseIndicator: str | None = None
    quantity: Decimal | None = None
    tradePrice: Decimal | None = None
    tradeMoney: Decimal | None = None
    proceeds: Decimal | None = None
    taxes: Decimal | None = None
    ibCommission: Decimal | None = None
    ibCommissionCurrency: str | None = None
    netCash: Decimal | None = None
    netCashInBase: Decimal | None = None
    closePrice: Decimal | None = None
    cost: Decimal | None = None
    fifoPnlRealized: Decimal | None = None
    fxPnl: Decimal | None = None
    mtmPnl: Decimal | None = None
    accruedInt: Decimal | None = None
    orderType: str | None = None
    notes: str | None = None
    isAPIOrder: bool | None = None


class TradeConfirm(_Instrument, frozen=True, kw_only=True):
    """TradeConfirms: an execution (`TradeConfirm`), or its sums `Order` and `SymbolSummary`."""

    transactionType: str | None = None
    tradeID: str | None = None
    orderID: str | None = None
    execID: str | None = None
    brokerageOrderID: str | None = None
    orderReference: str | None = None
    extExecID: str | None = None
    blockID: str | None = None
    allocatedTo: str | None = None
    orderTime: Moment | None = None
    dateTime: Moment | None = None
    reportDate: Day | None = None
    settleDate: Day | None = None
    tradeDate: Day | None = None
    exchange: str | None = None
    buySell: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    amount: Decimal | None = None
    proceeds: Decimal | None = None
    netCash: Decimal | None = None
    commission: Decimal | None = None
    commissionCurrency: str | None = None
    tax: Decimal | None = None
    code: str | None = None
    orderType: str | None = None
    accruedInt: Decimal | None = None
    isAPIOrder: bool | None = None


class OpenPosition(_Instrument, frozen=True, kw_only=True):
    """A position (SUMMARY), or one of the lots that it is made of (LOT)."""

    reportDate: Day | None = None
    position: Decimal | None = None
    side: str | None = None
    markPrice: Decimal | None = None
    positionValue: Decimal | None = None
    positionValueInBase: Decimal | None = None
    openPrice: Decimal | None = None
    costBasisPrice: Decimal | None = None
    costBasisMoney: Decimal | None = None
    percentOfNAV: Decimal | None = None
    fifoPnlUnrealized: Decimal | None = None
    openDateTime: Moment | None = None
    holdingPeriodDateTime: Moment | None = None
    originatingOrderID: str | None = None
    originatingTransactionID: str | None = None
    code: str | None = None
    accruedInt: Decimal | None = None


class CashTransaction(_Instrument, frozen=True, kw_only=True):
    """type: one of the facts page's words, or another one."""

    type: str | None = None
    amount: Decimal | None = None
    dateTime: Moment | None = None
    settleDate: Day | None = None
    availableForTradingDate: Moment | None = None
    reportDate: Day | None = None
    exDate: Moment | None = None
    transactionID: str | None = None
    tradeID: str | None = None
    actionID: str | None = None
    code: str | None = None
    clientReference: str | None = None


class CashReportCurrency(FlexRow, frozen=True, kw_only=True):
    """One currency, or all of them in the base currency (`currency` BASE_SUMMARY)."""

    fromDate: Day | None = None
    toDate: Day | None = None
    startingCash: Decimal | None = None
    commissions: Decimal | None = None
    depositWithdrawals: Decimal | None = None
    deposits: Decimal | None = None
    withdrawals: Decimal | None = None
    accountTransfers: Decimal | None = None
    internalTransfers: Decimal | None = None
    dividends: Decimal | None = None
    paymentInLieu: Decimal | None = None
    withholdingTax: Decimal | None = None
    brokerInterest: Decimal | None = None
    bondInterest: Decimal | None = None
    brokerFees: Decimal | None = None
    otherFees: Decimal | None = None
    advisorFees: Decimal | None = None
    transactionTax: Decimal | None = None
    cashSettlingMtm: Decimal | None = None
    netTradesSales: Decimal | None = None
    netTradesPurchases: Decimal | None = None
    fxTranslationGainLoss: Decimal | None = None
    endingCash: Decimal | None = None
    endingSettledCash: Decimal | None = None


class EquitySummaryByReportDateInBase(FlexRow, frozen=True, kw_only=True):
    """The account's value by kind at the end of a day, in its base currency."""

    reportDate: Day | None = None
    cash: Decimal | None = None
    stock: Decimal | None = None
    options: Decimal | None = None
    bonds: Decimal | None = None
    funds: Decimal | None = None
    commodities: Decimal | None = None
    crypto: Decimal | None = None
    notes: Decimal | None = None
    interestAccruals: Decimal | None = None
    dividendAccruals: Decimal | None = None
    forexCfdUnrealizedPl: Decimal | None = None
    cfdUnrealizedPl: Decimal | None = None
    total: Decimal | None = None


class ChangeInNAV(FlexRow, frozen=True, kw_only=True):
    """What the account's value changed by, in its base currency. twr: in percent."""

    fromDate: Day | None = None
    toDate: Day | None = None
    startingValue: Decimal | None = None
    mtm: Decimal | None = None
    realized: Decimal | None = None
    changeInUnrealized: Decimal | None = None
    depositsWithdrawals: Decimal | None = None
    internalCashTransfers: Decimal | None = None
    assetTransfers: Decimal | None = None
    dividends: Decimal | None = None
    withholdingTax: Decimal | None = None
    changeInDividendAccruals: Decimal | None = None
    interest: Decimal | None = None
    changeInInterestAccruals: Decimal | None = None
    advisorFees: Decimal | None = None
    brokerFees: Decimal | None = None
    otherFees: Decimal | None = None
    commissions: Decimal | None = None
    forexCommissions: Decimal | None = None
    transactionTax: Decimal | None = None
    netFxTrading: Decimal | None = None
    fxTranslation: Decimal | None = None
    corporateActionProceeds: Decimal | None = None
    other: Decimal | None = None
    endingValue: Decimal | None = None
    twr: Decimal | None = None


class CorporateAction(_Instrument, frozen=True, kw_only=True):
    """type: FS forward split, RS reverse split, CD cash dividend, SD stock dividend, SO spin-off, TC merger, …"""

    reportDate: Day | None = None
    dateTime: Moment | None = None
    type: str | None = None
    actionID: str | None = None
    actionDescription: str | None = None
    transactionID: str | None = None
    amount: Decimal | None = None
    proceeds: Decimal | None = None
    value: Decimal | None = None
    quantity: Decimal | None = None
    costBasis: Decimal | None = None
    fifoPnlRealized: Decimal | None = None
    mtmPnl: Decimal | None = None
    code: str | None = None


class OptionEAE(_Instrument, frozen=True, kw_only=True):
    """transactionType: Assignment, Exercise, Expiration, Cash Settlement; Buy and Sell are the stock's side of it."""

    transactionType: str | None = None
    date: Day | None = None
    quantity: Decimal | None = None
    tradePrice: Decimal | None = None
    markPrice: Decimal | None = None
    proceeds: Decimal | None = None
    commisionsAndTax: Decimal | None = None
    costBasis: Decimal | None = None
    realizedPnl: Decimal | None = None
    fxPnl: Decimal | None = None
    mtmPnl: Decimal | None = None
    tradeID: str | None = None
    relatedTradeID: str | None = None


class Transfer(_Instrument, frozen=True, kw_only=True):
    """Holdings and cash that came in or went out without a trade. account: the other side."""

    type: str | None = None
    direction: str | None = None
    reportDate: Day | None = None
    date: Day | None = None
    dateTime: Moment | None = None
    settleDate: Day | None = None
    company: str | None = None
    account: str | None = None
    deliveringBroker: str | None = None
    quantity: Decimal | None = None
    transferPrice: Decimal | None = None
    positionAmount: Decimal | None = None
    positionAmountInBase: Decimal | None = None
    pnlAmount: Decimal | None = None
    cashTransfer: Decimal | None = None
    transactionID: str | None = None
    clientReference: str | None = None
    code: str | None = None


class InterestAccrualsCurrency(FlexRow, frozen=True, kw_only=True):
    """One currency, or all in the base currency (BASE_SUMMARY)."""

    fromDate: Day | None = None
    toDate: Day | None = None
    startingAccrualBalance: Decimal | None = None
    interestAccrued: Decimal | None = None
    accrualReversal: Decimal | None = None
    fxTranslation: Decimal | None = None
    endingAccrualBalance: Decimal | None = None


class SecurityInfo(_Instrument, frozen=True, kw_only=True):
    """maturity: as sent, it is no day for every kind."""

    type: str | None = None
    maturity: str | None = None
    issueDate: Day | None = None
    underlyingCategory: str | None = None
    settlementPolicyMethod: str | None = None
    code: str | None = None


class ConversionRate(FlexRow, frozen=True, kw_only=True):
    """rate: units of `toCurrency` for one of `fromCurrency`, on that day."""

    reportDate: Day | None = None
    fromCurrency: str | None = None
    toCurrency: str | None = None
    rate: Decimal | None = None


class FxTransaction(FlexRow, frozen=True, kw_only=True):
    """A change of a foreign currency's balance, with what it cost and brought in the functional currency."""

    assetCategory: str | None = None
    reportDate: Day | None = None
    functionalCurrency: str | None = None
    fxCurrency: str | None = None
    activityDescription: str | None = None
    dateTime: Moment | None = None
    quantity: Decimal | None = None
    proceeds: Decimal | None = None
    cost: Decimal | None = None
    realizedPL: Decimal | None = None
    code: str | None = None


class FxLot(FlexRow, frozen=True, kw_only=True):
    """FxPositions: a foreign currency's balance (SUMMARY), or a lot of it."""

    assetCategory: str | None = None
    reportDate: Day | None = None
    functionalCurrency: str | None = None
    fxCurrency: str | None = None
    quantity: Decimal | None = None
    costPrice: Decimal | None = None
    costBasis: Decimal | None = None
    closePrice: Decimal | None = None
    value: Decimal | None = None
    unrealizedPL: Decimal | None = None
    code: str | None = None
    lotDescription: str | None = None
    lotOpenDateTime: Moment | None = None


class StatementOfFundsLine(_Instrument, frozen=True, kw_only=True):
    """A line of the account's cash book with the balance after it, by currency or all in the base currency."""

    reportDate: Day | None = None
    date: Moment | None = None
    settleDate: Day | None = None
    activityCode: str | None = None
    activityDescription: str | None = None
    tradeID: str | None = None
    orderID: str | None = None
    transactionID: str | None = None
    actionID: str | None = None
    buySell: str | None = None
    tradeQuantity: Decimal | None = None
    tradePrice: Decimal | None = None
    tradeGross: Decimal | None = None
    tradeCommission: Decimal | None = None
    tradeTax: Decimal | None = None
    tradeCode: str | None = None
    debit: Decimal | None = None
    credit: Decimal | None = None
    amount: Decimal | None = None
    balance: Decimal | None = None


class UnbundledCommissionDetail(_Instrument, frozen=True, kw_only=True):
    """What a commission is made of."""

    dateTime: Moment | None = None
    exchange: str | None = None
    buySell: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    tradeID: str | None = None
    orderReference: str | None = None
    totalCommission: Decimal | None = None
    brokerExecutionCharge: Decimal | None = None
    brokerClearingCharge: Decimal | None = None
    thirdPartyExecutionCharge: Decimal | None = None
    thirdPartyClearingCharge: Decimal | None = None
    thirdPartyRegulatoryCharge: Decimal | None = None
    other: Decimal | None = None
