"""The token cache: what stands on disk, how, and what happens when it does not read."""

from __future__ import annotations

import os
import secrets
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ibkit.client.auth import Grant
from ibkit.client.tokens import TokenCache
from ibkit.errors import StorageError
from ibkit.model import AuthMethod, Environment, OAuth1Credentials, OAuth2Credentials, Secret, Username
from ibkit.vault import KeyRing, generate_encryption_keys
from ibkit.wire.oauth1_tokens import AccessToken

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
RING = KeyRing.from_hex(Secret(generate_encryption_keys().key))
TOKEN = bytes(range(20))
GRANT = Grant(AuthMethod.OAUTH1A, Secret(TOKEN), NOW, NOW + timedelta(hours=24), "SIMCONSUM")


def _cache(directory: Path, *, warnings: list[str] | None = None, **changes) -> TokenCache:
    given = {
        "environment": Environment.PAPER,
        "method": AuthMethod.OAUTH1A,
        "identity": "SIMCONSUM",
        "ring": RING,
        "random": secrets.token_bytes,
        "warn": [].append if warnings is None else warnings.append,
    }
    return TokenCache(directory, **(given | changes))


@pytest.mark.requirement("AUTH-09")
def test_a_kept_grant_comes_back_until_it_is_over(tmp_path: Path) -> None:
    _cache(tmp_path / "tokens").save(GRANT)
    again = _cache(tmp_path / "tokens")
    loaded = again.load(NOW + timedelta(hours=23))
    assert loaded is not None
    assert loaded.token == GRANT.token
    assert (loaded.obtained_at, loaded.expires_at, loaded.label) == (GRANT.obtained_at, GRANT.expires_at, "SIMCONSUM")
    assert again.load(NOW + timedelta(hours=24)) is None
    again.discard()
    assert again.load(NOW) is None


def test_a_text_token_comes_back_as_text(tmp_path: Path) -> None:
    cache = _cache(tmp_path, method=AuthMethod.OAUTH2)
    cache.save(Grant(AuthMethod.OAUTH2, Secret("bearer"), NOW, None, "client"))
    loaded = cache.load(NOW + timedelta(days=900))
    assert loaded is not None
    assert loaded.token.reveal() == "bearer"


@pytest.mark.requirement("VLT-05")
def test_what_an_older_key_sealed_is_sealed_anew_when_it_is_read(tmp_path: Path) -> None:
    new, old = (Secret(generate_encryption_keys().key) for _ in range(2))
    _cache(tmp_path, ring=KeyRing.from_hex(old)).save_access_token(AccessToken("token", Secret("secret"), None))
    for ring in (KeyRing.from_hex(new, [old]), KeyRing.from_hex(new)):
        kept = _cache(tmp_path, ring=ring).load_access_token()
        assert kept is not None
        assert kept.secret.reveal() == "secret"
    assert _cache(tmp_path, ring=KeyRing.from_hex(old)).load_access_token() is None


@pytest.mark.requirement("VLT-05")
def test_a_token_file_that_cannot_be_sealed_anew_is_used_all_the_same(tmp_path: Path, monkeypatch) -> None:
    new, old = (Secret(generate_encryption_keys().key) for _ in range(2))
    _cache(tmp_path, ring=KeyRing.from_hex(old)).save(GRANT)
    real = os.open

    def read_only(path, flags, *more):
        if flags & os.O_WRONLY:
            raise OSError(30, "read-only")
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", read_only)
    loaded = _cache(tmp_path, ring=KeyRing.from_hex(new, [old])).load(NOW)
    assert loaded is not None
    assert loaded.token == GRANT.token


@pytest.mark.requirement("AUTH-09")
def test_file_and_directory_are_closed_to_others_from_the_first_moment(tmp_path: Path, monkeypatch) -> None:
    opened: list[tuple[int, int]] = []
    real = os.open

    def watching(path, flags, mode=0o777, **more):
        opened.append((flags, mode))
        return real(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", watching)
    os.umask(previous := os.umask(0))
    try:
        os.umask(0)
        cache = _cache(tmp_path / "state" / "tokens")
        cache.save(GRANT)
    finally:
        os.umask(previous)
    flags, mode = opened[0]
    assert flags & os.O_EXCL
    assert flags & os.O_CREAT
    assert mode == 0o600
    assert stat.S_IMODE(cache.path().stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.path().parent.stat().st_mode) == 0o700
    assert [path.name for path in cache.path().parent.iterdir()] == [cache.path().name]


@pytest.mark.requirement("AUTH-09", "AUTH-08")
def test_nothing_readable_stands_on_disk(tmp_path: Path) -> None:
    cache = _cache(tmp_path)
    cache.save(GRANT)
    cache.save_access_token(AccessToken("9a1c0f5e7b3d2468ace0", Secret("c2VjcmV0"), is_paper=True))
    for path in tmp_path.iterdir():
        raw = path.read_bytes()
        assert TOKEN not in raw
        assert TOKEN.hex().encode() not in raw
        assert b"c2VjcmV0" not in raw
        assert b"SIMCONSUM" not in raw
        assert "SIMCONSUM" not in path.name


@pytest.mark.requirement("AUTH-09")
def test_without_a_key_nothing_is_written(tmp_path: Path) -> None:
    cache = _cache(tmp_path / "tokens", ring=None)
    cache.save(GRANT)
    cache.save_access_token(AccessToken("a", Secret("b"), is_paper=None))
    assert not (tmp_path / "tokens").exists()
    assert cache.load(NOW) is None
    assert not cache.keeps


@pytest.mark.requirement("AUTH-09")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.chmod(0o644),
    ],
    ids=["truncated", "empty", "garbage", "open-to-others"],
)
def test_a_damaged_file_is_discarded_with_a_warning(tmp_path: Path, spoil) -> None:
    warnings: list[str] = []
    cache = _cache(tmp_path, warnings=warnings)
    cache.save(GRANT)
    spoil(cache.path())
    assert cache.load(NOW) is None
    assert len(warnings) == 1
    assert "discarded" in warnings[0]
    assert not cache.path().exists()
    cache.save(GRANT)
    assert cache.load(NOW) is not None


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    warnings: list[str] = []
    cache = _cache(tmp_path / "tokens", warnings=warnings)
    cache.save(GRANT)
    elsewhere = tmp_path / "elsewhere"
    cache.path().rename(elsewhere)
    cache.path().symlink_to(elsewhere)
    assert cache.load(NOW) is None
    assert warnings
    cache.save(GRANT)
    assert not cache.path().is_symlink()


