"""Every failure a user can be shown: code, message, remedy, HTTP status and exit code, in one table.

`errors.py` raises them, the command line and the HTTP interface print them, `ibkit errors --md` writes the
documentation page from them. `<name>` in a message is filled from the error's `details` where they have it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: `http` is the status of our own interfaces, `exit` the command's exit code."""

    code: str
    when: str
    message: str
    remedy: str
    http: int
    exit: int


_ROWS = (
    Entry(
        code="E-NOT-CONFIGURED",
        when="no authentication method has all of its settings",
        message="Not Configured",
        remedy=(
            "Set the variables listed as missing and check that the .env file is loaded (`ibkit verify` "
            "prints which file was read)."
        ),
        http=409,
        exit=3,
    ),
    Entry(
        code="E-CONFIG-PARTIAL",
        when="a method has some but not all of its settings",
        message="IBKR settings incomplete: <names>",
        remedy="Set the named variables, or remove the others, then run `ibkit verify`.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-CONFIG",
        when=("a setting has the wrong type, an unknown value or a malformed address, or its name is misspelt"),
        message="Setting invalid: <name>: <reason>",
        remedy="Use one of <values or form>.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-CONFIG-CONFLICT",
        when=(
            "two settings contradict each other (e.g. IB_IS_LIVE=true with IBKR_ENV=paper; "
            "IBKR_API_ENDPOINT port differs from IBKR_CLIENT_PORTAL_PORT)"
        ),
        message="Conflicting settings: <a> and <b>",
        remedy="Keep one of the two.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-ENV-FILE",
        when="the named .env file is missing, unreadable or readable by other users",
        message="Settings file problem: <path>: <reason>",
        remedy="Copy .env.example to .env, fill it in, and restrict it with `chmod 600 .env`.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-SECRET-MISSING",
        when="OAuth 1.0a selected, IB_ACCESS_TOKEN_SECRET empty",
        message="Access token secret not set",
        remedy=(
            "Add IB_ACCESS_TOKEN_SECRET (the encrypted value shown by IBKR's portal) to .env, or run "
            "`ibkit auth authorize`."
        ),
        http=409,
        exit=3,
    ),
    Entry(
        code="E-SECRET-DECRYPT",
        when="the access token secret cannot be decrypted with the private encryption key",
        message="Access token secret could not be decrypted",
        remedy=(
            "The secret belongs to another encryption key or was cut when copied: copy it again, or "
            "generate a new token after uploading the current public_encryption.pem."
        ),
        http=409,
        exit=3,
    ),
    Entry(
        code="E-KEY-MISSING",
        when="a configured key or DH file does not exist",
        message="Key file not found: <path>",
        remedy="Run `ibkit keys generate` and point the variable at the new file.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-KEY-FORMAT",
        when="a private key is not readable PEM (after turning `\\n` into line breaks)",
        message="Private key is not valid PEM",
        remedy=(
            "The value must start with BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY; in .env put it in "
            "double quotes with \\n for line breaks."
        ),
        http=409,
        exit=3,
    ),
    Entry(
        code="E-KEY-PERMS",
        when="a private key or token file is readable by group or others",
        message="Private key file permissions too open: <path> (<mode>)",
        remedy="Run `chmod 600 <path>`.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-KEY-MISMATCH",
        when="public file does not belong to the private key",
        message="Public key does not match private key: <path>",
        remedy="Regenerate the pair and upload the new public key.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-ENC-KEY",
        when="ENCRYPTION_KEY missing or not 64 hex digits",
        message="Encryption failed: encryption key missing or malformed",
        remedy="Run `ibkit vault generate-keys` and put ENCRYPTION_KEY into .env.",
        http=500,
        exit=3,
    ),
    Entry(
        code="E-ENC",
        when="stored secret cannot be decrypted or authenticated",
        message="Encryption failed",
        remedy=(
            "Check the encryption keys: ENCRYPTION_KEY must be the key the data was written with, or "
            "list the old one in ENCRYPTION_KEY_PREVIOUS."
        ),
        http=500,
        exit=3,
    ),
    Entry(
        code="E-GW-DOWN",
        when="TCP connection to the gateway address is refused",
        message="IBKR Client Portal Gateway not running",
        remedy=(
            "Start it inside the gateway folder with `./bin/run.sh root/conf.yaml` (Windows: "
            "`bin\\run.bat root\\conf.yaml`), then log in at https://localhost:<port>. Cause: Connection "
            "refused."
        ),
        http=503,
        exit=4,
    ),
    Entry(
        code="E-API-CONNECT",
        when="connect or TLS failure, time-out, or unusable answer from the broker address",
        message="Failed to connect to Interactive Brokers API",
        remedy=(
            "Check that the gateway is installed and running, that the port is right (default 5000), and "
            "that the firewall allows localhost:<port>."
        ),
        http=503,
        exit=4,
    ),
    Entry(
        code="E-GW-NORESP",
        when="`POST /v1/api/tickle` answers with an error status other than 401",
        message="Gateway not responding",
        remedy="Look into clientportal.gw/logs/, then restart the gateway and log in again.",
        http=503,
        exit=4,
    ),
    Entry(
        code="E-GW-NOAUTH",
        when="gateway answers 401, or 200 with `no session` or authenticated=false",
        message="Not authenticated with IBKR",
        remedy=(
            "Open https://localhost:<port> in a browser, log in and complete 2FA. If you had logged in "
            "before, the session timed out."
        ),
        http=424,
        exit=4,
    ),
    Entry(
        code="E-SES-EXPIRED",
        when=(
            "session record past 24 h, or a previously valid session now unauthenticated, and renewal is "
            "not possible without the user"
        ),
        message="Session expired",
        remedy="Complete 2FA authentication again in the browser at https://localhost:<port>.",
        http=424,
        exit=4,
    ),
    Entry(
        code="E-SES-2FA",
        when="login needs a second factor the product cannot give",
        message="Two-factor authentication required",
        remedy=("Approve with the IB Key mobile app. To avoid interruptions create a secondary user name for API use."),
        http=424,
        exit=4,
    ),
    Entry(
        code="E-SES-COMPETING",
        when="auth status reports competing=true",
        message="Another IBKR session is using this user name",
        remedy=("Log out elsewhere, use a secondary user name, or repeat with --compete to take the session over."),
        http=424,
        exit=4,
    ),
    Entry(
        code="E-SES-USER",
        when="the gateway is logged in as another user than expected",
        message="Gateway is logged in as <other>",
        remedy="Log out at https://localhost:<port>/sso/Logout and log in with the expected user name.",
        http=424,
        exit=4,
    ),
    Entry(
        code="E-SES-INIT",
        when="brokerage session could not be initialised",
        message="Brokerage session could not be started",
        remedy=(
            "Wait one minute and retry; if it persists check trading permission of the user and IBKR system status."
        ),
        http=424,
        exit=4,
    ),
    Entry(
        code="E-GW-WRONG",
        when="nothing on the gateway port, but a TWS/IB Gateway API port (4001, 4002, 7496, 7497) is open",
        message="IB Gateway or TWS is running, but not the Client Portal Gateway",
        remedy=(
            "These are different programs. Download clientportal.gw.zip and start it with bin/run.sh root/conf.yaml."
        ),
        http=503,
        exit=4,
    ),
    Entry(
        code="E-GW-PORT-TAKEN",
        when="something that is not the gateway answers on the port",
        message="Port <port> is used by another program",
        remedy=(
            "Set listenPort in root/conf.yaml to another port (for example 5001) and set "
            "IBKR_CLIENT_PORTAL_PORT to the same value. On macOS AirPlay Receiver uses port 5000."
        ),
        http=503,
        exit=4,
    ),
    Entry(
        code="E-GW-PORT-MISMATCH",
        when="listenPort in conf.yaml differs from the configured port",
        message="Gateway listens on <a>, the product is set to <b>",
        remedy="Run `ibkit gateway port <a>` or change listenPort.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-GW-CONF",
        when="conf.yaml has an unknown key, or proxies to itself",
        message="Gateway configuration invalid: <key>",
        remedy=(
            "Remove proxyRemotePort (the gateway does not know it and refuses to start) and set "
            "proxyRemoteHost to https://api.ibkr.com; `ibkit gateway conf --fix` does both."
        ),
        http=409,
        exit=3,
    ),
    Entry(
        code="E-GW-JAVA",
        when="no Java, or older than 8u192",
        message="Java 8u192 or newer is required to run the gateway",
        remedy="Install a Java runtime and repeat.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-GW-REMOTE",
        when="gateway host is not loopback and remote use was not allowed",
        message="Remote gateway refused: <host>",
        remedy="Use a VPN or tunnel and set IBKR_GATEWAY_ALLOW_REMOTE=true together with IBKR_GATEWAY_CA.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-GW-TLS",
        when="wrong scheme, or the pinned certificate changed",
        message="Gateway certificate problem",
        remedy="Use https if listenSsl is true; if you replaced the certificate run `ibkit gateway trust`.",
        http=502,
        exit=4,
    ),
    Entry(
        code="E-GW-IP",
        when="gateway answers Access Denied (caller not in its allow list)",
        message="Gateway refuses this address",
        remedy="Add the address to ips.allow in root/conf.yaml (`ibkit gateway conf --allow-ip <address>`).",
        http=424,
        exit=4,
    ),
    Entry(
        code="E-AUTH-FAILED",
        when="credentials refused, reason not known more exactly",
        message="Authentication failed",
        remedy="Check the credentials.",
        http=424,
        exit=4,
    ),
    Entry(
        code="E-AUTH-BACKOFF",
        when="three failed automatic attempts within five minutes",
        message="Authentication paused until <time>",
        remedy="Fix the cause first (see last error); `ibkit session reset` ends the pause.",
        http=424,
        exit=4,
    ),
    Entry(
        code="E-OA1-CONSUMER",
        when='401 "invalid consumer"',
        message="IBKR does not know this consumer key",
        remedy=(
            "Upload public_signature.pem, public_encryption.pem and dhparam.pem to the portal. A new key "
            "becomes usable only after IBKR's next nightly restart, sometimes only after the weekend: "
            "wait and retry."
        ),
        http=424,
        exit=4,
    ),
    Entry(
        code="E-OA1-SIGNATURE",
        when=(
            '401 "LST failed" without a reason (wrong signature, DH group or secret), or 401 on a signed '
            "call that a new live session token does not cure"
        ),
        message="OAuth signature rejected",
        remedy=(
            "Check that IB_SIGNATURE_KEY_PATH, IB_ENCRYPTION_KEY_PATH and IB_DH_PARAM_PATH belong to the "
            "uploaded files (`ibkit verify` compares keys and public files)."
        ),
        http=424,
        exit=4,
    ),
    Entry(
        code="E-OA1-CLOCK",
        when="local clock differs from the broker's Date header by more than 5 minutes",
        message="Clock is wrong by <n> s",
        remedy="Synchronise the system clock (NTP).",
        http=424,
        exit=4,
    ),
    Entry(
        code="E-OA1-DH",
        when="DH file unreadable, generator not 2, or prime not the uploaded one",
        message="Diffie-Hellman parameters invalid",
        remedy="Point IB_DH_PARAM_PATH at the dhparam.pem you uploaded.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-OA1-LST",
        when="live session token fails its signature check",
        message="Live session token verification failed",
        remedy=(
            "Secret, DH parameters and consumer key do not belong together: copy all three from the same portal entry."
        ),
        http=424,
        exit=4,
    ),
    Entry(
        code="E-OA1-TOKEN",
        when=(
            'request or access token step refused, or 401 "No access secret key found" (the access token '
            "is not this consumer's)"
        ),
        message="OAuth token request failed at step <step>",
        remedy="See the broker's reason; check consumer key, keys and access token.",
        http=424,
        exit=4,
    ),
    Entry(
        code="E-OA2-TOKEN",
        when="token endpoint refuses the client assertion",
        message="OAuth failed",
        remedy=(
            "Check IBKR_CLIENT_ID and IBKR_CLIENT_KEY_ID, the private key's format, and that this "
            "server's IP is whitelisted."
        ),
        http=424,
        exit=4,
    ),
    Entry(
        code="E-OA2-SSO",
        when="SSO session refused",
        message="SSO session failed",
        remedy="Check IBKR_CREDENTIAL and that two-factor authentication is configured for that user.",
        http=424,
        exit=4,
    ),
    Entry(
        code="E-OA2-VALIDATE",
        when="validation not positive",
        message="Validation failed",
        remedy="Start again with Test Connection; if it repeats, check the IP whitelist.",
        http=424,
        exit=4,
    ),
    Entry(
        code="E-IP",
        when=("broker answer names the caller's address, or the detected public IP differs from IBKR_ALLOWED_IP"),
        message="This server's IP address is not allowed",
        remedy="Whitelist <ip> in the Client Portal and set IBKR_ALLOWED_IP.",
        http=424,
        exit=4,
    ),
    Entry(
        code="E-MD-NONE",
        when="quote empty after retries, or availability starts with N",
        message="No market data available",
        remedy=(
            "Check in Client Portal, Settings, Market Data Subscriptions, that the subscription exists, "
            "is active and paid, and that you have permission for this security."
        ),
        http=424,
        exit=5,
    ),
    Entry(
        code="E-MD-ACK",
        when="availability starts with O",
        message="Market Data API acknowledgement missing",
        remedy=("Complete the Market Data API agreement in Client Portal, Settings, Market Data Subscriptions."),
        http=424,
        exit=5,
    ),
    Entry(
        code="E-PERM-API",
        when="403 on data endpoints although authenticated",
        message="API permission missing",
        remedy="Confirm API permissions of this user in Client Portal, Users & Access Rights.",
        http=424,
        exit=5,
    ),
    Entry(
        code="E-CONTRACT",
        when="no contract matches",
        message="Contract not found: <description>",
        remedy=("Check symbol, strike and right; `ibkit contracts options SPY --expiry <d>` lists valid strikes."),
        http=404,
        exit=5,
    ),
    Entry(
        code="E-EXPIRY",
        when="no contract with that expiry (weekend, holiday, wrong date)",
        message="No expiry <date> for <symbol>",
        remedy="Use --expiry with one of: <next three expiries>.",
        http=422,
        exit=5,
    ),
    Entry(
        code="E-QUOTE",
        when="bid or ask missing, zero or crossed",
        message="Quote not usable (bid <b>, ask <a>)",
        remedy="Wait for market hours or use a limit order.",
        http=424,
        exit=5,
    ),
    Entry(
        code="E-ACC-NONE",
        when="broker returns no account",
        message="No IBKR accounts found",
        remedy="The account must be opened, funded and IBKR Pro; check it in Client Portal.",
        http=424,
        exit=5,
    ),
    Entry(
        code="E-ACC-AMBIGUOUS",
        when="several accounts, none selected",
        message="More than one IBKR account: <ids>",
        remedy="Set IBKR_ACCOUNT_ID or pass --account.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-ACC-ENV",
        when="account kind does not fit IBKR_ENV (paper accounts start with DU or DF)",
        message="Account <id> is a <kind> account but IBKR_ENV=<env>",
        remedy="Correct IBKR_ENV or IBKR_ACCOUNT_ID.",
        http=409,
        exit=5,
    ),
    Entry(
        code="E-ORD-REJECT",
        when="broker refuses the order (also as HTTP 200 with an error text)",
        message="Order rejected by IBKR: <reason>",
        remedy="Change the order as the reason says.",
        http=422,
        exit=5,
    ),
    Entry(
        code="E-ORD-QUESTION",
        when="broker asks a question the policy does not allow to confirm; it is declined at IBKR first",
        message="Order needs confirmation: <question> (<id>)",
        remedy="Repeat with --confirm <id> or allow the id in ORDER_AUTO_CONFIRM.",
        http=409,
        exit=5,
    ),
    Entry(
        code="E-ORD-PERM",
        when="reason names missing trading permission",
        message="Trading permission missing",
        remedy="Request the permission in Client Portal, Settings, Trading Permissions.",
        http=403,
        exit=5,
    ),
    Entry(
        code="E-ORD-TIMEOUT",
        when="not filled within the fill time limit",
        message="Order not filled within <n> s (status <s>)",
        remedy="The entry order was cancelled; retry, or use a limit order.",
        http=504,
        exit=5,
    ),
    Entry(
        code="E-ORD-UNKNOWN",
        when="the outcome of an order request cannot be proven (TRD-22), or it is parked behind a question",
        message="Order state unknown",
        remedy=(
            "Do not send it again: check `ibkit orders list` and IBKR's own order window first; "
            "docs/runbooks/order-unknown.md."
        ),
        http=502,
        exit=7,
    ),
    Entry(
        code="E-STOP-FAILED",
        when="entry filled, stop could not be placed",
        message="CRITICAL: stop loss not placed for <contract>",
        remedy="Follow docs/runbooks/stop-failed.md; the message says whether the position was closed automatically.",
        http=502,
        exit=7,
    ),
    Entry(
        code="E-READONLY",
        when="a state-changing order call while read-only",
        message="Read-only mode: trading is disabled",
        remedy="Set IBKR_READ_ONLY=false, or the connection's read_only to false, if trading is intended.",
        http=403,
        exit=5,
    ),
    Entry(
        code="E-LIVE",
        when="live trading not confirmed",
        message="Live trading not confirmed",
        remedy=(
            "Repeat with --live, and set IBKR_ENV=live; over HTTP sign in again (at most 15 minutes "
            "before the order) or use a machine key with the scope orders:live."
        ),
        http=409,
        exit=5,
    ),
    Entry(
        code="E-RISK",
        when=("order is refused by a risk control (TRD-18); `details.control` names it as in reliability.md §7"),
        message="Order exceeds limit <name>: <value> > <limit>",
        remedy="Reduce the order or change the limit, then send it with a new key.",
        http=422,
        exit=5,
    ),
    Entry(
        code="E-STRIKE-GUARD",
        when="strike farther from the underlying price than MAX_STRIKE_DISTANCE_PCT",
        message="Strike <k> is <x> % away from <symbol> at <price>",
        remedy="Pass a nearer strike, or --force.",
        http=422,
        exit=5,
    ),
    Entry(
        code="E-IDEM-MISSING",
        when="POST /broker-order without Idempotency-Key, or with an empty one",
        message="Idempotency-Key header required",
        remedy="Send a new key (for example a UUID) with each new order.",
        http=400,
        exit=2,
    ),
    Entry(
        code="E-IDEM-CONFLICT",
        when="same key, other terms; or a key past its 30 days",
        message="Idempotency-Key was used for a different order: <fields>",
        remedy="Use a new key.",
        http=422,
        exit=2,
    ),
    Entry(
        code="E-IDEM-BUSY",
        when="same key, the first request still in progress after 5 s",
        message="Order <id> with this Idempotency-Key is in progress",
        remedy="Repeat with the same key after Retry-After, or read GET /broker-order/<id>.",
        http=409,
        exit=5,
    ),
    Entry(
        code="E-VALIDATION",
        when="request not valid",
        message="Invalid request: <field>: <reason>",
        remedy="Correct the field.",
        http=422,
        exit=2,
    ),
    Entry(
        code="E-BROKER",
        when="unknown or unconfigured broker",
        message="Broker <name> not supported",
        remedy="Use one of: <list>.",
        http=422,
        exit=2,
    ),
    Entry(
        code="E-APP-AUTH",
        when="missing, wrong or expired user token",
        message="Unauthorized",
        remedy="Sign in again.",
        http=401,
        exit=4,
    ),
    Entry(
        code="E-FORBIDDEN",
        when="user token valid but not the owner, or without the scope",
        message="Forbidden",
        remedy="Ask the owner or an administrator.",
        http=403,
        exit=5,
    ),
    Entry(
        code="E-RATE",
        when="broker answers 429, or the local limiter's queue is full",
        message="Rate limit reached",
        remedy=("The product waits and repeats reads, never an order; if you see this, lower the request rate."),
        http=429,
        exit=8,
    ),
    Entry(
        code="E-PENALTY",
        when="repeated 429",
        message="IBKR blocks this address until about <time>",
        remedy="Wait; the product sends nothing until then.",
        http=429,
        exit=8,
    ),
    Entry(
        code="E-MAINT",
        when="errors inside IBKR's reset window",
        message="IBKR maintenance until about <time>",
        remedy="Wait; the product retries after the window.",
        http=503,
        exit=8,
    ),
    Entry(
        code="E-TIMEOUT",
        when="no answer in time",
        message="IBKR did not answer within <n> s",
        remedy="Retry; check network and IBKR system status.",
        http=504,
        exit=4,
    ),
    Entry(
        code="E-UPSTREAM",
        when="other 5xx",
        message="IBKR answered <status>",
        remedy="Retry later; the trace id helps IBKR support.",
        http=502,
        exit=4,
    ),
    Entry(
        code="E-ENDPOINT",
        when="404 or 410 on an endpoint the product knows",
        message="IBKR endpoint not found: <path>",
        remedy="IBKR may have changed it: update the product or override it in IBKR_ENDPOINT_OVERRIDES.",
        http=502,
        exit=4,
    ),
    Entry(
        code="E-CIRCUIT",
        when="broker calls suspended after repeated failures",
        message="IBKR calls paused until <time>",
        remedy="See the last error; calls resume by themselves.",
        http=503,
        exit=8,
    ),
    Entry(
        code="E-DB",
        when="database unreachable or write failed",
        message="Database problem: <reason>",
        remedy="Check DATABASE_URL / DB_* and that migrations ran (`ibkit db upgrade`).",
        http=503,
        exit=1,
    ),
    Entry(
        code="E-NOT-FOUND",
        when="portfolio, account or record does not exist for this user",
        message="<thing> not found",
        remedy="Check the name; names are case-sensitive.",
        http=404,
        exit=2,
    ),
    Entry(
        code="E-NOT-CONNECTED",
        when="something is asked of an account or a connection that is not connected",
        message="Account is not connected to IBKR",
        remedy="Connect it first (Edit, External Connections, Connect to IBKR).",
        http=409,
        exit=5,
    ),
    Entry(
        code="E-CONFLICT",
        when="what is asked does not fit what is there now: a portfolio changed meanwhile, linked twice, synced; a "
        "user who is to be removed and has open orders or a live connection",
        message="Not possible as it stands: <reason>",
        remedy="Read it again, and do what the message names first.",
        http=409,
        exit=5,
    ),
    Entry(
        code="E-SYNC-BUSY",
        when="a sync of this account is running",
        message="Sync already running",
        remedy="Wait until it has finished.",
        http=409,
        exit=5,
    ),
    Entry(
        code="E-SYNC-FAILED",
        when="sync could not fetch a complete picture",
        message="Sync failed: <reason>",
        remedy="Holdings were left unchanged. Follow the remedy of the inner error.",
        http=502,
        exit=5,
    ),
    Entry(
        code="E-FLEX-STATEMENT",
        when="a Flex statement is cut off, broken, too long, or no Flex statement at all",
        message="The Flex statement cannot be read: <reason>",
        remedy=(
            "Nothing of it was kept. Fetch it again; if that does not help, look whether the query's format is XML "
            "(Client Portal, Performance & Reports, Flex Queries, edit the query)."
        ),
        http=502,
        exit=5,
    ),
    Entry(
        code="E-FLEX-ACCOUNT",
        when="a Flex statement tells of an account that it should not",
        message="The Flex statement is of another account: <account>",
        remedy=(
            "Nothing of it was kept. Choose the account in the query (Client Portal, Performance & Reports, Flex "
            "Queries), or add the account here."
        ),
        http=409,
        exit=5,
    ),
    Entry(
        code="E-FLEX-SECTIONS",
        when="a Flex query leaves out a section or an attribute that is needed",
        message="The Flex query leaves out what is needed: <missing>",
        remedy="Switch it on: Client Portal, Performance & Reports, Flex Queries, edit the query. Then fetch again.",
        http=409,
        exit=3,
    ),
    Entry(
        code="E-FLEX-TOKEN",
        when="IBKR refuses the token of the Flex Web Service: expired (1012), other address (1013), invalid (1015)",
        message="IBKR refuses the Flex token: <reason>",
        remedy=(
            "Create a new one in Client Portal, Performance & Reports, Flex Queries, Flex Web Service Configuration "
            "(it ends the old one), and set it here. Nothing is asked with the old one any more."
        ),
        http=409,
        exit=3,
    ),
    Entry(
        code="E-FLEX-QUERY",
        when="IBKR refuses the Flex query or has no data for it (1003, 1010, 1011, 1014, 1016, 1020)",
        message="IBKR refuses the Flex query: <reason>",
        remedy=(
            "Compare the query id with the one in Client Portal, Performance & Reports, Flex Queries. A query that was "
            "just made may be refused for a while."
        ),
        http=409,
        exit=3,
    ),
    Entry(
        code="E-FLEX-PENDING",
        when="IBKR has not made the Flex statement in the time that we wait",
        message="IBKR is still making the Flex statement",
        remedy="Go on later with the reference that is kept; at weekends it can take hours.",
        http=503,
        exit=8,
    ),
    Entry(
        code="E-LICENCE",
        when="multi-user mode switched on without recorded approval",
        message="Multi-user mode needs IBKR approval",
        remedy=(
            "Record it with `ibkit admin licence accept` after IBKR's licence or compliance approval "
            "(8-14 weeks, see docs/compliance.md)."
        ),
        http=409,
        exit=3,
    ),
    Entry(
        code="E-STOPPING",
        when="the service is told to end, and takes no new orders",
        message="The service is about to end",
        remedy="Repeat in a few seconds, with the same key. Nothing was stored or sent.",
        http=503,
        exit=4,
    ),
    Entry(
        code="E-INTERNAL",
        when="a fault of ibkit itself, not of its settings, its user or the broker",
        message="Unexpected fault in ibkit",
        remedy="Please report it with the trace id. If orders were under way, look at `ibkit orders list` first.",
        http=500,
        exit=1,
    ),
)

CATALOGUE: dict[str, Entry] = {row.code: row for row in _ROWS}
