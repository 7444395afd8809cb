import csv

import pytest
from ultralytics import YOLO

from tests.helpers.shapes import draw, draw_for
from yolo_nas_ext.cli import main

SMALL = [
    "estimator=supernet",
    "strategy=random",
    "epochs=1",
    "imgsz=64",
    "batch=4",
    "trials=4",
    "baseline=none",
    "workers=0",
    "threads=1",
    "name=small",
    "confirm=1",
    "fix=p5.block:c2f,head.end2end:false",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = draw(tmp_path_factory.mktemp("shapes"))
    project = tmp_path_factory.mktemp("runs")
    assert main(["search", f"data={data}", f"project={project}", *SMALL]) == 0
    return project / "small"


def test_the_front_of_a_search_is_written_as_stock_models(run):
    definitions = sorted(file.stem for file in (run / "pareto").glob("*.yaml"))
    assert definitions == sorted(file.stem for file in (run / "pareto").glob("*.pt"))
    for name in definitions:
        model = YOLO(run / "pareto" / f"{name}.pt").model
        stock = YOLO(run / "pareto" / f"{name}.yaml").model
        shapes = [{n: v.shape for n, v in m.state_dict().items()} for m in (model, stock)]
        assert shapes[0] == shapes[1] and model.names == {0: "shape0", 1: "shape1"}


def test_the_command_in_the_report_repeats_the_search(run):
    assert "fix=p5.block:c2f,head.end2end:false" in (run / "report.html").read_text()


def test_the_best_is_trained_from_the_shared_weights_before_it_is_named(run, tmp_path, capsys):
    text = (run / "best.yaml").read_text()
    assert "trained on from the supernet's weights for 1 epochs" in text
    header = (run / "trials.csv").read_text().partition("\n")[0]
    assert "trained_fitness" in header.split(",")
    page = (run / "report.html").read_text()
    assert "had a training of its own before it was named" in page
    key = next(word.strip(".,:;)(") for word in text.split() if word.startswith("nas-"))
    assert main(["extract", f"run={run}", f"key={key}", f"out={tmp_path}"]) == 0
    trained, extracted = YOLO(run / "best.pt"), YOLO(tmp_path / f"{key}.pt")
    assert trained.ckpt["train_args"]["epochs"] == 1 and trained.ckpt["train_args"]["lr0"] == 0.004
    pairs = zip(trained.model.parameters(), extracted.model.parameters(), strict=True)
    # A training may begin with the channels in another order, which is the same network.
    sorted_ = ((a.flatten().sort().values, b.flatten().sort().values) for a, b in pairs)
    apart = [(a - b).abs().max().item() for a, b in sorted_]
    assert 0 < max(apart) < 0.1  # trained on, not anew
    before = (run / "best.pt").read_bytes()
    assert main(["search", f"resume={run}"]) == 0
    assert "confirmed" not in capsys.readouterr().out  # what is recorded is not trained again
    assert (run / "best.pt").read_bytes() == before


def test_a_run_without_a_record_is_refused(run, tmp_path, capsys):
    (tmp_path / "args.yaml").write_text((run / "args.yaml").read_text())
    assert main(["extract", f"run={tmp_path}"]) == 2
    assert "no record in it" in capsys.readouterr().err


def test_any_evaluated_network_can_be_extracted(run, tmp_path, capsys):
    rows = (run / "trials.csv").read_text().splitlines()
    key = next(cell for row in rows for cell in row.split(",") if len(cell) == 10)
    assert main(["extract", f"run={run}", f"key=nas-{key}", f"out={tmp_path}"]) == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == [f"nas-{key}.pt", f"nas-{key}.yaml"]
    assert f"nas-{key}.pt: mAP50-95" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments,message",
    [
        ([], "run: is required"),
        (["run={tmp}"], "not the folder of a run"),
        (["run={run}", "key=123"], "key=123: no network"),
        (["run={run}", "kee=1"], "Did you mean 'key'"),
    ],
)
def test_bad_input(run, tmp_path, capsys, arguments, message):
    given = [a.format(run=run, tmp=tmp_path) for a in arguments]
    assert main(["extract", *given]) == 2
    assert message in capsys.readouterr().err


def test_a_run_without_shared_weights_is_refused(run, tmp_path, capsys):
    text = (run / "args.yaml").read_text().replace("supernet", "short")
    (tmp_path / "args.yaml").write_text(text)
    assert main(["extract", f"run={tmp_path}"]) == 2
    assert "estimator=short, which shares no weights" in capsys.readouterr().err


@pytest.mark.slow
def test_a_segmentation_is_searched_by_gradients_extracted_and_trained_on(tmp_path):
    data = draw_for("segment", tmp_path / "shapes")
    given = [
        "task=segment",
        "strategy=darts",
        "epochs=2",
        "imgsz=64",
        "batch=4",
        "trials=4",
        "name=seg",
        "baseline=none",
        "workers=0",
        "threads=1",
        "confirm=1",
        f"project={tmp_path}",
        "fix=levels:3-4,p4.width:64,p4.block:c2f,neck.block:c2f,p3.block:c2f,neck.width:32",
    ]
    assert main(["search", f"data={data}", *given]) == 0
    run = tmp_path / "seg"
    rows = list(csv.DictReader((run / "trials.csv").read_text().splitlines()))
    for row in rows:  # Ultralytics' fitness of the task
        both = float(row["map50_95"]) + float(row["mask_map50_95"])
        assert float(row["fitness"]) == pytest.approx(both, abs=1e-4)
    assert any(row["trained_fitness"] for row in rows)
    assert main(["extract", f"run={run}", f"out={tmp_path / 'out'}"]) == 0
    files = list((tmp_path / "out").glob("*.pt"))
    assert files
    for file in files:
        assert YOLO(file).task == "segment"
        shapes = [
            {n: v.shape for n, v in YOLO(f).model.state_dict().items()}
            for f in (file, file.with_suffix(".yaml"))
        ]
        assert shapes[0] == shapes[1]
    assert YOLO(run / "best.pt").task == "segment"
