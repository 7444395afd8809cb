"""Weights by role: against the source's own outputs and against independent indexing."""

import math
import random
from dataclasses import replace

import pytest
import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.models import definition
from yolo_nas_ext.host.transfer import weights
from yolo_nas_ext.network.architecture import Architecture, Block, Head, Neck
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.parent import ParentSpace

NAMES = {0: "cat", 1: "dog", 2: "hen"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small tensors take longer on two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(architecture, seed, names=NAMES):
    """Ultralytics' model with weights and statistics that differ everywhere."""
    torch.manual_seed(seed)
    model = DetectionModel(emit(architecture, len(names)), nc=len(names), verbose=False)
    model.names = dict(names)
    for tensor in model.state_dict().values():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)  # convolutions differ by the seed
    return model


def take(target, source, *, names=NAMES, source_names=NAMES):
    """Transfer between fresh models; returns (before, after, the source's tensors, what)."""
    theirs = build(source, 1, source_names)
    mine = build(target, 2, names)
    before = {n: t.clone() for n, t in mine.state_dict().items()}
    given = weights.source(source, theirs.state_dict(), source_names)
    what = weights.transfer(mine, target, given, names)
    return before, mine.state_dict(), theirs.state_dict(), what


def network(
    *, stem=16, width=32, hidden=16, depth=1, kind="c2f", levels=(3, 4, 5), shortcut=False, **head
):
    """A network whose every width is given."""
    backbone = [Block("conv", stem, 1, 2, 0, 3), Block("conv", width, 1, 2, 0, 3)]
    kernel = 3 if kind == "k1kx" else 0
    block = Block(kind, width, depth, 1, hidden, kernel, shortcut)
    for _ in range(3, levels[-1] + 1):
        backbone += [Block("conv", width, 1, 2, 0, 3), block]
    block, down = Block("c2f", width, 1, 1, hidden), Block("conv", width, 1, 2, 0, 3)
    joins = len(levels) - 1
    neck = Neck(levels, (block,) * joins, ((down, block),) * joins)
    return Architecture(tuple(backbone), neck, Head(levels, **head))


@pytest.mark.parametrize("name", ["tiny", "yolo", "damo"])
@pytest.mark.parametrize("seed", [0, 3])
def test_the_same_network_becomes_its_source(name, seed):
    space = DetectorSpace.load(name)
    architecture = space.architecture(space.sample(random.Random(seed)))
    source = weights.source(architecture, build(architecture, 1).state_dict(), NAMES)
    model = build(architecture, 2)
    what = weights.transfer(model, architecture, source, NAMES)
    total = sum(p.numel() for n, p in model.named_parameters() if ".dfl." not in n)
    assert what.percent == 100 and what.copied.parameters == total
    assert not what.sliced.names and not what.left.names
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        mine, theirs = (m.eval()(image)[0] for m in (model, source.model))
    assert (mine - theirs).abs().max() == 0
    assert "100.0 %" in what.summary and "0 left" in what.summary


def test_a_prefix_of_the_channels_gets_exactly_those():
    """Indices are written out by hand: rows of the row, chunks of 8 of the source's 16."""
    wide, narrow = network(), network(stem=8, width=16, hidden=8)
    _, after, theirs, what = take(narrow, wide)
    chunks = [*range(8), *range(16, 24)]  # of cv1's output: two halves, 8 leading of each
    three = [*chunks, *range(32, 40)]  # of cv2's input: and the bottleneck's
    for name, rows, columns in [
        ("model.0.conv.weight", range(8), range(3)),
        ("model.1.conv.weight", range(16), range(8)),
        ("model.3.cv1.conv.weight", chunks, range(16)),
        ("model.3.m.0.cv1.conv.weight", range(8), range(8)),
        ("model.3.cv2.conv.weight", range(16), three),
        # The neck's first block reads (from above: 32 channels, from the backbone: 32).
        ("model.10.cv1.conv.weight", chunks, [*range(16), *range(32, 48)]),
    ]:
        rows, columns = list(rows), list(columns)
        assert after[name].equal(theirs[name][rows][:, columns]), name
        norm = name.replace("conv.weight", "bn.")
        for kind in ("weight", "bias", "running_mean", "running_var"):
            assert after[norm + kind].equal(theirs[norm + kind][rows]), norm
    assert what.percent == 100 and not what.left.names  # everything comes from somewhere
    # The head's inner widths have lower bounds, so some tensors there are whole.
    assert "model.0.conv.weight" in what.sliced.names and what.copied.names


