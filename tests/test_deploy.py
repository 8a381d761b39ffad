"""The files of deploy/: as far as they can be read without the programs they are for, and by those where they are."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from command_lines import ibkit_lines, why_not

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [path for path in UNITS if path.suffix == ".service"]
HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectControlGroups": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictNamespaces": "yes",
    "LockPersonality": "yes",
    "SystemCallArchitectures": "native",
    "StateDirectory": "ibkit",
    "StateDirectoryMode": "0700",
    "UMask": "0077",
    "User": "ibkit",
}
COMPOSE = [DEPLOY / "container" / name for name in ("compose.yaml", "compose.simulator.yaml")]
pytestmark = pytest.mark.requirement("OPS-08")


def _unit(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


def _ids(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", SERVICES, ids=_ids)
def test_a_unit_is_hardened_and_starts_a_command_of_ours(path: Path) -> None:
    service = dict(_unit(path)["Service"])
    assert {name: service.get(name) for name in HARDENED} == HARDENED
    program, _, rest = service["ExecStart"].partition(" ")
    assert program == "/opt/ibkit/bin/ibkit"
    assert why_not(f"ibkit {rest}") is None
    assert "IBKIT_STATE_DIR=/var/lib/ibkit" in service["Environment"]


def test_wrong_settings_do_not_start_a_unit_again_and_again() -> None:
    for name in ("ibkit.service", "ibkit-worker.service"):
        service = _unit(DEPLOY / "systemd" / name)["Service"]
        assert service["Restart"] == "on-failure"
        # A database that is away for five minutes at boot must not leave a position unwatched for the night.
        assert _unit(DEPLOY / "systemd" / name)["Unit"]["StartLimitIntervalSec"] == "0"
        assert "3" in service["RestartPreventExitStatus"].split()
        assert int(service["TimeoutStopSec"]) > 10, "a round of the worker may come to its end"


def test_a_unit_may_write_the_log_file_that_the_guide_names() -> None:
    """With ProtectSystem=strict a start would end at it."""
    guide = (ROOT / "docs/guide/alerts.md").read_text()
    (file,) = re.findall(r"^LOG_FILE=(\S+)", guide, re.MULTILINE)
    for name in ("ibkit.service", "ibkit-worker.service"):
        service = _unit(DEPLOY / "systemd" / name)["Service"]
        assert Path(file).parent == Path("/var/log") / service["LogsDirectory"]


def test_the_timer_starts_a_unit_that_is_there() -> None:
    for path in UNITS:
        if path.suffix == ".timer":
            assert path.with_suffix(".service") in UNITS
            assert "OnCalendar" in _unit(path)["Timer"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    program = tmp_path / "ibkit"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in UNITS:
        text = path.read_text().replace("/opt/ibkit/bin/ibkit", str(program))
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / path.name) for path in UNITS)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line]
    assert ours == []


def _instructions(text: str) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def test_the_image_is_slim_not_root_and_says_whether_it_is_well() -> None:
    steps = _instructions((DEPLOY / "container/Containerfile").read_text())
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "VOLUME", "USER", "EXPOSE", "ENTRYPOINT", "CMD", "HEALTHCHECK"}
    assert {word for word, _ in steps} <= known
    assert all("python:3.12-slim" in rest for word, rest in steps if word == "FROM")
    last = dict(steps)
    uid = last["USER"].split(":")[0]
    assert uid.isdigit()
    assert int(uid) > 0
    assert "/livez" in last["HEALTHCHECK"]
    entry = yaml.safe_load(last["ENTRYPOINT"])
    assert entry == ["tini", "--", "ibkit"]
    assert why_not(" ".join(["ibkit", *yaml.safe_load(last["CMD"])])) is None
    compile(yaml.safe_load(last["HEALTHCHECK"].partition("CMD ")[2])[2], "health check", "exec")


def test_what_the_image_is_built_from_is_there_and_nothing_else_is_sent() -> None:
    steps = _instructions((DEPLOY / "container/Containerfile").read_text())
    copied = [name for word, rest in steps if word == "COPY" and "--from" not in rest for name in rest.split()[:-1]]
    assert copied
    ignored = (ROOT / ".containerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert {name.removeprefix("./") for name in copied} <= allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_extras_of_the_image_exist() -> None:
    import tomllib

    text = (DEPLOY / "container/Containerfile").read_text()
    (named,) = re.findall(r"'\.\[([a-z,]+)\]'", text)
    assert set(named.split(",")) <= set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    )


def test_versions_can_be_taken_from_the_lock(tmp_path: Path) -> None:
    """The line of the Containerfile that makes constraints of it, run as it stands."""
    text = (DEPLOY / "container/Containerfile").read_text()
    (line,) = re.findall(r"(sed -E '[^']+' requirements\.lock) > constraints\.txt", text)
    done = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [each for each in done.stdout.splitlines() if each.strip()]
    assert len(lines) > 40
    assert not [each for each in lines if "--hash" in each or each.rstrip().endswith("\\")]
    assert all(re.match(r"^\s*#|^[A-Za-z0-9._-]+(\[[^\]]+\])?==", each) for each in lines), lines[:5]


def _compose(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("path", COMPOSE, ids=_ids)
def test_containers_of_ours_are_locked_down(path: Path) -> None:
    document = _compose(path)
    ours = {name: each for name, each in document["services"].items() if each["image"] == "ibkit"}
    assert {"service", "worker"} <= set(ours)
    for name, each in ours.items():
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in each["security_opt"]
        assert "privileged" not in each
        assert why_not(" ".join(["ibkit", *each["command"]])) is None, each["command"]
    for each in document["services"].values():
        for port in each.get("ports", []):
            assert str(port).startswith("127.0.0.1:"), "nothing is open to others before somebody says so"


@pytest.mark.parametrize("path", COMPOSE, ids=_ids)
def test_what_a_compose_file_refers_to_is_in_it(path: Path) -> None:
    document = _compose(path)
    services = document["services"]
    for each in services.values():
        assert set(each.get("depends_on", [])) <= set(services)
        for volume in each.get("volumes", []):
            source = str(volume).split(":")[0]
            assert source.startswith("./") or source in document["volumes"] or (path.parent / source).is_file()
        assert set(each.get("networks", [])) <= set(document.get("networks", {}))
        assert set(each.get("secrets", [])) <= set(document.get("secrets", {}))
        if "build" in each:
            assert (path.parent / each["build"]["context"] / each["build"]["dockerfile"]).resolve().exists()
        shared = str(each.get("network_mode", "")).removeprefix("service:")
        assert not shared or shared in services


def test_no_password_stands_in_a_compose_file() -> None:
    for path in COMPOSE:
        assert not re.search(r"PASSWORD:\s*\S", path.read_text())
        assert re.search(r"SECRET|ENCRYPTION_KEY:", re.sub(r"#.*", "", path.read_text())) is None


def test_the_log_s_rotation_reads_as_logrotate_reads_it() -> None:
    text = re.sub(r"#.*", "", (DEPLOY / "logrotate/ibkit").read_text())
    match = re.fullmatch(r"\s*(\S+)\s*\{(.*)\}\s*", text, re.DOTALL)
    assert match
    assert match[1] == "/var/lib/ibkit/worker/*.log"
    known = {"su", "daily", "rotate", "maxsize", "missingok", "notifempty", "compress", "delaycompress", "copytruncate"}
    words = [line.split()[0] for line in match[2].splitlines() if line.strip()]
    assert set(words) <= known
    assert "copytruncate" in words, "the worker keeps its file open"


def test_the_proxy_points_at_the_service() -> None:
    text = (DEPLOY / "proxy/Caddyfile").read_text()
    assert text.count("{") == text.count("}")
    assert "reverse_proxy {$IBKIT_UPSTREAM:127.0.0.1:8000}" in text
    proxy = _compose(DEPLOY / "container/compose.yaml")["services"]["proxy"]
    assert "../proxy/Caddyfile:/etc/caddy/Caddyfile:ro" in proxy["volumes"], "one file for both"
    assert set(proxy["environment"]) == set(re.findall(r"\{\$(\w+)", text))


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed")
def test_caddy_takes_its_file(tmp_path: Path) -> None:
    words = ["caddy", "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "proxy/Caddyfile")]
    environ = {**os.environ, "HOME": str(tmp_path), "IBKIT_SITE": "https://localhost:8443"}
    ran = subprocess.run(words, capture_output=True, text=True, check=False, env=environ)
    assert ran.returncode == 0, ran.stderr


def test_the_page_names_only_files_and_commands_that_are_there() -> None:
    page = (DEPLOY / "README.md").read_text()
    folders = "|".join(sorted(path.name for path in DEPLOY.iterdir() if path.is_dir()))
    named = set(re.findall(rf"`((?:{folders})/[\w.-]+)`", page))
    named |= {path.with_suffix(".timer").relative_to(DEPLOY).as_posix() for path in SERVICES if "`.timer`" in page}
    there = {path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*") if path.is_file()} - {"README.md"}
    assert there <= named, "each file is in the table"
    assert {name for name in named if not name.endswith(".timer")} <= there
    lines = ibkit_lines(page)
    assert lines
    assert {line: why_not(line) for line in lines if why_not(line)} == {}
