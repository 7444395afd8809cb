"""Spaces of a parent: what is sampled builds, costs what we say and is a point again."""

import random
from dataclasses import replace
from functools import cache

import pytest

from tests.network.test_neck import space_of
from tests.space.test_detector import check_one
from yolo_nas_ext.api import search
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import models
from yolo_nas_ext.network.architecture import Block, TimmBackbone
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.parent import ParentSpace
from yolo_nas_ext.space.pencils import pencils

LEVELS = {"2-5:2-3": 2, "2-5:3-4": 4, "3-5": 4, "4-4": 1}  # and how many options are made of them


@cache
def parent(name, task="detect"):
    """Return the architecture of a model of Ultralytics."""
    return read(*models.definition(name, task))


@cache
def space(name, task="detect", sizes=()):
    return ParentSpace(parent(name, task), task, sizes=sizes)


def points_of(around, n=1, seed=0):
    """Return the parent's point, some drawn ones, and the parent's at every set of levels."""
    rng, origin = random.Random(seed), around.origin
    drawn = [around.sample(rng) for _ in range(n)]
    levels = [around.canonical({**origin, "levels": text}) for text in around.choices["levels"]]
    return [*drawn, *levels]  # the last of which begin with the parent itself


def check(around, points, task):
    for point in points:
        architecture = around.architecture(point)
        assert around.point_of(architecture) == point == around.canonical(point)
        definition = emit(architecture, 3, task)
        assert read(definition) == architecture
        model = models.build(definition, task=task, nc=3)
        params = sum(p.numel() for p in model.parameters())
        assert costs(architecture, 3, 64, task=task).params == params


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n", "yolo11s"])
def test_detectors_build_count_and_read_back(name):
    around = space(name)
    assert around.architecture(around.origin) == parent(name)
    assert list(around.choices["levels"]) == ["3-5", "3-4", "2-5", "2-4"]
    for point in points_of(around, 2):
        check_one(around, point)


@pytest.mark.parametrize(
    ("name", "task", "levels"),
    [
        ("yolo11n", "segment", ["3-5", "3-4"]),
        ("yolo26n", "segment", ["3-5", "3-4"]),
        ("yolo26n", "pose", ["3-5", "3-4", "2-5", "2-4"]),
        ("yolo26n", "obb", ["3-5", "3-4", "2-5", "2-4"]),
        ("yolo11n", "classify", ["5-5", "4-4"]),
        ("yolov8n", "pose", ["3-5", "3-4", "2-5", "2-4"]),
        ("yolo11n", "obb", ["3-5", "3-4", "2-5", "2-4"]),
        ("yolov8n", "semantic", ["3-5:3-4", "3-4"]),
    ],
)
def test_other_tasks_build_count_and_read_back(name, task, levels):
    around = space(name, task)
    assert around.architecture(around.origin) == parent(name, task)
    assert list(around.choices["levels"]) == levels
    check(around, points_of(around), task)


@pytest.mark.parametrize("name", ["tiny", "yolo", "damo"])
@pytest.mark.parametrize("task", ["detect", "classify"])
def test_networks_of_our_own_spaces_are_parents(name, task):
    theirs = DetectorSpace.load(name, task)
    found = theirs.architecture(theirs.sample(random.Random(name)))
    around = ParentSpace(found, task)
    assert around.architecture(around.origin) == found
    check(around, points_of(around)[:2], task)


@pytest.mark.parametrize("levels", LEVELS)
def test_queen_fusion_and_heads_of_fewer_levels(levels):
    theirs = space_of(["pan", "gfpn"])
    point = {**theirs.sample(random.Random(levels)), "levels": levels, "neck.kind": "gfpn"}
    found = theirs.architecture(theirs.canonical(point))
    around = ParentSpace(found)
    assert around.choices["levels"][0] == levels
    assert len(around.choices["levels"]) == LEVELS[levels]
    check(around, points_of(around), "detect")


def test_options_are_the_parents_and_factors_of_it():
    choices = space("yolo11n", sizes=(128, 160)).choices
    assert choices["p3.width"] == (128, 64, 80, 96, 112, 160, 192)
    assert choices["p3.down_width"] == (64, 32, 40, 48, 56, 80, 96)
    assert choices["p2.hidden"] == (16, 8, 24)  # each of them once
    assert choices["p3.depth"] == (1, 2) and space("yolov8n").choices["p3.depth"] == (2, 1, 3)
    assert choices["context"] == ("sppf+c2psa", "sppf", "c2psa", "none")
    assert choices["imgsz"] == (128, 160) and "imgsz" not in space("yolo11n").choices
    assert "sppf.width" not in choices and "c2psa.width" not in choices
    # A new level's block is that of the lowest, on the way down and up.
    for name in ("width", "hidden", "depth"):
        assert choices[f"neck.down.p2.{name}"] == choices[f"neck.down.p3.{name}"]
        assert choices[f"neck.up.p3.{name}"] == choices[f"neck.down.p3.{name}"]


