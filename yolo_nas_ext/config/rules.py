"""Rules between keys: what cannot go together, checked before any file is opened.

A rule needs nothing but the settings. A check that needs the data, the space or this machine stands
where these are known; what a class refuses from Python, too, stands in that class. Longer than
other modules because it is one table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from yolo_nas_ext.config.compare import CompareSettings, TrainedSettings
from yolo_nas_ext.config.data import CocoSettings, ConvertSettings, DemoSettings
from yolo_nas_ext.config.extract import FRONT, LIMITED, ExtractSettings
from yolo_nas_ext.config.fields import AUTO_BATCH
from yolo_nas_ext.config.names import (
    AUGMENTATIONS,
    CONFIRM_AGAIN,
    CONFIRM_FULL,
    CONFIRM_TUNED,
    ENERGY,
    ESTIMATORS,
    EXECUTORS,
    FREE,
    GROWS,
    MEASURED,
    PRECISIONS,
    PRUNERS,
    QUANTISED,
    RAPL,
    RELAXATIONS,
    RETAINED,
    SAMPLINGS,
    STRATEGIES,
    TASKS,
    TRACKERS,
    WAYS,
)
from yolo_nas_ext.config.predict import PredictSettings
from yolo_nas_ext.config.profile import BUNDLED, ProfileSettings
from yolo_nas_ext.config.scale import ScaleSettings
from yolo_nas_ext.config.score import ScoreSettings
from yolo_nas_ext.config.search import (
    COMMAND,
    PARENT,
    TRAININGS,
    UNTRAINED,
    SearchSettings,
)
from yolo_nas_ext.config.settings import Settings, shown
from yolo_nas_ext.errors import NASError, did_you_mean

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Rule(Generic[S]):
    """What cannot be, and how it is said.

    Attributes:
        key: The key that is wrong.
        when: Says whether settings break the rule.
        reason: Why it cannot be.
        way_out: What to do.
        example: Keys and values that break it and no other rule.
        allowed: The names that the key takes, where the rule is about these.
    """

    key: str | Callable[[S], str]
    when: Callable[[S], object]
    reason: str | Callable[[S], str]
    way_out: str | Callable[[S], str]
    example: str
    allowed: tuple[str, ...] = ()

    def message(self, settings: S) -> str:
        """Return the line that a user gets."""
        key, reason, way_out = (
            part if isinstance(part, str) else part(settings)
            for part in (self.key, self.reason, self.way_out)
        )
        value = settings.values[key]
        said = "" if value is None or value in ("", ()) else f"={shown(value)}"
        joint = " " if reason.endswith((".", "?")) else "; "
        return f"{key}{said}: {reason}{joint}{way_out}"


def check(settings: Settings) -> None:
    """Refuse settings that break a rule.

    Raises:
        NASError: With the first rule's line.
    """
    for rule in RULES[type(settings)]:
        if rule.when(settings):
            raise NASError(rule.message(settings))


def sampler(value: str) -> bool:
    """Say whether a strategy is a sampler of Optuna's, or in a file of the user's."""
    return value.startswith("optuna:") or own(value)


def own(value: str) -> bool:
    """Say whether a value names something in a file of the user's, as ``greedy.py:Greedy`` does."""
    return re.fullmatch(r".+\.py:\w+", value) is not None


def way(s: SearchSettings) -> str:
    """Return how the best are re-evaluated: ``confirm_by``, or what is usual.

    What starts from a parent is close to it, so that a few epochs order it badly: the best are
    trained as long as the finals.
    """
    if s.confirm_by:
        return s.confirm_by
    if s.estimator == "supernet":
        return CONFIRM_TUNED
    return CONFIRM_FULL if s.model and s.estimator in TRAININGS else CONFIRM_AGAIN


def _unknown(
    key: str,
    allowed: tuple[str, ...],
    example: str,
    *,
    noun: str = "",
    more: str = "",
    also: Callable[[str], bool] = lambda value: False,
    where: Callable[[Any], Any] = lambda s: True,
) -> Rule[Any]:
    """Return the rule that a value is one of some names, where the key has a say."""

    def wrong(s: Any) -> bool:
        value = getattr(s, key)
        return value is not None and where(s) and not (value in allowed or also(value))

    return Rule(
        key,
        wrong,
        lambda s: f"no such {noun or key}.{did_you_mean(getattr(s, key), allowed)}",
        f"Allowed: {', '.join(allowed)}{more}",
        example,
        allowed,
    )


