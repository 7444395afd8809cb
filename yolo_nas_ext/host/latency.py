"""Latency of whole models, built and exported by Ultralytics as a user's would be."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from ultralytics import YOLO
from ultralytics.engine.exporter import Exporter
from ultralytics.nn import tasks

from yolo_nas_ext.cost.energy import Zone, millijoules
from yolo_nas_ext.cost.latency import runtimes
from yolo_nas_ext.cost.latency.probe import Run, device_name, interleaved, network
from yolo_nas_ext.cost.latency.protocol import (
    EXPORTS,
    Measurement,
    Protocol,
    runtimes_here,
    summary,
)
from yolo_nas_ext.errors import NASError, TrialError, in_a_line
from yolo_nas_ext.host import restricted, suppression
from yolo_nas_ext.host.dataset import quiet
from yolo_nas_ext.host.models import (
    build,
    building,
    check_rows,
    definition,
    given_task,
)
from yolo_nas_ext.host.training import checkpoint
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit

# What can be measured: a network, a model definition, a module, or a .pt, .yaml or .onnx file.
Model = Architecture | Mapping[str, Any] | nn.Module | str | Path


def measure_models(
    models: Mapping[str, Model],
    protocol: Protocol,
    *,
    nc: int = 80,
    task: str = "detect",
    sizes: Mapping[str, int] = MappingProxyType({}),
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[str, Measurement]:
    """Return the latency of each model, measured in turns that alternate between them.

    Every model is exported by Ultralytics with its own defaults (batch norms folded, boxes decoded,
    no NMS), or run in torch with batch norms folded. Weights do not matter for the time. With
    `Protocol.nms` boxes are final: an end-to-end head is run by its one-to-one branch, and after
    others the same made-up boxes are suppressed.

    Args:
        models: By name: an `Architecture`, a model definition, a module of Ultralytics, or the path
            of a ``.pt``, ``.yaml`` or ``.onnx`` file.
        protocol: Runtime, precision, image size, threads, repeats.
        nc: Classes, for an `Architecture`.
        task: What an `Architecture` does.
        sizes: Image size in pixels of models that have another than the protocol's, by name.
        progress: Called with ``"load"`` or ``"measure"``, steps done and all of them.

    Raises:
        NASError: For a runtime that is not there, or a model that it cannot load.
    """
    runtimes.check(protocol)
    own = {name: replace(protocol, imgsz=sizes.get(name, protocol.imgsz)) for name in models}
    with runtimes.torch_threads(protocol.threads):  # which Ultralytics' exporter sets, too
        runs: dict[str, Run] = {}
        for index, (name, model) in enumerate(models.items()):
            progress("load", index, len(models))
            runs[name] = load(model, own[name], nc=nc, task=task, where=name)
        waits: dict[str, list[float]] = {}
        times = interleaved(
            runs,
            repeats=protocol.repeats,
            warmup=protocol.warmup,
            waits=waits,
            progress=lambda done, total: progress("measure", done, total),
        )
    known = runtimes.runtime_version(protocol.runtime), device_name_of(protocol)
    return {name: summary(v, own[name], *known, waits[name]) for name, v in times.items()}


def energy_of(
    models: Mapping[str, Model],
    protocol: Protocol,
    counters: list[Zone],
    *,
    nc: int = 80,
    task: str = "detect",
    sizes: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, float]:
    """Return the millijoules of one image of each model, run as `measure_models` does.

    Args:
        models: See `measure_models`.
        protocol: Runtime, precision, image size, threads.
        counters: Of this machine's processors, see `cost.energy.zones`.
        nc: Classes, for an `Architecture`.
        task: What an `Architecture` does.
        sizes: Image size in pixels of models that have another than the protocol's, by name.

    Raises:
        NASError: For a runtime that is not there, a model that it cannot load, or counters that do
            not move.
    """
    runtimes.check(protocol)
    with runtimes.torch_threads(protocol.threads):
        runs = {}
        for name, model in models.items():
            own = replace(protocol, imgsz=sizes.get(name, protocol.imgsz))
            runs[name] = load(model, own, nc=nc, task=task, where=name or "model")
        return millijoules(runs, counters, images=protocol.batch)


def device_name_of(protocol: Protocol) -> str:
    """Return the name of the device that a protocol measures."""
    if protocol.device == "cpu":
        return device_name()
    return torch.cuda.get_device_name(int(protocol.device))


def load(
    model: Model, protocol: Protocol, *, nc: int = 80, task: str = "detect", where: str = "model"
) -> Run:
    """Return what runs a model once; see `measure_models`."""
    if not protocol.nms:
        return _network(model, protocol, nc, task, where)
    if isinstance(model, (str, Path)) and Path(model).suffix == ".onnx":
        boxes = suppression.of_file(Path(model), where)
    else:
        model = built(model, nc=nc, task=task, where=where)
        final = protocol.runtime != "ncnn"  # which has no top-k: the other branch is exported
        boxes = suppression.of_module(model, protocol.imgsz, where, final=final)
    run = _network(model, protocol, nc, task, where)
    if boxes is None:
        return run
    suppress = suppression.suppression(boxes, protocol)

    def both() -> None:
        run()
        suppress()

    return both


def _network(model: Model, protocol: Protocol, nc: int, task: str, where: str) -> Run:
    """Return what runs a model once, to decoded boxes; of an end-to-end head final ones by nms."""
    if protocol.runtime == "torch":
        return _torch(model, protocol, nc, task, where)
    if protocol.runtime == "tensorrt":
        return _tensorrt(model, protocol, nc, task, where)
    if protocol.runtime in EXPORTS:
        return _other(model, protocol, nc, task, where)
    onnx = exported(model, protocol, nc=nc, task=task, where=where)
    return runtimes.load(onnx, protocol, where, whole=True)


def built(model: Model, *, nc: int = 80, task: str = "detect", where: str = "model") -> nn.Module:
    """Return a model as a module of Ultralytics, a copy where it is one.

    Raises:
        NASError: Where it cannot be built or read.
        TrialError: Where an `Architecture` cannot be built.
    """
    if isinstance(model, nn.Module):
        return deepcopy(model)
    if isinstance(model, Architecture):
        return build(emit(model, nc, task), task=task)
    try:
        if isinstance(model, (str, Path)):
            if Path(model).suffix == ".pt":
                restricted.content(model, where)
            else:
                check_rows(definition(str(model), task, where)[0])
            with building(), restricted.known(model):
                return YOLO(str(model)).model  # pyright: ignore[reportReturnType]
        return build(model, task=given_task(model) or "detect")
    except NASError:
        raise
    except Exception as error:
        what = str(error) if isinstance(error, TrialError) else in_a_line(error)
        raise NASError(f"{where}: Ultralytics cannot build or read it ({what})") from error


def exported(
    model: Model,
    protocol: Protocol,
    *,
    nc: int = 80,
    task: str = "detect",
    where: str = "model",
    opset: int | None = None,
) -> bytes:
    """Return a model as ONNX, exported by Ultralytics with its defaults.

    Args:
        model: The model.
        protocol: Its image size, batch and device.
        nc: Number of classes.
        task: What the model does.
        where: What a user calls it, for messages.
        opset: Version of ONNX' operators; the newest that this machine takes if None.

    Raises:
        NASError: Where it cannot be exported.
    """
    if isinstance(model, (str, Path)) and Path(model).suffix == ".onnx":
        if not Path(model).is_file():
            raise NASError(f"{where}: {model} does not exist")
        return Path(model).read_bytes()
    with TemporaryDirectory() as folder:
        return Path(_export(model, "onnx", protocol, folder, nc, task, where, opset)).read_bytes()


def written(
    model: Model,
    form: str,
    protocol: Protocol,
    folder: Path,
    *,
    nc: int = 80,
    task: str = "detect",
    where: str = "model",
) -> Path:
    """Write a model into a folder in a format and return the file, or the folder of several.

    Args:
        model: The model.
        form: ``pt``, a checkpoint, or a format of Ultralytics' export.
        protocol: Its image size, batch and device.
        folder: Where to; it exists.
        nc: Number of classes.
        task: What the model does.
        where: What a user calls it, for messages and for the file's name.

    Raises:
        NASError: Where it cannot be exported.
    """
    if form != "pt":
        return Path(_export(model, form, protocol, str(folder), nc, task, where, stem=where))
    module: Any = built(model, nc=nc, task=task, where=where)
    path = folder / f"{where}.pt"
    args = {"imgsz": protocol.imgsz, "task": str(tasks.guess_model_task(module))}
    checkpoint.save(module, path, args=args, metrics={})
    return path


def _export(
    model: Model,
    form: str,
    protocol: Protocol,
    folder: str,
    nc: int,
    task: str,
    where: str,
    opset: int | None = None,
    stem: str = "model",
) -> str:
    """Export into a folder and return the file."""
    module: Any = built(model, nc=nc, task=task, where=where)
    module.pt_path = str(Path(folder) / f"{stem}.pt")  # the exporter writes beside it
    module.task = tasks.guess_model_task(module) or "detect"
    arguments = {
        "format": form,
        "imgsz": protocol.imgsz,
        "batch": protocol.batch,
        "device": protocol.device,
        "verbose": False,
        "data": None,
    }
    if protocol.nms:  # Ultralytics' word for the branch of an end-to-end head that needs none
        arguments["nms"] = False
    if opset is not None:
        arguments["opset"] = opset
    if form == "engine" and protocol.precision == "fp16":
        arguments["quantize"] = 16
    try:
        with quiet(), _mute(form == "ncnn"):
            return str(Exporter(overrides=arguments)(model=module))
    except Exception as error:
        raise NASError(f"{where}: Ultralytics cannot export it ({in_a_line(error)})") from error


@contextmanager
def _mute(wanted: bool) -> Iterator[None]:
    """Keep a programme that an export runs from the screen, where it prints each of its steps."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    before = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(before, 1)
        os.close(before)
        os.close(nowhere)


