import csv
import io
import json
import math
import random
import re
import subprocess
import sys
import warnings
from html.parser import HTMLParser
from statistics import median

import numpy as np
import pytest
from PIL import Image

from tests.helpers import fakes
from yolo_nas_ext import report
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.report import axes, charts
from yolo_nas_ext.report.drawing import Picture
from yolo_nas_ext.report.summary import Findings, label
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

NOT_FINITE = r"\b(nan|inf)\b"
PAGE = {"title": "A search", "settings": {"data": "cells.yaml", "trials": 3, "max_flops": None}}


@pytest.fixture(scope="module")
def study():
    return fakes.detectors(30)


def rows(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def cells(html, kind):
    """Rows of the first column's texts and links of a table of this class."""
    table = re.search(rf'<table class="{kind}">(.*?)</table>', html, re.S)
    return re.findall(r"<tr[^>]*>(.*?)</tr>", table.group(1), re.S)[1:]


class Reader(HTMLParser):
    """Every element and attribute of a page; fails where elements do not close in order."""

    def __init__(self, html):
        super().__init__()
        self.seen, self.open = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


# Several objectives


def several(values, limits=None):
    study = Study(ChoiceSpace({"a": range(99)}), goal=Goal(("fitness", "latency_ms"), limits or {}))
    for number, (fitness, latency) in enumerate(values):
        metrics = {"fitness": fitness, "latency_ms": latency}
        point = study.space.point({"a": number})
        study.add([Trial(number, point, state="complete", metrics=metrics)])
    return study


def test_hypervolume_after_each_trial_in_closed_form():
    """Scaled: (0, 1), (1, 0), (0.5, 0.5) above (-0.1, -0.1); (0.5, 0.25) adds none."""
    study = several(
        [(0.2, 10.0), (0.6, 30.0), (0.4, 20.0), (0.4, 25.0), (0.9, 99.0)], {"latency_ms": 40.0}
    )
    found = Findings(study).volumes
    assert [number for number, _ in found] == [0, 1, 2]
    expected = [0.1 * 1.1, 0.11 + 0.1 * 1.0, 0.11 + 0.1 + 0.5 * 0.5]
    assert [volume for _, volume in found] == pytest.approx(expected)
    assert Findings(several([])).volumes == [] == Findings(fakes.table(5)).volumes


def test_the_page_shows_hypervolume_and_objectives_where_there_are_several():
    html = report.page(several([(0.2, 10.0), (0.6, 31.25)]), **PAGE)
    Reader(html)
    assert "Hypervolume after each trial" in html and "fitness, latency_ms" in html
    assert any("31.25" in row for row in cells(html, "front-table"))
    assert "Hypervolume" not in report.page(fakes.table(5), **PAGE)


def test_a_shared_record_has_gaps_in_its_numbers():
    study = several([(0.2, 10.0)])
    study.add([Trial(7, study.space.point({"a": 7}), state="complete", metrics={"fitness": 0.5})])
    assert "2 trials" in report.page(study, **PAGE) and Findings(study).best.number == 7


# CSV


def test_csv_round_trip(study):
    found = rows(report.trials_csv(study))
    assert len(found) == len(study.trials)
    for row, trial in zip(found, study.trials, strict=True):
        assert int(row["number"]) == trial.number and row["state"] == trial.state
        assert row["key"] == trial.network.key and row["name"] == trial.name
        assert row["error"] == trial.error and float(row["seconds"]) == trial.seconds
        for name in ("params", "flops", "memory_bytes", "layers"):
            assert int(row[name]) == trial.cost[name]
        for name, value in trial.metrics.items():
            assert float(row[name]) == value
        for name, value in (trial.point or {}).items():
            assert row[f"choice.{name}"] == str(value)
        if trial.state == "failed":
            assert row["fitness"] == "" == row["epochs"]
    head = report.trials_csv(study).split("\r\n", 1)[0].split(",")
    assert head[:7] == ["number", "key", "name", "state", "fitness", "map50_95", "map50"]
    assert head.index("layers") < head.index("seconds") < head.index("error")
    assert head[head.index("error") + 1 :][:3] == ["epochs", "imgsz", "choice.stem.block"]


def test_json_lines_hold_all_that_is_known_of_a_trial(study):
    for line, trial in zip(report.trials_jsonl(study).splitlines(), study.trials, strict=True):
        row = json.loads(line)
        assert Architecture.from_dict(row["architecture"]) == trial.architecture
        assert row["metrics"] == trial.metrics and row["cost"] == trial.cost
        assert row["point"] == (None if trial.point is None else dict(trial.point))
        assert {int(epoch): value for epoch, value in row["curve"].items()} == trial.curve


def test_csv_neutralises_formulas_and_keeps_odd_text():
    study = fakes.table(2)
    errors = [
        "=HYPERLINK(1)",
        "+1",
        "-1",
        "@x",
        "\tx",
        'a "quoted", text\nin two lines',
        " =1",
        "é",
    ]
    for error in errors:
        fakes.add(study, None, error=error, name=error)
    found = rows(report.trials_csv(study))
    for row, error in zip(found[2:], errors, strict=True):
        risky = error.lstrip(" ")[0] in "=+-@\t"
        assert row["error"] == row["name"] == ("'" + error if risky else error)
    assert {row["choice.b"] for row in found} <= {"x", "'=1+1"}
    assert {row["choice.odd"] for row in found} <= {"(1, 2)", "'-3"}


def test_csv_of_names_that_occur_twice_and_values_that_are_none():
    study = fakes.table(0)
    metrics = {"fitness": -0.5, "seconds": 2.0, "epochs": 1.0, "x": math.nan, "n": np.float32(-1)}
    fakes.add(study, 0.0, metrics=metrics, fidelity={"epochs": 3}, cost={"flops": 2.0, "x": 1.5})
    (row,) = rows(report.trials_csv(study))
    assert (row["fitness"], row["metric.seconds"], row["seconds"]) == ("-0.5", "2.0", "0.0")
    assert (row["epochs"], row["fidelity.epochs"]) == ("1.0", "3")
    assert (row["flops"], row["x"], row["cost.x"], row["n"]) == ("2", "", "1.5", "-1.0")


# Text


def test_summary(study):
    text = report.summary_table(study, top=3)
    lines = text.splitlines()
    best = next(line for line in lines if "<- best" in line)
    assert best.startswith(label(study.best)) and f"{study.best.fitness:.4f}" in best
    assert all(any(line.startswith(name) for line in lines) for name in fakes.baselines())
    assert sum(line.startswith("nas-") for line in lines) == 3
    assert "baseline, not in the space" in text and "trials failed" in text
    assert max(map(len, lines)) <= 100
    found = [t.fitness for t in study.complete if not t.name]
    assert report.first_random_median(study) == median(found[:10])
    gain = max(found) - median(found[:10])
    assert f"best found {max(found):.4f}, +{gain:.4f} over the median of the first 10" in text


def test_summary_of_failed_baselines_and_hostile_names():
    study = fakes.table(0)
    assert "No trial has ended" in report.summary_table(study)
    fakes.add(study, None, name="yolov8n\x1b[31m", error="memory: out of memory\nat line 3")
    text = report.summary_table(study)
    assert "failed (memory: out of memory at line 3)" in text and "\x1b" not in text
    assert report.first_random_median(study) is None
    fakes.add(study, 0.5, name="better", point=None)
    fakes.add(study, 0.4)
    assert "a baseline is best: better (+0.1000" in report.summary_table(study)


def named(study, *trials):
    """Add trials of (fitness, name) to a study."""
    for fitness, name in trials:
        fakes.add(study, fitness, name=name)
    return study


def test_the_parent_and_the_pencils_of_a_search_from_trained_weights():
    def record(*fitness):
        study = Study(fakes.table(0).space, parent="mine", pencils=("hand",))
        return named(study, *zip(fitness, ("mine", "hand", "yolov8n", ""), strict=True))

    won = record(0.4, 0.45, 0.7, 0.5)
    findings = Findings(won)
    assert findings.reference.name == "mine" and findings.best_baseline.name == "yolov8n"
    first, second, *_ = findings.verdict()
    assert "trial 4 has fitness 0.5000, 0.1000 above mine (0.4000), the parent" in first
    assert "0.0500 above the best that a hand would try, hand (0.4500)" in second
    assert "yolov8n, a baseline, has more: fitness 0.7000." in findings.verdict()
    text = report.summary_table(won)
    assert "0.0500 above the best that a hand would try" in text and "parent" in text
    assert "pencil" in text and "baseline" in text
    lost = record(0.4, 0.6, 0.1, 0.5)
    first, second, *_ = Findings(lost).verdict()
    assert first.startswith("Nothing that was found beats the best that a hand would try: hand has")
    assert " has fitness 0.5000, 0.1000 above mine (0.4000), the parent" in second
    assert "nothing that was found beats" in report.summary_table(lost)
    behind = record(0.7, 0.3, 0.1, 0.5)
    assert Findings(behind).verdict()[0].startswith("The parent is best: mine has")
    assert "the parent is better than what was found: mine (+0.2000" in report.summary_table(behind)


def test_verdict():
    def said(*trials):
        study = fakes.table(0)
        for fitness, more in trials:
            fakes.add(study, fitness, **more)
        return Findings(study).verdict()[0]

    baseline = {"name": "yolov8n", "cost": {"flops": 10.0, "params": 4.0}}
    ours = {"cost": {"flops": 5.0, "params": 1.0}}
    assert said() == "No trial has ended yet: there is nothing to compare."
    assert "all 2 trials failed, 2 of them by 'nan'" in said(*[(None, {"error": "nan: x"})] * 2)
    assert "only candidate evaluated: fitness 0.5000 (1 parameters" in said((0.5, ours))
    assert "yolov8n, the only baseline, has fitness 0.5000" in said((0.5, baseline))
    assert said((0.5, baseline), (0.6, ours)) == (
        "trial 2 is best: fitness 0.6000, 0.1000 above yolov8n (0.5000), the best baseline, "
        "with 0.50 times its FLOPs and 0.25 times its parameters."
    )
    assert "equals yolov8n" in said((0.5, baseline), (0.5, ours))
    assert said((0.5, baseline | {"point": None}), (0.4, ours)).startswith(
        "A baseline is best: yolov8n, which is not in the search space, has fitness 0.5000"
    )


# Page


def test_what_breaks_a_limit_is_no_answer():
    def searched(bound: float) -> Study:
        goal = Goal(("fitness", "latency_ms"), {"latency_ms": bound})
        study = Study(fakes.table(0).space, goal=goal)
        for fitness, latency in [(0.9, 9.0), (0.5, 5.0), (0.4, 6.0)]:
            fakes.add(study, fitness, metrics={"fitness": fitness, "latency_ms": latency})
        return study

    kept = Findings(searched(7.0))
    assert (kept.best.number, kept.best_found.number) == (1, 1)
    assert [t.number for t in kept.front] == [1]  # the goal's front: the third costs more
    assert "fitness 0.5" in kept.verdict()[0]
    none = searched(1.0)
    assert Findings(none).best is None
    assert Findings(none).verdict() == [
        "None of 3 candidates keeps the limits (latency_ms 1): widen them, or search on."
    ]
    assert "None of 3 candidates" in report.page(none, **PAGE)


def test_page_shows_the_front_of_the_study(study):
    html = report.page(study, **PAGE)
    front = [re.search(r'href="#trial-(\d+)"', row).group(1) for row in cells(html, "front-table")]
    assert [int(number) for number in front] == [t.number for t in study.front]
    anchors = re.findall(r'<tr[^>]* id="trial-(\d+)"', html)
    assert [int(number) for number in anchors] == [t.number for t in study.trials]
    drawn = re.findall(r'<figure id="net-(\d+)"', html)
    baseline = [t.number for t in study.trials if t.name]
    assert {*map(int, drawn)} == {study.best.number, *(t.number for t in study.front), *baseline}
    assert set(re.findall(r'href="#net-(\d+)"', html)) == set(drawn)
    assert html.count('class="network"') == 2 + len(drawn) and html.count('class="chart"') == 2
    assert all(trial.error.split(":")[0] in html for trial in study.trials)


def test_page_names_the_image_size_where_networks_have_one(study):
    assert ">px<" not in report.page(study, **PAGE)
    space = DetectorSpace.load("tiny", sizes=(128, 160))
    sized = Study(space)
    for index, size in enumerate((128, 160)):
        point = space.point({**space.sample(random.Random(index)), "imgsz": size})
        fakes.add(sized, 0.1 + index / 10, point=point)
    html = report.page(sized, **PAGE)
    assert html.count(">px<") == 2  # of the front, and of all trials
    assert ">128<" in html and ">160<" in html


def test_page_loads_nothing_and_allows_its_own_script_only(study):
    html = report.page(study, **PAGE)
    assert "http:" not in html and "https:" not in html and "@import" not in html
    seen = Reader(html).seen
    for tag, attributes in seen:
        assert tag not in ("link", "img", "iframe", "object", "base", "form")
        assert "src" not in attributes and "style" not in attributes
        assert attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    policy = next(a["content"] for _, a in seen if a.get("http-equiv"))
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert [tag for tag, _ in seen].count("script") == 1


def test_commands_that_write_no_page_do_not_wait_for_templates(root):
    code = "import sys, yolo_nas_ext.report; print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_nothing_hostile_gets_through(tmp_path):
    bad = fakes.HOSTILE
    study = Study(ChoiceSpace({bad: (bad, "$x_{")}))
    fakes.add(study, 0.3, name=bad, cost={"flops": 1.0})
    fakes.add(study, 0.4, metrics={"fitness": 0.4, bad: 1.0}, fidelity={bad: 1}, cost={"flops": 2})
    fakes.add(study, 0.5, name="$\\frac{", cost={"flops": 3.0})
    fakes.add(study, 0.2, name="モデル\udcff\0", cost={"flops": 4.0}, point=None)
    fakes.add(study, None, error=f"{bad}: {bad}\x00\udcff")
    report.write(
        study,
        tmp_path,
        title=f"{bad} $\\frac{{ \udcff",
        settings={bad: bad, "list": (bad,)},
        notes=[bad],
        command=bad,
        next_command=bad,
        data_name=bad,
        protocol={bad: [bad]},
    )
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html and "alert(1)" in html and "\0" not in html
    assert [tag for tag, _ in Reader(html).seen].count("script") == 1
    assert len(rows((tmp_path / "trials.csv").read_text(encoding="utf-8"))) == 5


def test_no_label_of_a_chart_is_cut_on_a_narrow_screen(study):
    """A letter is at most ten units wide there; a name is bold."""
    studies = [study, several([(0.00012, 10.0), (0.0000604, 30.0)]), several([(-1234.5, 1.0)])]
    for findings in map(Findings, [*studies, fakes.table(300), fakes.table(0)]):
        for chart in (charts.pareto_chart(findings), charts.progress_chart(findings)):
            assert all(10 * len(tick.text) <= chart.area.left - 8 for tick in chart.y_ticks)
            for tick in (*chart.x_ticks, *chart.times):
                half = 5 * len(tick.text)
                assert half <= tick.at <= chart.area.width - half
            for name in chart.names:
                half = 5.25 * len(name.text)
                assert half <= name.x <= chart.area.width - half
            assert 10 * (len(chart.up) + len(chart.unit)) < chart.area.width


def test_no_text_of_a_drawing_is_wider_than_its_box(study):
    for trial in study.trials:
        for box in Picture(trial.network).boxes:
            assert 8.6 * max(len(box.first), len(box.second)) <= box.width


def test_a_heading_stays_with_its_figure_in_print(study):
    style = report.page(study, **PAGE).partition("@media print")[2].partition("</style>")[0]
    assert re.search(r"h1, h2, h3[^{]*{ break-after: avoid; }", style)
    assert "figure, .verdict, tr" in style and ".pair { display: block; }" in style


# Files


def no_trials(study):
    pass


def one_trial(study):
    fakes.add(study, 0.5)


def all_failed(study):
    for error in ("nan: x", "", "no kind"):
        fakes.add(study, None, error=error)


def still_running(study):
    fakes.add(study, None, state="running")


def nan_metrics(study):
    fakes.add(study, math.nan)
    fakes.add(study, 0.5, metrics={"fitness": 0.5, "map50": math.nan, "loss_box": math.inf})
    fakes.add(study, 0.0, metrics={}, seconds=math.nan)


def equal_fitness(study):
    for _ in range(4):
        fakes.add(study, 0.0, cost={"flops": 5.0})


def references_only(study):
    fakes.add(study, 0.5, point=None, name="yolov8n", cost={"flops": 5.0})


def some_costs(study):
    fakes.add(study, 0.5, cost={"flops": 5.0})
    fakes.add(study, 0.6, cost={"flops": 0.0})
    fakes.add(study, 0.4, cost={"flops": math.nan})


def large_values(study):
    fakes.add(study, -1e9, cost={"flops": 1.0}, seconds=1e6)
    fakes.add(study, 1e9, cost={"flops": 1e15}, seconds=1e7)


CASES = [
    no_trials,
    one_trial,
    all_failed,
    still_running,
    nan_metrics,
    equal_fitness,
    references_only,
    some_costs,
    large_values,
]


@pytest.mark.parametrize("case", CASES)
def test_writes_whatever_was_recorded(case, tmp_path):
    study = fakes.table(0)
    case(study)
    report.write(study, tmp_path / "new" / "run", **PAGE)
    found = sorted(path.name for path in (tmp_path / "new" / "run").iterdir())
    assert found == ["pareto.png", "progress.png", "report.html", "trials.csv", "trials.jsonl"]
    html = (tmp_path / "new" / "run" / "report.html").read_text(encoding="utf-8")
    Reader(html)
    assert not [value for value in re.findall(r'="([^"]*)"', html) if re.search(NOT_FINITE, value)]
    assert len(rows(report.trials_csv(study))) == len(study.trials)
    lines = report.trials_jsonl(study).splitlines()
    assert [json.loads(line)["number"] for line in lines] == [t.number for t in study.trials]
    assert report.summary_table(study)


def test_pngs_show_something(study, tmp_path):
    before = dict(sys.modules["matplotlib"].rcParams)
    for other in (study, fakes.table(5)):
        report.write(other, tmp_path, **PAGE)
        for name in ("pareto.png", "progress.png"):
            with Image.open(tmp_path / name) as image:
                assert image.format == "PNG" and min(image.size) >= 700
                colours = image.convert("RGB").getcolors(1 << 20)
                assert len(colours) > 50
    assert dict(sys.modules["matplotlib"].rcParams) == before


def test_a_failed_write_leaves_what_was_there(study, tmp_path, monkeypatch):
    (tmp_path / "pareto.png").write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "pareto_png", fail)
    with pytest.raises(NASError, match="No space left"):
        report.write(study, tmp_path, **PAGE)
    assert (tmp_path / "pareto.png").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "pareto.png",
        "trials.csv",
        "trials.jsonl",
    ]


