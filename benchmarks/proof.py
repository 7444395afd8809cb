"""Does a search find a better model than the baselines? A whole comparison on one data set.

    python benchmarks/proof.py set=brain [only=profile,search,compare] [seeds=0]
        [arms=found,random] [out=benchmarks/results] [work=runs/proof]
    python benchmarks/proof.py set=brain only=table     # of what is there
    python benchmarks/proof.py suite=small only=plan    # many sets, see suite.py

The protocol of each set is `SETS`, written before its first run:

1. A profile of this machine's latency, and the latency of YOLO11n by it: the limit of every search.
   The size of the images is a choice of the searches, and what it costs counts.
2. Searches, `found` with `strategy=auto`, `random` with `strategy=random`, both with the same
   trials, `small` with half the limit and `large` with twice: short trainings on three quarters of
   train, after which the best few and the baselines are trained in full there and measured on the
   rest. That names the winner. Val is not looked at. `free` evolves a thousand networks by the
   score `resolved`, without a training before those of the best few; so do `lite` with half the
   limit and `lighter` with 0.45 of it.
3. `yolo nas-compare` of the winners and the baselines: all of train, three seeds, in turns,
   measured on val; latency measured in turns.

`out` keeps what came of it, and nothing that is there is done again: `proof.csv` a row a model and
seed, `proof.json` the limits and what the searches took, `winners/<set>/` the models that were
found. The profile, the run folders and the comparison are in `work`, from which a run that was
stopped goes on. To repeat a set from nothing, name other folders.

The last line is a JSON object; `pass` is whether the found model is 3.0 mAP50-95 above the best
baseline at no more measured latency, its search having cost at most 15 trainings of YOLO11n in
full; a gain counts where its whole interval reaches it. `half` names the models that, by their
intervals, are no more than 0.5 mAP50-95 below the best baseline at half its latency or less,
`over_random` is what `found` has over `random`, a search seed each, with Student's interval over
these.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from statistics import mean
from typing import Any

import suite
import yaml
from lib import RESULTS, SHARED, Figures, Table, names, reached, start, targets, yolo

from yolo_nas_ext.compare.models import search_seconds
from yolo_nas_ext.cost.latency.profile import load
from yolo_nas_ext.host.models import definition
from yolo_nas_ext.network.parse import read
from yolo_nas_ext.study.differences import differences
from yolo_nas_ext.study.leaderboard import interval
from yolo_nas_ext.study.storage import CONFIRM, notes

KEYS = {
    "set": "brain",
    "suite": "",
    "parents": "",
    "sets": "",
    "only": "",
    "seeds": "0",
    "arms": "",
    "out": "",
    "work": "",
}
STEPS = "profile,search,compare"
BASELINES = ("yolov8n", "yolo11n", "yolo26n")
REFERENCE = "yolo11n"  # whose latency is the limit, and whose training is the unit of cost
ABOVE, MOST = 0.03, 15.0
NEAR, HALF = 0.005, 0.5
SETS: dict[str, dict[str, Any]] = {
    "brain": {
        "data": str(SHARED / "brain_tumor"),
        "nc": 2,
        "imgsz": 96,
        "sizes": [96, 128, 160],
        "epochs": 30,
        "trials": 48,
        "short": 5,
        "confirm": 6,
        "seeds": 3,
    },
    "cells": {
        "data": "cells",
        "nc": 3,
        "imgsz": 128,
        "sizes": [128, 160, 192],
        "epochs": 40,
        "trials": 30,
        "short": 8,
        "confirm": 5,
        "seeds": 3,
    },
    "coco": {
        "data": "runs/proof/coco20/data.yaml",
        "nc": 20,
        "imgsz": 192,
        "sizes": [192, 256, 320],
        "epochs": 100,
        "trials": 30,
        "short": 15,
        "confirm": 5,
        "seeds": 3,
        "arms": ("found",),  # it learns too little to tell two searches apart
        "import": (
            f"source={SHARED / 'coco128' / 'annotations' / 'instances_train2017.json'}",
            f"images={SHARED / 'coco128' / 'train2017'}",
            "classes=20",
            "val=0.3",
        ),
    },
}
FREE = ("strategy=evolution", "estimator=resolved", "trials=1000")
ARMS: dict[str, tuple[str, ...]] = {
    "found": ("strategy=auto",),
    "random": ("strategy=random",),
    "small": ("strategy=auto",),
    "large": ("strategy=auto",),
    "free": FREE,
    "lite": FREE,
    "lighter": FREE,
}
SHARE = {"small": 0.5, "lite": 0.5, "lighter": 0.45, "large": 2.0}  # of the limit; 1 of other arms
QUICK = ("threads=1", "workers=0")
COLUMNS = (
    "set model seed imgsz params flops latency_ms latency_iqr_ms map50_95 map50 precision recall "
    "fitness seconds error"
).split()


def main(given: dict[str, Any]) -> Figures:
    """Do what is missing, print the table and return the figures."""
    if given["suite"]:
        return suite.main(given)
    out, work = Path(given["out"] or RESULTS), Path(given["work"] or "runs/proof")
    proof, steps = Proof(str(given["set"]), out, work), names(given["only"] or STEPS)
    arms = names(given["arms"]) or proof.protocol.get("arms", ("found", "random"))
    wanted = [f"{arm}-{seed}" for seed in names(given["seeds"]) for arm in arms]
    if "profile" in steps:
        proof.limit()
    if "search" in steps:
        for name in wanted:
            proof.search(name)
    if "compare" in steps:
        proof.compare(wanted)
    return verdict(proof)


class Proof:
    """What is known of one data set, and how to find out the rest.

    Args:
        name: A key of `SETS`.
        out: Folder of what is kept.
        work: Folder of what is only needed to go on.
    """

    def __init__(self, name: str, out: Path, work: Path) -> None:
        self.name, self.protocol = name, SETS[name]
        self.winners = out / "winners" / name
        self.table, self.file = out / "proof.csv", out / "proof.json"
        self.work = Path(os.path.relpath(work))  # what is kept names no folder of the machine
        known = json.loads(self.file.read_text("utf-8")) if self.file.is_file() else {}
        self.notes: dict[str, Any] = known.get(name, {})

    @property
    def profile(self) -> Path:
        """The latency profile of this machine at the set's sizes."""
        return self.work / f"device-{'-'.join(map(str, self.protocol['sizes']))}.json"

    @property
    def rows(self) -> list[dict[str, str]]:
        """The trainings that are done, without those that failed."""
        every = _csv(self.table) if self.table.is_file() else []
        return [r for r in every if r["set"] == self.name and r["fitness"] and not r["error"]]

    def note(self, **more: Any) -> None:
        """Keep more of what was found out."""
        self.notes |= more
        known = json.loads(self.file.read_text("utf-8")) if self.file.is_file() else {}
        known[self.name] = self.notes
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")

    def limit(self) -> None:
        """Profile this machine and keep what the baselines take by the profile."""
        if "limit" in self.notes:
            return
        self._profile()
        predictor, size = load(self.profile), self.protocol["imgsz"]
        found = {
            name: predictor.predict(read(*definition(name)), nc=self.protocol["nc"], imgsz=size)
            for name in BASELINES
        }
        self.note(latency_ms=found, limit=found[REFERENCE])

    def _profile(self) -> None:
        if not self.profile.is_file():
            self.profile.parent.mkdir(parents=True, exist_ok=True)
            sizes = ",".join(map(str, self.protocol["sizes"]))
            yolo("nas-profile", f"imgsz={sizes}", f"out={self.profile}", "minutes=8")

    def _data(self) -> str:
        data = Path(self.protocol["data"])
        if "import" in self.protocol and not data.is_file():
            yolo("nas-data", *self.protocol["import"], f"out={data.parent}")
        return self.protocol["data"]

    def search(self, name: str) -> None:
        """Search, or go on, and keep the winner and what finding it cost."""
        if name in self.notes.get("searches", {}):
            return
        self._profile()
        arm, _, seed = name.partition("-")
        most = self.notes["limit"] * SHARE.get(arm, 1.0)
        run, protocol = self.work / self.name / name, self.protocol
        short = (f"trials={protocol['trials']}", f"epochs={protocol['short']}")
        keys = (
            f"data={self._data()}",
            "space=yolo",
            f"sizes={','.join(map(str, protocol['sizes']))}",
            *ARMS[arm],
            f"seed={seed}",
            *(() if ARMS[arm] is FREE else short),
            "batch=16",
            f"imgsz={protocol['imgsz']}",
            f"latency={self.profile}",
            f"max_latency={ceil(1e4 * most) / 1e4}",
            f"confirm={protocol['confirm']}",
            "confirm_by=full",
            f"confirm_epochs={protocol['epochs']}",
            f"project={run.parent}",
            f"name={name}",
            *QUICK,
        )
        begun = (run / "args.yaml").is_file()
        yolo("nas-search", *((f"resume={run}",) if begun else keys), allowed=(0, 3))
        rows, trained = _csv(run / "trials.csv"), confirmations(run)
        confirmed = {
            row["name"] or row["key"]: trained[int(row["number"])].get("fitness")
            for row in rows
            if int(row["number"]) in trained
        }
        self.winners.mkdir(parents=True, exist_ok=True)
        shutil.copy(run / "best.yaml", self.winners / f"{name}.yaml")
        found = {"trials": len(rows), "seconds": round(search_seconds(run)), "confirmed": confirmed}
        self.note(searches={**self.notes.get("searches", {}), name: found})

    def compare(self, wanted: list[str]) -> None:
        """Train the winners and the baselines, in turns, unless all that are wanted are there."""
        done = {row["model"] for row in self.rows}
        if done >= {*wanted, *BASELINES}:
            return
        entered = sorted({*wanted, *done} - {*BASELINES})
        given = ",".join(
            [
                *(os.path.relpath(self.winners / f"{name}.yaml") for name in entered),
                *(f"{name}.yaml" for name in BASELINES),
            ]
        )
        folder = self.work / self.name / "compare"
        begun = (folder / "args.yaml").is_file()
        keys = (
            f"data={self._data()}",
            f"epochs={self.protocol['epochs']}",
            f"imgsz={self.protocol['imgsz']}",
            f"seeds={self.protocol['seeds']}",
            f"project={folder.parent}",
            "name=compare",
            *QUICK,
        )
        yolo("nas-compare", f"models={given}", *((f"resume={folder}",) if begun else keys))
        self._keep(_csv(folder / "comparison.csv"))
        said = (folder / "verdict.md").read_text("utf-8").partition("## Protocol")[2]
        lines = (line[2:].partition(": ") for line in said.splitlines() if line.startswith("- "))
        self.note(protocol={name: value for name, _, value in lines})

    def _keep(self, found: list[dict[str, str]]) -> None:
        """Write the rows of a comparison, in the place of the set's former ones."""
        rows = _csv(self.table) if self.table.is_file() else []
        rows = [row for row in rows if row["set"] != self.name]
        for row in found:
            size = {"set": self.name, "imgsz": str(self._size(row["model"]))}
            rows.append({**{name: row.get(name, "") for name in COLUMNS}, **size})
        with self.table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    def _size(self, model: str) -> int:
        file = self.winners / f"{model}.yaml"
        usual = self.protocol["imgsz"]
        return (
            yaml.safe_load(file.read_text("utf-8")).get("imgsz", usual) if file.is_file() else usual
        )


