"""A statement as XML: the answer's root, one statement for each account and, broken out, for each day.

Source: docs/facts/accounts-and-portfolio.md §6.4.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING

from ibkit.sim.flex.period import Period
from ibkit.sim.flex.queries import ACTIVITY_SECTIONS, SimFlexQuery, Writer
from ibkit.sim.flex.sections import ROWS
from ibkit.sim.flex.trades import confirm_rows

if TYPE_CHECKING:
    from ibkit.sim.world import World

__all__ = ["make_statement"]

_ALONE = frozenset({"AccountInformation", "ChangeInNAV"})
"""Sections that are their one row."""


def make_statement(world: World, query: SimFlexQuery, first: date, last: date, until: datetime | None) -> bytes:
    """until: for data that ends within the last day."""
    writer = Writer(query)
    days = world.calendar.days_between(first, last) if query.breakout else ()
    spans = [(day, day) for day in days] if query.breakout else [(first, last)]
    parts = [
        "".join(_statement(world, query, writer, account, begin, end, until))
        for account in query.accounts
        for begin, end in spans
    ]
    head = writer.element("FlexQueryResponse", {"queryName": query.name, "type": query.type}).replace(" />", ">")
    return "".join(
        (f'{head}\n<FlexStatements count="{len(parts)}">\n', *parts, "</FlexStatements>\n</FlexQueryResponse>")
    ).encode()


def _statement(
    world: World,
    query: SimFlexQuery,
    writer: Writer,
    account: str,
    first: date,
    last: date,
    until: datetime | None,
) -> Iterator[str]:
    period = Period(world, account, first, last, until)
    attributes = {
        "accountId": account,
        "fromDate": first,
        "toDate": last,
        "period": query.period if query.type == "AF" else "",
        "whenGenerated": world.now,
    }
    yield writer.element("FlexStatement", attributes).replace(" />", ">") + "\n"
    if query.type == "TCF":
        yield "<TradeConfirms>\n"
        for tag, row in confirm_rows(world, period):
            yield writer.element(tag, row) + "\n"
        yield "</TradeConfirms>\n"
    else:
        for section in ACTIVITY_SECTIONS:
            if section not in query.sections:
                continue
            rows = "".join(writer.element(tag, row) + "\n" for tag, row in ROWS[section](world, period))
            if section == "FxPositions":
                rows = f"<FxLots>\n{rows}</FxLots>\n"  # Source: §6.6 (client)
            yield rows if section in _ALONE else f"<{section}>\n{rows}</{section}>\n"
    yield "</FlexStatement>\n"
