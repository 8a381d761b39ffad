"""A desk for credentials over a real database, with the simulator's users to sign in as."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from ibkit.bootstrap import Edges, using
from ibkit.bootstrap.auditing import audit_log
from ibkit.bootstrap.credential_desk import Asker, ConnectionCredentials, CredentialDesk, open_credential_desk
from ibkit.model import AuthMethod, Environment, Secret
from ibkit.settings import Settings, load
from ibkit.sim.serving.inprocess import CLOUD_URL, Simulator
from vaults import OLD

__all__ = ["ADA", "BOB", "acts", "at", "fields_for", "opened_desk", "put", "settings_of_vault"]

ADA, BOB = (Asker(user_id=f"user-{name}", actor=f"user-{name}", address="192.0.2.7") for name in ("ada", "bob"))


def settings_of_vault(folder: Path, **given: str) -> Settings:
    environ = {
        "IBKIT_STATE_DIR": str(folder),
        "HOME": str(folder),
        "ENCRYPTION_KEY": OLD,
        "ENABLE_MULTI_USER": "true",
        "APP_ENV": "test",
        "IBKR_BASE_URL": CLOUD_URL,
        "SSO_SETTLE_SECONDS": "0",
        **given,
    }
    return load(environ=environ, directory=folder, require_method=False)


def fields_for(simulator: Simulator, method: AuthMethod = AuthMethod.OAUTH2, user: int = 0) -> dict[str, str]:
    """What a user of the simulator would type in."""
    keys = simulator.users[user]
    match method:
        case AuthMethod.OAUTH1A:
            return {
                "consumer_key": keys.consumer_key,
                "access_token": keys.access_token,
                "access_token_secret": keys.access_token_secret,
                "signature_key": keys.signature_key.read_text(),
                "encryption_key": keys.encryption_key.read_text(),
                "dh_params": keys.dhparam.read_text(),
            }
        case AuthMethod.OAUTH2:
            return {
                "client_id": keys.client_id,
                "client_key_id": keys.client_key_id,
                "private_key": keys.oauth2_key.read_text(),
                "credential": keys.user.username,
                "allowed_ip": "127.0.0.1",
            }
        case AuthMethod.GATEWAY:
            return {"address": "https://localhost:5000"}


@contextmanager
def at(simulator: Simulator) -> Iterator[None]:
    """Every client that is built within talks to this simulator, on its clock."""

    def transport(settings: Settings) -> Any:
        return simulator.transport("gateway" if settings.method is AuthMethod.GATEWAY else "cloud")

    with using(Edges(transport=transport, clock=simulator.clock, keep_alive=False)):
        yield


@asynccontextmanager
async def opened_desk(settings: Settings, simulator: Simulator) -> AsyncIterator[CredentialDesk]:
    with at(simulator):
        async with open_credential_desk(settings) as desk:
            yield desk


async def put(
    desk: CredentialDesk,
    fields: dict[str, str],
    *,
    who: Asker = ADA,
    connection_id: str = "main",
    method: AuthMethod = AuthMethod.OAUTH2,
    environment: Environment = Environment.PAPER,
    **more: Any,
) -> ConnectionCredentials:
    secrets = {name: Secret(value) for name, value in fields.items()}
    return await desk.put(who, connection_id, method=method, environment=environment, fields=secrets, **more)


async def acts(settings: Settings) -> list[tuple[str, str, str]]:
    """What the audit log says, the oldest first: actor, action and result."""
    async with audit_log(settings) as log:
        return [(each.actor, each.action, each.result) for each in reversed(await log.entries(limit=200))]
