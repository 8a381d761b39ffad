"""Whose executions a sync asks for now: a login of many accounts neither waits for that list nor takes all its slots.

IBKR gives the list once in 5 s for a whole login, and a call is asked about one account: that one without an account
tells of all of them no source says (docs/facts/orders.md §1, §11). But it reaches back a week, so an account is asked
about when something of it has changed, and otherwise once a day.

    asked about    never yet → something changed → a day ago → its commissions are not told yet
    not            the login's list was asked for less than `BETWEEN_S` ago, or others have waited longer

Who is not asked about has what was told last: several portfolios may hold one account.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from ibkit.model import AccountId
from ibkit.portfolio.picture import Execution, RawPayload

__all__ = ["BETWEEN_S", "ExecutionTurns"]

BETWEEN_S: Final = 15.0
"""A third of the slots at most is a sync's: orders in doubt are looked up in the same list."""
AT_LEAST_EVERY_S: Final = 86_400.0
MOST_ACCOUNTS: Final = 10_000
MOST_BYTES: Final = 8_000_000
"""Of answers that are kept; the oldest go first."""

Answer = tuple[tuple[Execution, ...], RawPayload]


@dataclass(slots=True)
class _Seen:
    """state: what the account held when its list was read. settled: the list told all of it."""

    state: object
    at: float
    settled: bool


class ExecutionTurns:
    """Of one login. now: of its monotonic clock. state: of an account, the same as long as nothing in it has moved."""

    def __init__(self) -> None:
        self._seen: OrderedDict[AccountId, _Seen] = OrderedDict()
        self._waiting: OrderedDict[AccountId, float] = OrderedDict()
        self._answers: OrderedDict[AccountId, Answer] = OrderedDict()
        self._bytes = 0
        self._asked_at: float | None = None

    def kept(self, account_id: AccountId) -> Answer | None:
        """What was told of it last, while there is room for it."""
        return self._answers.get(account_id)

    def take(self, account_id: AccountId, state: object, now: float) -> bool:
        """Whether to ask about it now; who is not asked about has its turn later."""
        seen = self._seen.get(account_id)
        if seen is not None and seen.settled and seen.state == state and now - seen.at < AT_LEAST_EVERY_S:
            self._waiting.pop(account_id, None)
            return False
        free = self._asked_at is None or now - self._asked_at >= BETWEEN_S
        others = sum(1 for each in self._waiting if each != account_id)
        if not free or (seen is not None and now - seen.at < BETWEEN_S * (others + 1)):
            self._waiting.setdefault(account_id, now)
            while len(self._waiting) > MOST_ACCOUNTS:
                self._waiting.popitem(last=False)
            return False
        self._waiting.pop(account_id, None)
        self._asked_at = now
        return True

    def told(self, account_id: AccountId, state: object, now: float, answer: Answer, *, complete: bool) -> None:
        """complete: nothing lacks in it.

        The first list of a session is empty, whatever there was (§11): an empty one has to be told twice.
        """
        found = len(answer[0])
        self._keep(account_id, answer)
        before = self._seen.pop(account_id, None)
        twice = before is not None and before.state == state
        self._seen[account_id] = _Seen(state, now, settled=complete and (found > 0 or twice))
        while len(self._seen) > MOST_ACCOUNTS:
            self._seen.popitem(last=False)

    def _keep(self, account_id: AccountId, answer: Answer) -> None:
        old = self._answers.pop(account_id, None)
        self._bytes += len(answer[1].body) - (0 if old is None else len(old[1].body))
        self._answers[account_id] = answer
        while self._bytes > MOST_BYTES:
            self._bytes -= len(self._answers.popitem(last=False)[1][1].body)
