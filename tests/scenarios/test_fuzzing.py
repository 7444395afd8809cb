"""Damaged files, drawn by hypothesis, into everything that reads a file from outside.

Whatever is in a file, its reader returns something or raises an error of ours in one line: no
traceback, never more than ten seconds, never a gigabyte.
"""

import copy
import json
import os
import shutil
import sqlite3
import time
import warnings

import numpy as np
import psutil
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.devices import made_up
from tests.helpers.scans import nifti, phantom, series
from tests.helpers.shapes import draw
from yolo_nas_ext import run_dir
from yolo_nas_ext.commands import score
from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.config.rules import RULES, check
from yolo_nas_ext.config.search import SearchSettings, configure
from yolo_nas_ext.config.settings import keys, read
from yolo_nas_ext.cost.latency import bundle
from yolo_nas_ext.cost.latency.profile import Profile, checksum
from yolo_nas_ext.data.coco.convert import import_coco
from yolo_nas_ext.data.scans import dicom, masks, pairing, reading
from yolo_nas_ext.data.scans.volumes import ScanError
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.files import resource
from yolo_nas_ext.host import dataset, models
from yolo_nas_ext.space.choices import ChoiceSpace
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**12, 10**30, 10**400, -(2**63)]),
    st.floats(),
    st.sampled_from(["", "a", "../../a", "/etc/passwd", "a\nb", "\x1b[2J", "\0", "é" * 300, "1e9"]),
    st.text(max_size=8),
    st.sampled_from([[], {}, [[]], [None], {"a": None}, [[[[1]]]], list(range(300)), {1: 2}]),
)


def parts(value, place=()):
    """Yield the place of every part of nested lists and dictionaries."""
    yield place
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from parts(part, (*place, key))


@st.composite
def damaged(draw, base):
    """A copy of a document with some parts replaced, left out or repeated."""
    content = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(parts(content))))
        how = draw(st.sampled_from(["replace", "replace", "delete", "twice", "name"]))
        if not place:
            content = copy.deepcopy(draw(ODD)) if how == "replace" else content
            continue
        holder = content
        for key in place[:-1]:
            holder = holder[key]
        if how == "replace":
            holder[place[-1]] = copy.deepcopy(draw(ODD))  # which is changed by what follows
        elif how == "delete":
            del holder[place[-1]]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[place[-1]]))
        elif how == "name":
            holder[draw(st.text(max_size=5))] = holder[place[-1]]
    return content


@st.composite
def flipped(draw, base):
    """Bytes of a file, some of them others, or fewer of them."""
    content = bytearray(base)
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, min(len(content), 600) - 1))
        new = draw(st.binary(min_size=1, max_size=8))
        content[start : start + len(new)] = new
    return bytes(content[: draw(st.one_of(st.none(), st.integers(0, len(content))))])


def fuzz(examples, drawn, look):
    """Look at drawn content; what is raised is an error of ours in one line."""
    process = psutil.Process()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn)
    def one(content):
        before, begin = process.memory_info().rss, time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                look(content)
        except (NASError, ScanError, TrialError) as error:
            assert len(str(error)) < 3000
        assert process.memory_info().rss - before < 1e9
        assert time.process_time() - begin < 10  # of the processor, whatever else the machine does

    one()


def texts(base):
    """Damaged documents as YAML, and their text with some characters others."""
    text = yaml.safe_dump(base).encode()
    return st.one_of(damaged(base).map(lambda c: yaml.safe_dump(c).encode()), flipped(text))


def jsons(base):
    text = json.dumps(base).encode()
    return st.one_of(damaged(base).map(lambda c: json.dumps(c).encode()), flipped(text))


MANY = int(os.environ.get("NAS_EXAMPLES", "400"))
FEW = pytest.mark.parametrize("examples", [4, pytest.param(MANY, marks=pytest.mark.slow)])
pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning"),
]


@FEW
def test_spaces(tmp_path, examples):
    base = yaml.safe_load(resource("cfg", "spaces", "tiny.yaml").read_text())

    def look(content):
        (tmp_path / "space.yaml").write_bytes(content)
        DetectorSpace.load(str(tmp_path / "space.yaml"))

    fuzz(examples, texts(base), look)


MODEL = {
    "nc": 2,
    "scales": {"n": [0.5, 0.25, 1024]},
    "backbone": [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 2, "C3k2", [128, False, 0.25]],
        [-1, 1, "Conv", [128, 3, 2]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 2], 1, "Concat", [1]],
        [-1, 2, "C3k2", [128, False]],
        [[6, 3], 1, "Detect", ["nc"]],
    ],
}


