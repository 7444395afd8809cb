"""Backbones of timm as a choice of a space: built, counted, moved between and read back."""

import itertools
import random

import pytest
import torch
import yaml
from torch import nn

from tests.helpers.devices import SIZE, made_up, model_ms
from tests.space.test_detector import check_one
from yolo_nas_ext.cli import main
from yolo_nas_ext.commands import scale
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.cost.latency.fused_layers import deployed
from yolo_nas_ext.cost.latency.profile import save
from yolo_nas_ext.data.builtin.cells import ensure_cells
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.zero_cost.entropy import stages
from yolo_nas_ext.files import resource
from yolo_nas_ext.host import models
from yolo_nas_ext.host.plugin import timm_trace
from yolo_nas_ext.host.plugin.modules import Timm
from yolo_nas_ext.host.transfer.weights import source, transfer
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.layers import lower
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.report.drawing import drawing
from yolo_nas_ext.space.decode import split_levels
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.supernet.slots import check
from yolo_nas_ext.vectorized.evaluator import VectorizedSpace

OWN = {
    "stem": {"width": 16},
    "stages": {
        "p2": {"block": "c2f", "width": 32},
        "p3": {"block": "c2f", "width": [32, 64]},
        "p4": {"block": "c2f", "width": 64},
    },
    "context": ["none", "sppf"],
}
REST = {"levels": ["3-4", "2-3", "1-3"], "neck": {"block": ["c2f", "c3k2"], "width": [32, 64]}}
# resnet18 has P1 to P5, convnext_atto P2 to P5; the own blocks reach from P2 to P4.
MIXED = ["own", {"timm": "resnet18"}, {"timm": "convnext_atto", "pretrained": True}]


def space_of(tmp_path, backbone, task="detect", **changes):
    names = [backbone] if isinstance(backbone, (str, dict)) else backbone
    own = OWN if "own" in names else {}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**own, **REST, "backbone": backbone, **changes}))
    return DetectorSpace.load(path, task)


# Average pooling; squeeze and excitation; layer norm and layer scale; padding as TensorFlow's;
# standardised weights, which no operation on activations reads.
@pytest.mark.parametrize(
    "name",
    [
        "resnet18d",
        "mobilenetv3_small_050",
        "convnext_atto",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("tf_efficientnetv2_b0", "nf_regnet_b0")
        ),
    ],
)
def test_costs_are_those_of_ultralytics(name, tmp_path):
    space = space_of(tmp_path, {"timm": name}, levels=["2-4", "3-5"])
    point = space.sample(random.Random(1))
    check_one(space, point)
    architecture = space.architecture(point)
    assert lower(architecture, 3, 96).memory() == costs(architecture, 3, 96).memory
    # Every activation that is needed later is alive at the end of the backbone.
    features = sum(c * (96 >> lv) ** 2 for lv, c in architecture.widths.items())
    assert costs(architecture, 3, 96).memory >= 4 * features


TRANSFORMERS = {  # timm's channels last among them
    "swin_tiny_patch4_window7_224": True,
    "vit_tiny_patch16_224": False,
}


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformer_takes_images_of_any_size(name):
    backbone = Timm(3, name, False, (0, 1)).eval()
    assert backbone.last == TRANSFORMERS[name]
    strides = backbone.m.feature_info.reduction()
    for height, width in ((64, 96), (96, 96)):
        with torch.no_grad():
            found = backbone(torch.rand(1, 3, height, width))
        for y, channels, stride in zip(found, backbone.channels, strides, strict=True):
            assert y.shape == (1, channels, height // stride, width // stride)
            assert y.isfinite().all()


def test_channels_are_turned_by_what_timm_says_and_not_by_sizes():
    """At 96 channels and a height of 96 a comparison of sizes would see nothing."""
    backbone = Timm(3, "swin_tiny_patch4_window7_224", False, (0,)).eval()
    with torch.device("meta"), torch.no_grad():
        on_meta = Timm(3, "swin_tiny_patch4_window7_224", False, (0,)).eval()
        (y,) = on_meta(torch.zeros(1, 3, 384, 256))
    assert backbone.channels == (96,) and y.shape == (1, 96, 96, 64)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("hiera_tiny_224", "one size|any size"), ("vit_small_patch14_dinov2", "any size")],
)
def test_a_transformer_of_one_size_is_refused_by_name(tmp_path, name, reason):
    with pytest.raises(NASError, match=rf"timm/{name} cannot be a backbone.*({reason})"):
        space_of(tmp_path, {"timm": name}).sample(random.Random(0))


