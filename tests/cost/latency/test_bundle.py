"""A bundle for a device elsewhere: written, run as it is there, and read back."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.helpers.devices import SIZE, layer_ms
from yolo_nas_ext.commands import profile as profiling
from yolo_nas_ext.commands import profile_sample
from yolo_nas_ext.cost.latency import bundle, probe
from yolo_nas_ext.cost.latency.fused_layers import deployed
from yolo_nas_ext.cost.latency.onnx_layer import layer_model
from yolo_nas_ext.cost.latency.probe import session
from yolo_nas_ext.cost.latency.profile import load
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.latency import exported
from yolo_nas_ext.space.detector import DetectorSpace

SPACES = [DetectorSpace.load("tiny")]
NETWORKS = profile_sample.networks(SPACES, 2)
NAMED = {"models/whole0.onnx": {"architecture": NETWORKS[0][0].to_dict(), "nc": NETWORKS[0][1]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked bundle of a few layers and two whole models."""
    home = tmp_path_factory.mktemp("bundle")
    protocol = Protocol(imgsz=SIZE, warmup=0, repeats=3)
    models = [
        bundle.ExportedModel(a, nc, SIZE, exported(a, protocol, nc=nc, opset=13))
        for a, nc in NETWORKS
    ]
    ops = profile_sample.layers(SPACES, [SIZE])[:12]
    bundle.write(home / "p.zip", protocol, ops, models, seconds=60, about={"spaces": ["tiny"]})
    with zipfile.ZipFile(home / "p.zip") as file:
        file.extractall(home)
    assert (home / "p.zip").stat().st_size < 400_000
    return home / "probe"


def test_the_script_imports_numpy_and_runtimes_alone() -> None:
    tree = ast.parse(Path(probe.__file__).read_text(encoding="utf-8"))
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names - sys.stdlib_module_names == {"numpy", "onnxruntime", "ncnn", "ai_edge_litert"}


NEWER = {"removeprefix", "removesuffix", "is_relative_to", "readlink", "with_stem", "bit_count"}


def test_the_script_runs_on_python_3_8() -> None:
    """By its grammar, the names it takes, and no type with brackets outside of annotations."""
    tree = ast.parse(Path(probe.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    typing = {"Any", "Callable", "Mapping", "MutableMapping", "Sequence"}
    assert imported == {"annotations", "Path", "Interpreter", "import_module", *typing}
    for node in ast.walk(tree):  # annotations are texts there
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, ast.Constant(None))
    found = [*ast.walk(tree)]
    types = [n.value.id for n in found if isinstance(n, ast.Subscript) and hasattr(n.value, "id")]
    assert not {*types} & {"dict", "list", "tuple", "set", "type", "Mapping", "MutableMapping"}
    assert not {n.attr for n in found if isinstance(n, ast.Attribute)} & NEWER
    unions = [n for n in found if isinstance(n, ast.BinOp) and isinstance(n.op, ast.BitOr)]
    assert not unions and not any(isinstance(n, ast.With) and len(n.items) > 1 for n in found)
    for call in (n for n in found if isinstance(n, ast.Call)):
        assert not {k.arg for k in call.keywords} & {"strict", "slots", "kw_only"}


@pytest.mark.parametrize(
    ("version", "opset", "ir", "least"),
    [
        ("1.11.0", 13, 7, ""),
        ("1.13.1", 17, 8, ""),
        ("1.13.1", 20, 9, "1.17"),
        ("1.11.0", 17, 8, "1.12"),
        ("1.6.0", 13, 7, ""),
        ("1.5.2", 13, 7, "1.6"),
        ("1.17.0", 20, 10, "1.18"),
        ("1.99.0", 25, 12, ""),
        ("2.0.1", 25, 12, ""),
        ("unknown", 20, 9, ""),
    ],
)
def test_an_old_runtime_is_known_by_its_version(
    version: str, opset: int, ir: int, least: str
) -> None:
    said = probe.too_old(version, opset, ir)
    assert bool(said) == bool(least) and (not least or f"onnxruntime {least} or newer" in said)


def test_models_are_written_for_old_runtimes_and_an_older_one_is_refused_before_it_times(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    needs = json.loads((folder / "manifest.json").read_text())["needs"]
    assert not probe.too_old("1.11.0", **needs)
    monkeypatch.setattr(onnxruntime, "__version__", "1.5.0")
    monkeypatch.setattr(probe, "session", lambda *_: pytest.fail("timed"))
    with pytest.raises(SystemExit, match=r"need onnxruntime 1\.6 or newer; this is 1\.5\.0"):
        probe.main(folder)


def test_a_device_times_it_and_a_profile_comes_of_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "probe.py")], capture_output=True, text=True, check=True
    )
    assert "layers: 12 of 12" in done.stdout and "bring it back" in done.stdout
    result = bundle.read(folder / "result.json")
    assert len(result.layers) == 12 and len(result.models[SIZE]) == 2
    assert result.models[SIZE][0].ops == deployed(NETWORKS[0][0], NETWORKS[0][1], SIZE)
    out = tmp_path / "device.json"
    given = {"import": str(folder / "result.json"), "out": str(out), "force": True}
    assert profiling.main(given) == 0
    profile = load(out)
    assert profile.protocol.repeats == 3 and profile.about["spaces"] == ["tiny"]
    assert profile.predict(*NETWORKS[0], SIZE) > 0
    assert "yolo nas-search latency=" in capsys.readouterr().out


