"""What the sources leave open, decided: one named field for each question, with its source and its default.

A quirk is always on. `ibkit sim --quirk name=value` and `POST /__sim/quirks` choose another reading, so that a client
can be tried against each. What is *not* open has no field here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from typing import Any, Literal, get_args, get_type_hints

__all__ = ["Quirks"]

QueryStyle = Literal["any", "bare", "listed", "in_url"]


@dataclass(frozen=True, slots=True)
class Quirks:
    """Every field: what it means, then its source. `[sim]` marks a choice that nothing settles."""

    # --- signatures and tokens: docs/facts/auth-and-sessions.md ------------------------------------------------
    query_signing: QueryStyle = "any"
    """Which way of signing a URL with a query is taken; "any" accepts all that work at IBKR. §1.3, §8 row 1 [sim]."""
    timestamp_tolerance_s: int = 300
    """An oauth_timestamp or JWT instant farther off than this is refused. §8 row 3 [sim]."""
    strict_nonce: bool = False
    """Refuse a repeated (consumer, token, timestamp, nonce). §8 row 4 [sim]."""
    strict_jti: bool = False
    """Refuse a client assertion whose `jti` was seen before. §8 row 26 [sim]."""
    lst_hours: float = 24.0
    """Life of a live session token, from the moment of its making. §1.9 [spec], §8 row 7."""
    bearer_s: int = 86399
    """`expires_in` of the OAuth 2 access token. §2.2 [spec]."""
    request_token_s: int = 600
    """Life of an OAuth 1.0a request token. §1.6, §8 row 18 [sim]."""
    client_ip: str = "127.0.0.1"
    """The caller's address as IBKR sees it, compared with the `ip` claim on later calls; "" takes the peer's own and
    "*" compares nothing. §2.3, §8 row 20 [client]; that every caller is loopback here is [sim]."""

    # --- sessions --------------------------------------------------------------------------------------------------
    idle_timeout_s: float = 360.0
    """A brokerage session without any authenticated call for this long is lost. §4.2, §8 rows 11 and 12 [forum]."""
    max_age_s: float = 86400.0
    """An outer session ends at this age. §4.3 [spec], §8 row 13."""
    starting_s: float = 0.0
    """World seconds from a good `ssodh/init` until `authenticated` and `established`. At once, as the recorded answer
    of init has it (§3.6 [recorded]); clients that wait reckon with 3 to 5 (§4.2 [client])."""
    gateway_midnight: bool = True
    """The gateway's login also ends at midnight of the user's region. §8 row 13 [spec]."""
    gateway_primes_accounts: bool = True
    """After a browser login the gateway program itself asks GET /iserver/accounts. §3.11 step 9 [checked]."""
    gateway_tickles: bool = False
    """The gateway program keeps its brokerage session alive by itself. §3.2 [checked on a 2023 build, doubted by
    [forum]; off, so that a client that forgets to tickle is found out]."""
    gateway_init_after_logout: Literal[410, 503, 200] = 410
    """`ssodh/init` on a gateway after `/logout`, until reauthenticate revives the session. §3.6, §3.8 [client: 410 or
    503]; 200 opens it again, as after any other loss."""
    logged_out_tickle: Literal["401", "no session"] = "401"
    """What tickle says on a gateway without a login: 401 like every call, or 200 `{"error":"no session"}`. §3.7, §4.1
    [recorded, both]."""
    logged_out_text: str = ""
    """Body of those 401s: empty, or `Access Denied`. §3.2 [recorded; the text: forum]."""
    no_bridge_status: Literal[400, 401] = 400
    """Status of an /iserver call when a brokerage session was never opened. §8 row 9 [client]."""
    ways_in_compete: bool = False
    """Two ways in (gateway, OAuth 1.0a, OAuth 2) of one user name push out each other's brokerage session. At IBKR they
    do (§4.4 [spec]); off by default, so that all three can be tried on one user side by side. A login elsewhere
    (scenario competing, POST /__sim/competing) competes in any case."""
    sso_expires_ms: int = 600_000
    """`ssoExpires` falls from here to zero with the clock and jumps back by itself. §3.7 [recorded]."""
    unprimed_order_status: Literal[400, 500] = 400
    """Status of an order call, or of a summary, before GET /iserver/accounts; snapshot, live orders, order status and
    trades answer 500 in any case. docs/facts/orders.md §0.1 gate 3 [spec; 500 is reported too]."""
    new_lst_unprimes: bool = True
    """A new live session token (or SSO bearer) keeps the brokerage session but forgets that accounts were asked for.
    §8 row 6 [sim]."""

    # --- limits ----------------------------------------------------------------------------------------------------
    pacing: bool = True
    """Count requests at all. Off only to measure something else."""
    oauth_per_s: int = 50
    """Requests per second and user over OAuth. §5.1 [spec]."""
    gateway_per_s: int = 10
    """Requests per second through the gateway. §5.1 [spec]."""
    penalty_after: int = 20
    """Refusals for pacing within `penalty_window_s` that open the penalty box of the address. §5.3 [sim]."""
    penalty_window_s: float = 60.0
    penalty_box_s: float = 600.0
    """Every call of a boxed address gets 429 for this long. §5.1 [spec; 15 min on the older page]."""

    # --- maintenance -----------------------------------------------------------------------------------------------
    maintenance: bool = True
    """Keep the nightly and the weekly window of §6 at all."""
    nightly_reset: time = time(1, 0)
    """Start of the nightly window in the user's region. §8 row 14 [spec, newer page]."""
    nightly_minutes: int = 5
    saturday_maintenance: bool = True
    """Saturday 21:00-23:00 New York, everything. §6 [sim]."""

    # --- transport -------------------------------------------------------------------------------------------------
    gzip_from_bytes: int = 1024
    """Replies of at least this size are gzipped for a client that accepts it; 0 never. §0.2 [spec]."""
    require_user_agent: bool = True
    """No User-Agent: 403 with an HTML page. §0.2 [recorded]."""
    require_content_length: bool = True
    """A POST without Content-Length: 411. §0.2 [spec]."""

    # --- orders: docs/facts/orders.md ------------------------------------------------------------------------------
    coid_scope: Literal["account", "user"] = "account"
    """Within what a cOID must be unique. §15 row 1 [sim]."""
    coid_hours: float = 24.0
    """How long a cOID stays taken; a new login does not free it. §4 [spec], §15 row 1."""
    coid_refusal_consumes: bool = False
    """A ticket that is refused at once uses up its cOID as well. §15 row 2 [sim]."""
    coid_duplicate_status: Literal[200, 400] = 200
    """Status of "already registered". §15 row 3 [client]."""
    question_style: Literal["chain", "together"] = "chain"
    """Several warnings come one by one, each with its own id, or share one question. §3.1 [client], §2 [spec]."""
    reply_lifetime_s: float = 600.0
    """A question unanswered for this long is forgotten: 400 `reply id not found`. §15 row 4 [sim]."""
    void_older_questions: bool = True
    """Another submission of the user voids a question that is open: its reply gets 503. §15 row 5 [recorded]."""
    release_both: bool = False
    """Confirming one question also releases the user's parked orders that were asked the same. §15 row 5 [recorded]."""
    reads_void_questions: bool = False
    """Reading orders, a status or trades voids a question that is open. §15 row 6 [sim]."""
    reply_bare_object: bool = False
    """Acceptance after a reply is an object, not an array. §2 shape 1c [client, recorded]."""
    parked_status: Literal[404, 400] = 404
    """Order status of an order behind a question. §15 row 8 [recorded]."""
    orders_first_call_rows: bool = False
    """The first read of the orders has rows (with snapshot false) instead of none. §15 row 10 [recorded fixture]."""
    filtered_orders_empty: bool = False
    """A filtered read of the orders is empty with snapshot false. §9 item 3 [spec]."""
    status_shows_ref: bool = False
    """Order status carries `order_ref`. §15 row 11 [sim]."""
    child_activation: Literal["filled", "complete"] = "filled"
    """A bracket child works for the filled part of its parent, or only once all of it is filled. §15 row 12 [sim]."""
    bracket_refusal: Literal["inactive_parent", "live_parent"] = "inactive_parent"
    """What becomes of a bracket's parent when a child is refused. §1.7 item 3 [recorded, both]."""
    margin_refusal: Literal["at_once", "later"] = "at_once"
    """Too little margin: a refusal in the placement's answer, or an acceptance that turns Inactive. §12.3 [sim]."""
    option_trigger: Literal["double_bid_ask", "bid_ask"] = "double_bid_ask"
    """Option stops elect on two bids (asks) in a row, or on one. §1.8 [spec], §15 row 16."""
    same_price_needs_size: bool = True
    """The second of the two must be larger where its price is the same. §1.8 [spec]."""
    combo_trigger: Literal["bid_ask", "double_bid_ask"] = "bid_ask"
    """Stops on combos elect on the combo's bid (a buy) or ask (a sell), once or twice in a row. Open (§1.8 names
    options and "structured products" only) [sim]."""
    combo_executions: Literal["legs", "combo_and_legs"] = "legs"
    """What trades and `str` show of a combo's fill: a row for each leg, or the combo's own (BAG) before them. Open
    (§11) [sim]."""
    touch_trigger: Literal["last", "bid_ask"] = "last"
    """MIT and LIT on stocks are touched by the last price, or by the ask (a buy) and the bid (a sell), as options
    always are. Open (§1.3) [sim]."""
    trail_follows: Literal["watched", "midpoint"] = "watched"
    """A trailing stop follows the price that elects it, or the middle of the quote. Open (§1.3) [sim]."""
    trail_limit: Literal["follows", "fixed"] = "follows"
    """The limit of a TRAILLMT keeps its distance to the stop, or stays. Open (§1.3) [sim]."""
    oca_cancel: Literal["alone", "group"] = "alone"
    """Cancelling one order of an explicit OCA group leaves the others, or takes them along; bracket siblings always go
    with it (§1.7 item 8). Open [sim]."""
    stop_question: bool = True
    """A stop raises o10331. §1.8 [spec, recorded]."""
    stop_risk_question: bool = False
    """A stop raises o10152 as well. §1.8 [spec]."""
    market_question: bool = False
    """A market order on an option or a combo raises o10151. §3.3 [spec]."""
    no_data_question: bool = True
    """An order for a contract without a market data line in this brokerage session raises o354. §1.8 [recorded]."""
    price_constraint_pct: Decimal = Decimal(3)
    """A limit farther outside the quote than this raises o163. §3.3 [spec]; measured from bid and ask [sim]."""
    price_refusal_pct: Decimal = Decimal(50)
    """A marketable limit farther through the quote than this is refused (§2 item 3 [spec]); the per cent is [sim]."""
    size_limit: Decimal = Decimal(500)
    """A larger order raises o383. §3.3 [spec]."""
    value_limit: Decimal = Decimal(100_000)
    """A costlier order raises o451. §3.3 [spec]."""
    price_algo_prompt: bool = False
    """A limit far off the market is rejected with the offer p12 of the price management algo. §15 row 15 [sim]."""
    price_algo_pct: Decimal = Decimal(10)
    """How far off that is. §15 row 15 [sim]."""
    modify_size_limit: Decimal = Decimal(500)
    """Adding more than this to an order raises o10138. §3.3 [spec]; the number is [sim]."""
    fill_delay_s: float = 0.0
    """World seconds from acceptance to the first possible fill. [sim]"""
    cancel_delay_s: float = 0.2
    """World seconds in PendingCancel, in which a fill can still win; 0 cancels at once. §7 [spec]; the time [sim]."""
    split_executions: bool = True
    """One fill larger than the displayed size comes as several executions at the same price. [sim]"""

    # --- accounts and portfolio: docs/facts/accounts-and-portfolio.md ---------------------------------------------
    portfolio_cache_s: float = 60.0
    """Age that positions, summary and ledger of /portfolio may reach; 0 is live. §3.3 [sim]."""
    income: bool = False
    """Cash earns interest and stocks pay dividends by themselves; off, so that books change by orders alone. [sim]"""
    dividend_tax_pct: Decimal = Decimal(15)
    """Withheld of those dividends. [sim]"""
    portfolio_gate: bool = True
    """/portfolio/{account} answers as for an unknown account before GET /portfolio/accounts. §0 [sim]."""
    positions_sparse_first: bool = True
    """The first read of positions in a session lacks names and rules. §3.1 [recorded]."""
    empty_position: Literal["array", "nothing"] = "array"
    """Position by conid where none is held: `[]`, or an empty body. §3.2 [recorded: both]."""

    # --- Flex Web Service: docs/facts/accounts-and-portfolio.md §6 ------------------------------------------------
    flex_polls: int = 2
    """So many GetStatements of a reference are answered 1019 before the statement is there. §8 row 13 [sim]."""
    flex_hang: bool = False
    """1019 never ends. §6.3 [client]."""
    flex_reference_s: float = 900.0
    """World seconds that a reference lives. §8 row 13 [sim]."""
    flex_token_s: float = 31_536_000.0
    """World seconds that a user's first token lives. §6.1 [spec: 6 h to 1 year]."""
    flex_reference_once: bool = False
    """A statement can be got once only. Undocumented, §6.3 [sim]."""
    flex_pacing: bool = True
    """More than one request in a second or ten in a minute of one token are answered 1018. §6.2 [spec]."""
    flex_data: Literal["closed", "now"] = "closed"
    """Activity ends with the last trading day that is over, or now. §6.3 [spec]; now is for tests."""
    flex_confirm_delay_s: float = 300.0
    """World seconds until an execution is among the confirmations. §6.3 [spec: 5 to 10 min]."""

    # --- contracts and market data: docs/facts/contracts-and-market-data.md ---------------------------------------
    strict_priming: bool = False
    """Strikes before a search in this session: 500 `No Contracts retrieved ` instead of empty lists. §10 row 2."""
    unlisted_strike_status: Literal[500, 400] = 500
    """Info for a strike that is not listed. §10 row 3 [client: both]."""
    snapshot_first_s: float = 0.3
    """World seconds from the first call for a field until last and bid can be there. §9.2 [sim]."""
    snapshot_full_s: float = 1.0
    """The same for ask, sizes, volume and the rest. §9.2 [sim]."""
    snapshot_computed_s: float = 3.0
    """The same for greeks, IV and open interest. §9.2 [sim]."""
    market_lines: int = 100
    """Contracts of one brokerage session with a stream; one more stays without data. §2.1 [client]."""
    close_prefix: bool = True
    """Last price with the prefix `C` until the first trade of the day. §2.2 [spec]."""
    iv_percent_sign: bool = True
    """IV fields as `18.9%`, or as bare numbers. §10 row 5 [client]."""
    abbreviated_interest: bool = True
    """Open interest as `12.3K`, or as plain digits. §10 row 5 [client]."""
    change_percent_number: bool = True
    """Field 83 is a JSON number, or a text with a per cent sign. §2.2 [recorded: both]."""
    stock_size_lots: bool = False
    """Sizes 85 and 88 of stocks in round lots instead of shares. §10 row 15 [client]."""

    # --- WebSocket: docs/facts/websocket.md; its seconds are those of pacing, not the world's -----------------------
    gateway_ready_s: float = 0.5
    """From the gateway's 101 until it is connected upstream; frames sent before are lost. §1.1 [recorded; 0.2 to 3]."""
    cloud_ready_s: float = 0.0
    """The same for the cloud, where the greeting comes at once. §2 [recorded: within 250 ms]."""
    cloud_loses_early_frames: bool = False
    """The cloud loses frames sent before the greeting, as the gateway does. §10 row 1 [sim]."""
    gateway_frames: Literal["binary", "text"] = "binary"
    """Opcode of the gateway's frames. §1.2 [recorded]."""
    cloud_frames: Literal["text", "binary"] = "text"
    """Opcode of the cloud's frames. §10 row 2 [sim]."""
    heartbeat_s: float = 10.0
    """Between two `system` heartbeats. §3 [spec, recorded]."""
    tic_timeout_s: float = 120.0
    """A socket without `tic` for this long is closed with 1000. §10 row 8 [sim]; IBKR wants one a minute [spec]."""
    tic_copies: int = 4
    """Identical replies to one `tic`. §3 [recorded]."""
    commands_per_s: int = 20
    """More commands of one socket are answered `Too many requests`. §10 row 7 [sim]."""
    malformed_command: Literal["ignored", "error"] = "ignored"
    """A command whose arguments are no JSON. §4 [client, both]."""
    smd_interval_s: float = 0.5
    """Market data of one contract is conflated to a frame in this time. §5.1 [spec]."""
    smd_lifetime_s: float = 600.0
    """Market data ends silently this long after it was asked for. §10 row 4: 600 or 900."""
    smd_empty_every: int = 20
    """So many conflation steps without a change bring a frame without fields, every other one without a conid; 0:
    never. §5.1 [recorded that they come; how often is sim]."""
    commission_after_s: float = 1.0
    """World seconds after which an execution is told again, with commission and order id. §5.5 [recorded], §9."""
    filters_silence_sor: bool = True
    """A filtered REST read of the orders silences `sor` until one with force=true. §5.4 (ibind#129) [client]."""
    after_switch: Literal["unprimed", "empty", "kept"] = "unprimed"
    """The first list of orders and of trades after another account was selected: as a session's first, empty though it
    is called a snapshot, or as ever. docs/facts/accounts-and-portfolio.md §1.2 [advice], orders.md §9 rule 4."""
    sor_of_all_accounts: bool = True
    """`sor` and `str` tell of all accounts of the user, or of the selected one. Open [sim]."""
    spl_every_s: float = 30.0
    """`spl` repeats unchanged values after this long; a change is told after a second. §10 row 11 [sim]."""

    def standing_still(self) -> Quirks:
        """For a world whose clock is moved by hand: nothing takes a moment, for no moment would ever pass. [sim]"""
        return dataclasses.replace(
            self,
            starting_s=0.0,
            snapshot_first_s=0.0,
            snapshot_full_s=0.0,
            snapshot_computed_s=0.0,
            fill_delay_s=0.0,
            cancel_delay_s=0.0,
            gateway_ready_s=0.0,
            commission_after_s=0.0,
        )

    def with_values(self, values: Mapping[str, object]) -> Quirks:
        """A copy with some fields changed; values may be texts as they come from a command line.

        Raises ValueError for an unknown name or a value of another kind.
        """
        kinds = get_type_hints(Quirks)
        changed: dict[str, Any] = {name: _read(name, value, kinds) for name, value in values.items()}
        return dataclasses.replace(self, **changed)


_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _read(name: str, value: object, kinds: Mapping[str, object]) -> object:
    if name not in kinds:
        raise ValueError(f"no quirk is called {name}; there are: {', '.join(sorted(kinds))}")
    kind, text = kinds[name], str(value).strip()
    if kind is bool:
        if text.lower() not in _WORDS:
            raise ValueError(f"{name} is true or false, not {text}")
        return _WORDS[text.lower()]
    choices = get_args(kind)
    if choices:
        by_text = {str(choice): choice for choice in choices}
        if text not in by_text:
            raise ValueError(f"{name} is one of {', '.join(by_text)}, not {text}")
        return by_text[text]
    try:
        return time.fromisoformat(text) if kind is time else kind(text)  # type: ignore[operator]  # int, float, str, Decimal
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ValueError(f"{name}: {text} is not a value it can have") from error
