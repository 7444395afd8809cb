"""How a model is trained and measured: one frozen value instead of a row of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host import devices
from yolo_nas_ext.host.metrics import Measure
from yolo_nas_ext.host.training.distillation import TeacherFile


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What all trainings of a search have in common; where one differs, it takes a `replace`.

    Attributes:
        epochs: Epochs; the learning-rate schedule is complete within them.
        imgsz: Height and width of images in pixels, a multiple of 32.
        batch: Images a step.
        task: Ultralytics' task.
        seed: Of weights, order of images and augmentation.
        device: Ultralytics' device, or several, see `host.devices`; it chooses one unless given.
        threads: CPU threads; importing Ultralytics leaves one where nobody set another number.
        overrides: Further arguments of Ultralytics' trainer.
        timeout: Seconds after which a training is stopped.
        short: Whether batch norms and the moving average of the weights keep up with few steps;
            they are Ultralytics' otherwise.
        every: Epochs from one measurement to the next; only the last epoch is measured without.
        measure: Measures predictions on the held-out images, of tasks with upright boxes; its
            ``fitness`` takes the place of Ultralytics', which is kept as ``host_fitness``.
        images: Folder for decoded images that do not fit into memory; without one they are
            decoded at every use.
        shared: Whether other processes use that folder too; then all images are mapped from it,
            so that no process holds a copy.
        parts: Parts of the held-out images, or of their groups; fitness without each is measured,
            too, of tasks with boxes.
        cache: Where decoded images are kept, see `image_cache.place`.
        teacher: A trained network whose predictions are learned beside the labels.
        precision: ``int8`` or ``fp16`` where the trained network is measured in that as well, see
            `host.training.quantised`; empty otherwise.
        int8_by: The runtime whose own tool quantises it; empty for ONNX Runtime.
        together: Whether one training takes all devices, by Ultralytics' distributed training; else
            it takes the first.
        halves: Whether a training that does not fit into memory is tried once more with half the
            batch. Gradients are then added up over two steps where the recipe says of how many
            images a step of the optimiser is (``nbs``).

    Raises:
        NASError: For an image size that is no multiple of 32.
    """

    epochs: int
    imgsz: int
    batch: int
    task: str = "detect"
    seed: int = 0
    device: str | None = None
    threads: int = 1
    overrides: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    short: bool = True
    every: int | None = None
    measure: Measure | None = None
    images: Path | None = None
    shared: bool = False
    cache: tuple[str, float | None] = ("auto", None)
    parts: int = 0
    teacher: TeacherFile | None = None
    precision: str = ""
    int8_by: str = ""
    together: bool = False
    halves: bool = False

    def __post_init__(self) -> None:
        """Refuse an image size that no network can be trained at."""
        if self.imgsz < 32 or self.imgsz % 32:
            raise NASError(f"imgsz={self.imgsz}: give a multiple of 32, for example 128 or 640")

    def arguments(self, **fixed: Any) -> dict[str, Any]:
        """Return the arguments of Ultralytics' trainer; `fixed` ones cannot be overridden."""
        return {
            "save": False,
            "plots": False,
            "verbose": False,
            "exist_ok": True,
            "val": self.every is not None,
            "patience": 0,
            "model": "nas.yaml",
            "data": "data.yaml",
            **self.overrides,
            "mode": "train",
            "imgsz": self.imgsz,
            "task": self.task,
            "epochs": self.epochs,
            "batch": self.batch,
            "seed": self.seed,
            "device": devices.mine(self.device),
            **fixed,
        }
