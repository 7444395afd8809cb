"""The whole job of `yolo nas-search`: from keys to a run folder with a model in it."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolo_nas_ext import executors, loop, report, run_dir
from yolo_nas_ext.compare.comparison import Comparison
from yolo_nas_ext.compare.models import search_seconds
from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.data import augment
from yolo_nas_ext.errors import RunError
from yolo_nas_ext.estimators.multi_fidelity import rung_fitness
from yolo_nas_ext.estimators.training import localisation
from yolo_nas_ext.host.transfer.weights import foretell
from yolo_nas_ext.pipeline import confirm, final_comparison, latency, outputs, warm_start
from yolo_nas_ext.pipeline import plan as plans
from yolo_nas_ext.pipeline.plan import Plan
from yolo_nas_ext.pipeline.progress import Progress
from yolo_nas_ext.pipeline.random_baseline import difference
from yolo_nas_ext.pipeline.state import Job
from yolo_nas_ext.plugins import load_blocks
from yolo_nas_ext.report.darts_plot import collapse, learned_png
from yolo_nas_ext.strategies import Strategy
from yolo_nas_ext.strategies.auto import Auto
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial
from yolo_nas_ext.vectorized import run as vectorized

Report = Callable[[int, float], None]
FINAL = ("finalists", "final_epochs", "final_batch", "seeds")


def search(given: Mapping[str, Any]) -> Job:
    """Run, or resume, a search and write its results.

    Args:
        given: Keys and raw values, as on the command line.

    Returns:
        The finished or interrupted job.

    Raises:
        NASError: For bad input; nothing is written then.
    """
    config, folder = run_dir.settings(given)
    plan = plans.make(config)
    finals = final_comparison.prepare(config, plan.data)
    shared = None
    if config.storage:  # before anything is written, as it may not be reached
        clock = plan.clock
        shared = Study(
            plan.space,
            config.storage,
            plan.goal,
            name=config.name,
            latency_of=clock.latency_of if clock else "",
            measured_on=clock.measured_on if clock else "",
        )
    folder = folder or run_dir.claim(config, plan.data)
    with run_dir.locked(folder):
        changed = run_dir.check_data(folder, plan.data, "data" in given)
        if finals:  # so that `resume=` alone goes on with them after a kill at any moment
            run_dir.keep(folder, FINAL, config.values)
        job = _begin(plan, folder, shared, [changed] if changed else [])
        try:
            _search(job, plan)
        except KeyboardInterrupt:
            job.interrupted = True
        finally:
            shutil.rmtree(folder / "images", ignore_errors=True)
        try:
            entered = _entered(job, finals)
            outputs.write(job)
            if entered and not job.interrupted:
                _finals(job, entered)
            outputs.tell(job)
        except OSError as error:
            raise RunError(
                f"{folder}: results cannot be written ({error.strerror}); check that the disk has "
                f"room, then resume={folder}: every trial is recorded"
            ) from error
    return job


def _entered(job: Job, finals: Comparison | None) -> Comparison | None:
    """Return the finals to hold, if any; where all of them are recorded, they name the best.

    So a resumed run, killed or interrupted before it comes to them, leaves that best network too.
    """
    if finals is None or not job.study.candidates:
        return None
    job.notes += [line for line in finals.training.data.skipped if line not in job.notes]
    finals = final_comparison.enter(
        finals,
        job.study,
        job.folder,
        finalists=job.config.finalists,
        seconds=search_seconds(job.folder),
    )
    job.finals = finals if finals.complete else None
    return finals


def _finals(job: Job, finals: Comparison) -> None:
    """Hold the finals, after which the best network is the one that they say."""
    print("\n" + report.summary_table(job.study))
    job.finals = finals
    try:
        job.finals, job.interrupted = final_comparison.hold(finals, job.folder)
    except KeyboardInterrupt:
        job.interrupted = True
    outputs.write(job)


def _begin(plan: Plan, folder: Path, shared: Study | None, notes: Sequence[str]) -> Job:
    """Open the record, and say what is going to be done."""
    config, data = plan.config, plan.data
    if config.vectorized:  # run again from its seed, which is as good as resuming it
        (folder / "study.db").unlink(missing_ok=True)
    study = shared or Study(plan.space, folder / "study.db", plan.goal)
    warm = warm_start.notes(study, folder) if config.inherit == warm_start.PARENT else []
    job = Job(config, folder, study, data, notes=[*notes, *plan.notes, *warm, *study.elsewhere])
    job.latency = plan.clock.text if plan.clock else ""
    print(
        f"searching {config.space} by {config.strategy} on {data.source}: {len(data.images)} "
        f"training images, {data.nc} classes, {outputs.how(config)} at "
        f"{' or '.join(map(str, plan.space.sizes(config.imgsz)))} px\n"
        f"results go to {folder}"
    )
    for note in job.notes:
        print(f"note: {note}")
    if data.skipped:
        total = len(data.images) + len(data.skipped)
        print(f"note: {len(data.skipped)} of {total} training images were skipped")
    if isinstance(plan.strategy, Auto):
        print(f"auto: {plan.strategy.name}, as {plan.strategy.reason}")
    if config.augment:
        augment.sheet(data.images[:4], config.augment, folder / "augment.png", seed=config.seed)
    plan.estimator.images = folder / "images"
    plan.estimator.shared = config.executor == "local" and config.jobs > 1
    return job


def _search(job: Job, plan: Plan) -> None:
    """Try candidates until the trials or the hours are used up; then the control and repeats."""
    config, folder, study = job.config, job.folder, job.study
    warm = config.inherit == warm_start.PARENT
    hours = config.budget_hours or math.inf
    progress = Progress(study, config.trials, hours)
    score, pruner = (rung_fitness, "asha") if config.fidelity else (localisation, config.pruner)
    clock = plan.clock if plan.clock and plan.clock.profile is None else None
    estimate = Judge(plan.estimator, folder, study if warm else None, config.blocks, score, clock)

    def on_trial(trial: Trial) -> None:
        if trial.state != "running" and not warm:
            outputs.keep_best_weights(folder, study)
        progress(trial)

    def spend(study: Study, strategy: Strategy, seed: int, **options: Any) -> None:
        loop.run(
            study,
            strategy,
            estimate,
            trials=config.trials,
            seed=seed,
            hours=hours,
            fidelity=plan.estimator.fidelity,
            pruner=pruner,
            cost_of=plan.budget.record,
            executor=_executor(config, estimate),
            **options,
        )

    with run_dir.sitting(folder):
        if config.vectorized:
            job.interrupted = vectorized.run(
                config, plan.space, plan.budget, study, folder, baselines=plan.baselines
            )
        else:
            spend(study, plan.strategy, config.seed, seeds=plan.baselines, on_trial=on_trial)
    if plan.control:
        rival = Study(plan.space, folder / "control.db", plan.goal)
        watch = Progress(rival, config.trials, hours)
        spend(rival, plan.control(), config.seed + 1, on_trial=watch)  # draws of its own
        job.notes.append(difference(study, rival, str(config.control)))
        print(f"\ncontrol: {job.notes[-1]}")
    if warm:
        print(f"{warm_start.disk_use(folder)}; all but the best's are deleted")
    with run_dir.sitting(folder):
        _confirm(job, plan, estimate, progress)
    outputs.keep_best_weights(folder, study)
    for note in study.elsewhere:
        if note not in job.notes:
            job.notes.append(note)
            print(f"note: {note}")
    _say_taken(job, plan)
    shutil.rmtree(folder / "weights" / "rungs", ignore_errors=True)
    if config.estimator == "supernet":
        outputs.write_front_weights(plan.estimator, study, folder)
    if config.strategy == "darts":
        history = plan.estimator.history()  # pyright: ignore[reportAttributeAccessIssue]
        learned_png(history, folder / "learned.png")
        job.notes.append(collapse(history, [trial.fitness for trial in study.candidates]))
        print(f"\n{job.notes[-1]}")


def _say_taken(job: Job, plan: Plan) -> None:
    """Say what the best network took from the checkpoint that candidates start from."""
    source = getattr(getattr(plan.estimator, "training", plan.estimator), "source", None)
    if source is None or not job.study.candidates:
        return
    network = job.study.best.network
    data = job.data
    taken = foretell(network, source, data.names, data.channels, job.config.task, data.keypoints)
    lines = taken.lines
    job.notes.append(f"nas-{network.key} began with {'; '.join(lines)}")
    print("\n" + "\n  ".join([f"nas-{network.key} began with {lines[0]}", *lines[1:]]))


def _confirm(job: Job, plan: Plan, estimate: Judge, progress: Progress) -> None:
    """Judge the best once more before one of them is named, and measure their latency.

    That comes first, as a network above the limit is not worth a training, and once more at the
    end, as others may be the best by then.
    """
    config, study = job.config, job.study
    _measure(job, plan, progress)  # what it could not, the second time may
    if confirm.way(config) != confirm.AGAIN:
        if config.confirm and not job.interrupted:
            judged = confirm.ConfirmTraining(config, job.data, plan.estimator)
            confirm.confirm(
                study,
                lambda t: judged.train(t.network, warm_start.weights_of(job.folder, t)),
                n=config.confirm,
                on_confirmed=progress.confirmed,
            )
    elif plan.estimator.seeded and config.inherit != warm_start.PARENT:
        confirm.repeat(
            study,
            lambda trial, seed: estimate(trial, seed=seed),
            n=config.confirm,
            seed=config.seed,
            on_repeat=progress.again,
        )
    if wrong := _measure(job, plan, progress):
        job.notes.append(wrong)
        print(f"note: {wrong}")


def _measure(job: Job, plan: Plan, progress: Progress) -> str:
    """Measure the best where the device of the profile is this machine; return what went wrong."""
    clock = plan.clock
    if clock is None or clock.profile is None or not clock.here or job.interrupted:
        return ""
    return latency.measure_best(
        job.study,
        clock,
        max(job.config.confirm, 1),
        say=lambda trial: progress.measured(trial, latency.MEASURED, clock.limit),
    )


def _ignore(epoch: int, value: float) -> None:
    """Take no notice of a learning curve."""


@dataclass(frozen=True)
class Judge:
    """Judges a trial of a run; copied to other processes, data included.

    Attributes:
        estimator: How.
        folder: The run folder, where weights go.
        study: The record, where weights are taken from parents.
        blocks: File with blocks of the user's, which every process has to know.
        score: What a learning curve consists of, from the metrics of an epoch or a rung.
        clock: What measures the latency first, where it is measured of each candidate.
    """

    estimator: Any
    folder: Path
    study: Study | None = None
    blocks: str | None = None
    score: Callable[[Mapping[str, float]], float] = localisation
    clock: latency.Timing | None = None

    def __call__(
        self, trial: Trial, report: Report = _ignore, **other: float
    ) -> Mapping[str, float]:
        """Return the metrics of the trial's network; `other` fidelity replaces the trial's."""
        load_blocks(self.blocks)
        weights = warm_start.weights_of(self.folder, trial)
        parent = warm_start.nearest(trial, self.study, self.folder) if self.study else None
        start = {"inherit": parent} if parent else {}
        latency = self.clock.judge(trial.network) if self.clock and not other else {}

        def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
            report(epoch, self.score(metrics))

        found = self.estimator.estimate(
            trial.network, {**trial.fidelity, **other}, on_epoch, weights=weights, **start
        )
        return {**found, **latency}


def _executor(config: SearchSettings, estimate: Judge) -> executors.Executor:
    """Return what judges the trials; workers of this machine share its cores."""
    if config.executor == "ray":
        return executors.make(
            "ray",
            estimate,
            config.jobs if "jobs" in config.given else 0,
            address=config.ray_address,
            cpus=config.cpus_per_trial,
            gpus=config.gpus_per_trial,
        )
    return executors.make(config.executor, estimate, config.jobs)
