"""The end of a search from trained weights: who takes part, from what, and what is handed out."""

import json

import pytest
import torch

from tests.helpers.fakes import without_pictures
from tests.helpers.parents import checkpoint
from yolo_nas_ext.cli import main
from yolo_nas_ext.compare import latency
from yolo_nas_ext.data.builtin.cells import ensure_cells
from yolo_nas_ext.estimators import training
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.pipeline import baselines, plan

KINDS = ("UntouchedFineTuning", "UntouchedStockFineTuning", "UntouchedTraining")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return ensure_cells(tmp_path_factory.mktemp("cells"), train=24, val=8, size=64) / "data.yaml"


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("parents"))


class Short:
    """Stands in for the fine-tunings of a search: the parent 0.5, then as told."""

    seeded = False
    fidelity = {"epochs": 1.0}  # noqa: RUF012

    def __init__(self, values):
        self.values = iter([0.5, *values])

    def estimate(self, architecture, fidelity=None, report=None, weights=None, inherit=None):
        value = next(self.values)
        weights.parent.mkdir(exist_ok=True)
        torch.save({"search": value}, weights)
        return {"fitness": value}


@pytest.fixture
def run(monkeypatch, cells, mine, tmp_path, capsys):
    """Run a search whose trainings give what they are told, and return what it said and left."""
    asked = []

    def search(*keys, trials=(), finals=()):
        left = iter(finals)
        asked.clear()

        def estimate(self, definition, fidelity, report=None, weights=None):
            asked.append((type(self).__name__, getattr(self.source, "name", ""), definition))
            value = next(left)
            if weights:
                torch.save({"finals": value}, weights)
            return {"fitness": value}

        for name in KINDS:
            monkeypatch.setattr(getattr(training, name), "estimate", estimate)
        short = Short(trials)
        monkeypatch.setattr(plan, "make_estimator", lambda config, data: short)
        monkeypatch.setattr(baselines, "make", lambda config, data: short)
        monkeypatch.setattr(latency, "measured", lambda comparison, protocol: comparison)
        without_pictures(monkeypatch)
        usual = [f"data={cells}", f"model={mine}", f"project={tmp_path}", "name=s", "imgsz=64"]
        usual += ["sizes=none", "confirm=0"]
        given = {key.partition("=")[0] for key in keys}
        usual = [] if "resume" in given else usual
        code = main(["search", *(k for k in usual if k.partition("=")[0] not in given), *keys])
        said = capsys.readouterr()
        return code, tmp_path / "s", said.out + said.err

    search.asked = asked
    return search


def models(folder):
    lines = (folder / "finals" / "comparison.csv").read_text().splitlines()
    return [line.partition(",")[0] for line in lines[1:]]


# After the parent the one pencil at its size, which is without P5, then two found ones.
TRIALS = (0.55, 0.6, 0.4)


def test_who_takes_part_and_from_what(run, mine):
    code, folder, out = run("trials=4", trials=TRIALS, finals=(0.7, 0.65, 0.6, 0.5))
    assert code == 0, out
    found, pencil, parent, stock = models(folder)
    assert found.startswith("nas-") and pencil.startswith("parent ")
    assert (parent, stock) == ("mine", "mine (stock)")
    kinds = [(kind, source) for kind, source, _ in run.asked]
    ours, theirs = ("UntouchedFineTuning", str(mine)), ("UntouchedStockFineTuning", str(mine))
    assert kinds == [ours, ours, ours, theirs]
    said = (folder / "verdict.md").read_text()
    assert f"{found} is 0.1000 above mine, the parent, in mAP50-95 on val: 0.7000" in said
    assert (
        "Fine-tuned by stock Ultralytics, mine has 0.5000 mAP50-95 on val, by the recipe here "
        "0.6000: the recipe gives +0.1000, the network that was found +0.1000."
    ) in said
    assert f"Beside the best that a hand would try, {pencil} (0.6500), it is +0.0500" in said
    assert "- initial weights: mine.pt" in said and "mixture" not in said
    assert f"{found}, {pencil}, mine by the fine-tuning of docs/estimators.md; mine (stock) by" in (
        said
    )
    assert torch.load(folder / "best.pt") == {"finals": 0.7}
    assert f"nas-{read(folder / 'best.yaml').key}" == found
    lines = out.rstrip().splitlines()[-2:]
    assert lines[0].startswith(f"  yolo val model={folder / 'best.pt'} data=")
    assert lines[0].endswith(" imgsz=64")
    assert lines[1] == f"  yolo export model={folder / 'best.pt'} imgsz=64 format=onnx"
    assert "yolo val model=" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("finals", "best", "said"),
    [
        ((0.6, 0.7, 0.5, 0.5), 1, "Nothing that was found beats the best that a hand would try"),
        ((0.5, 0.4, 0.7, 0.5), 2, "The parent is at least as good: mine is 0.2000 above nas-"),
        ((0.5, 0.4, 0.6, 0.7), 2, "the recipe gives -0.1000"),  # stock's is never handed out
    ],
)
def test_what_won_is_handed_out(run, finals, best, said):
    code, folder, out = run("trials=4", trials=TRIALS, finals=finals)
    assert code == 0 and said in (folder / "verdict.md").read_text() and said in out
    assert torch.load(folder / "best.pt") == {"finals": finals[best]}
    names = models(folder)
    key = read(folder / "best.yaml").key
    assert key == read(next((folder / "finals" / "models").glob(f"{_file(names[best])}.yaml"))).key
    assert out.rstrip().splitlines()[-2].startswith(f"  yolo val model={folder / 'best.pt'} ")


