"""The token calls of OAuth 1.0a and 2.0, each with every refusal that is known.

Source: docs/facts/auth-and-sessions.md §1.5-1.8, §2.2-2.5.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

from ibkit.sim.logins import sessions
from ibkit.sim.logins.credentials import check_timestamp, oauth_error, use_nonce
from ibkit.sim.logins.logins import AccessToken, ClientBearer, Consumer, OAuth2Client, RequestToken, SsoBearer, User
from ibkit.sim.logins.oauth1_check import Signed, answer_challenge, missing_pairs, parse_header, rsa_verifies
from ibkit.sim.logins.oauth2_check import BadToken, Jws, check_times, hs256_token, read_jws, verify_jws
from ibkit.sim.logins.rsa import encrypt
from ibkit.sim.routing import ApiError, Json, TokenCall, handles
from ibkit.wire.login import (
    ACCESS_TOKEN,
    ECHO_HTTPS,
    ECHO_SIGNED_JWT,
    LIVE_SESSION_TOKEN,
    OAUTH2_TOKEN,
    REQUEST_TOKEN,
    SSO_SESSIONS,
)

__all__: list[str] = []

PROBLEM = "application/problem+json"
_AUDIENCES = ("/token", "https://api.ibkr.com/oauth2/api/v1/token")
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


# --- OAuth 1.0a -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Proof:
    consumer: Consumer
    pairs: dict[str, str]
    signed: Signed


def _proof(call: TokenCall, *extra: str) -> _Proof:
    """The header of a token call, read and dated, with the consumer it names; its signature is not checked yet."""
    pairs = parse_header(call.headers.get("authorization", "")) or {}
    missing = missing_pairs(pairs, *extra)
    if missing:
        raise ApiError(400, {"error": f"missing or invalid OAuth parameters: {', '.join(missing)}", "statusCode": 400})
    _refuse_address(call)
    world = call.world
    consumer = world.logins.consumers.get(pairs["oauth_consumer_key"])
    if consumer is None or consumer.realm != pairs["realm"] or world.faults.on("invalid-consumer"):
        raise oauth_error(world, "invalid consumer")
    if pairs["oauth_signature_method"] != "RSA-SHA256":
        raise oauth_error(world, "invalid signature method")
    check_timestamp(world, pairs["oauth_timestamp"], call.clocks)
    use_nonce(world, pairs)
    return _Proof(consumer, pairs, Signed(call.method, call.bases, call.path, call.query, pairs))


def _refuse_address(call: TokenCall) -> None:
    # How IBKR words this is not recorded; that the answer names the address is what scenario ip-refused is for.
    if call.world.faults.on("ip-refused"):
        address = call.world.quirks.client_ip.strip("*") or call.peer
        raise _problem(403, "Forbidden", f"Access from IP address {address} is not allowed")


def _check_signature(call: TokenCall, proof: _Proof, what: str, *, prepend: bytes = b"") -> None:
    good = rsa_verifies(proof.signed, proof.consumer.signature_key, call.world.quirks.query_signing, prepend=prepend)
    if not good:
        raise oauth_error(call.world, what)


@handles(REQUEST_TOKEN)
def request_token(call: TokenCall) -> Json:
    """§1.5: for third parties only. How a first party is refused is not recorded: 401 is assumed."""
    proof = _proof(call, "oauth_callback")
    _check_signature(call, proof, "invalid signature")
    if proof.consumer.owner is not None:
        raise oauth_error(call.world, f"request token not allowed for {proof.consumer.key}")
    world = call.world
    token = f"{world.rng('request tokens').getrandbits(80):020x}"
    world.logins.request_tokens[token] = RequestToken(
        token=token,
        consumer_key=proof.consumer.key,
        expires_at=world.now + timedelta(seconds=world.quirks.request_token_s),
    )
    return {"oauth_token": token}


@handles(ACCESS_TOKEN)
def access_token(call: TokenCall) -> Json:
    """§1.7: once per verifier; asking again for the same user replaces the tokens."""
    proof = _proof(call, "oauth_token", "oauth_verifier")
    _check_signature(call, proof, "invalid signature")
    world = call.world
    token = world.logins.request_tokens.get(proof.pairs["oauth_token"])
    good = (
        token is not None
        and token.consumer_key == proof.consumer.key
        and token.username is not None
        and token.verifier is not None
        and token.verifier == proof.pairs["oauth_verifier"]
        and world.now < token.expires_at
    )
    if token is None or not good:
        raise oauth_error(world, "invalid verifier")
    del world.logins.request_tokens[token.token]
    assert token.username is not None
    fresh = _new_access_token(call, proof.consumer, world.logins.users[token.username])
    return {
        "is_paper": world.logins.users[fresh.username].is_paper,
        "oauth_token": fresh.token,
        "oauth_token_secret": fresh.encrypted_secret,
    }


def _new_access_token(call: TokenCall, consumer: Consumer, user: User) -> AccessToken:
    logins, chance = call.world.logins, call.world.rng("access tokens")
    for old in [
        t for t in logins.access_tokens.values() if (t.consumer_key, t.username) == (consumer.key, user.username)
    ]:
        del logins.access_tokens[old.token]
    secret = chance.randbytes(32)
    fresh = AccessToken(
        token=f"{chance.getrandbits(80):020x}",
        consumer_key=consumer.key,
        username=user.username,
        secret=secret,
        encrypted_secret=base64.b64encode(encrypt(consumer.encryption_key, secret, chance)).decode(),
    )
    logins.access_tokens[fresh.token] = fresh
    return fresh


@handles(LIVE_SESSION_TOKEN)
def live_session_token(call: TokenCall) -> Json:
    """§1.8: the server's half of the Diffie-Hellman exchange."""
    proof = _proof(call, "oauth_token", "diffie_hellman_challenge")
    world = call.world
    token = world.logins.access_tokens.get(proof.pairs["oauth_token"])
    if token is None or token.consumer_key != proof.consumer.key:
        raise oauth_error(world, f"LST failed, error: No access secret key found for {proof.consumer.key}")
    _check_signature(call, proof, "LST failed, error: ", prepend=token.secret)
    answer = answer_challenge(
        prime=proof.consumer.dh_prime,
        generator=proof.consumer.dh_generator,
        challenge=proof.pairs["diffie_hellman_challenge"],
        exponent=world.rng("dh").getrandbits(256) | 1 << 255,
        secret=token.secret,
        consumer_key=proof.consumer.key,
    )
    if answer is None or world.faults.on("bad-signature"):
        raise oauth_error(world, "LST failed, error: ")
    sessions.add_live_session_token(
        world, world.logins.users[token.username], access_token=token.token, token=answer.token
    )
    call.notes["user"] = token.username
    wrong = world.faults.on("lst-mismatch")
    # The expiry is told by the caller's own clock, so that a client in another hour sees "now + 24 h".
    expires = int(proof.pairs["oauth_timestamp"]) + round(world.quirks.lst_hours * 3600)
    return {
        "diffie_hellman_response": answer.response,
        "live_session_token_signature": answer.proof[::-1] if wrong else answer.proof,
        "live_session_token_expiration": expires * 1000,
    }