@pytest.mark.requirement("AUTH-09", "CFG-05")
def test_environments_identities_and_methods_have_files_of_their_own(tmp_path: Path) -> None:
    paths = {
        _cache(tmp_path, **changes).path()
        for changes in (
            {},
            {"environment": Environment.LIVE},
            {"identity": "OTHERCONS"},
            {"method": AuthMethod.OAUTH2},
        )
    }
    assert len(paths) == 4


@pytest.mark.requirement("CFG-05")
def test_a_grant_moved_to_the_other_environment_s_file_does_not_open(tmp_path: Path) -> None:
    paper, live = _cache(tmp_path), _cache(tmp_path, environment=Environment.LIVE)
    paper.save(GRANT)
    paper.path().rename(live.path())
    assert live.load(NOW) is None


def _oauth1(token: str | None = "9a1c") -> OAuth1Credentials:
    return OAuth1Credentials(
        consumer_key="SIMCONSUM",
        access_token=token,
        access_token_secret=Secret("x"),
        signature_key=Secret(""),
        encryption_key=Secret(""),
        dh_params="",
    )


def _of(directory: Path, credentials=None, base_url: str = "https://api.ibkr.com") -> TokenCache:
    return TokenCache.of(
        directory,
        credentials or _oauth1(),
        environment=Environment.PAPER,
        base_url=base_url,
        ring=RING,
        random=secrets.token_bytes,
    )


@pytest.mark.requirement("AUTH-09")
def test_a_grant_is_for_one_address_and_one_access_token(tmp_path: Path) -> None:
    _of(tmp_path).save(GRANT)
    assert _of(tmp_path, base_url="https://api.ibkr.com/v1/api").load(NOW) is not None
    assert _of(tmp_path, base_url="https://127.0.0.1:5001").load(NOW) is None
    assert _of(tmp_path, _oauth1("another")).load(NOW) is None


@pytest.mark.requirement("AUTH-05")
def test_an_obtained_access_token_is_found_by_credentials_without_one(tmp_path: Path) -> None:
    _of(tmp_path, _oauth1(None)).save_access_token(AccessToken("9a1c", Secret("sealed"), is_paper=True))
    found = _of(tmp_path, _oauth1(None)).load_access_token()
    assert found is not None
    assert (found.token, found.secret.reveal(), found.is_paper) == ("9a1c", "sealed", True)


@pytest.mark.requirement("AUTH-05")
def test_a_request_token_is_kept_for_its_ten_minutes(tmp_path: Path) -> None:
    cache = _of(tmp_path, _oauth1(None))
    cache.save_request_token("e0d7", NOW + timedelta(minutes=10))
    assert cache.load_request_token(NOW + timedelta(minutes=9)) == "e0d7"
    assert cache.load_request_token(NOW + timedelta(minutes=10)) is None
    cache.discard_request_token()
    assert cache.load_request_token(NOW) is None


def test_oauth2_users_of_one_client_do_not_share_a_bearer(tmp_path: Path) -> None:
    def credentials(user: str) -> OAuth2Credentials:
        return OAuth2Credentials(
            client_id="c", client_key_id="main", private_key=Secret(""), credential=Username(user), ip="203.0.113.7"
        )

    _of(tmp_path, credentials("one")).save(Grant(AuthMethod.OAUTH2, Secret("bearer"), NOW, None, "c"))
    assert _of(tmp_path, credentials("one")).load(NOW) is not None
    assert _of(tmp_path, credentials("two")).load(NOW) is None


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(StorageError) as caught:
        _cache(blocker / "tokens").save(GRANT)
    assert str(blocker) in caught.value.message
