"""Flags that many commands share, so that they are spelled and explained alike."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cyclopts import Parameter

__all__ = ["Account", "AllowDelayed", "Compete", "Env", "Json", "Live", "Yes", "YesLive", "flag", "option"]


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
Compete: TypeAlias = Annotated[bool, flag("Take the session over from another login of this user name.")]
AllowDelayed: TypeAlias = Annotated[bool, flag("Accept delayed or frozen quotes.")]
Yes: TypeAlias = Annotated[bool, flag("Do it without asking.")]
