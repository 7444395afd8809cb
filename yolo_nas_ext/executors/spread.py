"""A list of trials evaluated by an executor, as many at a time as it has slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from yolo_nas_ext.executors import Executor
from yolo_nas_ext.executors.run_trial import Prune
from yolo_nas_ext.study.trial import Trial


def spread(
    make: Callable[[], Executor],
    wanted: Callable[[], Trial | None],
    prune: Prune = lambda trial, step, value: False,
) -> Iterator[Trial]:
    """Yield trials as they end, each with what it measured.

    Args:
        make: Returns the executor; called once there is something to evaluate, as making one
            copies the data.
        wanted: Returns the next trial to evaluate, or None for none at the moment. It is asked
            again after each that has ended.
        prune: Is told every reported step; it may say that the trial is to stop.
    """
    executor: Executor | None = None
    try:
        while True:
            while executor is None or executor.running < executor.slots:
                trial = wanted()
                if trial is None:
                    break
                executor = executor or make()
                executor.submit(trial)
            if executor is None or not executor.running:
                return
            yield executor.wait(prune)
    finally:
        if executor is not None:
            executor.close()
