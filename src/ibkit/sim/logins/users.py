"""The simulator's default users and their key material: made once, read from a folder, put into the world's logins.

<folder>/dhparam.pem                                     one group for everybody
<folder>/<username>/{private,public}_{signature,encryption,oauth2}.pem
<folder>/vendor/{private,public}_{signature,encryption}.pem    a third party's application
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from ibkit.sim.logins.logins import AccessToken, Consumer, Logins, OAuth2Client, RsaPublicKey, SimAccount, User
from ibkit.sim.logins.rsa import encrypt
from ibkit.wire.dh import DhParams, parse_params_pem

__all__ = ["DEFAULT_USERS", "VENDOR", "VENDOR_CONSUMER_KEY", "Directory", "UserKeys"]

VENDOR = "vendor"
VENDOR_CONSUMER_KEY = "SIMVENDOR"
VENDOR_CALLBACK = "http://127.0.0.1:8000/oauth1/callback"
KEY_ID = "main"
SCOPES = frozenset({"sso-sessions.write", "echo.read", "echo.write"})


def _paper(account_id: str, title: str) -> SimAccount:
    return SimAccount(id=account_id, paper=True, title=title)


DEFAULT_USERS: tuple[User, ...] = (
    User(
        username="simpaper1",
        password="sim-password-1",  # noqa: S106  # a throw-away of the simulator, shown in simulator.json
        user_id=100000001,
        accounts=(_paper("DU1000001", "Sim Paper One"),),
        spare_accounts=(_paper("DU1000002", "Sim Paper One, second"),),
        is_paper=True,
    ),
    User(
        username="simpaper2",
        password="sim-password-2",  # noqa: S106  # as above
        user_id=100000002,
        accounts=(_paper("DU2000001", "Sim Paper Two"), _paper("DU2000002", "Sim Paper Two, second")),
        is_paper=True,
    ),
    User(
        username="simlive1",
        password="sim-password-3",  # noqa: S106  # as above
        user_id=100000003,
        accounts=(SimAccount(id="U3000001", paper=False, title="Sim Live", cash=Decimal("250000.00")),),
        is_paper=False,
    ),
)

_CONSUMER_KEYS = {"simpaper1": "SIMPAPERA", "simpaper2": "SIMPAPERB", "simlive1": "SIMLIVEUS"}
_CLIENT_IDS = {"simpaper1": "SimPaper1-Paper", "simpaper2": "SimPaper2-Paper", "simlive1": "SimLive1-Prod"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UserKeys:
    """What one user puts into settings; the counterpart stands in `Logins`. Paths are absolute."""

    user: User
    consumer_key: str
    realm: str
    access_token: str
    access_token_secret: str = field(repr=False)
    signature_key: Path
    encryption_key: Path
    dhparam: Path
    client_id: str
    client_key_id: str
    oauth2_key: Path
    scope: str = "sso-sessions.write"


class Directory:
    """Key material of all users, read from `folder`. Tokens and secrets follow from the seed."""

    def __init__(self, folder: Path, *, seed: int, users: tuple[User, ...] = DEFAULT_USERS) -> None:
        self.folder = folder.resolve()
        self.users = users
        self.dhparam = self.folder / "dhparam.pem"
        self.dh: DhParams = parse_params_pem(self.dhparam.read_text())
        self._seed = seed
        self._public: dict[Path, RsaPublicKey] = {}
        self._tokens = {user.username: self._access_token(user) for user in users}

    def key(self, owner: str, name: str) -> Path:
        """Path of the private key `name` (signature, encryption, oauth2) of a user or of the vendor."""
        return self.folder / owner / f"private_{name}.pem"

    def credentials(self) -> Iterator[UserKeys]:
        """The settings of each user, in the users' order."""
        for user in self.users:
            token = self._tokens[user.username]
            yield UserKeys(
                user=user,
                consumer_key=token.consumer_key,
                realm="limited_poa",
                access_token=token.token,
                access_token_secret=token.encrypted_secret,
                signature_key=self.key(user.username, "signature"),
                encryption_key=self.key(user.username, "encryption"),
                dhparam=self.dhparam,
                client_id=_CLIENT_IDS[user.username],
                client_key_id=KEY_ID,
                oauth2_key=self.key(user.username, "oauth2"),
            )

    def logins(self) -> Logins:
        """A fresh registry, as IBKR's side of these credentials: nobody is signed in."""
        consumers = [
            self._consumer(_CONSUMER_KEYS[user.username], user.username, owner=user.username) for user in self.users
        ]
        vendor = self._consumer(VENDOR_CONSUMER_KEY, VENDOR, callback=VENDOR_CALLBACK)
        clients = [
            OAuth2Client(
                client_id=_CLIENT_IDS[user.username],
                keys={KEY_ID: self._read(user.username, "oauth2")},
                usernames=frozenset({user.username}),
                scopes=SCOPES,
            )
            for user in self.users
        ]
        tokens = self._tokens.values()
        return Logins(self.users, consumers=[*consumers, vendor], access_tokens=tokens, oauth2_clients=clients)

    def _consumer(self, key: str, folder: str, *, owner: str | None = None, callback: str | None = None) -> Consumer:
        return Consumer(
            key=key,
            signature_key=self._read(folder, "signature"),
            encryption_key=self._read(folder, "encryption"),
            dh_prime=self.dh.prime,
            dh_generator=self.dh.generator,
            owner=owner,
            callback=callback,
        )

    def _access_token(self, user: User) -> AccessToken:
        chance = random.Random(f"{self._seed}/access token/{user.username}")  # noqa: S311  # seeded on purpose
        secret = chance.randbytes(32)
        return AccessToken(
            token=f"{chance.getrandbits(80):020x}",
            consumer_key=_CONSUMER_KEYS[user.username],
            username=user.username,
            secret=secret,
            encrypted_secret=base64.b64encode(
                encrypt(self._read(user.username, "encryption"), secret, chance)
            ).decode(),
        )

    def _read(self, owner: str, name: str) -> RsaPublicKey:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        path = self.folder / owner / f"public_{name}.pem"
        if path not in self._public:
            key = load_pem_public_key(path.read_bytes())
            assert isinstance(key, RSAPublicKey), path
            numbers = key.public_numbers()
            self._public[path] = RsaPublicKey(numbers.n, numbers.e)
        return self._public[path]
