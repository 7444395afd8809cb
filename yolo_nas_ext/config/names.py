"""The names that keys of `yolo nas-search` take, beside what a file of the user's adds.

Each is in a table of the folder that has what it names; a test holds that these agree.
"""

from __future__ import annotations

from yolo_nas_ext.config.search import HELD_OUT, UNTRAINED

TASKS = ("detect", "segment", "semantic", "classify", "obb", "pose")
STRATEGIES = (
    "auto",
    "random",
    "local",
    "evolution",
    "nsga2",
    "reinforce",
    "bayes",
    "darts",
    "additive",
)
ESTIMATORS = (*HELD_OUT, *UNTRAINED)
EXECUTORS = ("local", "ray")
PRUNERS = ("none", "median", "asha")
CONFIRM_AGAIN, CONFIRM_TUNED, CONFIRM_FULL = "again", "tuned", "full"
WAYS = (CONFIRM_AGAIN, CONFIRM_TUNED, "short", CONFIRM_FULL)  # of the key confirm_by
GROWS = ("epochs", "imgsz", "images")  # what fidelity=asha lets grow
AUGMENTATIONS = ("mri", "ct", "xray", "microscopy", "natural")
RELAXATIONS = ("single", "gates", "continuous")
SAMPLINGS = ("spos", "fair", "sandwich", "progressive")
TRACKERS = ("mlflow", "tensorboard", "wandb", "clearml", "comet")
FREE = ("fitness", "params_m", "flops_g", "memory_mb")  # metrics of every trial
MEASURED = (  # by a training, besides its losses; see `host.metrics.results`
    "map50",
    "map50_95",
    "precision",
    "recall",
    "mask_map50",
    "mask_map50_95",
    "mask_precision",
    "mask_recall",
    "pose_map50",
    "pose_map50_95",
    "pose_precision",
    "pose_recall",
    "accuracy_top1",
    "accuracy_top5",
    "host_fitness",
    "froc_cpm",
    "dice",
)
RAPL, ENERGY = "rapl", "energy_mj"  # what counts energy, and the metric, see `cost.energy`
QUANTISED = ("detect", "segment", "pose", "obb", "classify")  # tasks measured in int8 and fp16
PRECISIONS = ("fp32", "fp16", "int8")
RETAINED = "retained"  # behind a precision: the part of the accuracy that is left
HOST_METRICS = {  # what Ultralytics' fitness is, by task
    "detect": "mAP50-95",
    "obb": "mAP50-95",
    "segment": "mAP50-95 box + mask",
    "pose": "mAP50-95 box + pose",
    "classify": "mean of top-1 and top-5 accuracy",
    "semantic": "mIoU",
}
OTHER_METRICS = {"froc": "FROC CPM", "dice": "Dice"}  # of fitness=


def metric_name(task: str, fitness: str) -> str:
    """Return what a training is measured by, under its own name.

    Args:
        task: Ultralytics' task.
        fitness: The value of the key: ``froc``, ``dice``, or what the host measures.
    """
    return OTHER_METRICS.get(fitness) or HOST_METRICS.get(task, "fitness")
