"""Teachers and starting weights in a search: what is refused, what is trained, what is said."""

import pytest
import torch
import yaml
from ultralytics import YOLO

from tests.helpers.shapes import draw
from yolo_nas_ext.cli import main
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import ShortTraining, UntouchedTraining
from yolo_nas_ext.host import dataset
from yolo_nas_ext.host.training import distillation
from yolo_nas_ext.host.transfer import weights
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline import plan
from yolo_nas_ext.space.detector import DetectorSpace

STAGES = {f"p{n}": {"block": "c2f", "width": 8 * n} for n in (2, 3, 4, 5)}
SPACE = {
    "stem": {"width": [8, 16]},
    "stages": STAGES,
    "levels": "3-4",
    "neck": {"block": "c2f", "width": 16, "growth": 1},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Data, a space of two levels and a trained network of it."""
    folder = tmp_path_factory.mktemp("teacher")
    data, space = draw(folder / "data"), folder / "two.yaml"
    space.write_text(yaml.safe_dump(SPACE))
    found = DetectorSpace.load(space)
    network = found.architecture({n: options[0] for n, options in found.choices.items()})
    training = ShortTraining(dataset.read(str(data)), epochs=1, imgsz=64, batch=4)
    training.estimate(network, weights=folder / "teacher.pt")
    return data, space, network, folder / "teacher.pt"


def settings(files, **more):
    data, space, _, _ = files
    given = {"data": str(data), "space": str(space), "baseline": "none", **more}
    return configure(given, {}, {})


def test_a_student_learns_from_its_teacher_and_is_stock_again(files, tmp_path):
    data, _, network, path = files
    options = {"epochs": 1, "imgsz": 64, "batch": 4}
    found = {}
    for name, teaching in (("alone", None), ("taught", path)):
        training = ShortTraining(dataset.read(str(data)), teacher=teaching, **options)
        found[name] = training.estimate(network, weights=tmp_path / f"{name}.pt")
    assert found["taught"]["loss_teacher"] > 0 and "loss_teacher" not in found["alone"]
    alone, taught = (YOLO(tmp_path / f"{name}.pt").model for name in found)
    pairs = zip(alone.parameters(), taught.parameters(), strict=True)
    assert not all(a.equal(b) for a, b in pairs)
    assert read(taught.yaml) == network and type(taught) is type(alone)
    one_level = emit(network, 2) | {"head": [[[1], 1, "Detect", ["nc"]]]}
    assert training.estimate(one_level)["loss_teacher"] > 0


def test_the_complete_training_learns_too(files):
    data, _, network, path = files
    part = dataset.read(str(data))
    training = UntouchedTraining(part, part, epochs=1, imgsz=64, batch=4, teacher=path)
    assert training.estimate(network)["loss_teacher"] > 0


def changed(path, target, change):
    """Write a checkpoint whose model a function has changed."""
    content = torch.load(path, weights_only=False)
    change(content["model"])
    torch.save(content, target)
    return target


def test_what_cannot_teach_is_refused(files, tmp_path):
    data, _, _, path = files
    more = {"teacher": str(path), "finalists": 1}
    with pytest.raises(NASError, match="only finalists learn from one; give finalists=3"):
        plan.make(settings(files, teacher=str(path)))
    with pytest.raises(NASError, match=r"teacher=none\.pt: no such file"):
        plan.make(settings(files, **more | {"teacher": "none.pt"}))
    with pytest.raises(NASError, match=r"head is Detect; give a checkpoint of task=segment"):
        distillation.load(path, "segment")
    with pytest.raises(NASError, match="teaches classes and boxes, which task=classify does not"):
        distillation.load(path, "classify")
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    with pytest.raises(NASError, match="not a checkpoint that can be read"):
        distillation.load(tmp_path / "broken.pt")
    fused = changed(path, tmp_path / "fused.pt", lambda m: setattr(m.model[-1], "cv2", None))
    with pytest.raises(NASError, match="was fused"):
        distillation.load(fused)
    other = draw(tmp_path / "three", nc=3, train=4, val=1)
    with pytest.raises(NASError, match=r"it knows 2 classes, and data=.* has 3; give a teacher"):
        plan.make(settings(files, **more | {"data": str(other)}))
    with pytest.raises(NASError, match=r"it knows 2 classes, and data=.* has 1"):
        one = {"single_cls": True}
        ShortTraining(dataset.read(str(data)), teacher=path, overrides=one)
    grey = changed(path, tmp_path / "grey.pt", lambda m: m.yaml.update(channels=1))
    with pytest.raises(NASError, match=r"reads images of 1 channels, and those of data=.* have 3"):
        distillation.load(grey).check(dataset.read(str(data)))
    plan.make(settings(files, **more, baseline="yolov8n"))


def test_a_teachers_classes_go_by_their_names(files, tmp_path):
    data, _, _, path = files
    names = dataset.read(str(data)).names
    turned = {0: names[1], 1: names[0]}
    file = changed(path, tmp_path / "turned.pt", lambda m: setattr(m, "names", turned))
    images = torch.rand(1, 3, 64, 64)
    found = {
        name: distillation.load(p).load({"names": known}).predict(images)["one2many"].scores
        for name, p, known in (
            ("same", path, names),
            ("turned", file, names),
            ("unknown", file, {0: "a", 1: "b"}),
        )
    }
    assert found["same"].equal(found["unknown"]) and found["same"].flip(1).equal(found["turned"])


def test_one_checkpoint_to_start_from(files):
    _, _, _, path = files
    with pytest.raises(NASError, match=r"inherit=other\.pt names another"):
        plan.make(settings(files, pretrained=str(path), inherit="other.pt"))
    with pytest.raises(NASError, match="estimator=naswot does not start from weights"):
        plan.make(settings(files, pretrained=str(path), estimator="naswot"))


def test_parts_add_up_to_all_that_was_taken(files):
    _, _, network, path = files
    source = weights.load(path)
    other = DetectorSpace.load(files[1])
    large = other.architecture({n: options[-1] for n, options in other.choices.items()})
    whole, part = (weights.foretell(n, source, source.model.names) for n in (network, large))
    assert whole.percent == 100 and all(a == b for a, b in whole.parts.values())
    for found in (whole, part):
        taken, total = (sum(pair[i] for pair in found.parts.values()) for i in (0, 1))
        assert total == found.copied.parameters + found.sliced.parameters + found.left.parameters
        assert taken == found.copied.parameters + found.sliced.parameters
    assert "backbone P1 down" in part.parts and "head P3 class" in part.parts
    assert "backbone P1 down (50 %)" in part.lines[2]  # a stem half as wide
    unknown = weights.foretell(network, source, {0: "a", 1: "b"})
    assert "head P3 class" in next(line for line in unknown.lines if line.startswith("in part"))


def test_a_search_says_what_its_best_began_with(files, tmp_path, capsys):
    data, space, _, path = files
    arguments = [f"data={data}", f"space={space}", f"project={tmp_path}", "name=warm", "trials=2"]
    arguments += ["epochs=1", "batch=4", "imgsz=64", "baseline=none", "confirm=0"]
    arguments.append("finalists=0")
    assert main(["search", *arguments, f"pretrained={path}"]) == 0
    printed = capsys.readouterr().out
    assert f"parameters from {path}: " in printed and "\n  not at all: none" in printed
    assert "inherited_percent" in (tmp_path / "warm" / "trials.csv").read_text()
