"""The whole job of `yolo nas-search` in steps: from keys to a run folder with a model in it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from yolo_nas_ext import loop, report, run_dir
from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.compare.models import search_seconds
from yolo_nas_ext.config.fields import most_of
from yolo_nas_ext.config.search import HELD_OUT, PARENT, TRAININGS, SearchSettings
from yolo_nas_ext.console import finishing, say, silence
from yolo_nas_ext.data import augment
from yolo_nas_ext.data.sizes import tiny
from yolo_nas_ext.errors import RunError
from yolo_nas_ext.estimators.base import Context, hand_over
from yolo_nas_ext.estimators.factory import precision_of
from yolo_nas_ext.estimators.training import Training
from yolo_nas_ext.files import write_text
from yolo_nas_ext.host import dataset
from yolo_nas_ext.host.training import image_cache
from yolo_nas_ext.host.transfer.weights import foretell
from yolo_nas_ext.pipeline import (
    auto_batch,
    confirm,
    family,
    final_comparison,
    latency,
    noise,
    outputs,
    warm_start,
)
from yolo_nas_ext.pipeline import plan as plans
from yolo_nas_ext.pipeline.confirmation import Confirmation
from yolo_nas_ext.pipeline.evaluation import Again, evaluation, executor, here
from yolo_nas_ext.pipeline.live_report import LiveReport
from yolo_nas_ext.pipeline.parent import candidates
from yolo_nas_ext.pipeline.plan import Plan
from yolo_nas_ext.pipeline.progress import Progress
from yolo_nas_ext.pipeline.random_baseline import difference
from yolo_nas_ext.pipeline.reevaluate import reevaluate
from yolo_nas_ext.pipeline.state import Job, Observer
from yolo_nas_ext.pipeline.tracking import Tracking
from yolo_nas_ext.pipeline.tracking import chosen as tracking_by
from yolo_nas_ext.report.darts_plot import collapse, learned_png
from yolo_nas_ext.space.detector import DetectorSpace
from yolo_nas_ext.strategies import Strategy
from yolo_nas_ext.strategies.auto import Auto
from yolo_nas_ext.study.database import check_url
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial
from yolo_nas_ext.vectorized import run as vectorized

Steps = tuple[tuple[str, Callable[[Job], None]], ...]
NO_PASSWORD = (
    "the password of storage= is not recorded: on resuming it comes from the server's own ways, "
    "such as PGPASSWORD or ~/.pgpass, or from storage= given again"
)
FINAL = ("finalists", "final_epochs", "final_batch", "seeds")


def search(given: Mapping[str, Any], observers: Sequence[Observer] = ()) -> Job:
    """Run, or resume, a search and write its results; the steps are listed below.

    Args:
        given: Keys and raw values, as on the command line.
        observers: Who is told what happens, beside the report, which is written meanwhile.

    Returns:
        The finished or interrupted job.

    Raises:
        NASError: For bad input; nothing is written then.
    """
    config, folder = run_dir.settings(given)
    with silence(not config.verbose):
        return _search(config, folder, {*given}, observers)


def _search(
    config: SearchSettings,
    folder: Path | None,
    given: Collection[str],
    observers: Sequence[Observer],
) -> Job:
    """Run, or resume, a search of these settings."""
    plan = plans.make(config)
    config = plan.config  # what a parent says of it, and its limit, are recorded, too
    bench = plan.timing.bench if plan.timing else None
    finals = final_comparison.prepare(config, plan.whole, plan.parent, bench)
    tracking = Tracking(tracking_by(config))
    shared = _shared(plan) if config.storage else None  # may not be reached: nothing is written yet
    weights = plan.parent.digest if plan.parent else ""
    folder = folder or run_dir.claim(config, plan.data, weights)
    with run_dir.locked(folder):
        job = _open(plan, folder, finals, shared, accepted=given)
        job.observers = (LiveReport(), tracking, *observers)
        take(BEGIN, job)
        job.tell(lambda observer: observer.start(job))
        try:
            take(SEARCH, job)
        except KeyboardInterrupt:
            job.interrupted = True
        finally:
            shutil.rmtree(folder / "images", ignore_errors=True)
        try:
            _finish(job)
        except OSError as error:
            raise RunError(
                f"{folder}: results cannot be written ({error.strerror}); check that the disk has "
                f"room, then resume={folder}: every trial is recorded"
            ) from error
        job.tell(lambda observer: observer.end(job))
    return job


def _finish(job: Job) -> None:
    """Take the steps of the results; a signal that ends the process comes after them."""
    if not job.interrupted:
        try:
            take(RESULTS, job)
            return
        except KeyboardInterrupt:
            job.interrupted = True
    with finishing():
        take(RESULTS, job)


def take(steps: Steps, job: Job) -> None:
    """Take steps of a job, one after the other."""
    for _, step in steps:
        step(job)


def _shared(plan: Plan) -> Study:
    """Return the record that other processes write into, too."""
    config, timings = plan.config, plan.timings
    check_url(str(config.storage))
    return Study(
        plan.space,
        config.storage,
        plan.goal,
        name=config.name,
        latency_of="; ".join(timing.latency_of for timing in timings),
        measured_on="; ".join(timing.measured_on for timing in timings),
        parent=plan.parent.name if plan.parent else "",
        pencils=plan.first.pencils,
        measure=plan.measure,
    )


def _open(
    plan: Plan,
    folder: Path,
    finals: Comparison | None,
    shared: Study | None,
    *,
    accepted: Collection[str],
) -> Job:
    """Open the record of a run, new or resumed.

    Args:
        plan: What is going to be done.
        folder: The run folder.
        finals: The final comparison that was asked for.
        shared: The record, where other processes write into it.
        accepted: Keys that were typed, by which a user goes on with what has changed.
    """
    config = plan.config
    changed = run_dir.check_data(folder, plan.data, "data" in accepted)
    other = ""
    if plan.parent:
        key = config.parent_key
        typed = not {"model", "pretrained"}.isdisjoint(accepted)
        other = run_dir.check_weights(folder, str(config.model), plan.parent.digest, typed, key)
    if finals:  # so that `resume=` alone goes on with them after a kill at any moment
        run_dir.keep(folder, FINAL, config.values)
    if config.vectorized:  # run again from its seed, which is as good as resuming it
        (folder / "study.db").unlink(missing_ok=True)
    study = shared or Study(
        plan.space,
        folder / "study.db",
        plan.goal,
        parent=plan.parent.name if plan.parent else "",
        pencils=plan.first.pencils,
        measure=plan.measure,
    )
    progress = Progress(
        study,
        plan.trials,
        config.budget_hours or math.inf,
        at_a_time=config.jobs,
        later=_later(config, finals),
    )
    job = Job(plan, folder, study, evaluation(plan, folder, study), progress, asked=finals)
    warm = warm_start.notes(study, folder) if job.warm else []
    secret = NO_PASSWORD if config.storage != config.values["storage"] else ""
    largest = max(plan.space.sizes(config.imgsz))
    small = tiny(plan.data.labels, largest)
    decoded = _decoded(plan, folder, largest)
    told = filter(None, (changed, other, secret, small, decoded))
    known = _noise(plan, folder, finals)
    job.notes = [*told, *plan.notes, *warm, *study.elsewhere, *known]
    return job


def _later(config: SearchSettings, finals: Comparison | None) -> float:
    """Return how many trials take as long as the trainings that come after them.

    Without a training in each trial nothing is said of those that follow.
    """
    if config.estimator not in TRAININGS:
        return 0.0
    best = min(config.confirm, max(1, config.trials // 4))
    again = confirm.way(config) == confirm.CONFIRM_AGAIN
    each = 1 if again else config.folds * confirm.epochs_of(config) / config.epochs
    final = 0.0
    if finals:
        trainings = (config.finalists + len(finals.models)) * config.seeds
        final = trainings * config.final_epochs / config.epochs / (1 - config.val_fraction)
    return best * each + final


def _decoded(plan: Plan, folder: Path, imgsz: int) -> str:
    """Return where the decoded images of candidates are going to be."""
    config, data = plan.config, plan.data
    if config.task == "classify" or config.estimator not in HELD_OUT:
        return ""
    shared = config.executor == "local" and config.jobs > 1
    cache = most_of(config.cache)
    return image_cache.said(cache, len(data.images), imgsz, data.channels, folder, shared=shared)


def _announce(job: Job) -> None:
    """Say what is going to be done."""
    plan, config, data = job.plan, job.config, job.data
    say(
        f"searching {config.space} by {config.strategy} on {data.source}: {len(data.images)} "
        f"training images, {data.nc} classes, {outputs.how(config)} at "
        f"{' or '.join(map(str, sorted(plan.space.sizes(config.imgsz))))} px\n"
        f"results go to {job.folder}"
    )
    if (said := job.progress.resumed()) and not config.vectorized:
        say(f"resumed: {said}" if config.resume else f"joined: {said}")
    for note in job.notes:
        say(f"note: {note}")
    if job.study.measure.projects:
        say(f"note: {outputs.RANKED.format(job.study.measure.rank)}")
    if data.skipped:
        total = len(data.images) + len(data.skipped)
        say(f"note: {len(data.skipped)} of {total} training images were skipped")
        text = "".join(f"{line}\n" for line in data.skipped)
        write_text(job.folder / dataset.LIST, text)
    if job.asked is not None and job.asked.leak:
        job.notes.append(f"beware: {job.asked.leak}")
        say(f"warning: {job.asked.leak}")
    if config.strategy == "auto" and plan.changes:
        say("auto: additive, as changes of a parent are scored before they are trained")
    if isinstance(plan.strategy, Auto):
        say(f"auto: {plan.strategy.name}, as {plan.strategy.reason}")


def _draw_augmentation(job: Job) -> None:
    """Draw some images as the augmentation makes them."""
    config = job.config
    if config.augment:
        sheet = job.folder / "augment.png"
        augment.sheet(job.data.images[:4], config.augment, sheet, seed=config.seed)


def _place_estimator(job: Job) -> None:
    """Tell the estimator where it works."""
    shared = job.config.executor == "local" and job.config.jobs > 1
    begins = job.plan.first.begins.values()
    for estimator in (job.plan.estimator, *(b.estimator for b in begins if b.estimator)):
        hand_over(Context(job.folder, shared), estimator)
    if changes := job.plan.changes:
        parent = next((t for t in job.plan.baselines if t.point == changes.origin), None)
        changes.use(job.folder, warm_start.weights_of(job.folder, parent) if parent else None)


def _try_candidates(job: Job) -> None:
    """Try candidates until the trials or the hours are used up."""
    plan, study = job.plan, job.study

    def on_trial(trial: Trial) -> None:
        if trial.state != "running" and not job.warm:
            outputs.keep_best_weights(job.folder, study)
        job.progress(trial)
        if trial.state == "complete" and plan.parent and trial.name == plan.parent.name:
            _say_noise(job)
        if trial.state == "running":
            job.tell(lambda observer: observer.begun(job, trial))
        else:
            job.tell(lambda observer: observer.trial(job, trial))

    with run_dir.sitting(job.folder):
        if job.config.vectorized:
            assert isinstance(plan.space, DetectorSpace)
            job.interrupted = vectorized.run(
                job.config, plan.space, plan.budget, study, job.folder, baselines=plan.baselines
            )
        else:
            _spend(
                job,
                study,
                plan.strategy,
                job.config.seed,
                baselines=plan.baselines,
                on_trial=on_trial,
            )


def _say_noise(job: Job) -> None:
    """Say what the search can find, once the parent has been trained twice."""
    for said in _noise(job.plan, job.folder, job.asked):
        if said not in job.notes:
            job.notes.append(said)
            say(f"note: {said}")


def _noise(plan: Plan, folder: Path, finals: Comparison | None) -> list[str]:
    """Return what the search can find, where the parent has been trained twice."""
    parent = plan.parent.name if plan.parent else ""
    said = noise.line(folder, parent, plan.measure.name, plan.estimator, finals)
    return [said] if said else []


def _try_random_baseline(job: Job) -> None:
    """Give the strategy of ``control`` the same number of trials, and compare."""
    plan, config = job.plan, job.config
    if plan.control is None:
        return
    record = job.folder / "control.db"
    baseline = Study(plan.space, record, plan.goal, measure=plan.measure)
    watch = Progress(baseline, plan.trials, config.budget_hours or math.inf)
    _spend(job, baseline, plan.control(), config.seed + 1, on_trial=watch)  # draws of its own
    job.notes.append(difference(job.study, baseline, str(config.control)))
    say(f"\ncontrol: {job.notes[-1]}")


def _spend(job: Job, study: Study, strategy: Strategy, seed: int, **options: Any) -> None:
    """Spend the trials or the hours of the search on a strategy."""
    plan, config = job.plan, job.config
    ended = loop.run(
        study,
        strategy,
        job.evaluate,
        trials=plan.trials,
        seed=seed,
        hours=config.budget_hours or math.inf,
        fidelity=plan.estimator.fidelity,
        pruner="asha" if config.fidelity else config.pruner,
        cost_of=plan.budget.record,
        executor=executor(config, job.evaluate),
        **options,
    )
    whose = "strategy" if study is job.study else "random baseline's strategy"
    if left := loop.nothing_left(ended, study, plan.trials, whose):
        job.notes.append(left)
        say(f"note: {left}")


def _confirm(job: Job) -> None:
    """Re-evaluate or confirm the best before one of them is named, and measure their latency.

    The latency comes first, as a network above the limit is not worth a training. It comes once
    more at the end, as others may be the best by then.
    """
    if job.warm:
        say(f"{warm_start.disk_use(job.folder)}; all but the best's are deleted")
    with run_dir.sitting(job.folder):
        _measure_latency(job)  # what it could not, the second time may
        if confirm.way(job.config) == confirm.CONFIRM_AGAIN:
            _reevaluate_best(job)
        elif job.config.confirm and not job.interrupted:
            _train_best(job)
        if wrong := _measure_latency(job):
            job.notes.append(wrong)
            say(f"note: {wrong}")


def _reevaluate_best(job: Job) -> None:
    """Evaluate the best again, where another seed gives another measurement."""

    def on_reevaluated(before: Trial, after: Trial) -> None:
        job.progress.again(before, after)
        job.tell(lambda observer: observer.confirmed(job, after))

    if job.plan.estimator.seeded and not job.warm:
        evaluate, estimator = job.evaluate, job.plan.estimator
        if (precision := precision_of(job.config)) and isinstance(estimator, Training):
            evaluate = replace(evaluate, estimator=estimator.measuring_in(precision))
        reevaluate(
            job.study,
            Again(evaluate, job.config.seed + 1),
            n=job.config.confirm,
            executor=partial(here, job.config),
            on_reevaluated=on_reevaluated,
        )


def _train_best(job: Job) -> None:
    """Give the best a training of their own."""
    plan = job.plan
    usual = candidates(job.config, plan.parent)
    taught = {"teacher": job.teacher and str(job.teacher)} if usual.teacher == PARENT else {}

    def on_confirmed(trial: Trial) -> None:
        job.progress.confirmed(trial)
        job.tell(lambda observer: observer.confirmed(job, trial))

    confirm.confirm(
        job.study,
        Confirmation(usual, job.data, plan.estimator, job.folder, plan.first.begins, taught),
        n=job.config.confirm,
        executor=partial(here, job.config),
        on_confirmed=on_confirmed,
    )


def _measure_latency(job: Job) -> str:
    """Measure the best where the device of a profile is this machine; return what to note."""
    wrong, begins = [], job.plan.first.begins
    given = {name: b.definition for name, b in begins.items() if b.definition is not None}
    for timing in job.plan.timings:
        if timing.profile is None or not timing.here or job.interrupted:
            continue

        def say(trial: Trial, timing: latency.Timing = timing) -> None:
            job.progress.measured(trial, timing.metric, timing.measured, timing.limit)

        most = max(job.config.confirm, 1)
        wrong.append(latency.measure_best(job.study, timing, most, say=say, given=given))
        wrong.append(timing.disturbed)
    return "; ".join(dict.fromkeys(filter(None, wrong)))


def _keep_best_weights(job: Job) -> None:
    """Delete all weights but the best's."""
    outputs.keep_best_weights(job.folder, job.study)
    shutil.rmtree(job.folder / "weights" / "rungs", ignore_errors=True)