def _required(key: str, as_in: str, example: str = "", **more: Any) -> Rule[Any]:
    """Return the rule that a key has to be given."""
    where = more.get("where", lambda s: True)
    return Rule(
        key,
        lambda s: where(s) and not getattr(s, key),
        "is required",
        f"as in {as_in}",
        example,
    )


def _model(s: SearchSettings) -> str:
    """Return the name that the parent was given by."""
    return s.parent_key


def _trains(s: SearchSettings) -> bool:
    return s.estimator in TRAININGS


def _measurable(s: SearchSettings) -> list[str]:
    """Return the metrics that a trial of the search will have, besides losses."""
    others = []
    if s.precision in PRECISIONS[1:] and s.task in QUANTISED and s.estimator in TRAININGS:
        if s.precision == "int8" or s.runtime == "torch":
            others = [f"{s.precision}_{name}" for name in ("fitness", *MEASURED, RETAINED)]
    others += [ENERGY] * (s.energy is not None)
    return [*FREE, *s.latencies, *others, *(() if s.estimator in UNTRAINED else MEASURED)]


def _unmeasured(s: SearchSettings, key: str) -> str:
    """Return the first name of a key that no trial would ever have, if there is one."""
    if own(s.estimator):  # which measures what it likes
        return ""
    losses = s.estimator not in UNTRAINED
    for name in getattr(s, key):
        if name not in _measurable(s) and not (losses and re.fullmatch(r"(val_)?loss_\w+", name)):
            return name
    return ""


def _lacks(s: SearchSettings, key: str) -> str:
    """Return what a search lacks for a metric that a key names: a latency, a precision, or it."""
    name = _unmeasured(s, key)
    if name == "latency_ms" and not s.latency:
        return "latency"
    if name == ENERGY:
        return "energy"
    if name.startswith(("int8_", "fp16_")) and s.precision == "fp32":
        return "precision"
    return "metric" if name else ""


def _other_accuracy(s: SearchSettings) -> bool:
    """Say whether the accuracy in the precision of the device is measured of anything."""
    trains = s.estimator not in UNTRAINED or s.finalists > 0
    able = s.precision == "int8" or (s.precision == "fp16" and s.runtime == "torch")
    return able and trains and s.task in QUANTISED


def _metrics(key: str, value: Callable[[str], str]) -> list[Rule[SearchSettings]]:
    """Return the rules on the metrics that a key names."""

    def reason(s: SearchSettings) -> str:
        name = _unmeasured(s, key)
        return f"nothing measures {name}.{did_you_mean(name, _measurable(s))}"

    return [
        Rule(
            key,
            lambda s: _lacks(s, key) == "latency",
            "nothing measures latency_ms",
            "give latency= a device profile (yolo nas-profile), or latency=measure",
            f"{key}={value('latency_ms')}",
        ),
        Rule(
            key,
            lambda s: _lacks(s, key) == "energy",
            f"nothing measures {ENERGY}",
            "give energy=rapl, or a command that prints joules, 'energy=cmd:./joules {onnx}'",
            f"{key}={value(ENERGY)}",
        ),
        Rule(
            key,
            lambda s: _lacks(s, key) == "precision",
            lambda s: f"nothing measures {_unmeasured(s, key)}, as precision is fp32",
            "give precision=int8 with it, or precision=fp16 runtime=torch",
            f"{key}={value('int8_map50_95')}",
        ),
        Rule(
            key,
            lambda s: _lacks(s, key) == "metric",
            reason,
            lambda s: f"Allowed: {', '.join(_measurable(s))}",
            f"{key}={value('mapp50')}",
        ),
    ]