def test_the_longest_path_of_a_resnet_has_its_number_of_layers(tmp_path):
    space = space_of(tmp_path, {"timm": "resnet18"}, levels="3-5")
    architecture = space.architecture(space.sample(random.Random(0)))
    assert costs(architecture, 3, 64).layers == 17  # and one of the classifier, which is not here
    found = stages(architecture)
    assert [len(s.fan_ins) for s in found] == [1, 4, 4, 4, 4]
    assert found[0].fan_ins == (3 * 7**2,) and found[4].fan_ins[1:] == (512 * 9,) * 3
    assert [s.width for s in found] == [64, 64, 128, 256, 512]


def brute(space):
    """Every network by all combinations of options, with the rule of levels written out again."""
    found = set()
    for values in itertools.product(*space.choices.values()):
        values = dict(zip(space.choices, values, strict=True))
        low, high = split_levels(values["levels"])[0][0], split_levels(values["levels"])[0][-1]
        reach = {"own": (2, 4), "timm/resnet18": (1, 5), "timm/convnext_atto/pretrained": (2, 5)}
        first, last = reach[values["backbone"]]
        if first <= low and high <= last:
            found.add(space.architecture(space.canonical(values)).key)
    return found


def test_the_space_holds_each_network_once(tmp_path):
    space = space_of(tmp_path, MIXED)
    points = list(space.enumerate())
    keys = [space.identity(p) for p in points]
    assert len(set(keys)) == len(keys) and set(keys) == brute(space)
    # By hand: a neck of 4; own blocks have 2 widths and 2 contexts at 2 levels, timm's 3 and 2.
    assert len(keys) == 4 * (2 * 2 * 2 + 3 + 2)


def test_moves_keep_to_levels_that_there_are(tmp_path):
    space, rng = space_of(tmp_path, MIXED), random.Random(0)
    points = list(space.enumerate())
    drawn = [space.sample(rng) for _ in range(200)]
    assert {p["backbone"] for p in drawn} == set(space.choices["backbone"])
    for point in drawn:
        for other in (space.mutate(point, rng), space.crossover(point, rng.choice(drawn), rng)):
            assert space.feasible(other) and space.canonical(other) == other
        others = {
            space.canonical({**point, name: option})
            for name, options in space.choices.items()
            for option in options
        }
        assert set(space.neighbours(point)) == (others & set(points)) - {point}
        assert len(space.encode(point)) == len(space.encode(points[0]))
    codes = {tuple(space.encode(p)) for p in points}
    assert len(codes) == len(points)


def test_own_blocks_do_not_matter_beside_a_backbone_of_timm(tmp_path):
    space = space_of(tmp_path, MIXED)
    point = space.canonical({**space.sample(random.Random(0)), "backbone": "timm/resnet18"})
    assert {n.split(".")[0] for n in space.active(point)} == {"backbone", "levels", "neck"}


def test_keys_and_dictionaries(tmp_path):
    space = space_of(
        tmp_path, ["own", {"timm": "resnet18"}, {"timm": "resnet18", "pretrained": True}]
    )
    point = space.sample(random.Random(0))
    networks = [
        space.architecture(space.canonical({**point, "levels": "3-4", "backbone": backbone}))
        for backbone in space.choices["backbone"]
    ]
    assert len({a.key for a in networks}) == 3
    for network in networks:
        again = Architecture.from_dict(network.to_dict())
        assert again == network and again.key == network.key
        assert ("whole" in network.to_dict()) == (network.timm is not None)


def test_a_budget_leaves_the_backbones_that_fit(tmp_path):
    space = space_of(tmp_path, ["own", {"timm": "resnet18"}])
    within = space.within(Budget({"max_params": 1e6}, 3, 64))
    fits = [p for p in space.enumerate() if costs(space.architecture(p), 3, 64).params <= 1e6]
    assert list(within.enumerate()) == fits
    # Up to P3 a ResNet-18 is small; up to P4 and beyond it is not.
    assert {p["levels"] for p in fits if p["backbone"] != "own"} == {"2-3", "1-3"}
    assert {within.sample(random.Random(i)) for i in range(50)} <= set(fits)