def _note_others(job: Job) -> None:
    """Note what other processes that share the record measured elsewhere."""
    for note in job.study.elsewhere:
        if note not in job.notes:
            job.notes.append(note)
            say(f"note: {note}")


def _note_halved(job: Job) -> None:
    """Note which trials were trained with half the batch."""
    for note in auto_batch.said(job.study.trials):
        job.notes.append(note)
        say(f"note: {note}")


def _say_inherited(job: Job) -> None:
    """Say what the best network took from the checkpoint that candidates start from.

    In a supernet all take theirs from the same weights.
    """
    estimator = job.plan.estimator
    source = getattr(getattr(estimator, "training", estimator), "source", None)
    if source is None or not job.study.candidates or job.config.estimator == "supernet":
        return
    network = job.study.best.network
    data = job.data
    taken = foretell(network, source, data.names, data.channels, job.config.task, data.keypoints)
    lines = taken.lines
    job.notes.append(f"nas-{network.key} began with {'; '.join(lines)}")
    say("\n" + "\n  ".join([f"nas-{network.key} began with {lines[0]}", *lines[1:]]))


def _write_shared_weights(job: Job) -> None:
    """Write the supernet's weights of the front's networks."""
    if job.config.estimator == "supernet":
        outputs.write_front_weights(job.plan.estimator, job.study, job.folder)


