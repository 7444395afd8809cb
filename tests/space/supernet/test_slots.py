import random
from dataclasses import replace
from itertools import islice

import pytest

from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.roles import total
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.parent import ParentSpace
from yolo_nas_ext.space.supernet.sampling import RULES, paths
from yolo_nas_ext.space.supernet.slots import check, corners, definition, is_kind, merge, path

FIX = {"head.reg_max": 16, "head.end2end": False}


def space(name="tiny"):
    fix = FIX if name == "yolo" else {"head.reg_max": 16} if name == "damo" else {}
    return DetectorSpace.load(name, fix=fix)


def test_merged_parts_have_room_for_both():
    assert merge(3, 5) == 5
    assert merge((2, 8), (4, 1)) == (4, 8)
    assert merge((2, 8), (4, 1, 6)) == (4, 8, 6)
    assert merge((2, 8), 12) == 12 and merge(4, (2, 8)) == 10
    assert merge(((48, 96),), ((32, 64), (32, 64))) == ((48, 96), (32, 64))


def test_a_path_has_the_slots_of_its_levels():
    tiny = space()
    values = {name: options[0] for name, options in tiny.choices.items()}
    low = path(tiny.architecture({**values, "levels": "2-4", "context": "sppf"}))
    assert "l4.context" in low.slots and "top_down2.block" in low.slots
    assert not any(name.startswith("l5") for name in low.slots)
    high = path(tiny.architecture({**values, "levels": "3-5", "context": "none"}))
    assert "l5.block1" in high.slots and "top_down2.block" not in high.slots
    assert not any("context" in name for name in high.slots)
    assert high.legacy and not path(tiny.architecture({**values, "p3.block": "c3k2"})).legacy


@pytest.mark.parametrize("name", ["tiny", "yolo", "damo"])
def test_corners_are_networks_as_wide_as_any(name):
    whole, rng = space(name), random.Random(0)
    widest: dict[tuple[str, str], int] = {}
    for architecture in corners(whole):
        for slot, wired in path(architecture).slots.items():
            key = slot, wired.branch
            widest[key] = max(widest.get(key, 0), total(wired.inputs))
    for _ in range(60):
        one = path(whole.architecture(whole.sample(rng)))
        for slot, wired in one.slots.items():
            assert widest[slot, wired.branch] >= total(wired.inputs), (slot, wired)


def test_a_choice_that_cannot_be_shared_is_named():
    with pytest.raises(NASError, match=r"head.reg_max has the options 16, 8, 1.*fix=head.reg_max"):
        check(DetectorSpace.load("yolo"))
    with pytest.raises(NASError, match=r"head.end2end"):
        definition(DetectorSpace.load("yolo", fix={"head.reg_max": 16}), 3)
    with pytest.raises(NASError, match=r"task=semantic: the supernet has no such head"):
        check(DetectorSpace.load("tiny", "semantic"))
    for task in ("segment", "obb", "pose", "classify"):
        check(DetectorSpace.load("tiny", task))
    check(DetectorSpace.load("yolo", "classify"))  # whose head has no such choices


def test_fixing_a_choice():
    fixed = DetectorSpace.load("yolo", fix={"head.end2end": "True", "p2.width": "24"})
    assert fixed.choices["head.end2end"] == (True,) and fixed.choices["p2.width"] == (24,)
    with pytest.raises(NASError, match=r"Did you mean 'p2.width'"):
        DetectorSpace.load("tiny", fix={"p2.widht": 16})
    with pytest.raises(NASError, match=r"fix=p2.width:17: not an option; allowed: 16, 24, 32"):
        DetectorSpace.load("tiny", fix={"p2.width": 17})


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_steps_networks_depend_on_the_step_alone(rule):
    tiny = space().within(Budget({"max_params": 2e6}, 3, 64))
    draw = paths(rule, tiny, 4)
    later = draw(3, 7)
    assert draw(0, 0) != later == paths(rule, tiny, 4)(3, 7)
    assert all(tiny.feasible(p) for step in range(5) for p in draw(1, step))


