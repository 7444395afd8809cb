"""Does a search find a better model than the hand-made ones? A whole comparison on one data set.

    python benchmarks/proof.py set=brain [only=profile,search,compare] [seeds=0] [arms=found,random]

The protocol of each set is `SETS`, written before its first run:

1. A profile of this machine's latency, and the latency of YOLO11n by it: the limit of every search.
   The size of the images is a choice of the searches, and what it costs counts.
2. Searches, `found` with `strategy=auto`, `random` with `strategy=random`, both with the same
   trials, `small` with half the limit and `large` with twice: short trainings on three quarters of
   train, after which the best few and the hand-made models are trained in full there and measured
   on the rest. That names the winner. Val is not looked at. `free` evolves a thousand networks by
   the score `resolved`, without a training before those of the best few; so do `lite`
   with half the limit and `lighter` with 0.45 of it.
3. `yolo nas-compare` of the winners and the hand-made models: all of train, three seeds, in turns,
   measured on val; latency measured in turns.

What is done is kept below `benchmarks/proof/<set>` and not done again. The last line is a JSON
object; `pass` is whether the found model is 3.0 mAP50-95 above the best hand-made one at no more
measured latency, its search having cost at most 15 trainings of YOLO11n in full. `half` names the
models within 0.5 mAP50-95 of the best hand-made one at half its latency or less, `over_random` is
what `found` has over `random`, a search seed each, with Student's interval over these.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from math import ceil, isfinite
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from scans import command  # the script beside it

from yolo_nas_ext.compare.definitions import cost
from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.cost.latency import profile as latency
from yolo_nas_ext.host import models
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.study.leaderboard import interval
from yolo_nas_ext.study.storage import CONFIRM, notes

HERE = Path(__file__).parent / "proof"
BASELINES = ("yolov8n", "yolo11n", "yolo26n")
REFERENCE = "yolo11n"  # whose latency is the limit, and whose training is the unit of cost
ABOVE, MOST = 0.03, 15.0
NEAR, HALF = 0.005, 0.5
SETS: dict[str, dict[str, Any]] = {
    "brain": {
        "data": "../shared/data/brain_tumor", "nc": 2, "imgsz": 96, "sizes": [96, 128, 160],
        "epochs": 30, "trials": 48, "short": 5, "confirm": 6, "seeds": 3,
    },
    "cells": {
        "data": "cells", "nc": 3, "imgsz": 128, "sizes": [128, 160, 192], "epochs": 40,
        "trials": 30, "short": 8, "confirm": 5, "seeds": 3,
    },
    "coco": {
        "data": "runs/proof/coco20/data.yaml", "nc": 20, "imgsz": 192, "sizes": [192, 256, 320],
        "epochs": 100, "trials": 30, "short": 15, "confirm": 5, "seeds": 3, "import": (
            "source=../shared/data/coco128/annotations/instances_train2017.json",
            "images=../shared/data/coco128/train2017", "classes=20", "val=0.3",
        ),
    },
}  # fmt: skip
FREE = ("strategy=evolution", "estimator=resolved", "trials=1000")
ARMS: dict[str, tuple[str, ...]] = {
    "found": ("strategy=auto",), "random": ("strategy=random",),
    "small": ("strategy=auto",), "large": ("strategy=auto",),
    "free": FREE, "lite": FREE, "lighter": FREE,
}  # fmt: skip
SHARE = {"small": 0.5, "lite": 0.5, "lighter": 0.45, "large": 2.0}  # of the limit; 1 of other arms
QUICK = ("threads=1", "workers=0")
Figures = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Do what is missing, print the figures and return the exit code."""
    given = {"set": "brain", "only": "profile,search,compare", "seeds": "0", "arms": "found,random",
             **parse_arguments(arguments)}  # fmt: skip
    name, steps = str(given["set"]), str(given["only"]).split(",")
    protocol, folder = SETS[name], HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in str(given["seeds"]).split(",")]
    arms = str(given["arms"]).split(",")
    sizes = "-".join(str(size) for size in protocol["sizes"])
    profile = Path("runs/proof") / f"device-{sizes}.json"
    if "import" in protocol and not Path(protocol["data"]).is_file():
        command("nas-data", *protocol["import"], f"out={Path(protocol['data']).parent}")
    if "profile" in steps:
        limit(protocol, folder, profile)
    if "search" in steps:
        for seed in seeds:
            for arm in arms:
                search(protocol, folder, profile, arm, seed)
    if "compare" in steps:
        compare(protocol, folder)
    return verdict(folder)


def limit(protocol: Figures, folder: Path, profile: Path) -> None:
    """Profile this machine and keep what the hand-made models take by the profile."""
    size = protocol["imgsz"]
    if not profile.is_file():
        profile.parent.mkdir(parents=True, exist_ok=True)
        sizes = ",".join(str(size) for size in protocol["sizes"])
        command("nas-profile", f"imgsz={sizes}", f"out={profile}", "minutes=8")
    note = folder / "limit.json"
    if note.is_file():
        return
    predictor = latency.load(profile)
    found = {
        name: predictor.predict(read(*models.definition(name)), nc=protocol["nc"], imgsz=size)
        for name in BASELINES
    }
    note.write_text(json.dumps({"latency_ms": found, "limit": found[REFERENCE]}, indent=1) + "\n")