@pytest.mark.parametrize(
    ("name", "choice", "options"),
    [
        ("yolo11n", "c2psa.hidden", (128, 64, 192)),  # of two heads of 64 channels
        ("yolo11s", "c2psa.hidden", (256, 128, 192, 320, 384)),
        ("yolo26n", "neck.up.p5.hidden", (128, 64, 192)),
    ],
)
def test_attention_has_whole_heads(name, choice, options):
    assert space(name).choices[choice] == options


def test_the_parents_image_size_comes_first():
    sized = replace(parent("yolo11n"), imgsz=160)
    assert ParentSpace(sized, sizes=(128, 160, 192)).choices["imgsz"] == (160, 128, 192)
    assert ParentSpace(sized, sizes=(128, 192)).choices["imgsz"] == (128, 192)
    alone = ParentSpace(sized)
    assert alone.sizes(96) == (160,) and alone.architecture(alone.origin) == sized
    assert space("yolo11n").sizes(96) == (96,)


def test_choices_without_effect_have_the_parents_value():
    around = space("yolo11n", sizes=(128, 160))
    origin = around.origin
    assert around.canonical(origin) == origin
    dropped = around.canonical({**origin, "levels": "3-4", "p5.width": 128, "context": "none"})
    assert dropped["p5.width"] == 256 and dropped["context"] == "sppf+c2psa"
    active = around.active(dropped)
    above = ("p5", "context", "c2psa", "neck.down.p2", "neck.up.p3", "neck.up.p5")
    assert not [name for name in active if name.startswith(above)]
    assert {"p4.width", "neck.down.p4.hidden", "neck.down.last", "imgsz"} <= set(active)
    bare = around.canonical({**dropped, "neck.down.last": "none", "neck.down.p4.width": 64})
    assert bare["neck.down.p4.width"] == 128 and "neck.down.p4.width" not in around.active(bare)
    below = around.active(around.canonical({**origin, "levels": "2-5"}))
    assert {"neck.down.p2.width", "neck.up.p3.down_width", "p5.width"} <= set(below)


def test_without_the_highest_level_the_necks_block_there_stays_or_goes():
    around, own = space("yolo11n"), parent("yolo11n")
    kept = around.architecture(around.canonical({**around.origin, "levels": "3-4"}))
    # Nothing is left of the context, which has learned the features of the highest level.
    assert kept.backbone == (*own.backbone[:7], own.neck.down[0])
    assert kept.neck.down == own.neck.down[1:] and kept.neck.up == own.neck.up[:1]
    values = {**around.origin, "levels": "3-4", "neck.down.last": "none"}
    bare = around.architecture(around.canonical(values))
    assert bare == replace(kept, backbone=own.backbone[:7])
    for architecture in (kept, bare):
        assert around.architecture(around.point_of(architecture)) == architecture
    assert "neck.down.last" not in around.active(around.origin)
    assert "neck.down.last" not in space("yolo11n", "classify").choices


def test_a_new_level_leaves_the_others_as_they_are():
    around = space("yolo11n")
    wide = around.architecture(around.canonical({**around.origin, "levels": "2-5"}))
    own = parent("yolo11n")
    assert wide.backbone == own.backbone and wide.head.levels == (2, 3, 4, 5)
    assert wide.neck.down == (*own.neck.down, own.neck.down[-1])
    assert wide.neck.up[1:] == own.neck.up
    assert wide.neck.up[0] == (Block("conv", 64, 1, 2, 0, 3), own.neck.down[-1])


def test_moves_go_one_step_and_stay_in_the_space():
    around, rng = space("yolo11n", sizes=(128, 160)), random.Random(3)
    assert sorted(around.targets("p3.width", 128)) == [112, 160]
    assert around.targets("p3.width", 64) == [80] and around.targets("p3.depth", 1) == [2]
    assert set(around.targets("levels", "3-5")) == {"3-4", "2-5", "2-4"}
    for _ in range(200):
        a, b = around.sample(rng), around.sample(rng)
        for point in (a, around.mutate(a, rng), around.crossover(a, b, rng)):
            assert around.feasible(point) and around.canonical(point) == point
    singles = list(around.neighbours(around.origin))
    assert len({around.identity(point) for point in singles}) == len(singles)


