"""A written protocol over ten sets of different kinds: does a search help, and where?

    python benchmarks/proof.py suite=small only=plan       # what it takes, before anything starts
    python benchmarks/proof.py suite=small [parents=yolo11n,yolo26n,random] [sets=raccoon,cells]
    python benchmarks/proof.py suite=small only=table      # of what is there

The protocol, written before its first run:

1. Sets: those of `proof_weights.py`. Eight are of boxes: brain slices, circuit boards, raccoons,
   the ten most frequent classes of coco128, hippocampi, and the embedded cells, lesions and nuclei.
   Hippocampi with masks and MedNIST have no weights to start from, and are run from random ones.
2. Parents: YOLO11n and YOLO26n with COCO weights, and random weights.
3. On each set, all that `proof_weights.py` says: `found`, `random` with as many trials, `full`,
   which spends the same on trainings in full, and `free`, the best by a score without a training;
   all pencils (the parent at each image size, without its highest level, cut evenly to fit a larger
   one); the parent by our recipe and by Ultralytics' own. All have the same schedule and limit. On
   one set Ultralytics' `tune` stands beside, with as many epochs as the search.
4. Seeds: as many of each as tell a difference of 0.030 from chance in four cases of five, by the
   spread of two trainings of the parent there (`noise.py`), three at least and eight at most. Sets
   on which eight do not suffice are run with three; the plan names them.
5. The figures: the gain of `found` over each rival on a set is a difference of means with its
   interval; over sets it is the mean with Student's interval, and a win, a draw or a loss where a
   set's interval is above 0, holds it, or is below. The better pencil is the one that is best on
   val, which favours the pencil.

The goal, at no more latency than the parent's: a mean gain of 0.030 over the parent and of 0.010
over the better pencil, no set below -0.010, and ahead of `random` on two thirds of the sets. Goals
count where intervals reach them. A mean over eight sets is above 0 by its interval only where the
sets differ by at most 1.2 times the mean gain: the deviation between sets is printed.

A stopped suite goes on where it was. The sets come in the order of what they cost, the cheapest
first. Results are in `out`, as `proof_weights.py` keeps them. The last line is a JSON object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from lib import RESULTS, Figures, Rows, Table, names, reached, start, targets, yolo
from proof_weights import EPOCHS, RANDOM, RANDOM_EPOCHS, SETS, STOCK, Proof, over, said
from scipy.stats import norm

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.study.leaderboard import interval

SUITES = ("small",)
PARENTS = ("yolo11n", "yolo26n", RANDOM)
ARMS = ("found", "random", "full", "free")
TUNED = "raccoon"  # the set on which `yolo tune` stands beside
TUNINGS = 5  # of hyper-parameters, of a training each
FEWEST, MOST, EFFECT, POWER = 3, 8, 0.030, 0.8
RIVALS = ("parent", "stock", "better pencil", "random", "full", "free")
GOALS = {"parent": 0.030, "better pencil": 0.010}
WORST, AHEAD = -0.010, 2 / 3
# Seconds that an image of 160 px takes in an epoch, training and measuring included, of YOLO11n on
# one core of an AMD EPYC: 277 s for 20 epochs of 893 images (proof_weights.csv).
SECONDS = 277 / (20 * 893)
KEYS = {"suite": "small", "parents": "", "sets": "", "only": "", "out": "", "work": ""}


def main(given: Mapping[str, Any]) -> Figures:
    """Run what is missing, print the tables and return the figures."""
    if given["suite"] not in SUITES:
        raise NASError(f"suite={given['suite']}: no such suite; allowed: {', '.join(SUITES)}")
    out, work = Path(given.get("out") or RESULTS), Path(given.get("work") or "runs/proof")
    parents = _known("parents", names(given.get("parents")) or [*PARENTS], PARENTS)
    sets = _known("sets", names(given.get("sets")) or [*SETS], [*SETS])
    out.mkdir(parents=True, exist_ok=True)
    proofs = [
        Proof(name, parent, out, work)
        for parent in parents
        for name in sets
        if parent == RANDOM or "task" not in SETS[name]
    ]
    for proof in proofs:
        proof.make()
    proofs.sort(key=hours)
    if given.get("only", "") != "table":
        plan(proofs)
    if given.get("only", "") in ("plan", "table"):
        return table(proofs) if given["only"] == "table" else {"pass": True}
    for proof in proofs:
        proof.limit()
        for arm in ARMS:
            if arm != "free" or proof.task != "classify":  # whose labels have no boxes
                proof.search(arm)
        proof.compare([arm for arm in ARMS if arm in proof.notes["searches"]], seeds(proof), "all")
        if proof.name == TUNED and not proof.untrained:
            tune(proof)
    return table(proofs)


def _known(key: str, given: list[str], allowed: Sequence[str]) -> list[str]:
    if unknown := [name for name in given if name not in allowed]:
        raise NASError(f"{key}={','.join(unknown)}: unknown; allowed: {', '.join(allowed)}")
    return given


# What it takes


def seeds(proof: Proof) -> int:
    """Return how many trainings of each model a set has."""
    wanted = needed(proof.name)
    return FEWEST if wanted is None or wanted > MOST else max(FEWEST, wanted)


def needed(name: str) -> int | None:
    """Return how many trainings tell a difference of `EFFECT` from chance; None if not known.

    By the normal approximation: n = 2 ((z of 97.5 % + z of the power) x deviation / effect)^2.
    """
    spread = deviation(name)
    if spread is None:
        return None
    z = norm.ppf(0.975) + norm.ppf(POWER)
    return math.ceil(2 * (z * spread / EFFECT) ** 2)


def deviation(name: str) -> float | None:
    """Return the deviation between trainings of a set, from pairs; None where none were made."""
    pairs = [row["fitness"] for row in Rows(RESULTS / "noise.jsonl") if row["set"] == name]
    if not pairs:
        return None
    return math.sqrt(mean((a - b) ** 2 / 2 for a, b in pairs))


def hours(proof: Proof) -> float:
    """Return how many hours of one core a set and parent take, roughly."""
    images = len(read(proof.data, proof.task).labels)
    epoch = images * SECONDS * (proof.sizes[0] / 160) ** 2
    # Three searches of about five fine-tunings; and models: the parent twice, pencils, arms.
    searches = 3 * 5 * EPOCHS * 0.75
    models = (2 + len(proof.sizes) + len(ARMS)) * seeds(proof)
    return epoch * (searches + models * (RANDOM_EPOCHS if proof.untrained else EPOCHS)) / 3600


def plan(proofs: Sequence[Proof]) -> None:
    """Print what is to come."""
    columns = (f"{'set':<18}", f"{'parent':<8}", f"{'image sizes':<23}")
    shown = Table(*columns, "needed", "seeds", "hours of a core")
    for proof in proofs:
        sizes = "/".join(map(str, sorted(proof.sizes)))
        wanted = needed(proof.name) or "?"
        shown.row(proof.name, proof.parent, sizes, wanted, seeds(proof), f"{hours(proof):.1f}")
    print(f"in all about {sum(map(hours, proofs)):.0f} hours of one core\n", flush=True)


def tune(proof: Proof) -> None:
    """Compare what Ultralytics' search for hyper-parameters finds for as many epochs.

    It trains on the part of train that the search trained on, and picks by the part held out.
    """
    folder = proof.work / "tune"
    best = folder / "best_hyperparameters.yaml"
    if not best.is_file():
        data = _held_out(proof)
        yolo(
            "detect",
            "tune",
            f"model={proof.given}",
            f"data={data}",
            f"epochs={EPOCHS}",
            f"iterations={TUNINGS}",
            f"imgsz={proof.sizes[0]}",
            f"project={folder.parent.resolve()}",
            f"name={folder.name}",
            "exist_ok=True",
            "plots=False",
            "workers=0",
            "device=cpu",
        )
    keys = yaml.safe_load(best.read_text(encoding="utf-8"))
    more = [f"{key}={value:g}" for key, value in keys.items() if isinstance(value, (int, float))]
    proof.train("tuned", [proof.given], seeds(proof), "recipe=stock", *more)


def _held_out(proof: Proof) -> Path:
    """Return a data YAML of the parts of train that the search of `found` used."""
    data = read(proof.data)
    folder = proof.work / "held_out"
    folder.mkdir(exist_ok=True)
    split = ShortTraining(data, imgsz=proof.sizes[0]).split
    for part, indices in zip(("train", "val"), split, strict=True):
        files = (str(Path(data.labels[i]["im_file"]).resolve()) for i in indices)
        (folder / f"{part}.txt").write_text("\n".join(files) + "\n", encoding="utf-8")
    found = folder / "data.yaml"
    content = {"path": str(folder.resolve()), "train": "train.txt", "val": "val.txt"}
    found.write_text(yaml.safe_dump({**content, "names": dict(enumerate(data.names))}), "utf-8")
    return found


# What came of it


def table(proofs: Sequence[Proof]) -> Figures:
    """Print the gains on each set and over the sets, and return them."""
    gains: dict[str, dict[str, list[float]]] = {rival: {} for rival in RIVALS}
    shown = Table(f"{'set, parent':<28}", "seeds", *(f"{f'over {r}':<29}" for r in RIVALS))
    for proof in proofs:
        values = fitness(proof)
        if "found" not in values:
            continue
        label = f"{proof.name}, {proof.parent}"
        cells = []
        for rival in RIVALS:
            apart = over(values["found"], values.get(rival, {}))
            cells.append(said(apart))
            if apart:
                gains[rival][label] = apart
        shown.row(label, len(values["found"]), *cells)
    print()
    figures = {rival: summary(found) for rival, found in gains.items() if found}
    over_sets = f"{'mean, 95 % over sets':<29}"
    lines = Table(f"{'found over':<14}", "sets", over_sets, "deviation", "won, drawn, lost")
    for rival, line in figures.items():
        middle = said([line["mean"], line["low"], line["high"]])
        ends = "{won}, {drawn}, {lost}".format(**line)
        lines.row(rival, line["sets"], middle, f"{line['spread'] or math.nan:.4f}", ends)
    return {**figures, "gains": gains, "pass": targets(goals(figures, gains))}


def fitness(proof: Proof) -> dict[str, dict[str, float]]:
    """Return the fitness of each model of a set by seed, rivals by their names in `RIVALS`."""
    found: dict[str, dict[str, float]] = {}
    for row in proof.rows:
        found.setdefault(row["model"], {})[row["seed"]] = float(row["fitness"])
    own = [own for name, own in found.items() if name.startswith("parent_")]
    named = {"parent": proof.base, "stock": proof.base + STOCK}
    found |= {role: found[model] for role, model in named.items() if model in found}
    if own:
        found["better pencil"] = max(own, key=lambda values: mean(values.values()))
    return found


def summary(gains: Mapping[str, Sequence[float]]) -> Figures:
    """Return the mean gain over sets with its interval, and how many are won, drawn and lost."""
    middles = [gain[0] for gain in gains.values()]
    middle, low, high, _ = interval(middles)
    won = sum(gain[1] > 0 for gain in gains.values())
    lost = sum(gain[2] < 0 for gain in gains.values())
    return {
        "sets": len(gains),
        "mean": middle,
        "low": low,
        "high": high,
        "spread": stdev(middles) if len(middles) > 1 else None,
        "worst": min(middles),
        "won": won,
        "drawn": len(gains) - won - lost,
        "lost": lost,
    }


def goals(
    figures: Mapping[str, Figures], gains: Mapping[str, Mapping[str, Sequence[float]]]
) -> dict[str, bool | None]:
    """Return which goals are met, None where the interval does not tell."""
    if not figures:
        return {"a set is done": False}
    met: dict[str, bool | None] = {}
    for rival, least in GOALS.items():
        line = figures.get(rival)
        good = reached(line["mean"], line["low"], least) if line else False
        met[f"mean gain of {least} over the {rival}"] = good
    met[f"no set below {WORST}"] = figures["parent"]["worst"] >= WORST
    ahead = [gain[0] > 0 for gain in gains["random"].values()]
    met["ahead of random search on two thirds"] = bool(ahead) and mean(ahead) >= AHEAD
    return met


if __name__ == "__main__":
    start(main, KEYS)