# --- OAuth 2.0 ------------------------------------------------------------------------------------------------------


def _problem(status: int, title: str, detail: str | None = None, **more: Any) -> ApiError:
    body: dict[str, Any] = {"type": "/simple", "title": title, "status": status}
    return ApiError(status, body | ({"detail": detail} if detail else {}) | more, content_type=PROBLEM)


@handles(OAUTH2_TOKEN)
def oauth2_token(call: TokenCall) -> Json:
    """§2.2: the client proves itself with a signed assertion. Every refusal is a 400 with its reason in `detail`."""
    _refuse_address(call)
    form = {name: values[-1] for name, values in parse_qs(call.body.decode("utf-8", "replace")).items()}
    try:
        client, claims = _assertion(call, form)
        scopes = frozenset(form.get("scope", "").split())
        if not scopes or not scopes <= client.scopes:
            raise BadToken("scope not granted")
    except BadToken as error:
        raise _problem(400, "Bad Request", error.reason) from error
    now = int(claims.get("iat") or claims["exp"])
    token = _bearer_token(call, {"iss": "/token", "sub": client.client_id, "csid": client.client_id}, now)
    call.world.logins.client_bearers[token] = ClientBearer(
        token=token,
        client_id=client.client_id,
        scopes=scopes,
        expires_at=call.world.now + timedelta(seconds=call.world.quirks.bearer_s),
    )
    return {
        "access_token": token,
        "token_type": "Bearer",
        "scope": " ".join(sorted(scopes)),
        "expires_in": call.world.quirks.bearer_s,
    }


def _assertion(call: TokenCall, form: dict[str, str]) -> tuple[OAuth2Client, dict[str, Any]]:
    if call.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise BadToken("the body must be a form")
    if form.get("grant_type") != "client_credentials":
        raise BadToken("unsupported grant_type")
    if form.get("client_assertion_type") != _ASSERTION_TYPE:
        raise BadToken("unsupported client_assertion_type")
    jws = read_jws(form.get("client_assertion", ""))
    client = verify_jws(jws, call.world.logins.oauth2_clients)
    claims = dict(jws.claims)
    call.notes["claims"] = {name: claims.get(name) for name in ("iss", "sub", "aud", "iat", "exp")}
    if claims.get("sub") != client.client_id or form.get("client_id", client.client_id) != client.client_id:
        raise BadToken("iss, sub and client_id differ")
    own = tuple(f"{base}{OAUTH2_TOKEN.url_path()}" for base in call.bases)
    if claims.get("aud") not in (*_AUDIENCES, *own):
        raise BadToken("wrong audience")
    check_times(claims, call.clocks, call.world.quirks.timestamp_tolerance_s)
    if call.world.quirks.strict_jti:
        jti = f"{client.client_id}/{claims.get('jti')}"
        if not claims.get("jti") or jti in call.world.logins.used_jtis:
            raise BadToken("jti is missing or was used before")
        call.world.logins.used_jtis[jti] = None
    if call.world.faults.on("oauth2-refused"):
        raise BadToken("client assertion refused")
    return client, claims


