"""`yolo nas-compare` of models that start from trained weights."""

import csv
import hashlib
import io

import pytest
from ultralytics import YOLO

from tests.helpers.parents import checkpoint, small
from yolo_nas_ext.cli import main
from yolo_nas_ext.compare import definitions, models, recipes
from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.config.compare import CompareSettings
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import (
    UntouchedFineTuning,
    UntouchedStockFineTuning,
    UntouchedTraining,
)
from yolo_nas_ext.network.emit import emit

KEYS = ["epochs=1", "imgsz=64", "batch=8", "threads=1", "seeds=1", "runtime=none"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def mine(folder):
    return checkpoint(folder, nc=2)


@pytest.fixture(scope="module")
def other(folder):
    return checkpoint(folder, "other", nc=2, seed=1)


def prepared(data, given, *more):
    asked = parse_arguments([*KEYS, *more], (CompareSettings,))
    asked |= {"models": given, "data": str(data)}
    return definitions.prepare(definitions.settings(asked)[0])


def test_a_checkpoint_starts_from_itself(shapes, mine, other):
    found = prepared(shapes, f"{mine},{other}")
    first, second = found.models
    assert (first.name, second.name) == ("mine", "other") and second.baseline
    assert first.definition == emit(small(), 2) and first.weights == str(mine)
    assert first.recipe == "ours"
    assert first.digest == hashlib.sha256(mine.read_bytes()).hexdigest()[:16]
    training = found.tuned["ours", str(mine)]
    assert isinstance(training, UntouchedFineTuning) and training.source.name == str(mine)
    assert "mine from mine.pt; other from other.pt" == found.protocol["initial weights"]
    assert "fine-tuning of docs" in found.protocol["schedule"]
    assert "mixture" not in found.protocol


def test_a_definition_starts_from_random_weights_and_the_mixture_is_said(shapes, mine):
    found = prepared(shapes, f"{mine},yolov8n")
    assert [model.recipe for model in found.models] == ["ours", ""]
    assert found.protocol["mixture"] == recipes.MIXED
    assert "yolov8n from random weights" in found.protocol["initial weights"]
    assert isinstance(found.training, UntouchedTraining) and found.training.source is None
    alone = prepared(shapes, "yolov8n")
    assert alone.protocol["initial weights"] == "random weights" and not alone.tuned


def test_inherit_is_where_definitions_start(shapes, mine, other):
    found = prepared(shapes, f"{mine},yolov8n", f"inherit={other}")
    assert [model.weights for model in found.models] == [str(mine), str(other)]
    assert "mixture" not in found.protocol


def test_by_ultralytics_own_recipe_the_class_branch_keeps_its_width(shapes, folder):
    file = folder / "coco.pt"
    YOLO("yolo11n.yaml", verbose=False).save(file)
    ours, theirs = (prepared(shapes, str(file), f"recipe={r}") for r in ("ours", "stock"))
    assert isinstance(theirs.tuned["stock", str(file)], UntouchedStockFineTuning)
    (mine,), (stock,) = ours.models, theirs.models
    assert stock.params > mine.params and stock.flops > mine.flops
    loaded = YOLO("yolo11n.yaml", verbose=False)  # what `yolo train model=coco.pt` trains
    model = type(loaded.model)(loaded.model.yaml, nc=2, verbose=False)
    model.load(YOLO(file).model, verbose=False)
    assert stock.params == sum(p.numel() for p in model.parameters())


def test_trainings_are_told_apart_by_their_weights(shapes, mine, tmp_path, capsys):
    file = tmp_path / "mine.pt"
    file.write_bytes(mine.read_bytes())
    keys = [f"models={file}", f"data={shapes}", f"project={tmp_path}", "name=c", *KEYS]
    assert main(["nas-compare", *keys]) == 0
    first = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO((tmp_path / "c" / "comparison.csv").read_text())))
    assert float(rows[0]["inherited_percent"]) > 99 and "training 1/1  mine" in first
    assert main(["nas-compare", f"resume={tmp_path / 'c'}"]) == 0
    assert "1 of 1 trainings are recorded already" in capsys.readouterr().out
    file.write_bytes(checkpoint(tmp_path / "new", nc=2).read_bytes())  # other random weights
    assert main(["nas-compare", f"resume={tmp_path / 'c'}"]) == 0
    assert "recorded already" not in capsys.readouterr().out
    assert len(list((tmp_path / "c" / "trainings").iterdir())) == 2


def test_the_task_is_that_of_the_checkpoint(tmp_path):
    YOLO("yolo11n-cls.yaml", verbose=False).save(tmp_path / "classes.pt")
    given = {"models": str(tmp_path / "classes.pt"), "data": "x", "epochs": 1}
    assert definitions.settings(given)[0].task == "classify"
    config = definitions.settings({**given, "task": "detect"})[0]
    with pytest.raises(Exception, match=r"classes.pt: is of task=classify, not detect"):
        models.named(config)


@pytest.mark.parametrize(
    ("given", "trained"),
    [
        ({"models": "a.pt"}, False),
        ({"models": "a.pt,b.pt", "epochs": 0}, False),
        ({"models": "a.pt,b.pt", "epochs": 3}, True),
        ({"models": ["a.pt", "b.yaml"]}, True),
        ({"models": "b.yaml"}, True),
        ({}, False),
    ],
)
def test_a_checkpoint_is_trained_where_there_are_epochs(given, trained, monkeypatch):
    from yolo_nas_ext.commands import compare

    asked = []
    monkeypatch.setattr(definitions, "main", lambda given: asked.append("train") or 0)
    if trained:
        assert compare.main(given) == 0 and asked == ["train"]
        return
    with pytest.raises(NASError):  # which asks for what is measured on
        compare.main(given)
    assert not asked


def test_two_files_of_one_stem_are_called_by_their_suffix():
    assert models.labels(["yolo11n.pt", "yolo11n.yaml"]) == ["yolo11n.pt", "yolo11n.yaml"]
    assert models.labels(["x/best.pt", "y/best.pt"]) == ["x/best", "y/best"]