@pytest.mark.parametrize("task", ["segment", "semantic", "classify"])
def test_other_tasks(task, tmp_path):
    options = ["2-4", "3-5"] if task == "classify" else ["3-5"]
    names = [{"timm": "mobilenetv3_small_050"}, {"timm": "convnext_atto"}]
    space = space_of(tmp_path, names, task, levels=options)
    for point in space.enumerate():
        assert space.point_of(space.architecture(point)) == point
    architecture = space.architecture(space.sample(random.Random(0)))
    model = models.build(emit(architecture, 3, task), task=task)
    cost = costs(architecture, 3, 64, task=task)
    assert cost.params == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": {"timm": "resnt18"}}, r"no model 'resnt18'\. Did you mean 'resnet18'"),
        ({"backbone": {"tim": "resnet18"}}, r"unknown key 'tim'\. Did you mean 'timm'"),
        ({"backbone": "resnet18"}, r"backbone has the option 'resnet18'; allowed is 'own', {timm:"),
        ({"backbone": {"timm": 3}}, r"backbone has the option {'timm': 3}; allowed is"),
        ({"backbone": {"timm": "resnet18", "pretrained": "yes"}}, "'pretrained': 'yes'.*; allowed"),
        ({"backbone": []}, "backbone has no options"),
        ({"backbone": [{"timm": "resnet18"}] * 2}, "lists an option twice"),
        ({"backbone": {"timm": "resnet18"}, "levels": "3-6"}, "levels has the option '3-6'"),
        (
            {"backbone": [{"timm": "resnet18"}, {"timm": "convnext_atto"}], "levels": "1-3"},
            "backbone timm/convnext_atto has the levels 2, 3, 4, 5, which are enough for none of",
        ),
        ({"backbone": {"timm": "resnet18"}, **OWN}, "stem is of no use, as no backbone is 'own'"),
        ({"backbone": {"timm": "vit_tiny_patch14"}}, "no model 'vit_tiny_patch14'"),
    ],
)
def test_bad_backbones_are_one_clear_line(tmp_path, changes, message):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**REST, **changes}))
    with pytest.raises(NASError, match=message) as caught:
        DetectorSpace.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_transformer_is_counted_at_the_size_of_the_images(tmp_path):
    space = space_of(tmp_path, {"timm": "swin_tiny_patch4_window7_224"}, levels="3-5")
    architecture = space.architecture(space.sample(random.Random(0)))
    small, large = (costs(architecture, 3, size) for size in (64, 128))
    assert small.params == large.params and large.flops > 2 * small.flops


def test_what_knows_blocks_alone_says_so(tmp_path):
    space = space_of(tmp_path, MIXED)
    with pytest.raises(
        NASError, match="whose weights are not shared; fix it with fix=backbone:own"
    ):
        check(space)
    with pytest.raises(NASError, match="fix=backbone:own"):
        VectorizedSpace(space)
    alone = space_of(tmp_path, {"timm": "resnet18"}, levels="3-4")
    with pytest.raises(
        NASError, match="whose weights are not shared; give a space that has blocks"
    ):
        check(alone)
    path = tmp_path / "found.yaml"
    point = space.canonical({**space.sample(random.Random(0)), "backbone": "timm/resnet18"})
    path.write_text(yaml.safe_dump(emit(space.architecture(point), 3)))
    with pytest.raises(NASError, match="its backbone is timm's resnet18, which cannot be made"):
        scale.main({"model": str(path), "imgsz": 64})
    path = resource("cfg", "spaces", "timm.yaml")
    check(DetectorSpace.load(path, fix={"backbone": "own"}))
    with pytest.raises(NASError, match=r"not an option; .*\. Did you mean 'timm/resnet18/pretr"):
        DetectorSpace.load(path, fix={"backbone": "timm/resnet18/pretained"})


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv4_conv_small", "mobilenetv3_small_050"])
def test_layers_as_they_are_executed(name, tmp_path):
    space = space_of(tmp_path, {"timm": name}, levels="3-5")
    architecture = space.architecture(space.sample(random.Random(0)))
    assert architecture.timm
    found = [op for op in deployed(architecture, 3, 64) if op.kind == "conv"]
    model = Timm(3, name, False, architecture.timm.indices)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    mine = sorted(
        (op.c_in, op.c_out, op.kernel, op.stride, op.groups) for op in found[: len(convs)]
    )
    theirs = (
        (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0], m.groups) for m in convs
    )
    assert mine == sorted(theirs)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(op.kind == "norm" for op in deployed(architecture, 3, 64))


