"""`yolo nas-score`: Ultralytics' own counts, the analytic scores, and clean JSON."""

import json
import subprocess
import sys

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel, yaml_model_load
from ultralytics.utils.torch_utils import get_flops

from tests.network.test_tinynas import entries
from yolo_nas_ext.cli import main
from yolo_nas_ext.estimators.zero_cost.entropy import deepmad, madnas
from yolo_nas_ext.files import resource
from yolo_nas_ext.host import models
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.network.parse import read


def scored(capsys, *arguments):
    assert main(["score", *arguments, "json=True"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["yolo11n", "yolo26n"])
def test_agrees_with_ultralytics_own_counts(name, capsys):
    found = scored(capsys, f"model={name}")
    model = DetectionModel(yaml_model_load(f"{name}.yaml"), verbose=False)
    assert found["params"] == sum(p.numel() for p in model.parameters())
    assert found["flops"] == pytest.approx(1e9 * get_flops(model, 640), rel=0.01)
    architecture = read(yaml_model_load(f"{name}.yaml"), "n")
    assert found["madnas"] == madnas(architecture)
    assert found["deepmad"] == deepmad(architecture, 640)
    assert list(found) == [
        "model",
        "px",
        "key",
        "params",
        "flops",
        "memory",
        "layers",
        "madnas",
        "deepmad",
        "effectiveness",
    ]


def test_several_models_of_every_kind(capsys, tmp_path):
    file = resource("cfg", "backbones", "damo-l20.yaml")
    text = tmp_path / "l20.txt"
    text.write_text(str({"best_structures": [entries("L20")]}))
    key = read(file).key
    pareto = tmp_path / "runs" / "search" / "pareto"
    pareto.mkdir(parents=True)
    (pareto / f"nas-{key}.yaml").write_text(to_yaml(read(file), 7))
    found = scored(capsys, f"model={file},{text},nas-{key}", f"project={tmp_path / 'runs'}")
    assert [row["key"] for row in found] == [key] * 3
    assert found[0]["params"] == found[1]["params"] > found[2]["params"]  # of fewer classes
    assert found[0]["madnas"] == pytest.approx(1015.144106300765, abs=1e-9)
    (pareto.parent / "best.yaml").write_text(to_yaml(read(file), 7))
    (pareto / f"nas-{key}.yaml").unlink()
    assert scored(capsys, f"model={key}", f"project={tmp_path / 'runs'}", "nc=80")["key"] == key
    assert scored(capsys, f"model={entries('L20')}", "imgsz=320")["key"] == key


def test_a_table(capsys):
    assert main(["nas-score", "model=yolo11n,yolov8n", "nc=3", "imgsz=320"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["model", "px", "params"] and len(lines) == 3
    assert lines[1].startswith("yolo11n  ")
    assert main(["nas-score", "help"]) == 0 and "TinyNAS" in capsys.readouterr().out


def test_standard_output_is_json_alone():
    run = subprocess.run(
        [sys.executable, "-m", "yolo_nas_ext", "score", "model=yolo11n", "json=True"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout)["model"] == "yolo11n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["imgsz=640"], "model: is required"),
        (["model=yolo11n", "imgsz=100"], "multiple of 32"),
        (["model=yolo11n", "json=maybe"], "True or False"),
        (["model=yolo11n", "size=3"], "unknown key"),
        (["model=yolo111n"], "model=yolo111n: Ultralytics has no such model"),
        (["model=0123456789"], "model=0123456789: no nas-0123456789.yaml"),
        (["model=[{'class': 'Conv'}, {'class': 'Conv'}]"], "begins with ConvKXBNRELU"),
        (["model=[oops"], "cannot be read as a value"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments, message, capsys):
    assert main(["score", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and not captured.out


def test_measured_latency_comes_with_its_protocol(capsys):
    found = scored(capsys, "model=yolov8n", "measure=True", "imgsz=64", "nc=3")
    assert 0 < found["latency_ms"] == found["latency"]["median_ms"]
    assert found["latency"]["protocol"]["imgsz"] == 64 and found["latency"]["runs"] >= 30
    assert main(["score", "model=yolov8n", "measure=True", "runtime=onx"]) == 2
    assert "Did you mean 'onnx'" in capsys.readouterr().err


def test_what_ultralytics_alone_can_read_is_counted_and_not_scored(capsys, tmp_path):
    twelve = scored(capsys, "model=yolo12n", "nc=3")
    assert twelve["params"] > 2e6 and twelve["flops"] > 5e9 and twelve["madnas"] is None
    from ultralytics import YOLO

    for name in ("yolo12n", "yolo11n"):
        YOLO(f"{name}.yaml", verbose=False).save(tmp_path / f"{name}.pt")
        saved, named = (scored(capsys, f"model={m}") for m in (tmp_path / f"{name}.pt", name))
        assert {**saved, "model": name} == named
    assert main(["score", "model=yolo12n,yolo11n"]) == 0
    assert " - " in capsys.readouterr().out


BROKEN = {
    "bytes": b"\x93\xff\x00\xfe" * 99,
    "a list": b"- 1\n- 2\n",
    "control characters": b"a: \x01\x02",
    "nothing": b"",
    "a text": b"hello",
    "a date": b"a: 2001-99-99",
    "deep": b"[" * 3000,
    "an alias": b"a: *x",
    "a tag": b"!!python/object:os.system {}",
    "UTF-16": "nc: 3".encode("utf-16"),
    "no rows": b"nc: 3",
    "rows that are none": b"backbone: [1]\nhead: [2]",
    "empty rows": b"backbone: []\nhead: []",
    "classes": b"nc: many\nbackbone: [[-1, 1, Conv, [64]]]\nhead: [[[0], 1, Detect, [nc]]]",
    "scales": b"scales: [1]\nbackbone: [[-1, 1, Conv, [64]]]\nhead: [[[0], 1, Detect, [nc]]]",
    "a size": b"imgsz: big\nbackbone: [[-1, 1, Conv, [64]]]\nhead: [[[0], 1, Detect, [nc]]]",
    "a width": b"backbone: [[-1, 1, Conv, [-64, 3, 2]]]\nhead: [[[0], 1, Detect, [nc]]]",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize(
    "command", [["score", "model={}"], ["scale", "model={}", "flops=2x", "out={}.out"]]
)
def test_a_model_yaml_that_is_none_is_one_line(kind, command, tmp_path, capsys):
    path = tmp_path / "my.yaml"
    path.write_bytes(BROKEN[kind])
    assert main([part.format(path) for part in command]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said and len(said) < 500


@pytest.mark.parametrize("model", ["[]", "{}", "none", ""])
def test_no_model_is_a_line(model, capsys):
    assert main(["score", f"model={model}"]) == 2
    assert "model" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify"])
def test_the_head_of_the_task_is_counted(task, capsys, tmp_path):
    suffix = {"segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}[task]
    definition = yaml_model_load(f"yolo11n{suffix}.yaml")
    model = models.BUILT[task](dict(definition), verbose=False)
    wanted = sum(p.numel() for p in model.parameters())
    assert scored(capsys, f"model=yolo11n{suffix}.yaml", "imgsz=64")["params"] == wanted


def test_a_checkpoint_of_grey_images_is_counted_as_one(capsys, tmp_path):
    model = DetectionModel("yolo11n.yaml", ch=1, nc=2, verbose=False)
    torch.save({"model": model, "train_args": {}}, tmp_path / "grey.pt")
    wanted = sum(p.numel() for p in model.parameters())
    assert scored(capsys, f"model={tmp_path / 'grey.pt'}", "imgsz=64")["params"] == wanted


def test_a_task_that_is_not_searched_is_counted_and_timed(capsys, tmp_path):
    model = models.build(models.scaled(*models.definition("yolo26n-depth")), task="depth")
    torch.save({"model": model, "train_args": {}}, tmp_path / "depth.pt")
    wanted = sum(p.numel() for p in model.parameters())
    both = scored(capsys, f"model=yolo26n-depth,{tmp_path / 'depth.pt'}", "imgsz=64")
    assert [row["params"] for row in both] == [wanted, wanted] and both[0]["madnas"] is None
    found = scored(
        capsys, f"model={tmp_path / 'depth.pt'}", "imgsz=32", "measure=True", "runtime=torch"
    )
    assert found["latency_ms"] > 0


def test_a_definition_without_a_head_is_a_line(capsys, tmp_path):
    file = tmp_path / "headless.yaml"
    file.write_text("nc: 2\nbackbone: [[-1, 1, Conv, [8, 3, 2]]]\nhead: [[-1, 1, Conv, [8]]]\n")
    assert main(["score", f"model={file}"]) == 2
    assert f"model={file}: cannot be read" in capsys.readouterr().err


def test_another_head_is_counted_by_its_own_class(capsys):
    assert models.given_task(models.definition("rtdetr-l")[0]) == "detect"
    assert models.given_task({"head": [[-1, 1, "Nothing", []]]}) is None
    assert scored(capsys, "model=rtdetr-l", "imgsz=64")["params"] > 3e7


def test_a_search_refuses_a_parent_that_it_cannot_train_by_one_line(capsys, tmp_path):
    model = models.build(models.scaled(*models.definition("yolo26n-depth")), task="depth")
    torch.save({"model": model, "train_args": {}}, tmp_path / "depth.pt")
    assert main(["search", "data=cells", f"model={tmp_path / 'depth.pt'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "model=" in line and "DepthModel" in line
