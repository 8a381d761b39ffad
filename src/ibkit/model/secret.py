"""A value that cannot be shown by accident."""

from __future__ import annotations

import hmac
from typing import Generic, NoReturn, TypeVar

__all__ = ["Secret", "mask"]

T = TypeVar("T", str, bytes)


class Secret(Generic[T]):
    """Holds a password, key or token; `repr`, `str`, pickling, JSON and f-strings never show it.

    `.reveal()` is the one way out, rare and easy to grep. `==` compares in constant time.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value: T = value

    def reveal(self) -> T:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_bytes(self._value), _bytes(other._value))

    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key: hashes leak and linger

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")


def mask(text: str) -> str:
    """At most the first four characters, and of short secrets and keys none (CFG-02): `abcd****`."""
    return f"{text[:4]}****" if len(text) >= 12 and not text.startswith("-----") else "****"


def _bytes(value: str | bytes) -> bytes:
    # Also half characters, as a header may carry them: the codec's own error would hold the value.
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
