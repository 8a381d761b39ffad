"""Sealing in a process that may outlive a change of the vault's key (`ibkit vault rotate` in another one).

For what is sealed outside of the vault's own table: second steps of users, addresses of alert channels. The keys are
read again before something is sealed, and where text names a key that is not known. So nothing new is sealed with a key
that was replaced, and what was sealed anew opens without a restart. No I/O but what `read` does.
"""

from __future__ import annotations

from collections.abc import Callable

from ibkit.clock import Clock
from ibkit.errors import ConfigError, StorageError
from ibkit.model import Secret
from ibkit.vault.seal import KeyRing, Place, key_id_of, open_sealed, seal

__all__ = ["Sealer"]

_READ_AGAIN_S = 2.0
"""Between two readings: a damaged row, or many texts at once, must not call a command at will."""


class Sealer:
    """read: the keys as they are now, None where none is set; called once at once. Blocks, as do all verbs.

    random: n → n bytes from a cryptographic source. what: is kept sealed, for the message where there is no key.
    """

    def __init__(
        self, read: Callable[[], KeyRing | None], *, random: Callable[[int], bytes], clock: Clock, what: str
    ) -> None:
        self._read = read
        self._random = random
        self._clock = clock
        self._what = what
        self._ring = read()
        self._read_at = clock.monotonic()

    def seal(self, text: Secret[bytes], place: Place) -> str:
        """Sealed with the newest key. ConfigError (E-ENC-KEY)."""
        self._read_again()
        return seal(text, place, self._needed(), self._random)

    def open(self, sealed: str, place: Place) -> Secret[bytes]:
        """ConfigError (E-ENC-KEY), StorageError (E-ENC)."""
        try:
            return open_sealed(sealed, place, self._needed())
        except StorageError as error:
            if "key_id" not in error.details or not self._read_again():
                raise
        return open_sealed(sealed, place, self._needed())

    def is_current(self, sealed: str) -> bool:
        """Whether it was sealed with the key that seals now."""
        return key_id_of(sealed) == self._needed().current_id

    def _read_again(self) -> bool:
        """Whether the keys were read: not where that was a moment ago."""
        if self._clock.monotonic() - self._read_at < _READ_AGAIN_S:
            return False
        self._read_at = self._clock.monotonic()
        self._ring = self._read()
        return True

    def _needed(self) -> KeyRing:
        if self._ring is None:
            raise ConfigError(
                f"Encryption key missing: {self._what} is kept sealed",
                code="E-ENC-KEY",
                remedy="Set ENCRYPTION_KEY; `ibkit vault generate-keys --write` makes one.",
            )
        return self._ring
