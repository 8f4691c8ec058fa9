"""The style guide, as far as a machine can check it. Each test is one rule."""

import ast
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "perdure"
FOLDERS = ("src", "tests", "scripts", "bench", "requirements", "docs", ".ci")
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
FUNCTION_LINES_MEDIAN_MAX = 10
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "service", "base", "misc"}
# Where a checkout may lie without its folder's name telling anything about a machine.
PLAIN_FOLDERS = {Path(name) for name in ("/", "/tmp", "/home", "/opt", "/srv", "/usr", "/usr/src")}
# In two halves, so that this file does not find itself.
INDEX_ADDRESS = re.compile(
    r'"resolved"\s*:|registry\s*=\s*"?https?:|^\s*--?(extra-)?index-' r"url|^\s*--find-" r"links",
    re.MULTILINE,
)

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = Function | ast.ClassDef


@cache
def tracked() -> tuple[Path, ...]:
    """Return every file that git tracks or would track; without git, those of our own folders."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        below = (path for top in FOLDERS for path in (ROOT / top).rglob("*"))
        return tuple(path for path in below if path.is_file() and path.suffix != ".pyc")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return tuple(path for path in paths if path.is_file())


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path), filename=str(path))


def python_files(top: str) -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.is_relative_to(ROOT / top)]


def nodes(top: str, *kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Yield `file:line` and node for each node of a kind below a folder."""
    for path in python_files(top):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, kinds):
                yield place(path, node), node


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def called(node: ast.AST) -> str:
    """Return the dotted name that a call calls, or nothing."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def lines_at(where: str) -> str:
    """Return the line of a place and the one above it."""
    path, _, number = where.rpartition(":")
    return "\n".join(text_of(ROOT / path).splitlines()[max(0, int(number) - 2) : int(number)])


def length(function: Function) -> int:
    return (function.end_lineno or 0) - function.lineno + 1


def length_without_docstring(function: Function) -> int:
    first = function.body[0]
    if ast.get_docstring(function) is None:
        return length(function)
    return length(function) - ((first.end_lineno or 0) - first.lineno + 1)


def found(offences: Iterator[str] | list[str]) -> str:
    """Return offences as lines: empty when there are none, readable when there are."""
    return "\n".join(sorted(offences))


# Size


def test_a_module_tells_one_story():
    long = {
        path.relative_to(ROOT): lines
        for path in python_files("src")
        if (lines := len(text_of(path).splitlines())) > MODULE_LINES_MAX
    }
    assert not long


def test_a_function_fits_a_screen():
    functions = nodes("src", ast.FunctionDef, ast.AsyncFunctionDef)
    assert not found(
        f"{where} {node.name}: {length(node)} lines"
        for where, node in functions
        if isinstance(node, Function) and length(node) > FUNCTION_LINES_MAX
    )


def test_the_median_function_is_short(record_property: Callable[[str, object], None]):
    functions = nodes("src", ast.FunctionDef, ast.AsyncFunctionDef)
    lengths = [
        length_without_docstring(node) for _, node in functions if isinstance(node, Function)
    ]
    median = statistics.median(lengths)
    record_property("function_lines_median", median)
    assert median < FUNCTION_LINES_MEDIAN_MAX


# Names and words


def test_no_module_has_a_name_that_says_nothing():
    assert not [path for path in tracked() if path.suffix == ".py" and path.stem in VAGUE_NAMES]


def test_each_module_says_what_it_is():
    files = [path for top in ("src", "scripts", "tests", "bench") for path in python_files(top)]
    assert not found(
        str(path.relative_to(ROOT))
        for path in files
        if text_of(path).strip() and not ast.get_docstring(tree_of(path))
    )


def test_each_public_name_says_what_it_does():
    assert not found(
        f"{place(path, node)} {node.name}"
        for path in python_files("src")
        for node in public_definitions(tree_of(path))
        if not ast.get_docstring(node) and not is_overload(node)
    )


def public_definitions(tree: ast.Module) -> Iterator[Documented]:
    """Yield a module's public functions and classes; methods may leave it to the port they keep."""
    for node in tree.body:
        if isinstance(node, Documented) and not node.name.startswith("_"):
            yield node


def is_overload(node: Documented) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list)


