"""The shipped tables of trained detectors."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from yolo_nas_ext import search
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.space import tabular
from yolo_nas_ext.strategies import STRATEGIES

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=tabular.names())
def table(request):
    return tabular.load(request.param)


def test_every_network_is_in_the_space_once(table):
    points = list(table.space.enumerate())
    assert len(points) == len(table) >= 12
    assert min(table.regret(p) for p in points) == 0 < max(table.regret(p) for p in points)
    for point in points:
        metrics = table(point)
        assert 0 < metrics["fitness"] < 1 and metrics["params_m"] > 0 and metrics["flops_g"] > 0


def test_an_assignment_stands_for_the_nearest_network(table):
    rng, points = random.Random(0), list(table.space.enumerate())
    for _ in range(200):
        values = {name: rng.choice(options) for name, options in table.space.choices.items()}
        found = table.space.canonical(values)
        near = [sum(p[n] == values[n] for n in values) for p in points]
        assert sum(found[n] == values[n] for n in values) == max(near)
        assert table(values) == table(found)


@pytest.mark.parametrize(
    "strategy", [*STRATEGIES, pytest.param("optuna:tpe", marks=pytest.mark.slow)]
)
def test_every_strategy_finds_the_best_in_the_end(table, strategy):
    study = search(table.space, table, strategy=strategy, trials=len(table), seed=0)
    assert len({t.point for t in study.trials}) == len(table)
    assert table.regret(study.best.point) == 0


def test_unknown_name():
    with pytest.raises(NASError, match=r"Did you mean 'brain'\? Allowed: brain, cells"):
        tabular.load("brian")


def test_they_are_the_reference_sets(tmp_path):
    """What is shipped is what the script makes of the trainings on record."""
    scripts = ROOT / "benchmarks"
    for name in tabular.names():
        shipped = ROOT / "cfg" / "tables" / f"{name}.json"
        code = (
            f"import sys, pathlib; sys.path.insert(0, {str(scripts)!r}); import reference_table; "
            f"reference_table.TABLES = pathlib.Path({str(tmp_path)!r}); "
            f"reference_table.main({{'set': {name!r}}})"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
        made = json.loads((tmp_path / shipped.name).read_text(encoding="utf-8"))
        assert made == json.loads(shipped.read_text(encoding="utf-8"))
