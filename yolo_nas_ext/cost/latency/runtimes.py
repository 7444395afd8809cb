"""Running an ONNX model or a torch module in a runtime, with its threads set explicitly."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from yolo_nas_ext.cost.latency import nncf_int8, probe
from yolo_nas_ext.cost.latency.int8 import quantized
from yolo_nas_ext.cost.latency.probe import Run
from yolo_nas_ext.cost.latency.protocol import PACKAGES, Protocol, runtimes_here
from yolo_nas_ext.errors import NASError


def runtime_version(runtime: str) -> str:
    """Return name and version of the package behind a runtime.

    Raises:
        NASError: Where it is not installed.
    """
    package = PACKAGES[runtime]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError as error:
        extra = {
            "openvino": "pip install 'yolo-nas-ext[openvino]'",
            "tensorrt": "it comes with NVIDIA's GPUs: pip install tensorrt",
        }.get(runtime, f"pip install {package}")
        here = ", ".join(f"runtime={name}" for name in runtimes_here()) or "none"
        raise NASError(
            f"runtime={runtime}: {package} is not installed ({extra}); or give one that is: {here}"
        ) from error


def check(protocol: Protocol) -> None:
    """Refuse what a runtime cannot do, with the reason, before anything is built.

    Raises:
        NASError: For a missing runtime, or a precision that it does not have here.
    """
    runtime_version(protocol.runtime)
    allowed = _precisions(protocol)
    if protocol.precision not in allowed:
        raise NASError(
            f"precision={protocol.precision}: runtime={protocol.runtime} on {protocol.device} does "
            f"not compute in it here; allowed: {', '.join(allowed)}"
        )
    if protocol.runtime == "ncnn" and protocol.batch > 1:
        raise NASError(
            f"batch={protocol.batch}: runtime=ncnn takes one image at a time; give batch=1"
        )
    if protocol.runtime == "torch" and protocol.device != "cpu":
        there = devices_here()
        if protocol.device not in there:
            raise NASError(
                f"device={protocol.device}: torch has no such device here; devices here: "
                f"{', '.join(there)}"
            )
    elif protocol.device != "cpu" and protocol.runtime != "tensorrt":
        there = devices_here()
        gpu = ", or runtime=torch or tensorrt for a GPU" if len(there) > 1 else ""
        raise NASError(
            f"device={protocol.device}: runtime={protocol.runtime} is measured on the CPU; give "
            f"device=cpu{gpu}. Devices here: {', '.join(there)}"
        )


def devices_here() -> list[str]:
    """Return the devices that latency can be measured on, as a user types them."""
    import torch  # which a measurement on the CPU does without

    return ["cpu", *map(str, range(torch.cuda.device_count()))]


def _precisions(protocol: Protocol) -> tuple[str, ...]:
    """Return the precisions of a runtime on a device."""
    if protocol.runtime == "onnx":  # its CPU kernels convert fp16 to fp32 and back at every layer
        return ("fp32", "int8")
    if protocol.runtime == "torch":
        return ("fp32", "fp16")
    if protocol.runtime == "openvino":
        import openvino  # pyright: ignore[reportMissingImports]

        able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return ("fp32", *(("fp16",) if "FP16" in able else ()), "int8")
    if protocol.runtime == "litert":
        return ("fp32",)
    return ("fp32", "fp16")


def load(model: bytes, protocol: Protocol, where: str = "model", *, whole: bool = False) -> Run:
    """Return what runs an ONNX model once, on random inputs of the shapes it asks for.

    Args:
        model: The file's content.
        protocol: Runtime, precision and threads.
        where: What it is, for messages.
        whole: Whether it is a whole network, which OpenVINO's own tool quantises where it is here;
            of thousands of layers that would take hours.

    Raises:
        NASError: For a model that the runtime cannot load.
    """
    make = {"onnx": _onnx, "openvino": _openvino}[protocol.runtime]
    try:
        int8 = protocol.precision == "int8"
        if int8 and whole and nncf_int8.is_here(protocol.runtime):
            run = _compiled(nncf_int8.quantized(model), protocol)
        else:
            run = make(quantized(model) if int8 else model, protocol)
        run()
    except NASError:
        raise
    except Exception as error:  # each runtime has errors of its own
        reason = " ".join(str(error).split())[:200]
        raise NASError(
            f"{where}: {runtime_version(protocol.runtime)} cannot run it "
            f"({type(error).__name__}: {reason}); try another runtime= or precision="
        ) from error
    return run


def inputs(shapes: Sequence[Sequence[int]], seed: int = 0) -> list[np.ndarray]:
    """Return random images from 0 to 1 of some shapes."""
    rng = np.random.default_rng(seed)
    return [rng.random(tuple(shape), dtype=np.float32) for shape in shapes]


def _onnx(model: bytes, protocol: Protocol) -> Run:
    return probe.session(model, protocol.threads)


def _openvino(model: bytes, protocol: Protocol) -> Run:
    import openvino  # pyright: ignore[reportMissingImports]

    return _compiled(openvino.Core().read_model(model), protocol)


def _compiled(network: Any, protocol: Protocol) -> Run:
    """Return what runs OpenVINO's model once."""
    import openvino  # pyright: ignore[reportMissingImports]

    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": protocol.threads,
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": "f16" if protocol.precision == "fp16" else "f32",
    }
    compiled = openvino.Core().compile_model(network, "CPU", settings)
    request = compiled.create_infer_request()
    for index, array in enumerate(inputs([list(i.shape) for i in compiled.inputs])):
        request.set_input_tensor(index, openvino.Tensor(array))
    return request.infer


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with that many threads and without gradients, and set it back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def busy_note() -> str:
    """Return what to say of a machine that other work uses, or nothing."""
    try:
        load_average, cores = os.getloadavg()[0], os.cpu_count() or 1
    except OSError:  # not on this system
        return ""
    if load_average <= 0.5 * cores:
        return ""
    return (
        f"the machine is busy (load average {load_average:.1f} on {cores} cores): latencies are "
        "those of what is left of it"
    )
