"""An error with a status of its own: where HTTP tells more than the catalogue's code does (400, 405, 413, 415)."""

from __future__ import annotations

from collections.abc import Mapping

from ibkit.errors import ConfigError, IbkitError

__all__ = ["Refusal", "invalid"]


class Refusal(Exception):
    """status: instead of the one of the error's code. headers: to be sent with it."""

    def __init__(self, status: int, error: IbkitError, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = dict(headers or {})


def invalid(*problems: tuple[str, str]) -> ConfigError:
    """E-VALIDATION (422) naming every field that is wrong, and why."""
    told = "; ".join(f"{name}: {why}" for name, why in problems)
    return ConfigError(
        f"Invalid request: {told}",
        code="E-VALIDATION",
        remedy="Correct the fields named; nothing was stored or sent.",
        details={"errors": [{"field": name, "message": why} for name, why in problems]},
    )
