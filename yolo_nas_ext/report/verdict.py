"""The verdict of a comparison in plain sentences, on the terminal, in a file and on a page."""

from __future__ import annotations

import math

from yolo_nas_ext.console import duration, number, signed
from yolo_nas_ext.study.differences import LEVEL, Difference
from yolo_nas_ext.study.leaderboard import EQUAL, PARENT, PENCIL, STOCK, Leaderboard, Model

COSTS = {"latency_ms": "measured latency", "flops": "FLOPs"}


def sentences(leaderboard: Leaderboard) -> list[str]:
    """Return what was found, the most important sentence first; before it what spoils it all."""
    leak = leaderboard.leak
    spoilt = [f"Beware: {leak[:1].upper()}{leak[1:]}."] if leak else []
    return [*spoilt, *_sentences(leaderboard)]


def _sentences(leaderboard: Leaderboard) -> list[str]:
    found, baseline = leaderboard.best_other, leaderboard.reference
    if leaderboard.ranking and all(leaderboard.mean(e.name).mean == 0 for e in leaderboard.ranking):
        names = ", ".join(model.name for model in leaderboard.ranking)
        return [
            f"{names}: all have 0 {leaderboard.metric} on {leaderboard.part}. These trainings are "
            "too short to tell models apart; give more epochs.",
            *_caveats(leaderboard),
        ]
    if found is None and baseline is None:
        return [_nothing(leaderboard)]
    if found is None or baseline is None:
        parts = _parts(leaderboard, found)
        alone = _quantised(leaderboard, *leaderboard.ranking[:1])
        return [*(parts or [_alone(leaderboard)]), *alone, *_caveats(leaderboard)]
    said = [_headline(leaderboard, found, baseline), *_tests(leaderboard, found, baseline)]
    return [
        *said,
        *_parts(leaderboard, found),
        *_beside_pencil(leaderboard, found),
        *_at_its_cost(leaderboard, found, baseline),
        *_quantised(leaderboard, found, baseline),
        *_search(leaderboard, found, baseline),
        *_caveats(leaderboard),
    ]


def _quantised(leaderboard: Leaderboard, *models: Model) -> list[str]:
    """Say what models are in another precision, and what of their accuracy that retains."""
    precision, said = leaderboard.precision, []
    for model in models:
        value = leaderboard.mean_of(model.name, f"{precision}_fitness")
        share = leaderboard.mean_of(model.name, f"{precision}_retained")
        if not math.isnan(value) and not math.isnan(share):
            said.append(f"{model.name} has {number(value)} ({share:.1%} retained)")
    return [f"In {precision} {', '.join(said)}."] if said else []


def better(leaderboard: Leaderboard) -> Model | None:
    """Return the model to take: the one of the highest mean."""
    return leaderboard.ranking[0] if leaderboard.ranking else None


def shown(pair: Difference) -> str:
    """Return a difference with its interval, ``+0.0312 (0.0100 to 0.0524)``."""
    if pair.n < 2:
        return signed(pair.mean)
    return f"{signed(pair.mean)} ({signed(pair.low)} to {signed(pair.high)})"


def _parts(leaderboard: Leaderboard, found: Model | None) -> list[str]:
    """Say what the recipe gives and what the network does, in a search from trained weights."""
    parent, stock = leaderboard.of_role(PARENT), leaderboard.of_role(STOCK)
    if parent is None or stock is None:
        return []
    recipe = leaderboard.difference(parent.name, stock.name)
    mine, theirs = (number(leaderboard.mean(m.name).mean) for m in (parent, stock))
    text = (
        f"Fine-tuned by stock Ultralytics, {parent.name} has {theirs} {leaderboard.metric} on "
        f"{leaderboard.part}, by the recipe here {mine}"
    )
    if found is None:
        return [f"{text}: {shown(recipe)}."]
    network = leaderboard.difference(found.name, parent.name)
    return [
        f"{text}: the recipe gives {shown(recipe)}, the network that was found {shown(network)}."
    ]


def _beside_pencil(leaderboard: Leaderboard, found: Model) -> list[str]:
    """Say whether what was found beats what a hand would try."""
    pencil = leaderboard.of_role(PENCIL)
    if pencil is None:
        return []
    pair = leaderboard.difference(found.name, pencil.name)
    if pair.mean > 0:
        sure = "" if pair.low > 0 else ", which may be chance"
        return [
            f"Beside the best that a hand would try, {pencil.name} "
            f"({number(leaderboard.mean(pencil.name).mean)}), it is {shown(pair)}{sure}."
        ]
    return [
        f"Nothing that was found beats the best that a hand would try: {pencil.name} has "
        f"{number(leaderboard.mean(pencil.name).mean)}, which {found.name} is {shown(pair)} from."
    ]


