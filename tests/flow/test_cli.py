"""The command line against a real server: what people see, what scripts get, and the exit codes."""

import asyncio
import contextlib
import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import apsw
import pytest

from perdure.cli import main
from perdure.stores.sqlite.migrations import numbered
from tests.world.server import Server, environment, free_port

CONFIG = """
default_agent = "quick"

[agents.quick]
handler = "guide"
words_per_s = 2000

[agents.slow]
handler = "guide"
words_per_s = 12

[agents.dead]
handler = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "none"
retry_total_s = 0
"""
QUESTION = "What happens when I close the tab?"
SENTENCE = "Nothing happens to the answer"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("cli"), CONFIG)
    try:
        asyncio.run(started.start())
        yield started
    finally:
        started.end()


@pytest.fixture
def perdure(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Let client commands talk to the server."""
    monkeypatch.setenv("PERDURE_URL", server.url)
    return server


def asked(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """Ask without waiting; return the request's id."""
    assert main(["ask", QUESTION, "--detach", *flags]) == 0
    return capsys.readouterr().out.strip()


def final(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return dict(json.loads(capsys.readouterr().out))


class Terminal:
    """A client process whose output can be waited for and which can be sent Ctrl-C."""

    def __init__(self, url: str, *arguments: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "perdure", *arguments],
            env=environment(PERDURE_URL=url),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.seen = ""

    def until(self, words: str, within_s: float = 20) -> None:
        assert self.child.stdout is not None
        deadline = time.monotonic() + within_s
        while words not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {words!r} in {self.seen!r}"
            readable, _, _ = select.select([self.child.stdout], [], [], left)
            piece = os.read(self.child.stdout.fileno(), 65536) if readable else b""
            assert piece or not readable, f"ended without {words!r}: {self.seen!r}"
            self.seen += piece.decode()

    def press_ctrl_c(self) -> None:
        self.child.send_signal(signal.SIGINT)

    def ends(self) -> int:
        rest, _ = self.child.communicate(timeout=20)
        self.seen += rest.decode()
        return self.child.returncode


class CuttingProxy:
    """A way to the server on which the first `cuts` streams break after some bytes."""

    def __init__(self, port: int, cuts: int, after_bytes: int) -> None:
        self.port = port
        self.cuts = cuts
        self.after_bytes = after_bytes
        self.streams = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """Pass one request on, and its answer back; one connection per request."""
        with client, socket.create_connection(("127.0.0.1", self.port)) as behind:
            head = client.recv(65536)
            behind.sendall(head.replace(b"\r\n", b"\r\nconnection: close\r\n", 1))
            left = 10**9
            if b"/stream" in head.split(b"\r\n")[0]:
                self.streams += 1
                left = self.after_bytes if self.streams <= self.cuts else left
            while left > 0 and (piece := behind.recv(min(left, 65536))):
                client.sendall(piece)
                left -= len(piece)


def test_an_answer_in_a_pipe_is_its_text_and_nothing_else(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", QUESTION]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("I am the built-in guide")
    assert shown.count(SENTENCE) == 1


def test_json_is_the_whole_request_at_the_end(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", QUESTION, "--json"]) == 0
    request = final(capsys)
    assert request["status"] == "completed"
    assert SENTENCE in str(request["final_response"])


def test_what_is_printed_is_the_final_response(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id = asked(capsys)
    assert main(["attach", request_id]) == 0
    printed = capsys.readouterr().out
    assert main(["cancel", request_id, "--json"]) == 1, "it had ended before"
    assert printed.strip() == str(final(capsys)["final_response"]).strip()


def test_in_a_terminal_markdown_is_rendered_and_the_cursor_comes_back(perdure: Server) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "perdure", "ask", QUESTION]
    terminal = environment(PERDURE_URL=perdure.url, TERM="xterm", COLUMNS="80", LINES="24")
    with subprocess.Popen(command, env=terminal, stdout=follower, stderr=follower) as child:
        os.close(follower)
        seen = b""
        while piece := _read(leader):
            seen += piece
        assert child.wait(20) == 0
    os.close(leader)
    last_page = seen.split(b"\x1b[?25h")[-1].decode()
    assert b"### " not in seen, "headings are rendered, not quoted"
    assert SENTENCE.encode() in seen
    assert "perdure ask --chat chat_" in last_page, "how to go on, after the cursor is shown again"


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux tells that the other side is closed
        return b""


def test_a_question_is_read_from_standard_input(
    perdure: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.pipe()
    os.write(write, QUESTION.encode())
    os.close(write)
    with os.fdopen(read) as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        assert main(["ask", "-", "--json"]) == 0
    assert final(capsys)["user_message"] == QUESTION


@pytest.mark.parametrize(
    ("question", "piped", "token", "said"),
    [
        (b"caf\xe9", b"", "", "The question is not UTF-8."),
        (b"-", b"caf\xe9", "", "The question is not UTF-8."),
        (b"hi", b"", "pdr\x01", "PERDURE_TOKEN has a character that HTTP does not allow."),
    ],
)
def test_what_no_server_could_take_is_told_in_a_sentence(
    perdure: Server, question: bytes, piped: bytes, token: str, said: str
) -> None:
    given = environment(PERDURE_URL=perdure.url, PYTHONUTF8="1", PERDURE_TOKEN=token)
    command = [os.fsencode(sys.executable), b"-m", b"perdure", b"ask", question]
    done = subprocess.run(command, input=piped, env=given, capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (2, f"perdure: {said}\n")


def test_a_chat_is_continued(perdure: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", QUESTION, "--json"]) == 0
    chat_id = str(final(capsys)["chat_id"])
    assert main(["ask", "exit codes", "--chat", chat_id, "--json"]) == 0
    assert final(capsys)["chat_id"] == chat_id


def test_attach_prints_every_event_once_as_a_line_of_json(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id = asked(capsys)
    assert main(["attach", request_id, "--json"]) == 0
    numbers = [json.loads(line)["sequence_number"] for line in capsys.readouterr().out.splitlines()]
    assert numbers == list(range(len(numbers)))
    assert main(["attach", request_id, "--after", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["sequence_number"] == 4


def test_attach_after_the_end_ends_at_once(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id = asked(capsys)
    assert main(["attach", request_id]) == 0
    capsys.readouterr()
    assert main(["attach", request_id, "--after", "100000"]) == 0
    assert capsys.readouterr().out == ""


def test_a_cut_connection_is_taken_up_without_loss_or_repetition(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = CuttingProxy(server.port, cuts=3, after_bytes=4000)
    monkeypatch.setenv("PERDURE_URL", proxy.url)
    try:
        request_id = asked(capsys)
        assert main(["attach", request_id, "--json"]) == 0
    finally:
        proxy.close()
    told = capsys.readouterr()
    numbers = [json.loads(line)["sequence_number"] for line in told.out.splitlines()]
    assert numbers == list(range(len(numbers)))
    assert proxy.streams == 4
    assert "Connection lost; the answer goes on" in told.err


def test_a_server_that_stays_away_is_given_up_after_the_wait(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = CuttingProxy(server.port, cuts=10**6, after_bytes=0)
    monkeypatch.setenv("PERDURE_URL", proxy.url)
    try:
        request_id = asked(capsys, "--agent", "slow")
        assert main(["attach", request_id, "--wait", "0.5"]) == 2
    finally:
        proxy.close()
    assert f"perdure attach {request_id} --after -1" in capsys.readouterr().err
    monkeypatch.setenv("PERDURE_URL", server.url)
    assert main(["cancel", request_id]) == 0


def test_ctrl_c_leaves_the_answer_running_and_says_how_to_come_back(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal(perdure.url, "ask", QUESTION, "--agent", "slow")
    terminal.until("guide")
    terminal.press_ctrl_c()
    assert terminal.ends() == 130
    request_id = terminal.seen.split("perdure attach ")[1].split()[0]
    assert main(["requests", "--status", "streaming", "--json"]) == 0
    assert request_id in capsys.readouterr().out
    assert main(["cancel", request_id]) == 0


def test_a_second_ctrl_c_cancels_the_answer(perdure: Server) -> None:
    terminal = Terminal(perdure.url, "ask", QUESTION, "--agent", "slow")
    terminal.until("guide")
    terminal.press_ctrl_c()
    terminal.until("Press Ctrl-C again")
    terminal.press_ctrl_c()
    assert terminal.ends() == 3
    assert "Cancelled; the text so far is kept." in terminal.seen


def test_the_client_outlasts_a_kill_and_a_restart_of_the_server(tmp_path: Path) -> None:
    killed = Server(tmp_path, CONFIG.replace("words_per_s = 12", "words_per_s = 60"))
    try:
        asyncio.run(killed.start())
        terminal = Terminal(killed.url, "ask", QUESTION, "--agent", "slow")
        terminal.until(SENTENCE)
        asyncio.run(killed.kill9())
        terminal.until("Connection lost; the answer goes on")
        asyncio.run(killed.start())
        assert terminal.ends() == 0
    finally:
        killed.end()
    before, _, after = terminal.seen.partition("what follows replaces the text above.)")
    assert SENTENCE in before
    assert after.strip().startswith("I am the built-in guide")
    assert after.count(SENTENCE) == 1


def test_an_answer_cancelled_elsewhere_ends_here_too(perdure: Server) -> None:
    terminal = Terminal(perdure.url, "ask", QUESTION, "--agent", "slow", "--json")
    listed = ["requests", "--status", "streaming", "--json"]
    found: list[str] = []
    deadline = time.monotonic() + 20
    while not found and time.monotonic() < deadline:
        out = subprocess.run(
            [sys.executable, "-m", "perdure", *listed],
            env=environment(PERDURE_URL=perdure.url),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found = [request["id"] for request in json.loads(out)["requests"]]
    for request_id in found:
        assert main(["cancel", request_id]) == 0
    assert terminal.ends() == 3


def test_a_failed_answer_says_why_and_exits_with_one(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", "hello", "--agent", "dead"]) == 1
    assert "Failed (upstream_unreachable)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask", "hi", "--agent", "nobody"],
        ["ask", "hi", "--chat", "chat_none"],
        ["ask", "   "],
        ["attach", "resp_none"],
        ["cancel", "resp_none"],
        ["requests", "--limit", "0"],
        ["requests", "--status", "gone"],
        ["agents", "--url", "ftp://nowhere"],
        ["nonsense"],
        ["serve", "no_colon"],
        ["serve", "--upstream", "http://127.0.0.1:9/v1"],
        ["serve", "--upstream", "ftp://127.0.0.1/v1", "--model", "m"],
        ["serve", "--model", "m"],
        ["serve", "no_such_module:agent"],
        ["serve", "--config", "no-such-file.toml"],
        ["worker"],
    ],
    ids=" ".join,
)
def test_wrong_use_is_one_sentence_and_exit_code_two(
    perdure: Server, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.strip()
    assert "Traceback" not in told.err + told.out


def test_a_server_that_refuses_for_now_is_waited_for_aloud(
    capsys: pytest.CaptureFixture[str],
) -> None:
    busy = ThreadingHTTPServer(("127.0.0.1", 0), Draining)
    threading.Thread(target=busy.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{busy.server_port}"
        assert main(["ask", "hi", "--url", url, "--wait", "0.3"]) == 2
        told = capsys.readouterr().err
        assert "It is being restarted.\nTrying again for 0.3 s." in told
        terminal = Terminal(url, "ask", QUESTION)
        terminal.until("Trying again")
        terminal.press_ctrl_c()
        assert terminal.ends() == 130
        assert "Left before the question was accepted." in terminal.seen
        assert "goes on" not in terminal.seen
    finally:
        busy.shutdown()
        busy.server_close()


class Draining(BaseHTTPRequestHandler):
    """Refuses everything for now."""

    def do_POST(self) -> None:
        body = b'{"detail": "It is being restarted.", "code": "draining"}'
        self.send_response(503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_output_that_nobody_takes_ends_quietly_and_on_a_full_disk_in_words(
    perdure: Server,
) -> None:
    """Guard: the flush in `main`; else Python complains at its exit, with a code of its own."""
    command = [sys.executable, "-m", "perdure", "agents", "--json", "--url", perdure.url]
    reading, writing = os.pipe()
    os.close(reading)
    left = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (left.returncode, left.stderr) == (1, "")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "cannot write the output" in ended.stderr


@pytest.mark.parametrize("command", [["ask", "hi"], ["requests"], ["agents"], ["cancel", "resp_1"]])
def test_without_a_server_the_next_step_is_told(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main([*command, "--url", f"http://127.0.0.1:{free_port()}"]) == 2
    told = capsys.readouterr().err
    assert "No server answers" in told
    assert "perdure serve" in told


def test_requests_are_a_table_with_whole_ids_in_a_pipe(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    request_id = asked(capsys, "--agent", "slow")
    assert main(["requests"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if request_id in line)
    assert "slow" in line
    assert QUESTION in line
    assert main(["cancel", request_id]) == 0


@pytest.mark.parametrize("columns", [40, 80])
def test_a_narrow_terminal_cuts_only_the_last_column(
    perdure: Server, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    """Guard: an id that is cut cannot be copied into the next command."""
    assert main(["ask", "word " * 60, "--detach", "--agent", "slow"]) == 0
    request_id = capsys.readouterr().out.strip()
    shown = {name: _table_at(perdure.url, name, columns) for name in ("requests", "agents")}
    assert main(["cancel", request_id]) == 0
    line = next(line for line in shown["requests"].splitlines() if request_id in line)
    assert re.search(r"\b(queued|streaming)\b.* slow .* word", line)
    assert "quick" in shown["agents"]


def _table_at(url: str, command: str, columns: int) -> str:
    """Run a command in a terminal of that many columns; return what it shows."""
    terminal, its_end = pty.openpty()
    given = environment(PERDURE_URL=url, COLUMNS=str(columns), NO_COLOR="1")
    words = [sys.executable, "-m", "perdure", command]
    with subprocess.Popen(words, env=given, stdout=its_end) as child:
        os.close(its_end)
        seen = b"".join(iter(lambda: _read(terminal), b""))
        assert child.wait(20) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", seen.decode())


def test_agents_are_listed_with_the_default_one_marked(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["agents"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "(default)" in line] == ["quick"]
    assert main(["agents", "--json"]) == 0
    assert final(capsys)["default_agent_id"] == "quick"


def test_check_beside_a_running_server_finds_it_and_the_dead_agent(
    perdure: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURE_PORT", str(perdure.port))
    flags = ["--config", str(perdure.config), "--data-dir", str(perdure.data), "--json"]
    assert main(["check", *flags]) == 1, "agent dead cannot be reached"
    found = {one["about"]: one for one in json.loads(capsys.readouterr().out)}
    assert "a Perdure server runs" in found[f"port {perdure.port}"]["detail"]
    assert found["agent dead"]["verdict"] == "wrong"
    assert found["agent dead"]["detail"] == "http://127.0.0.1:9/v1 cannot be reached"
    assert "agents.dead.base_url" in found["agent dead"]["hint"]
    assert "variable PERDURE_PORT" in found["port"]["detail"]
    assert found["data_dir"]["detail"].endswith("(flag)")


class Locked(BaseHTTPRequestHandler):
    """Lists models to whoever shows the right key, in whichever header."""

    def do_GET(self) -> None:
        shown = (self.headers.get("authorization"), self.headers.get("x-api-key"))
        known = shown in (("Bearer right", None), (None, "right"))
        self.send_response(200 if known and self.path == "/v1/models" else 401)
        body = b'{"data": [{"id": "m"}, {"id": "other"}]}' if known else b""
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("handler", ["openai", "responses", "anthropic"])
def test_check_asks_an_agents_server_in_whatever_dialect_it_speaks(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    handler: str,
) -> None:
    """Guard: only the guide is built in; whoever has a server is asked, with the key it takes."""
    monkeypatch.chdir(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Locked) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Path("perdure.toml").write_text(
            f'port = 0\n[agents.a]\nhandler = "{handler}"\nmodel = "m"\n'
            f'base_url = "http://127.0.0.1:{server.server_port}/v1"\napi_key_env = "A_KEY"\n',
            "utf-8",
        )
        monkeypatch.setenv("A_KEY", "wrong")
        assert main(["check"]) == 1
        assert "refuses the key" in capsys.readouterr().out
        monkeypatch.setenv("A_KEY", "right")
        assert main(["check"]) == 0
        assert "answers; model m" in capsys.readouterr().out
        monkeypatch.setenv("PERDURE_AGENTS__A__MODEL", "mistaken")
        assert main(["check"]) == 0, "a server may know more than it lists"
        told = capsys.readouterr().out
        assert "does not list the model mistaken" in told
        assert "It lists m, other. Is agents.a.model right?" in told
        server.shutdown()


@pytest.mark.parametrize("module", ["boom:nofunc", "no_such_module:f", "boom"])
def test_check_names_a_python_agent_that_cannot_be_had(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    module: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("boom.py").write_text("def answer(messages):\n    return []\n")
    Path("perdure.toml").write_text(
        f'port = 0\n[agents.mine]\nhandler = "python"\nmodule = "{module}"\n'
    )
    assert main(["check"]) == 1
    assert "agents.mine.module" in capsys.readouterr().out


def test_check_without_a_server_finds_nothing_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERDURE_PORT", str(free_port()))
    assert main(["check"]) == 0
    assert "Nothing is wrong." in capsys.readouterr().out


def test_check_names_a_database_that_others_may_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `_read_by_others`. A file of an earlier version, or a copied one, keeps its rights."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    Path("perdure.toml").write_text("port = 0\n")
    assert main(["db", "upgrade"]) == 0
    assert main(["check"]) == 0, "a new one is its owner's"
    file = tmp_path / "perdure.db"
    file.chmod(0o644)
    assert main(["check"]) == 1
    told = capsys.readouterr().out
    assert "others may read perdure.db (mode 0644)" in told
    (hint,) = re.findall(r"chmod .*", told)
    assert subprocess.run(shlex.split(hint), check=False).returncode in (0, 1)
    assert file.stat().st_mode & 0o777 == 0o600
    assert main(["check"]) == 0
    file.chmod(0o644)
    tmp_path.chmod(0o750)
    assert main(["check"]) == 0, "nobody else gets as far as the file"


def test_check_opens_the_file_beside_a_server_and_tells_its_schema(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--config", str(perdure.config), "--data-dir", str(perdure.data), "--json"]
    main(["check", *flags])
    found = {one["about"]: one for one in json.loads(capsys.readouterr().out)}
    newest = numbered()[-1].number
    assert found["database"]["verdict"] == "ok"
    assert f"schema {newest} of {newest}" in found["database"]["detail"]
    assert main(["ask", "hi"]) == 0, "the server was not disturbed"


def _later(file: Path) -> None:
    with contextlib.closing(apsw.Connection(str(file))) as connection:
        connection.execute("INSERT INTO migration VALUES (9999, 'later', 'x', 0)")


def _torn(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096 : 4096 * 8] = b"\xa5" * (4096 * 7)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_torn, "is damaged"),
        (lambda file: file.write_bytes(b"noise" * 5000), "it is no SQLite database"),
        (lambda file: file.write_bytes(file.read_bytes()[:5000]), "is damaged"),
        (_later, "made by a newer Perdure: install that version or restore a backup"),
    ],
)
def test_check_finds_a_file_that_no_server_can_open(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], object],
    said: str,
) -> None:
    """Guard: `look_at`; it makes nothing, neither the file nor any beside it."""
    monkeypatch.chdir(tmp_path)
    Path("perdure.toml").write_text("port = 0\n")
    assert main(["check"]) == 0
    assert not Path("perdure.db").exists()
    assert main(["db", "upgrade"]) == 0
    assert main(["check"]) == 0
    capsys.readouterr()
    spoil(tmp_path / "perdure.db")
    there = {*tmp_path.iterdir()}
    assert main(["check"]) == 1
    assert said in capsys.readouterr().out
    assert {*tmp_path.iterdir()} == there


def test_check_names_a_wrong_setting_a_taken_port_and_a_missing_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "perdure.toml").write_text('prot = 1\n[agents.a]\nmodel = "m"\n', "utf-8")
    assert main(["check"]) == 1
    assert "Unknown setting prot" in capsys.readouterr().out
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0)
        port = taken.getsockname()[1]
        (tmp_path / "perdure.toml").write_text(
            f'port = {port}\n[agents.a]\nbase_url = "http://127.0.0.1:9/v1"\n'
            'model = "m"\napi_key_env = "NO_SUCH_KEY_HERE"\n',
            "utf-8",
        )
        assert main(["check"]) == 1
    told = capsys.readouterr().out
    assert "taken by another program" in told
    assert "NO_SUCH_KEY_HERE is not set" in told


def test_the_database_is_not_touched_while_a_server_has_it(
    perdure: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("upgrade", "prune"):
        assert main(["db", command, "--data-dir", str(perdure.data)]) == 2
        assert "Another process is using" in capsys.readouterr().err


def test_a_dry_run_of_pruning_works_beside_a_server_and_changes_nothing(
    perdure: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = asked(capsys)
    assert main(["attach", request_id]) == 0
    capsys.readouterr()
    monkeypatch.setenv("PERDURE_RETENTION__EVENTS_HOURS", "0.0000001")
    assert main(["db", "prune", "--dry-run", "--data-dir", str(perdure.data)]) == 0
    assert capsys.readouterr().out.startswith("Would remove: ")
    assert main(["attach", request_id, "--json"]) == 0
    assert "response.output_text.delta" in capsys.readouterr().out


def test_a_file_is_made_upgraded_and_pruned_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data-dir", str(tmp_path / "new")]
    assert main(["db", "prune", *flags]) == 2
    assert "There is no database" in capsys.readouterr().err
    assert main(["db", "upgrade", *flags]) == 0
    assert main(["db", "prune", *flags]) == 0
    assert "Removed: " in capsys.readouterr().out


def test_openapi_is_json_with_the_routes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["openapi"]) == 0
    paths = final(capsys)["paths"]
    assert isinstance(paths, dict)
    assert "/api/invoke_endpoint" in paths


def test_help_and_version_exit_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["--help"], ["serve", "--help"], ["db", "--help"], ["--version"]):
        assert main(command) == 0
        assert capsys.readouterr().out.strip()


def test_help_loads_neither_the_server_nor_the_client() -> None:
    code = "import sys; from perdure.cli import main; main(['--help']); print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    ).stdout
    loaded = set(out.splitlines()[-1].split())
    assert not loaded & {"fastapi", "uvicorn", "apsw", "perdure.http", "rich.markdown", "pydantic"}
