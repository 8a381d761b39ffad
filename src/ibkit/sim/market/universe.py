"""The simulated world's stocks and index, as data: identities are IBKR's own, price levels are ours.

Source: docs/facts/contracts-and-market-data.md §1.1, §1.11, §9.1 (conids and exchanges of the real listings; public
IBKR numbers, assumed to be current). Exchange lists change often and are kept here as data.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

__all__ = [
    "FX_PAIRS",
    "FX_RATES",
    "LISTINGS",
    "OPTION_EXCHANGES",
    "STOCK_EXCHANGES",
    "UNDERLYINGS",
    "Listing",
    "Underlying",
]

STOCK_EXCHANGES = (
    *("SMART", "AMEX", "NYSE", "CBOE", "PHLX", "ISE", "CHX", "ARCA", "NASDAQ", "DRCTEDGE", "BEX", "BATS", "EDGEA"),
    *("BYX", "IEX", "EDGX", "FOXRIVER", "PEARL", "NYSENAT", "LTSE", "MEMX", "IBEOS", "OVERNIGHT", "PSX"),
)
"""Source: §1.11."""
OPTION_EXCHANGES = (
    *("SMART", "AMEX", "CBOE", "PHLX", "PSE", "ISE", "BOX", "BATS", "NASDAQOM", "CBOE2", "NASDAQBX", "MIAX", "GEMINI"),
    *("EDGX", "MERCURY", "PEARL", "EMERALD", "MEMX", "IBUSOPT"),
)
"""Source: §1.3."""
_INDEX_OPTION_EXCHANGES = ("SMART", "CBOE", "IBUSOPT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One row of a search: a stock or index on its primary exchange.

    trading_class, tape: as contract info and all-conids name them. kind: ETF, COMMON or IND. cfd: its CFD's conid.
    issuer: groups the listings of one company in /trsrv/stocks.
    """

    conid: int
    symbol: str
    name: str
    exchange: str
    trading_class: str
    sec_type: str = "STK"
    kind: str = "COMMON"
    currency: str = "USD"
    country: str = "US"
    cfd: int | None = None
    industry: str | None = None
    category: str | None = None
    size_increment: int = 100
    exchanges: tuple[str, ...] = STOCK_EXCHANGES
    option_exchanges: tuple[str, ...] = OPTION_EXCHANGES

    @property
    def is_us(self) -> bool:
        return self.country == "US"


@dataclass(frozen=True, slots=True, kw_only=True)
class Underlying:
    """How one of the quoted underlyings behaves. All numbers here are ours [sim].

    base: where its price starts. volatility: at the money, a year. beta: how far it follows the market as a whole.
    own_move: daily standard deviation of what is its own. dividend: yield. volume: shares a day.
    spread: of the stock itself, in cents. option_spread: share of an option's worth.
    bands: strikes are `step` apart within `reach` (a share of the price) of it; the narrowest band first.
    """

    symbol: str
    base: Decimal
    volatility: float
    beta: float
    own_move: float
    dividend: float
    volume: int
    spread: int
    bands: tuple[tuple[Decimal, float], ...]
    option_spread: float
    penny_class: bool


def _bands(*bands: tuple[str, float]) -> tuple[tuple[Decimal, float], ...]:
    return tuple((Decimal(step), reach) for step, reach in bands)


UNDERLYINGS: dict[str, Underlying] = {
    row.symbol: row
    for row in (
        Underlying(
            symbol="SPY",
            base=Decimal("630"),
            volatility=0.15,
            beta=1.0,
            own_move=0.0,
            dividend=0.012,
            volume=60_000_000,
            spread=1,
            bands=_bands(("1", 0.20), ("5", 0.50), ("10", 0.90)),
            option_spread=0.004,
            penny_class=True,
        ),
        Underlying(
            symbol="QQQ",
            base=Decimal("575"),
            volatility=0.19,
            beta=1.2,
            own_move=0.003,
            dividend=0.005,
            volume=45_000_000,
            spread=1,
            bands=_bands(("1", 0.20), ("5", 0.50), ("10", 0.90)),
            option_spread=0.005,
            penny_class=True,
        ),
        Underlying(
            symbol="AAPL",
            base=Decimal("270"),
            volatility=0.26,
            beta=1.1,
            own_move=0.009,
            dividend=0.004,
            volume=50_000_000,
            spread=1,
            bands=_bands(("2.5", 0.25), ("5", 0.60), ("10", 0.90)),
            option_spread=0.012,
            penny_class=False,
        ),
        Underlying(
            symbol="MSFT",
            base=Decimal("510"),
            volatility=0.23,
            beta=1.0,
            own_move=0.009,
            dividend=0.007,
            volume=22_000_000,
            spread=3,
            bands=_bands(("2.5", 0.20), ("5", 0.50), ("10", 0.90)),
            option_spread=0.015,
            penny_class=False,
        ),
        Underlying(
            symbol="TSLA",
            base=Decimal("400"),
            volatility=0.52,
            beta=1.8,
            own_move=0.022,
            dividend=0.0,
            volume=90_000_000,
            spread=2,
            bands=_bands(("2.5", 0.25), ("5", 0.60), ("10", 0.90)),
            option_spread=0.012,
            penny_class=False,
        ),
        Underlying(
            symbol="SPX",
            base=Decimal("6318"),
            volatility=0.15,
            beta=1.0,
            own_move=0.0,
            dividend=0.012,
            volume=0,
            spread=0,
            bands=_bands(("5", 0.20), ("25", 0.50), ("100", 0.90)),
            option_spread=0.008,
            penny_class=False,
        ),
    )
}


