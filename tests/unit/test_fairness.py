"""Who runs next, from what an adapter has found; the adapters' own suites try the rest."""

from __future__ import annotations

import time

from perdure.stores.fairness import Candidate, Ranking


class Found(Ranking):
    """Ann, who has one answer under way and was just served, and Bob, who waits for two."""

    def __init__(self, ann_served_at):
        super().__init__()
        self.by_user["ann"] = 1
        self._ann_served_at = ann_served_at

    def people(self):
        yield "ann", self._ann_served_at, iter([Candidate(2.0, "ann 2", "agent", "ann")])
        waiting = [Candidate(float(n), f"bob {n}", "agent", "bob") for n in (3, 4)]
        yield "bob", 0.0, iter(waiting)


def test_turns_do_not_depend_on_the_clock_of_who_decides():
    """Guard: who is served now comes after all who were, though the store's clock be ahead."""
    for skew_s in (0, 3600, -3600):
        order = [one.request_id for one in Found(time.time() + skew_s).order()]
        assert order == ["bob 3", "ann 2", "bob 4"], skew_s
