"""Who uses a service of ours, how they prove it, and what they may do. No I/O of its own.

`joserfc` and `argon2` (the extra `service`) are imported where a token or password is looked at.
"""

from __future__ import annotations

from ibkit.users.api_keys import ApiKey
from ibkit.users.attempts import Attempt, Finding, Kind
from ibkit.users.browser import BrowserSession, csrf_fits, csrf_token
from ibkit.users.keeping import FirstLink, NewKey, UserKeeper
from ibkit.users.passwords import Cost, Hasher
from ibkit.users.ports import UserStore
from ibkit.users.principal import Authenticator, Principal, Role, Scope
from ibkit.users.sign_in import FRESH, CodeNeeded, Issued, SignedIn, SignIns, is_fresh
from ibkit.users.tokens import Claims, TokenSigner
from ibkit.users.user import User, allowed_scopes, may_manage, parse_scopes

__all__ = [
    "FRESH",
    "ApiKey",
    "Attempt",
    "Authenticator",
    "BrowserSession",
    "Claims",
    "CodeNeeded",
    "Cost",
    "Finding",
    "FirstLink",
    "Hasher",
    "Issued",
    "Kind",
    "NewKey",
    "Principal",
    "Role",
    "Scope",
    "SignIns",
    "SignedIn",
    "TokenSigner",
    "User",
    "UserKeeper",
    "UserStore",
    "allowed_scopes",
    "csrf_fits",
    "csrf_token",
    "is_fresh",
    "may_manage",
    "parse_scopes",
]