def test_a_wider_network_keeps_its_other_channels_and_nothing_reads_them_yet():
    before, after, theirs, what = take(network(width=32), network(width=16, hidden=8))
    name = "model.3.cv2.conv.weight"  # 32 x (16, 16, 16) from 16 x (8, 8, 8)
    columns = [*range(8), *range(16, 24), *range(32, 40)]
    others = [c for c in range(48) if c not in columns]
    assert after[name][:16][:, columns].equal(theirs[name])
    assert after[name][16:].equal(before[name][16:])
    assert not after[name][:16][:, others].any()
    assert name in what.sliced.names and not what.left.names
    assert 0 < what.left.parameters and what.percent < 100
    model = build(network(), 0)
    total = sum(p.numel() for n, p in model.named_parameters() if ".dfl." not in n)
    parts = what.copied.parameters + what.sliced.parameters + what.left.parameters
    assert parts == total


def test_more_repeats_than_the_source_keep_theirs():
    before, after, theirs, what = take(network(depth=3), network(depth=1))
    for name in ("model.3.m.0.cv1.conv.weight", "model.3.cv1.conv.weight"):
        assert after[name].equal(theirs[name])
    for name in ("model.3.m.1.cv1.conv.weight", "model.3.m.2.cv2.bn.weight"):
        assert after[name].equal(before[name]) and name in what.left.names
    joined = "model.3.cv2.conv.weight"
    assert after[joined][:, :48].equal(theirs[joined])
    assert not after[joined][:, 48:].any()


def test_repeats_of_whole_rows():
    """A single repeat stands bare in Ultralytics' model, several in a sequence."""

    def damo(depth):
        block = Block("k1kx", 32, depth, 2, 16, 3)
        backbone = (Block("focus", 16, 1, 2, 0, 3), Block("conv", 16, 1, 2, 0, 3), block)
        return Architecture(backbone, Neck((3,), (), ()), Head((3,)))

    _, after, theirs, what = take(damo(3), damo(2))
    assert after["model.4.0.cv1.conv.weight"].equal(theirs["model.4.cv1.conv.weight"])
    assert {n.split(".cv")[0] for n in what.left.names} == {"model.4.1"}
    _, after, theirs, what = take(damo(2), damo(3))
    assert after["model.4.cv2.bn.bias"].equal(theirs["model.4.0.cv2.bn.bias"])
    assert what.percent == 100


def test_levels_three_and_four_of_three_to_five():
    _, after, theirs, what = take(network(levels=(3, 4)), network())
    assert what.percent == 100 and not what.sliced.names and not what.left.names
    # Rows have other numbers: level 3's top-down block is row 8 here and row 13 there.
    assert after["model.8.cv1.conv.weight"].equal(theirs["model.13.cv1.conv.weight"])
    assert not after["model.8.cv1.conv.weight"].equal(theirs["model.10.cv1.conv.weight"])
    for branch in ("cv2", "cv3"):
        for level in (0, 1):
            mine = f"model.12.{branch}.{level}.0.conv.weight"
            assert after[mine].equal(theirs[mine.replace("model.12", "model.20")])


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_without_the_highest_level_the_necks_block_stays(name):
    parent = read(*definition(name))
    around = ParentSpace(parent)
    lower = around.architecture(around.canonical({**around.origin, "levels": "3-4"}))
    theirs, model = build(parent, 1), build(lower, 2)
    # Where the parent's neck takes nothing from the highest level, nothing is missing without it.
    first = next(m for m in list(theirs.model)[len(parent.backbone) :] if hasattr(m, "cv1"))
    with torch.no_grad():
        first.cv1.conv.weight[:, : parent.backbone[-1].width] = 0
    given = weights.source(parent, theirs.state_dict(), NAMES)
    what = weights.transfer(model, lower, given, NAMES)
    assert what.percent == 100 and not what.left.names
    image = torch.rand(1, 3, 64, 64)
    for m in (model, theirs):
        m.eval().model[-1].training = True
    with torch.no_grad():
        mine, true = (m(image) for m in (model, theirs))
    for kind in ("boxes", "scores"):
        cells = mine[kind].shape[2]
        assert cells == 8 * 8 + 4 * 4 and true[kind].std(2).min() > 0
        assert torch.allclose(mine[kind], true[kind][:, :, :cells], rtol=1e-5)


def test_blocks_of_similar_make_take_what_has_the_same_name():
    _, after, theirs, what = take(network(kind="c3k2"), network(kind="c2f"))
    for name in ("model.3.cv1.conv.weight", "model.3.cv2.bn.bias", "model.2.conv.weight"):
        assert after[name].equal(theirs[name])
    name = "model.3.m.0.cv1.conv.weight"  # half as wide in C3k2
    assert after[name].equal(theirs[name][: len(after[name])])
    rows = {n.split(".")[1] for n in what.left.names}
    assert rows == {"20"}  # C3k2 changes the class branches of the head as well
    assert what.rules["a block of similar make"] == 12