def _timed(key: str, example: str, given: bool) -> Rule[Any]:
    """Return the rule that a key of the latency needs to be told how it is known."""
    return Rule(
        key,
        lambda s: (
            s.latency is None and getattr(s, key) is not None and (not given or key in s.given)
        ),
        "nothing measures latency",
        "give latency= a device profile (yolo nas-profile), or latency=measure",
        example,
    )


def _energy(example: str) -> Rule[Any]:
    """Return the rule that energy is counted, or measured by a command."""
    return _unknown(
        "energy",
        (RAPL,),
        example,
        more=", or a command that prints joules, 'energy=cmd:./joules {onnx}'",
        also=lambda value: value.lstrip().startswith(COMMAND),
    )


def _wrong_tracker(s: SearchSettings) -> str:
    """Return the first tracker that is not known, if there is one."""
    return next((name for name in s.tracker if name not in ("auto", *TRACKERS)), "")


BOXLESS = ("classify", "semantic")
# Names of devices whose columns would mean something else, see `pipeline.latency`.
TAKEN = re.compile(r"(.+_)?(measured|iqr)|on_.*")


def _twice(s: SearchSettings) -> str:
    """Return the name that two devices have, or that one has not; nothing where all differ."""
    names = [name for name, _ in s.profiles]
    if len(names) < 2:
        return ""
    return next((name or "nothing" for name in names if not name or names.count(name) > 1), "")


def _wrong_fidelity(s: SearchSettings) -> str | None:
    """Return the part of the key fidelity that is not known, if there is one."""
    name, _, parts = (s.fidelity or "asha").partition(":")
    grows = [part.strip() for part in parts.split("+") if part.strip()]
    return next((g for g in grows if g not in GROWS), None) if name == "asha" else name


def _together(begin: str = "") -> tuple[Rule[Any], Rule[Any]]:
    """Return the rules of one training on all GPUs; `begin` are keys that a command asks for."""
    return (
        Rule(
            "ddp",
            lambda s: s.ddp and "," not in (s.device or ""),
            "one training takes all GPUs, and device= names no two",
            "give device=0,1",
            f"{begin}ddp=True",
        ),
        Rule(
            "ddp",
            lambda s: s.ddp and "," in (s.device or "") and ((s.jobs or 1) > 1 or _cluster(s)),
            "one training at a time takes all GPUs of this machine",
            "leave out jobs and executor, or ddp",
            f"{begin}ddp=True device=0,1 jobs=2",
        ),
    )


def _cluster(s: Any) -> bool:
    return getattr(s, "executor", "local") != "local"


