"""Every setting there is, by area, with its variable, default and meaning. None is "not set"."""

# ruff: noqa: RUF009  - `variable` makes a dataclass field

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from ibkit.model.identity import Environment
from ibkit.model.secret import Secret
from ibkit.settings.parsers import (
    boolean,
    choice,
    day,
    decimal,
    duration,
    integer,
    items,
    one_of,
    path,
    path_map,
    pattern,
    secret,
    secret_url,
    text,
)
from ibkit.settings.variables import Variable, variable, variables_of

__all__ = ["AREAS", "VARIABLES"]

_METHODS = ("gateway", "oauth1a", "oauth2")
_ACCOUNT = pattern(r"[A-Za-z0-9]{3,20}", "use an account id like DU1234567")
_PORT = integer(1, 65535)
_QUESTION_ID = pattern(r"[a-z]{1,3}\d{1,7}", "use message ids like o163, separated by commas")
_MINUTES = duration(unit="m")


@dataclass(frozen=True, slots=True, kw_only=True)
class General:
    provider: str = variable(
        "BROKER_PROVIDER",
        "ibkr",
        choice("ibkr", "mock"),
        "Who is traded with: ibkr, or mock (a simulation inside the process)",
    )
    method: str = variable(
        "IBKR_AUTH_METHOD", "auto", choice("auto", *_METHODS), "How to sign in: auto, gateway, oauth1a, oauth2"
    )
    methods_allowed: tuple[str, ...] = variable(
        "IBKR_AUTH_METHODS_ALLOWED", "gateway,oauth1a,oauth2", items(allowed=_METHODS), "Methods that users may choose"
    )
    environment: Environment = variable("IBKR_ENV", "paper", one_of(Environment), "paper or live")
    is_live: bool | None = variable(
        "IB_IS_LIVE", "", boolean, "Older spelling of IBKR_ENV: true is live, false is paper"
    )
    account_id: str | None = variable(
        "IBKR_ACCOUNT_ID", "", _ACCOUNT, "Account used when a command names none", credential=True
    )
    read_only: bool = variable(
        "IBKR_READ_ONLY", "false", boolean, "Refuse every call that places, changes or cancels an order"
    )
    region: str = variable("IBKR_REGION", "us", choice("us", "eu", "asia"), "Region of the daily reset: us, eu, asia")
    multi_user: bool = variable(
        "ENABLE_MULTI_USER", "false", boolean, "Credentials for each user instead of these settings"
    )
    app_env: str = variable(
        "APP_ENV", "development", choice("development", "production", "test"), "development, production or test"
    )
    env_file: Path | None = variable("APP_ENV_FILE", "", path, "The settings file to read (environment only)")
    endpoint_overrides: Mapping[str, str] = variable(
        "IBKR_ENDPOINT_OVERRIDES", "{}", path_map, "JSON, API path to API path, when IBKR moves one"
    )
    clock: str | None = variable(
        "APP_CLOCK",
        "",
        text,
        "Address of a simulator's control face whose hour to follow (loopback, never in production)",
    )
    state_dir: Path | None = variable(
        "IBKIT_STATE_DIR",
        "",
        path,
        "Where the journal, the database and tokens are kept",
        shown_default="~/.local/state/ibkit",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    endpoint: str | None = variable(
        "IBKR_API_ENDPOINT", "", text, "Address of the gateway's API", shown_default="https://localhost:<port>/v1/api"
    )
    port: int = variable("IBKR_CLIENT_PORTAL_PORT", "5000", _PORT, "Port of the gateway on this machine")
    directory: Path = variable("IBKR_GATEWAY_DIR", "./clientportal.gw", path, "Folder of the gateway")
    allow_remote: bool = variable(
        "IBKR_GATEWAY_ALLOW_REMOTE", "false", boolean, "Allow a gateway on another machine of a private network"
    )
    ca: str | None = variable(
        "IBKR_GATEWAY_CA", "", text, "Certificate file, or SHA-256 fingerprint, of a remote gateway"
    )
    for_users: tuple[str, ...] | None = variable(
        "IBKR_GATEWAYS_FOR_USERS", "", items(), "With ENABLE_MULTI_USER: gateways that users may name, no others"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth1:
    consumer_key: str | None = variable(
        "IB_CONSUMER_KEY", "", text, "Consumer key chosen in IBKR's portal", credential=True
    )
    access_token: str | None = variable(
        "IB_ACCESS_TOKEN", "", text, "Access token from the portal", credential=True, hidden=True
    )
    access_token_secret: Secret[str] | None = variable(
        "IB_ACCESS_TOKEN_SECRET",
        "",
        secret,
        "Access token secret from the portal (encrypted, as shown there)",
        credential=True,
        hidden=True,
    )
    signature_key_path: Path = variable(
        "IB_SIGNATURE_KEY_PATH", "config/keys/private_signature.pem", path, "Private signature key", credential=True
    )
    encryption_key_path: Path = variable(
        "IB_ENCRYPTION_KEY_PATH", "config/keys/private_encryption.pem", path, "Private encryption key", credential=True
    )
    key_passphrase: Secret[str] | None = variable(
        "IB_KEY_PASSPHRASE",
        "",
        secret,
        "Passphrase of the two private keys, where they have one",
        credential=True,
        hidden=True,
    )
    dh_param_path: Path = variable(
        "IB_DH_PARAM_PATH", "config/keys/dhparam.pem", path, "Diffie-Hellman parameters", credential=True
    )
    realm: str = variable(
        "IB_REALM",
        "limited_poa",
        pattern(r"[a-z_]{1,40}", "use limited_poa or test_realm"),
        "Realm (test_realm with the consumer key TESTCONS)",
        credential=True,
    )
    rotation_hours: float = variable(
        "TOKEN_ROTATION_HOURS",
        "24",
        duration(unit="h", minimum=0.1, maximum=24),
        "Longest use of a live session token, hours",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    client_id: str | None = variable("IBKR_CLIENT_ID", "", text, "Client id", credential=True)
    client_key_id: str | None = variable("IBKR_CLIENT_KEY_ID", "", text, "Key id", credential=True)
    private_key: Secret[str] | None = variable(
        "IBKR_PRIVATE_KEY",
        "",
        secret,
        "Private key, PEM text with \\n for line breaks, in double quotes",
        credential=True,
        hidden=True,
    )
    private_key_path: Path | None = variable(
        "IBKR_PRIVATE_KEY_PATH", "", path, "Private key, PEM file (instead of IBKR_PRIVATE_KEY)", credential=True
    )
    private_key_passphrase: Secret[str] | None = variable(
        "IBKR_PRIVATE_KEY_PASSPHRASE",
        "",
        secret,
        "Passphrase of the private key, where it has one",
        credential=True,
        hidden=True,
    )
    credential: str | None = variable("IBKR_CREDENTIAL", "", text, "IBKR user name", credential=True)
    allowed_ip: str | None = variable(
        "IBKR_ALLOWED_IP", "", text, "Public IPv4 address of this machine, as registered with IBKR", credential=True
    )
    scope: str = variable(
        "IBKR_SCOPE",
        "sso-sessions.write",
        pattern(r"[A-Za-z0-9._:/ -]{1,200}", "use a scope like sso-sessions.write"),
        "Scope",
        credential=True,
    )
    client_secret: Secret[str] | None = variable(
        "IBKR_CLIENT_SECRET", "", secret, "Client secret of the authorisation-code flow", credential=True, hidden=True
    )
    settle_seconds: float = variable(
        "SSO_SETTLE_SECONDS", "3", duration(unit="s", maximum=60), "Pause after the SSO step, seconds"
    )
    base_url: str = variable(
        "IBKR_BASE_URL",
        "https://api.ibkr.com",
        text,
        "IBKR's cloud, for both OAuth methods; /v1/api is added where needed",
        credential=True,
    )
    base_ca: Path | None = variable(
        "IBKR_BASE_CA", "", path, "Certificate authority of a loopback IBKR_BASE_URL (a simulator)", credential=True
    )
    frontend_url: str | None = variable("FRONTEND_URL", "", text, "Origin of the web pages, for CORS and redirects")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    keepalive_interval: float = variable(
        "KEEPALIVE_INTERVAL",
        "30",
        duration(unit="s", minimum=0.1, maximum=60),
        "Seconds between keep-alive calls, 10 to 60 (smaller only with APP_ENV=test)",
    )
    idle_timeout: float = variable(
        "SESSION_IDLE_TIMEOUT", "0", _MINUTES, "Minutes without use until keep-alive stops; 0 is never"
    )
    app_idle_minutes: float = variable(
        "APP_SESSION_IDLE_MINUTES", "30", duration(unit="m", minimum=1), "Minutes until a web sign-in ends"
    )
    alert_before: tuple[float, ...] = variable(
        "SESSION_ALERT_BEFORE", "60m,10m", items(_MINUTES), "When to warn before a session's age limit"
    )
    allow_compete: bool = variable(
        "ALLOW_COMPETE", "false", boolean, "Take the session over from another login of the same user name"
    )
    status_poll_seconds: float = variable(
        "STATUS_POLL_SECONDS", "30", duration(unit="s", minimum=1), "Seconds between looks of a web page"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    key: Secret[str] | None = variable(
        "ENCRYPTION_KEY", "", secret, "Key of stored tokens and credentials, 64 hex digits", hidden=True
    )
    previous: Secret[str] | None = variable(
        "ENCRYPTION_KEY_PREVIOUS", "", secret, "Older keys, separated by commas, only for reading", hidden=True
    )
    iv: Secret[str] | None = variable("ENCRYPTION_IV", "", secret, "Only for data of an older product", hidden=True)
    provider: str = variable(
        "ENCRYPTION_KEY_PROVIDER",
        "env",
        choice("env", "file", "keyring", "command", "aws-kms"),
        "Where the key comes from: env, file, keyring (the system's), command, aws-kms",
    )
    command: str | None = variable(
        "ENCRYPTION_KEY_COMMAND", "", text, "Command that prints the key, and older ones below it"
    )
    secret_command: str | None = variable(
        "ENCRYPTION_SECRET_COMMAND", "", text, "Command that prints what secret://NAME stands for; {name} is the name"
    )
    file: Path | None = variable(
        "ENCRYPTION_KEY_FILE", "", path, "File with a key a line, newest first; for aws-kms, keys that KMS has wrapped"
    )
    keyring_name: str = variable(
        "ENCRYPTION_KEYRING_NAME",
        "vault",
        pattern(r"[A-Za-z0-9._-]{1,64}", "use letters, digits, dots, dashes"),
        "Entry of the system's keyring, of the service ibkit",
    )
    kms_key_id: str | None = variable("ENCRYPTION_KMS_KEY_ID", "", text, "Key of AWS KMS: id, ARN or alias/name")
    kms_region: str | None = variable(
        "ENCRYPTION_KMS_REGION", "", text, "Region of AWS KMS", shown_default="as AWS's own settings say"
    )
    kms_endpoint: str | None = variable(
        "ENCRYPTION_KMS_ENDPOINT", "", text, "Address of AWS KMS", shown_default="that of the region"
    )
    rotation_days: int = variable("KEY_ROTATION_DAYS", "90", integer(1), "Days until a reminder to change keys")
    max_age_days: int = variable(
        "CREDENTIAL_MAX_AGE_DAYS", "90", integer(1), "Days until a reminder to change credentials"
    )
    audit_days: int = variable("SECURITY_AUDIT_DAYS", "30", integer(1), "Days until a reminder of the security audit")

    @property
    def has_key(self) -> bool:
        """Whether anything is sealed and kept; another provider is asked for its key only when it is needed."""
        return self.key is not None or self.provider != "env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trading:
    fill_timeout: float = variable(
        "FILL_TIMEOUT", "20", duration(unit="s", minimum=1, maximum=600), "Seconds to wait for a fill"
    )
    watch_all_shorts: bool = variable(
        "WATCH_ALL_SHORTS",
        "false",
        boolean,
        "The worker raises an alert for every short option without a stop, also for those that ibkit did not sell",
    )
    max_strike_distance_pct: Decimal = variable(
        "MAX_STRIKE_DISTANCE_PCT", "5", decimal("0.1", "100"), "Farthest strike from the underlying's price, percent"
    )
    auto_confirm: tuple[str, ...] = variable(
        "ORDER_AUTO_CONFIRM",
        "o163,o382,o383,o403,o451,o10151,o10152,o10153,o10331",
        items(_QUESTION_ID),
        "IBKR's order questions confirmed without asking, within the limits",
    )
    resend_same_coid: bool = variable(
        "ORDER_RESEND_SAME_COID", "false", boolean, "Allow a probe with the same order id after doubt"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    url: Secret[str] | None = variable(
        "DATABASE_URL", "", secret, "Database", hidden=True, shown_default="sqlite in the state directory"
    )
    host: str = variable("DB_HOST", "localhost", text, "PostgreSQL instead of DATABASE_URL: host")
    port: int = variable("DB_PORT", "5432", _PORT, "PostgreSQL: port")
    name: str | None = variable("DB_NAME", "", text, "PostgreSQL: database")
    user: str | None = variable("DB_USER", "", text, "PostgreSQL: user")
    password: Secret[str] | None = variable(
        "DB_PASSWORD", "", secret, "PostgreSQL: password (there is no default)", hidden=True
    )
    backup_keep: int = variable(
        "BACKUP_KEEP", "30", integer(0, 1000), "Backups of the worker that are kept, one a day; 0: it makes none"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    interval_minutes: float = variable(
        "SYNC_INTERVAL_MINUTES", "15", _MINUTES, "Minutes between portfolio syncs; 0 is off"
    )
    cash: bool = variable("SYNC_CASH", "true", boolean, "Show cash as holdings")
    flex_token: Secret[str] | None = variable(
        "FLEX_TOKEN",
        "",
        secret,
        "Token of IBKR's Flex Web Service, which tells statements without a session",
        hidden=True,
    )
    flex_query_id: str | None = variable(
        "FLEX_QUERY_ID", "", pattern(r"\d{1,20}", "use the query's number"), "Flex query that tells of the account"
    )
    flex_token_expires: date | None = variable(
        "FLEX_TOKEN_EXPIRES", "", day, "Day on which FLEX_TOKEN ends, as the Client Portal shows it: a reminder is sent"
    )
    flex_daily: bool = variable("FLEX_DAILY", "true", boolean, "Fetch the Flex statement every day")
    flex_url: str | None = variable("FLEX_URL", "", text, "The Flex Web Service, where it is not IBKR's (a simulator)")
    keep_raw_days: int = variable(
        "SYNC_RAW_DAYS", "365", integer(1), "Days that syncs and the answers they read are kept; statements always are"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    host: str = variable("HOST", "127.0.0.1", text, "Address of the web app")
    port: int = variable("PORT", "8000", _PORT, "Port of the web app")
    jwt_secret: Secret[str] | None = variable(
        "JWT_SECRET", "", secret, "Signs user tokens, at least 32 characters", hidden=True
    )
    second_step: str = variable(
        "REQUIRE_SECOND_STEP",
        "none",
        choice("none", "administrators", "everybody"),
        "Who has to have a second step: none, administrators, everybody",
    )
    allowed_client_ips: tuple[str, ...] = variable("ALLOWED_CLIENT_IPS", "127.0.0.1,::1", items(), "Who may connect")
    trusted_proxy: str | None = variable("TRUSTED_PROXY", "", text, "Address of a reverse proxy that may be believed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    webhook_url: Secret[str] | None = variable(
        "ALERT_WEBHOOK_URL", "", secret_url, "Where alerts are posted: signed JSON, or Discord, Slack", hidden=True
    )
    webhook_secret: Secret[str] | None = variable(
        "ALERT_WEBHOOK_SECRET", "", secret, "Signs what is posted there (HMAC-SHA256); unsigned without", hidden=True
    )
    smtp_host: str | None = variable("SMTP_HOST", "", text, "Mail server")
    smtp_port: int = variable("SMTP_PORT", "587", _PORT, "Mail server: port")
    smtp_user: str | None = variable("SMTP_USER", "", text, "Mail server: user")
    smtp_password: Secret[str] | None = variable("SMTP_PASSWORD", "", secret, "Mail server: password", hidden=True)
    email_from: str | None = variable("ALERT_EMAIL_FROM", "", text, "Sender of alert mails")
    admin_emails: tuple[str, ...] | None = variable("ADMIN_EMAILS", "", items(), "Administrators, separated by commas")


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    broker: str = variable(
        "SUPPORT_BROKER",
        "https://www.interactivebrokers.com/en/support/contact.php",
        text,
        "Contact at IBKR",
        shown_default="IBKR's support page",
    )
    platform: str | None = variable("SUPPORT_PLATFORM", "", text, "Contact for this installation")
    security: str | None = variable("SUPPORT_SECURITY", "", text, "Contact for security matters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    log_level: str | None = variable(
        "LOG_LEVEL",
        "",
        choice("debug", "info", "warning", "error"),
        "debug, info, warning or error",
        shown_default="no log lines from commands",
    )
    log_format: str = variable("LOG_FORMAT", "text", choice("text", "json"), "Log lines as text or as JSON")
    log_file: Path | None = variable("LOG_FILE", "", path, "Log lines to this file instead of stderr")
    log_file_mb: int = variable(
        "LOG_FILE_MB", "10", integer(1, 1000), "Size at which a new log file is begun; 5 are kept"
    )
    pool_size: int = variable("POOL_SIZE", "10", integer(1, 100), "Connections per login")
    cache: bool = variable(
        "ANSWER_CACHE", "true", boolean, "Keep what IBKR answered for a while, where only looked at (--no-cache: false)"
    )


AREAS: Mapping[str, tuple[str, type[object]]] = {
    "general": ("General", General),
    "gateway": ("Gateway", Gateway),
    "oauth1": ("OAuth 1.0a", OAuth1),
    "oauth2": ("OAuth 2, and the address of IBKR's cloud", OAuth2),
    "session": ("Session", Session),
    "vault": ("Vault", Vault),
    "trading": ("Trading", Trading),
    "database": ("Database", Database),
    "sync": ("Sync", Sync),
    "web": ("Web", Web),
    "alerts": ("Alerts", Alerts),
    "support": ("Support", Support),
    "runtime": ("Logging and connections", Runtime),
}

VARIABLES: Mapping[str, Variable] = {
    entry.name: entry for group, (_, kind) in AREAS.items() for entry in variables_of(group, kind)
}
