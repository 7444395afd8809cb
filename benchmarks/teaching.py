"""What is a teacher worth to a network with other levels or widths than its own?

    python benchmarks/teaching.py [set=pcb_defects] [imgsz=320] [epochs=4] [seeds=2] [weights=0,1]
        [students=without P5,narrower] [keep=folder]

YOLO11n is fine-tuned from COCO's weights and teaches YOLO11n without its level P5, with a level P2
in its place, and with three quarters of its widths. These start from COCO's weights as well, by
role and shape, and are trained with the teacher weighted as given, 0 for none. All by the short
recipe at a learning rate that trained weights bear, on three quarters of the training images;
mAP50-95 is that of the other quarter. Rows are kept in
`results/teaching.jsonl`, and with `keep` the teacher stays in a folder: a second run goes on. The
last line is a JSON object; `pass` is whether the teacher helps on the mean of all students.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from lib import RESULTS, SHARED, Figures, Rows, Table, located, machine, names, start, targets

from yolo_nas_ext.estimators.training import ShortTraining
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.models import definition, scaled
from yolo_nas_ext.network.parse import read as read_model
from yolo_nas_ext.space.detector import DetectorSpace

KEYS = {
    "set": "pcb_defects",
    "parent": str(SHARED / "yolo11n_coco" / "yolo11n.pt"),
    "imgsz": 320,
    "epochs": 4,
    "taught_for": 8,
    "seeds": 2,
    "weights": "0,1",
    "students": "without P5,narrower",
    "keep": "",
}
RATE = {"lr0": 0.001}
WIDTH = 0.75


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    rows = Rows(RESULTS / "teaching.jsonl")
    weights = [float(weight) for weight in names(given["weights"])]
    folder = Path(given["keep"] or tempfile.mkdtemp(prefix="teaching-"))
    file = folder / f"{given['set']}-{given['imgsz']}-{given['taught_for']}.pt"
    if not file.is_file():
        metrics = _training(given, epochs=given["taught_for"]).estimate("yolo11n", weights=file)
        rows.keep({**_of(given), "student": "the teacher", "map50_95": metrics["map50_95"]})
    table = Table(f"{'student':<14}", "weight", f"{'mAP50-95, a seed each':<24}", "mean  ")
    means: dict[str, dict[float, float]] = {}
    for student in names(given["students"]):
        for weight in weights:
            seeds = range(int(given["seeds"]))
            each = [_row(rows, given, student, weight, seed, str(file)) for seed in seeds]
            found = means.setdefault(student, {})[weight] = mean(each)
            text = " ".join(f"{value:.3f}" for value in each)
            table.row(f"{student:<14}", f"{weight:<6g}", f"{text:<24}", f"{found:.3f}")
    gains = {s: max(m[w] for w in m if w) - m[0.0] for s, m in means.items() if 0.0 in m}
    met = {f"{s}: {gain:+.3f} with the teacher": gain > 0 for s, gain in gains.items()}
    targets(met)
    return {**given, "means": means, **machine(), "pass": bool(gains) and mean(gains.values()) > 0}


def _of(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("set", "imgsz", "epochs", "taught_for")}


def _training(given: dict[str, Any], **more: Any) -> ShortTraining:
    options = {"epochs": given["epochs"], "imgsz": given["imgsz"], "threads": 1, "device": "cpu"}
    data = read(str(located(str(given["set"]))))
    parent = str(given["parent"])
    return ShortTraining(data, inherit=parent, overrides=RATE, **{**options, **more})


def _row(
    rows: Rows, given: dict[str, Any], student: str, weight: float, seed: int, teacher: str
) -> float:
    """Return the mAP of a training, from the rows if it was made before."""
    what = {**_of(given), "student": student, "weight": weight, "seed": seed}
    for row in rows:
        if what.items() <= row.items():
            return row["map50_95"]
    training = _training(given, teacher=teacher if weight else None)
    if weight:
        taught = replace(training.settings.teacher, weight=weight)  # pyright: ignore[reportArgumentType]
        training.settings = replace(training.settings, teacher=taught)
    # The split stays: the teacher has seen all other images.
    training.settings = replace(training.settings, seed=seed)
    metrics = training.estimate(_student(student))
    kept = {name: metrics[name] for name in ("map50_95", "map50", "val_loss_box", "val_loss_cls")}
    return rows.keep({**what, **kept, "teacher": metrics.get("loss_teacher")})["map50_95"]


def _student(name: str) -> Any:
    """Return a network by its name in the table."""
    model, scale = definition("yolo11n")
    if name == "narrower":
        depth, width, most = model["scales"][scale]
        return scaled({**model, "scales": {scale: [depth, width * WIDTH, most]}}, scale)
    levels = {"without P5": "3-4", "P2 to P4": "2-4", "same": "3-5"}[name]
    space = DetectorSpace.load("yolo")
    point = {**space.point_of(read_model(model, scale)), "levels": levels}
    return space.architecture(space.canonical(point))


if __name__ == "__main__":
    start(main, KEYS)
