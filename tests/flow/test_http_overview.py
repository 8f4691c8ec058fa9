"""The overview for admins: what waits, who works, what fails, and which limits hold."""

import pytest

from perdure.settings import Auth, Limits
from tests.flow.serving import serving


@pytest.fixture
async def server(tmp_path):
    limits = Limits(running_max=2, queued_max=7)
    async with serving(tmp_path, limits=limits) as served:
        yield served


async def test_a_deployment_as_it_stands(server):
    await server.asked_and_ended()
    await server.asked_and_ended("?", "broken")
    for _ in range(3):
        await server.ask("wait", "steered")
    seen = await server.get("/api/admin/overview")
    assert (seen["now"]["streaming"], seen["now"]["waiting"]) == (2, 1)
    assert seen["now"]["waiting_age_s"] > 0
    (worker,) = seen["workers"]
    assert worker["running"] == 2
    assert seen["reasons"] == [{"agent_id": "broken", "code": "agent_error", "count": 1}]
    limits = {one["name"]: (one["used"], one["value"]) for one in seen["limits"]}
    assert limits["running_max"] == (2, 2)
    assert limits["queued_max"] == (1, 7)
    assert "requests_per_minute_per_user" not in limits, "mode `none` counts nobody"
    assert [part["why"] for part in seen["parts"]] == [None, None]
    course = seen["course"]
    assert sum(course["asked"]) == 5
    assert (sum(course["completed"]), sum(course["failed"])) == (1, 1)
    assert len(course["asked"]) == 60
    assert course["step_s"] == 60


async def test_rates_are_among_the_limits_where_they_are_counted(tmp_path):
    limits = Limits(requests_per_minute_per_user=30, calls_per_minute_per_user=0)
    auth = Auth(mode="proxy", admins=["olga"])
    async with serving(tmp_path, limits=limits, auth=auth) as server:
        olga = server.other("olga")
        try:
            seen = await olga.get("/api/admin/overview")
        finally:
            await olga.http.aclose()
    found = {one["name"]: (one["used"], one["value"]) for one in seen["limits"]}
    assert found["requests_per_minute_per_user"] == (None, 30)
    assert found["open_per_user_max"] == (None, 500)
    assert "calls_per_minute_per_user" not in found, "0 is no limit"


@pytest.mark.parametrize("hours", ["0", "-1", "1e9", "nan", "x"])
async def test_a_span_that_is_none_is_refused(server, hours):
    refused = await server.http.get("/api/admin/overview", params={"hours": hours})
    assert refused.status_code == 422
