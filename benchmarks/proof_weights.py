"""Does a search from trained weights find a better model than the weights themselves?

    python benchmarks/proof_weights.py set=brain [parent=yolo11n] [only=profile,search,compare]
        [arms=found,small,random] [seeds=1] [out=benchmarks/results] [work=runs/proof]
    python benchmarks/proof_weights.py set=brain only=table     # of what is there

The protocol, written before its first run:

1. A profile of this machine's latency at the image sizes of the set. The limit of every search is
   the parent's latency at the usual size: by the profile, and beside the parent where networks are
   measured.
2. Searches with `model=<parent>` and their defaults but for `KEYS_OF`: `found` by `strategy=auto`,
   `random` by `strategy=random`, `small` as `found` with half the limit. Their trials fine-tune on
   a part of train and are measured on the rest of it. The best two, the best pencil and the parent
   are confirmed there by trainings as long as those of 3. `full` spends the same on five random
   networks that are fine-tuned in full there, and `free` takes what evolution finds by the score
   `resolved` alone. Val is not looked at.
3. `yolo nas-compare` on all of train, measured on val after the last epoch, five seeds in turns:
   the parent by our recipe and by Ultralytics' own (`stock`), the best pencil that the search of
   `found` measured (`pencils=all`: each of them), and what each search found, all from the parent's
   weights. Latency is measured in turns.

With `parent=random` everything starts from random weights: YOLO11n is the baseline of the searches,
the pencils are made of it, and 3 has Ultralytics' complete schedule.

The targets, in mAP50-95: `found` is 0.030 above the parent by our recipe and 0.010 above the best
pencil at no more latency than the parent's, after a search that took at most five fine-tunings of
the parent. `small` is no more than 0.010 below the parent at half its latency. `random` stands
beside, with the same trials.

`out` keeps what came of it, and nothing that is there is done again: `proof_weights.csv` a row a
model and seed, `proof_weights.json` the limits and what the searches took, `winners/<set>_weights/`
the models. `seeds=` is how many are trained in a sitting, five in the end.

The last line is a JSON object; `pass` is whether the targets are met with all five seeds. One is
met where the whole interval reaches it, and open where the mean alone does.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from math import ceil
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from lib import (
    RESULTS,
    SHARED,
    Figures,
    Table,
    csv_rows,
    keep_csv,
    names,
    reached,
    start,
    targets,
    yolo,
)

from yolo_nas_ext.compare.models import search_seconds
from yolo_nas_ext.cost.latency.profile import load
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.models import definition
from yolo_nas_ext.host.transfer import parents
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read as architecture
from yolo_nas_ext.space.parent import ParentSpace
from yolo_nas_ext.space.pencils import pencils
from yolo_nas_ext.study.differences import differences

KEYS = {
    "set": "brain",
    "parent": "yolo11n",
    "only": "profile,search,compare",
    "arms": "found",
    "pencils": "best",
    "seeds": 1,
    "out": RESULTS,
    "work": "runs/proof",
}
COCO128 = SHARED / "coco128"
# Three slices are the channels that the parents read.
SCANS = ("channels=3", "salt=benchmark", "val=0.3")
HIPPOCAMPUS = (f"source={SHARED / 'msd_hippocampus'}", *SCANS)
# The usual image size is the first. `make` are the keys of `yolo nas-data`, where it has to.
SETS: dict[str, dict[str, Any]] = {
    "brain": {"data": SHARED / "brain_tumor", "sizes": [160, 128, 192, 224]},
    "pcb": {"data": SHARED / "pcb_defects", "sizes": [320, 256, 288, 352, 384, 416]},
    "raccoon": {"data": SHARED / "raccoon", "sizes": [320, 256, 288, 352, 384, 416]},
    "coco": {
        "make": (
            f"source={COCO128 / 'annotations' / 'instances_train2017.json'}",
            f"images={COCO128 / 'train2017'}",
            "classes=10",
            "val=0.3",
        ),
        "sizes": [224, 160, 192, 256, 288],
    },
    "hippocampus": {"make": HIPPOCAMPUS, "sizes": [128, 96, 160, 192]},
    "cells": {"data": "cells", "sizes": [128, 96, 160, 192]},
    "lesions": {"demo": "lesions", "make": SCANS, "sizes": [160, 128, 192, 224]},
    "nuclei": {"data": "nuclei", "sizes": [160, 128, 192, 224]},
    "hippocampus_masks": {
        "make": (*HIPPOCAMPUS, "task=segment"),
        "sizes": [128, 96, 160],
        "task": "segment",
    },
    "mednist": {"data": SHARED / "mednist", "sizes": [64, 96], "task": "classify"},
}
RANDOM = "random"  # in the place of a parent
SUFFIX = {"segment": "-seg", "classify": "-cls"}  # of the baseline's name
EPOCHS, SEEDS = 20, 5
RANDOM_EPOCHS = 60  # of a training from random weights, by Ultralytics' complete schedule
KEYS_OF = ("trials=12", "epochs=4", "finalists=0")
ARMS: dict[str, tuple[str, ...]] = {
    "found": ("strategy=auto",),
    "random": ("strategy=random",),
    "small": ("strategy=auto",),
    "full": ("strategy=random", "estimator=full", "trials=5", f"epochs={EPOCHS}", "confirm=0"),
    "free": ("strategy=evolution", "estimator=resolved", "trials=1000", "confirm=0"),
}
SHARE = {"small": 0.5}  # of the limit; 1 of other arms
QUICK = ("threads=1", "workers=0")
ABOVE_PARENT, ABOVE_PENCIL, BELOW_PARENT, MOST = 0.030, 0.010, 0.010, 5.0
STOCK = " (stock)"
COLUMNS = (
    "set parent model seed params flops latency_ms latency_iqr_ms fitness map50_95 map50 seconds"
).split()


def main(given: dict[str, Any]) -> Figures:
    """Do what is missing, print the table and return the figures."""
    out, work = Path(given["out"]), Path(given["work"])
    proof = Proof(str(given["set"]), str(given["parent"]), out, work)
    steps, arms = names(given["only"]), names(given["arms"])
    if "profile" in steps:
        proof.limit()
    if "search" in steps:
        for arm in arms:
            proof.search(arm)
    if "compare" in steps:
        proof.compare(arms, int(given["seeds"]), str(given["pencils"]))
    return verdict(proof)


class Proof:
    """What is known of one data set and parent, and how to find out the rest.

    Args:
        name: A key of `SETS`.
        parent: A checkpoint of the shared data, such as yolo11n, or `RANDOM`.
        out: Folder of what is kept.
        work: Folder of what is only needed to go on.
    """

    def __init__(self, name: str, parent: str, out: Path, work: Path) -> None:
        self.name, self.parent, protocol = name, parent, SETS[name]
        self.task = protocol.get("task", "detect")
        self.sizes: list[int] = protocol["sizes"]
        self.untrained = parent == RANDOM
        self.base = "yolo11n" + SUFFIX.get(self.task, "") if self.untrained else parent
        self.weights = SHARED / f"{parent}_coco" / f"{parent}.pt"
        self.given = f"{self.base}.yaml" if self.untrained else str(self.weights)
        self.label = name if parent == "yolo11n" else f"{name}_{parent}"
        self.making: tuple[str, ...] = protocol.get("make", ())
        self.demo: str = protocol.get("demo", "")
        self.data = work / f"data_{name}" if self.making else protocol["data"]
        self.winners = out / "winners" / f"{self.label}_weights"
        self.table, self.file = out / "proof_weights.csv", out / "proof_weights.json"
        self.work = work / f"{self.label}_weights"
        known = json.loads(self.file.read_text("utf-8")) if self.file.is_file() else {}
        self.notes: dict[str, Any] = known.get(self.label, {})
        self.profile = work / f"device-{'-'.join(map(str, sorted(self.sizes)))}.json"

    @property
    def rows(self) -> list[dict[str, str]]:
        """The trainings that are done."""
        mine = {"set": self.name, "parent": self.parent}
        return [row for row in csv_rows(self.table) if mine.items() <= row.items()]

    def note(self, **more: Any) -> None:
        """Keep more of what was found out."""
        self.notes |= more
        known = json.loads(self.file.read_text("utf-8")) if self.file.is_file() else {}
        known[self.label] = self.notes
        self.file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")

    @property
    def network(self) -> Architecture:
        """The network that is searched around, at the usual image size."""
        if self.untrained:
            found = architecture(*definition(self.given, self.task))
        else:
            found = parents.load(str(self.weights)).architecture
        return replace(found, imgsz=self.sizes[0])

    def make(self) -> None:
        """Convert the data set where that has to be."""
        if not self.making or (Path(self.data) / "data.yaml").is_file():
            return
        keys = self.making
        if self.demo:
            drawn = Path(f"{self.data}_drawn")
            if not drawn.is_dir():
                yolo("nas-data", f"demo={self.demo}", f"out={drawn}")
            keys = (f"source={drawn}", *keys)
        yolo("nas-data", f"out={self.data}", *keys, allowed=(0, 3))

    def limit(self) -> None:
        """Profile this machine and keep what the parent takes by the profile."""
        self.make()
        if not self.profile.is_file():
            self.profile.parent.mkdir(parents=True, exist_ok=True)
            sizes = ",".join(map(str, sorted(self.sizes)))
            yolo("nas-profile", f"imgsz={sizes}", f"out={self.profile}", "minutes=8")
        if "limit" not in self.notes:
            nc = read(self.data, self.task).nc
            found = load(self.profile).predict(
                self.network, nc=nc, imgsz=self.sizes[0], task=self.task
            )
            self.note(limit=found)

    def limited(self, arm: str) -> float:
        """Return the most milliseconds of a search."""
        return ceil(1e4 * self.notes["limit"] * SHARE.get(arm, 1.0)) / 1e4

    def search(self, arm: str) -> None:
        """Search, or go on, and keep the winner and what finding it cost."""
        if arm in self.notes.get("searches", {}):
            return
        run = self.work / arm
        final = () if arm == "free" else (f"final_epochs={self.epochs}",)
        given = self.untrained or arm == "free"  # to a search that has no parent
        own = {part.partition("=")[0]: part for part in (*KEYS_OF, *final, *ARMS[arm])}
        keys = (
            f"data={self.data}",
            f"task={self.task}",
            # A score without a training knows no weights.
            f"baseline={self.base}.yaml" if given else f"model={self.given}",
            f"sizes={','.join(map(str, self.sizes))}",
            f"imgsz={self.sizes[0]}",
            *own.values(),
            f"latency={self.profile}",
            *((f"max_latency={self.limited(arm)}",) if given or arm in SHARE else ()),
            f"project={run.parent}",
            f"name={arm}",
            *QUICK,
        )
        begun = (run / "args.yaml").is_file()
        yolo("nas-search", *((f"resume={run}",) if begun else keys), allowed=(0, 3))
        self.winners.mkdir(parents=True, exist_ok=True)
        shutil.copy(run / "best.yaml", self.winners / f"{arm}.yaml")
        if arm == "found":
            self._keep_pencils(run)
        trials = len(csv_rows(run / "trials.csv"))
        found = {"trials": trials, "seconds": round(search_seconds(run))}
        self.note(searches={**self.notes.get("searches", {}), arm: found})

    def _keep_pencils(self, run: Path) -> None:
        """Keep the pencils as models, and the name of the one that the search measured best."""
        import optuna

        data, network = read(self.data, self.task), self.network
        space = ParentSpace(network, self.task, sizes=self.sizes)
        predict = load(self.profile).predict

        def latency(made: Architecture) -> float:
            return predict(made, nc=data.nc, imgsz=made.imgsz, task=self.task)

        own = replace(network, imgsz=self.sizes[0]).key
        made = pencils(network, space, latency, self.notes["limit"] * (1 + 1e-9))
        made = {name: found for name, found in made.items() if found.key != own}
        for name, found in made.items():
            file = self.winners / f"{slug(name)}.yaml"
            text = yaml.safe_dump(dict(emit(found, data.nc, self.task)), sort_keys=False)
            file.write_text(text, encoding="utf-8")
        trials = optuna.load_study(study_name=None, storage=f"sqlite:///{run / 'study.db'}").trials
        seen = {t.user_attrs.get("name"): t.value or 0.0 for t in trials}
        best = max(made, key=lambda name: seen.get(name, 0.0))
        shutil.copy(self.winners / f"{slug(best)}.yaml", self.winners / "pencil.yaml")
        self.note(pencil=best, pencils=[*made])

    @property
    def epochs(self) -> int:
        """Epochs of the trainings that are compared."""
        return RANDOM_EPOCHS if self.untrained else EPOCHS

    def compare(self, arms: list[str], seeds: int, kept: str = "best") -> None:
        """Train what the searches found, the pencils and the parent, in turns.

        A search that ends with a pencil, or that found what another found, has its rows.

        Args:
            arms: The searches.
            seeds: Trainings of each.
            kept: Which pencils: best, or all.
        """
        found = ["pencil", *(slug(name) for name in self.notes.get("pencils", ()) if kept == "all")]
        first: dict[str, str] = {}  # the name under which a network is trained
        same: dict[str, str] = {}
        for name in (*found, *arms):
            key = architecture(self.winners / f"{name}.yaml").key
            same[name] = first.setdefault(key, name)
        given = [str(self.winners / f"{name}.yaml") for name in first.values()]
        more = () if self.untrained else (f"inherit={self.weights}",)
        self.train("compare", [*given, self.given], seeds, *more)
        if not self.untrained:
            self.train("stock", [self.given], seeds, "recipe=stock")
        done = {(row["model"], row["seed"]) for row in self.rows}
        for name, other in same.items():
            for row in [row for row in self.rows if row["model"] == other != name]:
                if (name, row["seed"]) not in done:
                    keep_csv(self.table, COLUMNS, {**row, "model": name})

    def train(self, name: str, given: list[str], seeds: int, *more: str) -> None:
        """Train models that are not there yet, and keep their rows.

        Args:
            name: Of the comparison; behind the models' names unless it is `compare`.
            given: Files of the models.
            seeds: Trainings of each.
            more: Keys of `yolo nas-compare`.
        """
        suffix = "" if name == "compare" else f" ({name})"
        for count in range(1, seeds + 1):  # a folder a seed: what is there is kept as it comes
            folder = self.work / f"{name}-{count - 1}"
            done = {row["model"] for row in self.rows if row["seed"] == str(count - 1)}
            wanted = {Path(path).stem + suffix for path in given}
            if done >= wanted:
                continue
            left = [path for path in given if Path(path).stem + suffix not in done]
            if folder.is_dir() and not (folder / "args.yaml").is_file():
                shutil.rmtree(folder)
            keys = (
                f"data={self.data}",
                f"task={self.task}",
                f"epochs={self.epochs}",
                f"imgsz={self.sizes[0]}",
                f"seed={count - 1}",
                "seeds=1",
                f"models={','.join(left)}",
                f"project={folder.parent}",
                f"name={folder.name}",
                *more,
                *QUICK,
            )
            begun = (folder / "args.yaml").is_file()
            again = (f"resume={folder}", f"models={','.join(left)}")
            yolo("nas-compare", *(again if begun else keys))
            self._keep(csv_rows(folder / "comparison.csv"), suffix)

    def _keep(self, found: list[dict[str, str]], suffix: str) -> None:
        """Add the rows of a comparison; a latency without the parent's in turns tells nothing."""
        beside = suffix or self.base in {row["model"] for row in found}
        blank = {} if beside else {"latency_ms": "", "latency_iqr_ms": ""}
        for row in found:
            own = {"set": self.name, "parent": self.parent, "model": row["model"] + suffix, **blank}
            keep_csv(self.table, COLUMNS, {**{name: row.get(name, "") for name in COLUMNS}, **own})