_EITHER = " or ".join(TRAININGS)
SEARCH: tuple[Rule[SearchSettings], ...] = (
    _unknown("task", TASKS, "task=detekt"),
    _unknown(
        "strategy",
        STRATEGIES,
        "strategy=evoluton",
        more=", optuna:<sampler>, <file.py>:<class>",
        also=sampler,
    ),
    _unknown(
        "control",
        STRATEGIES,
        "control=randon",
        noun="strategy",
        more=", optuna:<sampler>, <file.py>:<class>",
        also=sampler,
    ),
    _unknown("estimator", ESTIMATORS, "estimator=shrt", more=", <file.py>:<class>", also=own),
    _unknown("executor", EXECUTORS, "executor=rey"),
    _unknown("pruner", PRUNERS, "pruner=medain"),
    _unknown("confirm_by", WAYS, "confirm_by=tunned", noun="training"),
    Rule(
        "images",
        lambda s: s.images is not None and "fraction" in s.given,
        "fraction says the same",
        "leave one of them out",
        "images=100 fraction=0.1",
    ),
    Rule(
        "batch",
        lambda s: s.batch == AUTO_BATCH and not _trains(s),
        lambda s: (
            f"it is found for the training of one network, which estimator={s.estimator} has not"
        ),
        f"give a number, or estimator={_EITHER}",
        "batch=-1 estimator=naswot",
    ),
    Rule(
        "batch",
        lambda s: s.batch == AUTO_BATCH and s.executor != "local",
        "it is found on this machine, and tasks of a cluster run on others",
        "give a number",
        "batch=-1 executor=ray",
    ),
    Rule(
        "batch",
        lambda s: s.batch == AUTO_BATCH and s.storage,
        "each process of storage= would find its own",
        "give a number",
        "batch=-1 storage=sqlite:///a.db",
    ),
    Rule(
        "auto_batch",
        lambda s: s.auto_batch and s.batch != AUTO_BATCH,
        "says what batch=auto has found",
        "give batch=auto with it, or leave it out",
        "auto_batch=8",
    ),
    *_together(),
    _unknown("augment", AUGMENTATIONS, "augment=mrt", noun="preset"),
    _unknown(
        "sampling",
        SAMPLINGS,
        "estimator=supernet sampling=spas",
        noun="rule",
        where=lambda s: s.estimator == "supernet",
    ),
    _unknown(
        "relaxation",
        RELAXATIONS,
        "strategy=darts relaxation=sngle",
        where=lambda s: s.estimator == "supernet",
    ),
    Rule(
        "fidelity",
        lambda s: _wrong_fidelity(s) is not None,
        lambda s: (
            f"no such fidelity '{_wrong_fidelity(s)}'."
            f"{did_you_mean(_wrong_fidelity(s), ('asha', *GROWS))}"
        ),
        f"Allowed: asha, or asha: and what else than epochs grows, {' + '.join(GROWS[1:])}",
        "fidelity=asha:imgs",
    ),
    Rule(
        "estimator",
        lambda s: s.strategy == "darts" and s.estimator != "supernet",
        "strategy=darts learns in a supernet",
        "leave estimator out or give estimator=supernet, or take another strategy",
        "strategy=darts estimator=short",
    ),
    Rule(
        "relaxation",
        lambda s: (
            s.estimator == "supernet" and s.strategy != "darts" and s.relaxation in RELAXATIONS[1:]
        ),
        "is of strategy=darts",
        "leave it out",
        "estimator=supernet relaxation=gates",
    ),
    Rule(
        "fidelity",
        lambda s: s.fidelity and not _trains(s),
        lambda s: f"estimator={s.estimator} does not train",
        f"leave it out or give estimator={_EITHER}",
        "fidelity=asha estimator=naswot",
    ),
    Rule(
        "pruner",
        lambda s: s.fidelity and s.pruner in PRUNERS[1:],
        lambda s: f"fidelity={s.fidelity} decides who goes on",
        "leave out one",
        "fidelity=asha pruner=median",
    ),
    Rule(
        "pretrained",
        lambda s: s.pretrained and s.pretrained != s.model,
        lambda s: f"is the older name of model=, and model={s.model} names another parent",
        "leave out one",
        "model=a.pt pretrained=b.pt",
    ),
    Rule(
        _model,
        lambda s: s.model and not s.model.endswith(".pt"),
        "is no checkpoint, and a search starts from trained weights",
        "give a .pt, for example yolo11n.pt. A model definition is for baseline=, what is measured "
        "first, and space= says what is searched",
        "model=yolo11n.yaml",
    ),
    Rule(
        _model,
        lambda s: s.model and s.inherit not in (None, PARENT),
        lambda s: f"candidates start from one checkpoint, and inherit={s.inherit} names another",
        "leave out one",
        "model=a.pt inherit=b.pt",
    ),
    *(
        Rule(
            key,
            lambda s, given=given, kinds=kinds: (
                getattr(s, given) and s.estimator not in kinds and not own(s.estimator)
            ),  # what is in a file of the user's says it itself
            lambda s: f"estimator={s.estimator} does not start from weights",
            f"leave it out or give estimator={' or '.join(kinds)}",
            f"{given}=a.pt estimator=naswot",
        )
        for key, given, kinds in (
            (_model, "model", (*TRAININGS, "supernet")),
            ("inherit", "inherit", TRAININGS),
        )
    ),
    Rule(
        "strategy",
        lambda s: s.strategy == "darts" and s.model,
        "darts learns in a supernet from random weights, not in the family of model=",
        "leave one of them out",
        "strategy=darts model=a.pt",
    ),
    Rule(
        "space",
        lambda s: s.model and s.estimator == "supernet" and s.space != PARENT,
        "the family of model= is in space=parent",
        f"leave space out, or give estimator={_EITHER}",
        "model=a.pt estimator=supernet space=tiny",
    ),
    Rule(
        "sampling",
        lambda s: s.sampling == "progressive" and s.estimator == "supernet" and not s.model,
        "the parent is the largest network of its steps, and there is none",
        "give model=yolo11n.pt with it, or another sampling",
        "sampling=progressive estimator=supernet",
    ),
    Rule(
        "teacher",
        lambda s: s.teacher and s.model and s.estimator == "supernet",
        "the fine-tuned parent teaches its family",
        "leave it out; distill=0 is without a teacher",
        "teacher=parent model=a.pt estimator=supernet",
    ),
    *(
        Rule(
            key,
            lambda s, given=given: s.task == "semantic" and getattr(s, given),
            "weights are not taken over into the head of task=semantic",
            "leave it out",
            f"{given}=a.pt task=semantic",
        )
        for key, given in (("inherit", "inherit"), (_model, "model"))
    ),
    *(
        Rule(
            key,
            lambda s, key=key: getattr(s, key) == PARENT and not s.model,
            "the parent is the checkpoint of model=, and there is none",
            f"give model=yolo11n.pt, or another {key}",
            f"{key}=parent finalists=1",
        )
        for key in ("space", "teacher")
    ),
    Rule(
        "rerun",
        lambda s: s.rerun and s.trial is None,
        "one trial is evaluated once more",
        "name it by its number in trials.csv, as in trial=3",
        "rerun=runs/nas/search",
    ),
    Rule(
        "trial",
        lambda s: s.trial is not None and not s.rerun,
        "is of a run",
        "give its folder, as in rerun=runs/nas/search",
        "trial=3",
    ),
    Rule(
        "rerun",
        lambda s: s.rerun and s.resume,
        "changes nothing in a run, and resume= goes on with one",
        "leave out one",
        "rerun=runs/nas/a trial=3 resume=runs/nas/a",
    ),
    Rule(
        "trials",
        lambda s: not s.trials and not s.model,
        "tries nothing",
        "give 1 or more, or model=yolo11n.pt, which is then fine-tuned alone",
        "trials=0",
    ),
    Rule(
        "inherit",
        lambda s: s.inherit == PARENT and (s.executor != "local" or s.jobs > 1 or s.storage),
        "parents are looked up in this process",
        "leave out jobs, executor and storage, or inherit",
        "inherit=parent jobs=2",
    ),
    Rule(
        "control",
        lambda s: s.control and s.storage,
        "not with storage, as one budget is compared with another",
        "leave out one",
        "control=random storage=sqlite:///a.db",
    ),
    Rule(
        "finalists",
        lambda s: s.finalists and s.storage,
        "not with storage, whose processes each end by themselves",
        "leave it out and run yolo nas-compare on pareto/*.yaml at the end",
        "finalists=3 storage=sqlite:///a.db",
    ),
    Rule(
        "teacher",
        lambda s: s.teacher and not s.finalists and way(s) == CONFIRM_AGAIN,
        "only finalists learn from one",
        f"give finalists=3 or confirm_by={CONFIRM_FULL} with it",
        "teacher=yolo11n.pt",
    ),
    Rule(
        "confirm_by",
        lambda s: way(s) == CONFIRM_TUNED and s.estimator != "supernet",
        lambda s: f"goes on from the weights of estimator=supernet, not of {s.estimator}",
        f"give {CONFIRM_AGAIN}, short or {CONFIRM_FULL}",
        "confirm_by=tuned",
    ),
    Rule(
        "confirm_by",
        lambda s: way(s) == CONFIRM_AGAIN and s.estimator == "supernet",
        "the same shared weights would say the same",
        f"give {CONFIRM_TUNED}, short or {CONFIRM_FULL}",
        "confirm_by=again estimator=supernet",
    ),
    Rule(
        "confirm_epochs",
        lambda s: s.confirm_epochs and way(s) == CONFIRM_AGAIN and s.estimator != "supernet",
        "is of a training of another kind",
        f"give confirm_by={CONFIRM_FULL} or short with it",
        "confirm_epochs=3",
    ),
    Rule(
        "tracker",
        lambda s: _wrong_tracker(s),
        lambda s: (
            f"no such tracker '{_wrong_tracker(s)}'."
            f"{did_you_mean(_wrong_tracker(s), ('auto', *TRACKERS))}"
        ),
        f"Allowed: auto, none, {', '.join(TRACKERS)}",
        "tracker=mlflo",
        ("auto", "none", *TRACKERS),
    ),
    Rule(
        "effort",
        lambda s: s.effort and s.estimator != "short",
        lambda s: f"estimator={s.estimator} has its own numbers of trials and epochs",
        "leave it out or give estimator=short",
        "effort=quick estimator=full",
    ),
    Rule(
        "folds",
        lambda s: s.folds > 1 and (way(s) == CONFIRM_AGAIN or not s.confirm),
        "only trainings that confirm the best are held out in turn",
        f"give confirm=2 confirm_by={CONFIRM_FULL} or short with it",
        "folds=3",
    ),
    Rule(
        "folds",
        lambda s: s.folds > 1 and way(s) == CONFIRM_TUNED,
        "shared weights have seen what would be held out",
        f"leave it out, or give confirm_by={CONFIRM_FULL}",
        "folds=3 estimator=supernet",
    ),
    *_metrics("objectives", lambda name: f"fitness,{name}"),
    *_metrics("limits", lambda name: f"{name}:5"),
    _timed("max_latency", "max_latency=5", given=False),
    Rule(
        "latency",
        lambda s: bool(_twice(s)),
        lambda s: f"the columns of two devices would both be called '{_twice(s)}'",
        "rename the file of one, as columns are called by them",
        "latency=a/pi.json,b/pi.json",
    ),
    Rule(
        "latency",
        lambda s: any(TAKEN.fullmatch(name) for name, _ in s.profiles),
        "the columns of a device cannot be called measured, iqr or on_, which mean something else",
        "rename the file of its profile",
        "latency=pi.json,measured.json",
    ),
    Rule(
        "max_latency",
        lambda s: s.max_latency and len(s.max_latency) != max(1, len(s.profiles)),
        lambda s: f"latency= names {len(s.profiles) or 'one'} device{'s' * (len(s.profiles) > 1)}",
        "give one limit for each, in the same order",
        "max_latency=8,20 latency=pi.json",
    ),
    Rule(
        "runtime",
        lambda s: len(s.profiles) > 1 and "runtime" in s.given,
        "each profile has its own",
        "leave it out",
        "runtime=onnx latency=pi.json,jetson.json",
    ),
    Rule(
        "runtime",
        lambda s: (
            s.latency is None
            and s.energy != RAPL
            and "runtime" in s.given
            and not (s.precision == "fp16" and _other_accuracy(s))
        ),
        "nothing measures latency",
        "give latency= a device profile (yolo nas-profile), or latency=measure",
        "runtime=torch",
    ),
    _unknown("precision", PRECISIONS, "precision=int4"),
    Rule(
        "precision",
        lambda s: (
            s.latency is None
            and s.energy != RAPL
            and "precision" in s.given
            and s.precision in PRECISIONS
            and s.max_size is None
            and not _other_accuracy(s)
        ),
        "nothing measures latency, nor accuracy in it",
        "give latency= a device profile (yolo nas-profile), latency=measure, max_size=2M, or "
        "precision=int8 with a training",
        "precision=fp16",
    ),
    Rule(
        "latency",
        lambda s: s.timed and s.vectorized,
        lambda s: f"estimator={s.estimator} looks at more networks than can be measured",
        "give a device profile (yolo nas-profile)",
        "latency=measure estimator=madnas",
    ),
    Rule(
        "latency",
        lambda s: s.timed and (s.jobs > 1 or s.executor != "local"),
        lambda s: (
            "a device measures one network at a time"
            if s.commanded
            else "candidates that train beside it would slow it down"
        ),
        "leave out jobs and executor, or give a device profile (yolo nas-profile)",
        "latency=measure jobs=2",
    ),
    *(
        Rule(
            name,
            lambda s, name=name: s.commanded and name in s.given and s.values[name] != "int8",
            "the command of latency= decides what runs a network, and how",
            "leave it out",
            f"{name}={value} latency=cmd:bench{{onnx}}",
        )
        for name, value in (("runtime", "torch"), ("precision", "fp16"))
    ),
    *(
        Rule(
            name,
            lambda s, name=name: name in s.given and not (s.commanded or s.joules),
            "is of a command, and latency= names none",
            "give 'latency=cmd:./bench {onnx}', or leave it out",
            f"{name}=5",
        )
        for name in ("latency_repeats", "latency_timeout")
    ),
    _energy("energy=battery"),
    *(
        Rule(
            "nms",
            lambda s, when=when: s.nms and when(s),
            reason,
            way_out,
            example,
        )
        for when, reason, way_out, example in (
            (
                lambda s: s.latency is None,
                "nothing measures latency",
                "give latency= a device profile (yolo nas-profile), or latency=measure",
                "nms=True",
            ),
            (
                lambda s: s.latency is not None and s.commanded,
                "the command of latency= decides what is in the number",
                "leave nms out",
                "nms=True latency=cmd:bench{onnx}",
            ),
            (
                lambda s: s.latency is not None and s.task in BOXLESS,
                "the task has no boxes that could be suppressed",
                "leave nms out",
                "nms=True latency=measure task=classify",
            ),
            (
                lambda s: s.profiles and s.task == "obb",
                "a profile does not know the time of suppressing rotated boxes",
                "give latency=measure",
                "nms=True latency=pi.json task=obb",
            ),
            (
                lambda s: s.latency is not None and not s.timed and s.vectorized,
                "estimator=madnas and its like predict networks to decoded boxes",
                "leave nms out, or give another estimator",
                "nms=True latency=pi.json estimator=madnas",
            ),
        )
    ),
    Rule(
        "energy",
        lambda s: s.energy is not None and s.vectorized,
        lambda s: f"estimator={s.estimator} looks at more networks than can be measured",
        "leave energy out, or give another estimator",
        "energy=rapl estimator=madnas",
    ),
    Rule(
        "energy",
        lambda s: s.energy is not None and (s.jobs > 1 or s.executor != "local"),
        "what trains beside a network would be in its energy",
        "leave out jobs and executor, or energy",
        "energy=rapl jobs=2",
    ),
    Rule(
        "screen",
        lambda s: s.screen and s.vectorized,
        lambda s: f"estimator={s.estimator} is searched as a whole",
        "leave screen out, or give another estimator or strategy",
        "screen=madnas:20 estimator=deepmad",
    ),
)

