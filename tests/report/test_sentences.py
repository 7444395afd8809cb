"""Every sentence of table and verdict in the corner cases: what is said is so, word by word."""

import re
from pathlib import Path

import pytest

from tests.helpers import fakes
from yolo_nas_ext import report
from yolo_nas_ext.report.summary import Findings
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study.measure import Measure
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.study import Study

MAP = Measure("mAP50-95")
RANKED = Measure("mAP50-95", "host_fitness", "the root of the FLOPs times what was measured")
SCORE = Measure("madnas score", exact=True)
TUNED = Measure("madnas score", exact=True, trained="mAP50-95")


def record(*trials, measure=MAP, goal=None, **more):
    """A record of (fitness, name, further fields); a fitness of None has failed."""
    study = Study(ChoiceSpace({"a": range(99)}), goal=goal, measure=measure, **more)
    for number, (fitness, name, *fields) in enumerate(trials):
        given = fields[0] if fields else {}
        point = study.space.point({"a": number})
        error = "memory: no room" if fitness is None else ""
        fakes.add(study, fitness, **({"name": name, "point": point, "error": error} | given))
    return study


def ranked(*trials, **more):
    """A record of (measured, FLOPs, name), ranked by their projection."""
    rows = [
        (
            m * f**0.5,
            name,
            {"metrics": {"fitness": m * f**0.5, "host_fitness": m}, "cost": {"flops": f}},
        )
        for m, f, name in trials
    ]
    return record(*rows, measure=RANKED, **more)


def outside(fitness, name):
    return (fitness, name, {"point": None})


def twice(study, *again):
    for number, fitness in again:
        study.record_repeat(number, [fitness])
    return study


def trained(study, *own):
    for number, fitness in own:
        study.record_confirmation(number, {"fitness": fitness})
    return study


LIMIT = Goal(("fitness",), {"latency_ms": 5.0})
BOTH = Goal(("fitness", "latency_ms"))
LATENCY = Goal(("latency_ms", "fitness"))


def timed(fitness, ms, name=""):
    return (fitness, name, {"metrics": {"fitness": fitness, "latency_ms": ms}})


CASES = {
    "nothing": record(),
    "running": record((None, "", {"state": "running", "error": ""})),
    "all failed": record((None, ""), (None, "")),
    "one failed": record((None, "")),
    "baselines alone": record((0.5, "a"), (0.6, "b")),
    "one baseline": record((0.5, "a")),
    "level baselines": record((0.5, "a"), (0.5, "b")),
    "baselines and failures": record((0.5, "a"), (None, "")),
    "one trial": record((0.5, "")),
    "one trial, zero": record((0.0, "")),
    "all zero": record((0.0, "a"), (0.0, ""), (0.0, "")),
    "all zero, of a score": record((0.0, ""), (0.0, ""), measure=SCORE),
    "baselines zero": record((0.0, "a"), (0.0, "b")),
    "best found": record((0.5, "a"), (0.6, "")),
    "tiny": record((0.00005, "a"), (0.00012, "")),
    "equals among the found": record((0.5, "a"), (0.6, ""), (0.6, "")),
    "equals without a baseline": record((0.6, ""), (0.6, ""), (0.1, "")),
    "tie with the baseline": record((0.5, "a"), (0.5, "")),
    "baseline best": record((0.6, "a"), (0.5, "")),
    "baseline outside best": record(outside(0.6767, "a"), (0.6723, "")),
    "baseline inside and outside": record(outside(0.9, "b"), (0.6, "a"), (0.5, "")),
    "negative scores": record((-5.0, ""), (-3.0, ""), measure=SCORE),
    "failed baseline": record((None, "a"), (0.5, ""), (0.4, "")),
    "limits": record(timed(0.9, 9.0), timed(0.5, 4.0), goal=LIMIT),
    "limits, with a baseline": record(
        timed(0.4, 4.0, "a"), timed(0.9, 9.0), timed(0.5, 4.0), goal=LIMIT
    ),
    "limits that none keeps": record(timed(0.9, 9.0), goal=LIMIT),
    "limits that none but a baseline keeps": record(
        timed(0.5, 4.0, "a"), timed(0.9, 9.0), goal=LIMIT
    ),
    "two objectives": record(timed(0.5, 4.0, "a"), timed(0.6, 9.0), timed(0.4, 3.0), goal=BOTH),
    "latency first": record(timed(0.5, 4.0, "a"), timed(0.6, 9.0), timed(0.4, 3.0), goal=LATENCY),
    "parent best": record((0.6, "p"), (0.5, ""), parent="p"),
    "parent beaten, pencil not": record(
        (0.4, "p"), (0.6, "h"), (0.5, ""), parent="p", pencils=("h",)
    ),
    "level with the pencil": record((0.4, "p"), (0.5, "h"), (0.5, ""), parent="p", pencils=("h",)),
    "another baseline above the parent": record((0.4, "p"), (0.7, "b"), (0.5, ""), parent="p"),
    "another baseline, parent above": record((0.6, "p"), (0.7, "b"), (0.5, ""), parent="p"),
    "trained twice": twice(record((0.5, "a"), (0.9, ""), (0.8, "")), (1, 0.5), (2, 0.6), (0, 0.6)),
    "one trained twice": twice(record((0.5, "a"), (0.7, "")), (1, 0.9)),
    "winner not trained twice": twice(record((0.5, "a"), (0.7, ""), (0.72, "")), (2, 0.3)),
    "repeats failed": twice(record((0.5, "a"), (0.7, ""))),
    "trained alone": trained(
        record((0.5, "a"), (0.7, ""), (0.6, "")), (0, 0.2), (1, 0.3), (2, 0.4)
    ),
    "one trained alone": trained(record((0.7, ""), (0.6, "")), (0, 0.3)),
    "a score, trained alone": trained(
        record((80.0, "a"), (90.0, ""), (85.0, ""), measure=TUNED), (0, 0.2), (1, 0.3), (2, 0.25)
    ),
    "ranked": ranked((0.4, 4, "a"), (0.5, 16, ""), (0.3, 9, "")),
    "ranked first, measured lower": ranked((0.4, 4, "a"), (0.3, 16, ""), (0.35, 4, "")),
    "ranked first, another higher": ranked((0.2, 4, "a"), (0.3, 16, ""), (0.45, 1, "")),
    "ranked, baseline first": ranked((0.4, 16, "a"), (0.3, 4, "")),
    "ranked, nothing learned": ranked((0.0, 4, "a"), (0.0, 16, "")),
    "ranked, trained twice": ranked((0.4, 4, "a"), (0.5, 16, "")),
}
CASES["repeats failed"].record_repeat(1, [])
CASES["ranked, trained twice"].record_repeat(1, [{"fitness": 1.2, "host_fitness": 0.3}])

