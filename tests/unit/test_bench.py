"""The benchmark's fake upstream and load client tell the truth about what was carried."""

import dataclasses

import msgspec
import pytest

from bench import servers
from bench.build import build
from bench.lab import Lab
from bench.load import Load, proxy_body
from bench.outcome import Outcome, percentile

LOAD = Load(20, ramp_s=0.1, warmup_s=0.2, window_s=0.4, chunks=40)


def _silent(text: str) -> None:
    """Print nothing."""


@pytest.fixture(scope="module")
def lab():
    programs = build()
    with servers.upstream(programs) as source:
        yield Lab(programs, source, quick=True, use_standin=True, say=_silent)


def _run(lab: Lab, server, load: Load, word: str | None = None):
    bodies = [proxy_body(load).replace(load.word, word)] if word else None
    with lab.start(server, load, bodies) as running:
        return running.result()


def test_without_a_server_between_them_nothing_is_lost(lab):
    result = _run(lab, lab.upstream, LOAD)
    assert result.good, result.first_error
    assert result.delivered == LOAD.streams * LOAD.chunks_each
    assert result.completed == LOAD.streams
    assert 200 < result.chunks_per_s < 2000
    assert 0 <= result.latency.p50_ms < 100
    assert result.sut_us_per_chunk > 0
    late = msgspec.structs.replace(result, chunks_per_s=1010.0, offered=1000.0)
    assert late.carried_per_s == 1000.0, "a backlog that is made up for is not carried"


def test_a_chunk_left_out_is_noticed(lab):
    result = _run(lab, lab.upstream, LOAD, f"{LOAD.word}-g7")
    assert not result.good
    assert result.gaps == LOAD.streams
    assert "chunk 8 after 6" in result.first_error


def test_a_dropped_connection_is_noticed(lab):
    result = _run(lab, lab.upstream, LOAD, f"{LOAD.word}-f7")
    assert not result.good
    assert result.errors == LOAD.streams
    assert result.completed == 0


def test_readers_that_come_back_see_every_chunk_once(lab):
    load = dataclasses.replace(LOAD, viewers=2, reattach=2)
    with lab.product() as server:
        result = _run(lab, server, load)
    assert result.good, result.first_error
    assert result.reattached == load.streams * load.viewers * load.reattach
    assert result.delivered == load.streams * load.viewers * load.chunks_each
    assert result.resume.count == result.reattached


def test_a_cancel_is_seen_upstream_with_its_time(lab):
    load = dataclasses.replace(LOAD, cancel_at=5)
    early = lab.upstream.stats()["early"]
    with lab.product() as server:
        result = _run(lab, server, load)
        lab.upstream.settle()
    stats = lab.upstream.stats()
    assert len(result.cancels) == load.streams
    assert stats["early"] - early == load.streams
    closed = dict(stats["closed_early"])
    assert all(closed[stream] > asked for stream, asked in result.cancels)


def test_the_plainest_baseline_passes_everything_through(lab):
    with lab.baseline("A") as server:
        result = _run(lab, server, LOAD)
    assert result.good, result.first_error
    assert result.delivered == LOAD.streams * LOAD.chunks_each


def test_the_upstream_obeys_the_last_word_of_a_message_before_the_model(lab):
    message = {"role": "user", "content": "fake-r0-c3 now"}
    body = {"model": "fake-r1-c9", "stream": True, "messages": [message]}
    before = lab.upstream.stats()["chunks"]
    with pytest.raises(ValueError, match="Expecting value"):
        lab.upstream.call("POST", "/v1/chat/completions", body)
    assert lab.upstream.stats()["chunks"] - before == 3


def test_an_outcome_is_met_only_if_nothing_was_lost():
    met = Outcome("F0", "something", "ms", 10.0, [8.0, 9.0, 30.0])
    assert met.met is True
    assert met.measured == 9.0
    assert dataclasses.replace(met, sound=False).met is False
    assert dataclasses.replace(met, values=[]).met is None
    assert dataclasses.replace(met, sense="at least").met is False


def test_a_percentile_is_a_value_that_was_measured():
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([], 0.5) == -1.0