# Axes


@pytest.mark.parametrize("low", [3.0, 1.1e8, 9.9e8])
@pytest.mark.parametrize("factor", [1.0, 1.3, 2.5, 9.0, 80.0, 1e6])
def test_logarithmic_ticks(low, factor):
    axis = axes.log_axis([low, low * factor])
    assert axis.low < low and axis.high > low * factor
    assert 1 <= len(axis.ticks) <= 6 and len(set(axis.texts)) == len(axis.texts)
    assert all(0 <= axis.at(tick) <= 1 for tick in axis.ticks)


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.4, 0.4), (-3.0, 2000.0), (0.41, 0.4101), (0, 0)])
def test_linear_ticks(values):
    axis = axes.linear_axis(values)
    assert axis.low < min(values) <= max(values) < axis.high
    assert 2 <= len(axis.ticks) <= 7 and len(set(axis.texts)) == len(axis.texts)
    for tick, text in zip(axis.ticks, axis.texts, strict=True):
        assert float(text) == pytest.approx(tick, abs=1e-9)


@pytest.mark.parametrize("trials", [1, 2, 5, 14, 33, 100, 250])
def test_trials_are_marked_by_whole_numbers(trials):
    axis = axes.linear_axis([1, trials], whole=True)
    assert all(text == str(int(tick)) for text, tick in zip(axis.texts, axis.ticks, strict=True))