def no_more(latency: float | None, most: float) -> bool | None:
    """Say whether a latency is within a bound; None where it was not measured beside the parent."""
    return None if latency is None else latency <= most


def slug(name: str) -> str:
    """Return the name of a pencil as a file's."""
    return name.replace(" x ", " x").replace(" ", "_")


def verdict(proof: Proof) -> Figures:
    """Print what the comparison says, and return the figures."""
    by_model: dict[str, list[dict[str, str]]] = {}
    for row in proof.rows:
        by_model.setdefault(row["model"], []).append(row)
    if proof.base not in by_model:
        return {"set": proof.name, "pass": False, "why": "no comparison yet"}
    values = {
        model: {row["seed"]: float(row["fitness"]) for row in rows}
        for model, rows in by_model.items()
    }
    base = by_model[proof.base]
    unit = mean(float(row["seconds"]) for row in base)
    latency = float(base[0]["latency_ms"] or "nan")
    table = Table(
        "model          ",
        "fitness ",  # mAP50-95 of a detector
        "seeds",
        "of the parent's latency",
        f"{'over the parent, 95 %':<28}",
        f"{'over the pencil, 95 %':<28}",
        "search, fine-tunings",
    )
    figures: Figures = {"set": proof.name, "parent": proof.parent, "pencil": proof.notes["pencil"]}
    for model in sorted(by_model, key=lambda m: -mean(values[m].values())):
        rows, own = by_model[model], values[model]
        searched = proof.notes.get("searches", {}).get(model)
        line = {
            "fitness": round(mean(own.values()), 4),
            "seeds": len(own),
            "latency": round(float(own_ms) / latency, 3)
            if (own_ms := rows[0]["latency_ms"])
            else None,
            "over_parent": over(own, values[proof.base]),
            "over_pencil": over(own, values.get("pencil", {})),
            "search": round(searched["seconds"] / unit, 2) if searched else None,
        }
        figures[model] = line
        table.row(
            model,
            f"{line['fitness']:.4f}",
            len(own),
            "" if line["latency"] is None else f"{line['latency']:.2f}",
            said(line["over_parent"]),
            said(line["over_pencil"]),
            "" if line["search"] is None else line["search"],
        )
    return {**figures, "pass": targets(met(figures))}


