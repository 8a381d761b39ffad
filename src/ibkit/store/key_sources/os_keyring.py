"""Keys in the keyring of the operating system: Keychain, Credential Manager, Secret Service."""

from __future__ import annotations

from types import ModuleType

from ibkit.errors import ConfigError, discreet
from ibkit.model import Secret
from ibkit.store.key_sources import Keys, fresh_key

__all__ = ["SERVICE", "KeyringKeys", "keyring_secret"]

SERVICE = "ibkit"


class KeyringKeys:
    """One entry holds all the keys, newest first, with commas between them."""

    def __init__(self, entry: str) -> None:
        self._entry = entry

    @property
    def name(self) -> str:
        return f"the system's keyring, {SERVICE}/{self._entry}"

    @discreet
    def read(self) -> Keys:
        keyring = _keyring()
        try:
            text = keyring.get_password(SERVICE, self._entry)
        except keyring.errors.KeyringError as error:
            raise self._failed("read", error) from None
        return tuple(Secret(key.strip()) for key in (text or "").split(",") if key.strip())

    @discreet
    def put(self, key: Secret[str] | None) -> None:
        keys = [key or fresh_key(), *self.read()]
        keyring = _keyring()
        try:
            keyring.set_password(SERVICE, self._entry, ",".join(each.reveal() for each in keys))
        except keyring.errors.KeyringError as error:
            raise self._failed("written", error) from None

    def _failed(self, verb: str, error: Exception) -> ConfigError:
        return ConfigError(
            f"Encryption failed: {self.name} cannot be {verb} ({type(error).__name__})",
            code="E-ENC-KEY",
            remedy="Unlock the keyring for this user, or choose another ENCRYPTION_KEY_PROVIDER.",
        )


@discreet
def keyring_secret(entry: str) -> Secret[str] | None:
    """The text of one entry; None where there is none. ConfigError (E-ENC-KEY)."""
    keyring = _keyring()
    try:
        text = keyring.get_password(SERVICE, entry)
    except keyring.errors.KeyringError as error:
        raise KeyringKeys(entry)._failed("read", error) from None
    return Secret(text) if text else None


def _keyring() -> ModuleType:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise ConfigError(
            "Encryption failed: the system's keyring needs the package keyring",
            code="E-ENC-KEY",
            remedy="Install it with `pip install 'ibkit[keyring]'`.",
        ) from None
    return keyring