def _show_distribution(job: Job) -> None:
    """Draw the distribution that DARTS learned, and say whether it collapsed."""
    if job.config.strategy != "darts":
        return
    history = job.plan.estimator.history()  # pyright: ignore[reportAttributeAccessIssue]
    learned_png(history, job.folder / "learned.png")
    job.notes.append(collapse(history, [trial.fitness for trial in job.study.candidates]))
    say(f"\n{job.notes[-1]}")


def _enter_finals(job: Job) -> None:
    """Enter the finalists; where all trainings of them are recorded, they name the best.

    So a resumed run, killed or interrupted before it comes to them, leaves that best network too.
    """
    if job.asked is None or not (job.study.candidates or job.plan.parent):
        return
    job.notes += [line for line in job.asked.training.data.said if line not in job.notes]
    entered = final_comparison.enter(
        job.asked,
        job.study,
        job.folder,
        finalists=job.config.finalists,
        seconds=search_seconds(job.folder),
        teacher=job.teacher,
    )
    job.entered, job.finals = entered, entered if entered.complete else None


def _write_results(job: Job) -> None:
    """Write what is there so far, before the long trainings of a final comparison."""
    outputs.write(job)


def _hold_finals(job: Job) -> None:
    """Hold the final comparison, after which the best network is the one that it says."""
    if job.entered is None or job.interrupted:
        return
    say("\n" + report.summary_table(job.study))
    job.finals = job.entered
    try:
        job.finals, job.interrupted = final_comparison.hold(
            job.entered,
            job.folder,
            lambda training: job.tell(lambda observer: observer.final(job, training)),
        )
    except KeyboardInterrupt:
        job.interrupted = True
    outputs.write(job)


def _tell(job: Job) -> None:
    """Say what was found and what to type next."""
    outputs.tell(job)


BEGIN: Steps = (
    ("say what is going to be done", _announce),
    ("draw augmented images", _draw_augmentation),
    ("tell the estimator where it works", _place_estimator),
)
# Ctrl-C ends these, and the results follow of what is there by then.
SEARCH: Steps = (
    ("try candidates", _try_candidates),
    ("try as many of the random baseline", _try_random_baseline),
    ("re-evaluate or confirm the best", _confirm),
    ("keep the weights of the best", _keep_best_weights),
    ("note what other processes measured", _note_others),
    ("note what did not fit into memory", _note_halved),
    ("say what the best inherited", _say_inherited),
    ("write shared weights", _write_shared_weights),
    ("measure the family on val", family.hand_over),
    ("show the learned distribution", _show_distribution),
)
RESULTS: Steps = (
    ("enter the finalists", _enter_finals),
    ("write the results", _write_results),
    ("hold the final comparison", _hold_finals),
    ("say what was found", _tell),
)
