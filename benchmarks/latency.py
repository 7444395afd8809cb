"""How true predicted latency is: profiles against whole networks that they have not seen.

    python benchmarks/latency.py [out=runs/latency] [imgsz=320] [networks=60] [python=...]
                                 [parts=onnx,torch,openvino,bundle,rate,search,carried,table,busy]
                                 [minutes=8,3]

1. `onnx`, `torch`, `openvino`: the device is profiled in that runtime, and networks drawn from the
   shipped spaces, none of them a network of the profile, are measured beside YOLOv5n, v8n, 11n and
   26n. ONNX Runtime's profile is the default one, of 320 and 640 px; the others are of `imgsz`.
2. `bundle`: two further profiles in ONNX Runtime, and one by a bundle that `python` runs, that of
   an environment which holds onnxruntime and numpy alone. Their predictions are compared.
3. `rate`: candidates a second of the zero-cost search, without and with a limit on latency, by CPU
   time.
4. `search`: searches with `max_latency`, whose best are measured once more.

5. `carried`: leave one runtime out. Of ONNX Runtime with 1 and 2 threads and in int8, torch, and
   OpenVINO in fp32 and int8, as far as they are installed, each is made by ten networks from the
   profile of every other one that has one, and predicts the rest of the networks.
6. `table`: the same of nasbench201's tables of real devices, each from each other one by ten cells.
7. `busy`: four processes compute while a profile is made; it is compared with the one of `onnx`.

Each part keeps its figures in `out` and is not run again while they are there; without `parts` all
are run, and what is kept is printed. The last line is a JSON object; `pass` is whether all targets
hold.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lib import SHARED, Figures, Table, csv_rows, machine, names, start, targets
from scipy.optimize import nnls
from scipy.stats import spearmanr

from yolo_nas_ext.api import search
from yolo_nas_ext.commands.profile import main as profile_device
from yolo_nas_ext.commands.profile_sample import networks as drawn_networks
from yolo_nas_ext.cost.budget import Budget, metric
from yolo_nas_ext.cost.latency import carry
from yolo_nas_ext.cost.latency.fit import Model
from yolo_nas_ext.cost.latency.fused_layers import Op, deployed, deployed_rows
from yolo_nas_ext.cost.latency.profile import Profile, load
from yolo_nas_ext.cost.latency.protocol import Protocol, runtimes_here
from yolo_nas_ext.host.latency import measure_models
from yolo_nas_ext.host.models import definition as definition_of
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import scaled_rows
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.vectorized.evolution import evolve

SPACES = ("tiny", "yolo", "damo")
STOCK = ("yolov5n", "yolov8n", "yolo11n", "yolo26n")
MEDIAN, P90, RANK = 0.05, 0.12, 0.98
MINUTES, MICROSECONDS, RATE = 10.0, 20.0, 15_000
KEPT, OVER = 0.95, 0.10
HELD_OUT = 4711  # seed of the networks that are predicted; profiles draw with small ones
GROUP = 8
PARTS = ("onnx", "torch", "openvino", "bundle", "rate", "search", "carried", "table", "busy")
OPERATIONS = ("skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
RUNTIMES = {  # that are left out in turn
    "onnx": {"runtime": "onnx"},
    "onnx 2": {"runtime": "onnx", "threads": 2},
    "onnx int8": {"runtime": "onnx", "precision": "int8"},
    "torch": {"runtime": "torch"},
    "openvino": {"runtime": "openvino"},
    "openvino int8": {"runtime": "openvino", "precision": "int8"},
}
CARRIED = {"median_error": 0.07, "p90_error": 0.15, "spearman": 0.97}
CELLS = 1000  # of nasbench201, drawn
LOAD, BUSY = 4, 0.10  # processes beside a profile, and how far its predictions may be off
KEYS = {
    "out": "runs/latency",
    "imgsz": 320,
    "networks": 60,
    "python": sys.executable,
    "parts": ",".join(PARTS),
    "minutes": "8,3",
    "trials": 500_000,
}


def held_out(n: int) -> list[tuple[str, Any, int]]:
    """Return (name, network, classes) of networks of the shipped spaces in turns."""
    spaces = [DetectorSpace.load(name) for name in SPACES]
    drawn = drawn_networks(spaces, -(-n // len(spaces)), HELD_OUT)[:n]
    return [(f"{i} {SPACES[i % 3]}", a, nc) for i, (a, nc) in enumerate(drawn)]


def layers_of(name: str, imgsz: int) -> list[Op]:
    """Return the layers of one of Ultralytics' own models; YOLOv5's neck is of no space."""
    definition, scale = definition_of(name)
    rows = [
        (source, n, module, tuple(80 if a == "nc" else a for a in args))
        for source, n, module, args in scaled_rows(definition, scale)
    ]
    return deployed_rows(rows, reg_max=definition.get("reg_max") or 16, imgsz=imgsz)


def true(runtime: str, imgsz: int, n: int, profile: Profile) -> Figures:
    """Return what networks take, measured in groups, and what the profile predicts."""
    networks = held_out(n)
    seen = {name for at in profile.sizes.values() for name, _, _ in at.models}
    drawn = [(name, a, nc) for name, a, nc in networks if f"nas-{a.key} nc {nc}" not in seen]
    what: list[tuple[str, Any, float]] = [
        (name, emit(a, nc), profile.predict(a, nc, imgsz)) for name, a, nc in drawn
    ]
    what += [
        (name, f"{name}.yaml", profile.predict(layers_of(name, imgsz), imgsz=imgsz))
        for name in STOCK
    ]
    found: dict[str, list[float]] = {}
    for first in range(0, len(what), GROUP):
        group = {name: model for name, model, _ in what[first : first + GROUP]}
        for name, ms in measure_models(group, Protocol(runtime, imgsz=imgsz)).items():
            found[name] = [ms.median_ms, ms.low_ms, ms.iqr_ms]
        print(f"{runtime}: {len(found)} of {len(what)} measured", flush=True)
    return {name: [*found[name], guess] for name, _, guess in what}


def accuracy(rows: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return errors and rank correlation of rows of (median, low quartile, range, predicted)."""
    ms, guess = (np.array([row[i] for row in rows.values()]) for i in (0, 3))
    error = guess / ms - 1
    return {
        "networks": len(ms),
        "median_error": float(np.median(abs(error))),
        "p90_error": float(np.quantile(abs(error), 0.9)),
        "worst": float(abs(error).max()),
        "bias": float(np.median(error)),
        "spearman": float(spearmanr(ms, guess)[0]),
    }


