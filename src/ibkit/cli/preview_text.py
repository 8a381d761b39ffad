"""A sale before it is made, for a person: legs, money, exits, margin, and each limit with what is left of it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ibkit.cli import output
from ibkit.model import to_cents
from ibkit.trading.selling.preview import LegPreview, LimitReading, SalePreview

__all__ = ["exit_time", "preview_document", "preview_text"]

_NEW_YORK = ZoneInfo("America/New_York")


def preview_text(preview: SalePreview) -> str:
    legs = output.table(
        ("Leg", "Option", "Bid", "Ask", "Mid", "Delta"),
        [_leg(leg, preview.quantity) for leg in preview.legs],
        right={2, 3, 4, 5},
    )
    rows = [
        ("Credit", f"{money(preview.credit)} at {preview.entry} each, break-even at {preview.break_even}"),
        ("Stop", _stop(preview)),
        *([("Take profit", f"bought back at {preview.take_profit}")] if preview.take_profit is not None else []),
        *([("Exit at", exit_time(preview.exit_at))] if preview.exit_at is not None else []),
        (
            "Max loss",
            "unlimited" if preview.max_loss is None else f"{money(preview.max_loss)} at expiry, without the stop",
        ),
        ("Margin", _margin(preview)),
        ("Commission", _or_dash(preview.margin.commission)),
    ]
    text = "\n".join([_indented(legs), *(f"  {name:<13}{value}" for name, value in rows)])
    return text if not preview.limits else f"{text}\n{_indented(limits_table(preview.limits))}"


def _leg(leg: LegPreview, quantity: Decimal) -> tuple[object, ...]:
    delta = "-" if leg.quote.delta is None else f"{leg.quote.delta:+.2f}"
    name = f"{leg.side.value} {quantity.normalize():f}"
    return name, leg.contract.label, leg.quote.bid, leg.quote.ask, leg.quote.mid, delta


def _stop(preview: SalePreview) -> str:
    risk = f"maximum risk {money(preview.max_risk)} at that price"
    if preview.trail is not None:
        return f"trailing by {preview.trail.label}, from {preview.stop}; {risk}"
    return f"{preview.stop}; {risk}"


def _margin(preview: SalePreview) -> str:
    margin = preview.margin
    return (
        f"initial {_change(margin.initial_margin_change, margin.initial_margin_after)}, "
        f"maintenance {_change(margin.maintenance_margin_change, margin.maintenance_margin_after)}"
    )


def _change(change: Decimal | None, after: Decimal | None) -> str:
    told = "-" if change is None else f"{change:+f}"
    return told if after is None else f"{told} to {after:f}"


def limits_table(limits: tuple[LimitReading, ...]) -> str:
    """The limits that leave a measurable rest, and whatever does not simply hold; the others as a number.

    `--json` has all of them.
    """
    told = [limit for limit in limits if limit.state != "off" and (limit.headroom is not None or limit.state != "ok")]
    others = sum(limit.state == "ok" for limit in limits) - sum(limit.state == "ok" for limit in told)
    rows = [
        (
            limit.name,
            limit.value or "-",
            limit.limit or "-",
            "-" if limit.headroom is None else f"{limit.headroom:f}",
            limit.state,
        )
        for limit in told
    ]
    table = output.table(("Limit", "This order", "Limit is", "Left", "State"), rows, right={1, 2, 3})
    return f"{table}\n{others} other limits hold." if others else table


def exit_time(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone(_NEW_YORK):%Y-%m-%d %H:%M} in New York, by the worker"


def preview_document(preview: SalePreview | None) -> dict[str, Any] | None:
    """All of it for `--json`; amounts of money to the cent."""
    if preview is None:
        return None
    return {
        "legs": [
            {
                "side": leg.side,
                "contract_id": leg.contract.conid,
                "option": leg.contract.label,
                "bid": leg.quote.bid,
                "ask": leg.quote.ask,
                "mid": leg.quote.mid,
                "delta": leg.quote.delta,
            }
            for leg in preview.legs
        ],
        "quantity": preview.quantity,
        "entry": preview.entry,
        "credit": to_cents(preview.credit),
        "stop": preview.stop,
        "trail": None if preview.trail is None else preview.trail.label,
        "take_profit": preview.take_profit,
        "exit_at": preview.exit_at,
        "max_risk": None if preview.max_risk is None else to_cents(preview.max_risk),
        "max_loss": None if preview.max_loss is None else to_cents(preview.max_loss),
        "break_even": preview.break_even,
        "margin": {
            "initial_change": preview.margin.initial_margin_change,
            "initial_after": preview.margin.initial_margin_after,
            "maintenance_change": preview.margin.maintenance_margin_change,
            "maintenance_after": preview.margin.maintenance_margin_after,
            "equity_after": preview.margin.equity_after,
        },
        "commission": preview.margin.commission,
        "limits": preview.limits,
    }


def _indented(table: str) -> str:
    return "\n".join(f"  {line}" for line in table.splitlines())


def _or_dash(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:f}"


def money(value: Decimal | None) -> str:
    return "-" if value is None else f"{value:.2f}"
