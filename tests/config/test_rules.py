"""Every rule: what breaks it, that it is said in one line, and that nothing is written."""

from collections import Counter

import pytest

from yolo_nas_ext.cli import main
from yolo_nas_ext.config import names, rules
from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.config.search import SearchSettings, configure
from yolo_nas_ext.config.settings import read
from yolo_nas_ext.data import augment
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.factory import ESTIMATORS
from yolo_nas_ext.estimators.multi_fidelity import GROWS
from yolo_nas_ext.executors import EXECUTORS
from yolo_nas_ext.host.supernet.darts import RELAXATIONS
from yolo_nas_ext.network.emit import TASKS
from yolo_nas_ext.pipeline.confirm import WAYS
from yolo_nas_ext.plugins import named
from yolo_nas_ext.space.supernet.sampling import RULES as SAMPLINGS
from yolo_nas_ext.strategies import STRATEGIES
from yolo_nas_ext.study.pruning import PRUNERS
from yolo_nas_ext.trackers import TRACKERS

CASES = [
    pytest.param(kind, rule, id=f"{kind.__name__}: {rule.example}")
    for kind, table in rules.RULES.items()
    for rule in table
]


def settings_of(kind, example):
    given = parse_arguments(example.split(), (kind,))
    return configure(given, {}, {}) if kind is SearchSettings else read(kind, given)


@pytest.mark.parametrize(("kind", "rule"), CASES)
def test_its_example_breaks_it_and_no_other(kind, rule):
    settings = settings_of(kind, rule.example)
    assert [other for other in rules.RULES[kind] if other.when(settings)] == [rule]
    with pytest.raises(NASError) as caught:
        rules.check(settings)
    assert str(caught.value) == rule.message(settings)


@pytest.mark.parametrize(("kind", "rule"), CASES)
def test_it_is_refused_before_anything_is_read_or_written(
    kind, rule, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    nowhere = ["data=nowhere.yaml"] if kind is SearchSettings else []
    assert main([kind.command, *rule.example.split(), *nowhere]) == 2
    out, err = capsys.readouterr()
    expected = rule.message(settings_of(kind, rule.example))
    assert (out, err) == ("", f"{kind.command}: {expected}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", rules.RULES)
def test_no_two_rules_say_the_same(kind):
    said = Counter(rule.message(settings_of(kind, rule.example)) for rule in rules.RULES[kind])
    assert [message for message, n in said.items() if n > 1] == []


def test_a_usual_search_breaks_none():
    rules.check(configure({}, {}, {}))


@pytest.mark.parametrize(
    ("mine", "known"),
    [
        (names.TASKS, TASKS),
        (names.TRACKERS, TRACKERS),
        (names.STRATEGIES, STRATEGIES),
        (names.ESTIMATORS, ESTIMATORS),
        (names.EXECUTORS, EXECUTORS),
        (names.PRUNERS, PRUNERS),
        (names.WAYS, WAYS),
        (names.GROWS, GROWS),
        (names.AUGMENTATIONS, augment.PRESETS),
        (names.RELAXATIONS, RELAXATIONS),
        (names.SAMPLINGS, SAMPLINGS),
    ],
)
def test_names_are_those_of_what_there_is(mine, known):
    assert sorted(mine) == sorted(known)


@pytest.mark.parametrize("value", ["a.py:A", "b/a.py:A", "a.py", "a:A", "a.py:A b", ".py:A"])
def test_files_of_the_users_are_told_as_elsewhere(value):
    assert rules.own(value) == named(value)
