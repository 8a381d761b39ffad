"""Flags that many commands share, so that they are spelled and explained alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from cyclopts import Parameter

__all__ = [
    "Account",
    "AllowDelayed",
    "ByUser",
    "Compete",
    "Env",
    "Json",
    "Live",
    "UserLogin",
    "Yes",
    "YesLive",
    "YesLiveOf",
    "flag",
    "option",
]


def flag(meaning: str) -> Parameter:
    """A switch: off unless given."""
    return Parameter(help=meaning, negative=(), show_default=False)


def option(meaning: str, *names: str) -> Parameter:
    """A value by name; its default, where there is one, is shown by the help."""
    return Parameter(name=names or None, help=meaning, show_default=None)


Json: TypeAlias = Annotated[bool, flag("One JSON document instead of text; errors as JSON on stderr.")]
Account: TypeAlias = Annotated[
    str | None, Parameter(help="Account to use [default: IBKR_ACCOUNT_ID, or the only one].")
]
Env: TypeAlias = Annotated[str | None, Parameter(help="paper or live [default: IBKR_ENV, or paper].")]
Live: TypeAlias = Annotated[bool, flag("Trade live money. IBKR_ENV must be live too.")]
YesLive: TypeAlias = Annotated[
    str | None, Parameter(help="The live account, repeated, where nobody can be asked to type it.")
]
YesLiveOf: TypeAlias = Annotated[
    tuple[str, ...], Parameter(name="--yes-live", help="A live account to trade, by its id; may be repeated.")
]
Compete: TypeAlias = Annotated[bool, flag("Take the session over from another login of this user name.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class UserLogin:
    """Whose connection a command acts by; without a user that of the settings."""

    user: Annotated[str | None, Parameter(help="Act by a connection of this user (ENABLE_MULTI_USER).")] = None
    connection: Annotated[str | None, Parameter(help="Which of theirs [default: their default one].")] = None


ByUser: TypeAlias = UserLogin | None
AllowDelayed: TypeAlias = Annotated[bool, flag("Accept delayed or frozen quotes.")]
Yes: TypeAlias = Annotated[bool, flag("Do it without asking.")]
