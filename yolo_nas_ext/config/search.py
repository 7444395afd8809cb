"""Every key of `yolo nas-search`: its type, its default and what it means.

cfg/nas.yaml is made of it: ``python -m yolo_nas_ext search help > cfg/nas.yaml``.
Longer than other modules because it is one table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from yolo_nas_ext.config.fields import (
    AUTO_BATCH,
    BATCH,
    CORES,
    EPOCHS,
    HOURS,
    REPEATS,
    TRIALS,
    batch_size,
    bounds,
    cached,
    devices,
    flag,
    folder_name,
    limit,
    limits,
    one_of,
    optional,
    options,
    real,
    size,
    sizes,
    text,
    texts,
    whole,
)
from yolo_nas_ext.config.settings import Settings, key, keys, read

# The class has the defaults of a short training; these are Ultralytics' own.
FULL = {"epochs": 100, "batch": 16}
# Of the vectorized search over an analytic score, which takes seconds: those of TinyNAS.
INNER = {"trials": 500_000, "population": 512}
ANALYTIC = ("madnas", "deepmad")  # closed forms over the layers of the backbone
# Of a supernet, after whose training a candidate takes a validation pass.
SHARED = {"epochs": 60, "trials": 200}
# Of a supernet for detection that no distribution is learned in: several networks a step order much
# better than one, which is the default of the two keys (docs/evidence.md).
SEVERAL = {"sampling": "sandwich", "distill": 1.0}
# Of a supernet that starts from a parent: it hands over finished networks of all costs.
FAMILY = {
    "epochs": 20,
    "trials": 200,
    "batch": 16,
    "sampling": "progressive",
    "distill": 1.0,
    "confirm": 0,
    "finalists": 0,
}
# Of a proxy with a network; few images hardly tell networks apart.
ONE_BATCH = {"batch": 16}
PROXIES = (
    "naswot",
    "synflow",
    "snip",
    "grad_norm",
    "jacov",
    "zen",
    "zico",
    "swap",
    "az_nas",
)
RESOLVED = "resolved"  # operations, by the grid and the sizes of the objects
UNTRAINED = (*ANALYTIC, RESOLVED, *PROXIES)  # estimators without a training
TRAININGS = ("short", "full")  # estimators that start from weights
HELD_OUT = (*TRAININGS, "supernet")  # estimators that measure on held-out images
PARENT = "parent"  # of the key inherit: the nearest trial before; of space and teacher: model=
# Of a search that starts from trained weights: its space is made of them, they are the baseline,
# and it ends with a finished network.
FROM_WEIGHTS = {
    "space": PARENT,
    "trials": 24,  # the parent and its pencils are some eight of them
    "baseline": (),
    "confirm": 2,  # beside the best pencil and the parent, as long as the final trainings
    "finalists": 1,
    "seeds": 1,
    "final_epochs": 30,
}
# What `effort` sets, of a search from random weights and of one from a parent; normal is what a
# search does where nothing is said.
QUICK, NORMAL, THOROUGH = "quick", "normal", "thorough"
EFFORTS: Mapping[str, tuple[Mapping[str, int], Mapping[str, int]]] = {
    QUICK: (
        {"trials": 6, "epochs": 3, "confirm": 1},
        {"trials": 12, "epochs": 3, "confirm": 1, "final_epochs": 15},
    ),
    NORMAL: ({}, {}),
    THOROUGH: (
        {"trials": 48, "epochs": 12, "confirm": 8, "finalists": 3},
        {
            "trials": 60,
            "epochs": 12,
            "confirm": 4,
            "finalists": 3,
            "seeds": 3,
            "final_epochs": 60,
        },
    ),
}
MOST = (  # limits on costs
    "max_params",
    "max_flops",
    "max_memory",
    "max_layers",
    "max_latency",
    "max_size",
)
MEASURE = "measure"  # of the key latency: no profile, but each network on this machine
COMMAND = "cmd:"  # begins one that is a command of the user's
MAY_CHANGE = (  # on resuming a run
    "trials",
    "budget_hours",
    "timeout",
    "cache",
    "device",
    "jobs",
    "executor",
    "ray_address",
    "cpus_per_trial",
    "gpus_per_trial",
    "finalists",
    "final_epochs",
    "final_batch",
    "seeds",
    "resume",
    "follow_links",
    "tracker",
    "verbose",
    "latency_timeout",
)

FIRST = "What most searches need"
WHAT = "What is searched"
HOW = "How it is searched"
EVALUATED = "How a candidate is evaluated"
WEIGHTS = "What a candidate starts and learns from"
SUPERNET = "How a supernet is trained"
END = "How the search ends"
COST = "What a candidate may cost (empty: no limit; suffixes K, M, G, T)"
MEASURED_BY = "How latency is measured"
WHERE = "Where candidates are evaluated"
RUN = "Where the run goes"


@dataclass(frozen=True, kw_only=True)
class SearchSettings(Settings):
    """The settings of one search: the keys of `yolo nas-search`."""

    command: ClassVar[str] = "nas-search"
    unsaid: ClassVar[tuple[str, ...]] = (  # model= says it; how it is looked at; of one trial
        *Settings.unsaid,
        "pretrained",
        "tracker",
        "verbose",
        "rerun",
        "trial",
    )
    about: ClassVar[str] = """\
