import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ultralytics import YOLO

from tests.helpers.shapes import draw, name_as_slices
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.extrapolation import projected
from yolo_nas_ext.estimators.factory import make
from yolo_nas_ext.estimators.training import (
    FineTuning,
    ShortTraining,
    StockFineTuning,
    UntouchedFineTuning,
    UntouchedStockFineTuning,
)
from yolo_nas_ext.host import arguments
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.models import build
from yolo_nas_ext.host.training import checkpoint
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("shapes")))


@pytest.fixture(scope="module")
def architecture():
    space = DetectorSpace.load("tiny")
    return space.architecture(space.sample(random.Random(0)))


def test_an_architecture_and_its_definition_are_the_same(data, architecture, tmp_path):
    short = ShortTraining(data, epochs=1, imgsz=64, batch=4, threads=1)
    metrics = short.estimate(architecture, weights=tmp_path / "w.pt")
    assert (tmp_path / "w.pt").stat().st_size > 10_000
    assert metrics == short.estimate(emit(architecture, 2))
    assert short.fidelity == {"epochs": 1, "imgsz": 64, "images": len(short.split[0])}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_training_has_the_threads_that_were_asked_for(data, architecture, threads):
    seen = []
    short = ShortTraining(data, epochs=1, imgsz=64, batch=4, threads=threads, device="cpu")
    short.estimate(architecture, report=lambda *_: seen.append(torch.get_num_threads()))
    assert seen == [threads]


def test_capitals_of_an_optimiser_do_not_matter(data):
    short = ShortTraining(data, overrides={"optimizer": "sgd"})
    assert short.settings.overrides["optimizer"] == "sgd"
    with pytest.raises(NASError, match="Did you mean 'SGD'"):
        ShortTraining(data, overrides={"optimizer": "sgdd"})


def test_keys_of_the_user_replace_the_recipe(data):
    short = ShortTraining(data, overrides={"lr0": 0.5, "degrees": 10.0})
    overrides = short.settings.overrides
    assert overrides["lr0"] == 0.5 and overrides["degrees"] == 10.0
    assert overrides["optimizer"] == "AdamW"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"imgsz": 100}, "multiple of 32"),
        ({"overrides": {"lr00": 1}}, "lr00"),
        ({"overrides": {"lr0": "fast"}}, "lr0"),
        ({"overrides": {"optimizer": "Adan"}}, "Did you mean"),
        ({"val_fraction": 1.0}, "above 0 and below 1"),
        ({"overrides": {"copy_paste_mode": "fold"}}, "copy_paste_mode=fold: .* flip, mixup"),
        ({"device": "nowhere"}, r"device=nowhere: .* here one of cpu"),
        ({"device": "0,1"}, "a search uses one device"),
        ({"overrides": {"classes": [2]}}, r"classes=\[2\]: .* from 0 to 1"),
        ({"overrides": {"classes": "disc"}}, "classes=disc"),
    ],
)
def test_bad_settings_are_found_before_the_first_trial(data, given, message):
    with pytest.raises(NASError, match=message):
        ShortTraining(data, **given)


def calls(short, monkeypatch, *fidelities):
    seen = []

    def train(model, data, split, settings, **more):
        seen.append({"model": model, "split": split, **vars(settings)})
        return type("Result", (), {"metrics": {}})

    monkeypatch.setattr("yolo_nas_ext.estimators.training.train", train)
    for fidelity in fidelities:
        short.estimate("yolo11n", fidelity)
    return seen


def test_a_fidelity_is_kept(data, monkeypatch):
    short = ShortTraining(data, epochs=10, imgsz=64)
    usual, cheap = calls(short, monkeypatch, None, {"epochs": 2, "imgsz": 32, "images": 4})
    assert (usual["epochs"], usual["imgsz"], usual["split"]) == (10, 64, short.split)
    assert (cheap["epochs"], cheap["imgsz"], len(cheap["split"][0])) == (2, 32, 4)
    assert set(cheap["split"][0]) < set(short.split[0]) and cheap["split"][1] == short.split[1]
    with pytest.raises(NASError, match="multiple of 32"):
        short.estimate("yolo11n", {"imgsz": 50})
    with pytest.raises(NASError, match="give 1 to"):
        short.estimate("yolo11n", {"images": 99})


def test_another_seed_that_holds_out_more_trains_on_what_is_left(data, monkeypatch):
    """Patients are of unequal size, so a re-evaluation may have fewer images than the trial had."""
    monkeypatch.setattr(
        "yolo_nas_ext.estimators.training.hold_out",
        lambda *_, fraction, seed, groups: (list(range(4 if seed else 6)), [6, 7]),
    )
    short = ShortTraining(data, seed=0)
    first, again = calls(short, monkeypatch, {"images": 6}, {"images": 6, "seed": 1})
    assert [len(call["split"][0]) for call in (first, again)] == [6, 4]


