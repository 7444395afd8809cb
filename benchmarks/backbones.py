"""The drop-in models: what they cost, an epoch of training, an export, and their latency.

    python benchmarks/backbones.py                      # all; their headers are checked
    python benchmarks/backbones.py write=True           # the same, and the headers written
    python benchmarks/backbones.py models=damo-yolo-t   # some of them

Each model is built by Ultralytics, which counts its parameters and the FLOPs at 640 px for 80
classes; trained by it for an epoch on a few of the embedded cells at 64 px; exported to ONNX, which
is held against Ultralytics' own outputs; and timed beside YOLO11n, all in turns, see
docs/latency.md. The last line is a JSON object; `pass` is every model trained and exported, outputs
equal to 0.01 (boxes in pixels), and every header with Ultralytics' numbers.
"""

from __future__ import annotations

import platform
import re
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from lib import Figures, Table, machine, names, start
from ultralytics import YOLO

from yolo_nas_ext.cost.latency.protocol import Measurement, Protocol
from yolo_nas_ext.data.builtin.cells import ensure_cells
from yolo_nas_ext.files import resource
from yolo_nas_ext.host.dataset import quiet
from yolo_nas_ext.host.latency import measure_models
from yolo_nas_ext.host.models import costs, definition, scaled

KEYS = {"models": "", "write": False, "repeats": 5}
SIZE, CLASSES, SMALL = 640, 80, 64
BESIDE = "yolo11n"
TOLERANCE = 0.01
COUNTED = re.compile(r"# ([\d,]+) parameters, ([\d.]+) GFLOPs at 640 px")


def files() -> list[Path]:
    """Return the shipped model definitions."""
    return sorted(resource("cfg", "backbones").glob("*.yaml"))


def counts(path: Path) -> tuple[int, float]:
    """Return the parameters of a model and the GFLOPs of an image, as Ultralytics counts them."""
    params, flops = costs(definition(str(path))[0], nc=CLASSES, channels=3, imgsz=SIZE)
    return params, round(flops / 1e9, 3)


def header(path: Path) -> tuple[int, float]:
    """Return the parameters and GFLOPs that a file's header names."""
    found = COUNTED.search(path.read_text(encoding="utf-8"))
    assert found, f"{path}: no parameters and FLOPs in its header"
    return int(found[1].replace(",", "")), float(found[2])


def trained_and_exported(path: Path, data: Path, folder: Path) -> dict[str, Any]:
    """Train a model for an epoch, reload and export it; the largest difference of outputs."""
    with quiet():
        YOLO(path).train(
            data=str(data),
            epochs=1,
            imgsz=SMALL,
            batch=8,
            amp=False,
            plots=False,
            verbose=False,
            project=str(folder),
            name=path.stem,
            workers=0,
            device="cpu",
        )
        model = YOLO(folder / path.stem / "weights" / "best.pt")
        weights = sum(p.numel() for p in model.model.parameters())
        onnx = YOLO(folder / path.stem / "weights" / "best.pt").export(format="onnx", imgsz=SMALL)
    x = torch.rand(1, 3, SMALL, SMALL, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mine = model.model.float().eval()(x)[0].numpy()
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return {"parameters": weights, "difference": float(np.abs(mine - theirs).max())}


def write(path: Path, params: int, gflops: float, latency: Measurement, beside: float) -> None:
    """Write what was counted and measured into a file's header."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"# latency [^\n]*\n(#   [^\n]*\n)*", "", text)
    numbers = f"# {params:,} parameters, {gflops:.3f} GFLOPs at 640 px"
    at = COUNTED.search(text)
    assert at, path
    end = text.index("\n", at.end()) + 1
    line = numbers + text[at.end() : end]
    line += (
        f"# latency {latency.median_ms:.0f} ms, {latency.median_ms / beside:.2f} times "
        f"{BESIDE}'s in the same turns: {latency.protocol},\n"
        f"#   median of {latency.runs} runs, {latency.runtime_version}, {latency.device_name}, "
        f"{date.today()}\n"
    )
    path.write_text(text[: at.start()] + line + text[end:], encoding="utf-8")


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    wanted = names(given["models"])
    chosen = [path for path in files() if not wanted or path.stem in wanted]
    counted = {path.stem: counts(path) for path in chosen}
    protocol = Protocol(imgsz=SIZE, warmup=1, repeats=given["repeats"])
    paths: dict[str, Any] = {BESIDE: scaled(*definition(BESIDE))}
    with quiet():
        times = measure_models(paths | {path.stem: str(path) for path in chosen}, protocol)
    beside = times[BESIDE].median_ms
    if given["write"]:
        for path in chosen:
            write(path, *counted[path.stem], times[path.stem], beside)
    rows, good = [], True
    table = Table(
        f"{'model':<18}",
        "parameters ",
        "GFLOPs ",
        "ms  ",
        f"x {BESIDE}",
        "outputs within",
        "header",
    )
    with tempfile.TemporaryDirectory() as folder:
        data = ensure_cells(Path(folder) / "cells", train=24, val=8, size=SMALL) / "data.yaml"
        for path in chosen:
            (params, gflops), latency = counted[path.stem], times[path.stem]
            found = trained_and_exported(path, data, Path(folder))
            same = header(path) == (params, gflops)
            good &= same and found["difference"] <= TOLERANCE
            row = {
                "model": path.stem,
                "params": params,
                "gflops": gflops,
                "header": same,
                "latency_ms": latency.median_ms,
                "latency_iqr_ms": latency.iqr_ms,
                "ratio": latency.median_ms / beside,
                **found,
            }
            rows.append(row)
            table.row(
                path.stem,
                f"{params:,}",
                f"{gflops:.3f}",
                f"{latency.median_ms:.0f}",
                f"{row['ratio']:.2f}",
                f"{found['difference']:.1e}",
                "the same" if same else header(path),
            )
    return {
        "rows": rows,
        "beside_ms": beside,
        "protocol": str(protocol),
        **machine(),
        "python": platform.python_version(),
        "pass": good,
    }


if __name__ == "__main__":
    start(main, KEYS)