def _headline(leaderboard: Leaderboard, found: Model, baseline: Model) -> str:
    called = "the parent" if baseline.role == PARENT else "the best baseline"
    kind = "The parent" if baseline.role == PARENT else "A baseline"
    pair, metric = leaderboard.difference(found.name, baseline.name), leaderboard.metric
    mine, theirs = (number(leaderboard.mean(e.name).mean) for e in (found, baseline))
    if not pair.n:
        return (
            f"{found.name} and {baseline.name} have not both finished a training: nothing to "
            "compare."
        )
    if pair.mean == 0:
        return (
            f"{found.name} and {baseline.name}, {called}, are equal: {theirs} {metric} on "
            f"{leaderboard.part}{_times(leaderboard, found, baseline)}."
        )
    if pair.mean < 0:
        return (
            f"{kind} is {'better' if pair.high < 0 else 'at least as good'}: {baseline.name} "
            f"is {number(-pair.mean)} above {found.name}, the best of the others, in {metric} on "
            f"{leaderboard.part}: {theirs} against {mine}{_times(leaderboard, baseline, found)}."
        )
    sure = "" if pair.low > 0 else ", which may be chance"
    return (
        f"{found.name} is {number(pair.mean)} above {baseline.name}, {called}, in "
        f"{metric} on {leaderboard.part}: {mine} against {theirs}"
        f"{_times(leaderboard, found, baseline)}{sure}."
    )


def _times(leaderboard: Leaderboard, model: Model, other: Model) -> str:
    ratio = leaderboard.ratio(model, other)
    return "" if math.isnan(ratio) else f", at {ratio:.2f} times its {COSTS[leaderboard.cost]}"


def _tests(leaderboard: Leaderboard, found: Model, baseline: Model) -> list[str]:
    pair = leaderboard.difference(found.name, baseline.name)
    if pair.n < 2:
        most = max(len(leaderboard.values(model.name)) for model in (found, baseline))
        who = "Both were" if most < 2 else "One of them was"
        return [f"{who} trained once: nothing says how much of the difference is chance."]
    how = "Student's t" if pair.of == 1 else f"Dunnett's test, for the best of {pair.of}"
    if not pair.alike:
        how = "Welch's t, as they spread unlike" + (f", for the best of {pair.of}") * (pair.of > 1)
    return [
        f"Over {_seeds(leaderboard, found, baseline)}: {signed(pair.mean)}, {LEVEL:.0%} interval "
        f"{signed(pair.low)} to {signed(pair.high)}, p = {pair.p:.3g} ({how})."
    ]


def _seeds(leaderboard: Leaderboard, *models: Model) -> str:
    """Return how many seeds two models were trained with."""
    one, other = (len(leaderboard.values(model.name)) for model in models)
    return f"{one} seeds each" if one == other else f"{one} and {other} seeds"


def _at_its_cost(leaderboard: Leaderboard, found: Model, baseline: Model) -> list[str]:
    """Name the best model at no more cost, and one that is as good at half of it."""
    said, cost = [], COSTS[leaderboard.cost]
    within = leaderboard.within()
    if leaderboard.ratio(found, baseline) > 1:
        if within:
            pair = leaderboard.difference(within.name, baseline.name)
            said.append(
                f"At no more {cost} than {baseline.name}, the best of the others is {within.name}: "
                f"{shown(pair)}."
            )
        else:
            said.append(f"No other model has at most the {cost} of {baseline.name}.")
    cheap = leaderboard.cheaper()
    if cheap is not None:
        pair = leaderboard.difference(cheap.name, baseline.name)
        at = f"at {leaderboard.ratio(cheap, baseline):.2f} times its {cost}"
        mean = number(leaderboard.mean(cheap.name).mean)
        if pair.low >= -EQUAL:
            said.append(f"{cheap.name} is as good as {baseline.name} to {EQUAL} ({mean}) {at}.")
        else:
            least = "" if pair.n < 2 else f", and {number(-pair.low)} less is within the interval"
            said.append(
                f"{cheap.name} has {mean} {at}: {signed(pair.mean)}{least}. That it is as good to "
                f"{EQUAL} is not shown."
            )
    return said


def _search(leaderboard: Leaderboard, found: Model, baseline: Model) -> list[str]:
    """Say what the search cost beside what it gained."""
    if found.search_seconds is None:
        return []
    text = f"The search that found it took {duration(found.search_seconds)}"
    one = leaderboard.seconds(baseline.name)
    if one > 0:
        text += f", as much as {found.search_seconds / one:.1f} trainings of {baseline.name}"
    return [f"{text}."]


def _alone(leaderboard: Leaderboard) -> str:
    best = leaderboard.ranking[0]
    kind = "Nothing but baselines" if best.baseline else "No baseline"
    return (
        f"{kind} was trained; {best.name} is best with {number(leaderboard.mean(best.name).mean)} "
        f"{leaderboard.metric} on {leaderboard.part}."
    )


def _nothing(leaderboard: Leaderboard) -> str:
    failed = leaderboard.failed()
    if failed:
        return f"All {len(failed)} trainings failed, the first by {failed[0].error[:200]}."
    return "No training has ended yet: there is nothing to compare."


def _caveats(leaderboard: Leaderboard) -> list[str]:
    said = []
    others = [e for e in leaderboard.ranking if not e.baseline]
    if len(others) > 1:
        said.append(
            f"{len(others)} models stood against the baselines and the best of them is named, "
            "which flatters its mean a little; the interval allows for it."
        )
    if len({bool(model.weights) for model in leaderboard.ranking}) > 1:
        said.append(
            "Some models started from trained weights and some from random ones, which take many "
            "more epochs to come as far."
        )
    if failed := leaderboard.failed():
        said.append(f"{len(failed)} of {len(leaderboard.evaluations)} trainings failed.")
    return said