def _torch(model: Model, protocol: Protocol, nc: int, task: str, where: str) -> Run:
    if isinstance(model, (str, Path)) and Path(model).suffix == ".onnx":
        raise NASError(f"{where}: runtime=torch runs no ONNX file; give the .pt or .yaml")
    module: Any = built(model, nc=nc, task=task, where=where)
    if hasattr(module, "end2end"):
        module.end2end = protocol.nms  # as in an export, so that the runtimes compute the same
    device = protocol.place
    with quiet():
        module = module.float().eval().fuse(verbose=False)
    shape = (protocol.batch, module.yaml.get("channels", 3), protocol.imgsz, protocol.imgsz)
    image = torch.from_numpy(runtimes.inputs([shape])[0]).to(device)
    module = module.to(device)
    if protocol.precision == "fp16":
        module, image = module.half(), image.half()

    def run() -> None:
        module(image)
        if device != "cpu":
            torch.cuda.synchronize(device)

    return run


def _other(model: Model, protocol: Protocol, nc: int, task: str, where: str) -> Run:
    """Return what runs a model in NCNN or LiteRT, as Ultralytics exports it."""
    with TemporaryDirectory() as folder:
        if isinstance(model, (str, Path)) and Path(model).suffix == ".onnx":
            raise NASError(
                f"{where}: runtime={protocol.runtime} runs no ONNX file; give the .pt or .yaml"
            )
        file = _export(model, EXPORTS[protocol.runtime], protocol, folder, nc, task, where)
        how = protocol.threads, protocol.imgsz, protocol.precision
        try:
            run = network(protocol.runtime, file, *how)
            run()
        except Exception as error:  # each runtime has errors of its own
            raise NASError(
                f"{where}: {runtimes.runtime_version(protocol.runtime)} cannot run it "
                f"({in_a_line(error)}); try another runtime="
            ) from error
    return run


def _tensorrt(model: Model, protocol: Protocol, nc: int, task: str, where: str) -> Run:
    """Return what runs a model as an engine that Ultralytics exports and loads."""
    from ultralytics.nn.autobackend import AutoBackend

    if not torch.cuda.is_available():
        raise NASError(
            "runtime=tensorrt: torch sees no GPU here; give one of those for a CPU that are "
            f"installed here: {', '.join(n for n in runtimes_here() if n != 'tensorrt')}"
        )
    device = torch.device(f"cuda:{0 if protocol.device == 'cpu' else protocol.device}")
    with TemporaryDirectory() as folder:
        file = _export(model, "engine", protocol, folder, nc, task, where)
        backend = AutoBackend(file, device=device, fp16=protocol.precision == "fp16")
    shape = (protocol.batch, 3, protocol.imgsz, protocol.imgsz)
    image = torch.from_numpy(runtimes.inputs([shape])[0]).to(device)

    def run() -> None:
        backend(image)
        torch.cuda.synchronize(device)

    return run
