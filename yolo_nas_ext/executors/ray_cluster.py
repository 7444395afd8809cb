"""Ray tasks, on this machine or a cluster."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.executors.ray_desk import Desk
from yolo_nas_ext.executors.run_trial import Estimate, Prune, run_trial
from yolo_nas_ext.executors.worker import place
from yolo_nas_ext.study.trial import Trial

STARTS = 2  # attempts to start Ray
RETRIES = 3  # of a trial whose node or worker is lost; what an estimate raises is never retried
_ESTIMATES: dict[str, Estimate] = {}  # of this worker process, by the object that holds them


class Cluster:
    """Evaluates each trial in a Ray task; Ray itself runs the trials of a lost node elsewhere.

    The estimate, with the data that it holds, goes to the object store once; a node fetches it once
    and a worker process unpacks it once. Without a cluster, Ray starts on this machine. Tasks ask
    at a desk, an actor, whether to stop. One that runs again after its worker was lost asks anew.

    Args:
        estimate: Evaluates one trial.
        jobs: Number of trials at a time; as many as the cluster has room for if 0.
        address: Of a cluster, ``auto`` for the one this machine belongs to.
        cpus: Cores a trial.
        gpus: GPUs a trial; a part of one is allowed. Where nothing is said one, if the cluster has
            any.

    Raises:
        NASError: Without Ray, or where no cluster answers at the address or Ray does not start.
    """

    def __init__(
        self,
        estimate: Estimate,
        jobs: int = 0,
        *,
        address: str | None = None,
        cpus: float = 1,
        gpus: float | None = None,
    ) -> None:
        try:
            import ray
            import ray.exceptions
        except ImportError as error:
            raise NASError(
                "executor=ray: Ray is not installed; pip install 'yolo-nas-ext[ray]'"
            ) from error
        self._ray = ray
        self._mine = not ray.is_initialized()
        if self._mine:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
            start(address)
        if gpus is None:
            gpus = 1 if ray.cluster_resources().get("GPU", 0) else 0
        self._jobs, self._cpus, self._gpus = jobs, cpus, gpus
        self._estimate = ray.put(estimate)
        self._task = ray.remote(
            num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=False
        )(_run)
        self._pending: dict[Any, Trial] = {}
        self._desk: Any = ray.remote(num_cpus=0)(Desk).remote()
        self._asking = self._desk.next.remote()

    @property
    def slots(self) -> int:
        """Number of trials at a time: as many as asked for, or as there is room for just now."""
        if self._jobs:
            return self._jobs
        have = self._ray.cluster_resources()
        room = have.get("CPU", 0) / self._cpus if self._cpus else float("inf")
        if self._gpus:
            room = min(room, have.get("GPU", 0) / self._gpus)
        return max(1, int(room))

    @property
    def running(self) -> int:
        """Number of trials submitted and not yet returned."""
        return len(self._pending)

    def submit(self, trial: Trial) -> None:
        """Hand the trial to Ray."""
        device = "0" if self._gpus else None  # as Ray shows a task its own GPUs alone
        self._pending[self._task.remote([self._estimate], trial, device, self._desk)] = trial

    def wait(self, prune: Prune) -> Trial:
        """Return the next trial that has ended; answer the tasks' questions meanwhile.

        Raises:
            NASError: What the estimate raised for bad input.
        """
        ready, _ = self._ray.wait([*self._pending, self._asking], num_returns=1)
        while ready[0] == self._asking:
            ticket, number, step, value = self._ray.get(self._asking)
            asks = next((t for t in self._pending.values() if t.number == number), None)
            self._desk.answer.remote(ticket, asks is not None and prune(asks, step, value))
            self._asking = self._desk.next.remote()
            ready, _ = self._ray.wait([*self._pending, self._asking], num_returns=1)
        trial = self._pending.pop(ready[0])
        try:
            return self._ray.get(ready[0])
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, NASError):
                raise error.cause from None
            return _failed(trial, error.cause)
        except self._ray.exceptions.RayError as error:  # lost more often than it is retried
            return _failed(trial, error)

    def close(self) -> None:
        """Cancel what runs, and stop Ray where it was started here."""
        for reference in self._pending:
            self._ray.cancel(reference, force=True)
        self._pending.clear()
        self._ray.kill(self._desk)
        if self._mine:
            self._ray.shutdown()


def start(address: str | None) -> None:
    """Join a cluster, or start one on this machine, where Ray gives itself 30 s and may fail."""
    import ray

    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    for start in range(STARTS):
        try:
            ray.init(address=address or "local", log_to_driver=False, **local)
            return
        except (ConnectionError, ValueError) as error:
            raise NASError(
                f"ray_address={address}: no cluster answers ({error}); start one with `ray "
                "start --head`, or leave ray_address out"
            ) from error
        except Exception as error:
            ray.shutdown()
            if start == STARTS - 1:
                raise RunError(
                    f"executor=ray: Ray does not start ({' '.join(str(error).split())[:200]}); try "
                    "again when this machine has less to do, or give the ray_address of a cluster"
                ) from error


def _failed(trial: Trial, error: Any) -> Trial:
    text = " ".join(str(error).split())[:300]
    return replace(trial, state="failed", error=f"worker: {type(error).__name__}: {text}")


def _run(holder: list[Any], trial: Trial, device: str | None, desk: Any) -> Trial:
    """Evaluate a trial in a Ray worker."""
    import ray

    reference = holder[0]  # in a list, as Ray would unpack a bare one for every task
    name = reference.hex()
    if name not in _ESTIMATES:
        _ESTIMATES.clear()
        _ESTIMATES[name] = ray.get(reference)
        place(_ESTIMATES[name], device)

    def prune(trial: Trial, step: int, value: float) -> bool:
        return ray.get(desk.ask.remote(trial.number, step, value))

    return run_trial(trial, _ESTIMATES[name], prune)
