"""Passwords: which are good enough, and how they are kept.

The rule is NIST's (SP 800-63B §3.1.1): length, and a look at what attackers try first; no classes of characters, no
end after so many days. What they try zxcvbn knows: 30,000 leaked passwords, words, names, keyboards, dates, and how
people vary them. Kept as argon2id with the figures of OWASP's Password Storage Cheat Sheet (19 MiB, 2 passes, 1 lane).
"""

from __future__ import annotations

import base64
import re
import threading
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ibkit.errors import ConfigError, IbkitError, discreet
from ibkit.model import Secret
from ibkit.users.digests import Random

if TYPE_CHECKING:
    from argon2 import PasswordHasher

__all__ = ["SHORTEST", "Cost", "Hasher", "check_password"]

SHORTEST, LONGEST = 12, 256
_FEWEST_CHARACTERS = 5
"""Different ones: `aaaaaaaaaaaa` and `121212121212` are no secrets."""
_TOO_LONG = f"it is longer than {LONGEST} characters"
_SALT_BYTES = 16
_FEWEST_GUESSES = 10**10
"""Years of tries against argon2id on one machine, and out of reach over the network: zxcvbn's highest class."""
_LOOKED_AT = 32
"""Characters; what is longer is no easier to guess. Of 72 that were made for it zxcvbn takes two seconds."""
_ONE_AT_A_TIME = threading.Lock()
"""zxcvbn keeps what it is told of the user in a dictionary of its module."""
_OURS = ("ibkit", "interactivebrokers", "interactive brokers")
_EDGES = re.compile(r"^[\W\d_]+|[\W\d_]+$")


@discreet
def check_password(password: Secret[str], *, name: str) -> None:
    """ConfigError (E-VALIDATION) says why `password` is not good enough for the user `name`. Blocks, for half a second
    where somebody made it so: callers run it in a thread."""
    text = _normal(password)
    longest = max(len(text), len(password.reveal()))
    reason = _reason(text.casefold(), name.casefold()) if longest <= LONGEST else _TOO_LONG
    if reason:
        raise ConfigError(
            f"Invalid request: password: {reason}",
            code="E-VALIDATION",
            remedy=f"Use at least {SHORTEST} characters that nobody guesses, like four words or a generated one.",
        )


def _reason(text: str, name: str) -> str:
    if len(text) < SHORTEST:
        return f"it is shorter than {SHORTEST} characters"
    if len(set(text)) < _FEWEST_CHARACTERS or _is_run(text):
        return "it is the same few characters over again, or a row of neighbours"
    # The user's own name and ours, with decoration: what is tried first.
    core = _EDGES.sub("", text)
    if _repeated(core) in {name, name.split("@")[0], *_OURS}:
        return "it is made of the user's name or the product's"
    if _guesses(text, name) < _FEWEST_GUESSES:
        return "it is one that attackers try early: common words, keys in a row, dates, or names"
    return ""


def _guesses(text: str, name: str) -> float:
    """How many tries a good attacker needs, who knows the user's name, by what people are known to choose."""
    from zxcvbn import zxcvbn

    known = [name, *re.split(r"[\W_]+", name), *_OURS]
    with _ONE_AT_A_TIME:
        return float(zxcvbn(text[:_LOOKED_AT], user_inputs=[each for each in known if each])["guesses"])


def _is_run(text: str) -> bool:
    """`abcdefghijkl`, `210987654321`: each character is the neighbour of the one before."""
    steps = {ord(b) - ord(a) for a, b in pairwise(text)}
    return steps <= {1, -9} or steps <= {-1, 9}


def _repeated(text: str) -> str:
    """The part of which `text` is a repetition: `secret` of `secretsecret`; else `text` itself."""
    period = (text + text).find(text, 1)
    return text[:period] if text and 0 < period < len(text) else text


def _normal(password: Secret[str]) -> str:
    """NFKC, so that the same keys on two keyboards are the same password."""
    return unicodedata.normalize("NFKC", password.reveal())


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one hash: about 35 ms of a core with these."""

    memory_kib: int = 19_456
    passes: int = 2
    lanes: int = 1


class Hasher:
    """argon2id. Blocks for its cost: callers run it in a thread."""

    def __init__(self, random: Random, cost: Cost | None = None) -> None:
        self._random = random
        self._cost = cost or Cost()

    @discreet
    def hash(self, password: Secret[str]) -> str:
        """`$argon2id$v=19$m=…,t=…,p=…$salt$hash`. IbkitError (E-INTERNAL) where there is no memory for it."""
        from argon2.exceptions import HashingError

        try:
            return self._argon2().hash(_bytes(password), salt=self._random(_SALT_BYTES))
        except HashingError as error:
            raise IbkitError(f"A password could not be hashed: {error}", code="E-INTERNAL") from None

    def fits(self, password_hash: str, password: Secret[str]) -> bool:
        """Whether `password` is the one. With no hash ("") the same work is done, and the answer is no."""
        from argon2.exceptions import Argon2Error, InvalidHashError

        try:
            fits = self._argon2().verify(password_hash or self._of_nothing(), _bytes(password))
        except (Argon2Error, InvalidHashError):
            return False
        return fits and bool(password_hash)

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it was made with other figures than today's; the next sign-in makes it anew."""
        return self._argon2().check_needs_rehash(password_hash)

    def _of_nothing(self) -> str:
        """The form of a hash, with random bytes in it: it takes the same work as another, and no password fits."""
        salt, made = (base64.b64encode(self._random(count)).decode().rstrip("=") for count in (_SALT_BYTES, 32))
        cost = self._cost
        return f"$argon2id$v=19$m={cost.memory_kib},t={cost.passes},p={cost.lanes}${salt}${made}"

    def _argon2(self) -> PasswordHasher:
        from argon2 import PasswordHasher

        return PasswordHasher(
            time_cost=self._cost.passes, memory_cost=self._cost.memory_kib, parallelism=self._cost.lanes
        )


def _bytes(password: Secret[str]) -> bytes:
    # A bound also for what is only compared: nobody sends a megabyte to be hashed.
    return _normal(Secret(password.reveal()[: LONGEST + 1])).encode("utf-8", "surrogatepass")