def _csv(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


def confirmations(run: Path) -> dict[int, dict[str, float]]:
    """Return the metrics of the trainings that confirmed trials of a run, by trial."""
    import optuna

    study = optuna.load_study(study_name=None, storage=f"sqlite:///{run / 'study.db'}")
    return {number: found for number, _, found in notes(study.user_attrs, CONFIRM)}


def verdict(proof: Proof) -> Figures:
    """Print what the comparison says, and return the figures."""
    by_model: dict[str, list[dict[str, str]]] = {}
    for row in proof.rows:
        by_model.setdefault(row["model"], []).append(row)
    if REFERENCE not in by_model:
        return {"set": proof.name, "pass": False, "why": "no comparison yet"}
    scores = {name: {r["seed"]: float(r["fitness"]) for r in of} for name, of in by_model.items()}
    unit = mean(float(row["seconds"]) for row in by_model[REFERENCE])
    found: dict[str, Figures] = {}
    for name, rows in by_model.items():
        found[name] = {
            "fitness": round(mean(scores[name].values()), 4),
            "seeds": len(rows),
            "latency_ms": float(rows[0]["latency_ms"] or "nan"),
        }
        if search := proof.notes.get("searches", {}).get(name):
            found[name]["trainings"] = round(search["seconds"] / unit, 2)
    best = max((n for n in found if n in BASELINES), key=lambda n: found[n]["fitness"])
    show(by_model, scores, found, best)
    values = {name: list(own.values()) for name, own in scores.items()}
    apart = differences({n: own for n, own in values.items() if n != best}, values[best])
    good: dict[str, bool | None] = {}
    for name, line in found.items():
        if name.startswith("found-"):
            over_best = reached(apart[name].mean, apart[name].low, ABOVE)
            good[f"{name}: {ABOVE} above {best}"] = over_best
            cheap = line["latency_ms"] <= found[best]["latency_ms"]
            good[f"{name}: no more latency than {best}"] = cheap
            good[f"{name}: at most {MOST:g} trainings"] = line["trainings"] <= MOST
    half = [
        name
        for name, line in found.items()
        if name not in BASELINES
        and reached(apart[name].mean, apart[name].low, -NEAR)
        and line["latency_ms"] <= HALF * found[best]["latency_ms"]
    ]
    over = [
        line["fitness"] - found[name.replace("found-", "random-")]["fitness"]
        for name, line in found.items()
        if name.startswith("found-") and name.replace("found-", "random-") in found
    ]
    return {
        "set": proof.name,
        "best baseline": best,
        "models": found,
        "pass": bool(good) and targets(good),
        "half": half,
        "over_random": [round(value, 4) for value in interval(over)],
    }


def show(
    by_model: Mapping[str, list[dict[str, str]]],
    scores: Mapping[str, Mapping[str, float]],
    found: Mapping[str, Figures],
    best: str,
) -> None:
    """Print the table of the models, the best first, with differences to the best baseline."""
    table = Table(
        "model    ",
        "mAP50-95",
        f"{'95 %':<16}",
        "latency, ms",
        f"of {REFERENCE}'s",
        "parameters",
        "FLOPs",
        "image size",
        f"{f'over {best}':<12}",
        f"{'95 %':<18}",
        "p     ",
        "search, trainings",
    )
    values = {name: list(own.values()) for name, own in scores.items()}
    rivals = {name: own for name, own in values.items() if name != best}
    apart = {
        **differences(rivals, values[best]),
        best: differences({"": values[best]}, values[best])[""],
    }
    for name in sorted(found, key=lambda name: -found[name]["fitness"]):
        line, row = found[name], by_model[name][0]
        middle, low, high, _ = interval(list(scores[name].values()))
        over = apart[name]
        against = [f"{over.mean:+.4f}", f"{over.low:+.4f} to {over.high:+.4f}", f"{over.p:.3f}"]
        table.row(
            name,
            f"{middle:.4f}",
            f"{low:.4f} to {high:.4f}",
            f"{line['latency_ms']:.3f}",
            f"{line['latency_ms'] / found[REFERENCE]['latency_ms']:.2f}",
            f"{float(row['params']) / 1e6:.2f}M",
            f"{float(row['flops']) / 1e6:.0f}M",
            row["imgsz"],
            *(against if name != best else ["", "", ""]),
            line.get("trainings", ""),
        )


if __name__ == "__main__":
    start(main, KEYS)
