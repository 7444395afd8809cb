"""search(): any space by any function, or the whole job of the command from Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.search import KEYS
from yolo_nas_ext.console import say
from yolo_nas_ext.cost.budget import Budget
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.executors import check as check_executor
from yolo_nas_ext.executors import make as make_executor
from yolo_nas_ext.executors.main_module import check_guard, leave_if_imported
from yolo_nas_ext.executors.run_trial import Report, metrics_of
from yolo_nas_ext.loop import nothing_left, run
from yolo_nas_ext.space.choices import ChoiceSpace, Point
from yolo_nas_ext.strategies import make
from yolo_nas_ext.study.database import check_url
from yolo_nas_ext.study.objectives import Goal
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

# Keys of a search on Ray, and what the executor calls them.
RAY_KEYS = {"ray_address": "address", "cpus_per_trial": "cpus", "gpus_per_trial": "gpus"}


def search(
    space: ChoiceSpace | str | None = None,
    estimator: Callable[[Any], Mapping[str, float]] | str | None = None,
    *,
    strategy: str | None = None,
    trials: int | None = None,
    seed: int | None = None,
    project: str | Path | None = None,
    objectives: str | Sequence[str] | None = None,
    limits: Mapping[str, float] | None = None,
    features: Callable[[Point], Sequence[float]] | None = None,
    jobs: int | None = None,
    executor: str | None = None,
    storage: str | None = None,
    **settings: Any,
) -> Study:
    """Search, and return the record.

    With a callable as estimator: evaluate the points of any `ChoiceSpace` by it; the record is kept
    in memory unless `project` names a folder. Otherwise: the whole job of ``yolo nas-search`` with
    the same keys, for example ``search(data="cells.yaml", trials=20)``.

    Args:
        space: A space, or for the whole job the name of a shipped one or a YAML.
        estimator: A function from a point to metrics with ``fitness``, which is maximised; or the
            name of an estimator.
        strategy: A name in `strategies.STRATEGIES` or ``optuna:`` and a sampler's; ``auto`` unless
            given.
        trials: Number of trials; 50 with a callable.
        seed: Of the proposals; 0 unless given.
        project: Folder for the record; of the whole job, the folder of runs.
        objectives: Names of metrics, ``fitness`` alone unless given; see `study.objectives.sign`
            for their directions.
        limits: Bounds that the answer must keep, by name of a metric: the most a cost may be, the
            least a score may be.
        features: With a callable: free numbers about a point that a model may learn from.
        jobs: Number of trials at a time, each in a process of its own; 1 unless given.
        executor: ``local``, or ``ray`` for tasks of a Ray cluster; see
            `executors.ray_cluster.Cluster`.
        storage: URL of an Optuna storage that several processes may share; see `study.study.Study`.
        **settings: Further keys of the command, for the whole job only. With a callable, of Ray:
            ``ray_address``, ``cpus_per_trial`` and ``gpus_per_trial``.

    Raises:
        NASError: For bad input.
        KeyboardInterrupt: After Ctrl-C, once the results so far are written.

    Example:
        >>> space = ChoiceSpace({"a": (1, 2, 3), "b": (1, 2, 3)})
        >>> search(space, lambda p: {"fitness": p["a"] * p["b"]}, trials=9).best.point["a"]
        3
    """
    leave_if_imported()
    if executor in (None, "local"):
        check_guard(jobs)
    if not callable(estimator):
        from yolo_nas_ext.pipeline import job

        given = {
            "space": space,
            "estimator": estimator,
            "strategy": strategy,
            "trials": trials,
            "seed": seed,
            "project": project,
            "objectives": objectives,
            "limits": limits,
            "jobs": jobs,
            "executor": executor,
            "storage": storage,
            **settings,
        }
        done = job.search({n: v for n, v in given.items() if v is not None})
        if done.interrupted:  # its results are written; a loop over data sets is to end, too
            raise KeyboardInterrupt(f"{done.folder}: interrupted; resume= goes on with it")
        return done.study
    if not isinstance(space, ChoiceSpace):
        raise NASError(f"space={space!r}: with a callable estimator, give a ChoiceSpace")
    if unknown := set(settings) - RAY_KEYS.keys():
        raise NASError(f"{min(unknown)}: not a key of a search with a callable estimator")
    n = KEYS["trials"].value(50 if trials is None else trials)
    if n < 1:  # which is of a search from a parent
        raise NASError(f"trials={n}: trials takes a whole number of 1 or more")
    base = KEYS["seed"].value(seed or 0)
    path = None
    if project is not None:
        path = Path(project) / "study.db"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NASError(
                f"project={project}: cannot write there ({error.strerror}); give a folder that can "
                "be written"
            ) from error
    names = objectives.split(",") if isinstance(objectives, str) else objectives or ("fitness",)
    goal = Goal(tuple(names), dict(limits or {}))
    check_executor(executor or "local")
    if storage:
        check_url(storage)
    study = Study(space, storage or path, goal)
    look = make(strategy or "auto", space, goal=goal, trials=n, features=features)

    def estimate(trial: Trial, report: Report) -> Mapping[str, float]:
        return metrics_of(estimator(trial.point), "the function")

    options = {RAY_KEYS[name]: value for name, value in settings.items()}
    ended = run(
        study,
        look,
        estimate,
        trials=n,
        seed=base,
        cost_of=Budget().record,
        executor=make_executor(executor or "local", estimate, jobs, **options),
    )
    if left := nothing_left(ended, study, n):
        say(f"note: {left}")
    return study
