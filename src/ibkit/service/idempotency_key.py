"""The header Idempotency-Key: there, once, and of its form. Source: requirement GWY-03."""

from __future__ import annotations

from ibkit.errors import ConfigError
from ibkit.model import Key
from ibkit.service.refusals import Refusal
from ibkit.trading.ref import check_key, key_of_user

__all__ = ["HEADER", "read_key"]

HEADER = "idempotency-key"
_FORM = "Use 16 to 128 characters of A-Z a-z 0-9 . _ : - (a UUID fits)."


def read_key(given: list[str], *, user_id: str) -> Key:
    """The key as the journal keeps it: that user's. given: every such header of the request.

    Refusal 400: E-IDEM-MISSING without one, E-VALIDATION for two, or one that is not of its form.
    """
    if not given or not given[0].strip():
        raise Refusal(400, ConfigError(code="E-IDEM-MISSING"))
    if len(given) > 1:
        raise Refusal(400, _invalid("the header stands twice", "Send one key for one order."))
    try:
        return key_of_user(user_id, check_key(given[0]))
    except ConfigError:
        raise Refusal(400, _invalid(f"{len(given[0])} characters, or one that does not belong there", _FORM)) from None


def _invalid(why: str, remedy: str) -> ConfigError:
    details = {"errors": [{"field": "Idempotency-Key", "message": why}]}
    return ConfigError(f"Invalid request: Idempotency-Key: {why}", code="E-VALIDATION", remedy=remedy, details=details)
