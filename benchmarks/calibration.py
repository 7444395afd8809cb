"""What does it cost a trained network to have its batch norms estimated again, and on which images?

    python benchmarks/calibration.py [epochs=15] [imgsz=160] [keep=folder]

YOLO11n is trained alone on three quarters of the brain slices, three times: from COCO's weights by
the short recipe and by Ultralytics' own, and from random weights by the short one. It is then
measured on the last quarter as it is, and with its norms estimated again from plain images and from
images as training sees them; 128 images each, three draws of them. With `keep` the trained networks
stay there, and a second run measures them again. The last line is a JSON object; `pass` is whether
augmented images cost at most 0.010 mAP50-95 in each of the three.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from lib import SHARED, Figures, Table, located, machine, start, targets

from yolo_nas_ext.estimators.training import FullTraining, ShortTraining, Training
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.host.models import definition as definition_of
from yolo_nas_ext.host.models import scaled
from yolo_nas_ext.host.supernet.evaluator import Evaluator
from yolo_nas_ext.host.transfer.weights import load

KEYS = {
    "data": "brain_tumor",
    "parent": str(SHARED / "yolo11n_coco" / "yolo11n.pt"),
    "epochs": 15,
    "imgsz": 160,
    "keep": "",
}
# The training, and whether it starts from the parent.
TRAININGS: dict[str, tuple[type[Training], bool]] = {
    "parent, short recipe": (ShortTraining, True),
    "parent, stock recipe": (FullTraining, True),
    "random, short recipe": (ShortTraining, False),
}
# Images without augmentation, whatever the recipe.
PLAIN: dict[str, Any] = dict.fromkeys(
    "hsv_h hsv_s hsv_v degrees translate scale shear perspective flipud fliplr bgr mosaic mixup "
    "cutmix copy_paste".split(),
    0.0,
)
DRAWS = 3
COST = 0.010  # mAP50-95


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    found: dict[str, dict[str, Any]] = {}
    table = Table(f"{'training':<20}", "as trained", f"{'plain images':<24}", f"{'augmented':<24}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(given["keep"] or temporary)
        for name in TRAININGS:
            found[name] = line = _measured(name, given, folder)
            each = [" ".join(f"{value:.3f}" for value in line[k]) for k in ("plain", "augmented")]
            table.row(f"{name:<20}", f"{line['trained']:<10.3f}", *(f"{e:<24}" for e in each))
    lost = {name: line["trained"] - mean(line["augmented"]) for name, line in found.items()}
    met = {f"{name}: {lost[name]:.3f} lost, at most {COST}": lost[name] <= COST for name in lost}
    return {**given, "map50_95": found, "lost": lost, **machine(), "pass": targets(met)}


def _measured(name: str, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return mAP50-95 of a training's network as it is, and with norms of both kinds of images."""
    kind, inherits = TRAININGS[name]
    options = {name: given[name] for name in ("epochs", "imgsz")}
    parent = str(given["parent"]) if inherits else None
    data = read(str(located(str(given["data"]))))
    estimator = kind(data, threads=1, device="cpu", inherit=parent, **options)
    file = folder / f"{name.replace(', ', '-').replace(' ', '-')}.pt"
    if not file.is_file():
        estimator.estimate("yolo11n", weights=file)
    settings = estimator.settings
    kinds = {"plain": {**settings.overrides, **PLAIN}, "augmented": settings.overrides}
    line: dict[str, Any] = {"plain": [], "augmented": []}
    first = scaled(*definition_of("yolo11n", "detect"))
    for seed in range(DRAWS):
        for which, overrides in kinds.items():
            own = replace(settings, overrides=overrides, seed=seed)
            evaluator = Evaluator(first, data, estimator.split, own)
            model = load(file).model.float()
            if "trained" not in line:
                line["trained"] = evaluator.score(model)["map50_95"]
            evaluator.calibrate(model)
            line[which].append(evaluator.score(model)["map50_95"])
            evaluator.close()
    return line


if __name__ == "__main__":
    start(main, KEYS)