def test_a_device_that_was_stopped_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [many for _, many, _ in json.loads((folder / "manifest.json").read_text())["layers"]]
    kept = "".join(json.dumps([name, 7.0]) + "\n" for name in names[:11])
    (folder / "timed.jsonl").write_text(kept + '["models/lay')
    timed: list[Any] = []
    monkeypatch.setattr(probe, "layer_ms", lambda *args: timed.append(args) or 5.0)
    probe.main(folder)
    found = json.loads((folder / "result.json").read_text())["layers"]
    assert found == [7.0] * 11 + [5.0] and len(timed) == 1


def test_what_was_timed_before_a_failure_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "timed.jsonl").unlink(missing_ok=True)
    usual = probe.session

    def session(model: str, threads: int) -> Any:
        if "layer3-" in model or "whole" in model:
            raise RuntimeError("no such operator")
        return usual(model, threads)

    monkeypatch.setattr(probe, "session", session)
    monkeypatch.setattr(probe, "layer_ms", lambda *args: 5.0)
    with pytest.raises(SystemExit, match=r"no such operator.*what was timed is kept"):
        probe.main(folder)
    assert "layer3" in capsys.readouterr().out
    monkeypatch.setattr(probe, "session", usual)
    monkeypatch.setattr(probe, "layer_ms", lambda *args: 6.0)
    probe.main(folder)
    layers = json.loads((folder / "result.json").read_text())["layers"]
    assert layers == [5.0] * 3 + [6.0] + [5.0] * 8
    monkeypatch.setattr(probe, "session", lambda *_: pytest.fail("timed again"))
    probe.main(folder)


def test_shared_weights_leave_the_graph_as_it_is(tmp_path: Path) -> None:
    op = next(
        op for op in profile_sample.layers(SPACES, [SIZE]) if op.kind == "conv" and op.c_in >= 64
    )
    model = layer_model(op, 2)
    small, read = bundle.shared_weights(model)
    assert len(small) < 4000 < read
    a, b = onnx.load_from_string(model).graph, onnx.load_from_string(small).graph
    assert [n.op_type for n in a.node] == [n.op_type for n in b.node]
    assert [list(w.dims) for w in a.initializer] == [list(w.dims) for w in b.initializer]
    rng = np.random.default_rng(0)
    (tmp_path / bundle.WEIGHTS).write_bytes(rng.random(read // 4, np.float32).tobytes())
    (tmp_path / "m.onnx").write_bytes(small)
    found = session(str(tmp_path / "m.onnx"), 1)()
    assert not np.array_equal(found[0], found[1])  # copies have weights of their own


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2], "not a whole result of a bundle"),
        (lambda text: text.replace('"bundle": 1', '"bundle": 9'), "of bundle version 9"),
        (
            lambda text: text.replace('"models/whole0.onnx": [1.0', '"b": [1.0'),
            "not a whole result",
        ),
        (lambda text: text.replace('"ops"', '"opps"'), "not a whole result of a bundle"),
    ],
)
def test_a_damaged_result_is_one_line(damage: Any, said: str, tmp_path: Path) -> None:
    ops = profile_sample.layers(SPACES, [SIZE])[:3]
    whole = {
        "manifest": {
            "bundle": 1,
            "ops": [list(op) for op in ops],
            "networks": NAMED,
            "about": {},
            "protocol": Protocol(imgsz=SIZE).to_dict(),
        },
        "device": "a",
        "runtime_version": "b",
        "layers": [layer_ms(op) for op in ops],
        "models": {"64": {"models/whole0.onnx": [1.0, 2.0, 3.0]}},
    }
    path = tmp_path / "result.json"
    path.write_text(json.dumps(whole))
    assert bundle.read(path).layers == {op: layer_ms(op) for op in ops}
    path.write_text(damage(json.dumps(whole)))
    with pytest.raises(NASError, match=said) as caught:
        bundle.read(path)
    assert "\n" not in str(caught.value)