def runtime_part(runtime: str, folder: Path, given: Mapping[str, Any]) -> Figures:
    """Profile in one runtime and predict what was not seen."""
    file = folder / f"{runtime}.json"
    default = runtime == "onnx"
    minutes = [float(m) for m in names(given["minutes"])]
    begin = time.perf_counter()
    if not file.is_file():
        sizes = {} if default else {"imgsz": given["imgsz"]}
        profile_device(
            {"runtime": runtime, "out": str(file), "minutes": minutes[not default], **sizes}
        )
    seconds = time.perf_counter() - begin
    profile = load(file)
    rows = true(runtime, given["imgsz"], given["networks"], profile)
    return {
        "profile_seconds": seconds,
        "layers": len(profile.layers),
        **accuracy(rows),
        "runtime": profile.runtime_version,
        "rows": rows,
        "load": os.getloadavg()[0],
    }


def bundle_part(folder: Path, given: Mapping[str, Any]) -> Figures:
    """Compare a profile by a bundle with two direct ones, by what they predict."""
    minutes = float(names(given["minutes"])[-1])
    common = {"imgsz": given["imgsz"], "minutes": minutes}
    files = [folder / f"direct{i}.json" for i in (1, 2)]
    for file in files:
        if not file.is_file():
            profile_device({**common, "out": str(file)})
    zipped, file = folder / "probe.zip", folder / "bundle.json"
    if not file.is_file():
        profile_device({**common, "bundle": str(zipped)})
        with zipfile.ZipFile(zipped) as archive:
            archive.extractall(folder)
        script = str(folder / "probe" / "probe.py")
        subprocess.run([given["python"], "-I", script], check=True, env={})
        profile_device({"import": str(folder / "probe" / "result.json"), "out": str(file)})
    profiles = [load(path) for path in (*files, file)]
    table = np.array(
        [
            [p.predict(a, nc, given["imgsz"]) for p in profiles]
            for _, a, nc in held_out(given["networks"])
        ]
    )
    direct = abs(table[:, 0] / table[:, 1] - 1)
    other = [abs(table[:, 2] / table[:, i] - 1) for i in (0, 1)]
    return {
        "bundle_mb": zipped.stat().st_size / 1e6,
        "direct_median": float(np.median(direct)),
        "direct_p90": float(np.quantile(direct, 0.9)),
        "bundle_median": float(np.median(np.concatenate(other))),
        "bundle_p90": float(np.quantile(np.concatenate(other), 0.9)),
    }


