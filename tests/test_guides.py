"""The guides are true: their programs and commands run on the simulator, and what they name or link to exists."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import ibkit as package
from command_lines import ibkit_lines, why_not
from ibkit import cli
from ibkit.bootstrap import Edges, using
from ibkit.cli.commands import COMMANDS
from ibkit.error_catalogue import CATALOGUE
from ibkit.settings import VARIABLES
from ibkit.sim.serving.inprocess import CLOUD_URL, Simulator
from simulators import KEYS, make_simulator

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs/guide" / name for name in ("signing-in.md", "selling-options.md", "sdk.md", "troubleshooting.md")]
PAGES += [ROOT / "docs/guide" / name for name in ("limits.md", "operations.md", "service.md", "users.md", "vault.md")]
NAMES = [page.name for page in PAGES]


def blocks(page: Path, kind: str) -> list[str]:
    return [block.strip() for block in re.findall(rf"^ *```{kind}\n(.*?)^ *```", page.read_text(), re.M | re.S)]


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """An empty home with settings for OAuth 1.0a, and the simulator behind them."""
    simulator = make_simulator()
    keys = simulator.users[0]
    for path in KEYS.rglob("private_*.pem"):
        path.chmod(0o600)  # a checkout does not keep the modes of private keys
    settings = {
        "APP_ENV": "test",
        "IBKR_BASE_URL": CLOUD_URL,
        "IB_CONSUMER_KEY": keys.consumer_key,
        "IB_ACCESS_TOKEN": keys.access_token,
        "IB_ACCESS_TOKEN_SECRET": keys.access_token_secret,
        "IB_SIGNATURE_KEY_PATH": keys.signature_key,
        "IB_ENCRYPTION_KEY_PATH": keys.encryption_key,
        "IB_DH_PARAM_PATH": keys.dhparam,
    }
    monkeypatch.setattr("os.environ", {"HOME": str(tmp_path), **{name: str(value) for name, value in settings.items()}})
    monkeypatch.chdir(tmp_path)
    edges = Edges(transport=lambda _: simulator.transport("cloud"), clock=simulator.clock, keep_alive=False)
    with using(edges):
        yield simulator


@pytest.mark.requirement("DOC-01", "DOC-02")
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_programs_of_a_guide_run(page: Path, at_home: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    for program in blocks(page, "python"):
        exec(compile(program, page.name, "exec"), {"__name__": "__main__"})
        at_home.advance(70)
    said = capsys.readouterr()
    if page.name == "sdk.md":
        assert "DU1000001" in said.out
        assert "do not sell again" not in said.out
        assert "E-CONTRACT" in said.out
        placed = [call for call in at_home.control("GET", "requests") if call["path"].endswith("/orders")]
        assert len([call for call in placed if call["method"] == "POST"]) == 5, (
            "an order, a bracket, the sale and its stop, and that of the session"
        )


@pytest.mark.requirement("DOC-01", "DOC-02")
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_commands_of_a_guide_run(page: Path, at_home: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks marked `console` run as they stand; those marked `sh` need IBKR, a person or a second terminal."""
    for line in "\n".join(blocks(page, "console")).splitlines():
        at_home.advance(70)
        assert cli.run(line.split()[1:]) == 0, (line, capsys.readouterr())


def words_of(page: Path) -> Iterator[list[str]]:
    """Each command that a page names, in blocks and in passing."""
    text = page.read_text()
    lines = [
        line.split("#")[0] for kind in ("sh", "console") for block in blocks(page, kind) for line in block.splitlines()
    ]
    for said in [*lines, *re.findall(r"`(ibkit [^`]+)`", text)]:
        words = [word for word in said.split() if word]
        if words[0] == "ibkit" and len(words) > 1:
            at = 3 if words[1] == "--env-file" else 1
            yield words[at:]


