"""What must not be seen in text for people: keys, tokens, signatures and cookies become stars. Pure text work.

The last of several fences: secrets are `Secret` and are never logged on purpose. Source: requirement MON-13.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["STARS", "is_secret_name", "masked"]

STARS: Final = "***"
_NAMES: Final = (
    r"oauth_signature|oauth_token|oauth_token_secret|access_token|refresh_token|client_assertion|client_secret"
    r"|live_session_token|diffie_hellman_\w+|password|passphrase|secret|authorization|encryption_key|jwt_secret"
    r"|x-sess-uuid|jsessionid|xyab\w*|sessionid|set-cookie|cookie"
)
_QUOTE: Final = r"\\?[\"']?"
_NAMED: Final = rf"(?<![\w-])({_QUOTE}(?:{_NAMES}){_QUOTE}\s*[=:]\s*{_QUOTE})(?!\*\*\*)[^\s\"'\\,;&}}]+"
_PATTERNS: Final = (
    # A PEM block, also cut off, also with its line breaks written as \n.
    (re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL), STARS),
    (re.compile(r"\b(Bearer|Basic)\s+(?!\*)[^\s\"',;]+", re.IGNORECASE), rf"\1 {STARS}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), STARS),  # a JWT
    (re.compile(r"\bv1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{20,}[A-Za-z0-9_.-]*"), STARS),  # sealed text
    (re.compile(r"\bibk_[0-9a-f]{16}_[0-9a-f]+"), STARS),  # a machine key of ours
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]+"), STARS),
    (re.compile(_NAMED, re.IGNORECASE), rf"\1{STARS}"),
    # Cookies of the gateway and of sign-ins have short names that are words elsewhere: only with a long value.
    (re.compile(r"\b(api|session)=(?!\*)[A-Za-z0-9._%+/-]{16,}=*", re.IGNORECASE), rf"\1={STARS}"),
    (re.compile(r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"), STARS),  # user:password of an address
)


def masked(text: str) -> str:
    """`text` with stars for what looks like a secret; what is already stars stays."""
    for pattern, stars in _PATTERNS:
        text = pattern.sub(stars, text)
    return text


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret as a whole."""
    return re.fullmatch(_NAMES, name, re.IGNORECASE) is not None