def _file(name):
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)


def test_the_search_says_that_a_pencil_was_not_beaten(run):
    _, folder, out = run("trials=4", "finalists=0", trials=(0.8, 0.6, 0.4))
    assert "nothing that was found beats the best that a hand would try: parent " in out
    html = (folder / "report.html").read_text()
    assert "Nothing that was found beats the best that a hand would try" in html
    _, folder, out = run("trials=4", "finalists=0", "name=t", trials=(0.3, 0.6, 0.4))
    assert "above the best that a hand would try, parent " in out and "0.3000" in out


def test_without_finals_the_weights_are_trained_on(run):
    code, folder, out = run("trials=4", "finalists=0", trials=TRIALS)
    assert code == 0 and torch.load(folder / "best.pt") == {"search": 0.6}
    assert f"yolo detect train model={folder / 'best.pt'} data=" in out and "epochs=30" in out
    assert f"yolo nas-search resume={folder} finalists=1" in out
    code, _, out = run(f"resume={folder}", "finalists=1", finals=(0.7, 0.6, 0.6, 0.5))
    assert code == 0 and torch.load(folder / "best.pt") == {"finals": 0.7}


def test_the_parent_alone(run, cells):
    code, folder, out = run("trials=0")
    assert code == 0 and torch.load(folder / "best.pt") == {"search": 0.5} and not run.asked
    assert "trial 1/1" in out and len((folder / "trials.csv").read_text().splitlines()) == 2
    code, folder, out = run("trials=0", "finalists=1", "name=t", finals=(0.6, 0.5))
    assert code == 0, out
    folder = folder.parent / "t"
    assert models(folder) == ["mine", "mine (stock)"]
    said = (folder / "verdict.md").read_text()
    assert "by the recipe here 0.6000: +0.1000." in said
    assert torch.load(folder / "best.pt") == {"finals": 0.6}
    code, _, out = run(f"resume={folder}", "trials=3", trials=(0.7, 0.6), finals=(0.8, 0.8))
    assert code == 0 and len((folder / "trials.csv").read_text().splitlines()) == 4


def test_baselines_from_random_weights_are_a_mixture(run):
    keys = ("trials=5", "baseline=yolov8n", "max_flops=none")
    code, folder, out = run(*keys, trials=(0.1, *TRIALS), finals=(0.7, 0.65, 0.6, 0.5, 0.1))
    assert code == 0, out
    assert models(folder)[-1] == "yolov8n (random weights)"
    assert run.asked[-1][:2] == ("UntouchedTraining", "")
    said = (folder / "verdict.md").read_text()
    assert "- mixture: some models start from trained weights and some from random" in said
    assert "yolov8n (random weights) from random weights" in said
    assert "Some models started from trained weights and some from random ones" in said
    assert "baseline yolov8n (random weights) starts from random weights" in out


def test_other_weights_are_trained_anew(run, mine, tmp_path):
    file = checkpoint(tmp_path / "own")
    keys = (f"model={file}", "trials=4")
    code, folder, _ = run(*keys, trials=TRIALS, finals=(0.7, 0.65, 0.6, 0.5))
    assert code == 0 and len(run.asked) == 4
    records = {f.name for f in (folder / "finals" / "trainings").iterdir()}
    code, _, _ = run(f"resume={folder}")
    assert code == 0 and not run.asked
    checkpoint(tmp_path / "own")  # of the same network with other weights
    code, _, out = run(f"resume={folder}")
    assert code == 2 and f"model={file} has changed since the run began" in out and not run.asked
    code, _, out = run(f"resume={folder}", f"model={file}", finals=(0.6, 0.65, 0.6, 0.5))
    assert code == 0 and f"note: model={file} has changed" in out and len(run.asked) == 4
    assert len({f.name for f in (folder / "finals" / "trainings").iterdir()} - records) == 4


def test_the_fine_tuned_parent_teaches(run, monkeypatch):
    taught = []

    def with_teacher(self, teacher):
        taught.append((type(self).__name__, torch.load(teacher)))
        return self

    monkeypatch.setattr(training.Training, "with_teacher", with_teacher)
    keys = ("trials=4", "teacher=parent")
    code, folder, out = run(*keys, trials=TRIALS, finals=(0.7, 0.65, 0.6, 0.5))
    assert code == 0, out
    assert taught == [("UntouchedFineTuning", {"search": 0.5})]
    record = next((folder / "finals" / "trainings").iterdir())
    assert json.loads(record.read_text())["fitness"]
