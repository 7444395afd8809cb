"""Every task's head on every space: parameters and FLOPs are Ultralytics' own counts."""

import random
from dataclasses import replace

import pytest
import torch
import yaml
from ultralytics.nn.tasks import SemanticSegmentationModel, yaml_model_load
from ultralytics.utils.torch_utils import get_flops

from yolo_nas_ext.cost.counts import costs
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import resource
from yolo_nas_ext.host.models import BUILT, definition
from yolo_nas_ext.network.emit import TASKS, emit, to_yaml
from yolo_nas_ext.network.layers import lower
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.network.rows import for_task
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.mark.parametrize("name", ["tiny", "yolo", "damo"])
@pytest.mark.parametrize("task", TASKS)
def test_costs_are_those_of_ultralytics(name, task):
    space, rng = DetectorSpace.load(name, task), random.Random(5)
    for _ in range(2):
        architecture = space.architecture(space.sample(rng))
        definition = emit(architecture, 3, task, (5, 2))
        model = BUILT[task](definition, ch=1, nc=3, verbose=False)
        found = costs(architecture, 3, 64, channels=1, task=task, keypoints=(5, 2))
        assert found.params == sum(p.numel() for p in model.parameters())
        assert found.flops == pytest.approx(get_flops(model, 64) * 1e9, rel=0.01)
        table = lower(architecture, 3, 64, 1, task=task, keypoints=(5, 2))
        assert (table.params, table.flops, table.memory()) == found[:3]
        with torch.no_grad():
            model.eval()(torch.zeros(1, 1, 64, 64))
        assert read(yaml.safe_load(to_yaml(architecture, 3, task))) == architecture


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("yolov8n-seg", "segment"),
        ("yolo11s-seg", "segment"),
        ("yolo11n-obb", "obb"),
        ("yolov8s-pose", "pose"),
        ("yolo11n-cls", "classify"),
        ("yolo26n-cls", "classify"),
        ("yolov8n-cls", "classify"),
        ("yolo26n-sem", "semantic"),
        ("yolo26s-sem", "semantic"),
        ("yolo26n-seg", "segment"),
        ("yolo26s-seg", "segment"),
        ("yolo26n-pose", "pose"),
        ("yolo26s-pose", "pose"),
        ("yolo26n-obb", "obb"),
        ("yolo26s-obb", "obb"),
    ],
)
def test_hand_made_models_of_a_task_keep_their_costs(name, task):
    definition = yaml_model_load(f"{name}.yaml")
    host = BUILT[task](dict(definition), nc=4, verbose=False)
    architecture = read(definition, definition["scale"])
    found = costs(architecture, 4, 64, task=task)
    assert found.params == sum(p.numel() for p in host.parameters())
    assert found.flops == round(get_flops(host, 64) * 1e9)
    mine = emit(architecture, 4, task)
    assert mine["head"][-1][2] == definition["head"][-1][2] and read(mine) == architecture


def test_heads_of_yolo26_are_told_apart_by_their_key_and_others_have_the_key_of_before():
    architecture = read(*definition("yolo26n"))
    assert architecture.key == "6ebc3c29c6" and "yolo26" not in architecture.to_dict()["head"]
    own = read(*definition("yolo26n", "obb"))
    assert replace(own, head=replace(own.head, yolo26=False)) == architecture
    assert own.key != architecture.key and type(own).from_dict(own.to_dict()) == own
    for task in ("detect", "classify", "semantic"):  # of which there is one head
        assert emit(own, 4, task) == emit(architecture, 4, task)


@pytest.mark.parametrize("name", ["yolo11n-cls", "yolo26n-cls"])
def test_hand_made_classifiers_are_points_of_the_space(name):
    definition = yaml_model_load(f"{name}.yaml")
    architecture = read(definition, definition["scale"])
    space = DetectorSpace.load("yolo", "classify")
    assert space.architecture(space.point_of(architecture)) == architecture


def test_segmentation_reads_no_level_below_p3(tmp_path):
    """Ultralytics' validator cannot compare the masks of any other."""
    for name in ("tiny", "yolo", "damo"):
        space, rng = DetectorSpace.load(name, "segment"), random.Random(1)
        lowest = {space.architecture(space.sample(rng)).head.levels[0] for _ in range(30)}
        assert lowest == {3}
    assert "2-5:3-5" in DetectorSpace.load("yolo", "segment").choices["levels"]
    content = yaml.safe_load(resource("cfg", "spaces", "tiny.yaml").read_text())
    file = tmp_path / "fine.yaml"
    file.write_text(yaml.safe_dump({**content, "levels": ["2-4"]}))
    with pytest.raises(NASError, match="levels are 2-4; with task=segment"):
        DetectorSpace.load(file, "segment")


@pytest.mark.parametrize("name", ["tiny", "yolo", "damo"])
def test_a_semantic_segmentation_has_no_way_up(name):
    space, rng = DetectorSpace.load(name, "semantic"), random.Random(2)
    for _ in range(20):
        architecture = space.architecture(point := space.sample(rng))
        assert not architecture.neck.up and architecture.head.levels in ((3,), (3, 4))
        assert architecture.neck.levels[0] == 3
        assert space.architecture(space.point_of(architecture)) == architecture
    assert not any(n.startswith("head") or n == "neck.top" for n in space.active(point))


def test_a_detector_of_ultralytics_as_semantic_segmentation():
    """YOLO26's own is its detector without the way up, so the rule can be checked against it."""
    hosts, scale = definition("yolo26n", "semantic")
    detector, letter = definition("yolo26n")
    mine = for_task(read(detector, letter), "semantic")
    theirs = read(hosts, scale)
    assert mine.backbone == theirs.backbone and mine.neck == theirs.neck
    for name in ("yolov8n", "yolo11n"):
        model, scale = definition(name, "semantic")
        SemanticSegmentationModel(dict(model), nc=4, verbose=False)
        space = DetectorSpace.load("yolo", "semantic")
        space.point_of(read(model, scale))


def test_a_classifier_is_a_backbone_alone():
    space = DetectorSpace.load("yolo", "classify")
    rng = random.Random(0)
    for _ in range(20):
        point = space.sample(rng)
        architecture = space.architecture(point)
        assert not architecture.neck.down and architecture.head == type(architecture.head)(
            architecture.neck.levels
        )
        assert not any(n.startswith(("neck", "head")) for n in space.active(point))
        assert space.architecture(space.point_of(architecture)) == architecture
    with_neck = DetectorSpace.load("yolo")
    same = {n: v for n, v in with_neck.sample(rng).items()}
    twins = {space.identity(space.canonical({**same, "neck.width": w})) for w in (32, 96)}
    assert len(twins) == 1
