"""What a user types, a module each; and the table of them with what each says of itself in one line.

The root help is written from here, so that it needs none of the commands, and not the command-line library either.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COMMANDS", "GLOBAL_OPTIONS", "Command", "root_help"]


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    summary: str
    group: str

    @property
    def target(self) -> str:
        """`module:attribute` of its app, imported when the command is used."""
        return f"{__name__}.{self.name.replace('-', '_')}:app"


_GROUPS = ("Set up", "Look", "Trade", "Tools")

COMMANDS: tuple[Command, ...] = (
    Command("init", "Write a settings file (.env) to start from.", "Set up"),
    Command("keys", "Make the keys that IBKR's portal asks for.", "Set up"),
    Command("verify", "Check the settings and keys, without the network.", "Set up"),
    Command("auth", "Sign in, authorise, test the sign-in step by step.", "Set up"),
    Command("gateway", "Trust the gateway's certificate, read its logs; a second one.", "Set up"),
    Command("user", "Who may use the service: users, roles, tokens, keys.", "Set up"),
    Command("access-review", "Who may do what here; the look of each quarter.", "Set up"),
    Command("admin", "What an operator vouches for: IBKR's approval of several users.", "Set up"),
    Command("credentials", "What users' connections sign in with: store, test, delete.", "Set up"),
    Command("migrate", "From one way of running ibkit to another.", "Set up"),
    Command("vault", "Make, show and change the key that encrypts stored secrets.", "Set up"),
    Command("rotation", "How old keys, tokens and passwords are, and what is due.", "Set up"),
    Command("config", "Show the settings and where each comes from.", "Set up"),
    Command("db", "Prepare or bring up to date the database.", "Set up"),
    Command("backup", "Back up the journal and the database while everything runs.", "Set up"),
    Command("restore", "Put a backup in the place of what is there.", "Set up"),
    Command("rollback", "Undo the last upgrade of the databases.", "Set up"),
    Command("drill", "Try whether a backup could be put back.", "Set up"),
    Command("maintenance", "When the service is worked on, told to its users ahead.", "Set up"),
    Command("checklist", "What production needs: checked here, or confirmed by a person.", "Set up"),
    Command("firewall", "The firewall rules this needs, and whether they hold.", "Set up"),
    Command("security", "Look for secrets in git, and for what is left open.", "Set up"),
    Command("dev", "The hook that keeps keys out of git.", "Set up"),
    Command("status", "What works, what is missing, what to do next.", "Look"),
    Command("doctor", "Everything that may be wrong, each with its remedy.", "Look"),
    Command("session", "The session: how it is and was; log out, connect again.", "Look"),
    Command("connection", "Test the gateway's login; the connections of users.", "Look"),
    Command("accounts", "The accounts of the login.", "Look"),
    Command("positions", "What an account holds, and closing it.", "Look"),
    Command("portfolio", "Holdings of your own: kept by hand, or synced from IBKR.", "Look"),
    Command("report", "A portfolio as a report: PDF, or a page for browsers.", "Look"),
    Command("contracts", "Find contracts and list option strikes.", "Look"),
    Command("quote", "Bid, ask and last of a stock or an option.", "Look"),
    Command("sell-option", "Sell a put, a call or both, each with a stop.", "Trade"),
    Command("orders", "List, show, place, cancel or modify orders.", "Trade"),
    Command("trades", "The trades of the option seller and how they went.", "Trade"),
    Command("trade", "Validate the whole way on paper, or roll a trade.", "Trade"),
    Command("risk", "Limits: show, change, confirm, and try them on an order.", "Trade"),
    Command("kill", "Stop trading at once, see what is stopped, start it again.", "Trade"),
    Command("intents", "What the order journal holds.", "Trade"),
    Command("alerts", "What people are told, and by which channels.", "Trade"),
    Command("audit", "Who did what; export it, and verify that it is whole.", "Trade"),
    Command("worker", "Watch over sold options and open orders.", "Trade"),
    Command("serve", "Take orders over HTTP and watch over them, until Ctrl-C.", "Tools"),
    Command("sim", "Simulate Interactive Brokers on this machine, until Ctrl-C.", "Tools"),
    Command("demo", "See the main job done on the simulator, then the pages.", "Tools"),
    Command("support", "A bundle of what helps to find a fault, without secrets.", "Tools"),
    Command("errors", "The error codes, what they mean and what to do.", "Tools"),
)

GLOBAL_OPTIONS: tuple[tuple[str, str], ...] = (
    ("--env-file FILE", "Settings file to use instead of ./.env or ./config/.env."),
    ("--no-cache", "Ask IBKR for everything anew, whatever was answered before."),
    ("--json", "Print JSON instead of text, errors too (most commands)."),
    ("--version", "Print the version."),
    ("-h, --help", "Print this help; after a command, that command's."),
)


def root_help() -> str:
    """What `ibkit --help` prints."""
    lines = ["Usage: ibkit COMMAND [OPTIONS]", "", "Trade at Interactive Brokers, or at a simulation of it.", ""]
    width = max(len(command.name) for command in COMMANDS)
    for group in _GROUPS:
        lines.append(f"{group}:")
        lines += [f"  {c.name:<{width}}  {c.summary}" for c in COMMANDS if c.group == group]
        lines.append("")
    lines.append("Options:")
    option_width = max(len(name) for name, _ in GLOBAL_OPTIONS)
    lines += [f"  {name:<{option_width}}  {meaning}" for name, meaning in GLOBAL_OPTIONS]
    lines += ["", "Start with `ibkit demo`, or with `ibkit init` for an account of yours.", ""]
    return "\n".join(lines)
