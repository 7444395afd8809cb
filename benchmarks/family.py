"""How far is a network of a family from what it reaches when it is trained alone?

    python benchmarks/family.py set=raccoon [parent=yolo11n] [only=search,alone,table] [paths=10]
        [trials=60] [seed=0] [out=benchmarks/results] [work=runs/family]

The protocol, written before its first run:

1. `yolo nas-search estimator=supernet model=<parent>`: the parent is fine-tuned for 20 epochs, the
   supernet trained for 13. The limit is the parent's FLOPs.
2. `paths` networks are taken from the evaluated ones, spread evenly over the FLOPs: of each part
   the best on the held-out images.
3. Each is fine-tuned alone from the same parent's file for 20 epochs, on the images that the family
   has learned from, by the same recipe. It is also taken out of the supernet and trained on for 4
   epochs (`tuned`), a fifth of that.
4. All are measured after the last epoch on val, which neither has seen.

Targets: extracted networks are at most 0.020 mAP50-95 behind those trained alone, in the mean over
paths, and at most 0.010 after a fifth of a fine-tuning. Kendall's tau of extracted scores with
those of the trainings is at least 0.75, and 0.15 above that of FLOPs. The family, parent included,
takes at most three times what the parent's fine-tuning takes.

`results/family.csv` has a row a network, written at once; nothing that is there is done again. The
last line is a JSON object; `pass` is whether the targets are met.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from lib import RESULTS, SHARED, Figures, Table, csv_rows, keep_csv, machine, names, start, yolo
from scipy.stats import kendalltau, t

from yolo_nas_ext.estimators.base import Context, hand_over
from yolo_nas_ext.estimators.factory import make
from yolo_nas_ext.estimators.training import FineTuning
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.run_dir import settings

KEYS = {
    "set": "raccoon",
    "parent": "yolo11n",
    "only": "search,alone,table",
    "paths": 10,
    "trials": 60,
    "seed": 0,
    "out": RESULTS,
    "work": "runs/family",
}
SETS: dict[str, dict[str, Any]] = {  # data, image sizes in pixels, the parent's first
    "brain": {"data": "brain_tumor", "sizes": [160, 128, 192]},
    "pcb": {"data": "pcb_defects", "sizes": [320, 256, 384]},
    "raccoon": {"data": "raccoon", "sizes": [320, 256, 384]},
    "raccoon224": {"data": "raccoon", "sizes": [224, 160, 192, 256]},
}
EPOCHS, SHARED_EPOCHS, TUNED_EPOCHS = 20, 13, 4
TUNED_RATE = 0.0003  # as `nas-extract tune=` takes it
BEHIND, BEHIND_TUNED, TAU, ABOVE_FLOPS = 0.020, 0.010, 0.75, 0.15
KINDS = ("extracted", "tuned", "alone")
COLUMNS = "set parent seed key imgsz flops params kind map50_95 seconds".split()


def main(given: dict[str, Any]) -> Figures:
    """Do what is missing, print the table and return the figures."""
    bench = Bench(str(given["set"]), str(given["parent"]), int(given["seed"]), given)
    steps = names(given["only"])
    if "search" in steps:
        bench.search(int(given["trials"]))
    if "alone" in steps:
        bench.train_alone(int(given["paths"]))
    return verdict(bench)


class Bench:
    """A family, and the trainings it is compared with.

    Args:
        name: A key of `SETS`.
        parent: A checkpoint of the shared data, such as yolo11n.
        seed: Of everything.
        given: The script's keys.
    """

    def __init__(self, name: str, parent: str, seed: int, given: dict[str, Any]) -> None:
        self.name, self.parent, self.seed = name, parent, seed
        self.data = SHARED / SETS[name]["data"]
        self.sizes: list[int] = SETS[name]["sizes"]
        self.weights = SHARED / f"{parent}_coco" / f"{parent}.pt"
        self.label = f"{name}_{parent}_{seed}"
        self.run = Path(given["work"]).resolve() / self.label
        self.table = Path(given["out"]) / "family.csv"
        self.file = Path(given["out"]) / "family.json"

    @property
    def rows(self) -> list[dict[str, str]]:
        """The networks that are done."""
        mine = {"set": self.name, "parent": self.parent, "seed": str(self.seed)}
        return [row for row in csv_rows(self.table) if mine.items() <= row.items()]

    @property
    def notes(self) -> dict[str, Any]:
        """What is known of the family."""
        known = json.loads(self.file.read_text("utf-8")) if self.file.is_file() else {}
        return known.get(self.label, {})

    def note(self, **more: Any) -> None:
        """Keep more of what was found out."""
        known = json.loads(self.file.read_text("utf-8")) if self.file.is_file() else {}
        known[self.label] = {**self.notes, **more}
        self.file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")

    def search(self, trials: int) -> None:
        """Search, or go on."""
        keys = [
            f"data={self.data}",
            f"model={self.weights}",
            "estimator=supernet",
            f"imgsz={self.sizes[0]}",
            f"sizes={','.join(map(str, self.sizes))}",
            f"epochs={SHARED_EPOCHS}",
            f"final_epochs={EPOCHS}",
            f"trials={trials}",
            f"seed={self.seed}",
            f"project={self.run.parent}",
            f"name={self.run.name}",
            "threads=1",
            "workers=0",
        ]
        begun = (self.run / "args.yaml").is_file()
        begin = time.perf_counter()
        yolo("nas-search", *([f"resume={self.run}"] if begun else keys))
        if not begun:
            self.note(seconds=round(time.perf_counter() - begin), **machine())

    def train_alone(self, paths: int) -> None:
        """Train networks of the family alone, and measure all on val."""
        config, _ = settings({"resume": str(self.run)})
        data, val = read(config.data), read(config.data, part="val")
        family: Any = make(config, data)
        hand_over(Context(self.run), family)
        options = {"val_fraction": config.val_fraction, "threads": 1, "batch": config.batch}
        usual = {**options, "seed": self.seed, "imgsz": self.sizes[0], "overrides": config.host}
        tuned = {**usual, "epochs": TUNED_EPOCHS, "overrides": {**config.host, "lr0": TUNED_RATE}}
        alone = FineTuning(data, inherit=self.weights, epochs=EPOCHS, **usual)
        done = {(row["key"], row["kind"]) for row in self.rows}
        for row, network in self._spread(paths):
            place = self.run / "alone"
            files = {kind: place / f"{network.key}-{kind}.pt" for kind in KINDS}

            def made(kind: str, network: Architecture = network, files: Any = files) -> None:
                if kind == "extracted":
                    family.estimate(network, weights=files[kind])
                elif kind == "tuned":
                    tuning = FineTuning(data, inherit=files["extracted"], **tuned)
                    tuning.estimate(network, weights=files[kind])
                else:
                    alone.estimate(network, weights=files[kind])

            for kind in KINDS:
                if (network.key, kind) in done:
                    continue
                begin = time.perf_counter()
                made(kind)
                seconds = round(time.perf_counter() - begin)
                found = family.measured(val, files[kind], network.imgsz)
                own = {"set": self.name, "parent": self.parent, "seed": self.seed, "kind": kind}
                kept = {name: row[name] for name in ("key", "flops", "params")}
                more = {"imgsz": network.imgsz, "seconds": seconds}
                value = round(found["map50_95"], 4)
                keep_csv(self.table, COLUMNS, {**own, **kept, **more, "map50_95": value})

    def _spread(self, paths: int) -> list[tuple[dict[str, str], Architecture]]:
        """Return networks spread over the FLOPs, of each part the best held out."""
        import optuna

        known = optuna.load_study(
            study_name=None, storage=f"sqlite:///{self.run / 'study.db'}"
        ).trials
        networks = {
            t.user_attrs["key"]: Architecture.from_dict(t.user_attrs["architecture"])
            for t in known
            if t.user_attrs.get("architecture")
        }
        rows = [r for r in csv_rows(self.run / "trials.csv") if r["state"] == "complete"]
        rows = sorted((r for r in rows if r["key"] in networks), key=lambda r: float(r["flops"]))
        rows = [row for row in rows if row["name"] != self.parent]
        parts = [rows[len(rows) * i // paths : len(rows) * (i + 1) // paths] for i in range(paths)]
        best = [max(part, key=lambda r: float(r["map50_95"])) for part in parts if part]
        return [(row, networks[row["key"]]) for row in best]


def verdict(bench: Bench) -> Figures:
    """Print the networks and what they say, and return the figures."""
    networks: dict[str, dict[str, float]] = {}
    for row in bench.rows:
        own = networks.setdefault(row["key"], {n: float(row[n]) for n in ("flops", "imgsz")})
        own[row["kind"]] = float(row["map50_95"])
    rows = sorted((r for r in networks.items() if r[1].keys() >= {*KINDS}), key=_by_flops)
    if len(rows) < 3:
        return {"set": bench.name, "networks": len(rows), "pass": False}
    table = Table("key       ", "px ", "GFLOPs", "extracted", "tuned ", "alone ")
    for key, row in rows:
        shown = [f"{row[kind]:.4f}" for kind in KINDS]
        table.row(key, int(row["imgsz"]), f"{row['flops'] / 1e9:.3f}", *shown)
    values = {name: [row[name] for _, row in rows] for name in (*KINDS, "flops")}
    apart = {
        name: interval([a - b for a, b in zip(values[name], values["alone"], strict=True)])
        for name in ("extracted", "tuned")
    }
    taus = {name: tau(values[name], values["alone"]) for name in ("extracted", "flops")}
    figures: Figures = {"set": bench.name, "parent": bench.parent, "networks": len(rows)}
    figures |= {"over_alone": apart, "tau": taus, **bench.notes}
    met = (
        apart["extracted"][0] >= -BEHIND,
        apart["tuned"][0] >= -BEHIND_TUNED,
        taus["extracted"] >= max(TAU, taus["flops"] + ABOVE_FLOPS),
    )
    return {**figures, "pass": all(met)}


def _by_flops(row: tuple[str, dict[str, float]]) -> float:
    return row[1]["flops"]


def interval(values: Sequence[float]) -> list[float]:
    """Return the mean and its 95 % interval by Student's t over the networks."""
    middle = mean(values)
    half = t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return [round(value, 4) for value in (middle, middle - half, middle + half)]


def tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Kendall's tau."""
    return round(float(kendalltau(one, other).statistic), 3)


if __name__ == "__main__":
    start(main, KEYS)
