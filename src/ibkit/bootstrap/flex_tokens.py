"""Users' own tokens of IBKR's Flex Web Service, in the vault: whose statements are fetched says the token.

With ENABLE_MULTI_USER alone; else the token is FLEX_TOKEN of the settings. Requirements FUT-08, VLT-01, VLT-07.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import msgspec

from ibkit.errors import StorageError, discreet
from ibkit.model import Secret, mask
from ibkit.store.vault import SqlVault
from ibkit.vault import Place

__all__ = ["RECORD", "FlexAccess", "FlexTokens"]

RECORD: Final = "flex"
"""Of the vault, for each user."""
_FIELD: Final = "access"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexAccess:
    """expires_on: the day that the Client Portal shows for the token, where it was given. changed_at: when this was."""

    token: Secret[str]
    query_id: str
    expires_on: date | None = None
    changed_at: datetime | None = None

    @property
    def shown(self) -> str:
        """What may be seen of the token."""
        return mask(self.token.reveal())


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    token: str
    query_id: str
    expires_on: date | None
    changed_at: datetime | None

    def __repr__(self) -> str:
        return "_Kept()"


class FlexTokens:
    """All of one user's is one text of the vault: a token without its query fetches nothing."""

    def __init__(self, vault: SqlVault) -> None:
        self._vault = vault

    async def of(self, user_id: str) -> FlexAccess | None:
        """StorageError (E-ENC)."""
        text = await self._vault.get(_place(user_id))
        return None if text is None else _read(text)

    async def put(self, user_id: str, access: FlexAccess) -> None:
        """In the place of the one before, which IBKR ends when a new one is made. StorageError."""
        await self._vault.put(_place(user_id), _text_of(access))

    async def forget(self, user_id: str) -> bool:
        """Whether there was one."""
        return await self._vault.forget(user=user_id, record=RECORD) > 0


@discreet
def _read(text: Secret[str]) -> FlexAccess:
    try:
        kept = msgspec.json.decode(text.reveal(), type=_Kept)
    except msgspec.DecodeError:
        raise StorageError(
            "Encryption failed: a kept Flex token is none of this version",
            code="E-ENC",
            remedy="Give the token anew.",
        ) from None
    return FlexAccess(
        token=Secret(kept.token), query_id=kept.query_id, expires_on=kept.expires_on, changed_at=kept.changed_at
    )


@discreet
def _text_of(access: FlexAccess) -> Secret[str]:
    kept = _Kept(
        token=access.token.reveal(),
        query_id=access.query_id,
        expires_on=access.expires_on,
        changed_at=access.changed_at,
    )
    return Secret(msgspec.json.encode(kept).decode())


def _place(user_id: str) -> Place:
    return Place(user_id, RECORD, _FIELD)
