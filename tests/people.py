"""Users of a service, for tests: tokens that name who holds them, and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ibkit.errors import AuthError
from ibkit.model import AccountId, Secret
from ibkit.users.principal import Principal, Role, Scope

__all__ = ["People", "account", "person"]

PAPER = frozenset({Scope.READ, Scope.ORDERS_PAPER})


def person(name: str = "ada", **changes: object) -> Principal:
    given: dict[str, object] = {
        "user_id": f"user-{name}",
        "name": name,
        "role": Role.TRADER,
        "scopes": PAPER,
        "token_id": f"token-{name}",
        "signed_in_at": datetime.now(UTC),
    }
    return Principal(**(given | changes))  # type: ignore[arg-type]


def account(*names: str) -> frozenset[AccountId]:
    return frozenset(AccountId(name) for name in names)


@dataclass
class People:
    """token → who holds it; every other token is refused, and counted by its address."""

    holders: dict[str, Principal] = field(default_factory=lambda: {"ada": person("ada"), "bob": person("bob")})
    failures: Counter[str] = field(default_factory=Counter)

    async def authenticate(self, token: Secret[str], *, address: str) -> Principal:
        found = self.holders.get(token.reveal())
        if found is None:
            self.failures[address] += 1
            raise AuthError(code="E-APP-AUTH")
        return found
