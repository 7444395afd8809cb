"""The accuracy of a trained network in int8 or fp16, measured on the images of its training.

The network is exported by Ultralytics, quantised with images of train, and measured by the same
validator on the same held-out images: the validator asks the model, and the runtime answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from ultralytics.utils.torch_utils import unwrap_model

from yolo_nas_ext.cost.latency import nncf_int8
from yolo_nas_ext.cost.latency.int8 import quantized
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import TrialError
from yolo_nas_ext.host.latency import exported
from yolo_nas_ext.host.metrics import results
from yolo_nas_ext.host.training.augmented import floats

INT8, FP16 = "int8", "fp16"
IMAGES = 128  # of train, at the most, that the ranges of activations are taken from
RETAINED = "retained"  # behind the precision: the part of the accuracy that is left
MAIN = ("map50_95", "accuracy_top1", "fitness")  # of which that is, the first that there is


def measured(
    trainer: Any, precision: str, full: dict[str, float], int8_by: str = ""
) -> dict[str, float]:
    """Return the metrics of a trainer's network in another precision, and what is retained.

    Args:
        trainer: A `LeanMixin` that has measured its network.
        precision: ``int8``, or ``fp16``, by torch.
        full: What it measured.
        int8_by: ``openvino`` where its own tool quantises and runs it; else ONNX Runtime does.

    Returns:
        ``int8_map50_95`` and so on, without the losses, ``int8_fitness`` and ``int8_retained``, the
        part of ``map50_95`` that is left (of a classifier's ``accuracy_top1``); 1 is all of it.

    Raises:
        TrialError: For a network that cannot be exported, quantised or run.
    """
    model: Any = unwrap_model(trainer.ema.ema)
    try:
        run = _int8(trainer, model, int8_by) if precision == INT8 else _half(model)
        with _answering(trainer, model, run):
            trainer.metrics, trainer.fitness = trainer.validate()
            found = results(trainer)
    except TrialError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise TrialError(precision, f"{type(error).__name__}: {reason}") from error
    kept = {f"{precision}_{name}": v for name, v in found.items() if "loss" not in name}
    name = next(name for name in MAIN if name in full)
    share = {f"{precision}_{RETAINED}": found[name] / full[name]} if full[name] else {}
    return {**kept, **share}


def calibration(trainer: Any, images: int = IMAGES) -> Iterator[np.ndarray]:
    """Yield images of train as they are measured: 1 x channels x height x width, from 0 to 1."""
    labels = [trainer.data_set.labels[index] for index in trainer._split[0]]
    rng = random.Random(trainer.args.seed)
    chosen = rng.sample(labels, min(images, len(labels)))
    shown = trainer.held(chosen, augment=False, batch=1)
    for index in range(len(chosen)):
        yield floats(shown[index]["img"])[None].numpy()


def _int8(trainer: Any, model: Any, by: str) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """Return what runs a model in int8, image by image."""
    threads = torch.get_num_threads()
    module = _copied(model).float().cpu()
    if hasattr(module, "end2end"):
        module.end2end = False
    try:
        graph = exported(module, Protocol(imgsz=trainer.args.imgsz), task=trainer.args.task)
    finally:
        torch.set_num_threads(threads)  # which the exporter sets
    shown = calibration(trainer)
    session = (
        nncf_int8.session(graph, shown, threads)
        if by == "openvino"
        else onnx_session(quantized(graph, shown), threads)
    )

    def run(images: torch.Tensor) -> list[torch.Tensor]:
        rows = [session(image[None].float().cpu().numpy()) for image in images]
        return [torch.from_numpy(np.concatenate(parts)) for parts in zip(*rows, strict=True)]

    return run


def onnx_session(model: bytes, threads: int) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return what runs an ONNX model on an image."""
    import onnxruntime  # which a training in one precision does without

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())
    return lambda image: session.run(None, {name: image})  # type: ignore[return-value]


def _copied(model: Any) -> Any:
    """Return a copy of a model without its losses, which know the trainer and its loaders."""
    losses, model.criterion = getattr(model, "criterion", None), None
    try:
        return deepcopy(model)
    finally:
        model.criterion = losses


def _half(model: Any) -> Callable[[torch.Tensor], Any]:
    """Return what runs a model in half precision in torch."""
    module = _copied(model).half().eval()

    def run(images: torch.Tensor) -> Any:
        return _floats(module(images.half()))

    return run


def _floats(value: Any) -> Any:
    """Return outputs in single precision, as the validator computes with them."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: _floats(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_floats(part) for part in value)
    return value


@contextmanager
def _answering(trainer: Any, model: Any, run: Callable[[torch.Tensor], Any]) -> Iterator[None]:
    """Have a model answer by `run` and know no losses for a while, and keep what was measured."""
    before = trainer.metrics, trainer.fitness, trainer._seen
    losses = {name: torch.zeros_like(value) for name, value in trainer.loss_items.items()}
    device = next(model.parameters()).device

    def forward(images: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        answer = run(images)
        if isinstance(answer, list):
            answer = [part.to(device) for part in answer]
            return answer[0] if len(answer) == 1 else answer
        return answer

    model.forward, model.loss = forward, lambda batch, preds=None: (torch.zeros(()), losses)
    try:
        yield
    finally:
        del model.forward, model.loss
        trainer.metrics, trainer.fitness, trainer._seen = before
