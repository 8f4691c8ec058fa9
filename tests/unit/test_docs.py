"""The documentation is true where a machine can tell: links, code, commands, settings, codes."""

import ast
import re
import textwrap
from collections import Counter
from pathlib import Path

import pytest
import typer.main

from bench import page as bench_page
from perdure import create_app, settings
from perdure.cli import settings_page
from perdure.cli.commands import app
from perdure.cli.exits import ExitCode
from tests.unit.reader import STATUS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
CODE = re.compile(r"(?:\bcode=|Failure\()\"([a-z_]+)\"")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"(?m)^#+\s+(.*)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def fences(language: str) -> list[object]:
    found = [
        (page, code)
        for page in PAGES
        for kind, code in FENCE.findall(page.read_text("utf-8"))
        if kind == language
    ]
    return [pytest.param(code, id=f"{name(page)}-{n}") for n, (page, code) in enumerate(found)]


def commands() -> dict[str, set[str]]:
    """Return every command with its flags, as the command line itself knows them."""
    top = typer.main.get_command(app)
    known: dict[str, set[str]] = {}

    def walk(command: object, path: str) -> None:
        flags = {o for p in getattr(command, "params", []) for o in getattr(p, "opts", [])}
        known[path] = flags | {"--help"}
        for sub_name, sub in getattr(command, "commands", {}).items():
            walk(sub, f"{path} {sub_name}".strip())

    walk(top, "")
    return known


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_inside_the_documentation_leads_somewhere(page: Path) -> None:
    for match in LINK.finditer(prose(page)):
        target = match[1] or match[2]
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{name(page)} links to {target}"
        if anchor:
            assert anchor in anchors(found), f"{name(page)} links to {target}"


@pytest.mark.parametrize("code", fences("python"))
def test_every_piece_of_python_compiles(code: str) -> None:
    ast.parse(textwrap.dedent(code))


@pytest.mark.parametrize("code", fences("toml"))
def test_every_piece_of_settings_is_accepted(code: str, tmp_path: Path) -> None:

    file = tmp_path / "perdure.toml"
    file.write_text(code, "utf-8")
    settings.load(file, {"host": "127.0.0.1"})  # raises what it does not know


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_that_is_named_exists_with_its_flags(page: Path) -> None:
    known = commands()
    text = page.read_text("utf-8")
    for line in re.findall(r"(?m)(?:^|`)perdure ((?:[a-z][^`\n]*))", text):
        words = line.split("#")[0].split()
        groups = ("db", "init", "tokens", "webhooks")
        path = " ".join(words[:2]) if words[0] in groups else words[0]
        assert path in known, f"{name(page)}: perdure {line}"
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line.split("#")[0]))
        assert flags <= known[path], f"{name(page)}: perdure {line}"


def test_every_command_has_its_section_on_the_command_lines_page() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    headings = set(re.findall(r"(?m)^## perdure (\w+)$", page))
    shown = {path.split()[0] for path in commands() if path} - {"settings-table"}
    assert headings == shown


def test_every_module_has_its_place_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    parts = (ROOT / "src" / "perdure").iterdir()
    names = {part.stem for part in parts if part.suffix == ".py" or (part / "__init__.py").exists()}
    missing = {one for one in names if f"`{one}`" not in page and f"`{one}/`" not in page}
    assert missing == {"__init__", "__main__"}


def test_the_exit_codes_are_the_ones_in_the_code() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert {int(code) for code in re.findall(r"(?m)^\| (\d+) \|", page)} == set(ExitCode)


def test_the_table_of_settings_is_the_one_in_the_code() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    shown = page.split("<!-- begin: perdure settings-table -->")[1].split("<!-- end -->")[0]
    assert shown.strip() == settings_page.table(), "run: perdure settings-table"


def test_the_measured_part_of_the_capacity_page_is_what_was_measured_last() -> None:
    text = bench_page.PAGE.read_text("utf-8")
    shown = text.split(bench_page.BEGIN)[1].split(bench_page.END)[0]
    wanted = bench_page.block(bench_page.LATEST.read_text("utf-8"))
    assert shown.strip() == wanted, "run: python -m bench.page"


def test_every_error_code_of_the_server_is_in_the_protocol() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    sources = [*(ROOT / "src" / "perdure").rglob("*.py")]
    told_at_the_start = {
        "backup_damaged",
        "copy_differs",
        "data_dir_unusable",
        "database_damaged",
        "database_in_use",
        "database_locked",
        "extra_missing",
        "port_in_use",
        "schema_differs",
        "schema_changed",
        "schema_too_new",
        "cluster_mode",
        "server_too_old",
        "store_read_only",
        "store_unreachable",
    }
    for source in sources:
        if source.is_relative_to(ROOT / "src" / "perdure" / "cli"):
            continue
        for code in CODE.findall(source.read_text("utf-8")):
            assert f"`{code}`" in page or code in told_at_the_start, f"{name(source)}: {code}"


def test_every_state_of_an_answer_is_among_the_events_of_the_protocol() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    table = page.split("## Events")[1].split("\n## ")[0]
    for event in ("response.created", *STATUS):
        assert f"`{event}`" in table, event


def test_no_table_of_the_protocol_explains_anything_twice() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text("utf-8")
    for paragraph in page.split("\n\n"):
        rows = [line.split(" | ") for line in paragraph.splitlines() if line.startswith("| ")]
        told = Counter(
            cell for row in rows for cell in row[:-1] if cell.strip("| ").startswith("`")
        )
        assert not [cell for cell, count in told.items() if count > 1]


def test_every_route_of_the_server_is_in_the_protocol() -> None:
    """Those of other people's clients are on their own page."""
    pages = [ROOT / "docs" / name for name in ("protocol.md", "stock-clients.md")]
    page = "".join(page.read_text("utf-8") for page in pages)
    paths = create_app(settings=settings.Settings()).openapi()["paths"]
    assert len(paths) > 15
    for path, methods in paths.items():
        for method in methods:
            call = f"{method.upper()} {re.sub(r'{[^}]*}', '{id}', path)}"
            assert re.search(re.escape(call) + r"[`?]", page), call


def test_the_picture_works_in_light_and_dark() -> None:
    picture = (ROOT / "docs" / "img" / "flow.svg").read_text("utf-8")
    assert "prefers-color-scheme: dark" in picture
    assert "<title" in picture
