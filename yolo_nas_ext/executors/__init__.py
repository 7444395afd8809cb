"""WHERE candidates are evaluated: in this process, in processes of this machine, on a Ray cluster.

An executor is one file and one entry in `EXECUTORS`. It may import `study`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.executors.run_trial import Estimate, Prune
from yolo_nas_ext.study.trial import Trial


class Executor(Protocol):
    """Evaluates trials; the search proposes and records, an executor does neither."""

    @property
    def slots(self) -> int:
        """Number of trials that it evaluates at a time."""
        ...

    @property
    def running(self) -> int:
        """Number of trials submitted and not yet returned."""
        ...

    def submit(self, trial: Trial) -> None:
        """Begin to evaluate a trial; only while fewer than `slots` are running."""
        ...

    def wait(self, prune: Prune) -> Trial:
        """Return the next trial that has ended, with its metrics or error.

        Args:
            prune: Asked for every reported step of a learning curve whether to stop.
        """
        ...

    def close(self) -> None:
        """Stop the trials that run and free what is held."""
        ...


def _local(
    estimate: Estimate, jobs: int | None, *, devices: Sequence[str] = (), **options: Any
) -> Executor:
    from yolo_nas_ext.executors.inline import Inline
    from yolo_nas_ext.executors.processes import Processes

    return Processes(estimate, jobs, devices) if jobs and jobs > 1 else Inline(estimate)


def _ray(estimate: Estimate, jobs: int | None, **options: Any) -> Executor:
    from yolo_nas_ext.executors.ray_cluster import Cluster

    return Cluster(estimate, jobs or 0, **options)


EXECUTORS: dict[str, Callable[..., Executor]] = {"local": _local, "ray": _ray}


def check(name: str) -> None:
    """Refuse an unknown name.

    Raises:
        NASError: For a name that is not in `EXECUTORS`.
    """
    if name not in EXECUTORS:
        raise NASError(
            f"executor={name}: no such executor.{did_you_mean(name, EXECUTORS)} Allowed: "
            f"{', '.join(EXECUTORS)}"
        )


def make(name: str, estimate: Estimate, jobs: int | None = None, **options: Any) -> Executor:
    """Return the executor of that name.

    Args:
        name: A key of `EXECUTORS`.
        estimate: Evaluates one trial; it is copied to other processes by value.
        jobs: Number of trials at a time; unless given one, or as many as a cluster has room for.
        **options: Arguments of an executor on other machines; ``devices`` of one on this, which its
            workers share.

    Raises:
        NASError: For an unknown name, or one whose extra is not installed.
    """
    check(name)
    return EXECUTORS[name](estimate, jobs, **options)