def test_each_setting_has_a_line_in_the_docs():
    documented = set(re.findall(r"[a-z][a-z0-9_]*", text_of(ROOT / "docs" / "settings.md")))
    fields = [
        (path, field, field.target.id)
        for path in (SOURCE / "settings.py", SOURCE / "sections.py")
        for model in tree_of(path).body
        if isinstance(model, ast.ClassDef)
        for field in model.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]
    assert len(fields) > 50, "the settings have moved"
    assert not found(
        f"{place(path, field)} {name}"
        for path, field, name in fields
        if not name.startswith(("_", "model_config"))
        and "ClassVar" not in ast.unparse(field.annotation)
        and name not in documented
    )


# Habits


def test_no_error_is_caught_without_a_name():
    assert not found(
        where
        for top in ("src", "tests", "scripts", "bench")
        for where, node in nodes(top, ast.ExceptHandler)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    )


def test_only_the_command_line_prints():
    assert not found(
        where
        for where, node in nodes("src", ast.Call)
        if called(node) == "print" and not where.startswith("src/perdure/cli")
    )


def test_imports_point_down():
    linter = Path(sys.executable).with_name("lint-imports")
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([linter], cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# Tests


def test_no_test_waits_by_sleeping_without_saying_why():
    sleeps = {"time.sleep", "asyncio.sleep", "anyio.sleep", "sleep"}
    assert not found(
        where
        for where, node in nodes("tests", ast.Call)
        if called(node) in sleeps
        and "/test_" in where
        and not waits_for_nothing(node)
        and "# " not in lines_at(where)
    )


def waits_for_nothing(node: ast.AST) -> bool:
    """Tell whether a sleep lets others run (`sleep(0)`) or picks a random instant for a fault."""
    length = ast.unparse(node.args[0]) if isinstance(node, ast.Call) and node.args else ""
    return length == "0" or "rng." in length


def test_no_test_is_left_out_without_a_reason():
    leave_out = re.compile(r"(?:^|\.)(skip|skipif|xfail|importorskip)$")
    assert not found(
        f"{where} {called(node)}"
        for where, node in nodes("tests", ast.Call)
        if isinstance(node, ast.Call) and leave_out.search(called(node)) and not has_reason(node)
    )


def has_reason(node: ast.Call) -> bool:
    """Tell whether a skip or an expected failure carries a sentence."""
    given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
    if called(node) == "pytest.skip":
        given += node.args[:1]
    return any(not isinstance(reason, ast.Constant) or reason.value for reason in given)


def test_no_skip_mark_stands_bare():
    marks = re.compile(r"^pytest\.mark\.(skip|skipif|xfail)$")
    assert not found(
        f"{place(path, decorator)}"
        for path in python_files("tests")
        for node in ast.walk(tree_of(path))
        if isinstance(node, Documented)
        for decorator in node.decorator_list
        if marks.match(ast.unparse(decorator))
    )


def test_the_name_of_each_test_file_lets_pytest_find_it():
    assert not found(
        str(path.relative_to(ROOT))
        for path in python_files("tests")
        if not path.name.startswith("test_") and defines_tests(tree_of(path))
    )


def defines_tests(tree: ast.Module) -> bool:
    """Tell whether a module has test functions of its own; a suite's tests are in its class."""
    return any(isinstance(node, Function) and node.name.startswith("test_") for node in tree.body)


# Nothing of the machine it was made on


def test_no_file_names_a_place_on_this_machine():
    places = [f"{folder}/" for folder in (ROOT.parent, Path.home()) if folder not in PLAIN_FOLDERS]
    assert not found(
        f"{path.relative_to(ROOT)}: {name}"
        for path in tracked()
        for name in places
        if name in text_of(path)
    )


def test_no_file_names_a_package_index():
    lists = {".txt", ".in", ".toml", ".cfg", ".json", ".npmrc", ".yaml"}
    assert not found(
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix in lists or path.name == ".npmrc"
        if INDEX_ADDRESS.search(text_of(path))
    )


def test_each_pin_has_its_hash():
    for path in (ROOT / "requirements").glob("*.txt"):
        pins = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text_of(path), re.MULTILINE | re.DOTALL)
        assert pins
        assert not [pin.split()[0] for pin in pins if "--hash=sha256:" not in pin]


def test_development_and_production_run_the_same_versions():
    development = set(pins_of("dev"))
    assert set(pins_of("runtime")) <= set(pins_of("all")) <= development
    assert set(pins_of("build")) <= development
    assert set(pins_of("web")) <= development


def pins_of(name: str) -> list[str]:
    text = text_of(ROOT / "requirements" / f"{name}.txt")
    return re.findall(r"^[a-z0-9][^\s=]*==\S+", text, re.MULTILINE)
