"""The one frozen value that everything else is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ibkit.model.credentials import Credentials
from ibkit.model.identity import AccountId, AuthMethod, Environment
from ibkit.model.secret import Secret
from ibkit.settings.addresses import Address, parse_address, postgres_url
from ibkit.settings.groups import (
    Alerts,
    Database,
    Gateway,
    General,
    OAuth1,
    OAuth2,
    Runtime,
    Session,
    Support,
    Sync,
    Trading,
    Vault,
    Web,
)
from ibkit.settings.method import MethodChoice
from ibkit.settings.problems import Problem, raise_all
from ibkit.settings.sources import Found

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Areas hold the typed values; `sources` says of each variable that is set where it came from.

    problems, method_problems: what is wrong; empty unless read with strict=False or require_method=False.
    shadowed: variables in the file that the environment overrides. unknown: names we do not know.
    given: credentials of the vault, which stand for those of the settings; owner: whose, "" for the settings' own.
    """

    general: General
    gateway: Gateway
    oauth1: OAuth1
    oauth2: OAuth2
    session: Session
    vault: Vault
    trading: Trading
    database: Database
    sync: Sync
    web: Web
    alerts: Alerts
    support: Support
    runtime: Runtime
    sources: Mapping[str, Found]
    file: Path | None
    default_state_dir: Path
    choice: MethodChoice | None = None
    problems: tuple[Problem, ...] = ()
    method_problems: tuple[Problem, ...] = ()
    shadowed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    given: Credentials | None = None
    owner: str = ""

    @property
    def environment(self) -> Environment:
        return self.general.environment

    @property
    def account_id(self) -> AccountId | None:
        return AccountId(self.general.account_id) if self.general.account_id else None

    @property
    def of_user(self) -> tuple[str, str] | None:
        """Id of the user and name of the connection that these settings are for; None for the settings' own login."""
        user_id, known, connection_id = self.owner.partition("\0")
        return (user_id, connection_id) if known else None

    @property
    def mock(self) -> bool:
        return self.general.provider == "mock"

    @property
    def method(self) -> AuthMethod:
        """The sign-in in use. ConfigError where none is complete."""
        if self.choice is None:
            raise_all(self.method_problems)
        assert self.choice is not None
        return self.choice.method

    @property
    def gateway_address(self) -> Address:
        """IBKR_API_ENDPOINT, else localhost at IBKR_CLIENT_PORTAL_PORT (D-13)."""
        return parse_address(self.gateway.endpoint or f"https://localhost:{self.gateway.port}")

    @property
    def cloud_address(self) -> Address:
        return parse_address(self.oauth2.base_url)

    @property
    def address(self) -> Address:
        """Where the chosen method sends its calls."""
        return self.gateway_address if self.method is AuthMethod.GATEWAY else self.cloud_address

    @property
    def state_dir(self) -> Path:
        return self.general.state_dir or self.default_state_dir

    @property
    def database_url(self) -> Secret[str]:
        """DATABASE_URL, else PostgreSQL by DB_*, else an SQLite file in the state directory."""
        if self.database.url is not None:
            return self.database.url
        if self.database.name and self.database.user and self.database.password:
            return Secret(
                postgres_url(
                    host=self.database.host,
                    port=self.database.port,
                    name=self.database.name,
                    user=self.database.user,
                    password=self.database.password.reveal(),
                )
            )
        return Secret(f"sqlite:///{self.state_dir / 'ibkit.db'}")

    def source(self, name: str) -> str:
        """flag, environment, file or default."""
        found = self.sources.get(name)
        return found.source if found else "default"

    def credentials(self) -> Credentials:
        """What the chosen method signs in with; key files are read now. E-KEY-…, E-SECRET-…, E-OA1-DH."""
        if self.given is not None:
            return self.given
        from ibkit.settings.credentials import read_credentials

        return read_credentials(self)