def test_another_seed_trains_on_other_images(data, monkeypatch):
    short = ShortTraining(data, seed=3)
    usual, other = calls(short, monkeypatch, None, {"seed": 4})
    assert (usual["seed"], usual["split"]) == (3, short.split)
    assert (other["seed"], other["split"]) == (4, ShortTraining(data, seed=4).split)
    assert short.split != other["split"]


def test_the_warm_up_is_part_of_each_schedule(data, monkeypatch):
    warmups = [
        call["overrides"]["warmup_epochs"]
        for call in calls(ShortTraining(data), monkeypatch, {"epochs": 2}, {"epochs": 500})
    ]
    assert warmups == [0.2, 3.0]
    mine = ShortTraining(data, overrides={"warmup_epochs": 1.0})
    assert calls(mine, monkeypatch, None)[0]["overrides"]["warmup_epochs"] == 1.0


def test_a_model_by_name_or_path(data, monkeypatch, tmp_path):
    short = ShortTraining(data)
    (call,) = calls(short, monkeypatch, None)
    assert call["model"]["scale"] == "n" and call["model"]["backbone"]
    (tmp_path / "own.yaml").write_text("nc: 2\nbackbone: []\nhead: []\n")
    short.estimate(tmp_path / "own.yaml")
    with pytest.raises(NASError, match="no such model"):
        short.estimate("yolo11q")


def test_the_held_out_part_depends_on_the_seed_alone(data):
    splits = [ShortTraining(data, seed=s, epochs=e).split for s, e in ((0, 1), (0, 9), (1, 1))]
    assert splits[0] == splits[1] != splits[2]


def test_full_is_ultralytics_schedule(data, architecture, monkeypatch):
    """Nothing is set but what a search needs, and the trainer's averages are Ultralytics'."""
    config = configure(
        {"estimator": "full", "imgsz": 64, "lr0": 0.02}, arguments.TRAINING, arguments.REFUSED
    )
    assert (config.epochs, config.batch) == (100, 16)
    full = make(config, data)
    seen = calls(full, monkeypatch, None)
    assert seen[0]["overrides"] == {"lr0": 0.02} and not seen[0]["short"]
    given = {"estimator": "full", "epochs": 3, "batch": 4}
    again = configure({**given, **configure(given, {}, {}).values}, {}, {})
    assert (again.epochs, again.batch) == (3, 4)


def test_slices_of_a_patient_are_held_out_together(tmp_path):
    """Pictures as `nas-data` names them: patient, scan, slice."""
    file = draw(tmp_path, train=24, val=2)
    name_as_slices(tmp_path, slices=4)
    data = read(file)
    for seed in range(5):
        split = ShortTraining(data, imgsz=64, seed=seed).split
        sides = [{Path(data.images[i]).stem.split("_")[0] for i in part} for part in split]
        assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 6


def test_fitness_can_be_the_findings_in_scans(data, architecture):
    estimator = ShortTraining(data, epochs=1, imgsz=64, batch=4, fitness="froc", threads=1)
    seen = []
    measure = estimator.settings.measure
    noted = replace(estimator.settings, measure=lambda *both: seen.append(both) or measure(*both))
    estimator.settings = noted
    metrics = estimator.estimate(architecture)
    assert metrics["fitness"] == metrics["froc_cpm"] and "host_fitness" in metrics
    found, truth = (part.boxes for part in seen[-1])
    held = [data.labels[i] for i in estimator.split[1]]
    assert set(found) == set(truth) == {Path(label["im_file"]).stem for label in held}
    for label in held:  # the measure sees the objects where the labels say
        rows = truth[Path(label["im_file"]).stem]
        sizes = sorted(map(tuple, (rows[:, 2:4] - rows[:, :2]).round(2)))
        assert sizes == sorted(map(tuple, (label["bboxes"][:, 2:] * 64).round(2)))
    with pytest.raises(NASError, match="Did you mean 'froc'"):
        ShortTraining(data, fitness="frok")
    with pytest.raises(NASError, match="is of task=detect and segment, not pose"):
        ShortTraining(data, task="pose", fitness="froc")


