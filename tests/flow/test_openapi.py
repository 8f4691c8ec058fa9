"""The OpenAPI document is complete and true: what it says of each call is what the server does."""

import asyncio
import json
import threading
from http import HTTPStatus

import jsonschema
import pytest
import schemathesis
from hypothesis import settings
from schemathesis import checks

from perdure import keyring
from perdure.app import create_app
from perdure.credentials import SCOPES
from perdure.settings import Auth, Limits, Settings
from tests.flow.serving import serving

EXAMPLES_MAX, FEW_MAX, MANY_MAX = 12, 2, 300
PROBLEM = "application/problem+json"


class Running:
    """A server in a thread of its own, for clients that block."""

    def __init__(self, folder, **settings):
        self.folder = folder
        self.settings = settings
        self.ids = {}
        self.headers = {}
        self.url = ""
        self.up = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self):
        self.loop, self.down = asyncio.get_running_loop(), asyncio.Event()
        async with serving(self.folder, **self.settings) as served:
            if served.core.settings.auth.mode == "token":
                _, secret = await keyring.make_token(
                    served.core.store, "ann", "hers", [*SCOPES], None
                )
                self.headers = {"Authorization": f"Bearer {secret}"}
                served.http.headers.update(self.headers)
            accepted = await served.asked_and_ended()
            self.ids = {**accepted, "message_id": accepted["user_message_id"]}
            self.ids["webhook_id"] = "evt_none"  # nobody is told of ends here
            self.ids["token_id"] = "tok_none"  # there are no tokens in this mode
            self.ids |= {"response_id": accepted["request_id"], "model": "echo"}
            self.ids |= {"conversation_id": accepted["chat_id"]}
            self.ids |= {"item_id": accepted["user_message_id"], "client_id": "c1"}
            asked = {"id": "q1", "role": "user", "content": "hello"}
            await served.http.post("/api/chat", json={"id": "c1", "messages": [asked]})
            self.url = served.url
            self.up.set()
            await self.down.wait()

    def __enter__(self):
        self.thread.start()
        assert self.up.wait(20)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.down.set)
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("openapi")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that asks for a token; there are no limits to how often."""
    limits = Limits(calls_per_minute_per_user=0, requests_per_minute_per_user=0)
    folder = tmp_path_factory.mktemp("guarded")
    with Running(folder, auth=Auth(mode="token"), limits=limits) as server:
        yield server


DOCUMENT = create_app(settings=Settings()).openapi()
schema = schemathesis.openapi.from_dict(DOCUMENT)
sampled = schemathesis.openapi.from_dict(DOCUMENT)
sampled.config.phases.coverage.enabled = False
"""The same without what is tried at every edge of every field."""

REFUSALS = [str(status) for status in (400, 401, 403, 404, 405, 409, 413, 415, 422, 429)]
for one in (schema, sampled):
    # What is wrong may be too large as well; that is seen first.
    one.config.checks.negative_data_rejection.expected_statuses = REFUSALS


@pytest.fixture
def document():
    return DOCUMENT


CHECKS = [
    checks.not_a_server_error,
    *checks.CHECKS.get_by_names(
        [
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
            "response_headers_conformance",
            "negative_data_rejection",
            "unsupported_method",
            "allow_header_conformance",
        ]
    ),
]


@schema.exclude(path="/api/live").parametrize()
@settings(max_examples=EXAMPLES_MAX)
def test_no_call_that_fits_the_document_or_breaks_it_surprises_the_server(case, running):
    """About every other call names what exists. `/api/live` never ends: it has its own tests."""
    _called(case, running)


@sampled.exclude(path="/api/live").parametrize()
@settings(max_examples=FEW_MAX)
def test_nor_does_it_where_a_token_is_asked_for(case, guarded):
    """Half of the calls show none: all that is not public answers 401, as the document says."""
    _called(case, guarded)


@pytest.mark.soak
@schema.exclude(path="/api/live").parametrize()
@settings(max_examples=MANY_MAX)
def test_nor_after_very_many_calls(case, guarded):
    _called(case, guarded)


def _called(case, running):
    valid = case.meta.generation.mode.is_positive
    if (
        valid
        and case.method != "DELETE"
        and len(json.dumps(case.path_parameters or {}, default=str)) % 2
    ):
        case.path_parameters = {name: running.ids[name] for name in case.path_parameters or {}}
    if valid and isinstance(case.body, dict) and len(json.dumps(case.body, default=str)) % 2:
        for name in ("agent_id", "chat_id", "parent_id"):
            case.body.pop(name, None)
    headers = {} if len(json.dumps(case.query or {}, default=str)) % 2 else running.headers
    case.call_and_validate(base_url=running.url, checks=CHECKS, timeout=20, headers=headers)


def operations(document):
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def error_kind(call):
    path = call.split()[1]
    if path.startswith("/v1/"):
        return "application/json"
    return "text/plain" if path.startswith("/api/chat/") or path == "/api/chat" else PROBLEM


def test_every_operation_has_a_name_a_text_a_tag_and_its_errors(document):
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for call, operation in operations(document):
        assert operation["tags"], call
        assert operation["description"].endswith((".", "`.")), call
        assert {"400", "401", "403", "500"} <= operation["responses"].keys(), call
        if "{" in call:
            assert "404" in operation["responses"], call
        for status, response in operation["responses"].items():
            kinds = list(response.get("content", {}))
            if int(status) >= HTTPStatus.BAD_REQUEST:
                assert kinds == [error_kind(call)], (call, status)
            assert response["description"], (call, status)


def test_every_parameter_is_described(document):
    for call, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (call, parameter["name"])


def test_every_body_and_answer_has_an_example_that_fits_its_schema(document):
    schemas = document["components"]["schemas"]
    without = {"RequestPage", "ChatPage", "MessageTree", "ChatExport", "FeedbackList", "Agents"}
    without |= {"Webhooks", "AnyRequestPage", "UsageSum", "Tokens", "ItemList", "ModelList"}
    without |= {"Overview"}
    plain = {"Health", "Readiness", "Config", "Limits", "ContentPart", "Status"}
    for name, one in schemas.items():
        assert "examples" in one or name in without | plain, name
        for example in one.get("examples", []):
            jsonschema.validate(example, {**one, "components": document["components"]})


def test_every_route_of_the_contract_is_there(document):
    wanted = """
        POST /api/invoke_endpoint; GET /api/requests; GET /api/requests/{request_id}
        GET /api/requests/{request_id}/status; GET /api/requests/{request_id}/stream
        POST /api/requests/{request_id}/cancel; POST /api/requests/{request_id}/retry
        DELETE /api/requests/{request_id}; GET /api/chats; POST /api/chats
        GET /api/chats/{chat_id}; PATCH /api/chats/{chat_id}; DELETE /api/chats/{chat_id}
        GET /api/chats/{chat_id}/messages; POST /api/chats/{chat_id}/read
        GET /api/chats/{chat_id}/export; PATCH /api/messages/{message_id}
        DELETE /api/messages/{message_id}; POST /api/log_assessment; GET /api/agents; GET /api/me
        GET /api/config; GET /api/live; GET /healthz; GET /readyz; GET /metrics
        POST /v1/responses; POST /v1/responses/compact; GET /v1/responses/{response_id}
        DELETE /v1/responses/{response_id}; POST /v1/responses/{response_id}/cancel
        GET /v1/responses/{response_id}/input_items; GET /v1/models; GET /v1/models/{model}
        POST /v1/conversations; GET /v1/conversations/{conversation_id}
        POST /v1/conversations/{conversation_id}; DELETE /v1/conversations/{conversation_id}
        GET /v1/conversations/{conversation_id}/items
        POST /v1/conversations/{conversation_id}/items
        GET /v1/conversations/{conversation_id}/items/{item_id}
        DELETE /v1/conversations/{conversation_id}/items/{item_id}
        POST /api/chat; GET /api/chat/{client_id}; GET /api/chat/{client_id}/stream
        POST /api/chat/{client_id}/stop
    """
    there = {call for call, _ in operations(document)}
    assert {
        call.strip() for line in wanted.strip().split("\n") for call in line.split(";")
    } <= there


def test_the_document_is_plain_json_and_made_once(tmp_path):
    app = create_app(settings=Settings(data_dir=tmp_path))
    assert app.openapi() is app.openapi()
    assert "HTTPValidationError" not in json.dumps(app.openapi())
