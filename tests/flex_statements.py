"""Flex statements made for tests, in the shapes of docs/facts/accounts-and-portfolio.md §6.4."""

from __future__ import annotations

__all__ = ["ACCOUNT", "ACTIVITY", "activity", "statement"]

ACCOUNT = "DU1234567"

_TRADE = (
    'accountId="DU1234567" currency="USD" fxRateToBase="1" assetCategory="OPT" symbol="SPY   260821P00540000" '
    'description="SPY 21AUG26 540 P" conid="700000101" underlyingConid="756733" underlyingSymbol="SPY" '
    'multiplier="100" strike="540" expiry="20260821" putCall="P" tradeID="7700112233" ibOrderID="684395693" '
    'ibExecID="0000e0d5.6a4b1c2d.01.01" transactionID="33501" dateTime="20260706;093602" orderTime="20260706;093511" '
    'tradeDate="20260706" settleDateTarget="20260707" exchange="CBOE" buySell="SELL" openCloseIndicator="O" '
    'quantity="-1" tradePrice="2.5" tradeMoney="-250" proceeds="250" taxes="0" ibCommission="-0.7" '
    'ibCommissionCurrency="USD" netCash="249.3" cost="-249.3" fifoPnlRealized="0" mtmPnl="19" '
    'orderReference="shrt-77" orderType="LMT" isAPIOrder="Y" notes="" transactionType="ExchTrade"'
)
_POSITION = (
    'accountId="DU1234567" currency="USD" fxRateToBase="1" assetCategory="OPT" symbol="SPY   260821P00540000" '
    'conid="700000101" reportDate="20260706" position="-1" markPrice="2.31" positionValue="-231" openPrice="2.493" '
    'costBasisPrice="2.493" costBasisMoney="-249.3" percentOfNAV="0.02" fifoPnlUnrealized="18.3" side="Short" '
    'multiplier="100"'
)
_CASH = (
    'accountId="DU1234567" currency="USD" fxRateToBase="1" type="Dividends" amount="31.2" symbol="SPY" conid="756733" '
    'description="SPY(US78462F1030) CASH DIVIDEND USD 1.76 PER SHARE" reportDate="20260706" code=""'
)

SECTIONS = f"""
<AccountInformation accountId="DU1234567" currency="USD" name="Sim User"
  accountType="Individual" dateOpened="20260201"/>
<Trades>
 <Order {_TRADE} levelOfDetail="ORDER"/>
 <Trade {_TRADE} levelOfDetail="EXECUTION"/>
 <Lot accountId="DU1234567" currency="USD" conid="700000101" quantity="-1"
  openDateTime="20260701;100000" levelOfDetail="CLOSED_LOT"/>
 <SymbolSummary {_TRADE} levelOfDetail="SYMBOL_SUMMARY"/>
</Trades>
<OpenPositions>
 <OpenPosition {_POSITION} levelOfDetail="SUMMARY"/>
 <OpenPosition {_POSITION} levelOfDetail="LOT"
  openDateTime="20260706;093602" originatingOrderID="684395693"/>
</OpenPositions>
<CashTransactions>
 <CashTransaction {_CASH} levelOfDetail="DETAIL"
  dateTime="20260706;202000" settleDate="20260706" transactionID="33777"/>
 <CashTransaction {_CASH} levelOfDetail="SUMMARY"
  dateTime="20260706" settleDate="20260706" transactionID=""/>
</CashTransactions>
<CashReport>
 <CashReportCurrency accountId="DU1234567" currency="BASE_SUMMARY" levelOfDetail="BaseCurrency"
  fromDate="20260706" toDate="20260706" startingCash="1000" endingCash="1,280.5"/>
 <CashReportCurrency accountId="DU1234567" currency="USD" levelOfDetail="Currency"
  fromDate="20260706" toDate="20260706" startingCash="1000" endingCash="1,280.5"/>
</CashReport>
<ConversionRates>
 <ConversionRate reportDate="20260706" fromCurrency="EUR" toCurrency="USD" rate="1.0875"/>
</ConversionRates>
<CorporateActions></CorporateActions>
"""


def statement(sections: str = SECTIONS, *, account: str = ACCOUNT, day: str = "20260706") -> str:
    return (
        f'<FlexStatement accountId="{account}" fromDate="{day}" toDate="{day}" period="LastBusinessDay" '
        f'whenGenerated="20260707;031512">{sections}</FlexStatement>'
    )


def activity(*statements: str, count: int | None = None) -> bytes:
    number = len(statements) if count is None else count
    return (
        f'<FlexQueryResponse queryName="sim-activity" type="AF"><FlexStatements count="{number}">'
        + "".join(statements)
        + "</FlexStatements></FlexQueryResponse>"
    ).encode()


ACTIVITY = activity(statement())