def test_fitness_of_a_short_detector_is_what_it_foretells(data, architecture):
    given = {"epochs": 1, "imgsz": 64, "batch": 4}
    metrics = make(configure(given, {}, {}), data).estimate(architecture)
    assert metrics["host_fitness"] == metrics["map50_95"]
    assert metrics["fitness"] == projected(metrics["map50_95"], architecture, data.nc, 64)
    plain = make(configure({**given, "fitness": "host"}, {}, {}), data).estimate(architecture)
    assert plain["fitness"] == metrics["host_fitness"] and "host_fitness" not in plain
    full = make(configure({**given, "estimator": "full"}, {}, {}), data)
    assert not full.projects
    for options in ({"task": "segment"}, {"estimator": "full"}):
        with pytest.raises(NASError, match="fitness=projected: is of short trainings"):
            make(configure({**given, **options, "fitness": "projected"}, {}, {}), data)


# From a parent


@pytest.fixture(scope="module")
def parent(architecture, tmp_path_factory):
    """A checkpoint of three classes, one of which the shapes have too."""
    model = build(emit(architecture, 3), task="detect", nc=3)
    model.names = {0: "shape1", 1: "cat", 2: "dog"}
    for tensor in model.state_dict().values():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("parent") / "parent.pt"
    checkpoint.save(model, path, args={"task": "detect"}, metrics={})
    return path


def begun(training, network, monkeypatch, seed=0):
    """The model that a training begins with, and what the trainer was given."""
    seen = {}

    def train(model, data, split, settings, *, initial=None, **more):
        torch.manual_seed(seed)
        built = build(model, task="detect", nc=data.nc)
        if initial:
            initial(built, data.names)
        seen.update(model=built, split=split, settings=settings)
        return type("Result", (), {"metrics": {}})

    monkeypatch.setattr("yolo_nas_ext.estimators.training.train", train)
    training.estimate(network)
    return seen


def last_layers(model):
    return [(score[-1].weight, score[-1].bias) for score in model.model[-1].cv3]


@pytest.mark.parametrize("kind", [FineTuning, pytest.param(ShortTraining, marks=pytest.mark.slow)])
def test_new_classes_begin_alike_from_any_seed(kind, data, architecture, parent, monkeypatch):
    options = {"imgsz": 64, "batch": 4, "inherit": parent}
    first, other = (
        begun(kind(data, **options), architecture, monkeypatch, seed)["model"] for seed in (1, 2)
    )
    for mine, again in zip(last_layers(first), last_layers(other), strict=True):
        assert torch.equal(mine[0], again[0]) and torch.equal(mine[1], again[1])
        assert not mine[0][0].any() and mine[0][1].any()  # shape0 is new


def test_a_fine_tuning_has_a_step_a_batch_and_a_warm_up_in_proportion(data, parent, monkeypatch):
    tuning = FineTuning(data, batch=4, epochs=10, imgsz=64, inherit=parent)
    few, many = calls(tuning, monkeypatch, {"epochs": 5}, {"epochs": 500})
    assert few["overrides"]["nbs"] == 4
    assert few["overrides"]["warmup_epochs"] < 1 and many["overrides"]["warmup_epochs"] == 3
    mine = FineTuning(data, imgsz=64, inherit=parent, overrides={"lr0": 0.5})
    assert mine.settings.overrides["lr0"] == 0.5
    assert mine.settings.overrides["optimizer"] == tuning.settings.overrides["optimizer"]


def test_what_is_measured_from_a_parent_is_not_projected(data, parent):
    tuning = FineTuning(data, imgsz=64, inherit=parent)
    assert tuning.settings.short and not tuning.projects
    with pytest.raises(NASError, match="fitness=projected: is of short trainings"):
        FineTuning(data, imgsz=64, inherit=parent, fitness="projected")


@pytest.mark.parametrize("kind", [UntouchedFineTuning, UntouchedStockFineTuning])
def test_an_untouched_fine_tuning_trains_on_all_of_train(
    kind, data, architecture, parent, monkeypatch
):
    measured = read(data.source, part="val")
    training = kind(data, measured, imgsz=64, batch=4, inherit=parent)
    seen = begun(training, architecture, monkeypatch)
    n, more = len(data.images), len(measured.images)
    assert seen["split"] == (list(range(n)), list(range(n, n + more)))
    assert training.data.images[n:] == measured.images


def test_stock_is_what_ultralytics_loads(data, architecture, parent, monkeypatch):
    stock = StockFineTuning(data, imgsz=64, batch=4, inherit=parent)
    seen = begun(stock, architecture, monkeypatch, seed=3)
    assert not seen["settings"].overrides  # Ultralytics' defaults
    assert not seen["settings"].short
    torch.manual_seed(3)
    oracle = build(emit(architecture, 2), task="detect", nc=2)
    oracle.names = dict(data.names)
    oracle.load(YOLO(parent).model, verbose=False)
    state = seen["model"].state_dict()
    assert state.keys() == oracle.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in oracle.state_dict().items())
