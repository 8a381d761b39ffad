"""Users of a service for the tests: the real store on SQLite or PostgreSQL, a clock that is moved, cheap hashes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ibkit.bootstrap.users import VaultSealing
from ibkit.clock import ManualClock
from ibkit.model import Secret
from ibkit.store.records import open_records
from ibkit.store.users import SqlUsers
from ibkit.users import Cost, Finding, Hasher, Role, SignedIn, SignIns, TokenSigner, User, UserKeeper
from ibkit.users.attempts import NewPlace
from ibkit.users.totp import STEP_S, code_at
from ibkit.vault import KeyRing
from vaults import sealer

START = datetime(2026, 11, 27, 15, 0, tzinfo=UTC)
KEY = Secret("a-key-of-the-tests-that-is-long-enough")
PASSWORD = Secret("violet lamps near the harbour")
HERE, ELSEWHERE = "192.0.2.17", "198.51.100.9"
CHEAP = Cost(memory_kib=8, passes=1)


class Chance:
    """Random bytes that are the same in every run."""

    def __init__(self, seed: str = "users") -> None:
        self._seed = seed
        self._drawn = 0

    def __call__(self, count: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(f"{self._seed} {self._drawn}".encode()).digest(count)


@dataclass(slots=True)
class Users:
    clock: ManualClock
    store: SqlUsers
    keeper: UserKeeper
    sign_ins: SignIns
    signer: TokenSigner
    findings: list[Finding | NewPlace] = field(default_factory=list)

    async def add(self, name: str = "anna", role: Role = Role.TRADER) -> User:
        return await self.keeper.add(name, role, PASSWORD)

    async def signed_in(self, name: str = "anna", *, address: str = HERE) -> SignedIn:
        step = await self.sign_ins.sign_in(name, PASSWORD, address=address)
        assert isinstance(step, SignedIn)
        return step

    async def token(self, name: str = "anna") -> Secret[str]:
        return self.sign_ins.issue(await self.signed_in(name)).token

    async def with_totp(self, name: str = "anna") -> tuple[Secret[bytes], tuple[Secret[str], ...]]:
        """The app's secret and the recovery codes; the step of the confirming code is over."""
        import base64
        from urllib.parse import parse_qs, urlsplit

        address = await self.keeper.begin_totp(name)
        text = parse_qs(urlsplit(address.reveal()).query)["secret"][0]
        secret = Secret(base64.b32decode(text))
        codes = await self.keeper.confirm_totp(name, self.code(secret))
        self.clock.advance(2 * STEP_S)
        return secret, codes

    def code(self, secret: Secret[bytes]) -> str:
        return code_at(secret, int(self.clock.now().timestamp()) // STEP_S)

    def advance(self, **span: float) -> None:
        self.clock.advance(timedelta(**span).total_seconds())


@asynccontextmanager
async def opened(url: str, *, cost: Cost = CHEAP, seed: str = "users") -> AsyncIterator[Users]:
    database = open_records(Secret(url), parts=("users",))
    try:
        yield users_over(SqlUsers(database), cost=cost, seed=seed)
    finally:
        await database.close()


def users_over(store: SqlUsers, *, cost: Cost = CHEAP, seed: str = "users") -> Users:
    clock, chance, findings = ManualClock(START), Chance(seed), []
    hasher, sealing = Hasher(chance, cost), VaultSealing(sealer(KeyRing(Secret(b"v" * 32)), random=chance))
    signer = TokenSigner(KEY)

    async def tell(finding: Finding | NewPlace) -> None:
        findings.append(finding)

    return Users(
        clock=clock,
        store=store,
        keeper=UserKeeper(store, hasher, sealing, clock=clock, random=chance),
        sign_ins=SignIns(store, signer, hasher, sealing, clock=clock, random=chance, tell=tell),
        signer=signer,
        findings=findings,
    )


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder}/users.sqlite"
