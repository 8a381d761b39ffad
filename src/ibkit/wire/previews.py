"""What a preview of an order (whatif) is answered. Source: docs/facts/orders.md §5."""

from __future__ import annotations

from typing import Any

import msgspec

from ibkit.model import Preview
from ibkit.wire.numbers import amount

__all__ = ["WhatIf", "preview_from_wire"]


class MoneyText(msgspec.Struct):
    amount: Any = None
    commission: Any = None
    total: Any = None


class BeforeAfter(msgspec.Struct):
    current: Any = None
    change: Any = None
    after: Any = None


class WhatIf(msgspec.Struct):
    """Figures are text with thousands marks. Source: §5."""

    amount: MoneyText | None = None
    equity: BeforeAfter | None = None
    initial: BeforeAfter | None = None
    maintenance: BeforeAfter | None = None
    position: BeforeAfter | None = None
    warn: str | None = None
    warns: list[str] | None = None
    error: str | None = None


def preview_from_wire(row: WhatIf) -> Preview:
    initial, maintenance = row.initial or BeforeAfter(), row.maintenance or BeforeAfter()
    money, equity = row.amount or MoneyText(), row.equity or BeforeAfter()
    warnings = tuple(row.warns or ((row.warn,) if row.warn else ()))
    return Preview(
        amount=amount(money.amount).value,
        commission=amount(money.commission).value,
        initial_margin_change=amount(initial.change).value,
        initial_margin_after=amount(initial.after).value,
        maintenance_margin_change=amount(maintenance.change).value,
        maintenance_margin_after=amount(maintenance.after).value,
        equity_after=amount(equity.after).value,
        warnings=warnings,
        error=row.error or None,
    )
