"""Compared models: what they are called, what they cost, and what their searches took."""

import pytest
import torch
from ultralytics import YOLO
from ultralytics.utils.torch_utils import get_flops, get_num_params

from yolo_nas_ext.compare import models
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.host import models as ultralytics
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.study import storage
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial


@pytest.mark.parametrize(
    ("name", "task"), [("yolo11n", "detect"), ("yolov8n", "segment"), ("yolo26n", "pose")]
)
def test_costs_are_those_that_ultralytics_counts(name, task):
    theirs = YOLO(f"{name}{ultralytics.SUFFIX.get(task, '')}.yaml").model
    definition = ultralytics.scaled(*ultralytics.definition(name, task))
    state = torch.random.get_rng_state()
    params, flops = ultralytics.costs(
        definition, nc=theirs.yaml["nc"], channels=3, imgsz=320, task=task, keypoints=(17, 3)
    )
    assert torch.equal(state, torch.random.get_rng_state())
    assert params == get_num_params(theirs)
    assert flops / 1e9 == pytest.approx(get_flops(theirs, 320)) and flops > 1e9


def test_a_model_that_cannot_be_built_says_why():
    rows = {"backbone": [[-1, 1, "Nonsense", []]], "head": []}
    with pytest.raises(TrialError, match="KeyError"):
        ultralytics.costs(rows, nc=1, channels=3, imgsz=64)


def test_what_models_are_called():
    assert models.labels(["a.yaml", "x/b.yaml", "yolo11n.yaml"]) == ["a", "b", "yolo11n"]
    assert models.labels(["x/best.yaml", "y/best.yaml"]) == ["x/best", "y/best"]
    with pytest.raises(NASError, match="x/best is the name of two"):
        models.labels(["1/x/best.yaml", "2/x/best.yaml"])


def test_the_cost_of_a_search_is_read_from_its_record(tmp_path):
    space = ChoiceSpace({"a": (1, 2, 3)})
    record = Study(space, tmp_path / "study.db")
    for number, seconds in enumerate((10.0, 20.0, 30.0)):
        point = space.point({"a": number + 1})
        record.add(
            [Trial(number, point, state="complete", metrics={"fitness": 0.1}, seconds=seconds)]
        )
    record.record_repeat(2, [0.2])
    assert storage.recorded_seconds(tmp_path / "study.db") == 90.0
    assert models.searched(tmp_path / "best.yaml") is None  # no run of ours
    (tmp_path / "args.yaml").write_text("seed: 0")
    assert models.searched(tmp_path / "best.yaml") == 90.0
    assert models.searched(tmp_path / "pareto" / "nas-1.yaml") == 90.0
    (tmp_path / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(NASError, match="cannot be read"):
        models.searched(tmp_path / "best.yaml")
