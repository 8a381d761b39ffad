"""The header Idempotency-Key: there, once, of its form; a key that was another order's. Source: requirement GWY-03."""

from __future__ import annotations

from ibkit.errors import ConfigError, KeyReused
from ibkit.model import Key
from ibkit.service.refusals import Refusal
from ibkit.trading.intent import Intent
from ibkit.trading.ref import check_key, key_of_user

__all__ = ["HEADER", "conflict", "field_names", "named", "read_key"]

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


_FIELDS = {
    "account": "account_id",
    "conid": "symbol",
    "side": "action",
    "quantity": "qty",
    "tif": "time_in_force",
    "group": "take_profit",
}


def field_names(terms: tuple[str, ...]) -> list[str]:
    """Names of terms as those of the body: of a child its exit's."""
    found = []
    for term in terms:
        name, child, _ = term.partition(" (")
        if child:
            found.append({"limit_price": "take_profit", "stop_price": "stop_loss"}.get(name, "take_profit"))
        else:
            found.append(_FIELDS.get(name, name))
    return found


def named(error: KeyReused) -> KeyReused:
    fields = error.details.get("fields")
    if not isinstance(fields, list):
        return error
    names = list(dict.fromkeys(field_names(tuple(str(name) for name in fields))))
    return KeyReused(
        f"Idempotency-Key was used for a different order: {', '.join(names)}",
        remedy="Use a new key for a new order.",
        details={"fields": names, "id": error.details.get("intent")},
    )


def conflict(known: Intent, fields: tuple[str, ...]) -> KeyReused:
    return KeyReused(
        f"Idempotency-Key was used for a different order: {', '.join(fields)}",
        remedy="Use a new key for a new order.",
        details={"fields": list(fields), "id": known.intent_id},
    )
