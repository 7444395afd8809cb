"""What is left of a network's accuracy in int8, of whole networks and by block?

    python benchmarks/quantised.py [sets=brain_tumor,cells] [imgsz=160] [epochs=20] [seeds=3]
        [chosen=found] [trials=20000] [blocks=c2f,c3k2] [parts=networks,blocks,each]
    python benchmarks/quantised.py parts=each [weights=a.pt] [photos=coco128] [px=320]

1. `networks`: YOLOv8n, 11n and 26n and the network that a search finds within YOLO11n's FLOPs, or
   the definitions of `chosen=a.yaml,b.yaml` (one a set), are trained by the short recipe on three
   quarters of train. They are measured on the other quarter as they are and in int8, with ranges of
   up to 128 images that they were trained on.
2. `blocks`: the same of networks whose stages are all of one block, and of YOLO11n's blocks with
   each kind of context, on the last set.

3. `each`: a trained network of which one row alone is in int8, or all of them. Nothing is trained.
   Ranges are those of `ranges` photos, and the rest of the photos is measured by Ultralytics. The
   signal is what the head puts out in single precision, its noise what int8 changes of it.

Rows of trainings are kept in `results/quantised.jsonl`: a second run goes on. The last line is a
JSON object; `pass` is whether the chosen network, and of `each` every row alone, retains 98 % of
its mAP50-95.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import cv2
import numpy as np
import onnx
import yaml
from lib import RESULTS, SHARED, Figures, Rows, Table, located, machine, names, start, targets
from ultralytics.data.augment import LetterBox

from yolo_nas_ext.api import search
from yolo_nas_ext.cost.latency.int8 import WEIGHTED, quantized
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import quiet, read
from yolo_nas_ext.host.latency import exported
from yolo_nas_ext.host.models import definition
from yolo_nas_ext.host.training.quantised import onnx_session
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
    "weights": str(SHARED / "yolo11n_coco" / "yolo11n.pt"),
    "photos": "coco128",
    "px": 320,
    "ranges": 32,
    "rows": str(RESULTS / "quantised.jsonl"),
}
STOCK = ("yolov8n", "yolo11n", "yolo26n")
CHOSEN = "chosen"
RETAINED = 0.98
PARTS = ("networks", "blocks", "each")
WHOLE = "all rows"


def main(given: dict[str, Any]) -> Figures:
    """Print the tables and return the figures."""
    rows, sets = Rows(Path(given["rows"])), names(given["sets"])
    if unknown := set(names(given["parts"])) - {*PARTS}:
        raise NASError(f"parts={min(unknown)}: no such part; allowed: {', '.join(PARTS)}")
    found: Figures = {}
    for part in names(given["parts"]):
        if part == "each":
            found[part] = _each(given)
            continue
        made = _networks(given, sets) if part == "networks" else _blocks(given, sets[-1])
        found[part] = _table(rows, given, made)
    shares = {f"{s}: {share:.1%} retained": share >= RETAINED for s, share in _chosen(found)}
    if alone := {n: r for n, r in found.get("each", {}).items() if n != WHOLE}:
        worst = min(alone, key=lambda name: alone[name]["retained"])
        share = alone[worst]["retained"]
        shares[f"every row alone, the worst {worst}: {share:.1%} retained"] = share >= RETAINED
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


def _each(given: dict[str, Any]) -> Figures:
    """Print what is left of a trained network by the row that alone is in int8, and return it."""
    from ultralytics import YOLO

    px, table = int(given["px"]), Table(f"{'row in int8':<16}", "SNR (dB)", "mAP50-95", "retained")
    found: Figures = {}
    with tempfile.TemporaryDirectory(prefix="quantised-") as folder:
        data, shown, rest = _photos(given, Path(folder))
        weights = str(given["weights"])
        whole = exported(weights, Protocol(imgsz=px), where=weights)
        images = [_letterboxed(file, px) for file in shown]
        checked = [_letterboxed(file, px) for file in rest[: len(shown)]]
        signal = _outputs(whole, checked)
        full = _map50_95(whole, data, px, Path(folder))
        print(f"{weights}, {px} px, {len(rest)} photos: mAP50-95 {full:.4f} in fp32\n")
        rows: Any = YOLO(weights).model.model  # type: ignore[union-attr]
        for index, name in [
            (None, WHOLE),
            *((i, type(row).__name__) for i, row in enumerate(rows)),
        ]:
            others = _others(whole, index)
            if others is None:  # nothing in it is quantised
                continue
            small = quantized(whole, images, others)
            noise = _outputs(small, checked) - signal
            snr = 10 * float(np.log10((signal**2).sum() / max((noise**2).sum(), 1e-30)))
            share = (kept := _map50_95(small, data, px, Path(folder))) / full
            what = name if index is None else f"{index} {name}"
            table.row(f"{what:<16}", round(snr, 1), f"{kept:.4f}", f"{share:.1%}")
            found[what] = {"snr_db": snr, "map50_95": kept, "retained": share}
    print()
    return found


def _photos(given: dict[str, Any], folder: Path) -> tuple[Path, list[Path], list[Path]]:
    """Write the photos that are measured as a data set; return it, those for ranges, the rest."""
    source = located(str(given["photos"])).resolve()
    files = sorted((source / "train2017").glob("*.jpg"))
    shown, rest = files[: int(given["ranges"])], files[int(given["ranges"]) :]
    for kind in ("images", "labels"):
        (folder / kind / "val").mkdir(parents=True)
    for file in rest:
        (folder / "images" / "val" / file.name).symlink_to(file)
        label = source / "labels_det" / f"{file.stem}.txt"
        if label.is_file():
            (folder / "labels" / "val" / label.name).symlink_to(label)
    classes = {i: f"class{i}" for i in range(80)}
    content = {"path": str(folder), "train": "images/val", "val": "images/val", "names": classes}
    (folder / "data.yaml").write_text(yaml.safe_dump(content), "utf-8")
    return folder / "data.yaml", shown, rest


def _letterboxed(file: Path, px: int) -> np.ndarray:
    """Return a photo as networks see it: 1 x 3 x px x px, from 0 to 1."""
    photo: Any = LetterBox((px, px))(image=cv2.imread(str(file)))
    photo = photo[..., ::-1]
    return np.ascontiguousarray(photo.transpose(2, 0, 1)[None], np.float32) / 255


def _others(model: bytes, index: int | None) -> list[str] | None:
    """Return the nodes outside a row of the network; None for a row without learned weights."""
    graph = onnx.load_from_string(model).graph
    if index is None:
        return []
    inside = [node for node in graph.node if f"/model.{index}/" in node.name]
    if not any(node.op_type in WEIGHTED for node in inside):
        return None
    own = {node.name for node in inside}
    return [node.name for node in graph.node if node.name not in own]


def _outputs(model: bytes, images: list[np.ndarray]) -> np.ndarray:
    """Return what a model puts out for images: boxes by the image's side, and probabilities."""
    session = onnx_session(model, 1)
    found = np.concatenate([session(image)[0] for image in images])
    found[:, :4] /= images[0].shape[-1]
    return found


def _map50_95(model: bytes, data: Path, px: int, folder: Path) -> float:
    """Return what Ultralytics measures of an ONNX file, which has to say its classes."""
    from ultralytics import YOLO

    graph = onnx.load_from_string(model)
    if not graph.metadata_props:
        said = {"names": str({i: f"class{i}" for i in range(80)}), "stride": "32", "task": "detect"}
        onnx.helper.set_model_props(graph, {**said, "imgsz": str([px, px]), "batch": "1"})
    (folder / "model.onnx").write_bytes(graph.SerializeToString())
    with quiet():
        run: Any = YOLO(str(folder / "model.onnx"), task="detect").val(
            data=str(data),
            imgsz=px,
            batch=1,
            device="cpu",
            workers=0,
            plots=False,
            verbose=False,
            project=str(folder),
            name="val",
            exist_ok=True,
            rect=False,
        )
    return float(run.box.map)


def _data(name: str) -> str:
    """Return a data set beside the repository, or the name of one that comes with the package."""
    return str(found) if (found := located(name)).exists() else name


if __name__ == "__main__":
    start(main, KEYS)