def search(protocol: Figures, folder: Path, profile: Path, arm: str, seed: int) -> None:
    """Search, or go on, and keep the winner and what finding it cost."""
    name = f"{arm}-{seed}"
    kept = folder / name
    if (kept / "search.json").is_file():
        return
    most = json.loads((folder / "limit.json").read_text("utf-8"))["limit"]
    most *= SHARE.get(arm, 1.0)
    run = Path("runs/proof") / folder.name / name
    sizes = ",".join(str(size) for size in protocol["sizes"])
    short = (f"trials={protocol['trials']}", f"epochs={protocol['short']}")
    keys = (
        f"data={protocol['data']}", "space=yolo", f"sizes={sizes}", *ARMS[arm], f"seed={seed}",
        *(() if ARMS[arm] is FREE else short), "batch=16",
        f"imgsz={protocol['imgsz']}", f"latency={profile}", f"max_latency={ceil(1e4 * most) / 1e4}",
        f"confirm={protocol['confirm']}", "confirm_by=full", f"confirm_epochs={protocol['epochs']}",
        f"project={run.parent}", f"name={name}", *QUICK,
    )  # fmt: skip
    begun = (run / "args.yaml").is_file()
    command("nas-search", *((f"resume={run}",) if begun else keys), allowed=(0, 3))
    kept.mkdir(exist_ok=True)
    rows = list(csv.DictReader((run / "trials.csv").read_text("utf-8").splitlines()))
    trained = confirmations(run)
    (kept / "search.json").write_text(json.dumps({
        "trials": len(rows), "seconds": round(cost(run)),
        "confirmed": {
            row["name"] or row["key"]: trained[int(row["number"])].get("fitness")
            for row in rows if int(row["number"]) in trained
        },
    }, indent=1) + "\n")  # fmt: skip
    shutil.copy(run / "best.yaml", kept / f"{name}.yaml")


def confirmations(run: Path) -> dict[int, dict[str, float]]:
    """Return the metrics of the trainings that confirmed trials of a run, by trial."""
    import optuna

    study = optuna.load_study(study_name=None, storage=f"sqlite:///{run / 'study.db'}")
    return {number: found for number, _, found in notes(study.user_attrs, CONFIRM)}


def compare(protocol: Figures, folder: Path) -> None:
    """Train the winners and the hand-made models, in turns, or those that are not trained yet."""
    winners = [os.path.relpath(path) for path in sorted(folder.glob("*-*/*-*.yaml"))]
    out = Path(os.path.relpath(folder / "compare"))  # what is kept names no folder of the machine
    begun = (out / "args.yaml").is_file()
    keys = (
        f"data={protocol['data']}", f"epochs={protocol['epochs']}", f"imgsz={protocol['imgsz']}",
        f"seeds={protocol['seeds']}", f"project={out.parent}", "name=compare", *QUICK,
    )  # fmt: skip
    given = ",".join([*winners, *(f"{name}.yaml" for name in BASELINES)])
    command("nas-compare", f"models={given}", *((f"resume={out}",) if begun else keys))


def verdict(folder: Path) -> int:
    """Print what the comparison says, and return the exit code."""
    file = folder / "compare" / "comparison.csv"
    if not file.is_file():
        print(json.dumps({"set": folder.name, "pass": False, "why": "no comparison yet"}))
        return 1
    rows = list(csv.DictReader(file.read_text("utf-8").splitlines()))
    entered: dict[str, dict[str, Any]] = {}
    for row in rows:
        kept = entered.setdefault(
            row["model"], {"fitness": [], "seconds": [], "latency_ms": row["latency_ms"]}
        )
        if row["fitness"] and not row["error"]:
            kept["fitness"].append(float(row["fitness"]))
            kept["seconds"].append(float(row["seconds"]))
    found: dict[str, dict[str, Any]] = {
        name: {
            "fitness": round(mean(kept["fitness"]), 4), "seeds": len(kept["fitness"]),
            "latency_ms": float(kept["latency_ms"] or "nan"),
        }
        for name, kept in entered.items() if kept["fitness"]
    }  # fmt: skip
    for name, line in found.items():
        note = folder / name / "search.json"
        if note.is_file():
            seconds = json.loads(note.read_text("utf-8"))["seconds"]
            line["trainings"] = round(seconds / mean(entered[REFERENCE]["seconds"]), 2)
        print(name, line)
    hand = max((n for n in found if n in BASELINES), key=lambda n: found[n]["fitness"])
    good = {
        name: line["fitness"] - found[hand]["fitness"] >= ABOVE
        and line["latency_ms"] <= found[hand]["latency_ms"]
        and line["trainings"] <= MOST
        for name, line in found.items() if name.startswith("found-")
    }  # fmt: skip
    met = bool(good) and all(good.values())
    half = [
        name for name, line in found.items() if name not in BASELINES
        and line["fitness"] >= found[hand]["fitness"] - NEAR
        and line["latency_ms"] <= HALF * found[hand]["latency_ms"]
    ]  # fmt: skip
    over = [
        line["fitness"] - found[name.replace("found-", "random-")]["fitness"]
        for name, line in found.items()
        if name.startswith("found-") and name.replace("found-", "random-") in found
    ]
    print(json.dumps({
        "set": folder.name, "best hand-made": hand, "models": found, "pass": met, "half": half,
        "over_random": [round(v, 4) if isfinite(v) else None for v in interval(over)],
    }))  # fmt: skip
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