@FEW
def test_model_definitions(tmp_path, examples, capsys):
    def look(content):
        file = tmp_path / "net.yaml"
        file.write_bytes(content)
        definition, scale = models.definition(str(file), key="model")
        with np.errstate(all="ignore"):
            score.main({"model": str(file), "imgsz": 64})
        models.costs(models.scaled(definition, scale), nc=2, channels=3, imgsz=64)

    fuzz(examples, texts(MODEL), look)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"), train=3, val=2)


@FEW
def test_data_yamls(shapes, tmp_path, examples):
    base = {**yaml.safe_load(shapes.read_text()), "path": str(shapes.parent)}
    base |= {"kpt_shape": [2, 3], "flip_idx": [1, 0], "channels": 3, "nc": 2}

    def look(content):
        (tmp_path / "data.yaml").write_bytes(content)
        for task in ("detect", "pose"):
            dataset.read(tmp_path / "data.yaml", task)

    fuzz(examples, texts(base), look)


@FEW
@pytest.mark.parametrize("task", ["detect", "segment", "pose"])
def test_labels(shapes, tmp_path, examples, task):
    shutil.copytree(shapes.parent, tmp_path / "set")
    file = sorted((tmp_path / "set" / "labels" / "train").iterdir())[0]
    content = yaml.safe_load(shapes.read_text()) | {"kpt_shape": [2, 3]}
    (tmp_path / "set" / "data.yaml").write_text(yaml.safe_dump(content))
    number = st.one_of(st.floats(), st.integers(-3, 10**12), st.sampled_from(["x", "0x1", "1_0"]))
    line = st.lists(number, max_size=12).map(lambda row: " ".join(map(str, row)))
    text = st.lists(line, max_size=5).map(lambda lines: "\n".join(lines).encode())

    def look(content):
        file.write_bytes(content)
        dataset.read(tmp_path / "set", task)

    fuzz(examples, st.one_of(text, flipped(b"0 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.1 0.1\n")), look)


@FEW
def test_settings_of_runs(tmp_path, examples):
    base = {"data": "cells", "space": "tiny", "trials": 3, "limits": {"params_m": 3.0}}
    base |= {"given": ["data"], "version": "0.1.0", "objectives": ["fitness"], "signed": "ab"}
    base |= {"strategy": "a.py:B", "storage": "sqlite:///a.db", "fix": {"head.reg_max": "16"}}

    def look(content):
        (tmp_path / "args.yaml").write_bytes(content)
        run_dir.settings({"resume": str(tmp_path)})

    fuzz(examples, texts(base), look)


HOST = {"lr0": 0.01, "workers": 8, "optimizer": "auto", "augment": False}


@FEW
@pytest.mark.parametrize("kind", RULES, ids=lambda kind: kind.__name__)
def test_command_lines(examples, kind):
    """What stands behind a key is anything: the right kinds, too large ones, and none."""
    names = st.sampled_from([*keys(kind), *HOST, "nokey", "-", ""])
    signs = st.sampled_from("0189.,:-+eExKMGT_[]{}'\"!&*#|>~ \t\naé\u0663")
    raw = st.one_of(
        ODD.map(str),
        st.integers().map(str),
        st.floats().map(str),
        st.lists(signs, max_size=12).map("".join),
        st.tuples(st.sampled_from("19"), st.integers(1, 900)).map(lambda p: p[0] * p[1]),
        st.sampled_from(["none", "True", "auto", "a:1,b:2", "1e999", ".inf", "0x1F", "0:5,1:a"]),
    )
    line = st.lists(st.tuples(names, raw).map("=".join), max_size=4)

    def look(arguments):
        given = parse_arguments(arguments, [kind])
        settings = configure(given, HOST, {}) if kind is SearchSettings else read(kind, given)
        check(settings)

    fuzz(examples, line, look)


SPACE = ChoiceSpace({"a": (0, 1, 2)})


