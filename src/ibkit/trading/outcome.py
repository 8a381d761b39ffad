"""What became of an intent, as a value to read or an error to raise."""

from __future__ import annotations

from dataclasses import dataclass

from ibkit.errors import Effect, IbkitError, LimitExceeded, NotPermitted, OutcomeUnknown, Refused, TradingError
from ibkit.model import OrderId
from ibkit.trading.events import LegAck, Operation
from ibkit.trading.intent import Intent, IntentState

__all__ = ["Outcome", "refusal_code", "remedy_of"]

_PERMISSION = ("permission", "not available or allowed for this account")


def refusal_code(reason: str) -> str:
    """E-ORD-PERM where IBKR's reason names a missing permission, E-ORD-REJECT otherwise.

    The one place outside `wire` that reads a broker's text: it only chooses the remedy that is shown.
    Source: docs/facts/orders.md §12.2.
    """
    text = reason.casefold()
    return "E-ORD-PERM" if any(word in text for word in _PERMISSION) else "E-ORD-REJECT"


@dataclass(frozen=True, slots=True)
class Outcome:
    """An intent that has come to rest. cached: it already had when it was asked for."""

    intent: Intent
    cached: bool = False

    @property
    def state(self) -> IntentState:
        return self.intent.state

    @property
    def accepted(self) -> bool:
        """The broker has (or had) the order, and did not refuse it; of a group the first order (see `error`)."""
        return self.state in (IntentState.ACKED, IntentState.FILLED, IntentState.CANCELLED)

    @property
    def unknown(self) -> bool:
        return self.state is IntentState.UNKNOWN_NEEDS_HUMAN

    @property
    def order_id(self) -> OrderId | None:
        return self.intent.order_id

    @property
    def legs(self) -> tuple[LegAck, ...]:
        """The other orders of a group, as the broker has them."""
        return self.intent.legs

    @property
    def error(self) -> IbkitError | None:
        """Why there is no order (or why nobody can say); None where the broker took it."""
        intent = self.intent
        details: dict[str, object] = {"intent": intent.intent_id, "state": intent.state.value}
        match intent.state:
            case IntentState.ACKED | IntentState.FILLED | IntentState.CANCELLED:
                return _broken_error(intent, details) if intent.broken else None
            case IntentState.REJECTED_LOCAL | IntentState.EXPIRED_LOCAL:
                details["control"] = intent.control
                kind = LimitExceeded if intent.code == "E-RISK" else TradingError
                return kind(intent.reason, code=intent.code, remedy=_REMEDIES.get(intent.control), details=details)
            case IntentState.REJECTED_POLICY:
                return _question_error(intent, details)
            case IntentState.REJECTED_BROKER | IntentState.REJECTED_LATE:
                code = intent.code or refusal_code(intent.reason)
                refused = NotPermitted if code == "E-ORD-PERM" else Refused
                what = "Order" if intent.operation is not Operation.CANCEL else "Cancel"
                return refused(f"{what} rejected by IBKR: {intent.reason}", code=code, details=details)
            case IntentState.NOT_PLACED:
                if intent.declined:
                    return _question_error(intent, details)
                return OutcomeUnknown(
                    f"Order not placed: {intent.reason}",
                    remedy="It was proven not to be at IBKR; send it with a new key if it is still wanted.",
                    effect=Effect.NONE,
                    details=details,
                )
            case _:
                return OutcomeUnknown(f"Order state unknown: {intent.reason}", code="E-ORD-UNKNOWN", details=details)

    def require(self) -> Outcome:
        """Itself, or the error it stands for."""
        error = self.error
        if error is not None:
            raise error
        return self


def remedy_of(control: str) -> str:
    """What to do about a refusal of this control."""
    return _REMEDIES.get(control) or IbkitError(code="E-RISK").remedy


_REMEDIES = {
    "RC-02": "Trading was stopped on purpose: `ibkit kill --status` says by whom, `ibkit kill --release` ends it.",
    "RC-19": "It looks like a loop: find what repeats the order, then `ibkit kill --release --symbol …`.",
    "RC-20": "IBKR refused several orders in a row: read their reasons (`ibkit intents list`); it ends by itself.",
    "RC-22": "Settle the order in unknown state first: `ibkit intents list --state unknown`.",
    "RC-26": "Nothing was sent; send it with a new key if it is still wanted.",
}
"""What to do about a refusal, by control, where it is not to reduce the order or change the limit."""


def _broken_error(intent: Intent, details: dict[str, object]) -> IbkitError:
    """The broker took the first order of a group, but not all of it."""
    others = intent.planned.others
    missing = "; ".join(
        f"{'an order' if leg.number is None else others[leg.number - 1].label}: {leg.text}" for leg in intent.broken
    )
    details["order"] = intent.order_id
    return Refused(
        f"Order {intent.order_id} stands without all of its group ({missing})"
        + (f"; {intent.mended}" if intent.mended else ""),
        code="E-ORD-REJECT",
        remedy="Look at the account's orders and positions first; send what is missing with a new key.",
        effect=Effect.UNKNOWN,
        details=details,
    )


def _question_error(intent: Intent, details: dict[str, object]) -> IbkitError:
    question = intent.question
    ids = ", ".join(question.message_ids) if question else ""
    text = " / ".join(question.messages) if question else intent.reason
    details["question"] = ids
    return TradingError(
        f"Order needs confirmation: {text} ({ids}); declined: {intent.reason}",
        code="E-ORD-QUESTION",
        remedy=f"Repeat with --confirm {ids} or allow the id in ORDER_AUTO_CONFIRM.",
        details=details,
    )
