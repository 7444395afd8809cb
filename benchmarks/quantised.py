"""What is left of a network's accuracy in int8, of whole networks and by block?

    python benchmarks/quantised.py [sets=brain_tumor,cells] [imgsz=160] [epochs=20] [seeds=3]
        [chosen=found] [trials=20000] [blocks=c2f,c3k2] [parts=networks,blocks]

1. `networks`: YOLOv8n, 11n and 26n and the network that a search finds within YOLO11n's FLOPs, or
   the definitions of `chosen=a.yaml,b.yaml` (one a set), are trained by the short recipe on three
   quarters of train. They are measured on the other quarter as they are and in int8, with ranges of
   up to 128 images that they were trained on.
2. `blocks`: the same of networks whose stages are all of one block, and of YOLO11n's blocks with
   each kind of context, on the last set.

Rows are kept in `results/quantised.jsonl`: a second run goes on. The last line is a JSON object;
`pass` is whether the chosen network retains 98 % of its mAP50-95 on each set.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from lib import RESULTS, Figures, Rows, Table, located, machine, names, start, targets

from yolo_nas_ext.api import search
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.models import definition
from yolo_nas_ext.network.parse import read as read_model
from yolo_nas_ext.space.detector import DetectorSpace

KEYS = {
    "sets": "brain_tumor,cells",
    "imgsz": 160,
    "epochs": 20,
    "seeds": 3,
    "chosen": "found",
    "trials": 20_000,
    "blocks": "c2f,c3k2,c3k2_c3k,c3,repc3,elan,k1kx,c2fcib,hgblock,ghost",
    "contexts": "none,sppf,sppf+c2psa,c2psa",
    "parts": "networks,blocks",
    "rows": str(RESULTS / "quantised.jsonl"),
}
STOCK = ("yolov8n", "yolo11n", "yolo26n")
CHOSEN = "chosen"
RETAINED = 0.98
PARTS = ("networks", "blocks")


def main(given: dict[str, Any]) -> Figures:
    """Print the tables and return the figures."""
    rows, sets = Rows(Path(given["rows"])), names(given["sets"])
    if unknown := set(names(given["parts"])) - {*PARTS}:
        raise NASError(f"parts={min(unknown)}: no such part; allowed: {', '.join(PARTS)}")
    found: Figures = {}
    for part in names(given["parts"]):
        made = _networks(given, sets) if part == "networks" else _blocks(given, sets[-1])
        found[part] = _table(rows, given, made)
    shares = {f"{s}: {share:.1%} retained": share >= RETAINED for s, share in _chosen(found)}
    targets(shares)
    return {**given, **found, **machine(), "pass": bool(shares) and all(shares.values())}


def _chosen(found: Figures) -> list[tuple[str, float]]:
    whole = found.get("networks", {})
    return [(row["set"], row["retained"]) for row in whole.values() if row["network"] == CHOSEN]


def _networks(given: dict[str, Any], sets: list[str]) -> dict[tuple[str, str], Any]:
    """Return Ultralytics' models and the chosen one, by (set, name)."""
    files = names(given["chosen"])
    if files != ["found"] and len(files) != len(sets):
        raise NASError(
            f"chosen={given['chosen']}: give one definition for each of {len(sets)} sets"
        )
    made: dict[tuple[str, str], Any] = {}
    for index, name in enumerate(sets):
        made |= {(name, stock): stock for stock in STOCK}
        made[name, CHOSEN] = _search(given, name) if files == ["found"] else files[index]
    return made


def _search(given: dict[str, Any], name: str) -> Any:
    """Return the best network of a search by scores within YOLO11n's FLOPs."""
    with tempfile.TemporaryDirectory(prefix="quantised-") as folder:
        study = search(
            space="yolo",
            data=_data(name),
            estimator="madnas",
            trials=int(given["trials"]),
            imgsz=int(given["imgsz"]),
            baseline="yolo11n",
            project=folder,
        )
        return study.best.network


def _blocks(given: dict[str, Any], name: str) -> dict[tuple[str, str], Any]:
    """Return networks that differ from YOLO11n in the block of all stages, or in the context."""
    space = DetectorSpace.load("yolo")
    usual = space.point_of(read_model(*definition("yolo11n")))
    stages = [key for key in usual if key.endswith(".block") and key.startswith("p")]
    made: dict[tuple[str, str], Any] = {}
    for kind in names(given["blocks"]):
        kinds = {stage: kind for stage in stages if kind in space.choices[stage]}
        made[name, f"all {kind}"] = space.architecture(space.canonical({**usual, **kinds}))
    for kind in names(given["contexts"]):
        point = space.canonical({**usual, "context": kind})
        made[name, f"context {kind}"] = space.architecture(point)
    return made


def _table(rows: Rows, given: dict[str, Any], made: dict[tuple[str, str], Any]) -> Figures:
    """Print what networks have in both precisions, and return it."""
    table = Table(
        f"{'set':<12}", f"{'network':<22}", "mAP50-95", "int8    ", "retained", "least   "
    )
    found: Figures = {}
    for (name, network), model in made.items():
        seeds = range(int(given["seeds"]))
        each = [_row(rows, given, name, network, model, seed) for seed in seeds]
        known = [row for row in each if row.get("retained")]
        if not known:
            why = each[0].get("error", "learned nothing")
            table.row(f"{name:<12}", f"{network:<22}", why, "-", "-", "-")
            continue
        full, small, share = (mean(r[k] for r in known) for k in ("fp32", "int8", "retained"))
        least = min(row["retained"] for row in known)
        figures = (f"{full:.4f}", f"{small:.4f}", f"{share:.1%}", f"{least:.1%}")
        table.row(f"{name:<12}", f"{network:<22}", *figures)
        row = {"fp32": full, "int8": small, "retained": share, "least": least}
        found[f"{name} {network}"] = {"set": name, "network": network, **row}
    print()
    return found


def _row(
    rows: Rows, given: dict[str, Any], name: str, network: str, model: Any, seed: int
) -> dict[str, Any]:
    """Return the mAPs of a training, from the rows if it was made before."""
    key = getattr(model, "key", str(model))
    what = {k: given[k] for k in ("imgsz", "epochs")}
    what |= {"set": name, "network": network, "key": key, "seed": seed}
    for row in rows:
        if what.items() <= row.items():
            return row
    options = {k: int(given[k]) for k in ("imgsz", "epochs")}
    training = ShortTraining(read(_data(name)), precision="int8", threads=1, **options)
    training.settings = replace(training.settings, seed=seed)
    try:
        metrics = training.estimate(model)
    except TrialError as error:
        return rows.keep({**what, "error": str(error)})
    kept = {"fp32": metrics["map50_95"], "int8": metrics["int8_map50_95"]}
    return rows.keep({**what, **kept, "retained": metrics.get("int8_retained")})


def _data(name: str) -> str:
    """Return a data set beside the repository, or the name of one that comes with the package."""
    return str(found) if (found := located(name)).exists() else name


if __name__ == "__main__":
    start(main, KEYS)
