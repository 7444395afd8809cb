"""model=: what a checkpoint settles of a search, and what is refused."""

import random
from dataclasses import replace

import pytest
from ultralytics import YOLO

from tests.helpers.devices import made_up
from tests.helpers.parents import checkpoint, small
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.cost.latency.profile import save
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.factory import fitness_of, parent_network, space_file
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.pipeline import parent as parents


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("parents"))


def settled(file, **given):
    return parents.settle(configure({"model": str(file), **given}, {}, {}))


def test_without_a_parent_nothing_changes():
    config = configure({}, {}, {})
    assert parents.settle(config) == (config, None, ())


def test_the_checkpoint_says_task_and_image_size(mine, tmp_path):
    config, parent, notes = settled(mine)
    assert (config.task, config.imgsz, config.model) == ("detect", 640, str(mine))
    assert parent.name == "mine" and not notes
    YOLO("yolo11n-cls.yaml", verbose=False).save(tmp_path / "kinds.pt")
    assert settled(tmp_path / "kinds.pt").config.task == "classify"
    assert settled(tmp_path / "kinds.pt", task="classify", imgsz=96).config.imgsz == 96


def test_another_task_is_refused_by_the_key_that_was_typed(mine):
    with pytest.raises(NASError, match=r"^model=.*mine.pt: is of task=detect, not segment"):
        settled(mine, task="segment")
    config = configure({"pretrained": str(mine), "task": "obb"}, {}, {})
    with pytest.raises(NASError, match=r"^pretrained=.*mine.pt: is of task=detect, not obb"):
        parents.settle(config)


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ({"imgsz": 640}, (512, 576, 640, 704, 768, 832, 896)),
        ({"imgsz": 320}, (256, 288, 320, 352, 384, 416, 448)),
        ({"imgsz": 160}, (128, 160, 192, 224)),
        ({"imgsz": 96}, (64, 96, 128, 160)),
        ({"imgsz": 64}, (64, 96, 128)),
        ({"imgsz": 32}, (32, 64, 96)),
        ({"imgsz": 160, "sizes": "96,160"}, (96, 160)),
        ({"imgsz": 160, "sizes": None}, ()),
        ({"imgsz": 160, "space": "tiny"}, ()),
        ({"imgsz": 160, "fidelity": "asha:imgsz"}, ()),
        ({"imgsz": 160, "fidelity": "asha"}, (128, 160, 192, 224)),
    ],
)
def test_image_sizes_of_a_space_of_the_parent(mine, given, sizes):
    assert settled(mine, **given).config.sizes == sizes


def test_image_sizes_of_a_profile(mine, tmp_path):
    file = tmp_path / "device.json"
    save(made_up(), file)
    assert settled(mine, imgsz=96, latency=str(file)).config.sizes == (64,)


def test_the_space_is_made_of_the_parent_at_its_size(mine):
    config, _, _ = settled(mine, imgsz=64)
    space = space_file(config)
    network = parent_network(config)
    assert network.imgsz == 64 and space.architecture(space.point_of(network)) == network
    assert parent_network(settled(mine, imgsz=64, sizes=None).config) == small()
    fixed = space_file(settled(mine, imgsz=64, fix="imgsz:96").config)
    assert fixed.sizes(64) == (96,)


@pytest.mark.parametrize("yolo26", [False, True])
def test_candidates_have_the_kind_of_head_that_their_parent_has(tmp_path, yolo26):
    network = small(task="obb")
    network = replace(network, head=replace(network.head, yolo26=yolo26))
    (tmp_path / "boxes.yaml").write_text(to_yaml(network, 2, "obb"))
    YOLO(tmp_path / "boxes.yaml", verbose=False).save(tmp_path / "boxes.pt")
    for name in ("parent", "tiny"):
        space = space_file(settled(tmp_path / "boxes.pt", space=name).config)
        assert space.architecture(space.sample(random.Random(0))).head.yolo26 == yolo26
    alone = space_file(configure({"space": "tiny", "task": "obb"}, {}, {}))
    assert not alone.architecture(alone.sample(random.Random(0))).head.yolo26


def test_a_parent_that_cannot_be_changed_needs_another_space(tmp_path):
    YOLO("yolo12n.yaml", verbose=False).save(tmp_path / "twelve.pt")
    config, parent, notes = settled(tmp_path / "twelve.pt", space="tiny")
    assert parent.unread and "twelve is a baseline alone" in notes[0]
    assert parents.candidates(config, parent).model is None
    config, parent, _ = settled(tmp_path / "twelve.pt")
    with pytest.raises(NASError, match="no space can be made of it; give another space="):
        space_file(config)


def test_fitness_is_measured_and_compares(mine):
    config, parent, _ = settled(mine)
    assert fitness_of(config) == "host" and parents.candidates(config, parent) is config
    alone = parents.alone(config)
    assert (alone.model, alone.inherit, alone.fitness) == (None, None, "host")
