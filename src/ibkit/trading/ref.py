"""Keys and refs: the caller's name for an order, and our mark on it at the broker, one derived from the other."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

from ibkit.errors import ConfigError
from ibkit.model import Environment, Key, Ref

__all__ = [
    "check_key",
    "child_key",
    "cut_ref",
    "derive_ref",
    "group_ref",
    "is_mark",
    "key_of_user",
    "keys_of_user",
    "leg_ref",
    "make_key",
    "own_key",
    "same_ref",
]

_KEY = re.compile(r"(?:[0-9a-f]{16}@)?[A-Za-z0-9._:-]{16,128}")
"""The part before the `@` only where `key_of_user` puts it: nobody who asks writes it."""
_KEY_LONGEST = 128
_REF_PREFIX = "ib-"
_MARK = re.compile(r"ib-[a-z2-7]{32}(-[0-9]+)?")
_SHORTEST_CUT_REF = 16


def check_key(text: str) -> Key:
    """`text` as a key: 16-128 characters of `[A-Za-z0-9._:-]`. Raises ConfigError (E-VALIDATION)."""
    if not _KEY.fullmatch(text):
        raise _not_a_key(text)
    return Key(text)


def key_of_user(user_id: str, key: Key) -> Key:
    """The key of a user of a service, made theirs: two who choose the same one do not meet. Raises as `check_key`.

    >>> key_of_user("ada", Key("0123456789abcdef"))
    'f36a2fedb43ae2ff@0123456789abcdef'
    """
    if "@" in key:
        raise _not_a_key(key)
    return Key(f"{keys_of_user(user_id)}{check_key(key)}")


def keys_of_user(user_id: str) -> str:
    """How all keys of that user begin."""
    digest = hashlib.sha256("\0".join(("ibkit user 1", user_id)).encode()).hexdigest()
    return f"{digest[:16]}@"


def own_key(key: Key) -> Key:
    """`key` as its user wrote it."""
    return Key(key.rpartition("@")[2])


def _not_a_key(text: str) -> ConfigError:
    return ConfigError(
        f"Invalid request: key: {len(text)} characters, or one that is not of [A-Za-z0-9._:-]",
        code="E-VALIDATION",
        remedy="Use 16 to 128 characters of A-Z a-z 0-9 . _ : - (a UUID fits).",
    )


def make_key(random: Callable[[int], bytes]) -> Key:
    """A fresh key of 24 characters; `random(n)` gives n random bytes."""
    return Key(base64.b32encode(random(15)).decode().lower())


def child_key(key: Key, step: str) -> Key:
    """The key of a following order of the same undertaking, for example `…:stop-1`; the same each time."""
    child = f"{key}:{step}"
    if len(child) > _KEY_LONGEST:
        whose, at, _ = key.rpartition("@")  # a user's stays theirs
        child = f"{whose}{at}{hashlib.sha256(key.encode()).hexdigest()}:{step}"
    return check_key(child)


def derive_ref(*, tenant: str, environment: Environment, key: Key) -> Ref:
    """The ref of the intent that (tenant, environment, key) names: 35 characters of `[a-z2-7-]`.

    Only lower case, so that a broker that changes the case or cuts the end does not make two refs one.
    Source: docs/facts/orders.md §4 (cOID: at most 64, unique for 24 h), §14.3 rule 1 (at most 40).
    """
    digest = hashlib.sha256("\0".join(("ibkit ref 1", tenant, environment.value, key)).encode()).digest()
    return Ref(_REF_PREFIX + base64.b32encode(digest[:20]).decode().lower())


def leg_ref(ref: Ref, number: int) -> Ref:
    """The ref of one further order of an OCA group; number counts from 1. 38 characters at most.

    >>> leg_ref(Ref("ib-abc"), 1)
    'ib-abc-1'
    """
    return Ref(f"{ref}-{number}")


def group_ref(shown: Ref | None) -> Ref | None:
    """The ref of the OCA group that an order belongs to as one of its further orders; None for all others.

    >>> group_ref(Ref("ib-" + "a2" * 16 + "-1")) == "ib-" + "a2" * 16
    True
    """
    text = "" if shown is None else shown.strip().casefold()
    first, dash, number = text.rpartition("-")
    return Ref(first) if dash and number and is_mark(Ref(text)) and first != _REF_PREFIX.rstrip("-") else None


def is_mark(shown: Ref) -> bool:
    """Whether an order's ref has the form of ours: some ibkit has placed it.

    >>> is_mark(Ref("ib-" + "a2" * 16)), is_mark(Ref("cs1-0001"))
    (True, False)
    """
    return _MARK.fullmatch(shown.strip().casefold()) is not None


def same_ref(ours: Ref, shown: Ref | None) -> bool:
    """Whether the broker's `shown` ref is `ours`, also when its case was changed.

    >>> same_ref(Ref("ib-abc"), Ref("IB-ABC"))
    True
    """
    return shown is not None and shown.strip().casefold() == ours.casefold()


def cut_ref(ours: Ref, shown: Ref | None) -> bool:
    """Whether `shown` looks like `ours` with its end cut off: a hint, no proof. Source: reliability F74."""
    if shown is None:
        return False
    text = shown.strip().casefold()
    return _SHORTEST_CUT_REF <= len(text) < len(ours) and ours.casefold().startswith(text)
