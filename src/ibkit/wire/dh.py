"""Diffie-Hellman as IBKR's OAuth 1.0a uses it: parameter files, Java's bytes, challenge, key, safe primes.

    dhparam.pem   -----BEGIN DH PARAMETERS----- base64 of DER: SEQUENCE { INTEGER p, INTEGER g [, INTEGER l] }

Python's `cryptography` is dropping finite-field DH, so the few lines of DER stand here. gmpy2 is used where it is
installed (8x faster powers); plain `pow` gives the same numbers.
Source: docs/facts/auth-and-sessions.md §1.1, §1.8, §7 (traps 1-5).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass

from ibkit.errors import ConfigError

try:
    import gmpy2
except ImportError:  # the extra `fast` is not installed
    gmpy2 = None

__all__ = [
    "GENERATOR",
    "DhParams",
    "challenge",
    "check_params",
    "find_safe_prime",
    "is_fit",
    "is_probable_prime",
    "java_bytes",
    "parse_params_pem",
    "power",
    "private_exponent",
    "shared_secret",
    "write_params_pem",
]

GENERATOR = 2
MIN_BITS, MAX_BITS = 2048, 8192
_LABEL = "DH PARAMETERS"
_BLOCK = re.compile(rf"-----BEGIN {_LABEL}-----(.*?)-----END {_LABEL}-----", re.DOTALL)
_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")


@dataclass(frozen=True, slots=True)
class DhParams:
    """The group both sides share: a safe prime and the generator 2. Public."""

    prime: int
    generator: int = GENERATOR


def java_bytes(number: int) -> bytes:
    """`number` >= 0 as Java's BigInteger.toByteArray gives it: shortest big-endian form with the sign bit clear.

    0x7f → 7f, 0xff → 00 ff, never filled up. Source: docs/facts/auth-and-sessions.md §1.8 derivation, step 2.
    """
    if number < 0:
        raise ValueError("only non-negative numbers are sent")
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def power(base: int, exponent: int, modulus: int) -> int:
    """base^exponent mod modulus, by gmpy2 where it is installed."""
    if gmpy2 is not None:
        return int(gmpy2.powmod(base, exponent, modulus))
    return pow(base, exponent, modulus)


def private_exponent(random: Callable[[int], bytes]) -> int:
    """A fresh secret of 256 random bits, with its top bit set so that it really has them."""
    return int.from_bytes(random(32), "big") | 1 << 255


def challenge(params: DhParams, exponent: int) -> int:
    """A = g^a mod p, sent as hex without padding."""
    return power(params.generator, exponent, params.prime)


def is_fit(params: DhParams, response: int) -> bool:
    """Whether B is in 2..p-2; outside of it K would be known to anybody."""
    return 2 <= response <= params.prime - 2


def shared_secret(params: DhParams, exponent: int, response: int) -> int:
    """K = B^a mod p. ValueError if B is not fit."""
    if not is_fit(params, response):
        raise ValueError("the other side's public value is outside 2..p-2")
    return power(response, exponent, params.prime)


def is_probable_prime(number: int) -> bool:
    """Miller-Rabin; wrong for a composite with a chance below 2^-80 (a random one far less)."""
    if number < 2 or any(number % small == 0 and number != small for small in _SMALL_PRIMES[:50]):
        return False
    if gmpy2 is not None:
        return bool(gmpy2.is_prime(number, 40))
    return _miller_rabin(number, _SMALL_PRIMES[:40])


def _miller_rabin(number: int, bases: list[int]) -> bool:
    if number in bases:
        return True
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd //= 2
        twos += 1
    for base in bases:
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def _primes_below(limit: int) -> list[int]:
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, limit, number)))
    return [number for number in range(limit) if sieve[number]]


_SMALL_PRIMES = _primes_below(1 << 10)


def find_safe_prime(bits: int, random: Callable[[int], bytes], progress: Callable[[int], None] | None = None) -> int:
    """A safe prime p (that is, (p-1)/2 is prime too) of exactly `bits` bits, p % 24 == 23.

    Then 2 generates the large subgroup of order (p-1)/2: what `openssl dhparam -2` gives. Several searches may run
    side by side, each with its own `random`; the first that returns wins.
    progress: called with the number of candidates tested so far, each time one was.
    """
    if bits < 16:
        raise ValueError("a safe prime needs at least 16 bits")
    tested = 0
    while True:
        start = int.from_bytes(random((bits + 7) // 8), "big") % (1 << bits) | 1 << (bits - 1)
        # The top two bits are set, so that a product of lengths never falls short, as openssl does.
        start |= 1 << (bits - 2)
        start += (23 - start) % 24
        for candidate in _sieved(start, bits):
            tested += 1
            if progress is not None:
                progress(tested)
            if _is_safe(candidate):
                return candidate


def _is_safe(prime: int) -> bool:
    half = prime >> 1
    # One cheap test each throws out nearly all; the thorough one runs once, on the winner.
    if power(2, half - 1, half) != 1 or power(2, half, prime) != 1:
        return False
    return is_probable_prime(half) and is_probable_prime(prime)


def _sieved(start: int, bits: int) -> list[int]:
    """Numbers start, start+24, … in which neither p nor (p-1)/2 has a small factor."""
    # As many as one search needs on average, so that the sieve's set-up is paid about once.
    span = max(64, bits * 128)
    alive = bytearray([1]) * span
    for prime in _sieve_primes(bits):
        if prime < 5:
            continue
        step = pow(24, -1, prime)
        # p ≡ 0 and p ≡ 1 (that is (p-1)/2 ≡ 0) are both out.
        for residue in (0, 1):
            first = (residue - start) * step % prime
            alive[first::prime] = bytes(len(range(first, span, prime)))
    return [start + 24 * index for index in range(span) if alive[index] and start.bit_length() == bits]


_SIEVES: dict[int, list[int]] = {}


def _sieve_primes(bits: int) -> list[int]:
    # More small primes pay off as the powers they save get dearer. Never so large that they meet the numbers sought.
    limit = min(1 << (bits // 2 - 1), bits * 1000)
    if limit not in _SIEVES:
        _SIEVES[limit] = _primes_below(max(limit, 8))
    return _SIEVES[limit]


def check_params(params: DhParams, *, thorough: bool = True) -> None:
    """Raises ConfigError (E-OA1-DH) with the reason if the group is not one IBKR can use.

    thorough: also prove that prime and half of it are prime (about 0.2 s; off in the hot path, on in `verify`).
    """
    if params.generator != GENERATOR:
        raise _bad(f"its generator is {params.generator}, IBKR wants 2", "openssl dhparam -2 -out dhparam.pem 2048")
    size = params.prime.bit_length()
    if not MIN_BITS <= size <= MAX_BITS:
        raise _bad(f"its prime has {size} bits, IBKR wants {MIN_BITS}", "`ibkit keys generate` makes a new one")
    if thorough and not is_probable_prime(params.prime):
        raise _bad("its prime is not a prime number", "The file is damaged: use the dhparam.pem you uploaded")
    if thorough and not is_probable_prime(params.prime >> 1):
        raise _bad("its prime is not a safe prime", "`ibkit keys generate` makes a new one")


def write_params_pem(params: DhParams) -> str:
    """The file IBKR's portal takes: PEM, LF line ends."""
    body = _der_int(params.prime) + _der_int(params.generator)
    text = base64.b64encode(b"\x30" + _der_length(len(body)) + body).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {_LABEL}-----\n{lines}\n-----END {_LABEL}-----\n"


