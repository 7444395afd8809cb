"""What a short training costs beside its arithmetic, and beside the host's own `yolo train`.

    python benchmarks/overhead.py [rounds=3] [threads=2]

YOLOv8n on the embedded cells, 128 px, batch 16, 3 epochs, one validation, in a warm process. Bare
is forward, loss, backward and optimiser step on batches made before (channels_last), and the
forward of the validation. `first` is the first candidate of a search, `short` any other, which is
handed the same batches (`host.replay`) and is what is compared. Non-maximum suppression and metrics
are counted on neither side. All are timed in turn, several rounds, and compared by the medians of
one run. The last line is a JSON object; `pass` is at most 1.2 times the bare time and at least 2.5
times faster than the host.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from yolo_nas_ext.config.arguments import parse_arguments

SIZE, BATCH, EPOCHS = 128, 16, 3
HELD_OUT = 1 / 6  # of 240 images, which leaves 200 to train on
MOST, LEAST = 1.2, 2.5


def main(arguments: list[str]) -> int:
    """Print the figures and return the exit code."""
    given = {"rounds": 3, "threads": os.cpu_count() or 1, **parse_arguments(arguments)}
    rounds, threads = int(given["rounds"]), int(given["threads"])
    os.environ |= {"OMP_NUM_THREADS": str(threads), "YOLO_OFFLINE": "1"}

    import torch

    from yolo_nas_ext.estimators.training import ShortTraining
    from yolo_nas_ext.host.dataset import read
    from yolo_nas_ext.host.training import batch_cache

    torch.set_num_threads(threads)
    data = read("cells")
    short = ShortTraining(
        data, epochs=EPOCHS, imgsz=SIZE, batch=BATCH, threads=threads, val_fraction=HELD_OUT
    )
    steps, batches, held_out = record(short)
    times: dict[str, list[float]] = {"bare": [], "first": [], "short": [], "host": []}
    for _ in range(rounds):
        times["bare"].append(bare(batches, held_out))
        batch_cache.forget()
        times["first"].append(timed(lambda: short.estimate("yolov8n")))
        times["short"].append(timed(lambda: short.estimate("yolov8n")))
        times["host"].append(timed(lambda: host(data, threads)))
        print(
            "  ".join(f"{name} {seconds[-1]:6.2f} s" for name, seconds in times.items()), flush=True
        )
    middle = {name: median(seconds) for name, seconds in times.items()}
    over, faster = middle["short"] / middle["bare"], middle["host"] / middle["short"]
    figures = {
        "images": len(short.split[0]), "steps": steps, "threads": threads,
        "seconds": {name: round(seconds, 2) for name, seconds in middle.items()},
        "short_to_bare": round(over, 3), "host_to_short": round(faster, 2),
        "cpu": platform.processor() or platform.machine(), "torch": torch.__version__,
        "pass": over <= MOST and faster >= LEAST,
    }  # fmt: skip
    print(json.dumps(figures))
    return 0 if figures["pass"] else 1


def record(short: Any) -> tuple[int, list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the number of steps, and the batches of a training and of its validation."""
    from yolo_nas_ext.host.training.lean import LeanDetectionTrainer

    steps: list[dict[str, Any]] = []
    original = LeanDetectionTrainer.preprocess_batch

    def keep(self: Any, batch: dict[str, Any]) -> dict[str, Any]:
        batch = original(self, batch)
        steps.append(batch)
        return batch

    with _replaced(LeanDetectionTrainer, "preprocess_batch", keep):
        held_out = [batch for batch in _validated(short)]
    return len(steps), steps, held_out


def _validated(short: Any) -> list[dict[str, Any]]:
    from ultralytics.models.yolo.detect import DetectionValidator

    batches: list[dict[str, Any]] = []
    original = DetectionValidator.preprocess

    def keep(self: Any, batch: dict[str, Any]) -> dict[str, Any]:
        batch = original(self, batch)
        batches.append(batch)
        return batch

    with _replaced(DetectionValidator, "preprocess", keep):
        short.estimate("yolov8n")
    return batches


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


def host(data: Any, threads: int) -> None:
    """Train as `yolo detect train` does, with as many steps and the same images."""
    import torch
    from ultralytics import YOLO
    from ultralytics.utils import LOGGER

    torch.set_num_threads(threads)
    LOGGER.setLevel("ERROR")
    with tempfile.TemporaryDirectory() as folder:
        listed = _listed(data, folder)
        YOLO("yolov8n.yaml").train(
            data=listed, imgsz=SIZE, batch=BATCH, nbs=BATCH, epochs=EPOCHS, device="cpu",
            project=folder, verbose=False, amp=False,
        )  # fmt: skip


def _listed(data: Any, folder: str) -> str:
    """Write the split of the short training as a data YAML for the host."""
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
    raise SystemExit(main(sys.argv[1:]))