# Keys of `yolo nas-search`, each with its default, its type and what it means. Give them as
# key=value. Training keys of Ultralytics (batch, device, workers, optimizer, lr0, hsv_h, ...) pass
# through to the training of every candidate. yolo_nas_ext/config/search.py has the defaults.
# cfg/nas.yaml is made by `python -m yolo_nas_ext search help`; editing it changes nothing."""

    data: str = key(
        "cells",
        text,
        FIRST,
        "data YAML, folder with images/ and labels/, or the name of a shipped data set",
    )
    model: str | None = key(
        None,
        optional(text),
        FIRST,
        "the parent, a trained network that the search starts from: a .pt of Ultralytics, of a "
        "found network or of your own. A name such as yolo11n.pt is downloaded unless "
        "YOLO_OFFLINE is set. If empty the search starts from random weights",
    )
    space: str = key(
        "tiny",
        text,
        FIRST,
        "space of networks: parent (changes of model=, its default), tiny, yolo, damo, "
        "efficientnet, timm or a YAML of your own (docs/spaces.md)",
    )
    epochs: int = key(
        6,
        whole(1, EPOCHS),
        FIRST,
        "epochs of a candidate's training; 100 with estimator=full; 60, of the supernet, with "
        "estimator=supernet",
    )
    imgsz: int = key(
        128,
        size,
        FIRST,
        "image size in pixels, a multiple of 32; with model= the size that it was trained at",
    )
    trials: int = key(
        12,
        whole(0, TRIALS),
        FIRST,
        "number of candidates, baselines included; 24 with model=, 200 with estimator=supernet; 0 "
        "with model= fine-tunes the parent alone",
    )
    max_flops: float | None = key(
        None,
        limit(real(0)),
        FIRST,
        "FLOPs that a candidate may have for one image at imgsz, 2 x multiply-adds as Ultralytics "
        "counts them, for example 2.5G. Where no max_* is given the limit is the parent's cost, "
        "else the FLOPs of the largest baseline; max_flops=none sets no limit",
        kind="number",
    )
    max_latency: tuple[float, ...] | None = key(
        None,
        limits(real(0)),
        FIRST,
        "milliseconds that a candidate may take for one image at imgsz, known by latency=; with "
        "model= the parent's where no max_* is given; 20,8 for two devices",
        kind="number",
    )
    latency: str | None = key(
        None,
        optional(text),
        FIRST,
        "how latency is known: the file of a device profile (yolo nas-profile), which predicts it "
        "for every network and by which the best are measured; measure (each candidate on this "
        "machine before it is trained); or a command of yours that prints the milliseconds of a "
        "network on any device, 'cmd:./bench {onnx}'. Profiles of several devices are separated by "
        "commas, pi.json,jetson.json (docs/latency.md)",
    )
    finalists: int = key(
        0,
        whole(0, REPEATS),
        FIRST,
        "best networks of the final comparison: trained on all of train with the complete "
        "schedule and compared on val with the parent and the models of baseline=; 0 for none, 1 "
        "with model=. A search that has ended takes finalists=3 on resuming",
    )
    task: str = key(
        "detect",
        text,
        WHAT,
        "what the network does: detect, segment, semantic, classify, obb or pose",
    )
    fix: Mapping[str, str] = key(
        None,
        options,
        WHAT,
        "choices of the space with the one option that is left, for example "
        "head.reg_max:16,head.end2end:false",
    )
    sizes: tuple[int, ...] = key(
        None,
        sizes,
        WHAT,
        "image sizes in pixels that are a choice of the search, for example 96,128,160; imgsz is "
        "the size of the baselines",
    )
    blocks: str | None = key(
        None,
        optional(text),
        WHAT,
        "Python file of your own whose BLOCKS spaces may use too (docs/guides/extend.md)",
    )
    baseline: tuple[str, ...] = key(
        "yolov8n,yolo11n,yolo26n",
        texts,
        WHAT,
        "models to measure first: names or YAMLs, which start from random weights, or .pt files, "
        "which start from their own; none for no baseline, which with model= is the default, as "
        "the parent is one",
    )
    pencils: bool = key(
        True,
        flag,
        WHAT,
        "with model=: measure beside the parent what a hand would try within the same limit, which "
        "is other image sizes, no highest level, and all widths cut evenly",
    )
    strategy: str = key(
        "auto",
        text,
        HOW,
        "where to look next: auto, additive (the best sum of single changes of a parent), bayes, "
        "evolution, nsga2, local, reinforce, darts (differentiable, with estimator=supernet), "
        "random, optuna:<sampler> or <file.py>:<class> of your own",
    )
    population: int = key(
        8, whole(2, TRIALS), HOW, "newest trials that may have children in strategy=evolution"
    )
    objectives: tuple[str, ...] = key(
        "fitness",
        texts,
        HOW,
        "metrics to search for, for example fitness,flops_g; with several the result is a front",
    )
    limits: Mapping[str, float] = key(
        None,
        bounds,
        HOW,
        "bounds that the answer must keep, for example params_m:3 (at most, a cost) or map50:0.3 "
        "(at least, a score)",
    )
    control: str | None = key(
        None,
        optional(text),
        HOW,
        "random: spend the same number of trials on a random baseline too and state the difference",
    )
    pruner: str = key(
        "none",
        text,
        HOW,
        "stops candidates that fall behind while they train: none, median or asha",
    )
    fidelity: str | None = key(
        None,
        optional(text),
        HOW,
        "asha: train in three rungs, a third of the epochs each time, and of three candidates let "
        "one go on; asha:imgsz+images lets these grow too",
    )
    effort: str | None = key(
        None,
        optional(one_of(QUICK, NORMAL, THOROUGH)),
        HOW,
        "quick, normal or thorough: sets trials, epochs, confirm, finalists, final_epochs and "
        "seeds where they are not given (docs/results.md); normal is what a search does anyway. "
        "With budget_hours trials are what fits",
    )
    budget_hours: float | None = key(
        None,
        limit(real(0, HOURS)),
        HOW,
        "no candidate starts after this many hours of trials; without a limit if empty. Where "
        "neither trials nor epochs are given, some steps of a training are timed, and the search "
        "is planned to end within these hours, its final comparison included",
    )
    seed: int = key(
        0,
        whole(0, 2**31 - 1),
        HOW,
        "seed of the proposals, the held-out split and the trainings",
    )
    screen: str | None = key(
        None,
        optional(text),
        HOW,
        "screening: draw that many candidates for each one that a strategy draws from the space, "
        "and keep the best by cheap scores: resolved+madnas:32, madnas*2+deepmad:2000 or "
        "<proxy>:<n>",
    )
    estimator: str = key(
        "short",
        text,
        EVALUATED,
        "how fitness is measured: short (a short training), full (the complete schedule of "
        "Ultralytics), supernet (weights shared by all candidates, trained once), madnas or "
        "deepmad (analytic scores), resolved (operations where the grid is fine enough for the "
        "objects; free), or a proxy of the untrained network: naswot, synflow, snip, grad_norm, "
        "jacov, zen, zico, swap, az_nas; or <file.py>:<class> of your own",
    )
    batch: int = key(
        8,
        batch_size,
        EVALUATED,
        "images per step; 16 with estimator=full. auto or -1: as many as fit into the memory of "
        "the GPU for the largest candidate, found once by Ultralytics; a candidate that does not "
        "fit all the same is tried once more with half of them",
    )
    auto_batch: int | None = key(
        None,
        optional(whole(1, BATCH)),
        EVALUATED,
        "what batch=auto has found; a search writes it down, and a resumed one keeps it",
    )
    fraction: float = key(
        1.0,
        real(0, 1),
        EVALUATED,
        "part of the training images that is searched on, the classes in share; the final "
        "comparison trains on all",
    )
    images: int | None = key(
        None,
        optional(whole(2)),
        EVALUATED,
        "the same as a number of images, for example 12000",
    )
    cache: str = key(
        "auto",
        cached,
        EVALUATED,
        "where decoded images are kept: auto (in memory where they fit into half of it, else in a "
        "file, else nowhere), ram, disk (a file in the run folder) or none; ram:8G and disk:200G "
        "say how much at the most",
    )
    val_fraction: float = key(
        0.25,
        real(0, 0.9),
        EVALUATED,
        "part of the training images held out to measure fitness; val is never used",
    )
    group: str | None = key(
        None,
        optional(text),
        EVALUATED,
        "regular expression that finds in a path which images belong together, such as a patient's "
        "or a video's: they are on one side of a split; guessed from names and content if empty",
    )
    augment: str | None = key(
        None,
        optional(text),
        EVALUATED,
        "augmentation for a kind of pictures: mri, ct, xray, microscopy or natural; that of "
        "Ultralytics if empty",
    )
    fitness: str = key(
        "auto",
        text,
        EVALUATED,
        "what a training is evaluated by: auto (projected where it applies, else host), host "
        "(the fitness of Ultralytics for the task), projected (what the short training of a "
        "detector foretells of a full one), froc (lesions found in scans, task=detect and segment) "
        "or dice (task=segment)",
    )
    confirm: int = key(
        5,
        whole(0, REPEATS),
        EVALUATED,
        "best candidates re-evaluated before the winner is named, at most a quarter of the trials; "
        "0 for none; 2 with model=",
    )
    confirm_by: str | None = key(
        None,
        optional(text),
        EVALUATED,
        "how: again (by the estimator with another seed; both count), or by a training of their "
        "own, and of the baselines, which alone decides: full (the complete schedule of "
        "Ultralytics), short, or tuned (on from the weights in a supernet); if empty tuned with "
        "estimator=supernet, full with model= and again otherwise",
    )
    confirm_epochs: int | None = key(
        None,
        optional(whole(1, EPOCHS)),
        EVALUATED,
        "epochs of such a training; if empty 100 of full, those of the final comparison with "
        "model=, the search's of short, a fifth of the supernet's of tuned, all of them of full "
        "and short after a supernet",
    )
    folds: int = key(
        1,
        whole(1),
        EVALUATED,
        "parts of the training images, whole patients or groups, that are held out in turn where "
        "the best are confirmed by full or short; their mean decides",
    )
    final_epochs: int = key(
        100,
        whole(1, EPOCHS),
        END,
        "epochs of each training in the final comparison; 30 with model=",
    )
    final_batch: int = key(16, whole(1, BATCH), END, "images per step of these trainings")
    seeds: int = key(
        3,
        whole(1, REPEATS),
        END,
        "trainings of each model in the final comparison, with seeds from seed= on; 1 with model=",
    )
    pretrained: str | None = key(
        None, optional(text), WEIGHTS, "the older name of model=: the same key"
    )
    inherit: str | None = key(
        None,
        optional(text),
        WEIGHTS,
        "weights that candidates start from, mapped by role and shape: parent (the nearest trial "
        "before) or a .pt, which is neither a baseline nor a limit, as model= is; those of model= "
        "if empty, else random",
    )
    teacher: str | None = key(
        None,
        optional(text),
        WEIGHTS,
        "what finalists learn from beside the labels: a .pt of a detector, or with model= the word "
        "parent for the fine-tuned parent of the first trial; with finalists or confirm_by=full or "
        "short",
    )
    sampling: str = key(
        "spos",
        text,
        SUPERNET,
        "candidates that a step of the supernet's training trains: spos (one, drawn), fair (every "
        "block type once), sandwich (largest, smallest and two between) or progressive (the same "
        "around the parent of model=, first in image size and levels, then in repeats and widths); "
        "where neither this nor distill is given, estimator=supernet takes sandwich and distill=1 "
        "for detection, and progressive and distill=1 with model=",
    )
    distill: float = key(
        0,
        real(0, 1000, open_low=False),
        SUPERNET,
        "weight of the first candidate's predictions, in sandwich the largest's, as a target of "
        "the step's others; with model= of the fine-tuned parent's, as a target of all",
    )
    cost_weight: float = key(
        0,
        real(0, 1000, open_low=False),
        SUPERNET,
        "weight of the logarithm of the expected FLOPs in the loss that strategy=darts learns from",
    )
    relaxation: str = key(
        "single",
        text,
        SUPERNET,
        "how strategy=darts compares options: single (mAP of drawn networks), gates (gradient of "
        "the loss with another network added) or continuous (of a mixture of all options, for "
        "small spaces)",
    )
    noise: bool = key(
        True,
        flag,
        EVALUATED,
        "train the parent twice first, and say below which difference two candidates are alike; "
        "from 12 trials on",
    )
    timeout: float | None = key(
        None,
        limit(real(0, 3600 * HOURS)),
        EVALUATED,
        "seconds after which a candidate's training is stopped; without a limit if empty",
    )
    device: str | None = key(
        None,
        optional(devices),
        EVALUATED,
        "cpu, mps, the number of a GPU, those of several as in 0,1,2,3, which then share the "
        "candidates, the repeats and the final trainings, or -1 for one with little to do; if "
        "empty the first GPU, or the CPU where there is none",
    )
    ddp: bool = key(
        False,
        flag,
        EVALUATED,
        "with several GPUs in device=: one training at a time takes all of them, by Ultralytics' "
        "distributed training (DDP), which divides batch by their number; else each GPU has a "
        "training of its own. A supernet takes all, with strategy=darts the first",
    )
    threads: int | None = key(
        None,
        optional(whole(1, CORES)),
        EVALUATED,
        "CPU threads of a training; half of the logical cores if empty. Another number may give "
        "other digits",
    )
    max_params: float | None = key(None, limit(real(0)), COST, "parameters", kind="number")
    max_size: float | None = key(
        None,
        limit(real(0)),
        COST,
        "bytes of the ONNX file in the precision of precision=, for example 2M",
        kind="number",
    )
    max_memory: float | None = key(
        None,
        limit(real(0)),
        COST,
        "bytes of activations alive at once for one image, in single precision",
        kind="number",
    )
    max_layers: int | None = key(
        None,
        limit(whole(1)),
        COST,
        "layers of the backbone by DAMO-YOLO's count: the stem's one and two a block repeat",
    )
    runtime: str = key(
        "onnx",
        text,
        MEASURED_BY,
        "what runs the networks that are measured: onnx, torch, openvino, ncnn or litert; a "
        "profile has its own",
    )
    precision: str = key(
        "fp32",
        text,
        MEASURED_BY,
        "precision of the network on the device: fp32, fp16 or int8; a profile of another is "
        "refused. In int8, and in fp16 with runtime=torch, what confirms the best and the finals "
        "measure accuracy, too (docs/latency.md)",
    )
    nms: bool = key(
        False,
        flag,
        MEASURED_BY,
        "True counts what makes boxes final: non-maximum suppression of 150 made-up boxes, or an "
        "end-to-end head's own choice by its one-to-one branch; without, boxes are decoded",
    )
    energy: str | None = key(
        None,
        optional(text),
        MEASURED_BY,
        "what measures the millijoules of an image, of each candidate before it is trained: rapl, "
        "the counters of this machine's processors; or a command of yours that prints joules, "
        "'cmd:./joules {onnx}'. The metric energy_mj is for objectives= and limits=",
    )
    latency_repeats: int = key(
        3,
        whole(1, REPEATS),
        MEASURED_BY,
        "runs of the command of latency= or energy= for a network; all are repeated, up to twice, "
        "where they disagree",
    )
    latency_timeout: float = key(
        300,
        real(0, 3600 * HOURS),
        MEASURED_BY,
        "seconds after which such a run is ended and the network fails",
    )
    jobs: int = key(
        1,
        whole(1, CORES),
        WHERE,
        "candidates at a time, each in a process of its own; the number of GPUs where device= has "
        "several; with executor=ray at most so many, 1 for one",
    )
    executor: str = key(
        "local",
        text,
        WHERE,
        "local: this machine; ray: tasks on a Ray cluster, or on this machine without one",
    )
    ray_address: str | None = key(
        None,
        optional(text),
        WHERE,
        "address of a Ray cluster, auto for the one that this machine belongs to",
    )
    cpus_per_trial: float = key(1, real(0, CORES), WHERE, "cores a Ray task asks for")
    gpus_per_trial: float | None = key(
        None,
        optional(real(0, CORES, open_low=False)),
        WHERE,
        "GPUs a Ray task asks for; a part of one lets several share it; if empty one where the "
        "cluster has any",
    )
    storage: str | None = key(
        None,
        optional(text),
        WHERE,
        "URL of an Optuna storage that several runs add to, for example postgresql://user@host/name",
    )
    project: str = key("runs/nas", text, RUN, "folder of runs")
    name: str = key(
        "search",
        folder_name,
        RUN,
        "name of the run; a taken one gets a number unless it is given on the command line",
    )
    resume: str | None = key(
        None,
        optional(text),
        RUN,
        "folder of a run to go on with; only trials, budget_hours, timeout, device, the final "
        "comparison and where candidates are evaluated, but for storage, may differ from it",
    )
    rerun: str | None = key(
        None,
        optional(text),
        RUN,
        "folder of a run; one trial of it is evaluated once more, and nothing in it changes",
    )
    trial: int | None = key(
        None, optional(whole(0)), RUN, "which trial rerun= evaluates, by its number in trials.csv"
    )
    follow_links: bool = key(
        False, flag, RUN, "resume a folder that has links to elsewhere, and write there, too"
    )
    tracker: tuple[str, ...] = key(
        "auto",
        texts,
        RUN,
        "where a run for the search and one for each trial are shown, live: mlflow, tensorboard, "
        "wandb, clearml or comet, several by commas; auto takes those that are installed and that "
        "`yolo settings` turns on; none",
    )
    verbose: bool = key(True, flag, RUN, "False prints nothing but errors")

    @property
    def images_a_step(self) -> int:
        """The batch: what was given, or what was found to fit."""
        return self.auto_batch or self.batch

    @property
    def halves(self) -> bool:
        """Whether a training that does not fit into memory is tried with half the batch."""
        return self.batch == AUTO_BATCH

    @property
    def parent_key(self) -> str:
        """The key that the parent was given by, for messages."""
        return "pretrained" if self.pretrained and "model" not in self.given else "model"

    @property
    def limited(self) -> bool:
        """Whether something was said of what a candidate may cost, be it that it may cost all."""
        known = (self.values[name] is not None for name in MOST)
        return self.resume is not None or bool({*MOST} & self.given) or any(known)

    @property
    def profiles(self) -> list[tuple[str, str]]:
        """The device profiles that ``latency`` names, with what their columns are called.

        That is the name of the file where there are several, and nothing of a single one.
        """
        if self.latency is None or self.timed:
            return []
        files = [part.strip() for part in self.latency.split(",")]
        return [(column(file) if len(files) > 1 else "", file) for file in files]

    @property
    def latencies(self) -> list[str]:
        """The metrics of latency that each candidate has."""
        names = [name for name, _ in self.profiles] or [""] * self.timed
        return [f"latency_{name}_ms" if name else "latency_ms" for name in names]

    @property
    def commanded(self) -> bool:
        """Whether a command of the user's measures the latency of each candidate."""
        return self.latency is not None and self.latency.lstrip().startswith(COMMAND)

    @property
    def joules(self) -> bool:
        """Whether a command of the user's measures the energy of each candidate."""
        return self.energy is not None and self.energy.lstrip().startswith(COMMAND)

    @property
    def timed(self) -> bool:
        """Whether the latency of each candidate is measured, here or by a command."""
        return self.latency == MEASURE or self.commanded

    @property
    def vectorized(self) -> bool:
        """Whether the search is one over an analytic score alone, which needs no record a trial.

        The compiled form of a space knows the detection head only, and one number to search for.
        """
        return (
            self.estimator in ANALYTIC
            and self.strategy in ("auto", "evolution")
            and self.task == "detect"
            and self.objectives == ("fitness",)
            and not self.limits
            and self.control is None
            and self.model is None
            and self.storage is None
            and self.executor == "local"
            and self.jobs == 1
            and len(self.profiles) < 2
        )


