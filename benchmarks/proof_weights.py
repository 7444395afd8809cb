"""Does a search from trained weights find a better model than the weights themselves?

    python benchmarks/proof_weights.py set=brain [parent=yolo11n] [only=profile,search,compare]
        [arms=found,small,random] [seeds=1] [out=benchmarks/results] [work=runs/proof]
    python benchmarks/proof_weights.py set=brain only=table     # of what is there

The protocol, written before its first run:

1. A profile of this machine's latency at the image sizes of the set, and by it the latency of the
   parent at the usual size, which is the limit of every search.
2. Searches with `model=<parent>` and their defaults but for `KEYS_OF`: `found` by `strategy=auto`,
   `random` by `strategy=random`, `small` as `found` with half the limit. Their trials fine-tune on
   a part of train and are measured on the rest of it. The best two, the best pencil and the parent
   are confirmed there by trainings as long as those of 3. Val is not looked at.
3. `yolo nas-compare` on all of train, measured on val after the last epoch, five seeds in turns:
   the parent by our recipe and by Ultralytics' own (`stock`), the best pencil that the search of
   `found` measured, and what each search found, all from the parent's weights. Latency is measured
   in turns.

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
from yolo_nas_ext.host.transfer import parents
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.network.parse import read as architecture
from yolo_nas_ext.study.differences import differences

KEYS = {
    "set": "brain",
    "parent": "yolo11n",
    "only": "profile,search,compare",
    "arms": "found",
    "seeds": 1,
    "out": RESULTS,
    "work": "runs/proof",
}
SETS: dict[str, dict[str, Any]] = {
    "brain": {"data": "brain_tumor", "sizes": [160, 128, 192, 224]},
    "pcb": {"data": "pcb_defects", "sizes": [320, 256, 288, 352, 384, 416]},
    "raccoon": {"data": "raccoon", "sizes": [320, 256, 288, 352, 384, 416]},
}
EPOCHS, SEEDS = 20, 5
KEYS_OF = ("trials=12", "epochs=4", f"final_epochs={EPOCHS}", "finalists=0")
ARMS = {"found": "auto", "random": "random", "small": "auto"}
SHARE = {"small": 0.5}  # of the limit; 1 of other arms
QUICK = ("threads=1", "workers=0")
ABOVE_PARENT, ABOVE_PENCIL, BELOW_PARENT, MOST = 0.030, 0.010, 0.010, 5.0
STOCK = " (stock)"
COLUMNS = (
    "set parent model seed params flops latency_ms latency_iqr_ms map50_95 map50 seconds"
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
        proof.compare(arms, int(given["seeds"]))
    return verdict(proof)


class Proof:
    """What is known of one data set and parent, and how to find out the rest.

    Args:
        name: A key of `SETS`.
        parent: A checkpoint of the shared data, such as yolo11n.
        out: Folder of what is kept.
        work: Folder of what is only needed to go on.
    """

    def __init__(self, name: str, parent: str, out: Path, work: Path) -> None:
        self.name, self.parent = name, parent
        self.data = SHARED / SETS[name]["data"]
        self.sizes: list[int] = SETS[name]["sizes"]
        self.weights = SHARED / f"{parent}_coco" / f"{parent}.pt"
        self.label = name if parent == "yolo11n" else f"{name}_{parent}"
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

    def limit(self) -> None:
        """Profile this machine and keep what the parent takes by the profile."""
        if not self.profile.is_file():
            self.profile.parent.mkdir(parents=True, exist_ok=True)
            sizes = ",".join(map(str, sorted(self.sizes)))
            yolo("nas-profile", f"imgsz={sizes}", f"out={self.profile}", "minutes=8")
        if "limit" not in self.notes:
            network, nc = parents.load(str(self.weights)).architecture, read(self.data).nc
            found = load(self.profile).predict(network, nc=nc, imgsz=self.sizes[0])
            self.note(limit=found)

    def search(self, arm: str) -> None:
        """Search, or go on, and keep the winner and what finding it cost."""
        if arm in self.notes.get("searches", {}):
            return
        run = self.work / arm
        keys = (
            f"data={self.data}",
            f"model={self.weights}",
            f"sizes={','.join(map(str, self.sizes))}",
            f"imgsz={self.sizes[0]}",
            f"strategy={ARMS[arm]}",
            *KEYS_OF,
            f"latency={self.profile}",
            f"max_latency={ceil(1e4 * self.notes['limit'] * SHARE.get(arm, 1.0)) / 1e4}",
            f"project={run.parent}",
            f"name={arm}",
            *QUICK,
        )
        begun = (run / "args.yaml").is_file()
        yolo("nas-search", *((f"resume={run}",) if begun else keys), allowed=(0, 3))
        self.winners.mkdir(parents=True, exist_ok=True)
        shutil.copy(run / "best.yaml", self.winners / f"{arm}.yaml")
        if arm == "found":
            self._keep_pencil(run)
        trials = len(csv_rows(run / "trials.csv"))
        found = {"trials": trials, "seconds": round(search_seconds(run))}
        self.note(searches={**self.notes.get("searches", {}), arm: found})

    def _keep_pencil(self, run: Path) -> None:
        """Keep the best pencil of a search as a model, and its name."""
        import optuna

        trials = optuna.load_study(study_name=None, storage=f"sqlite:///{run / 'study.db'}").trials
        named = [t for t in trials if t.user_attrs.get("name") not in ("", self.parent) and t.value]
        best = max(named, key=lambda t: t.value or 0.0)
        network = Architecture.from_dict(best.user_attrs["architecture"])
        definition = emit(network, read(self.data).nc)
        file = self.winners / "pencil.yaml"
        file.write_text(yaml.safe_dump(dict(definition), sort_keys=False), encoding="utf-8")
        self.note(pencil=best.user_attrs["name"])

    def compare(self, arms: list[str], seeds: int) -> None:
        """Train what the searches found, the pencil and the parent, in turns.

        A search that ends with the pencil has its rows.
        """
        networks = {name: self.winners / f"{name}.yaml" for name in (*arms, "pencil")}
        keys = {name: architecture(file).key for name, file in networks.items()}
        same = [name for name in arms if keys[name] == keys["pencil"]]
        given = [str(file) for name, file in networks.items() if name not in same]
        self._compare("compare", [*given, str(self.weights)], seeds, f"inherit={self.weights}")
        self._compare("stock", [str(self.weights)], seeds, "recipe=stock")
        done = {(row["model"], row["seed"]) for row in self.rows}
        for row in [row for row in self.rows if row["model"] == "pencil"]:
            for name in same:
                if (name, row["seed"]) not in done:
                    keep_csv(self.table, COLUMNS, {**row, "model": name})

    def _compare(self, name: str, given: list[str], seeds: int, *more: str) -> None:
        for count in range(1, seeds + 1):  # a folder a seed: what is there is kept as it comes
            folder = self.work / f"{name}-{count - 1}"
            done = {row["model"] for row in self.rows if row["seed"] == str(count - 1)}
            wanted = {Path(path).stem + STOCK * (name == "stock") for path in given}
            if done >= wanted:
                continue
            left = [p for p in given if Path(p).stem + STOCK * (name == "stock") not in done]
            if folder.is_dir() and not (folder / "args.yaml").is_file():
                shutil.rmtree(folder)
            keys = (
                f"data={self.data}",
                f"epochs={EPOCHS}",
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
            yolo("nas-compare", *((f"resume={folder}",) if begun else keys))
            self._keep(csv_rows(folder / "comparison.csv"), STOCK * (name == "stock"))

    def _keep(self, found: list[dict[str, str]], suffix: str) -> None:
        """Add the rows of a comparison."""
        for row in found:
            own = {"set": self.name, "parent": self.parent, "model": row["model"] + suffix}
            keep_csv(self.table, COLUMNS, {**{name: row.get(name, "") for name in COLUMNS}, **own})


def verdict(proof: Proof) -> Figures:
    """Print what the comparison says, and return the figures."""
    by_model: dict[str, list[dict[str, str]]] = {}
    for row in proof.rows:
        by_model.setdefault(row["model"], []).append(row)
    if proof.parent not in by_model:
        return {"set": proof.name, "pass": False, "why": "no comparison yet"}
    values = {
        model: {row["seed"]: float(row["map50_95"]) for row in rows}
        for model, rows in by_model.items()
    }
    base = by_model[proof.parent]
    unit = mean(float(row["seconds"]) for row in base)
    latency = float(base[0]["latency_ms"] or "nan")
    table = Table(
        "model          ",
        "mAP50-95",
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
            "map50_95": round(mean(own.values()), 4),
            "seeds": len(own),
            "latency": round(float(rows[0]["latency_ms"] or "nan") / latency, 3),
            "over_parent": over(own, values[proof.parent]),
            "over_pencil": over(own, values.get("pencil", {})),
            "search": round(searched["seconds"] / unit, 2) if searched else None,
        }
        figures[model] = line
        table.row(
            model,
            f"{line['map50_95']:.4f}",
            len(own),
            f"{line['latency']:.2f}",
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
        return reached(*line[f"over_{rival}"][:2], least) if line[f"over_{rival}"] else False

    return {
        f"found: {ABOVE_PARENT} above the parent": over(found, "parent", ABOVE_PARENT),
        f"found: {ABOVE_PENCIL} above the best pencil": over(found, "pencil", ABOVE_PENCIL),
        "found: no more latency than the parent": found["latency"] <= 1.0,
        f"found: at most {MOST:g} fine-tunings": found["search"] <= MOST,
        f"small: no more than {BELOW_PARENT} below the parent": over(
            small, "parent", -BELOW_PARENT
        ),
        "small: half the latency": small["latency"] <= 0.5,
    }


if __name__ == "__main__":
    start(main, KEYS)
