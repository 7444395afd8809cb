"""The verdict of a comparison in plain sentences, on the terminal, in a file and on a page."""

from __future__ import annotations

import math

from yolo_nas_ext.console import duration, number, signed
from yolo_nas_ext.study.leaderboard import EQUAL, LEVEL, Leaderboard, Model, Pair

COSTS = {"latency_ms": "measured latency", "flops": "FLOPs"}


def sentences(standings: Leaderboard) -> list[str]:
    """Return what was found, the most important sentence first."""
    found, hand = standings.best_other, standings.best_baseline
    if standings.ranking and all(standings.mean(e.name).mean == 0 for e in standings.ranking):
        names = ", ".join(entrant.name for entrant in standings.ranking)
        return [
            f"{names}: all have 0 {standings.metric} on {standings.part}. These trainings are too "
            "short to tell models apart; give more epochs.",
            *_caveats(standings),
        ]
    if found is None and hand is None:
        return [_nothing(standings)]
    if found is None or hand is None:
        return [_alone(standings), *_caveats(standings)]
    said = [_headline(standings, found, hand), *_tests(standings, found, hand)]
    return [
        *said,
        *_at_its_cost(standings, found, hand),
        *_search(standings, found, hand),
        *_caveats(standings),
    ]


def better(standings: Leaderboard) -> Model | None:
    """Return the entrant to take: the one of the highest mean."""
    return standings.ranking[0] if standings.ranking else None


def shown(pair: Pair) -> str:
    """Return a difference with its interval, ``+0.0312 (0.0100 to 0.0524)``."""
    if pair.n < 2:
        return signed(pair.mean)
    return f"{signed(pair.mean)} ({signed(pair.low)} to {signed(pair.high)})"


def _headline(standings: Leaderboard, found: Model, hand: Model) -> str:
    pair, metric = standings.pair(found.name, hand.name), standings.metric
    mine, theirs = (number(standings.mean(e.name).mean) for e in (found, hand))
    if not pair.n:
        return f"{found.name} and {hand.name} share no seed that both finished: nothing to compare."
    if pair.mean == 0:
        return (
            f"{found.name} and {hand.name}, the best baseline, are equal: {theirs} {metric} on "
            f"{standings.part}{_times(standings, found, hand)}."
        )
    if pair.mean < 0:
        return (
            f"A baseline is {'better' if pair.high < 0 else 'at least as good'}: {hand.name} is "
            f"{number(-pair.mean)} above {found.name}, the best of the others, in {metric} on "
            f"{standings.part}: {theirs} against {mine}{_times(standings, hand, found)}."
        )
    sure = "" if pair.low > 0 else ", which may be chance"
    return (
        f"{found.name} is {number(pair.mean)} above {hand.name}, the best baseline, in {metric} on "
        f"{standings.part}: {mine} against {theirs}{_times(standings, found, hand)}{sure}."
    )


def _times(standings: Leaderboard, entrant: Model, other: Model) -> str:
    ratio = standings.ratio(entrant, other)
    return "" if math.isnan(ratio) else f", at {ratio:.2f} times its {COSTS[standings.cost]}"


def _tests(standings: Leaderboard, found: Model, hand: Model) -> list[str]:
    pair = standings.pair(found.name, hand.name)
    if pair.n < 2:
        return ["Both were trained once: nothing says how much of the difference is chance."]
    return [
        f"Paired over {pair.n} seeds: {signed(pair.mean)}, {LEVEL:.0%} interval "
        f"{signed(pair.low)} to {signed(pair.high)}; paired t test p = {pair.t:.3g}, Wilcoxon's "
        f"p = {pair.wilcoxon:.3g} (which {pair.n} pairs cannot bring below {2 / 2**pair.n:.3g})."
    ]


def _at_its_cost(standings: Leaderboard, found: Model, hand: Model) -> list[str]:
    """Say what is best at no more cost, and what is as good at half of it."""
    said, cost = [], COSTS[standings.cost]
    within = standings.within()
    if standings.ratio(found, hand) > 1:
        if within:
            pair = standings.pair(within.name, hand.name)
            said.append(
                f"At no more {cost} than {hand.name}, the best of the others is {within.name}: "
                f"{shown(pair)}."
            )
        else:
            said.append(f"No other model has at most the {cost} of {hand.name}.")
    cheap = standings.cheaper()
    if cheap is not None:
        said.append(
            f"{cheap.name} is as good as {hand.name} to {EQUAL} "
            f"({number(standings.mean(cheap.name).mean)}) at "
            f"{standings.ratio(cheap, hand):.2f} times its {cost}."
        )
    return said


def _search(standings: Leaderboard, found: Model, hand: Model) -> list[str]:
    """Say what the search cost beside what it gained."""
    if found.search_seconds is None:
        return []
    text = f"The search that found it took {duration(found.search_seconds)}"
    one = standings.seconds(hand.name)
    if one > 0:
        text += f", as much as {found.search_seconds / one:.1f} trainings of {hand.name}"
    return [f"{text}."]


def _alone(standings: Leaderboard) -> str:
    best = standings.ranking[0]
    kind = "Nothing but baselines" if best.baseline else "No baseline"
    return (
        f"{kind} was trained; {best.name} is best with {number(standings.mean(best.name).mean)} "
        f"{standings.metric} on {standings.part}."
    )


def _nothing(standings: Leaderboard) -> str:
    failed = standings.failed()
    if failed:
        return f"All {len(failed)} trainings failed, the first by {failed[0].error[:200]}."
    return "No training has ended yet: there is nothing to compare."


def _caveats(standings: Leaderboard) -> list[str]:
    said = []
    others = [e for e in standings.ranking if not e.baseline]
    if len(others) > 1:
        said.append(
            f"{len(others)} models stood against the baselines and the best of them is named, "
            "which flatters it a little: it was picked by the numbers it is shown with."
        )
    if failed := standings.failed():
        said.append(f"{len(failed)} of {len(standings.evaluations)} trainings failed.")
    return said
