"""Every key of `yolo nas-compare`, of model definitions and of trained models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from yolo_nas_ext.config.fields import (
    BATCH,
    CORES,
    EPOCHS,
    HOURS,
    REPEATS,
    Parse,
    cached,
    devices,
    flag,
    folder_name,
    limit,
    one_of,
    optional,
    path,
    real,
    size,
    text,
    texts,
    whole,
)
from yolo_nas_ext.config.settings import Settings, key

PARTS = ("val", "test")
MAY_CHANGE = (  # on resuming a comparison
    "models",
    "baseline",
    "seeds",
    "device",
    "jobs",
    "threads",
    "runtime",
    "precision",
    "latency_threads",
    "nms",
    "resume",
    "follow_links",
)
FIRST = "What most comparisons need"
TRAINED = "How models are trained"
MEASURED = "How they are measured"
RUN = "Where it goes"


def part(value: str) -> str:
    """Accept the name of a part that no search looks at."""
    if value not in PARTS:
        raise ValueError(" or ".join(PARTS))
    return value


_nothing: Parse = optional(text)


@dataclass(frozen=True, kw_only=True)
class CompareSettings(Settings):
    """The settings of one comparison of model definitions, each of them trained first."""

    command: ClassVar[str] = "nas-compare"
    about: ClassVar[str] = """\
yolo nas-compare models=<a.yaml>,<b.yaml>,yolo11n.yaml data=<data set> [key=value ...]
yolo nas-compare models=<best.pt>,yolo11n.pt epochs=<n> data=<data set> [key=value ...]

Models are trained on train with the same seeds, in turns, and measured on a part that no search
looks at. A model definition starts from random weights and has the complete schedule of
Ultralytics; a .pt starts from itself and is fine-tuned. It leaves comparison.html, .csv and .png,
verdict.md, and the weights of the first seed. Training keys of Ultralytics pass through."""
    # What a training asks for besides the keys.
    estimator: ClassVar[str] = "full"
    val_fraction: ClassVar[float] = 0.5

    models: tuple[str, ...] = key(
        None,
        texts,
        FIRST,
        "models: YAMLs, names such as yolo11n, or with epochs= or beside these .pt files",
    )
    data: str = key(None, path, FIRST, "data YAML or folder, as for nas-search")
    baseline: tuple[str, ...] = key(
        None,
        texts,
        FIRST,
        "models that the others are compared with; if empty the models of Ultralytics among them, "
        "else the last one",
    )
    seeds: int = key(
        3, whole(1, REPEATS), FIRST, "trainings of each model, with seeds from seed= on"
    )
    epochs: int = key(100, whole(1, EPOCHS), FIRST, "epochs of each training")
    imgsz: int = key(640, size, FIRST, "image size in pixels, a multiple of 32")
    batch: int = key(16, whole(1, BATCH), FIRST, "images per step")
    task: str = key(
        "detect",
        text,
        TRAINED,
        "what the networks do: detect, segment, semantic, classify, obb or pose",
    )
    seed: int = key(0, whole(0, 2**31 - 1), TRAINED, "the first seed")
    group: str | None = key(
        None,
        _nothing,
        TRAINED,
        "regular expression that finds in a path which images belong together, such as a patient's "
        "or a video's: they are on one side of a split; guessed from names and content if empty",
    )
    augment: str | None = key(
        None, _nothing, TRAINED, "augmentation: mri, ct, xray, microscopy or natural"
    )
    inherit: str | None = key(
        None, _nothing, TRAINED, "a .pt that models without weights start from, by role and shape"
    )
    recipe: str = key(
        "ours",
        one_of("ours", "stock"),
        TRAINED,
        "how models that start from weights are trained: ours (docs/estimators.md) or stock "
        "(Ultralytics' own loading and defaults)",
    )
    cache: str = key(
        "auto",
        cached,
        TRAINED,
        "where decoded images are kept: auto (in memory where they fit into half of it, else in a "
        "file, else nowhere), ram, disk (a file in the run folder) or none; ram:8G and disk:200G "
        "say how much at the most",
    )
    timeout: float | None = key(
        None, limit(real(0, 3600 * HOURS)), TRAINED, "seconds after which a training is stopped"
    )
    device: str | None = key(
        None,
        optional(devices),
        TRAINED,
        "cpu, mps, the number of a GPU, or those of several as in 0,1, which share the trainings",
    )
    ddp: bool = key(
        False,
        flag,
        TRAINED,
        "with several GPUs in device=: one training at a time takes all of them, by Ultralytics' "
        "distributed training (DDP), which divides batch by their number; else each GPU has a "
        "training of its own",
    )
    jobs: int | None = key(
        None,
        optional(whole(1, CORES)),
        TRAINED,
        "trainings at a time, each in a process of its own; if empty the number of GPUs in device=",
    )
    threads: int | None = key(
        None,
        optional(whole(1, CORES)),
        TRAINED,
        "CPU threads of a training; half of the logical cores if empty",
    )
    part: str = key("val", part, MEASURED, "val or test, the part that models are measured on")
    fitness: str = key(
        "host",
        text,
        MEASURED,
        "what models are compared by: host (the fitness of Ultralytics), froc or dice",
    )
    runtime: str | None = key(
        "onnx",
        _nothing,
        MEASURED,
        "what latency is measured with, of all models in turns: onnx, torch, openvino, ncnn, "
        "litert or none",
    )
    precision: str = key(
        "fp32", text, MEASURED, "precision of the networks there: fp32, fp16, int8"
    )
    latency_threads: int = key(1, whole(1, CORES), MEASURED, "CPU threads there")
    nms: bool = key(
        False,
        flag,
        MEASURED,
        "True counts in the latency what makes boxes final: the non-maximum suppression of 150 "
        "made-up boxes, or an end-to-end head's own choice; without, boxes are decoded",
    )
    project: str = key("runs/nas", text, RUN, "folder of runs")
    name: str = key(
        "compare", folder_name, RUN, "name of the run; a taken one gets a number unless it is given"
    )
    resume: str | None = key(
        None,
        _nothing,
        RUN,
        "folder of a comparison to go on with after a stop, with more models or seeds if given",
    )
    follow_links: bool = key(
        False, flag, RUN, "resume a folder that has links to elsewhere, and write there, too"
    )

    @property
    def at_a_time(self) -> int:
        """Trainings at a time."""
        return self.jobs or (1 if self.ddp else len((self.device or "").split(",")))


@dataclass(frozen=True, kw_only=True)
class TrainedSettings(Settings):
    """The settings of one comparison of trained models, measured as they are."""

    command: ClassVar[str] = "nas-compare"
    about: ClassVar[str] = """\