def test_kernels_of_odd_sizes_are_put_into_one_another():
    def stem(kernel):
        known = network()
        return replace(
            known, backbone=(replace(known.backbone[0], kernel=kernel), *known.backbone[1:])
        )

    _, after, theirs, what = take(stem(5), stem(3))
    name = "model.0.conv.weight"
    assert after[name][..., 1:4, 1:4].equal(theirs[name])
    assert after[name].abs().sum() == theirs[name].abs().sum() and not what.left.names
    _, after, theirs, _ = take(stem(3), stem(5))
    assert after[name].equal(theirs[name][..., 1:4, 1:4])


def test_an_unlike_stride_or_an_even_kernel_is_another_convolution():
    known = network()
    focus = (Block("focus", 16, 1, 2, 0, 3), *known.backbone[1:])
    _, _, _, what = take(replace(known, backbone=focus), known)
    assert set(what.left.names) == {"model.0.conv.weight", *(f"model.0.bn.{n}" for n in NORM)}


@torch.no_grad()
@pytest.mark.parametrize(
    ("change", "parent"),
    [
        ({"width": 48, "hidden": 24}, {}),
        ({"depth": 3}, {}),
        ({"depth": 3, "width": 48, "hidden": 24}, {"depth": 1}),
        ({"depth": 3}, {"kind": "c3", "shortcut": True}),
        ({"depth": 3, "hidden": 24}, {"kind": "c3", "shortcut": True, "depth": 2}),
        ({"depth": 3}, {"kind": "k1kx"}),
        ({"depth": 2}, {"kind": "c2psa", "width": 128, "hidden": 64}),
    ],
)
def test_deeper_and_wider_networks_compute_what_the_source_does(change, parent):
    architecture = network(**{**parent, **change})
    parent = network(**parent)
    theirs, model = build(parent, 1), build(architecture, 2)
    weights.transfer(model, architecture, weights.source(parent, theirs.state_dict(), NAMES), NAMES)
    image = torch.rand(1, 3, 64, 64)
    for m in (model, theirs):
        m.eval().model[-1].training = True
    mine, true = ({**m(image)}["boxes"] for m in (model, theirs))
    assert true.std(2).min() > 1e-2  # the image has a say
    assert (mine - true).abs().max() <= 1e-6 * true.abs().max()


def test_a_level_below_takes_from_the_lowest_and_knows_of_more_cells():
    _, after, theirs, what = take(network(levels=(2, 3, 4, 5)), network())
    head = {name.split(".")[1] for name in after if ".cv3." in name}.pop()
    mine, given = f"model.{head}.cv3.0", "model.20.cv3.0"
    assert after[f"{mine}.2.weight"].equal(theirs[f"{given}.2.weight"])
    moved = theirs[f"{given}.2.bias"] - after[f"{mine}.2.bias"]
    assert moved.tolist() == pytest.approx([math.log(4)] * 3, rel=1e-5)
    assert what.rules["the nearest level"] > 3


NORM = ("weight", "bias", "running_mean", "running_var")


def test_halves_of_a_strided_average_go_with_halves():
    def net(width):
        base = network()
        backbone = (*base.backbone[:2], Block("adown", width, 1, 2), *base.backbone[3:])
        return replace(base, backbone=backbone)

    _, after, theirs, what = take(net(16), net(32))
    name = "model.3.cv1.conv.weight"  # reads two halves, 8 of 16 each
    assert after[name].equal(theirs[name][:, [*range(8), *range(16, 24)]])
    assert what.percent == 100