COMPARE: tuple[Rule[CompareSettings], ...] = (
    _required("data", "data=cells.yaml", "models=a.yaml", where=lambda s: not s.resume),
    Rule(
        "nms",
        lambda s: s.nms and (s.runtime is None or s.task in BOXLESS),
        lambda s: (
            "nothing measures latency"
            if s.runtime is None
            else "the task has no boxes that could be suppressed"
        ),
        "leave nms out",
        "data=a.yaml models=a.yaml nms=True task=classify",
    ),
    *_together("models=a.yaml data=b.yaml "),
)

TRAINED: tuple[Rule[TrainedSettings], ...] = (
    _required("models", "models=runs/nas/search/best.pt", "data=a.yaml"),
    Rule(
        "data",
        lambda s: bool(s.data) == bool(s.coco),
        "give either data=<data set>, or coco=<instances.json>",
        "with a JSON images=<folder>, where its pictures are",
        "models=a.pt data=a.yaml coco=b.json images=c",
    ),
)

IMPORTED = {"import", "out", "seed", "force", "from"}  # keys of what a bundle brought back

PROFILE: tuple[Rule[ProfileSettings], ...] = (
    Rule(
        lambda s: min(s.given - IMPORTED),
        lambda s: s.import_ and s.given - IMPORTED,
        "not with import=, as the bundle has settled it",
        "leave it out",
        "import=result.json threads=2",
    ),
    Rule(
        "runtime",
        lambda s: (
            s.bundle
            and not s.import_
            and s.runtime != "onnx"
            and not (s.from_ and s.runtime in BUNDLED)
        ),
        "a bundle is timed by ONNX Runtime, and one of from= by NCNN or LiteRT, too",
        lambda s: (
            "give from= the profile of another device"
            if s.runtime in BUNDLED
            else "leave runtime out"
        ),
        "bundle=probe.zip runtime=torch",
    ),
    Rule(
        "bundle",
        lambda s: s.bundle and not s.import_ and Path(s.bundle).suffix != ".zip",
        "is no zip",
        "give the name of a zip, for example probe.zip",
        "bundle=probe",
    ),
)