SAID = Path(__file__).with_name("sentences.txt")


def printed(study):
    found = Findings(study)
    lead = [found.lead()] if found.lead() else []
    return "\n".join([report.summary_table(study), "", *found.verdict(), *lead])


def everything():
    return "".join(f"# {name}\n{printed(study)}\n\n" for name, study in CASES.items())


def test_all_sentences_are_those_that_were_read():
    """What was read and found true; ``python -m tests.report.test_sentences`` writes it anew."""
    assert everything() == SAID.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_to_be_best_is(name):
    study = CASES[name]
    text = printed(study)
    found = Findings(study)
    assert not re.search(r"\b(nan|inf|projected)\b", text)
    shown = [t.trained.fitness if found.trained else t.fitness for t in found.compared]
    for line in text.splitlines():
        told = re.search(r"^(\S+(?: \d+)?) is best: mAP50-95 (\S+?),", line)
        assert not told or float(told[2]) == max(shown)
        if "<- best" in line and not re.search("<- best (found|in|lat|fit)", line):
            assert not [v for v in shown if v > found.best.trained.fitness]
    if shown and found.study.goal.objectives[0] == "fitness":
        assert ("have 0 " in text or "has 0 " in text) == (not any(shown))


def test_a_projection_is_printed_and_plotted_by_nothing():
    study = ranked((0.123, 4e9, "a"), (0.234, 16e9, ""), (0.345, 9e9, ""))
    csv = report.trials_csv(study).splitlines()
    head = csv[0].split(",")
    assert [row.split(",")[head.index("fitness")] for row in csv[1:]] == ["0.123", "0.234", "0.345"]
    assert "projected_fitness" in head and "host_fitness" not in head
    html = report.page(study, title="x", settings={})
    for trial in study.trials:
        assert f"{trial.fitness:.4g}" not in printed(study)
        assert html.count(f">{trial.fitness:.4g}<") == 1  # in the column of its own
    assert "mAP50-95 against FLOPs" in html and ">Rank<" in html and ">Projected<" in html
    assert not re.search(r"[Ff]itness (0|against)", html)


def test_a_record_says_what_its_fitness_is(tmp_path):
    space = ChoiceSpace({"a": range(9)})
    Study(space, tmp_path / "study.db", measure=RANKED)
    assert Study(space, tmp_path / "study.db").measure == RANKED
    assert Study(space, tmp_path / "other.db").measure == Measure()


if __name__ == "__main__":
    SAID.write_text(everything(), encoding="utf-8")
