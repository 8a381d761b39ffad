"""What single values cannot show: settings that contradict each other, addresses nothing may be sent to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ibkit.settings.addresses import Address, is_ibkr, is_loopback, is_private, parse_address
from ibkit.settings.problems import Problem, conflict, invalid, problem

if TYPE_CHECKING:
    from ibkit.settings.value import Settings

__all__ = ["check"]

_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_SHORTEST_JWT = 32
_DATABASES = ("sqlite", "postgresql")


def check(settings: Settings) -> list[Problem]:
    """Everything wrong between settings, all at once."""
    return [
        *_gateway(settings),
        *_gateways_for_users(settings),
        *_cloud(settings),
        *_clock(settings),
        *_keys(settings),
        *_rest(settings),
    ]


def _gateway(settings: Settings) -> list[Problem]:
    endpoint = settings.gateway.endpoint
    if endpoint is None:
        return []
    address, problems = _address("IBKR_API_ENDPOINT", endpoint)
    if address is None:
        return problems
    if "IBKR_CLIENT_PORTAL_PORT" in settings.sources and address.port != settings.gateway.port:
        problems.append(
            conflict(
                "IBKR_API_ENDPOINT", "IBKR_CLIENT_PORTAL_PORT", f"ports {address.port} and {settings.gateway.port}"
            )
        )
    if is_ibkr(address.host):
        problems.append(
            invalid(
                "IBKR_API_ENDPOINT",
                f"{address.host} is IBKR's cloud, not a gateway",
                remedy="Name the gateway's address, or remove it and use an OAuth method, which goes to IBKR_BASE_URL.",
            )
        )
    elif not is_loopback(address.host):
        problems += _remote_gateway(settings, address)
    return problems


def _gateways_for_users(settings: Settings) -> list[Problem]:
    """TM-01: what users may name is what the operator has named, and is judged as the operator's own gateway is."""
    name, problems = "IBKR_GATEWAYS_FOR_USERS", []
    for given in settings.gateway.for_users or ():
        address, wrong = _address(name, given)
        problems += wrong
        if address is None:
            continue
        if is_ibkr(address.host):
            problems.append(invalid(name, f"{address.host} is IBKR's cloud, not a gateway"))
        elif address.scheme != "https":
            problems.append(invalid(name, f"{address.host}: use https"))
        elif not is_loopback(address.host):
            problems += _remote_gateway(settings, address, name)
    return problems


def _remote_gateway(settings: Settings, address: Address, name: str = "IBKR_API_ENDPOINT") -> list[Problem]:
    if not is_private(address.host):
        return [
            problem(
                "E-GW-REMOTE",
                f"Remote gateway refused: {address.host} is no address of a private network",
                name,
                remedy="Reach the gateway through a VPN or tunnel and name its private address.",
            )
        ]
    if not settings.gateway.allow_remote or settings.gateway.ca is None:
        return [problem("E-GW-REMOTE", f"Remote gateway refused: {address.host}", name)]
    if address.scheme != "https":
        return [invalid(name, "a gateway on another machine needs https")]
    return []


def _cloud(settings: Settings) -> list[Problem]:
    """AUTH-03: the cloud is IBKR's, or a simulator on this machine outside production."""
    address, problems = _address("IBKR_BASE_URL", settings.oauth2.base_url)
    if address is None:
        return problems
    production = settings.general.app_env == "production"
    local = is_loopback(address.host)
    if not is_ibkr(address.host) and (production or not local):
        allowed = "a host of ibkr.com or interactivebrokers.com" + (
            "" if production else ", or a simulator on localhost"
        )
        problems.append(invalid("IBKR_BASE_URL", f"{address.host} is not {allowed}"))
    elif address.scheme != "https":
        problems.append(invalid("IBKR_BASE_URL", "use https"))
    if settings.oauth2.base_ca is not None:
        if production:
            problems.append(
                invalid("IBKR_BASE_CA", "not allowed with APP_ENV=production", remedy="Remove IBKR_BASE_CA.")
            )
        elif not local:
            problems.append(
                invalid(
                    "IBKR_BASE_CA", "only for a simulator on localhost (IBKR_BASE_URL)", remedy="Remove IBKR_BASE_CA."
                )
            )
    return problems


def _clock(settings: Settings) -> list[Problem]:
    if settings.general.clock is None:
        return []
    address, problems = _address("APP_CLOCK", settings.general.clock)
    if settings.general.app_env == "production":
        problems.append(invalid("APP_CLOCK", "not allowed with APP_ENV=production", remedy="Remove APP_CLOCK."))
    elif address is not None and not is_loopback(address.host):
        problems.append(invalid("APP_CLOCK", "only the control address of a simulator on localhost"))
    return problems