def rate_part(folder: Path, given: Mapping[str, Any]) -> Figures:
    """Time the zero-cost search with and without a limit on latency."""
    profile, imgsz = load(folder / "onnx.json"), given["imgsz"]
    found: dict[str, Any] = {}
    for name in SPACES:
        space, rng = DetectorSpace.load(name), random.Random(0)
        some = [space.architecture(space.sample(rng)) for _ in range(60)]
        limit = float(np.quantile([profile.predict(a, 80, imgsz) for a in some], 0.4))
        seconds = []
        for budget in (
            Budget({}, 80, imgsz),
            Budget({"max_latency": limit}, 80, imgsz, profile=profile),
        ):
            begin = time.process_time()
            outcome = evolve(space.within(budget), budget, trials=given["trials"])
            seconds.append((time.process_time() - begin) / outcome.counts["evaluated"])
        found[name] = {
            "per_second": 1 / seconds[1],
            "per_second_without": 1 / seconds[0],
            "microseconds": 1e6 * (seconds[1] - seconds[0]),
            "max_latency": limit,
        }
        print(f"rate, {name}: {found[name]}", flush=True)
    return found


def search_part(folder: Path, given: Mapping[str, Any]) -> Figures:
    """Search with limits, and measure their best once more."""
    profile, imgsz = load(folder / "onnx.json"), given["imgsz"]
    shares: list[float] = []
    for name in SPACES:
        space, rng = DetectorSpace.load(name), random.Random(1)
        some = [profile.predict(space.architecture(space.sample(rng)), 3, imgsz) for _ in range(60)]
        for share in (0.2, 0.5):
            limit = float(np.quantile(some, share))
            study = search(
                space=name,
                data="cells",
                estimator="madnas",
                trials=20_000,
                imgsz=imgsz,
                latency=str(folder / "onnx.json"),
                max_latency=limit,
                baseline="none",
                project=str(folder / "runs"),
                confirm=5,
                seed=0,
            )
            best = [t for t in study.candidates if metric(what="measured") in t.metrics]
            again = measure_models(
                {str(t.number): emit(t.network, 3) for t in best}, Protocol(imgsz=imgsz)
            )
            shares += [ms.median_ms / limit for ms in again.values()]
            print(f"search, {name}, {limit:.2f} ms: {np.round(shares[-len(best) :], 3)}")
    return {
        "measured": len(shares),
        "within": float(np.mean(np.array(shares) <= 1)),
        "worst_over": max(shares) - 1,
    }