yolo nas-compare models=<best.pt>[,<other.pt>...] data=<data set> [key=value ...]
yolo nas-compare models=<best.pt>[,...] coco=<instances.json> images=<folder> [key=value ...]

Without epochs=, or with epochs=0, models that are .pt files alone are measured as they are. What
they see in the val part of a data set, or in the pictures of a COCO JSON:
  COCO's twelve numbers (by pycocotools), of masks too where the model finds masks
  froc_cpm: mean sensitivity at 1/8 to 8 false positives a scan; a lesion is a 3-D component of the
    masks, and detections are merged through slices
  dice: of the scans' volumes, of segmentation models and semantic ones; each patient is measured at
    the score that is best for the others
  accuracy and auc: of classifiers
They come with a 95 % interval over patients."""

    models: tuple[str, ...] = key(None, texts, FIRST, "checkpoints, each a .pt")
    data: str = key(None, path, FIRST, "data YAML or folder")
    coco: str = key(
        None, path, FIRST, "a COCO JSON instead; its categories are told by their names"
    )
    images: str = key(None, path, FIRST, "folder of the JSON's pictures")
    part: str = key("val", part, MEASURED, "val or test, the part of data that is looked at")
    imgsz: int = key(640, size, MEASURED, "image size in pixels, a multiple of 32")
    device: str | None = key(None, optional(devices), MEASURED, "cpu, mps or the number of a GPU")
    seed: int = key(0, whole(0), MEASURED, "seed of the intervals' draws")
    json: bool = key(False, flag, MEASURED, "True prints all figures as JSON")
    out: str | None = key(
        None,
        _nothing,
        RUN,
        "folder for what is found scan by scan: cases.csv with Dice, surface distances, volumes "
        "and lesions, FROC and sensitivity by size with intervals, and agreement of volumes",
    )


HELP = (CompareSettings, TrainedSettings)
