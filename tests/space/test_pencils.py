"""What a hand would try, against trying everything."""

from dataclasses import replace

from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.host import models
from yolo_nas_ext.network.architecture import TimmBackbone
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.space.parent import ParentSpace
from yolo_nas_ext.space.pencils import pencils

SIZES = (128, 160, 192, 224)


def parent(name="yolo11n", task="detect", imgsz=160):
    return replace(read(*models.definition(name, task)), imgsz=imgsz)


def drawn(own, task="detect", share=1.0, sizes=SIZES):
    """Return pencils within a share of the parent's FLOPs, their costs and how many were asked."""
    asked = []

    def cost(architecture):
        asked.append(architecture)
        return costs(architecture, 3, architecture.imgsz or 160, task=task).flops

    around = ParentSpace(own, task, sizes=sizes)
    limit = cost(own) * share
    found = pencils(own, around, cost, limit)
    relative = {name: cost(network) / limit for name, network in found.items()}
    return around, found, relative, len(asked) - len(found) - 1


def test_pencils_of_a_detector():
    around, found, relative, asked = drawn(parent())
    assert list(found) == [
        "parent at 128 px",
        "parent at 160 px",
        "parent without P5 at 160 px",
        "parent x 0.81 wide at 192 px",
    ]
    assert all(share <= 1 for share in relative.values())
    assert relative["parent at 160 px"] == 1 and relative["parent x 0.81 wide at 192 px"] > 0.98
    assert asked <= 10 * len(SIZES)
    uncut = [network for name, network in found.items() if " x " not in name]
    assert [around.architecture(around.point_of(network)) for network in uncut] == uncut
    lower = found["parent without P5 at 160 px"]
    assert lower.head.levels == (3, 4) and lower.backbone == parent().backbone[:7]


def test_a_cut_is_the_widest_within_the_limit():
    own = parent("yolo11s", imgsz=0)
    shares = (0.12, 0.3, 0.5, 0.7, 0.9)
    cuts = [(share, *drawn(own, share=share, sizes=())[1:3]) for share in shares]
    names = [next(name for name in found if " x " in name) for _, found, _ in cuts]
    factors = [float(name.split()[2]) for name in names]
    assert factors == sorted(factors) and factors[0] < 0.5
    for (share, found, relative), name in zip(cuts, names, strict=True):
        cut = found[name]
        assert 0.93 < relative[name] <= 1
        # Its own cost as the limit leaves it, and a FLOP less a narrower one.
        flops = costs(cut, 3, 160).flops
        whole = costs(own, 3, 160).flops
        assert name in drawn(own, share=(flops + 0.5) / whole, sizes=())[1]
        below = drawn(own, share=(flops - 0.5) / whole, sizes=())[1]
        assert name not in below and any(" x " in other for other in below), share


def test_a_cut_builds_and_has_whole_attention_heads():
    _, found, _, _ = drawn(parent("yolo11s"), share=0.3)
    for name, cut in found.items():
        model = models.build(emit(cut, 3), task="detect", nc=3)
        assert costs(cut, 3, 160).params == sum(p.numel() for p in model.parameters()), name
        hidden = [block.hidden for block in cut.backbone if block.kind == "c2psa"]
        assert all(width % 64 == 0 for width in hidden)


def test_pencils_without_image_sizes_of_a_classifier():
    own = parent("yolo11n", "classify", imgsz=0)
    around, found, _, _ = drawn(own, "classify", sizes=())
    assert list(found) == ["parent", "parent without P5"] and found["parent"] == own
    assert found["parent without P5"].head.levels == (4,)
    assert around.point_of(found["parent without P5"])
    _, found, _, _ = drawn(own, "classify", share=0.5, sizes=())
    assert [name.split()[1] for name in found] == ["x"]


def test_nothing_is_left_of_a_limit_that_nothing_keeps():
    assert not drawn(parent("yolov8n"), share=0.001)[1]


def test_a_parent_that_cannot_be_changed_has_its_image_sizes():
    timm = TimmBackbone("resnet18", False, (2, 3, 4), (3, 4, 5), (128, 256, 512))
    own = replace(parent(imgsz=96), backbone=(), timm=timm)
    theirs = DetectorSpace.load("tiny", sizes=(64, 96, 128))
    found = pencils(own, theirs, lambda network: network.imgsz, 96)
    assert list(found) == ["parent at 64 px", "parent at 96 px"]