def carried_part(folder: Path, given: Mapping[str, Any]) -> Figures:
    """Make the profile of each runtime from that of each other one, by ten networks."""
    imgsz, n = given["imgsz"], given["networks"]
    befores = {r: load(f) for r in PARTS[:3] if (f := folder / f"{r}.json").is_file()}
    networks = {name: (a, nc) for name, a, nc in held_out(n)}
    found: dict[str, Any] = {}
    for name, how in RUNTIMES.items():
        if how["runtime"] not in runtimes_here():
            continue
        protocol = Protocol(**how, imgsz=imgsz)
        models = {key: emit(a, nc) for key, (a, nc) in networks.items()}
        measured: dict[str, float] = {}
        for first in range(0, len(models), GROUP):
            group = dict(list(models.items())[first : first + GROUP])
            measured |= {k: ms.own_ms for k, ms in measure_models(group, protocol).items()}
        tables = {key: deployed(a, nc, imgsz) for key, (a, nc) in networks.items()}
        for other, before in befores.items():
            if imgsz not in before.sizes or (other == name):
                continue
            keys = list(tables)
            ten = carry.chosen(before, list(tables.values()), imgsz, carry.NETWORKS)
            seen = [Model(keys[i], tables[keys[i]], measured[keys[i]]) for i in ten]
            now = carry.carried(before, name, "", protocol, {imgsz: seen}, about={})
            rest = [key for i, key in enumerate(keys) if i not in ten]
            rows = {k: [measured[k], 0, 0, now.predict(tables[k], imgsz=imgsz)] for k in rest}
            found[f"{name} from {other}"] = accuracy(rows)
            print(f"{name} from {other}: {found[f'{name} from {other}']}", flush=True)
    return found


def tabular(file: Path) -> Figures:
    """Predict each device of nasbench201 from each other one, by ten cells.

    A cell's time on the other device is parted by what its operations take there in the mean. The
    ten are those that tell most, as for whole networks.
    """
    rows = random.Random(HELD_OUT).sample(csv_rows(file), CELLS)
    devices = [name for name in rows[0] if name != "arch"]
    counts = np.array([[row["arch"].count(kind) for kind in OPERATIONS] for row in rows], float)
    times = {name: np.array([float(row[name] or "nan") for row in rows]) for name in devices}
    found: dict[str, Any] = {}
    for other, known in times.items():
        design = np.column_stack([counts, np.ones(len(rows))])
        usual = nnls(design / known[:, None], np.ones(len(rows)))[0]
        parts = design * usual + 1e-9  # of cells in which nothing is computed, too
        sums = np.column_stack([known[:, None] * parts / parts.sum(1)[:, None], np.ones(len(rows))])
        ten = carry.telling(sums, known, carry.NETWORKS)
        rest = np.setdiff1d(np.arange(len(rows)), ten)
        for name, ms in times.items():
            if name != other:
                constant, factors, _ = carry.factors_of(sums[ten], ms[ten])
                guess = constant + sums[rest] @ factors
                table = {
                    str(i): [m, 0, 0, g] for i, m, g in zip(rest, ms[rest], guess, strict=True)
                }
                found[f"{name} from {other}"] = accuracy(table)
    return found


def busy_part(folder: Path, given: Mapping[str, Any]) -> Figures:
    """Profile while other processes compute, and compare what is predicted."""
    file, minutes = folder / "busy.json", float(names(given["minutes"])[-1])
    if not file.is_file():
        work = [
            subprocess.Popen([sys.executable, "-c", "while True: sum(range(10**6))"])
            for _ in range(LOAD)
        ]
        try:
            profile_device({"imgsz": given["imgsz"], "minutes": minutes, "out": str(file)})
        finally:
            for process in work:
                process.kill()
    idle, busy = load(folder / "onnx.json"), load(file)
    pairs = [
        [p.predict(a, nc, given["imgsz"]) for p in (idle, busy)]
        for _, a, nc in held_out(given["networks"])
    ]
    error = np.array([second / first - 1 for first, second in pairs])
    return {
        "processes": LOAD,
        "median": float(np.median(abs(error))),
        "p90": float(np.quantile(abs(error), 0.9)),
        "bias": float(np.median(error)),
    }