def test_names_do_not_hide_one_another():
    anchors = [(100.0, 100.0), (104.0, 101.0), (98.0, 103.0)]
    sizes = [(60.0, 14.0)] * 3
    centres = axes.place(anchors, sizes, anchors, (0.0, 0.0, 300.0, 200.0))
    for i, (x, y) in enumerate(centres):
        assert 30 <= x <= 270 and 7 <= y <= 193
        for ox, oy in centres[:i]:
            assert abs(x - ox) >= 60 or abs(y - oy) >= 14


def test_time_axis_is_in_step_with_the_trials():
    study = fakes.table(0)
    for seconds in (1800.0, 1800.0, 7200.0, 3600.0):
        fakes.add(study, 0.5, seconds=seconds)
    findings = Findings(study)
    unit, ticks = axes.time_ticks(findings, axes.linear_axis([1, 4], whole=True))
    assert unit == "hours"
    places = {float(text): place for place, text in ticks}
    assert places[1.0] == pytest.approx(2.5) and places[3.0] == pytest.approx(3.5)


def test_no_warning_is_left_behind(tmp_path):
    filters = list(warnings.filters)
    report.pareto_png(fakes.table(1), tmp_path / "p.png", "日本")
    assert list(warnings.filters) == filters


def test_trials_of_a_killed_run_are_shown():
    study = fakes.table(2)
    study.start(Trial(2, study.trials[0].point))
    html = report.page(study, **PAGE)
    assert html.count("running") == 1 and "3 trials · 2 complete" in html


def test_pictures_are_inside_of_the_page(study, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG picture")
    shown = {"A sheet": tmp_path / "a.png", "Not there": tmp_path / "b.png"}
    html = report.page(study, **PAGE, pictures=shown)
    images = [a for tag, a in Reader(html).seen if tag == "img"]
    assert [a["src"] for a in images] == ["data:image/png;base64,iVBORyBwaWN0dXJl"]
    assert "A sheet" in html and "Not there" not in html
