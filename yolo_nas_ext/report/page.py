"""The page of a search: what was found first, then the plots, the networks, the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from yolo_nas_ext import __version__
from yolo_nas_ext.console import duration, number, short, signed
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.report.charts import (
    marker,
    pareto_chart,
    progress_chart,
    star,
    tooltip,
    volume_chart,
)
from yolo_nas_ext.report.comparison_page import section, verdict
from yolo_nas_ext.report.drawing import drawing, previewed, previews
from yolo_nas_ext.report.html import (
    Cell,
    Markup,
    command_block,
    document,
    element,
    join,
    pairs,
    picture,
    table,
    wide,
)
from yolo_nas_ext.report.importances import importance_section
from yolo_nas_ext.report.summary import Findings, label, metric_names, pixels, sized
from yolo_nas_ext.study.leaderboard import Leaderboard
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

# Metrics that repeat a cost in another unit.
REPEATED = {"params_m", "flops_g", "memory_mb"}
POINT = (
    "Point at a network, or tap it, to see its drawing; other marks lead to their row in the table."
)
TITLES = {
    "map50_95": "mAP50-95",
    "map50": "mAP50",
    "latency_ms": "Latency (ms)",
    "latency_measured_ms": "Latency measured (ms)",
    "latency_iqr_ms": "Its quartiles apart (ms)",
}
LATENCY = ("latency_ms", "latency_measured_ms")


def page(
    study: Study,
    *,
    title: str,
    settings: Mapping[str, object],
    notes: Sequence[str] = (),
    command: str = "",
    next_command: str = "",
    data_name: str = "",
    protocol: Mapping[str, object] = MappingProxyType({}),
    pictures: Mapping[str, Path] = MappingProxyType({}),
    finals: Leaderboard | None = None,
    finals_protocol: Mapping[str, object] = MappingProxyType({}),
    finals_command: str = "",
    beside: Mapping[str, Architecture] = MappingProxyType({}),
) -> str:
    """Return the report of a search as one HTML page for any screen and for paper.

    Nothing is loaded from anywhere, and a content security policy with the digests of the page's
    own style and script keeps a browser from running anything else.

    Args:
        study: The record; any number of complete trials, none included.
        title: Heading.
        settings: Settings of the search by name.
        notes: What the reader should know, for example of skipped images.
        command: What was run, to repeat it.
        next_command: What to run next.
        data_name: Name of the data set.
        protocol: How candidates were judged, by name.
        pictures: PNG files to show, by what they show; those that do not exist are left out.
        finals: What complete trainings at the end said; their verdict comes first then.
        finals_protocol: How they were trained and measured, by name.
        finals_command: What repeats them.
        beside: Hand-made networks to draw beside the best one, by name.
    """
    findings = Findings(study)
    body = [
        element("h1", title),
        element("p", " · ".join(_counts(findings, finals, data_name)), class_="soft"),
        *(
            (verdict(finals), section(finals, "The finals"), element("h2", "The search"))
            if finals
            else ()
        ),
        _verdict(findings, "verdict second" if finals else "verdict"),
        element("ul", *(element("li", note) for note in notes)) if notes else "",
        _front(findings, finals),
        _networks(findings, finals, beside),
        importance_section(findings),
        _progress(findings),
        _trials(findings),
        _failures(findings),
        *(picture(name, path) for name, path in pictures.items() if path.is_file()),
        pairs("How candidates were judged", protocol),
        pairs("How the finals were held", finals_protocol),
        pairs("Settings", settings),
        command_block("Run this search again", command),
        command_block("Compare the finalists again", finals_command),
        command_block("Next", next_command),
        element("footer", element("p", f"Written by yolo_nas_ext {__version__}")),
    ]
    return document(title, join(*body))


def _counts(findings: Findings, finals: Leaderboard | None, data_name: str) -> list[str]:
    """Return what was done and what it took, in short."""
    counts = [f"{len(findings.trials)} trials", f"{len(findings.complete)} complete"]
    for state, trials in (("pruned", findings.pruned), ("failed", findings.failed)):
        counts += [f"{len(trials)} {state}"] if trials else []
    counts.append(duration(sum(t.seconds for t in findings.trials)))
    if finals:
        spent = duration(sum(result.seconds for result in finals.evaluations))
        counts.append(f"finals: {len(finals.evaluations)} trainings, {spent}")
    return counts + ([f"data: {data_name}"] if data_name else [])


def _verdict(findings: Findings, kind: str) -> Markup:
    sentences = findings.verdict()
    if lead := findings.lead():
        sentences.insert(1, f"{lead[0].upper()}{lead[1:]}.")
    return element("div", *(element("p", s) for s in sentences), class_=kind)


def _front(findings: Findings, finals: Leaderboard | None) -> Markup:
    """Return the front: its chart, the drawing of the network that is pointed at, its table."""
    if not findings.trials:
        return Markup()
    parts = [element("h2", "The Pareto front")]
    if findings.has_flops:
        trials = previewed(findings)
        chart = element(
            "figure",
            element("h3", "Fitness against FLOPs"),
            pareto_chart(findings, {t.number for t in trials}),
            _legend(findings, "Pareto front"),
            element("figcaption", POINT) if trials else "",
        )
        said = (
            {
                e.name: f"{number(finals.mean(e.name).mean)} {finals.metric} in the finals"
                for e in finals.ranking
            }
            if finals
            else {}
        )
        parts.append(element("div", chart, previews(trials, said), class_="pair look"))
    return join(*parts, _front_table(findings)) if findings.front or len(parts) > 1 else Markup()


def _progress(findings: Findings) -> Markup:
    if not findings.trials:
        return Markup()
    name, line = "Best so far", "best so far"
    content = [
        element("figure", element("h3", name), progress_chart(findings), _legend(findings, line))
    ]
    if findings.volumes:
        content.append(_volume(findings))
    return join(element("h2", "Progress"), element("div", *content, class_="pair"))


def _volume(findings: Findings) -> Markup:
    names = ", ".join(findings.study.goal.objectives)
    text = (
        f"What the front dominates of {names}, each scaled to 0 for the worst candidate and 1 for "
        f"the best, above a tenth below the worst: {number(findings.volumes[-1][1])} at the end."
    )
    return element(
        "figure", element("h3", "Hypervolume"), volume_chart(findings), element("figcaption", text)
    )


def _legend(findings: Findings, line: str) -> Markup:
    shades = [
        element("circle", cx=7 + 12 * at, cy=10, r=5, class_=f"o{shade}")
        for at, shade in enumerate((0, 3, 5, 7))
    ]
    items = [
        (element("svg", element("path", d="M0 10H26", class_="front"), viewBox="0 0 26 20"), line),
        (element("svg", star(), viewBox="-10 -10 20 20"), "best"),
    ]
    if line != "best so far":
        items.insert(0, (element("svg", *shades, viewBox="0 0 50 20"), "first to last trial"))
    if findings.baselines:
        items.append((element("svg", marker(0), viewBox="-10 -10 20 20"), "hand-made"))
    if findings.failed and line == "best so far":
        tick = element("path", d="M4 4V16", class_="failed")
        items.append((element("svg", tick, viewBox="0 0 8 20"), "failed"))
    return element("figcaption", *(element("span", *item) for item in items), class_="legend")


# Tables


def _front_table(findings: Findings) -> Markup:
    if not findings.front:
        return Markup()
    hand = findings.best_baseline
    known = [n for n in LATENCY if any(n in trial.metrics for trial in findings.front)]
    others = dict.fromkeys([*findings.study.goal.objectives, *known])
    others = [n for n in others if n not in {"fitness", *REPEATED}]
    heads = [_noun(findings), "Fitness", *(TITLES.get(n, n) for n in others)]
    heads += ["px"] * sized(findings.study) + ["Parameters", "FLOPs"]
    heads += [f"Fitness over {hand.name}", f"FLOPs over {hand.name}"] if hand else []
    rows = []
    for trial in findings.front:
        more = [_value(trial.metrics.get(name)) for name in others]
        cells: list[Cell] = [_network(trial), _fitness(trial), *more]
        cells += [_pixels(trial)] * sized(findings.study) + _costs(trial)
        if hand:
            gain = trial.fitness - hand.fitness
            cells.append((signed(gain), gain))
            flops = [t.cost.get("flops", 0.0) for t in (trial, hand)]
            ratio = flops[0] / flops[1] if all(flops) else None
            cells.append((f"{ratio:.2f} times" if ratio else "", ratio or ""))
        rows.append((_kind(findings, trial), None, cells))
    goal = findings.study.goal.objectives
    if len(goal) > 1:
        text = f"Nothing that was judged is at least as good as one of these in {', '.join(goal)}."
    elif findings.has_flops:
        text = "Nothing else in the space that was judged is both cheaper and at least as good."
    else:
        text = "Without costs, the front is the best candidate."
    return join(element("p", text, class_="soft"), table(heads, rows, "front-table"))


def _trials(findings: Findings) -> Markup:
    if not findings.trials:
        return Markup()
    trials = findings.trials
    metrics = [name for name in metric_names(trials) if name not in REPEATED]
    generic = [t for t in trials if t.architecture is None and t.point is not None]
    heads = ["Trial", _noun(findings), "State", "Fitness", *(TITLES.get(m, m) for m in metrics)]
    heads += ["px"] * sized(findings.study) + ["Parameters", "FLOPs", "Memory", "Layers", "Seconds"]
    heads += ["Choices"] * bool(generic) + ["Error"] * bool(findings.failed)
    rows = []
    for trial in trials:
        cells: list[Cell] = [
            (trial.number + 1, trial.number + 1),
            (label(trial), None),
            (trial.state, None),
            _fitness(trial),
            *(_value(trial.metrics.get(m)) for m in metrics),
            *[_pixels(trial)] * sized(findings.study),
            *_costs(trial),
            _cost(trial, "memory_bytes", "B"),
            _cost(trial, "layers"),
            (f"{trial.seconds:.1f}", trial.seconds),
        ]
        if generic:
            choices = ", ".join(f"{n}={v}" for n, v in (trial.point or {}).items())
            cells.append((wide(choices), None))
        if findings.failed:
            cells.append((wide(trial.error), None))
        rows.append((_kind(findings, trial), f"trial-{trial.number}", cells))
    return join(element("h2", "All trials"), table(heads, rows, "sortable", tall=True))


def _failures(findings: Findings) -> Markup:
    if not findings.failed:
        return Markup()
    rows = []
    for kind, trials in findings.failures.items():
        error = trials[0].error.removeprefix(f"{kind}:").strip()
        cells: list[Cell] = [(kind, None), (len(trials), len(trials)), (wide(error), None)]
        rows.append(("", None, cells))
    return join(element("h2", "Failures"), table(["Kind", "Trials", "First message"], rows, ""))


def _noun(findings: Findings) -> str:
    return "Network" if any(t.architecture for t in findings.trials) else "Candidate"


def _kind(findings: Findings, trial: Trial) -> str:
    if findings.best is not None and trial.number == findings.best.number:
        return "best-row"
    return "hand" if trial.name else ""


def _network(trial: Trial) -> Cell:
    return element("a", label(trial), href=f"#trial-{trial.number}", title=tooltip(trial)), None


def _fitness(trial: Trial) -> Cell:
    return (number(trial.fitness), trial.fitness) if trial.state == "complete" else ("", "")


def _value(value: float | None) -> Cell:
    return ("", "") if value is None else (number(value), value)


def _pixels(trial: Trial) -> Cell:
    size = pixels(trial)
    return (str(size), size) if size else ("", "")


def _costs(trial: Trial) -> list[Cell]:
    return [_cost(trial, "params"), _cost(trial, "flops")]


def _cost(trial: Trial, name: str, unit: str = "") -> Cell:
    value = trial.cost.get(name)
    return ("", "") if value is None else (short(value) + unit, value)


# The rest


def _networks(
    findings: Findings, finals: Leaderboard | None, beside: Mapping[str, Architecture]
) -> Markup:
    """Return the drawings of the answer and of the hand-made networks it is to be seen beside."""
    best = _answer(findings, finals)
    shown: dict[str, Architecture] = {}
    if best is not None and best.architecture is not None:
        shown[f"{label(best)}, best found"] = best.network
    hand = findings.best_baseline
    hand_made = {**beside}
    if hand is not None and hand.architecture is not None:
        hand_made.setdefault(hand.name, hand.network)
    shown |= {f"{name}, hand-made": network for name, network in hand_made.items()}
    figures = [
        element("figure", element("h3", text), drawing(network, text))
        for text, network in shown.items()
    ]
    if not figures:
        return Markup()
    note = (
        "A box is a block: its kind and kernel, its channels, ×repeats, /2 where it halves the "  # noqa: RUF001
        "resolution. P3 is the level of stride 8."
    )
    return join(
        element("h2", "The networks"),
        element("p", note, class_="soft"),
        element("div", *figures, class_="pair"),
    )


def _answer(findings: Findings, finals: Leaderboard | None) -> Trial | None:
    """Return the best found network: by the finals where they know one, else by the search."""
    best = finals.best_other if finals else None
    named = (t for t in findings.found if best and label(t) == best.name)
    return next(named, findings.best_found)
