"""The parent of a search: where it is looked for, what is read of it, and what is refused."""

import os
from dataclasses import replace

import pytest
import torch
from ultralytics import YOLO

from tests.helpers.shapes import draw
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.transfer import parents
from yolo_nas_ext.network.parse import read as read_network


def save(folder, name, change=lambda model: None):
    """Write a checkpoint of a model of Ultralytics with random weights."""
    model = YOLO(f"{name}.yaml", verbose=False)
    change(model.model)
    model.save(folder / f"{name}.pt")
    return folder / f"{name}.pt"


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return save(tmp_path_factory.mktemp("parents"), "yolov8n")


def test_what_a_checkpoint_says(detector):
    parent = parents.load(detector)
    assert (parent.name, parent.task, parent.channels, parent.imgsz) == (
        "yolov8n",
        "detect",
        3,
        640,
    )
    assert len(parent.names) == 80 and parent.unread == ""
    definition = YOLO("yolov8n.yaml", verbose=False).model.yaml
    assert parent.architecture == read_network(definition, "n")
    assert parent.yaml["nc"] == 80 and "yaml_file" not in parent.yaml
    ours, theirs = parent.source.model.state_dict(), YOLO(detector).model.float().state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("yolov8n-seg", "segment"),
        ("yolo11n-cls", "classify"),
        ("yolo11n-pose", "pose"),
        ("yolo11n-obb", "obb"),
        ("yolo26n", "detect"),
        ("yolo26n-seg", "segment"),
        ("yolo26n-pose", "pose"),
        ("yolo26n-obb", "obb"),
        ("yolov8s", "detect"),
    ],
)
def test_tasks_and_scales(tmp_path, name, task):
    parent = parents.load(save(tmp_path, name))
    assert (parent.task, parent.unread) == (task, "") and parent.architecture


def test_a_network_that_is_not_known_is_read_and_not_changed(tmp_path):
    parent = parents.load(save(tmp_path, "yolo12n"))
    assert parent.unread.startswith("row 6 (A2C2f") and parent.source.architecture is None
    with pytest.raises(NASError, match=r"its network cannot be changed \(row 6 .* another space="):
        _ = parent.architecture
    assert "yaml_file" not in parent.yaml and parent.yaml["backbone"]


def test_the_image_size_of_its_training(tmp_path, detector):
    for said, size in ((96, 96), ([320, 192], 320), (100, 96), ("x", 640)):
        content = torch.load(detector, weights_only=False)
        content["train_args"] = {"imgsz": said}
        torch.save(content, tmp_path / "sized.pt")
        os.utime(tmp_path / "sized.pt", ns=(size, size))  # as it is read once
        assert parents.load(tmp_path / "sized.pt").imgsz == size


class Hostile:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def fused(model):
    model.fuse(verbose=False)


def pruned(model):
    first = model.model[2].cv1
    first.conv = torch.nn.Conv2d(32, 24, 1, bias=False)
    first.bn = torch.nn.BatchNorm2d(24)


def broken(model):
    with torch.no_grad():
        model.model[0].conv.weight[0, 0, 0, 0] = float("nan")
        model.model[1].bn.running_var[3] = float("inf")


def test_a_hostile_file_is_not_run(tmp_path):
    torch.save({"model": Hostile(tmp_path / "made")}, tmp_path / "evil.pt")
    with pytest.raises(NASError, match=r"it holds posix\.mkdir, which no network needs"):
        parents.load(tmp_path / "evil.pt")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (fused, "is fused for inference"),
        (broken, r"2 of its \d+ tensors hold values .* such as model.0.conv.weight"),
        (pruned, "its weights are not those of its network .* not a fused or pruned one"),
    ],
)
def test_weights_that_cannot_be_trained_on(tmp_path, change, message):
    with pytest.raises(NASError, match=f"^model=.*yolov8n.pt: {message}") as caught:
        parents.load(save(tmp_path, "yolov8n", change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK damaged", "not a checkpoint that can be read safely"),
        (b"", "not a checkpoint that can be read safely"),
        ({"model": {"a": torch.zeros(2)}}, "holds no network that can be trained"),
        ([1], "not a checkpoint that can be read safely"),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, content, message):
    file = tmp_path / "a.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(NASError, match=f"^pretrained=.*a.pt: {message}") as caught:
        parents.load(file, "pretrained")
    assert "\n" not in str(caught.value)


def test_data_of_other_channels_are_refused(detector, tmp_path):
    data = read(draw(tmp_path, train=4, val=2))
    parent = parents.load(detector)
    parent.check(data)
    with pytest.raises(NASError, match=r"reads images of 3 channels, those of data=.* have 1"):
        parent.check(replace(data, channels=1))


# Where it is


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/yolo11n.pt", r"no such file\. Give the path"),
        ("yolo11q.pt", r"no such file\. Did you mean 'yolo11\w\.pt'\?"),
        ("mine.onnx", r"no such file\. Give the path"),
    ],
)
def test_what_is_neither_there_nor_published(name, message):
    with pytest.raises(NASError, match=f"^model={name}: {message}"):
        parents.located(name)


def test_without_internet_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parents, "ONLINE", False)
    with pytest.raises(NASError, match=r"^model=yolo11n\.pt: .* YOLO_OFFLINE is set"):
        parents.located("yolo11n.pt")


def test_it_is_downloaded_by_ultralytics(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parents, "ONLINE", True)

    def download(name):
        (tmp_path / name).write_bytes(b"x")
        return name

    monkeypatch.setattr(parents, "attempt_download_asset", download)
    assert str(parents.located("yolo11n.pt")) == "yolo11n.pt"
    assert "downloading yolo11n.pt" in capsys.readouterr().out
    monkeypatch.setattr(parents, "attempt_download_asset", lambda name: 1 / 0)
    assert parents.located("yolo11n.pt").is_file()  # it is there by now
    with pytest.raises(NASError, match=r"^model=yolo11s\.pt: cannot be downloaded \(division"):
        parents.located("yolo11s.pt")
    monkeypatch.setattr(parents, "attempt_download_asset", lambda name: name)  # without a file
    with pytest.raises(NASError, match=r"^model=yolo11s\.pt: cannot be downloaded"):
        parents.located("yolo11s.pt")


def test_it_is_found_where_ultralytics_keeps_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "yolo11n.pt").write_bytes(b"x")
    monkeypatch.setattr(parents, "SETTINGS", {"weights_dir": tmp_path / "kept"})
    assert parents.located("yolo11n.pt") == tmp_path / "kept" / "yolo11n.pt"


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_weights_of_coco(shared_data, name):
    parent = parents.load(shared_data / f"{name}_coco" / f"{name}.pt")
    assert parent.task == "detect" and parent.names[0] == "person" and not parent.unread
    assert parent.architecture.head.end2end == (name == "yolo26n")