def parse_params_pem(text: str) -> DhParams:
    """Reads `dhparam.pem`, as tolerantly as is safe (BOM, CRLF, text around it, escaped line breaks).

    Raises ConfigError (E-OA1-DH) naming what is wrong. The numbers are not judged here: see `check_params`.
    """
    clean = text.lstrip("\ufeff").replace("\\r\\n", "\n").replace("\\n", "\n")
    blocks = _BLOCK.findall(clean)
    if not blocks:
        begin = _BEGIN.search(clean)
        if begin is None:
            raise _bad("it is empty or not PEM" if clean.strip() else "the file is empty")
        if begin[1] == _LABEL:
            raise _bad("it is cut: its END line is missing")
        if begin[1] == "X9.42 DH PARAMETERS":
            raise _bad("it is of the kind X9.42", "openssl dhparam -2 -out dhparam.pem 2048 makes the right kind")
        raise _bad(f"it holds a {begin[1].lower()}, not Diffie-Hellman parameters")
    if len(blocks) > 1:
        raise _bad("it holds more than one parameter block")
    try:
        der = base64.b64decode("".join(blocks[0].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("its base64 is damaged") from error
    numbers = _der_integers(der)
    if len(numbers) not in (2, 3):
        raise _bad(f"it holds {len(numbers)} numbers where prime and generator are expected")
    return DhParams(numbers[0], numbers[1])


def _der_int(number: int) -> bytes:
    raw = java_bytes(number)
    return b"\x02" + _der_length(len(raw)) + raw


def _der_length(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    raw = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(raw)]) + raw


def _der_integers(der: bytes) -> list[int]:
    tag, body, rest = _der_take(der)
    if tag != 0x30 or rest:
        raise _bad("its DER is not one SEQUENCE")
    numbers = []
    while body:
        tag, raw, body = _der_take(body)
        if tag != 0x02 or not raw:
            raise _bad("its DER holds something other than whole numbers")
        if raw[0] & 0x80:
            raise _bad(
                "its prime is written as a negative number: the 00 byte in front of it is missing",
                "Write it anew with `ibkit keys generate` or openssl dhparam, and upload that file",
            )
        numbers.append(int.from_bytes(raw, "big"))
    return numbers


def _der_take(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows of the first DER item."""
    if len(der) < 2:
        raise _bad("its DER is cut")
    tag, length, at = der[0], der[1], 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or len(der) < 2 + count:
            raise _bad("its DER is damaged")
        length, at = int.from_bytes(der[2 : 2 + count], "big"), 2 + count
    if len(der) < at + length:
        raise _bad("its DER is cut")
    return tag, der[at : at + length], der[at + length :]


def _bad(reason: str, remedy: str | None = None) -> ConfigError:
    return ConfigError(
        f"Diffie-Hellman parameters invalid: {reason}", code="E-OA1-DH", remedy=remedy, details={"reason": reason}
    )