def _bearer_token(call: TokenCall, claims: dict[str, Any], now: int) -> str:
    chance = call.world.rng("bearers")
    return hs256_token(claims | {"iat": now, "exp": now + 86400, "jti": f"{chance.getrandbits(64):016x}"}, b"simulator")


def _client_bearer(call: TokenCall, scope: str) -> ClientBearer:
    """The step-1 token of a /gw call. §2.3 refusals."""
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    bearer = call.world.logins.client_bearers.get(token.strip())
    if scheme.lower() != "bearer" or bearer is None or bearer.expires_at <= call.world.now:
        raise _problem(401, "Unauthorized", "The access token request is invalid")
    if scope not in bearer.scopes:
        raise _problem(403, "Forbidden", "The access token fails to have sufficient scope")
    return bearer


def _signed_body(call: TokenCall, bearer: ClientBearer) -> Jws:
    """A /gw body under the policy SIGNED_JWT: the compact JWS itself, by the same client."""
    try:
        jws = read_jws(call.body.decode("ascii", "replace"))
        if call.headers.get("content-type", "").partition(";")[0].strip() != "application/jwt":
            raise BadToken("content type is not application/jwt", not_jws=True)
        client = verify_jws(jws, call.world.logins.oauth2_clients)
        if client.client_id != bearer.client_id:
            raise BadToken("the bearer belongs to another client")
        check_times(jws.claims, call.clocks, call.world.quirks.timestamp_tolerance_s)
    except BadToken as error:
        if error.not_jws:
            raise _problem(400, "Bad Request", "Invalid payload for security policy SIGNED_JWT") from error
        raise _problem(400, "Bad Request", error.reason) from error
    return jws


@handles(SSO_SESSIONS)
def sso_sessions(call: TokenCall) -> Json:
    """§2.3: a session on behalf of a user. A wrong `ip` is accepted here and refused on later calls."""
    bearer = _client_bearer(call, "sso-sessions.write")
    _refuse_address(call)
    jws = _signed_body(call, bearer)
    claims = jws.claims
    call.notes["claims"] = {name: claims.get(name) for name in ("iss", "credential", "ip", "iat", "exp")}
    missing = [name for name in ("credential", "ip") if not isinstance(claims.get(name), str) or not claims[name]]
    if missing:
        raise ApiError(
            400,
            {
                "type": "/invalid-argument",
                "title": "Bad Request",
                "status": 400,
                "detail": "Input validation failed",
                "invalidArguments": [{"field": name, "description": "must not be empty"} for name in missing],
            },
            content_type=PROBLEM,
        )
    world = call.world
    client = world.logins.oauth2_clients[bearer.client_id]
    if claims["credential"] not in client.usernames or world.faults.on("sso-refused"):
        raise _problem(403, "Forbidden", "The credential is not linked to the client")
    user = world.logins.users[claims["credential"]]
    call.notes["user"] = user.username
    session = sessions.renew_sso_session(world, user)
    issued = int(claims.get("iat") or claims["exp"])
    token = _bearer_token(call, {"sub": "WEB_API", "aud": str(user.user_id), "iss": "com.ib.sso"}, issued)
    others = claims.get("alternativeIps")
    ips = frozenset([claims["ip"], *(others if isinstance(others, list) else [])])
    world.logins.sso_bearers[token] = SsoBearer(token=token, session=session, ips=ips)
    return {"active": True, "access_token": token, "token_type": "Bearer"}


@handles(ECHO_HTTPS)
def echo_https(call: TokenCall) -> Json:
    _client_bearer(call, "echo.read")
    return _echo(call, "HTTPS")


@handles(ECHO_SIGNED_JWT)
def echo_signed_jwt(call: TokenCall) -> Json:
    _signed_body(call, _client_bearer(call, "echo.write"))
    return _echo(call, "SIGNED_JWT")


def _echo(call: TokenCall, policy: str) -> Json:
    """§2.5, §8 row 28: query values come back as arrays of strings."""
    query = parse_qs(call.query, keep_blank_values=True)
    return {"requestMethod": call.method, "securityPolicy": policy, "queryParameters": query}
