"""`python -m bench`: measure the figures of a shape and print how far they are met."""

import argparse
import functools
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping

from rich.console import Console

from bench import page, servers
from bench.build import CannotBuild, build
from bench.figures import CLUSTER, FIGURES, LINES
from bench.lab import Lab
from bench.outcome import Outcome
from bench.plot import draw
from bench.quiet import Patience
from bench.report import RESULTS, gathered, keep, markdown, show

QUICK_S, FULL_S = 200.0, 1200.0
"""After this time no further figure is begun."""

PATIENCE_QUICK_S, PATIENCE_FULL_S = 20.0, 180.0
"""How long, in all, to wait for others to leave the machine alone."""


def main() -> int:
    """Run the benchmark; 0 if every line was measured and met."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are ended on the way out
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    try:
        programs = build()
    except CannotBuild as trouble:
        console.print(f"[red]{trouble}[/]")
        return 2
    with servers.upstream(programs, exact=options.exact) as source:
        say = functools.partial(console.print, markup=False, style="dim")
        patience = Patience(PATIENCE_QUICK_S if options.quick else PATIENCE_FULL_S)
        lab = Lab(programs, source, options.quick, options.standin, say, patience=patience)
        outcomes = _measure(lab, CLUSTER if options.cluster else FIGURES, options.only, console)
    mode = "quick" if options.quick else "full"
    shape = "many machines" if options.cluster else "embedded shape"
    show(outcomes, console, shape)
    if not options.standin:
        title = keep(outcomes, lab, f"{shape}, {mode}" if options.cluster else mode)
        console.print("Kept in bench/results/runs.jsonl")
        if options.cluster:
            newest = [*gathered(f"{shape}, {mode}", LINES)]
            (RESULTS / "cluster.md").write_text("\n".join(markdown(newest, title)) + "\n")
            console.print("and, with what was measured before of the others, in cluster.md")
        elif not options.only:
            (RESULTS / "latest.md").write_text("\n".join(markdown(outcomes, title)) + "\n")
            draw(outcomes, lab.runs, title, RESULTS / "latest.png")
            page.refresh()
            console.print("and as a table and a picture in latest.md and latest.png")
    return 0 if outcomes and all(outcome.met for outcome in outcomes) else 1


def _measure(
    lab: Lab,
    figures: Mapping[str, Callable[[Lab], list[Outcome]]],
    only: list[str],
    console: Console,
) -> list[Outcome]:
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for name in only or figures:
        spent_s = time.monotonic() - began
        if spent_s > (QUICK_S if lab.quick else FULL_S):
            console.print(f"[yellow]{name} left out: {spent_s:.0f} s are over[/]")
            continue
        console.print(f"[bold]{name}[/] {(figures[name].__doc__ or '').partition(': ')[2]}")
        try:
            outcomes += figures[name](lab)
        except Exception as trouble:  # noqa: BLE001 - one broken figure must not hide the others
            console.print(traceback.format_exc(), markup=False)
            outcomes.append(Outcome(name, "could not be measured", "", 0.0, [], note=str(trouble)))
    console.print(f"Measured in {time.monotonic() - began:.0f} s.")
    return outcomes


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short run of each")
    parser.add_argument("--cluster", action="store_true", help="the figures of many machines")
    parser.add_argument("--only", type=_figures, default=[], help="a list such as F1,F3")
    parser.add_argument(
        "--exact", action="store_true", help="the upstream writes each chunk at its own instant"
    )
    parser.add_argument(
        "--standin", action="store_true", help="check the benchmark with a stand-in product"
    )
    options = parser.parse_args()
    if unknown := set(options.only) - set(CLUSTER if options.cluster else FIGURES):
        parser.error(f"not a figure of this shape: {', '.join(sorted(unknown))}")
    return options


def _figures(text: str) -> list[str]:
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    known = [*FIGURES, *CLUSTER]
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(unknown)}; known: {', '.join(known)}"
        )
    return names


if __name__ == "__main__":
    sys.exit(main())
