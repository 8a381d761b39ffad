"""`secret://NAME` in the place of a credential: its text is read where ENCRYPTION_KEY_PROVIDER keeps keys (VLT-06).

    file       the file NAME beside ENCRYPTION_KEY_FILE, of yours alone (mode 600)
    keyring    the entry NAME of the service "ibkit"
    command    what ENCRYPTION_SECRET_COMMAND prints, with NAME for each {name} in it; started without a shell

Read when somebody signs in, never before, and held in memory alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ibkit.errors import ConfigError, discreet
from ibkit.model.secret import Secret

if TYPE_CHECKING:
    from ibkit.settings.groups import Vault

__all__ = ["MAY_BE_NAMED", "PROVIDERS", "is_named", "name_in", "named_secret"]

_NAMED = re.compile(r"secret://?([A-Za-z0-9][A-Za-z0-9._-]{0,63})")
"""One slash where a path was made of it."""
PROVIDERS = ("file", "keyring", "command")
MAY_BE_NAMED = frozenset(
    {
        *("IBKR_PRIVATE_KEY", "IBKR_PRIVATE_KEY_PASSPHRASE", "IB_ACCESS_TOKEN_SECRET", "IB_KEY_PASSPHRASE"),
        *("IB_SIGNATURE_KEY_PATH", "IB_ENCRYPTION_KEY_PATH", "IBKR_PRIVATE_KEY_PATH"),
    }
)


def is_named(text: str) -> bool:
    return text.startswith("secret:/")


def name_in(text: str) -> str | None:
    """The name that a reference gives; None where it is none that can be looked for."""
    found = _NAMED.fullmatch(text)
    return None if found is None else found[1]


@discreet
def named_secret(vault: Vault, text: str, *, variable: str) -> Secret[str]:
    """The text that `secret://NAME` stands for. ConfigError (E-KEY-MISSING, E-ENC-KEY, E-KEY-PERMS). May block."""
    name = name_in(text)
    assert name is not None, "checked with the settings"
    match vault.provider:
        case "keyring":
            from ibkit.store.key_sources.os_keyring import keyring_secret

            found = keyring_secret(name)
        case "command":
            from ibkit.store.key_sources.command import command_secret

            assert vault.secret_command is not None, "checked with the settings"
            found = command_secret(vault.secret_command, name)
        case _:
            from ibkit.settings.credentials import read_private_key

            assert vault.file is not None, "checked with the settings"
            found = read_private_key(variable, Path(vault.file).parent / name)
    if found is None or not found.reveal().strip():
        raise ConfigError(
            f"Secret not found: {variable} names {name}, which the {vault.provider} does not have",
            code="E-KEY-MISSING",
            remedy=f"Store it there under the name {name}, or correct {variable}.",
            details={"variable": variable},
        )
    return Secret(found.reveal().strip())