def test_attention_goes_by_heads():
    def net(width):  # 2 heads of 64 and 1 of 64
        base = network(width=width, hidden=16)
        return replace(base, backbone=(*base.backbone, Block("c2psa", width, 1, 1, width // 2)))

    _, after, theirs, _ = take(net(128), net(256))
    name = "model.8.m.0.attn.qkv.conv.weight"
    assert after[name].equal(theirs[name][:128, :64])  # the first head's queries, keys, values
    name = "model.8.m.0.attn.pe.conv.weight"
    assert after[name].equal(theirs[name][:64])


def test_classes_go_by_name():
    net = network()
    same = take(net, net)[3]
    assert not same.sliced.names
    other = {0: "hen", 1: "fox", 2: "cat", 3: "owl"}
    before, after, theirs, what = take(net, net, source_names=other)
    name = "model.20.cv3.1.2."
    for kind in ("weight", "bias"):
        mine, given = after[name + kind], theirs[name + kind]
        assert mine[0].equal(given[2]) and mine[2].equal(given[0])
        assert mine[1].equal(before[name + kind][1])
        assert name + kind in what.sliced.names
    none = take(net, net, source_names={0: "x", 1: "y", 2: "z"})[3]
    outputs = {f"model.20.cv3.{i}.2.{kind}" for i in range(3) for kind in ("weight", "bias")}
    assert set(none.left.names) == outputs


def test_bins_go_by_their_distance():
    _, after, theirs, what = take(network(reg_max=8), network(reg_max=16))
    name = "model.20.cv2.1.2.weight"
    rows = [16 * side + number for side in range(4) for number in range(8)]
    assert after[name].equal(theirs[name][rows][:, :32])  # 4 * reg_max wide
    assert not what.left.names


def test_distances_and_bins_are_turned_into_one_another():
    _, after, theirs, _ = take(network(reg_max=16), network(reg_max=1))
    name = "model.20.cv2.1.2"
    x = torch.rand(theirs[f"{name}.weight"].shape[1]).abs()

    def run(state):
        weight = state[f"{name}.weight"].flatten(1)
        return weight[:, : len(x)] @ x[: weight.shape[1]] + state[f"{name}.bias"]

    theirs[f"{name}.bias"].add_(5)  # sides of some strides
    after[f"{name}.bias"].add_(5 * torch.arange(16).repeat(4))
    given, logits = run(theirs), run(after)
    shares = logits.reshape(4, 16).softmax(1)
    found = (shares * torch.arange(16)).sum(1)
    assert found.tolist() == pytest.approx(given.tolist(), abs=0.05)


def test_the_one_to_one_branch():
    _, after, theirs, what = take(network(end2end=True), network(end2end=True))
    name = "model.20.one2one_cv2.0.0.conv.weight"
    assert what.percent == 100 and after[name].equal(theirs[name])
    _, after, theirs, what = take(network(end2end=True), network())
    assert what.percent == 100
    assert after[name].equal(theirs[name.replace("one2one_", "")])
    assert take(network(), network(end2end=True))[3].percent == 100


def test_a_checkpoint_of_ultralytics_into_a_sampled_network(tmp_path):
    host = YOLO("yolo11n.yaml", task="detect", verbose=False)
    path = tmp_path / "yolo11n.pt"
    host.save(path)
    source = weights.load(path)
    assert source.architecture == read(*definition("yolo11n"))
    space = DetectorSpace.load("yolo")
    point = space.point_of(source.architecture)
    assert point is not None
    architecture = space.architecture(space.mutate(point, random.Random(2)))
    assert architecture != source.architecture
    model = build(architecture, 2)
    what = weights.transfer(model, architecture, source, NAMES)
    assert 50 < what.percent < 100
    stem = model.state_dict()["model.0.conv.weight"]
    theirs = host.model.state_dict()["model.0.conv.weight"]
    width = min(len(stem), len(theirs))
    assert stem[:width].equal(theirs[:width].half().float())  # as checkpoints are


def test_the_generator_is_left_alone_and_so_is_the_source():
    architecture = network(levels=(3, 4))
    state = build(architecture, 1).state_dict()
    model = build(architecture, 2)
    torch.manual_seed(5)
    source = weights.source(architecture, state, NAMES)
    weights.transfer(model, architecture, source, NAMES)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert drawn == torch.rand(1)
    assert model.training and all(
        p.requires_grad for n, p in model.named_parameters() if ".dfl." not in n
    )
    assert not any(m._forward_hooks for m in model.modules() if isinstance(m, nn.Conv2d))
    assert all(source.model.state_dict()[n].equal(t) for n, t in state.items())


def checkpoint(path, **content):
    torch.save({"model": None, **content}, path)
    return path


def test_sources_that_cannot_be_used(tmp_path):
    with pytest.raises(NASError, match=r"^inherit=.*gone\.pt: no such file; give"):
        weights.load(tmp_path / "gone.pt")
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "other.txt").write_text("")
    bad = [tmp_path / n for n in ("text.pt", "empty.pt", "other.txt")]
    whole = tmp_path / "whole.pt"
    YOLO("yolo11n.yaml", verbose=False).save(whole)
    (tmp_path / "half.pt").write_bytes(whole.read_bytes()[:100_000])
    for path in (*bad, tmp_path / "half.pt", checkpoint(tmp_path / "none.pt")):
        with pytest.raises(NASError, match="not a checkpoint that can be read") as error:
            weights.load(path)
        assert "\n" not in str(error.value)


def test_a_network_that_no_block_makes_is_one_clear_error(tmp_path):
    YOLO("yolo12n.yaml", verbose=False).save(tmp_path / "a2c2f.pt")
    with pytest.raises(
        NASError, match=r"a2c2f\.pt: .* cannot be read into a space .*A2C2f"
    ) as error:
        weights.load(tmp_path / "a2c2f.pt")
    assert "\n" not in str(error.value)


def test_weights_of_another_network():
    state = build(network(), 1).state_dict()
    with pytest.raises(NASError, match="its weights are not those of its network") as error:
        weights.source(network(width=64), state, NAMES)
    assert "\n" not in str(error.value)