def over(own: dict[str, float], other: dict[str, float]) -> list[float]:
    """Return the difference of the means, and its interval."""
    found = differences({"": list(own.values())}, list(other.values()))[""]
    return [round(value, 4) for value in (found.mean, found.low, found.high)] if found.n else []


def said(difference: list[float]) -> str:
    """Return a difference with its interval in words."""
    if not difference:
        return ""
    middle, low, high = difference
    return f"{middle:+.4f} ({low:+.4f} to {high:+.4f})"


def met(figures: Figures) -> dict[str, bool | None]:
    """Return which targets are met with all seeds, None where the interval does not tell."""
    found, small = figures.get("found"), figures.get("small")
    if not found or not small or min(found["seeds"], small["seeds"]) < SEEDS:
        return {f"the networks found have {SEEDS} seeds": False}

    def over(line: Figures, rival: str, least: float) -> bool | None:
        apart = line[f"over_{rival}"]
        return reached(apart[0], apart[1], least) if apart else False

    return {
        f"found: {ABOVE_PARENT} above the parent": over(found, "parent", ABOVE_PARENT),
        f"found: {ABOVE_PENCIL} above the best pencil": over(found, "pencil", ABOVE_PENCIL),
        "found: no more latency than the parent": no_more(found["latency"], 1.0),
        f"found: at most {MOST:g} fine-tunings": found["search"] <= MOST,
        f"small: no more than {BELOW_PARENT} below the parent": over(
            small, "parent", -BELOW_PARENT
        ),
        "small: half the latency": no_more(small["latency"], 0.5),
    }


if __name__ == "__main__":
    start(main, KEYS)