def test_the_older_head_is_trained_often_enough():
    tiny = space()
    draw = paths("spos", tiny, 0)
    older = sum(path(tiny.architecture(draw(0, step)[0])).legacy for step in range(300))
    uniform = random.Random(0)
    alone = sum(path(tiny.architecture(tiny.sample(uniform))).legacy for _ in range(300))
    assert alone < 60 < older < 150


def test_fairness_gives_every_block_the_same_turns():
    tiny = space()
    draw = paths("fair", tiny, 0)
    for step in range(5):
        points = draw(0, step)
        assert len(points) == 4  # as many as p3 has blocks
        for name in ("p3.block", "p4.block"):
            assert sorted(p[name] for p in points) == sorted(tiny.choices[name])
        assert {p["levels"] for p in points} == set(tiny.choices["levels"])


def test_the_sandwich_holds_the_largest_and_the_smallest():
    tiny = space()
    largest, smallest, *between = paths("sandwich", tiny, 0)(2, 5)
    sizes = [name for name in tiny.choices if not is_kind(name)]
    assert all(largest[n] in (max(tiny.choices[n]), tiny.choices[n][0]) for n in sizes)
    assert all(smallest[n] == min(tiny.choices[n]) for n in sizes)
    assert len(between) == 2 and {p["levels"] for p in (largest, *between)} == {smallest["levels"]}


def test_an_unknown_rule():
    with pytest.raises(NASError, match="Did you mean 'sandwich'"):
        paths("sandwitch", space(), 0)


def test_definitions_are_the_same_every_time():
    assert definition(space(), 3) == definition(space(), 3)
    assert len(list(islice(corners(space()), 9))) == 9


def parents_space(**more):
    whole = DetectorSpace.load("tiny", fix={"levels": "3-5", "context": "sppf"})
    parent = replace(whole.architecture(whole.sample(random.Random(0))), imgsz=64)
    return ParentSpace(parent, sizes=(64, 96, 32), **more)


def test_a_space_within_its_parent_has_nothing_that_is_larger():
    within, whole = parents_space(within=True), parents_space()
    assert within.architecture(within.origin) == whole.architecture(whole.origin)
    for name, options in within.choices.items():
        if name != "imgsz" and isinstance(options[0], int):
            assert max(options) == options[0]
    assert within.choices["imgsz"] == whole.choices["imgsz"]
    assert "2-5" in whole.choices["levels"] and "2-5" not in within.choices["levels"]
    assert not any(".p2." in name for name in within.choices if name.startswith("neck"))
    rng = random.Random(0)
    for _ in range(20):
        whole.point_of(within.architecture(within.sample(rng)))  # is one of the larger space


def test_progressive_steps_differ_in_more_and_more():
    space = parents_space(within=True)
    draw = paths("progressive", space, 0, epochs=10)
    numbers = [n for n, o in space.choices.items() if isinstance(o[0], int) and n != "imgsz"]

    def differ(epoch):
        points = [point for step in range(8) for point in draw(epoch, step)]
        return {n for p in points for n in numbers if p[n] != space.origin[n]}

    assert not differ(0)
    assert all(name.endswith(".depth") for name in differ(2))
    assert any(name.endswith((".width", ".hidden")) for name in differ(5))
    for step in range(8):
        largest, smallest, *others = draw(9, step)
        sizes = {point["imgsz"] for point in (largest, smallest, *others)}
        assert len(sizes) == 1
        assert largest == space.canonical({**space.origin, "imgsz": sizes.pop()})
        for name in numbers:
            if name not in space.dead(smallest):
                assert smallest[name] == min(space.choices[name])


def test_the_largest_of_a_step_keeps_the_limit_at_larger_images():
    free = parents_space(within=True)
    budget = Budget({"max_flops": Budget({}, 2, 64).costs(free.parent).flops}, 2, 64)
    space = free.within(budget)
    draw = paths("progressive", space, 0, epochs=10)
    seen = set()
    for step in range(12):
        for point in draw(9, step):
            seen.add(point["imgsz"])
            assert space.feasible(point)
    assert seen == {32, 64, 96}