def _secret(example: str, key: str = "linkage") -> Rule[Any]:
    """Return the rule that what tells who the patients are lies apart from what others see."""
    return Rule(
        key,
        lambda s: (
            s.out
            and getattr(s, key)
            and Path(getattr(s, key)).resolve().is_relative_to(Path(s.out).resolve())
        ),
        lambda s: f"is inside out={s.out}, which others may see",
        "put it elsewhere",
        example,
    )


CONVERT: tuple[Rule[ConvertSettings], ...] = (
    _required("source", "yolo nas-data source=scans out=my_data task=segment", "out=a"),
    _secret("source=a out=b linkage=b/c.csv"),
    _secret("source=a out=b datalist=b/c.json", "datalist"),
    Rule(
        "datalist",
        lambda s: s.datalist and not s.out,
        "is of a conversion, and without out= nothing is written",
        "give out",
        "source=a datalist=c.json",
    ),
)

_PREDICT = "yolo nas-predict model=best.pt source=scans out=found"
PREDICT: tuple[Rule[PredictSettings], ...] = (
    _required("model", _PREDICT, "source=a out=b"),
    _required("source", _PREDICT, "model=a.pt out=b", where=lambda s: not s.bundle),
    _required("out", _PREDICT, "model=a.pt source=a", where=lambda s: not s.bundle),
    Rule(
        "bundle",
        lambda s: s.bundle and (s.source or s.out),
        "is in place of a prediction",
        "leave source and out away; monai.bundle run takes dataset_dir and output_dir",
        "model=a.pt source=a out=b bundle=c",
    ),
    _secret("model=a.pt source=a out=b linkage=b/c.csv"),
)