def met(found: Mapping[str, Any]) -> dict[str, bool]:
    """Return which targets hold, by name."""
    onnx, bundle, limited = (found.get(n, {}) for n in ("onnx", "bundle", "search"))
    rates = found.get("rate", {}).values()
    carried = [row for part in ("carried", "table") for row in found.get(part, {}).values()]
    each = {name: [row[name] for row in carried] for name in CARRIED}
    return {
        "carried: median error at most 7 %": bool(carried)
        and float(np.median(each["median_error"])) <= CARRIED["median_error"],
        "carried: 90 % within 15 %": bool(carried)
        and float(np.median(each["p90_error"])) <= CARRIED["p90_error"],
        "carried: Spearman at least 0.97": bool(carried)
        and float(np.median(each["spearman"])) >= CARRIED["spearman"],
        "at load 4 within 10 % (median)": found.get("busy", {}).get("median", 1) <= BUSY,
        "median error at most 5 %": onnx.get("median_error", 1) <= MEDIAN,
        "90th percentile at most 12 %": onnx.get("p90_error", 1) <= P90,
        "Spearman at least 0.98": onnx.get("spearman", 0) >= RANK,
        "profile in at most 10 minutes": 0 < onnx.get("profile_seconds", 0) <= 60 * MINUTES,
        "at most 20 microseconds a candidate": bool(rates)
        and max(r["microseconds"] for r in rates) <= MICROSECONDS,
        "at least 15,000 candidates a second": bool(rates)
        and min(r["per_second"] for r in rates) >= RATE,
        "bundle within the noise of two profiles": bundle.get("bundle_median", 1)
        <= bundle.get("direct_p90", 0),
        "the best within the limit in 95 %": limited.get("within", 0) >= KEPT,
        "none by more than 10 % over": limited.get("worst_over", 1) <= OVER,
    }


def main(given: dict[str, Any]) -> Figures:
    """Run the parts, print their tables and targets, and return the figures."""
    folder = Path(given["out"])
    folder.mkdir(parents=True, exist_ok=True)
    runs: dict[str, Callable[[], Figures]] = {
        **{r: (lambda r=r: runtime_part(r, folder, given)) for r in PARTS[:3]},
        "bundle": lambda: bundle_part(folder, given),
        "rate": lambda: rate_part(folder, given),
        "search": lambda: search_part(folder, given),
        "carried": lambda: carried_part(folder, given),
        "table": lambda: tabular(SHARED / "nasbench201" / "latency_ms.csv"),
        "busy": lambda: busy_part(folder, given),
    }
    found: Figures = {}
    for name in PARTS:
        kept = folder / f"{name}.figures.json"
        if not kept.is_file() and name in names(given["parts"]):
            kept.write_text(json.dumps(runs[name]()))
        if kept.is_file():
            found[name] = json.loads(kept.read_text())
            show(name, found[name], found[name].pop("rows", {}))
    return {**machine(), **found, "pass": targets(met(found))}


def show(name: str, figures: Figures, rows: Mapping[str, Sequence[float]]) -> None:
    """Print the figures of a part, and what Ultralytics' models take in its runtime."""
    print()
    table = Table(f"{name:<18}", "figure")
    for figure, value in figures.items():
        table.row(figure, f"{value:.4g}" if isinstance(value, float) else value)
    if rows:
        print()
        table = Table("model   ", "ms   ", "quartiles apart", "predicted, ms", "error ")
        for model in STOCK:
            ms, _, iqr, guess = rows[model]
            numbers = (f"{value:.2f}" for value in (ms, iqr, guess))
            table.row(model, *numbers, f"{guess / ms - 1:+.1%}")


if __name__ == "__main__":
    start(main, KEYS)
