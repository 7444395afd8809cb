"""One training on several GPUs, by Ultralytics' distributed training (DDP).

Ultralytics writes the command and the script of its ranks: `launched` gives it a `Launch` in the
place of a trainer. In each rank that script makes the `Launch` again, gives it the job as its model
and calls `Launch.train`, which trains with the search's own trainer. The first rank measures.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import nn
from ultralytics.utils import RANK
from ultralytics.utils.dist import ddp_cleanup, generate_ddp_command

from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.files import write_text
from yolo_nas_ext.host.training.session import session

PAUSE = 0.2  # seconds from one look at the ranks to the next
PATIENCE = 30.0  # seconds that they have to end
EPOCHS, RESULT, LOG = "epochs.jsonl", "result.json", "log.txt"
VAGUE = ("error", "build")  # what a rank says that lost another one, too
OnEpoch = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Job:
    """What a rank needs besides Ultralytics' arguments.

    Attributes:
        make: Returns the trainer for arguments, a deadline and what is told of epochs.
        finish: Returns the metrics of a trainer that has trained; of the first rank alone.
        model: The network with the weights that it starts from.
        threads: CPU threads of a rank.
        left: Seconds after which the training is stopped.
        folder: Where ranks write what they have to say.
    """

    make: Callable[..., Any]
    finish: Callable[[Any], dict[str, float]]
    model: nn.Module
    threads: int
    left: float
    folder: Path


class Launch:
    """Stands for a trainer where Ultralytics writes a distributed training down, and in its ranks.

    Args:
        cfg: Not used: Ultralytics' defaults, which the arguments are complete without.
        overrides: All arguments of Ultralytics' trainer.
        _callbacks: Not used: the trainer of a rank has its own.
    """

    resume = False
    world_size = 0
    save_dir = Path()

    def __init__(
        self,
        cfg: Any = None,
        overrides: Mapping[str, Any] | None = None,
        _callbacks: Any = None,
    ) -> None:
        self.args = SimpleNamespace(**(overrides or {}))
        self.callbacks: dict[str, Any] = {}
        self.model: Any = None  # the `Job`

    def train(self) -> None:
        """Train as one of the ranks; what goes wrong is written down before it ends this process.

        Raises:
            SystemExit: Where it went wrong.
        """
        job: Job = self.model
        note = partial(_note, job.folder) if RANK == 0 else None

        def make(arguments: dict[str, Any]) -> Any:
            deadline = time.perf_counter() + job.left
            trainer = job.make(arguments, deadline=deadline, on_epoch=note)
            trainer.model = job.model
            return trainer

        def use(trainer: Any) -> dict[str, float]:
            trainer.train()
            return job.finish(trainer) if RANK == 0 else {}

        try:
            metrics = session(make, vars(self.args), use, threads=job.threads)
        except (TrialError, NASError) as error:
            kind = error.kind if isinstance(error, TrialError) else ""
            said = json.dumps({"kind": kind, "text": str(error)})
            write_text(job.folder / f"rank{RANK}.json", said)
            raise SystemExit(1) from error
        if RANK == 0:
            write_text(job.folder / RESULT, json.dumps(metrics))


def launched(
    trainer: Any,
    make: Callable[..., Any],
    finish: Callable[[Any], dict[str, float]],
    *,
    threads: int,
    deadline: float = math.inf,
    on_epoch: OnEpoch | None = None,
) -> dict[str, float]:
    """Return the metrics of a training on all GPUs of a trainer.

    Args:
        trainer: A `LeanMixin` that Ultralytics made for several GPUs, see its ``ddp``. It builds
            the network, so that all ranks start from the same weights.
        make: See `Job`.
        finish: See `Job`.
        threads: CPU threads of a rank.
        deadline: `time.perf_counter` at which the training is stopped.
        on_epoch: Called after each epoch with what the first rank knows of it.

    Raises:
        NASError: For what no network could be trained with.
        TrialError: For what went wrong in a rank.
    """
    trainer.setup_model()
    left = deadline - time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        launch = Launch(overrides=vars(trainer.args))
        launch.world_size, launch.save_dir = trainer.world_size, trainer.save_dir
        launch.model = Job(make, finish, trainer.model, threads, left, Path(folder))
        command, file = generate_ddp_command(launch)  # pyright: ignore[reportArgumentType]
        try:
            code = _followed(command, Path(folder), trainer, on_epoch, deadline + PATIENCE)
        finally:
            ddp_cleanup(launch, file)  # pyright: ignore[reportArgumentType]
        return _result(Path(folder), code)


def _followed(
    command: list[str], folder: Path, trainer: Any, on_epoch: OnEpoch | None, latest: float
) -> int:
    """Run the ranks, tell of their epochs, and return the exit code; none of them is left."""
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    told = _told(folder / EPOCHS)
    try:
        while True:
            ended = process.poll() is not None
            for epoch, metrics in iter(lambda: next(told), None):
                if on_epoch:
                    try:
                        on_epoch(epoch, metrics)
                    except Exception as error:
                        trainer.callers_error = error
                        raise
            if ended:
                return process.returncode
            if time.perf_counter() > latest:  # where one rank waits for another
                raise TrialError("timeout", "stopped, as its ranks did not end by themselves")
            time.sleep(PAUSE)
    finally:
        if process.poll() is None:
            process.terminate()  # torch's launcher ends its ranks then
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _note(folder: Path, epoch: int, metrics: Mapping[str, float]) -> None:
    """Write down what the first rank knows of an epoch."""
    with (folder / EPOCHS).open("a", encoding="utf-8") as file:
        file.write(json.dumps([epoch, dict(metrics)]) + "\n")


def _told(file: Path) -> Iterator[tuple[int, dict[str, float]] | None]:
    """Yield the epochs of a file that grows, and None where there is no other one yet."""
    position = 0
    while True:
        if not file.is_file():
            yield None
            continue
        with file.open("rb") as opened:
            opened.seek(position)
            line = opened.readline()
        if not line.endswith(b"\n"):
            yield None
            continue
        position += len(line)
        epoch, metrics = json.loads(line)
        yield epoch, metrics


def _result(folder: Path, code: int) -> dict[str, float]:
    """Return what the first rank has measured, or raise what a rank has said."""
    errors = [json.loads(f.read_text(encoding="utf-8")) for f in sorted(folder.glob("rank*.json"))]
    if errors:
        first = min(errors, key=lambda error: error["kind"] in VAGUE)
        if not first["kind"]:
            raise NASError(first["text"])
        raise TrialError(first["kind"], first["text"])
    result = folder / RESULT
    if code or not result.is_file():
        log = (folder / LOG).read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(log) if line.strip()), "nothing was said")
        raise TrialError("error", f"distributed training ended with code {code}: {last[:200]}")
    return json.loads(result.read_text(encoding="utf-8"))
