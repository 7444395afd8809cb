import pytest
import torch
from ultralytics.nn.tasks import ClassificationModel, DetectionModel

from yolo_nas_ext.host import models
from yolo_nas_ext.host.training.initialisation import head_start, new_classes


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_heads_of_every_kind_begin_alike(name):
    content, scale = models.definition(name)
    model = DetectionModel({**content, "scale": scale}, nc=3, verbose=False)
    head_start(model, 64)
    head = model.model[-1]
    pairs = [(head.cv2, head.cv3)]
    if name == "yolo26n":  # end to end
        pairs.append((head.one2one_cv2, head.one2one_cv3))
    for boxes, scores in pairs:
        for box, score, stride in zip(boxes, scores, (8, 16, 32), strict=True):
            sides = box[-1].bias.view(4, head.reg_max)
            if head.reg_max > 1:  # Ultralytics decodes a side as the mean over its bins
                sides = sides.softmax(1) @ torch.arange(head.reg_max, dtype=torch.float32)
            assert torch.allclose(sides, torch.tensor(2.0), atol=0.05)
            # Ultralytics' odds for 5 objects among the cells of a level, for 640 px there.
            objects = score[-1].bias.detach().exp().sum() * (64 / stride) ** 2
            assert float(objects) == pytest.approx(5)


def test_other_heads_are_left_alone():
    content, _ = models.definition("yolo11n-cls")  # its head is no detection head
    model = ClassificationModel({**content, "scale": "n"}, nc=3, verbose=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    head_start(model, 64)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_classes_that_are_new_begin_alike_and_known_ones_are_kept(name):
    content, scale = models.definition(name)
    model = DetectionModel({**content, "scale": scale}, nc=3, verbose=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    new_classes(model, 64, [0, 2])
    head = model.model[-1]
    branches = [head.cv3, head.one2one_cv3] if name == "yolo26n" else [head.cv3]
    changed = set()
    for scores in branches:
        for score, stride in zip(scores, (8, 16, 32), strict=True):
            (prefix,) = {n for n, m in model.named_modules() if m is score[-1]}
            changed |= {f"{prefix}.weight", f"{prefix}.bias"}
            assert not score[-1].weight[[0, 2]].any()
            for kind, value in (("weight", score[-1].weight), ("bias", score[-1].bias)):
                assert torch.equal(value[1], before[f"{prefix}.{kind}"][1])
            # Ultralytics' odds: 5 objects of 3 classes among the cells of a level.
            odds = score[-1].bias[[0, 2]].exp() * (64 / stride) ** 2
            assert torch.allclose(odds, torch.tensor(5 / 3))
    same = {n for n, value in model.state_dict().items() if torch.equal(value, before[n])}
    assert same == before.keys() - changed


def test_new_classes_of_pixels_are_as_likely_as_one_another():
    model = models.build(models.definition("yolo26n", "segment")[0], task="segment", nc=3)
    last = model.model[-1].proto.semseg[-1]
    known = last.weight[1].clone()
    new_classes(model, 64, [0, 2])
    assert torch.equal(last.weight[1], known)
    assert not last.weight[[0, 2]].any() and not last.bias[[0, 2]].any()


def test_new_classes_of_a_classifier_are_as_likely_as_one_another():
    content, _ = models.definition("yolo11n-cls")
    model = ClassificationModel({**content, "scale": "n"}, nc=4, verbose=False)
    known = model.model[-1].linear.weight[1].clone()
    new_classes(model, 64, [0, 2, 3])
    linear = model.model[-1].linear
    assert torch.equal(linear.weight[1], known)
    assert not linear.weight[[0, 2, 3]].any() and not linear.bias[[0, 2, 3]].any()