_COCO = "yolo nas-data source=instances.json images=train2017 out=my_data"
COCO: tuple[Rule[CocoSettings], ...] = (
    _required("source", _COCO, "images=a out=b"),
    _required("images", _COCO, "source=a.json images=None out=b"),
    _required("out", _COCO, "source=a.json images=b"),
)

DEMO: tuple[Rule[DemoSettings], ...] = (
    _required("demo", "yolo nas-data demo=lesions out=demo", "demo=None out=a"),
    _required("out", "yolo nas-data demo=lesions out=demo", "demo=lesions"),
)

EXTRACT: tuple[Rule[Any], ...] = (
    _required("run", "run=runs/nas/search, of estimator=supernet", "key=front"),
    Rule(
        "key",
        lambda s: s.key_ != FRONT and any(getattr(s, name) for name in LIMITED),
        "names networks, and a limit takes the best one within it",
        "leave out one of them",
        "run=runs/nas/search key=784d211472 max_flops=2G",
    ),
)
RULES: Mapping[type[Settings], tuple[Rule[Any], ...]] = {
    SearchSettings: SEARCH,
    CompareSettings: COMPARE,
    TrainedSettings: TRAINED,
    ProfileSettings: PROFILE,
    ScoreSettings: (
        _required("model", "model=yolo11n, a YAML or a structure", "imgsz=640"),
        _energy("model=yolo11n energy=battery"),
        Rule(
            "nms",
            lambda s: s.nms and not s.measure and s.latency is None,
            "nothing measures latency",
            "give measure=True, or latency= a device profile",
            "model=yolo11n nms=True",
        ),
    ),
    ScaleSettings: (_required("model", "model=yolo11n, or a YAML", "flops=2x"),),
    ExtractSettings: EXTRACT,
    PredictSettings: PREDICT,
    ConvertSettings: CONVERT,
    CocoSettings: COCO,
    DemoSettings: DEMO,
}
