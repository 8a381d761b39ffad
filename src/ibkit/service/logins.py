"""Which login a user means: of a broker by name, with ENABLE_MULTI_USER their own connection of it."""

from __future__ import annotations

from dataclasses import dataclass

from ibkit.bootstrap.connections import Connection
from ibkit.bootstrap.desks import Desk
from ibkit.bootstrap.session_book import OF_SETTINGS
from ibkit.errors import ConfigError, NotFound, SessionUnavailable
from ibkit.model import AccountId
from ibkit.service.brokers import Brokers, Capability, Login, broker_of
from ibkit.service.own_connections import IBKR, OwnConnections, key_of
from ibkit.trading.intent import Intent
from ibkit.users.principal import Principal

__all__ = ["Logins", "full_desk", "need_open", "sent_by"]


@dataclass(frozen=True, slots=True)
class Logins:
    """own: the connections of users, where each has their own."""

    brokers: Brokers
    own: OwnConnections

    async def of(
        self, who: Principal, broker: str, connection_id: str | None, *needs: Capability, address: str = "local"
    ) -> Login:
        """With ENABLE_MULTI_USER at IBKR the user's own of that name, or their default.

        NotFound, ConfigError (E-BROKER, E-NOT-CONFIGURED).
        """
        if broker == IBKR and self.own.of_users:
            return await self.own.login(who, connection_id, address=address)
        login = await self.brokers.login(broker, *needs)
        if connection_id not in (None, OF_SETTINGS):
            raise NotFound(code="E-NOT-FOUND", details={"thing": "connection"})
        return login

    async def visible(self, who: Principal) -> tuple[tuple[str, Login], ...]:
        """The logins that their orders may be of, by name: never another user's."""
        if self.own.of_users:
            await self.own.open_of(who)
        return self.open_now(who)

    def open_now(self, who: Principal) -> tuple[tuple[str, Login], ...]:
        """Those that are open already; nothing is signed in for it."""
        return tuple(
            (name, login)
            for name, login in self.brokers.opened.items()
            if broker_of(name) == name or name.startswith(key_of(who.user_id, ""))
        )

    def accounts_now(self, who: Principal) -> frozenset[str]:
        """Accounts of the open logins that are theirs to look at."""
        logins = [login for _, login in self.open_now(who)]
        found = {str(each) for login in logins if isinstance(login, Connection) for each in login.desks}
        return frozenset(found if who.accounts is None else found & {str(each) for each in who.accounts})


async def full_desk(login: Login, account_id: AccountId | None) -> Desk:
    """The desk of that account with all that a command has. ConfigError (E-BROKER) for a broker without one."""
    if not isinstance(login, Connection):
        raise ConfigError(
            "Broker cannot do this: options",
            code="E-BROKER",
            remedy="Choose another broker; GET /api/brokers lists what each can do.",
        )
    return await login.desk(account_id)


def sent_by(login: Login, intent: Intent) -> bool:
    """Whether the order is of this login: by its name at IBKR, before that is known by the accounts it had last."""
    if not isinstance(login, Connection):
        return False
    planned = intent.planned
    if login.environment is not planned.environment:
        return False
    return login.is_of(planned.username) if login.desks else planned.account_id in login.book.row.accounts


def need_open(login: Login) -> None:
    """For what a page asks by its clock: AuthError where nobody has signed in yet, at once.

    The connection signs in by itself, with pauses; an open page neither waits for that nor does it.
    """
    if isinstance(login, Connection) and login.wanted and not login.open:
        login.used()
        raise login.health.error or SessionUnavailable("The session is not open yet", code="E-SES-INIT")