def test_a_profile_predicts_the_sum_of_its_layers(tmp_path):
    space = space_of(tmp_path, [{"timm": "resnet18"}, {"timm": "mobilenetv3_small_050"}])
    profile = made_up()
    within = space.within(Budget({"max_latency": 1e3}, 3, SIZE, profile=profile))
    for architecture in space.timm_networks():
        assert within.feasible(space.point_of(architecture))
        wanted = model_ms(deployed(architecture, 3, SIZE))  # what the device takes
        # Most of these layers are none of those that it was profiled with.
        assert profile.predict(architecture, 3, SIZE) == pytest.approx(wanted, rel=0.1)


def test_a_backbone_that_cannot_be_judged_is_refused_before_the_search(tmp_path, capsys):
    save(made_up(), tmp_path / "profile.json")
    cells = ensure_cells(tmp_path / "cells", train=6, val=3, size=64) / "data.yaml"
    space_of(tmp_path, [{"timm": "mobilenetv3_small_050"}, {"timm": "convnext_atto"}], levels="3-5")
    keys = [
        f"data={cells}",
        f"space={tmp_path / 'mine.yaml'}",
        "imgsz=64",
        "baseline=none",
        f"project={tmp_path / 'runs'}",
        f"latency={tmp_path / 'profile.json'}",
    ]
    assert main(["search", *keys]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert "give latency=measure" in error[-1] and "timm/convnext_atto" in error[-1]
    assert not (tmp_path / "runs").exists()


def test_layers_that_no_profile_knows_are_refused(tmp_path):
    space = space_of(tmp_path, {"timm": "convnext_atto"}, levels="3-5")
    with pytest.raises(NASError, match=r"time cannot be predicted.*latency=measure") as caught:
        deployed(space.architecture(space.sample(random.Random(0))), 3, 64)
    assert "\n" not in str(caught.value)


def test_rows_that_are_not_read(tmp_path):
    space = space_of(tmp_path, {"timm": "resnet18"}, levels="3-5")
    model = emit(space.architecture(space.sample(random.Random(0))), 3)
    for change, message in (
        (lambda rows: rows.insert(4, [-1, 1, "SPPF", [512, 5]]), r"row 4 \(SPPF\): behind a row"),
        (lambda rows: rows.pop(), "has 3 features, not all of them read"),
        (lambda rows: rows[2][3].__setitem__(1, 0), r"row 2 \(Index\)"),
    ):
        bad = yaml.safe_load(yaml.safe_dump(model))
        change(bad["backbone"])
        with pytest.raises(NASError, match=message):
            read(bad)


def test_weights_go_from_a_backbone_to_the_same_one(tmp_path):
    space = space_of(tmp_path, [{"timm": "mobilenetv3_small_050"}, {"timm": "resnet18"}])
    point = space.sample(random.Random(0))
    names = {0: "a", 1: "b"}

    def network(backbone, levels):
        values = {**point, "backbone": f"timm/{backbone}", "levels": levels}
        architecture = space.architecture(space.canonical(values))
        return architecture, models.build(emit(architecture, 2), task="detect")

    old, their_model = network("mobilenetv3_small_050", "3-4")
    given = source(old, their_model.state_dict(), names)
    for backbone, same in (("mobilenetv3_small_050", True), ("resnet18", False)):
        architecture, model = network(backbone, "2-3")
        found = transfer(model, architecture, given, names)
        own = {n for n, _ in model.named_parameters() if n.startswith("model.0.")}
        assert own & set(found.copied.names) == (own if same else set())
        if same:
            theirs = given.model.state_dict()
            assert all(model.state_dict()[n].equal(theirs[n]) for n in own)


def test_its_drawing_names_it(tmp_path):
    space = space_of(tmp_path, {"timm": "mobilenetv3_small_050"}, levels="3-5")
    svg = str(drawing(space.architecture(space.sample(random.Random(0))), "found"))
    assert "timm/mobilenetv3_small_050, random weights: feature 2, 16 channels" in svg
    assert all(f">P{level}<" in svg for level in (3, 4, 5))


def test_offline_weights_are_said_to_be_random(monkeypatch):
    assert timm_trace.random_weights(["timm/resnet18/pretrained"]) == ["timm/resnet18/pretrained"]
    monkeypatch.setattr(timm_trace, "ONLINE", True)
    assert timm_trace.random_weights(["timm/resnet18/pretrained"]) == []
