"""`ibkit init`: writes a settings file, with its own secrets made, for the sign-in that was chosen."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Annotated, Literal

import cyclopts

from ibkit.cli import output
from ibkit.cli.flags import flag
from ibkit.errors import ConfigError
from ibkit.settings.template import template

__all__ = ["app"]

app = cyclopts.App(name="init", help="Write a settings file (.env) to start from.")

_METHODS = {
    "gateway": "The Client Portal Gateway runs on this machine; you log in with a browser about once a day.",
    "oauth1a": "OAuth 1.0a: runs unattended; you make keys and register them in IBKR's portal.",
    "oauth2": "OAuth 2.0: runs unattended; IBKR gives you a client id for your key.",
}
_NEXT = {
    "gateway": ("Start the gateway and log in at https://localhost:5000", "ibkit status --connect"),
    "oauth1a": (
        "ibkit keys generate, then upload the three public files at IBKR's portal",
        "Fill in IB_CONSUMER_KEY, IB_ACCESS_TOKEN and IB_ACCESS_TOKEN_SECRET from the portal",
        "ibkit verify",
    ),
    "oauth2": (
        "ibkit keys generate --kind oauth2, then register the public key with IBKR",
        "Fill in IBKR_CLIENT_ID, IBKR_CLIENT_KEY_ID, IBKR_CREDENTIAL and IBKR_ALLOWED_IP",
        "ibkit verify",
    ),
}


@app.default
def init(
    *,
    method: Annotated[
        Literal["gateway", "oauth1a", "oauth2"] | None, cyclopts.Parameter(help="How you will sign in.")
    ] = None,
    file: Annotated[Path, cyclopts.Parameter(help="Where to write.")] = Path(".env"),
    yes: Annotated[bool, flag("Ask nothing.")] = False,
) -> None:
    """Write a settings file (.env) to start from. An existing file is never overwritten."""
    chosen = method or ("gateway" if yes else _ask())
    values = {
        "IBKR_AUTH_METHOD": chosen,
        "IBKR_ENV": "paper",
        "ENCRYPTION_KEY": secrets.token_hex(32),
        "JWT_SECRET": secrets.token_urlsafe(48),
    }
    if chosen == "oauth1a":
        keys = Path("config/keys")
        values |= {
            "IB_SIGNATURE_KEY_PATH": str(keys / "private_signature.pem"),
            "IB_ENCRYPTION_KEY_PATH": str(keys / "private_encryption.pem"),
            "IB_DH_PARAM_PATH": str(keys / "dhparam.pem"),
        }
    elif chosen == "oauth2":
        values["IBKR_PRIVATE_KEY_PATH"] = "config/keys/private_oauth2.pem"
    _write(file, template(values))
    output.say(f"Wrote {file} (mode 600) for {chosen}, paper trading, with ENCRYPTION_KEY and JWT_SECRET made for you.")
    output.say("Next:")
    for number, step in enumerate(_NEXT[chosen], 1):
        output.say(f"  {number}. {step}")


def _ask() -> str:
    if not sys.stdin.isatty():
        raise ConfigError(
            "Invalid request: --method: say how you will sign in",
            code="E-VALIDATION",
            remedy=f"Pass --method {', --method '.join(_METHODS)}.",
        )
    output.say("How will you sign in?")
    names = list(_METHODS)
    for number, name in enumerate(names, 1):
        output.say(f"  {number}. {name:<8} {_METHODS[name]}")
    while True:
        try:
            said = input("1, 2 or 3 [1]: ").strip().lower() or "1"
        except EOFError:
            said = ""
        if said in names:
            return said
        if said in ("1", "2", "3"):
            return names[int(said) - 1]
        if not said:
            raise ConfigError("Nothing was chosen; nothing was written", code="E-VALIDATION", remedy="Pass --method.")


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # O_EXCL: the file is made by us, with these rights, or not at all.
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"Settings file problem: {file}: it exists already, and was left as it is",
            code="E-ENV-FILE",
            remedy=f"Edit it, or name another with --file, or move it away first (mv {file} {file}.old).",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"Settings file problem: {file}: {error.strerror}", code="E-ENV-FILE", remedy="Name a place you may write."
        ) from error
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
