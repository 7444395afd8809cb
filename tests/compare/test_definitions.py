"""`yolo nas-compare` of model definitions: what it trains, leaves, resumes and refuses."""

import csv
import io
import json
from contextlib import redirect_stdout

import pytest
import torch
import yaml
from ultralytics import YOLO

from tests.helpers.kills import killed_and_resumed
from tests.helpers.shapes import draw
from yolo_nas_ext.cli import main
from yolo_nas_ext.compare.models import read as read_definition
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.host.dataset import joined, read

KEYS = ["epochs=1", "imgsz=64", "batch=8", "threads=1"]


def test_all_of_train_is_trained_on_and_val_is_measured(shapes):
    train, val = read(shapes), read(shapes, part="val")
    training = UntouchedTraining(train, val, epochs=1, imgsz=64)
    data = training.data
    assert [data.images[i] for i in training.split[0]] == list(train.images)
    assert [data.images[i] for i in training.split[1]] == list(val.images)
    other = UntouchedTraining(train, val, epochs=1, imgsz=64, seed=9)
    assert other.split == training.split  # the same for every seed
    assert len(joined(train, val).labels) == 22


def test_the_part_test_is_read_where_there_is_one(shapes, tmp_path):
    with pytest.raises(NASError, match="has no test part"):
        read(shapes, part="test")
    path = draw(tmp_path, train=4, val=2)
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "test": "images/train"}))
    assert len(read(path, part="test").images) == 4
    path.unlink()
    (tmp_path / "images" / "test").symlink_to(tmp_path / "images" / "val")
    assert len(read(tmp_path, part="test").images) == 2


