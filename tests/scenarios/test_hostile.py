"""What somebody hostile hands over, through every command: one line, and nothing else happens."""

import ast
import hashlib
import os
import re
import subprocess
import sys

import pytest
from ultralytics.nn import tasks

from tests.helpers.hostile import MARKER, make
from yolo_nas_ext import cli

RUNS = (
    *("strategy", "blocks", "download", "storage", "ray", "url", "compared", "weights", "typed"),
    *("keys", "nothing"),
)
YAMLS = ("named", "lines", "many", "wide", "typed", "away", "fetched", "aliases", "tagged")
MODELS = ("evaluated", "called", "huge", "weird", "timm")
FILES = ("zip_pt", "old_pt", "aliases", "tagged", "deep", "text_db")
COMMANDS = [
    *(f"search resume={{run_{run}}}" for run in RUNS),
    *(f"extract run={{run_{run}}}" for run in ("blocks", "download", "keys", "nothing")),
    *(f"compare resume={{run_{run}}}" for run in ("compared", "strategy", "url")),
    *(f"search data={{{name}}} {{quick}}" for name in YAMLS),
    *(f"search model={{{name}}} data={{good}}" for name in FILES[:2]),
    *(f"search space={{{name}}} data={{good}} {{quick}}" for name in ("tagged", "weird_model")),
    "search latency={odd} data={good} {quick}",
    "search storage=sqlite:///{text_db} data={good} {quick}",
    *(f"compare models={{{name}_model}} epochs=1 data={{good}}" for name in MODELS[:3]),
    *(f"compare models={{{name}}} data={{good}} imgsz=64" for name in FILES[:2]),
    *(f"score model={{{name}_model}}" for name in MODELS),
    "scale model={evaluated_model} flops=2x out={out}",
    "profile import={odd} out={out}",
    "score model=yolov8n latency={deep}",
    *(f"data source={{{name}}} out={{out}}" for name in ("detached", "bomb", "datalist")),
    "data source={coco} images={pictures} out={out}",
    "compare models={zip_pt} coco={coco} images={pictures}",
]
MORE = [
    *(f"extract run={{run_{run}}}" for run in RUNS),
    *(f"compare resume={{run_{run}}}" for run in RUNS),
    *(f"compare models=yolov8n epochs=1 data={{{name}}}" for name in YAMLS),
    *(f"score model=yolov8n data={{{name}}}" for name in ("aliases", "tagged")),
    *(f"search model={{{name}}} data={{good}}" for name in FILES[2:]),
    *(f"search inherit={{{name}}} data={{good}} {{quick}}" for name in FILES[:2]),
    *(f"search baseline={{{name}}} data={{good}} {{quick}}" for name in FILES),
    *(f"search space={{{name}}} data={{good}} {{quick}}" for name in FILES[2:]),
    *(f"search latency={{{name}}} data={{good}} {{quick}}" for name in ("deep", "zip_pt")),
    *(f"compare models={{{name}_model}} epochs=1 data={{good}}" for name in MODELS[3:]),
    *(f"score model={{{name}}}" for name in FILES),
    *(f"scale model={{{name}_model}} flops=2x out={{out}}" for name in MODELS),
    *(f"scale model={{{name}}} flops=2x out={{out}}" for name in FILES),
    *(f"profile import={{{name}}} out={{out}}" for name in ("deep", "zip_pt")),
    *(f"profile spaces={{{name}}} out={{out}}" for name in ("aliases", "weird_model")),
    *(f"score model=yolov8n latency={{{name}}}" for name in ("odd", "zip_pt")),
    "data source={deep} out={out}",
    "data source={deep} images={pictures} out={out}",
]
EVERY = [
    *COMMANDS,
    *(pytest.param(c, marks=pytest.mark.slow) for c in dict.fromkeys(MORE) if c not in COMMANDS),
]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("others")
    return {**make(folder / "theirs"), "good": folder / "theirs" / "shapes" / "data.yaml"}