def column(file: str) -> str:
    """Return what the columns of a device are called, by the file of its profile."""
    return re.sub(r"[^a-z0-9]+", "_", Path(file).stem.lower()).strip("_")


KEYS = keys(SearchSettings)
HELP = (SearchSettings,)


def configure(
    given: Mapping[str, Any], host_keys: Mapping[str, Any], refused: Mapping[str, str]
) -> SearchSettings:
    """Return the settings of a search from what the user gave.

    A default depends on the estimator and the strategy in some cases. What cannot go together is
    refused by `rules`, once the settings of a resumed run are whole.

    Args:
        given: Keys and raw values.
        host_keys: Keys of Ultralytics' training with their defaults.
        refused: Keys of Ultralytics that a search sets itself, with the reason.

    Raises:
        NASError: For an unknown key, or a value that is not of its type.
    """
    settings = read(SearchSettings, given, host_keys, refused)

    def usually(**values: Any) -> SearchSettings:
        return replace(settings, **{n: v for n, v in values.items() if n not in given})

    if settings.pretrained and not settings.model:  # its older name
        settings = replace(settings, model=settings.pretrained)
    if settings.model:
        settings = usually(**FROM_WEIGHTS)
        if settings.storage or not settings.trials:
            settings = usually(finalists=0)
    if settings.effort:
        settings = with_effort(settings, settings.effort)
    if settings.estimator == "full":
        settings = usually(**FULL)
    if settings.strategy == "darts":
        settings = usually(estimator="supernet")
    if settings.estimator == "supernet" and settings.model:
        costs = settings.latencies or ["flops_g"]
        settings = usually(**FAMILY, objectives=("fitness", *costs))
    elif settings.estimator == "supernet":
        plain = settings.strategy != "darts" and settings.task == "detect"
        settings = usually(**SHARED, **(SEVERAL if plain and not {*SEVERAL} & {*given} else {}))
    if settings.estimator in PROXIES:
        settings = usually(**ONE_BATCH)
    if not settings.vectorized and settings.executor == "local":
        gpus = len((settings.device or "").split(","))
        settings = usually(jobs=1 if settings.ddp else gpus)
    if settings.vectorized:  # for which a candidate costs nothing
        settings = replace(usually(**INNER), strategy="evolution")
    return settings


def with_effort(settings: SearchSettings, effort: str) -> SearchSettings:
    """Return settings with what an effort sets, but for keys that were given.

    Args:
        settings: Those of a search that trains for a few epochs.
        effort: A key of `EFFORTS`.
    """
    values = EFFORTS[effort][settings.model is not None]
    kept = {"finalists"} if settings.storage or not settings.trials else set()
    left = {n: v for n, v in values.items() if n not in settings.given | kept}
    return replace(settings, effort=effort, **left)
