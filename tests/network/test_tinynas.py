"""Published structures of TinyNAS, and the drop-in configs made of them."""

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from tests.space.test_detector import DAMO
from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import resource
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.network.tinynas import structure
from yolo_nas_ext.space.detector import DetectorSpace


def entries(name):
    kind, stem, blocks = DAMO[name]
    found = [{"class": "ConvKXBNRELU", "in": 12, "out": stem, "k": 3, "s": 1}]
    for (width, hidden, repeats), stride in zip(blocks, (2, 2, 2, 1, 2), strict=True):
        found.append(
            {
                "class": f"SuperResConv{kind.upper()}",
                "in": found[-1]["out"],
                "out": width,
                "btn": hidden,
                "k": 3,
                "s": stride,
                "L": repeats,
            }
        )
    return found


@pytest.mark.parametrize("name", DAMO)
def test_the_drop_in_configs_are_the_published_structures(name):
    architecture = structure(str(entries(name)))
    file = resource("cfg", "backbones", f"damo-{name.lower()}.yaml")
    assert read(file) == architecture
    assert structure({"best_structures": [entries(name)], "space_arch": "x"}) == architecture
    assert DetectorSpace.load("damo").point_of(architecture)
    cost = costs(architecture)
    assert cost.layers == (19 if name == "L20" else int(name[1:]))
    assert f"{cost.params:,} parameters" in file.read_text(encoding="utf-8")


def test_a_drop_in_config_trains_in_stock_ultralytics():
    model = DetectionModel(str(resource("cfg", "backbones", "damo-l20.yaml")), nc=2, verbose=False)
    assert sum(p.numel() for p in model.parameters()) == costs(read_l20(), 2).params
    outputs = model.train()(torch.rand(1, 3, 64, 64))
    outputs["boxes"].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.model[0].parameters())
    assert emit(read_l20(), 2)["head"][-1][2] == "Detect"


def read_l20():
    return read(resource("cfg", "backbones", "damo-l20.yaml"))


def changed(index, **values):
    found = entries("L20")
    found[index] = {**found[index], **values}
    return found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("not a list", "list of dictionaries"),
        ("7", "holds no list"),
        ([], "a stem and super-blocks"),
        ({"best_structures": []}, "holds no list"),
        (entries("L20")[:3], "3 strides of 2"),
        (changed(1, **{"in": 40}), "entry 1 has in=40, but the block before it has out=24"),
        (changed(2, **{"class": "SuperResConvK1KXK1"}), "Did you mean 'SuperResConvK1KX'"),
        (changed(2, L=None), "L is None"),
        (changed(2, btn=60), "btn is 60; Ultralytics builds multiples of 8"),
        (changed(2, s=3), "s is 1 or 2"),
        (changed(0, **{"in": 5}), "a stem has in=12"),
        (changed(0, **{"class": "Conv"}), "begins with ConvKXBNRELU"),
        (["x", "y"], "begins with ConvKXBNRELU"),
    ],
)
def test_what_is_no_structure(source, message):
    with pytest.raises(NASError, match=message):
        structure(source, "s.txt")


def test_a_plain_stem():
    stem = {"class": "ConvKXBNRELU", "in": 3, "out": 24, "k": 3, "s": 2}
    architecture = structure([stem, *entries("L20")[1:]])
    assert architecture.backbone[0].kind == "conv"
