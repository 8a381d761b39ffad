"""What the routes of limits and the kill switch take and give. Names and values are those of `ibkit risk`."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "CancellingInfo",
    "HaltAnswer",
    "HaltForm",
    "HaltInfo",
    "LeftInfo",
    "LimitAnswer",
    "LimitChangeInfo",
    "LimitForm",
    "LimitInfo",
    "LimitsAnswer",
    "LimitsInfo",
    "OutInfo",
    "ReleaseAnswer",
    "ReleaseForm",
    "ReleaseInfo",
]

_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9. ]{1,20}$")]
_Note = Annotated[str, Meta(min_length=1, max_length=500, description="Why; kept with the change.")]


class HaltForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without account_id and symbol everything stops, paper and live. cancel-all is of an account, or of all."""

    note: _Note
    mode: Literal["block-new", "reduce-only", "cancel-all"] = "block-new"
    account_id: _Name | None = None
    symbol: _Name | None = None


class ReleaseForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ends the halts of exactly this account and symbol; without both those of everything.

    environment: where; else where a press with the same words stops: an account in the service's, all of them in both.
    """

    note: _Note
    account_id: _Name | None = None
    symbol: _Name | None = None
    environment: Literal["paper", "live"] | None = None


class HaltInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """until: it ends by itself then. control: the breaker that asked for it, else empty.

    by, released_by: ids of users, empty for whoever does not administer. released_by: who wants it to end; it waits for
    a second person then.
    """

    number: int
    environment: str
    mode: str
    account_id: str
    symbol: str
    by: str
    note: str
    at: datetime
    until: datetime | None
    control: str
    released_by: list[str]


class OutInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order that the halts are for and that was on its way already: nothing calls it back, so a person looks."""

    id: str
    account_id: str
    terms: str
    state: str


class LeftInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order that still works. error: what its cancel was answered, if it was refused."""

    order_id: str
    terms: str
    status: str
    error: str | None


class CancellingInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """account_id: empty while none is known. done: three complete lists of the broker showed no working order.

    incomplete, failed: look at the broker, for orders may still work. cancelled: the broker's numbers.
    """

    broker: str
    environment: str
    account_id: str
    state: Literal["running", "done", "incomplete", "failed"]
    began_at: datetime
    cancelled: list[str]
    left: list[LeftInfo]
    error: str | None


class HaltAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """already_out: at a press. cancelling: of the last cancel-all of this process, for each account of each login."""

    data: list[HaltInfo]
    already_out: list[OutInfo]
    cancelling: list[CancellingInfo]


class ReleaseInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """waiting: until a second person says the same."""

    ended: list[HaltInfo]
    waiting: list[HaltInfo]


class ReleaseAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: ReleaseInfo


class LimitInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """used, left: null where nothing is counted, or no account is named. source: the layer that says so, or default."""

    control: str
    name: str
    value: str
    used: Decimal | None
    left: Decimal | None
    source: str
    meaning: str


class LimitsInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """version: of what holds. halts: of this scope. waiting: changes that a second person has to confirm."""

    version: str
    environment: str
    account_id: str
    limits: list[LimitInfo]
    halts: list[HaltInfo]
    waiting: list[LimitChangeInfo]


class LimitsAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: LimitsInfo


class LimitForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """name, value: as `ibkit risk show` tells them; value null: back to that of the layer above.

    layer, whose: for whom; the whole environment by default. A user by id, a key by its id.
    environment: of an account its own; else that of the settings by default.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z_]{1,40}$")]
    value: Annotated[str, Meta(min_length=1, max_length=200)] | None
    note: _Note
    layer: Literal["environment", "user", "account", "key", "symbol"] = "environment"
    whose: Annotated[str, Meta(pattern=r"^[A-Za-z0-9. ]{1,40}$")] | None = None
    environment: Literal["paper", "live"] | None = None


class LimitChangeInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """in_force: false while it waits for a second person, who confirms it by its number."""

    number: int
    name: str
    layer: str
    whose: str
    old: str | None
    new: str | None
    by: str
    note: str
    at: datetime
    in_force: bool


class LimitAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: LimitChangeInfo
