"""What a short training costs beside its arithmetic, and beside Ultralytics' `yolo train`.

    python benchmarks/overhead.py [rounds=3] [threads=2]

YOLOv8n on the embedded cells, 128 px, batch 16, 3 epochs, one validation, in a warm process. Bare
is forward, loss, backward and optimiser step on batches made before (channels_last), and the
forward of the validation. `first` is the first candidate of a search, `short` any other, which is
handed the same batches and is what is compared. Non-maximum suppression and metrics
are counted on neither side. All are timed in turn, several rounds, and compared by the medians of
one run. The last line is a JSON object; `pass` is at most 1.2 times the bare time and at least 2.5
times faster than Ultralytics.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from lib import Figures, Table, machine, start, targets

KEYS = {"rounds": 3, "threads": os.cpu_count() or 1}
SIZE, BATCH, EPOCHS = 128, 16, 3
HELD_OUT = 1 / 6  # of 240 images, which leaves 200 to train on
MOST, LEAST = 1.2, 2.5


def main(given: dict[str, Any]) -> Figures:
    """Print the table and return the figures."""
    rounds, threads = int(given["rounds"]), int(given["threads"])
    os.environ["OMP_NUM_THREADS"] = str(threads)  # which torch reads when it is imported

    import torch

    from yolo_nas_ext.estimators.training import ShortTraining
    from yolo_nas_ext.host.dataset import read
    from yolo_nas_ext.host.training.batch_cache import forget

    torch.set_num_threads(threads)
    data = read("cells")
    short = ShortTraining(
        data, epochs=EPOCHS, imgsz=SIZE, batch=BATCH, threads=threads, val_fraction=HELD_OUT
    )
    batches, held_out = record(short)
    times: dict[str, list[float]] = {"bare": [], "first": [], "short": [], "ultralytics": []}
    table = Table(*(f"{name}, s" for name in times))
    for _ in range(rounds):
        times["bare"].append(bare(batches, held_out))
        forget()
        times["first"].append(timed(lambda: short.estimate("yolov8n")))
        times["short"].append(timed(lambda: short.estimate("yolov8n")))
        times["ultralytics"].append(timed(lambda: ultralytics(data, threads)))
        table.row(*(f"{seconds[-1]:.2f}" for seconds in times.values()))
    middle = {name: median(seconds) for name, seconds in times.items()}
    over, faster = middle["short"] / middle["bare"], middle["ultralytics"] / middle["short"]
    met = {
        f"at most {MOST} times the bare arithmetic": over <= MOST,
        f"at least {LEAST} times faster than Ultralytics": faster >= LEAST,
    }
    return {
        "images": len(short.split[0]),
        "steps": len(batches),
        "threads": threads,
        "seconds": {name: round(seconds, 2) for name, seconds in middle.items()},
        "short_to_bare": round(over, 3),
        "ultralytics_to_short": round(faster, 2),
        **machine(),
        "torch": torch.__version__,
        "pass": targets(met),
    }


def record(short: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the batches of a training, one a step, and those of its validation."""
    from ultralytics.models.yolo.detect import DetectionValidator

    from yolo_nas_ext.host.training.lean import LeanDetectionTrainer

    with (
        _collected(LeanDetectionTrainer, "preprocess_batch") as steps,
        _collected(DetectionValidator, "preprocess") as held_out,
    ):
        short.estimate("yolov8n")
    return steps, held_out


@contextlib.contextmanager
def _collected(owner: Any, name: str) -> Iterator[list[Any]]:
    """Collect what a method returns."""
    found: list[Any] = []
    original = getattr(owner, name)

    def keep(self: Any, batch: Any) -> Any:
        found.append(original(self, batch))
        return found[-1]

    with _replaced(owner, name, keep):
        yield found


def bare(batches: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> float:
    """Return seconds of steps and validation forwards on batches that are there."""
    import torch
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel("yolov8n.yaml", nc=3, verbose=False)
    model.args = get_cfg()
    model = model.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.001)
    begin = time.perf_counter()
    for batch in batches:
        optimiser.zero_grad()
        loss, _ = model(batch)
        sum(loss.values()).backward() if isinstance(loss, dict) else loss.sum().backward()
        optimiser.step()
    model.eval()
    with torch.inference_mode():
        for batch in held_out:
            model(batch["img"])
    return time.perf_counter() - begin


def ultralytics(data: Any, threads: int) -> None:
    """Train as `yolo detect train` does, with as many steps and the same images."""
    import torch
    from ultralytics import YOLO
    from ultralytics.utils import LOGGER

    torch.set_num_threads(threads)
    LOGGER.setLevel("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        listed = _listed(data, folder)
        YOLO("yolov8n.yaml").train(
            data=listed,
            imgsz=SIZE,
            batch=BATCH,
            nbs=BATCH,
            epochs=EPOCHS,
            device="cpu",
            project=folder,
            verbose=False,
            amp=False,
        )


def _listed(data: Any, folder: str) -> str:
    """Write the split of the short training as a data YAML for Ultralytics."""
    from pathlib import Path

    import yaml

    from yolo_nas_ext.data.splits import hold_out

    content: dict[str, Any] = {"path": folder, "names": dict(data.names)}
    for name, part in zip(("train", "val"), hold_out(data.classes, fraction=HELD_OUT), strict=True):
        file = Path(folder) / f"{name}.txt"
        file.write_text("".join(f"{data.images[index]}\n" for index in part), encoding="utf-8")
        content[name] = file.name
    path = Path(folder) / "data.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


_spent = [0.0]


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds of a call, without those of suppression and metrics."""
    from ultralytics.models.yolo.detect import DetectionValidator

    _spent[0] = 0.0
    with contextlib.ExitStack() as stack:
        for name in ("postprocess", "update_metrics", "get_stats", "finalize_metrics"):
            stack.enter_context(
                _replaced(DetectionValidator, name, _counted(getattr(DetectionValidator, name)))
            )
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin - _spent[0]


def _counted(call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            _spent[0] += time.perf_counter() - begin

    return counted


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


if __name__ == "__main__":
    start(main, KEYS)