def _foreign(conid: int, symbol: str, name: str, exchange: str, currency: str, country: str) -> Listing:
    return Listing(
        conid=conid,
        symbol=symbol,
        name=name,
        exchange=exchange,
        trading_class=symbol,
        currency=currency,
        country=country,
        exchanges=(exchange,),
        option_exchanges=(),
    )


LISTINGS: tuple[Listing, ...] = (
    Listing(
        conid=756733,
        symbol="SPY",
        name="SPDR S&P 500 ETF TRUST",
        exchange="ARCA",
        trading_class="SPY",
        kind="ETF",
        cfd=134770228,
        industry="Funds",
        category="Equity Fund",
        size_increment=40,
    ),
    Listing(
        conid=320227571,
        symbol="QQQ",
        name="INVESCO QQQ TRUST SERIES 1",
        exchange="NASDAQ",
        trading_class="NMS",
        kind="ETF",
        industry="Funds",
        category="Equity Fund",
        size_increment=40,
    ),
    Listing(
        conid=265598,
        symbol="AAPL",
        name="APPLE INC",
        exchange="NASDAQ",
        trading_class="NMS",
        cfd=120549942,
        industry="Technology",
        category="Computers",
    ),
    Listing(
        conid=272093,
        symbol="MSFT",
        name="MICROSOFT CORP",
        exchange="NASDAQ",
        trading_class="NMS",
        industry="Technology",
        category="Software",
    ),
    Listing(
        conid=76792991,
        symbol="TSLA",
        name="TESLA INC",
        exchange="NASDAQ",
        trading_class="NMS",
        industry="Consumer, Cyclical",
        category="Auto Manufacturers",
    ),
    Listing(
        conid=416904,
        symbol="SPX",
        name="S&P 500 Stock Index",
        exchange="CBOE",
        trading_class="SPX",
        sec_type="IND",
        kind="IND",
        industry="Indices",
        category="Broad Range Equity Index",
        exchanges=("CBOE",),
        option_exchanges=_INDEX_OPTION_EXCHANGES,
    ),
    _foreign(38709152, "SPY", "SPDR S&P 500 ETF TRUST", "MEXI", "MXN", "MX"),
    _foreign(38708077, "AAPL", "APPLE INC", "MEXI", "MXN", "MX"),
    _foreign(273982664, "AAPL", "APPLE INC", "EBS", "CHF", "CH"),
    _foreign(532640894, "AAPL", "APPLE INC-CDR", "TSE", "CAD", "CA"),
    _foreign(38708990, "MSFT", "MICROSOFT CORP", "MEXI", "MXN", "MX"),
    _foreign(415569505, "MSFT", "MICROSOFT CORP", "EBS", "CHF", "CH"),
    # Not a real company: a symbol without any American listing, so that a client must ask which one is meant.
    _foreign(899000001, "TWIN", "SIMULATED TWIN PLC", "LSE", "GBP", "GB"),
    _foreign(899000002, "TWIN", "SIMULATED TWIN PLC", "IBIS", "EUR", "DE"),
)

FX_PAIRS: tuple[tuple[str, int], ...] = (
    ("USD.CHF", 12087820),
    ("EUR.USD", 12087792),
    ("GBP.USD", 12087797),
    ("USD.JPY", 15016059),
    ("USD.CAD", 15016062),
    ("USD.SGD", 37928772),
    ("USD.CZK", 34838409),
)
"""Source: §1.16, §9.1."""

FX_RATES: dict[str, Decimal] = {
    "USD": Decimal(1),
    "EUR": Decimal("0.86656614"),
    "CHF": Decimal("0.80"),
    "GBP": Decimal("0.755"),
    "JPY": Decimal("152.5"),
    "CAD": Decimal("1.39"),
    "SGD": Decimal("1.295"),
    "CZK": Decimal("21.1"),
    "MXN": Decimal("18.4"),
    "HKD": Decimal("7.78"),
}
"""Units of each currency for one dollar; the euro's as recorded (§1.16), the others ours and constant [sim]."""