def _keys(settings: Settings) -> list[Problem]:
    problems = []
    vault = settings.vault
    keys = [("ENCRYPTION_KEY", vault.key.reveal())] if vault.key else []
    keys += [
        ("ENCRYPTION_KEY_PREVIOUS", key.strip())
        for key in (vault.previous.reveal().split(",") if vault.previous else [])
    ]
    problems += [
        problem("E-ENC-KEY", f"Encryption failed: {name} is not 64 hex digits", name)
        for name, key in keys
        if not _HEX_KEY.fullmatch(key)
    ]
    problems += _key_source(settings)
    jwt = settings.web.jwt_secret
    if jwt and len(jwt.reveal()) < _SHORTEST_JWT:
        problems.append(invalid("JWT_SECRET", f"use at least {_SHORTEST_JWT} characters; `ibkit init` makes one"))
    if vault.key and jwt and vault.key == jwt:
        problems.append(conflict("ENCRYPTION_KEY", "JWT_SECRET", "they must be different secrets"))
    if settings.oauth2.private_key and settings.oauth2.private_key_path and _same_source_level(settings):
        problems += _two_private_keys(settings)
    return problems


def _key_source(settings: Settings) -> list[Problem]:
    """What each provider of the key needs, and one provider only."""
    vault = settings.vault
    by_provider: dict[str, dict[str, object]] = {
        "file": {"ENCRYPTION_KEY_FILE": vault.file},
        "command": {"ENCRYPTION_KEY_COMMAND": vault.command},
        "aws-kms": {"ENCRYPTION_KEY_FILE": vault.file, "ENCRYPTION_KMS_KEY_ID": vault.kms_key_id},
    }
    needed = by_provider.get(vault.provider, {})
    missing = [name for name, value in needed.items() if value is None]
    problems = []
    if missing:
        problems.append(
            problem(
                "E-CONFIG-PARTIAL",
                f"Encryption key settings incomplete: ENCRYPTION_KEY_PROVIDER={vault.provider} needs "
                f"{' and '.join(missing)}",
                *missing,
                remedy=f"Set {' and '.join(missing)}, or ENCRYPTION_KEY_PROVIDER=env.",
            )
        )
    if vault.key and vault.provider != "env":
        problems.append(
            problem(
                "E-CONFIG-CONFLICT",
                f"Conflicting settings: ENCRYPTION_KEY and ENCRYPTION_KEY_PROVIDER={vault.provider}",
                "ENCRYPTION_KEY",
                "ENCRYPTION_KEY_PROVIDER",
                remedy="Move the key to ENCRYPTION_KEY_PREVIOUS, where it still opens what it sealed.",
            )
        )
    return problems


def _same_source_level(settings: Settings) -> bool:
    return "IBKR_PRIVATE_KEY" in settings.sources and "IBKR_PRIVATE_KEY_PATH" in settings.sources


def _two_private_keys(settings: Settings) -> list[Problem]:
    """Text and file are fine together while they say the same (CFG-07)."""
    path, key = settings.oauth2.private_key_path, settings.oauth2.private_key
    assert path is not None
    assert key is not None
    try:
        in_file = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        in_file = ""
    if _bare(in_file) != _bare(key.reveal().replace("\\n", "\n")):
        return [conflict("IBKR_PRIVATE_KEY", "IBKR_PRIVATE_KEY_PATH", "they are different keys")]
    return []


def _bare(pem: str) -> str:
    return "".join(pem.split()).strip("\"'")


def _rest(settings: Settings) -> list[Problem]:
    problems = []
    if settings.session.keepalive_interval < 10 and settings.general.app_env != "test":
        problems.append(invalid("KEEPALIVE_INTERVAL", "use 10 to 60 seconds (less only with APP_ENV=test)"))
    # D-13: port 5000 is the gateway's; our own server never takes it, nor the port it was moved to.
    if settings.web.port == 5000:
        problems.append(invalid("PORT", "5000 is the gateway's port; use another, like 8000"))
    elif settings.web.port == settings.gateway.port and "PORT" in settings.sources:
        problems.append(conflict("PORT", "IBKR_CLIENT_PORTAL_PORT", "both are the same port"))
    if settings.database.url is not None:
        scheme = settings.database.url.reveal().split(":", 1)[0].split("+", 1)[0]
        if scheme not in _DATABASES:
            problems.append(invalid("DATABASE_URL", "use sqlite:///file or postgresql://user:password@host/name"))
    else:
        parts = {
            "DB_NAME": settings.database.name,
            "DB_USER": settings.database.user,
            "DB_PASSWORD": settings.database.password,
        }
        missing = [name for name, value in parts.items() if not value]
        if 0 < len(missing) < len(parts):
            problems.append(
                problem("E-CONFIG-PARTIAL", f"Database settings incomplete: {', '.join(missing)}", *missing)
            )
    return problems


def _address(name: str, value: str) -> tuple[Address | None, list[Problem]]:
    try:
        return parse_address(value), []
    except ValueError as error:
        return None, [invalid(name, str(error))]
