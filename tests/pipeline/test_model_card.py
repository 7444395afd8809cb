"""The card of a found network."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from yolo_nas_ext.config.search import configure
from yolo_nas_ext.host import models
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline.model_card import card, code
from yolo_nas_ext.study.measure import Measure
from yolo_nas_ext.study.trial import Trial


@pytest.fixture
def about():
    """A search and a trial of it."""
    data = SimpleNamespace(
        source="/home/someone/x.yaml", images=["a", "b"], channels=3, nc=2, names={0: "a", 1: "b"}
    )
    study = SimpleNamespace(measure=Measure("mAP50-95", "host_fitness", rank="a projection"))
    job = SimpleNamespace(config=configure({"data": "x.yaml"}, {}, {}), data=data, study=study)
    trial = Trial(
        3,
        None,
        read(*models.definition("yolo11n")),
        state="complete",
        metrics={"fitness": 0.9, "host_fitness": 0.25, "loss": float("nan")},
        cost={"params": 2590035.0, "flops": 6.5e9},
    )
    return job, trial


def test_it_has_what_a_hub_reads_and_what_a_person_does(about):
    job, trial = about
    text = card(job, trial, Path("nas-a.yaml"), ["2,590,035 parameters"], weights=False)
    _, head, body = text.split("---\n", 2)
    known = yaml.safe_load(head)
    assert known["pipeline_tag"] == "object-detection" and known["license"] == "agpl-3.0"
    assert f"# nas-{trial.network.key}" in body and "- 2,590,035 parameters" in body
    assert 'YOLO("nas-a.yaml", task="detect").train(data="my.yaml", imgsz=' in body
    assert "`x.yaml`: 2 training images of 3 channels, 2 classes (`a`, `b`)" in body
    assert "yolo nas-search data=x.yaml" in body and "/home" not in body
    # What was measured has its own name, and a projection another.
    assert "| `fitness` | 0.25" in body and "| `projected_fitness` | 0.9" in body
    assert "| `params` | 2,590,035 |" in body and "nan" not in body


def test_with_weights_it_says_how_they_are_measured(about):
    text = card(*about, Path("best.yaml"), [], weights=True)
    assert 'YOLO("best.pt", task="detect").val(' in text and "no trained weights" not in text


def test_names_of_somebody_else_are_code_on_one_line(about):
    job, trial = about
    job.data.names = {0: "a`](x)<script>\n# b|", **{i: str(i) for i in range(1, 30)}}
    job.data.nc = 30
    text = card(job, trial, Path("best.yaml"), ["x\n# y"], weights=False)
    assert "`a'](x)<script> # b/`" in text and "and 10 more" in text
    assert not any(line.startswith("# b") for line in text.splitlines())
    assert "- x # y" in text and code("\x1b[0m") == "`\\x1b[0m`"
