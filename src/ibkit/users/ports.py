"""What the rules of this room need from outside: where users are kept, and who is told of a finding."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from ibkit.model import Secret
from ibkit.users.api_keys import ApiKey
from ibkit.users.attempts import Attempt, Begun, Finding, NewPlace
from ibkit.users.browser import BrowserSession
from ibkit.users.user import User

__all__ = ["Change", "Sealing", "TellFinding", "UserStore", "untold"]

Change = Callable[[User], User]
"""From a record to the next one. It may be called a second time, and what it raises leaves everything as it was."""
TellFinding = Callable[[Finding | NewPlace], Awaitable[None]]


async def untold(finding: Finding | NewPlace) -> None:
    """For those who watch over nothing: the failures stand in the list all the same."""


class Sealing(Protocol):
    """What keeps the secret of the second step unreadable where it is stored."""

    def seal(self, user_id: str, secret: Secret[bytes]) -> str:
        """ConfigError (E-ENC-KEY) where there is no key to seal with."""
        ...

    def open(self, user_id: str, sealed: str) -> Secret[bytes]:
        """ConfigError (E-ENC-KEY), StorageError (E-ENC)."""
        ...


class UserStore(Protocol):
    """Each call is one transaction, on disk when it returns. StorageError (E-DB)."""

    async def add(self, user: User, *, only_if_first: bool = False) -> bool:
        """Whether it was added: with only_if_first not where any user is. ConfigError where the name is taken."""
        ...

    async def get(self, user_id: str) -> User | None: ...

    async def named(self, name: str) -> User | None: ...

    async def with_link(self, link_hash: str) -> User | None: ...

    async def users(self) -> Sequence[User]:
        """All of them by name."""
        ...

    async def change(self, user_id: str, change: Change, *, at: datetime) -> User:
        """The record after `change`, made by one at a time.

        A new generation ends the user's browser sessions; a user who is disabled by it loses their keys too. NotFound;
        ConfigError (E-FORBIDDEN) where no enabled owner would be left.
        """
        ...

    async def remove(self, user_id: str, *, allowed: Callable[[User], None]) -> User:
        """The user as they were, who is gone with their keys, browser sessions and known networks.

        allowed: raises where it must not be, asked inside. NotFound; ConfigError (E-FORBIDDEN) for the last owner.
        """
        ...

    async def standing(self, user_id: str, token_id: str) -> User | None:
        """The user, unless the token was revoked. Quick: it is asked for with each request."""
        ...

    async def revoke_token(self, token_id: str, *, user_id: str, expires_at: datetime, at: datetime) -> bool:
        """Whether it was us who revoked it: of two at once one is told so. Revocations of tokens that are over go."""
        ...

    async def add_key(self, key: ApiKey) -> None:
        """NotFound where the user is gone or disabled meanwhile."""
        ...

    async def key(self, key_id: str) -> tuple[ApiKey, User] | None:
        """Quick, as `standing`."""
        ...

    async def keys(self, user_id: str | None = None) -> Sequence[ApiKey]:
        """Newest first."""
        ...

    async def revoke_key(self, key_id: str, *, at: datetime) -> bool:
        """Whether there was one to revoke."""
        ...

    async def key_used(self, key_id: str, *, at: datetime) -> None: ...

    async def put_session(self, session: BrowserSession, *, replaces: str = "") -> None:
        """replaces: the hash of the id that the browser had before, which is over with this."""
        ...

    async def session(self, id_hash: str) -> tuple[BrowserSession, User] | None:
        """Quick, as `standing`."""
        ...

    async def sessions(self, user_id: str) -> Sequence[BrowserSession]: ...

    async def session_seen(self, id_hash: str, *, at: datetime) -> None: ...

    async def end_session(self, id_hash: str) -> None: ...

    async def begin(self, attempt: Attempt) -> Begun:
        """Writes the attempt down as a failure, and says whether it has to wait (`attempts.waits_until`)."""
        ...

    async def withdraw(self, attempt: Attempt, *, succeeded: bool) -> bool:
        """It was no failure. succeeded: the sign-in is whole, so those before it are forgiven and the network known.

        Whether the account has signed in before, and from this network for the first time.
        """
        ...

    async def requested(self, user_id: str, *, at: datetime, most: int, within: timedelta) -> datetime | None:
        """None, and the request is counted; or, of one beyond `most` in any `within`, when the next may be made."""
        ...

    async def failures(self, *, since: datetime, most: int = 500) -> Sequence[Attempt]:
        """Newest first."""
        ...
