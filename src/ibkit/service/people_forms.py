"""What the routes of people take and give. What holds a password, a code or a token shows none of its fields.

A plain password lives in such a form, from the body to `Secret`; `read_struct` lets no error carry it out.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ibkit.model import AccountId

__all__ = [
    "ApiKeyAnswer",
    "ApiKeyForm",
    "ApiKeyInfo",
    "ApiKeyList",
    "AuditEntryInfo",
    "AuditList",
    "CodeForm",
    "CodeNeededAnswer",
    "CodeNeededInfo",
    "Done",
    "DoneAnswer",
    "FailureInfo",
    "FailureList",
    "InvitationAnswer",
    "InvitationInfo",
    "LinkForm",
    "Me",
    "MeAnswer",
    "NewApiKeyAnswer",
    "NewApiKeyInfo",
    "PasswordForm",
    "RecoveryCodes",
    "RecoveryCodesAnswer",
    "SecondStepAnswer",
    "SecondStepForm",
    "SecondStepInfo",
    "SignInForm",
    "SignedInAnswer",
    "SignedInInfo",
    "UserAnswer",
    "UserChangeForm",
    "UserForm",
    "UserInfo",
    "UserList",
    "accounts_of",
]

_Role = Literal["owner", "admin", "trader", "viewer"]
_Scope = Literal["read", "orders:paper", "orders:live", "credentials", "admin"]
_Scopes = Annotated[list[_Scope], Meta(min_length=1, max_length=5)]
_Name = Annotated[str, Meta(min_length=1, max_length=64)]
_Password = Annotated[str, Meta(min_length=1, max_length=256)]
_Code = Annotated[str, Meta(min_length=1, max_length=64, description="Of the app, or a recovery code.")]
_Token = Annotated[str, Meta(min_length=1, max_length=8192)]
_Hours = Annotated[int, Meta(ge=1, le=744)]
_Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
_Account = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{3,20}$")]
_Accounts = Annotated[list[_Account], Meta(min_length=1, max_length=100)]


class _Discreet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"


def accounts_of(given: list[str] | None) -> frozenset[AccountId] | None:
    """To which a token or key is confined; None for all of the user's."""
    return None if given is None else frozenset(AccountId(each.upper()) for each in given)


# -- signing in -------------------------------------------------------------------------------------------------------


class SignInForm(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """browser: a cookie instead of a token. scopes, hours: of the token; all of the role, and a day, by default.

    accounts: those that the token is confined to; all of the user's by default.
    """

    name: _Name
    password: _Password
    scopes: _Scopes | None = None
    accounts: _Accounts | None = None
    hours: _Hours = 24
    browser: bool = False


class CodeForm(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """challenge: of the first step."""

    challenge: _Token
    code: _Code
    scopes: _Scopes | None = None
    accounts: _Accounts | None = None
    hours: _Hours = 24
    browser: bool = False


class LinkForm(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """link: what stands behind the # of a one-time link. password: the one that is chosen with it."""

    link: Annotated[str, Meta(min_length=1, max_length=128)]
    password: _Password
    scopes: _Scopes | None = None
    accounts: _Accounts | None = None
    hours: _Hours = 24
    browser: bool = False


class SignedInInfo(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """token, token_id: null with a cookie. csrf_token: for X-CSRF-Token, null with a token. accounts: null for all."""

    user_id: str
    name: str
    role: str
    scopes: list[str]
    expires_at: datetime
    accounts: list[str] | None = None
    token: str | None = None
    token_id: str | None = None
    csrf_token: str | None = None


class SignedInAnswer(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: SignedInInfo


class CodeNeededInfo(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password was right; `challenge` goes with the code to /api/sign-in/code."""

    challenge: str
    expires_at: datetime


class CodeNeededAnswer(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: CodeNeededInfo


class Done(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    done: bool = True


class DoneAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: Done


# -- oneself ----------------------------------------------------------------------------------------------------------


class Me(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """signed_in_at: when a person proved who they are; null for a machine and for tokens of the command line.

    csrf_token: of a browser's session, else null. accounts: null for all of the user's.
    second_step_due: nothing else is answered before it is set up.
    """

    user_id: str
    name: str
    role: str
    scopes: list[str]
    second_step: bool
    second_step_due: bool
    signed_in_at: datetime | None
    key_id: str | None
    accounts: list[str] | None
    csrf_token: str | None


class MeAnswer(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: Me


class PasswordForm(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    old_password: _Password
    new_password: _Password


class SecondStepInfo(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """address: `otpauth://…` for the authenticator app, mostly as a QR code."""

    address: str


class SecondStepAnswer(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: SecondStepInfo


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A browser that is signed in. agent: what it calls itself. current: the one that asks. ends_at: if not used."""

    session_id: str
    signed_in_at: datetime
    seen_at: datetime
    ends_at: datetime
    address: str
    agent: str
    current: bool


class SessionList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[SessionInfo]


class SecondStepForm(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: _Code


class RecoveryCodes(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ten of them, each good once, told only now."""

    recovery_codes: list[str]


class RecoveryCodesAnswer(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: RecoveryCodes


# -- users ------------------------------------------------------------------------------------------------------------


class UserForm(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """password: the first one; without it a one-time link is answered, with which they choose it."""

    name: _Name
    role: _Role
    password: _Password | None = None


class UserChangeForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: _Role | None = None
    enabled: bool | None = None


class UserInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: str
    name: str
    role: str
    enabled: bool
    has_password: bool
    second_step: bool
    created_at: datetime
    password_at: datetime | None


class UserAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: UserInfo


class UserList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[UserInfo]


class InvitationInfo(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """link: told only now, good once until `expires_at`, at this service's /welcome#<link>; null with a password."""

    user: UserInfo
    link: str | None = None
    expires_at: datetime | None = None


class InvitationAnswer(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: InvitationInfo


# -- keys -------------------------------------------------------------------------------------------------------------


class ApiKeyForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """days: until its end. accounts: to which it is confined. user_id: whose; your own by default."""

    label: Annotated[str, Meta(min_length=1, max_length=80)]
    scopes: _Scopes
    days: Annotated[int, Meta(ge=1, le=366)] = 90
    accounts: _Accounts | None = None
    user_id: _Id | None = None


class ApiKeyInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key_id: str
    user_id: str
    label: str
    scopes: list[str]
    accounts: list[str] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None


class ApiKeyAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: ApiKeyInfo


class ApiKeyList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[ApiKeyInfo]


class NewApiKeyInfo(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """key: told only now."""

    key: str
    record: ApiKeyInfo


class NewApiKeyAnswer(_Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: NewApiKeyInfo


# -- what was done, and what failed -----------------------------------------------------------------------------------


class FailureInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """user: the name, null where there is none of that name. kind: password, code, link, token, waiting, address."""

    at: datetime
    user_id: str | None
    user: str | None
    address: str
    kind: str


class FailureList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: list[FailureInfo]


class AuditEntryInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """hash: of the chain, which `ibkit audit verify` follows."""

    number: int
    at: str
    actor: str
    address: str
    action: str
    object: str
    result: str
    details: dict[str, str]
    hash: str


class AuditList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """next: `before` of the following page, null at the end."""

    data: list[AuditEntryInfo]
    next: int | None
