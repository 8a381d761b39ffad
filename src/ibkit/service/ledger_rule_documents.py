"""By which rule lots are closed, and what was told otherwise before, as the interface tells them. FUT-08."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ibkit.portfolio.ledger import Rules
from ibkit.service.ledger_documents import TransactionInfo, transaction_info
from ibkit.store.ledgers import KeptCorrection

__all__ = [
    "CorrectionInfo",
    "CorrectionsInfo",
    "LedgerRulesForm",
    "LedgerRulesInfo",
    "PickInfo",
    "PickedLot",
    "corrections_info",
    "rules_info",
]

MOST_PICKS = 1_000
_Key = Annotated[str, Meta(min_length=1, max_length=200)]


class PickedLot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """opened_by: key of the transaction that opened the lot. quantity: of it, above 0."""

    opened_by: _Key
    quantity: Decimal


class PickInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """closed_by: key of the closing trade. lots: none takes the pick away."""

    closed_by: _Key
    lots: Annotated[list[PickedLot], Meta(max_length=MOST_PICKS)]


class LedgerRulesForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is. picks: take the place of those of the same closing trades."""

    lot_order: Literal["fifo", "lifo", "specific"] | None = None
    premium_into_stock: bool | None = None
    picks: Annotated[list[PickInfo], Meta(max_length=MOST_PICKS)] = []


class LedgerRulesInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """premium_into_stock: whether an assigned or exercised option's premium goes into the cost of the stock."""

    account: str
    currency: str
    lot_order: str
    premium_into_stock: bool
    picks: list[PickInfo]


class CorrectionInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """before: what was told first, and what else the newer one stands for. changed: what it moved otherwise.

    digest: of the payload that told otherwise, which `raw` has.
    """

    number: int
    noted_at: datetime
    digest: str
    changed: list[str]
    before: list[TransactionInfo]
    after: TransactionInfo


class CorrectionsInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Oldest first. next: where the next page begins, null after the last one."""

    account: str
    corrections: list[CorrectionInfo]
    next: int | None = None


def rules_info(account: str, rules: Rules) -> LedgerRulesInfo:
    return LedgerRulesInfo(
        account=account,
        currency=rules.base,
        lot_order=rules.order.value,
        premium_into_stock=rules.premium_into_stock,
        picks=[
            PickInfo(closed_by=closing, lots=[PickedLot(opened_by=key, quantity=size) for key, size in parts])
            for closing, parts in sorted(rules.picks.items())
        ],
    )


def corrections_info(
    account: str, these: Sequence[KeptCorrection], *, skip: int = 0, most: int | None = None
) -> CorrectionsInfo:
    page = these[skip:] if most is None else these[skip : skip + most]
    ends = skip + len(page)
    return CorrectionsInfo(
        account=account,
        corrections=[
            CorrectionInfo(
                number=each.number,
                noted_at=each.noted_at,
                digest=each.digest,
                changed=list(each.correction.what),
                before=[transaction_info(old) for old in (each.correction.before, *each.correction.also)],
                after=transaction_info(each.correction.after),
            )
            for each in page
        ],
        next=ends if ends < len(these) else None,
    )