@pytest.fixture(scope="module")
def run(shapes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    with redirect_stdout(io.StringIO()) as printed:
        code = main(
            [
                "nas-compare",
                "models=yolov8n.yaml,yolo11n",
                f"data={shapes}",
                "seeds=2",
                "baseline=yolov8n.yaml",
                f"project={folder}",
                "name=c",
                *KEYS,
            ]
        )
    text = printed.getvalue()
    assert code == 0, text
    return folder / "c", text


def test_a_comparison_leaves_everything(run):
    folder, text = run
    rows = list(csv.DictReader(io.StringIO((folder / "comparison.csv").read_text())))
    assert [(r["model"], r["seed"]) for r in rows] == [
        ("yolov8n", "0"),
        ("yolo11n", "0"),
        ("yolov8n", "1"),
        ("yolo11n", "1"),
    ]
    assert rows[0]["baseline"] == "True" and float(rows[1]["params"]) > 2e6
    for name in ("comparison.png", "comparison.html", "args.yaml", "models/yolo11n.yaml"):
        assert (folder / name).stat().st_size > 100, name
    first = (folder / "verdict.md").read_text().splitlines()[2]
    assert (
        first in text and "yolo11n" in first and first in (folder / "comparison.html").read_text()
    )
    assert YOLO(folder / "weights" / "yolo11n.pt").task == "detect"
    assert not list(folder.rglob("*.tmp"))
    # For the say of the images: fitness without each of them, which is no column.
    (parts,) = {len(json.loads(f.read_text())["without"]) for f in folder.glob("trainings/*.json")}
    assert parts > 1 and not [name for name in rows[0] if "without" in name]


def test_a_training_of_it_is_the_full_one(run, shapes):
    """The recorded number is that of the estimator, whatever was trained before."""
    record = next(
        found
        for file in (run[0] / "trainings").iterdir()
        if (found := json.loads(file.read_text()))["name"] == "yolo11n" and found["seed"] == 1
    )
    training = UntouchedTraining(
        read(shapes), read(shapes, part="val"), epochs=1, imgsz=64, batch=8, threads=1
    )
    metrics = training.estimate("yolo11n", {"seed": 1})
    assert {n: record["metrics"][n] for n in ("fitness", "loss_box", "val_loss_cls")} == {
        n: pytest.approx(metrics[n], rel=1e-6) for n in ("fitness", "loss_box", "val_loss_cls")
    }


def test_latency_is_measured_of_all_in_turns_and_shown(run):
    folder, text = run
    kept = json.loads((folder / "latency.json").read_text())
    assert len(kept["models"]) == 2 and kept["protocol"]["imgsz"] == 64
    rows = list(csv.DictReader(io.StringIO((folder / "comparison.csv").read_text())))
    assert {float(r["latency_ms"]) for r in rows} == {
        found["median_ms"] for found in kept["models"].values()
    }
    said = (folder / "verdict.md").read_text()
    assert f"- latency: {Protocol(imgsz=64)}; median of 30 runs" in said
    html = (folder / "comparison.html").read_text()
    assert "against measured latency" in html and "ms (IQR" in html and "ms (IQR" in text


def test_another_seed_is_added_on_resuming(run, shapes, capsys):
    folder, _ = run
    assert main(["nas-compare", f"resume={folder}", "seeds=2"]) == 0
    assert "4 of 4 trainings are recorded already" in capsys.readouterr().out
    assert main(["nas-compare", f"resume={folder}", "epochs=2"]) == 2
    assert f"epochs=2: the comparison in {folder} has epochs=1" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_and_resumed(shapes, tmp_path):
    """kill -9 in the second training: the first is there, and is not trained again."""
    keys = [
        "models=yolov8n.yaml,yolo11n.yaml",
        f"data={shapes}",
        "seeds=1",
        "imgsz=64",
        "batch=8",
        "threads=1",
        "epochs=2",
        f"project={tmp_path}",
        "name=c",
    ]
    killed_and_resumed("compare", keys, tmp_path / "c", tmp_path / "c" / "trainings", 0.02)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("models=a.yaml,b.pt data=x", "models=b.pt: no such file"),
        ("models=b.pt epochs=3 data=x", "models=b.pt: no such file"),
        ("models=b.pt seeds=3 data=x", "seeds=3: is of trainings, and models that are .pt files"),
        ("models=yolo11n epochs=0 data=x", "epochs takes a whole number of 1 or more"),
        ("models=b.pt epochs=3 recipe=other data=x", "recipe takes one of ours, stock"),
        ("models=yolo11n.yaml", "data: is required"),
        ("models=x/a.yaml data={data}", "models=x/a.yaml: no such file"),
        ("models=yolo11m8 data={data}", "models=yolo11m8: Ultralytics has no such model"),
        (
            "models=yolo11n baseline=nothing data={data}",
            "baseline=nothing: Ultralytics has no such",
        ),
        ("models={data} data={data}", "not a model definition; it needs backbone and head"),
        ("models=yolo11n data={data} part=train", "part=train: not allowed; part takes val or"),
        ("models=yolo11n data={data} part=test", "has no test part"),
        ("models=yolo11n data={data} seed=x", "seed=x: not allowed"),
        ("models=yolo11n data={data} epoch=3", "Did you mean 'epochs'"),
        ("models=yolo11n data={data} pretrained=a.pt", "belongs to the training of the found"),
        ("models=yolo11n data={data} optimizer=x", "optimizer=x: no such optimizer"),
        ("models=yolo11n data={data} val_fraction=0.2", "val_fraction=0.2: unknown key"),
        ("models=yolo11n data={data} runtime=x", "runtime=x: not known"),
        ("models=yolo11n data={data} precision=fp16", "precision=fp16: runtime=onnx on cpu does"),
        ("resume=nowhere", "not the folder of a run"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    shapes, tmp_path, monkeypatch, capsys, keys, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["nas-compare", *keys.format(data=shapes).split()]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_built(shapes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = {"backbone": [[-1, 1, "Nonsense", []]], "head": [[[-1], 1, "Detect", ["nc"]]]}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"nc": 2, **rows}))
    assert main(["nas-compare", "models=a.yaml", f"data={shapes}"]) == 2
    assert "models=a: cannot be built (KeyError" in capsys.readouterr().err


def test_a_model_that_is_meant_for_a_size_is_trained_and_measured_at_it(shapes, tmp_path):
    definition = read_definition("yolov8n", "detect", "models")
    for name, imgsz in (("big", 96), ("plain", None)):
        more = {"imgsz": imgsz} if imgsz else {}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**definition, **more}))
    files = f"{tmp_path / 'big.yaml'},{tmp_path / 'plain.yaml'}"
    assert (
        main(
            [
                "nas-compare",
                f"models={files}",
                f"data={shapes}",
                "seeds=1",
                *KEYS,
                f"project={tmp_path}",
                "name=c",
            ]
        )
        == 0
    )
    rows = list(csv.DictReader(io.StringIO((tmp_path / "c" / "comparison.csv").read_text())))
    flops = [float(row["flops"]) for row in rows]
    assert flops[0] / flops[1] == pytest.approx((96 / 64) ** 2, rel=1e-3)
    said = (tmp_path / "c" / "verdict.md").read_text()
    assert "- imgsz: 64; big at 96" in said
    assert f"{Protocol().setting}, 64 or 96 px, each model at its own size; median of" in said
    kept = json.loads((tmp_path / "c" / "latency.json").read_text())["models"]
    assert sorted(m["protocol"]["imgsz"] for m in kept.values()) == [64, 96]
    trained = torch.load(tmp_path / "c" / "weights" / "big.pt", weights_only=False)
    assert trained["train_args"]["imgsz"] == 96