@FEW
def test_rows_of_studies(tmp_path, examples):
    study = Study(SPACE, tmp_path / "whole.db")
    point = SPACE.point({"a": 1})
    study.start(Trial(0, point))
    metrics = {"fitness": 0.5, "map50": 0.4}
    study.finish(Trial(0, point, state="complete", metrics=metrics, curve={1: 0.1}))
    study.record_repeat(0, [{"fitness": 0.4}])
    with sqlite3.connect(tmp_path / "whole.db") as connection:
        rows = connection.execute("select key, value_json from trial_user_attributes").fetchall()
        notes = connection.execute("select key, value_json from study_user_attributes").fetchall()
    base = {
        table: {k: json.loads(v) for k, v in found}
        for table, found in (("trial", rows), ("study", notes))
    }

    def look(content):
        shutil.copy(tmp_path / "whole.db", tmp_path / "study.db")
        with sqlite3.connect(tmp_path / "study.db") as connection:
            for table, values in content.items() if isinstance(content, dict) else ():
                for key, value in values.items() if isinstance(values, dict) else ():
                    connection.execute(
                        f"update {table}_user_attributes set value_json=? where key=?"
                        if table in base
                        else "select ?, ?",
                        (json.dumps(value), str(key).encode("utf-8", "replace").decode()),
                    )
        connection.close()
        found = Study(SPACE, tmp_path / "study.db")
        assert [t.number for t in found.trials] == [0]

    fuzz(examples, damaged(base), look)


@FEW
def test_coco_jsons(shapes, tmp_path, examples):
    pictures = shapes.parent / "images" / "train"
    names = sorted(p.name for p in pictures.iterdir())
    base = {
        "images": [
            {"id": i, "file_name": n, "width": 64, "height": 64} for i, n in enumerate(names)
        ],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "bbox": [3, 3, 20, 20],
                "iscrowd": 0,
                "segmentation": s,
            }
            for i, s in enumerate(
                ([[3, 3, 20, 3, 20, 20]], {"size": [64, 64], "counts": [100, 50, 3946]}, [])
            )
        ],
        "categories": [{"id": 1, "name": "a"}],
    }

    def look(content):
        (tmp_path / "coco.json").write_bytes(content)
        try:
            import_coco(tmp_path / "coco.json", pictures, tmp_path / "out", task="segment")
        finally:
            shutil.rmtree(tmp_path / "out", ignore_errors=True)

    fuzz(examples, jsons(base), look)


@FEW
def test_device_profiles(examples):
    base = made_up(layers=20).to_dict()

    def look(content):
        if isinstance(content, dict):  # the checksum tells damage, and no attack
            content = {k: v for k, v in content.items() if k != "checksum"}
            content["checksum"] = checksum(content)
        found = Profile.from_dict(content)
        assert found.device_name is not None

    fuzz(examples, damaged(base), look)


@FEW
def test_times_of_devices(tmp_path, examples):
    protocol = made_up(layers=20).protocol.to_dict()
    base = {"manifest": {"bundle": 1, "ops": [], "protocol": protocol, "networks": {}, "about": {}}}
    base |= {"layers": [], "models": {"64": {}}, "device": "a", "runtime_version": "b"}

    def look(content):
        (tmp_path / "result.json").write_bytes(content)
        bundle.read(tmp_path / "result.json")

    fuzz(examples, jsons(base), look)


@FEW
def test_lists_of_scans(tmp_path, examples):
    image, _ = phantom((8, 8, 2), ())
    nifti(tmp_path / "a.nii", image)
    base = {"labels": {"1": "a"}, "training": [{"image": "a.nii", "label": "a.nii", "fold": 0}]}

    def look(content):
        (tmp_path / "list.json").write_bytes(content)
        (tmp_path / "dataset.json").write_bytes(content)
        pairing.find(str(tmp_path / "list.json"))
        pairing.find(str(tmp_path / "*.nii"))

    fuzz(examples, jsons(base), look)


@FEW
@pytest.mark.parametrize("kind", ["nii", "nii.gz", "nrrd", "dcm", "png", "tif"])
def test_scans(tmp_path, examples, kind):
    import nrrd
    from PIL import Image

    image, _ = phantom((12, 14, 3), ())
    path = tmp_path / f"a.{kind}"
    if kind == "dcm":
        path = series(tmp_path, image.T[:1])[0]
    elif kind == "nrrd":
        nrrd.write(str(path), image)
    elif kind in ("png", "tif"):
        Image.fromarray(image[:, :, 0].astype(np.uint8)).save(path)
    else:
        nifti(path, image)

    def look(content):
        path.write_bytes(content)
        if kind == "dcm":
            found, _ = dicom.find([path])
            scan = dicom.read(found[0]) if found else None
        else:
            masks.look(path)
            scan = reading.read(path)
        if scan is not None:
            scan.plane(2, 0)

    fuzz(examples, flipped(path.read_bytes()), look)