def test_a_budget_is_a_part_of_the_space():
    limit = costs(parent("yolo11n"), 3, 160).flops / 2
    tight = space("yolo11n").within(Budget({"max_flops": limit}, nc=3, imgsz=160))
    assert not tight.feasible(tight.origin)
    rng = random.Random(0)
    drawn = {tight.architecture(tight.sample(rng)) for _ in range(4)}
    assert len(drawn) == 4 and all(costs(a, 3, 160).flops <= limit for a in drawn)


@pytest.mark.parametrize("strategy", ["evolution", "local"])
def test_strategies_search_it(strategy):
    around = space("yolov8n")

    def fitness(point):
        return {"fitness": -costs(around.architecture(point), 3, 160).flops}

    study = search(around, fitness, strategy=strategy, trials=8, seed=0)
    assert len(study.trials) == 8 and study.best.architecture is not None
    assert len({trial.architecture for trial in study.trials}) == 8


def test_fix_leaves_one_option():
    fix = {"levels": "3-4", "p3.width": "96", "context": "NONE"}
    fixed = ParentSpace(parent("yolo11n"), fix=fix)
    assert fixed.choices["levels"] == ("3-4",) and fixed.choices["p3.width"] == (96,)
    assert fixed.architecture(fixed.origin).backbone[4].width == 96
    assert "p3.width" not in fixed.active(fixed.origin)
    with pytest.raises(NASError, match="levels would be '3-5'"):
        fixed.point_of(parent("yolo11n"))


@pytest.mark.parametrize(
    ("fix", "message"),
    [
        ({"p3.widht": 96}, r"fix=p3.widht: space 'parent' has no such choice. Did you mean"),
        ({"p3.width": 100}, r"fix=p3.width:100: not an option; allowed: 128, 64"),
        ({"context": "spff"}, r"fix=context:spff: not an option.*Did you mean 'sppf'"),
    ],
)
def test_what_cannot_be_fixed_is_one_clear_line(fix, message):
    with pytest.raises(NASError, match=message) as caught:
        ParentSpace(parent("yolo11n"), fix=fix)
    assert "\n" not in str(caught.value)


def test_networks_outside_of_it():
    around, own = space("yolo11n"), parent("yolo11n")
    stem = replace(own.backbone[0], width=48)
    wider = replace(own, backbone=(stem, *own.backbone[1:]))
    twice = replace(own, backbone=(*own.backbone, own.backbone[-1]))
    bins = replace(own, head=replace(own.head, reg_max=8))
    for other, message in (
        (wider, "stem.width would be 48; options"),
        (replace(own, imgsz=160), r"imgsz would be 160; options: \[0\]"),
        (twice, r"context would be 'sppf\+c2psa\+c2psa'"),
        (bins, "its head differs from the parent's in more than sizes"),
        (parent("yolo26n"), "context would be 'sppf_add"),
    ):
        with pytest.raises(NASError, match=message):
            around.point_of(other)


def test_a_network_between_the_options_is_near_a_point_that_costs_no_more():
    own = parent("yolo11n")
    around = ParentSpace(own, sizes=(640, 320))
    cut = pencils(replace(own, imgsz=320), around, lambda a: costs(a, 2, a.imgsz).flops, 1.2e9)
    name, network = list(cut.items())[-1]
    assert " wide at " in name
    with pytest.raises(NASError, match="not in space"):
        around.point_of(network)
    point = around.near(network)
    made = around.architecture(point)
    assert made.imgsz == network.imgsz
    below = [b for b, a in zip(made.backbone, network.backbone, strict=True) if b.width <= a.width]
    assert len(below) == len(network.backbone)
    assert 0.8 < costs(made, 2, 64).flops / costs(network, 2, 64).flops <= 1
    for inside in points_of(around, 3):  # a point is near itself
        assert around.near(around.architecture(inside)) == inside


def test_networks_of_other_makes_are_near_nothing():
    around = space("yolo11n")
    own = parent("yolo11n")
    first, *others = own.backbone
    kernel = replace(own, backbone=(replace(first, kernel=5), *others))
    for other in (parent("yolov8n"), kernel, replace(own, backbone=own.backbone[:-3])):
        assert around.near(other) is None


def test_a_backbone_of_timm_is_refused_with_a_way_out():
    timm = TimmBackbone("resnet18", False, (2, 3, 4), (3, 4, 5), (128, 256, 512))
    with pytest.raises(NASError, match=r"resnet18 of timm, whose widths .* give space=timm"):
        ParentSpace(replace(parent("yolo11n"), backbone=(), timm=timm))
