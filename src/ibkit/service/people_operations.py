"""The operations of people and of what they may stop and limit, as the description of the interface tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibkit.service import people_forms as forms
from ibkit.service import risk_forms as risk
from ibkit.service.operation import Operation, query

__all__ = ["PEOPLE"]


def _in_path(name: str, pattern: str, example: str) -> Mapping[str, Any]:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "path", "required": True, "schema": schema, "example": example}


_SESSION = _in_path("session_id", "^[0-9a-f]{32}$", "5c1f0c7de2a94f6c8d5e7a9012bc34de")
_USER = (_in_path("user_id", "^[0-9a-f]{32}$", "3b1f0c7de2a94f6c8d5e7a9012bc34de"),)
_FORCE = query(
    "force",
    {"type": "boolean", "default": False},
    "Although orders of theirs stand at IBKR, which go on there, or a connection is up, which is logged out",
)
_KEY = (_in_path("key_id", "^[0-9a-f]{16}$", "129f7e0e779ead7e"),)
_CHANGE: tuple[Mapping[str, Any], ...] = (
    {
        "name": "number",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "example": 17,
    },
)
_TIME = {"type": "string", "format": "date-time"}
_WHOSE = (query("user_id", {"type": "string", "pattern": "^[0-9a-f]{32}$"}, "Whose; your own by default."),)
_SINCE = query("since", _TIME, "Only those then or later.")
_LIMIT = query("limit", {"type": "integer", "minimum": 1, "maximum": 500, "default": 100}, "How many at most.")
_AUDIT = (
    query("actor", {"type": "string", "maxLength": 200}, "Only of this user's id."),
    query("action", {"type": "string", "maxLength": 64}, "Only these; with a dot at its end all that begin so."),
    query("object", {"type": "string", "maxLength": 200}, "Only what was done to this."),
    _SINCE,
    query("until", _TIME, "Only those before."),
    query("before", {"type": "integer", "minimum": 1}, "`next` of the page before."),
    _LIMIT,
)
_NAME = {"type": "string", "pattern": "^[A-Za-z0-9. ]{1,40}$"}
_SCOPE = (
    query("account_id", _NAME, "As they hold for this account, and what it has used up; the settings' one by default."),
    query("symbol", _NAME, "As they hold for this symbol."),
    query("user", _NAME, "As they hold for the user of this id."),
    query("key", _NAME, "As they hold for the key of this id."),
    query("environment", {"enum": ["paper", "live"]}, "Whose; of an account its own, else that of the settings."),
)
_FORM_ERRORS = (400, 413, 415, 422)
_SIGN_IN = (*_FORM_ERRORS, 401, 403, 429, 503)
_READ = (400, 401, 403, 422, 503)
_ASKED = (400, 401, 403, 404, 429, 503)
_WRITE = (*_ASKED, 413, 415, 422)
_PASSWORD = "four words nobody guesses"  # noqa: S105  # an example

PEOPLE: tuple[Operation, ...] = (
    Operation(
        path="/api/sign-in",
        method="post",
        name="signIn",
        summary="Sign in with name and password, for a token or a browser's cookie",
        answers={200: forms.SignedInAnswer, 202: forms.CodeNeededAnswer},
        errors=_SIGN_IN,
        takes=forms.SignInForm,
        examples={
            "token": {"name": "anna", "password": _PASSWORD},
            "reader": {"name": "anna", "password": _PASSWORD, "scopes": ["read"], "hours": 1},
            "browser": {"name": "anna", "password": _PASSWORD, "browser": True},
        },
        signed=False,
    ),
    Operation(
        path="/api/sign-in/code",
        method="post",
        name="enterCode",
        summary="The second step: a code of the app, or a recovery code",
        answers={200: forms.SignedInAnswer},
        errors=_SIGN_IN,
        takes=forms.CodeForm,
        examples={"app": {"challenge": "eyJhbGciOi...", "code": "492039"}},
        signed=False,
    ),
    Operation(
        path="/api/sign-in/link",
        method="post",
        name="useLink",
        summary="Choose a password with a one-time link, and be signed in",
        answers={200: forms.SignedInAnswer, 202: forms.CodeNeededAnswer},
        errors=_SIGN_IN,
        takes=forms.LinkForm,
        examples={"invited": {"link": "q2Yk...", "password": _PASSWORD}},
        signed=False,
    ),
    Operation(
        path="/api/sign-in/refresh",
        method="post",
        name="refreshToken",
        summary="A new token for the one that asks, which is over with this; for a week, and no fresher sign-in",
        answers={200: forms.SignedInAnswer},
        errors=(400, 401, 403, 503),
    ),
    Operation(
        path="/api/sign-out",
        method="post",
        name="signOut",
        summary="End the token or browser session that asks",
        answers={200: forms.DoneAnswer},
        errors=(400, 401, 403, 503),
    ),
    Operation(
        path="/api/sign-out/everywhere",
        method="post",
        name="signOutEverywhere",
        summary="End all tokens and browser sessions of yours; keys stay",
        answers={200: forms.DoneAnswer},
        errors=_ASKED,
    ),
    Operation(
        path="/api/me",
        method="get",
        name="whoAmI",
        summary="Who asks, and what they may do",
        answers={200: forms.MeAnswer},
        errors=_ASKED,
    ),
    Operation(
        path="/api/me/password",
        method="post",
        name="changePassword",
        summary="Another password for the old one; every token and session is over with it, also the one that asks",
        answers={200: forms.DoneAnswer},
        errors=_WRITE,
        takes=forms.PasswordForm,
        examples={"change": {"old_password": _PASSWORD, "new_password": "violet lamps near the harbour"}},
    ),
    Operation(
        path="/api/me/sessions",
        method="get",
        name="listSessions",
        summary="Your browsers that are signed in, the one used last first",
        answers={200: forms.SessionList},
        errors=(*_ASKED, 429),
    ),
    Operation(
        path="/api/me/sessions/{session_id}",
        method="delete",
        name="endSession",
        summary="Sign one of your browsers out",
        answers={200: forms.DoneAnswer},
        errors=(*_ASKED, 404, 429),
        parameters=(_SESSION,),
    ),
    Operation(
        path="/api/me/second-step",
        method="post",
        name="beginSecondStep",
        summary="A secret for the authenticator app; in force once a code is confirmed",
        answers={200: forms.SecondStepAnswer},
        errors=(*_ASKED, 422, 500),
    ),
    Operation(
        path="/api/me/second-step/confirm",
        method="post",
        name="confirmSecondStep",
        summary="Show a first code of the app; gives ten recovery codes",
        answers={200: forms.RecoveryCodesAnswer},
        errors=_WRITE,
        takes=forms.SecondStepForm,
        examples={"app": {"code": "492039"}},
    ),
    Operation(
        path="/api/me/second-step",
        method="delete",
        name="removeSecondStep",
        summary="Sign in without a second step from now on",
        answers={200: forms.DoneAnswer},
        errors=_ASKED,
    ),
    Operation(
        path="/api/users",
        method="get",
        name="listUsers",
        summary="The users, by name",
        answers={200: forms.UserList},
        errors=_READ,
    ),
    Operation(
        path="/api/users",
        method="post",
        name="addUser",
        summary="Add a user with a first password; without one they are invited by a one-time link",
        answers={201: forms.InvitationAnswer},
        errors=_WRITE,
        takes=forms.UserForm,
        examples={
            "invited": {"name": "tom", "role": "trader"},
            "with password": {"name": "tom", "role": "viewer", "password": _PASSWORD},
        },
    ),
    Operation(
        path="/api/users/{user_id}",
        method="get",
        name="showUser",
        summary="One user",
        answers={200: forms.UserAnswer},
        errors=_ASKED,
        parameters=_USER,
    ),
    Operation(
        path="/api/users/{user_id}",
        method="patch",
        name="changeUser",
        summary="Another role, or disable and enable; one enabled owner stays",
        answers={200: forms.UserAnswer},
        errors=_WRITE,
        takes=forms.UserChangeForm,
        examples={"role": {"role": "viewer"}, "disable": {"enabled": False}},
        parameters=_USER,
    ),
    Operation(
        path="/api/users/{user_id}",
        method="delete",
        name="removeUser",
        summary="Remove a user for good, with keys, tokens, sessions, credentials, connections and portfolios",
        answers={200: forms.UserAnswer},
        errors=(*_ASKED, 409, 422),
        parameters=(*_USER, _FORCE),
    ),
    Operation(
        path="/api/users/{user_id}/link",
        method="post",
        name="newLink",
        summary="A one-time link for a user who has forgotten the password",
        answers={200: forms.InvitationAnswer},
        errors=(*_ASKED, 422),
        parameters=_USER,
    ),
    Operation(
        path="/api/users/{user_id}/sign-out",
        method="post",
        name="signUserOut",
        summary="End all tokens and browser sessions of a user",
        answers={200: forms.UserAnswer},
        errors=_ASKED,
        parameters=_USER,
    ),
    Operation(
        path="/api/users/{user_id}/second-step",
        method="delete",
        name="removeUsersSecondStep",
        summary="Take away the second step of a user who has lost it",
        answers={200: forms.UserAnswer},
        errors=_ASKED,
        parameters=_USER,
    ),
    Operation(
        path="/api/keys",
        method="get",
        name="listKeys",
        summary="Keys of programs; the keys themselves are never told again",
        answers={200: forms.ApiKeyList},
        errors=(*_READ, 404),
        parameters=_WHOSE,
    ),
    Operation(
        path="/api/keys",
        method="post",
        name="addKey",
        summary="Make a key for a program; it is told this once",
        answers={201: forms.NewApiKeyAnswer},
        errors=_WRITE,
        takes=forms.ApiKeyForm,
        examples={
            "paper": {"label": "rebalancing", "scopes": ["read", "orders:paper"], "days": 90},
            "one account": {"label": "stops", "scopes": ["orders:live"], "accounts": ["U1234567"]},
        },
    ),
    Operation(
        path="/api/keys/{key_id}",
        method="delete",
        name="revokeKey",
        summary="End a key at once",
        answers={200: forms.ApiKeyAnswer},
        errors=_ASKED,
        parameters=_KEY,
    ),
    Operation(
        path="/api/security/failures",
        method="get",
        name="listFailures",
        summary="Sign-ins, tokens and addresses that were refused, newest first",
        answers={200: forms.FailureList},
        errors=_READ,
        parameters=(_SINCE, _LIMIT),
    ),
    Operation(
        path="/api/audit",
        method="get",
        name="listAudit",
        summary="The audit log, newest first",
        answers={200: forms.AuditList},
        errors=_READ,
        parameters=_AUDIT,
    ),
    Operation(
        path="/api/kill",
        method="get",
        name="listHalts",
        summary="What is stopped; without the scope admin, what is stopped for you, and why",
        answers={200: risk.HaltAnswer},
        errors=(400, 401, 403, 503),
    ),
    Operation(
        path="/api/kill",
        method="post",
        name="pressKillSwitch",
        summary="Stop trading, for everything or for an account or symbol; it is on disk before this answers",
        answers={200: risk.HaltAnswer, 202: risk.HaltAnswer},
        errors=_WRITE,
        takes=risk.HaltForm,
        examples={
            "everything": {"note": "the strategy runs wild"},
            "account": {"note": "looking into it", "mode": "reduce-only", "account_id": "DU1234567"},
            "working orders, too": {"note": "nothing is right", "mode": "cancel-all", "account_id": "DU1234567"},
        },
    ),
    Operation(
        path="/api/kill/release",
        method="post",
        name="releaseKillSwitch",
        summary="Let trading go on; for live money a second person has to say so, too",
        answers={200: risk.ReleaseAnswer},
        errors=(*_WRITE, 409, 502),
        takes=risk.ReleaseForm,
        examples={
            "account": {"note": "mended", "account_id": "DU1234567"},
            "everything, paper and live": {"note": "mended"},
            "everything, on paper": {"note": "mended", "environment": "paper"},
        },
    ),
    Operation(
        path="/api/limits",
        method="get",
        name="listLimits",
        summary="Every limit as it holds for an account, symbol, user or key, and the changes that wait",
        answers={200: risk.LimitsAnswer},
        errors=_READ,
        parameters=_SCOPE,
    ),
    Operation(
        path="/api/limits",
        method="post",
        name="changeLimit",
        summary="Change a limit; a raise for live money waits until a second person confirms it",
        answers={200: risk.LimitAnswer},
        errors=_WRITE,
        takes=risk.LimitForm,
        examples={
            "all": {"name": "max_shares", "value": "200", "note": "smaller for now"},
            "key": {"name": "max_shares", "value": "20", "layer": "key", "whose": "129f7e0e779ead7e", "note": "new"},
        },
    ),
    Operation(
        path="/api/limits/{number}/confirm",
        method="post",
        name="confirmLimit",
        summary="Confirm another person's raise of a live limit",
        answers={200: risk.LimitAnswer},
        errors=(*_ASKED, 422),
        parameters=_CHANGE,
    ),
)