@pytest.mark.requirement("DOC-02")
@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_each_command_flag_setting_and_code_of_a_guide_exists(
    page: Path, capsys: pytest.CaptureFixture[str], at_home: Simulator
) -> None:
    text = page.read_text()
    known = {command.name for command in COMMANDS}
    for words in words_of(page):
        assert words[0] in known, words
        flags = [word.split("=")[0] for word in words if word.startswith("--")]
        named = [word for word in words[1 : 3 if words[1:2] == ["key"] else 2] if re.fullmatch(r"[a-z][a-z-]+", word)]
        if flags or named:
            assert cli.run([words[0], *named, "--help"]) == 0, words
            help_ = capsys.readouterr().out
            assert [flag for flag in flags if flag not in help_] == [], words
    variables = set(re.findall(r"`((?:IBKR|IB|ORDER|MAX|FILL|ENCRYPTION|APP|JWT|LOG|ENABLE)_[A-Z_]*[A-Z])`", text))
    assert variables <= set(VARIABLES), variables - set(VARIABLES)
    codes = set(re.findall(r"`(E-[A-Z0-9-]+)`", text))
    assert codes <= set(CATALOGUE), codes - set(CATALOGUE)


@pytest.mark.requirement("DOC-02")
@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs/guide").glob("*.md"))], ids=lambda path: path.name
)
def test_every_command_line_of_a_page_is_one_of_ours(page: Path) -> None:
    """Those above look at flags one by one; here the program itself reads the line, of every page."""
    lines = [line.partition(" < ")[0] for line in ibkit_lines(page.read_text())]
    wrong = {line: why for line in lines if (why := why_not(line)) is not None}
    named_in_passing = ("requires an argument", 'unable to convert "N"')
    assert {line: why for line, why in wrong.items() if not any(words in why for words in named_in_passing)} == {}


@pytest.mark.requirement("OPT-01", "DOC-02")
def test_every_flag_of_the_sale_stands_in_its_guide(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["sell-option", "--help"]) == 0
    flags = set(re.findall(r"^  (--[a-z-]+)", capsys.readouterr().out, re.M))
    text = (ROOT / "docs/guide/selling-options.md").read_text()
    assert len(flags) > 15
    assert sorted(flag for flag in flags if f"`{flag}`" not in text) == []


@pytest.mark.requirement("DOC-04")
def test_troubleshooting_groups_each_code_that_can_come() -> None:
    from cli.test_error_catalogue import NOT_YET

    text = (ROOT / "docs/guide/troubleshooting.md").read_text()
    assert sorted(code for code in CATALOGUE.keys() - NOT_YET.keys() if f"`{code}`" not in text) == []


@pytest.mark.requirement("DOC-03")
def test_the_guide_of_the_sdk_names_each_verb_and_error() -> None:
    text = (ROOT / "docs/guide/sdk.md").read_text()
    faces = (package.Client, package.TradingClient)
    verbs = {name for face in faces for name, value in vars(face).items() if callable(value) and name[0] != "_"}
    assert len(verbs) > 30
    assert sorted(name for name in verbs if not re.search(rf"`{name}[`(]", text)) == []
    errors = {
        name
        for name in package.__all__
        if isinstance(getattr(package, name), type) and issubclass(getattr(package, name), package.Refused.__mro__[1])
    }
    general = {"IbkitError", "AuthError", "Refused", "TradingError", "StorageError"}
    assert sorted(name for name in errors - general if f"`{name}`" not in text) == []


@pytest.mark.requirement("DOC-02")
def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    broken: list[str] = []
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            # `make bench` writes its page; a checkout in which it never ran has none.
            if "://" not in target and target != "docs/benchmarks.md" and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


@pytest.mark.requirement("DOC-02")
def test_the_index_of_the_guides_names_each_once_and_the_readme_leads_there() -> None:
    text = (ROOT / "docs/guide/README.md").read_text()
    linked = re.findall(r"\]\(([\w-]+\.md)\)", text)
    assert sorted(linked) == sorted(
        path.name for path in (ROOT / "docs/guide").glob("*.md") if path.name != "README.md"
    )
    assert "(docs/guide/README.md)" in (ROOT / "README.md").read_text()


@pytest.mark.requirement("DOC-02")
def test_each_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [names for extra, names in project["optional-dependencies"].items() if extra != "dev"]
    needed = {
        re.split(r"[<>=;\[ ]", line)[0]
        for line in [*project["dependencies"], *(line for lines in extras for line in lines)]
    }
    page = (ROOT / "docs/adr/0001-dependencies.md").read_text().lower()
    assert sorted(name for name in needed if name not in page) == []