def state(folder):
    """Every file below a folder with what is in it; locks come and go."""
    files = (p for p in folder.rglob("*") if not p.is_dir() and p.name != ".lock")
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("command", EVERY)
def test_it_ends_in_one_line_and_nothing_is_run_or_written(
    theirs, command, tmp_path, monkeypatch, capfd
):
    folder = theirs["good"].parents[1]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tasks, "SAFE_LOAD", True)  # as ULTRALYTICS_SAFE_LOAD=1, see the docs
    quick = "estimator=resolved trials=2 confirm=0 imgsz=64"
    quick += "" if "baseline=" in command else " baseline=none"
    before = state(folder)
    named = {**theirs, "out": tmp_path / "out", "quick": quick}
    code = cli.main(command.format(**named).split())
    said = capfd.readouterr()
    lines = [line for line in said.err.splitlines() if "% of" not in line]
    if "evaluated_model" in command and command.startswith(("score", "scale")):
        assert code == 0 and not (folder / MARKER).exists()  # which look at rows alone
        return
    assert code in (1, 2), said
    assert len(lines) == 1 and lines[0].startswith(f"nas-{command.partition(' ')[0]}: "), said
    assert not {c for c in said.out + said.err if not c.isprintable()} - {"\n", "\r"}
    assert not (folder / MARKER).exists() and state(folder) == before
    assert not list((tmp_path / "here").rglob("*.*")) and not (tmp_path / "out").exists()


# What opens a file, and what makes something of one that was opened.
OPENS = {
    *("open", "read_text", "read_bytes", "text_of", "read_yaml", "yaml_of", "json_of"),
    *("torch_safe_load", "dcmread", "imread", "RDBStorage", "check_det_dataset", "memmap"),
    *("read_header", "read_file_meta_info", "loadtxt", "ElementTree", "verify_image_label"),
    *(
        "YOLO",
        "AutoBackend",
        "load_decathlon_datalist",
        "spec_from_file_location",
        "ReadImage",
        "_image_open",
        "opened",
    ),
}


def test_every_reader_is_listed(root):
    """tests/README.md says who reads what from where; a new reader is added there."""
    page = (root / "tests" / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([\w/]+\.py)` \|", page, re.MULTILINE))
    reading = set()
    for path in (root / "yolo_nas_ext").rglob("*.py"):
        names = {
            node.attr if isinstance(node, ast.Attribute) else node.id
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute | ast.Name)
        }
        if names & OPENS:
            reading.add(path.relative_to(root / "yolo_nas_ext").as_posix())
    assert reading - listed == set(), "add them to the table of readers in tests/README.md"
    assert listed - reading == set(), "these read no files any more"


# What a folder of somebody's scans may hold beside them, with names of what Python imports.
MODULES = ("numpy", "pickle", "selectors", "multiprocessing", "cloudpickle", "yolo_nas_ext")
STARTS = {
    "workers": """
from yolo_nas_ext.data.scans.workers import Workers
from tests.helpers.fakes import Doubled
with Workers() as pool:
    print(*[result for _, _, result in pool.run([Doubled(3)], 1, 100)])
""",
    "processes": """
if __name__ == "__main__":
    from yolo_nas_ext import ChoiceSpace, search
    found = search(ChoiceSpace({"a": (6,)}), lambda p: {"fitness": p["a"]}, trials=1, jobs=2)
    print(int(found.best.fitness))
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["workers", "processes"])
def test_processes_import_nothing_from_where_the_command_is_typed(tmp_path, root, kind):
    if kind == "processes" and sys.version_info < (3, 11):
        pytest.skip("Python 3.10 cannot be told")
    for name in MODULES:
        code = f"open({str(tmp_path / MARKER)!r}, 'w').write({name!r})"
        (tmp_path / "theirs" / name).mkdir(parents=True)
        (tmp_path / "theirs" / name / "__init__.py").write_text(code)
    (tmp_path / "program.py").write_text(STARTS[kind])
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        cwd=tmp_path / "theirs",
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "6", done.stderr
    assert not (tmp_path / MARKER).exists()
