"""The scenario many-positions, put into the books.

Source: requirements, table "Simulator scenarios".
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from ibkit.sim.exchange.books import AccountBook, trade_day
from ibkit.sim.exchange.history import TransferredIn

if TYPE_CHECKING:
    from ibkit.sim.market.instruments import Instrument
    from ibkit.sim.world import World

__all__ = ["MANY", "Holdings"]

MANY = 230
"""Positions of the first account under many-positions."""


_SPARE = timedelta(days=7)
"""Options that expire sooner are left out, so that the count holds for a while."""


class Holdings:
    """Follows the scenario: `apply` may be called at any time and changes something only when it was switched."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seeded: dict[int, tuple[Instrument, Decimal]] = {}

    def apply(self) -> None:
        """Bring the first account's holdings in line with the scenario."""
        wanted = self._world.faults.on("many-positions")
        if wanted == bool(self._seeded):
            return
        account = self._world.users_at_start[0].accounts[0].id
        if wanted:
            self._add(account)
        else:
            self._remove(account)
        self._world.books.invalidate(account)

    def _add(self, account: str) -> None:
        """One of each, as if transferred in: stocks first, then the option chains."""
        book = self._world.books[account]
        taken = {conid for conid, holding in book.holdings.items() if holding.quantity != 0}
        for instrument in self._candidates():
            if len(taken) >= MANY:
                break
            if instrument.conid in taken:
                continue
            price = self._world.market.quote(instrument.conid, self._world.now).mark or Decimal(0)
            self._transfer(book, instrument, Decimal(1), price)
            self._seeded[instrument.conid] = (instrument, price)
            taken.add(instrument.conid)
        book.day_start = self._world.books.portfolio(account, self._world.now).values.net_liquidation

    def _remove(self, account: str) -> None:
        book = self._world.books[account]
        for conid, (instrument, price) in self._seeded.items():
            # One that was traded meanwhile is somebody's own doing, and stays.
            if book.quantity(conid) == 1 and book.holdings[conid].cost == price * instrument.multiplier:
                self._transfer(book, instrument, Decimal(-1), price)
        self._seeded.clear()

    def _transfer(self, book: AccountBook, instrument: Instrument, quantity: Decimal, price: Decimal) -> None:
        book.transfer(instrument, quantity, price)
        number = self._world.books.next_number()
        book.history.append(
            TransferredIn(
                number=number,
                account=book.id,
                at=self._world.now,
                instrument=instrument,
                quantity=quantity,
                price=price,
            )
        )

    def _candidates(self) -> Iterator[Instrument]:
        instruments, today = self._world.instruments, trade_day(self._world.now)
        stocks = [i for i in instruments.underlyings if i.sec_type == "STK"]
        yield from stocks
        for stock in stocks:
            for option in instruments.chain(stock.symbol, today):
                if option.expiry is not None and option.expiry > today + _SPARE:
                    yield option
