"""What APP_ENV=production asks for before anything listens (CFG-06); the other profiles ask for nothing.

development: more is told, loopback only. production: whoever can reach the port must not find a door left open, so a
server does not start before these are in order. Settings that are wrong in any profile are `checks.py`'s.
"""

from __future__ import annotations

from ibkit.model.identity import AuthMethod
from ibkit.settings.addresses import is_loopback
from ibkit.settings.problems import Problem, invalid, problem, raise_all
from ibkit.settings.value import Settings

__all__ = ["is_production", "production_problems", "refuse_unready"]

_DEFAULT_CLIENTS = ("127.0.0.1", "::1")
_FEWEST_SIGNS = 8
_PLACEHOLDERS = ("change", "default", "example", "placeholder", "secret", "your")


def is_production(settings: Settings) -> bool:
    return settings.general.app_env == "production"


def refuse_unready(settings: Settings, *, host: str | None = None) -> None:
    """What a server calls before it listens. ConfigError with all that is missing; nothing outside production."""
    if is_production(settings):
        raise_all(production_problems(settings, host=host))


def production_problems(settings: Settings, *, host: str | None = None) -> list[Problem]:
    """Everything that keeps these settings from production, whatever APP_ENV says.

    host: where to listen, if not at HOST.
    """
    web, vault = settings.web, settings.vault
    problems = []
    if web.jwt_secret is None:
        problems.append(_missing("JWT_SECRET", "Run `ibkit init`, or set at least 32 characters by chance."))
    elif guessable(web.jwt_secret.reveal()):
        problems.append(
            invalid("JWT_SECRET", "it can be guessed", remedy="Run `ibkit init`, or set 32 characters by chance.")
        )
    if settings.mock:
        problems.append(
            invalid(
                "BROKER_PROVIDER",
                "mock is not allowed with APP_ENV=production",
                remedy="Remove BROKER_PROVIDER, or APP_ENV=production for a demonstration.",
            )
        )
    if vault.key is None and vault.provider == "env":
        problems.append(
            problem(
                "E-ENC-KEY", "Encryption failed: ENCRYPTION_KEY is not set, and production needs it", "ENCRYPTION_KEY"
            )
        )
    if settings.runtime.log_level == "debug":
        problems.append(
            invalid("LOG_LEVEL", "debug is not allowed with APP_ENV=production", remedy="Set LOG_LEVEL=info.")
        )
    if web.trusted_proxy is None:
        problems.append(
            _missing("TRUSTED_PROXY", "Put a reverse proxy with TLS in front, and set TRUSTED_PROXY to its address.")
        )
    bound = host or web.host
    if not is_loopback(bound) and tuple(web.allowed_client_ips) == _DEFAULT_CLIENTS and web.trusted_proxy is None:
        problems.append(
            invalid(
                "HOST",
                f"{bound} is open to others, and ALLOWED_CLIENT_IPS does not say to whom",
                remedy="Set ALLOWED_CLIENT_IPS, or HOST=127.0.0.1.",
            )
        )
    chosen = settings.choice.method if settings.choice is not None else None
    if chosen is AuthMethod.OAUTH2 and not settings.oauth2.allowed_ip:
        problems.append(
            problem(
                "E-IP",
                "This server's IP address is not known: IBKR_ALLOWED_IP is not set, and production needs it",
                "IBKR_ALLOWED_IP",
                remedy="Set IBKR_ALLOWED_IP to the public IPv4 address that IBKR has registered.",
            )
        )
    return problems


def guessable(secret: str) -> bool:
    """Whether a secret is a word of an example, or made of so few signs that nobody drew it by chance."""
    return len(set(secret)) < _FEWEST_SIGNS or any(word in secret.lower() for word in _PLACEHOLDERS)


def _missing(name: str, remedy: str) -> Problem:
    return invalid(name, "not set, and APP_ENV=production needs it", remedy=remedy)
