"""`yolo nas-profile`: how long networks take on a device, measured on a sample and fitted."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from yolo_nas_ext.commands import profile_sample
from yolo_nas_ext.config.fields import checked, real, size, text, texts, whole
from yolo_nas_ext.cost.latency import bundle, runtimes
from yolo_nas_ext.cost.latency.fit import Model, Record, fit, time_layers
from yolo_nas_ext.cost.latency.fused_layers import Op, deployed
from yolo_nas_ext.cost.latency.probe import BURST, Clock
from yolo_nas_ext.cost.latency.profile import Profile, save
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.space.detector import DetectorSpace

HELP = """yolo nas-profile [runtime=onnx|torch|openvino] [device=cpu] [imgsz=320,640] [threads=1]
               [precision=fp32|int8|fp16] [spaces=tiny,yolo,damo] [minutes=8] [out=device.json]
yolo nas-profile bundle=probe.zip [imgsz=320,640] [threads=1] [spaces=...] [minutes=8]
yolo nas-profile import=result.json [out=device.json]

Times a sample of the layers that the networks of some spaces have, and some whole networks, on this
device, and writes what predicts the latency of any of them: a profile, for
  yolo nas-search latency=device.json max_latency=8 imgsz=320
  yolo nas-score latency=device.json model=yolo11n imgsz=320
It takes `minutes`, roughly, and longer where whole networks are slow; one that was stopped goes on
where it was. For a device that is elsewhere bundle= writes a zip: unpack it there, run probe.py
(Python, numpy and onnxruntime are all it needs), bring back result.json and give it to import=."""

Parse = Callable[[Any], Any]


def sizes(value: Any) -> tuple[int, ...]:
    """Accept image sizes such as 320,640."""
    parts = value if isinstance(value, list) else str(value).split(",")
    try:
        numbers = tuple(dict.fromkeys(size(int(part)) for part in parts))
    except ValueError as error:
        raise ValueError("multiples of 32 such as 320,640") from error
    if not numbers:
        raise ValueError("multiples of 32 such as 320,640")
    return numbers


KEYS: dict[str, Parse] = {
    "runtime": text,
    "device": lambda value: str(value),
    "imgsz": sizes,
    "threads": whole(1),
    "precision": text,
    "batch": whole(1),
    "spaces": texts,
    "minutes": real(0),
    "out": text,
    "seed": whole(0),
    "bundle": text,
    "import": text,
}
USUAL: dict[str, Any] = {
    "runtime": "onnx",
    "device": "cpu",
    "imgsz": (320, 640),
    "threads": 1,
    "precision": "fp32",
    "batch": 1,
    "spaces": ("tiny", "yolo", "damo"),
    "minutes": 8.0,
    "out": None,
    "seed": 0,
    "bundle": None,
    "import": None,
}
LAYERED = ("onnx", "torch", "openvino")  # runtimes that layers are timed in
LAYERS = 0.25  # of the minutes, for layers at the least, however long whole networks take
FEWEST = 50  # layers that a profile can be made of


class Network(NamedTuple):
    """A network of the calibration and its number of classes."""

    architecture: Architecture
    nc: int

    @property
    def name(self) -> str:
        """Its key, with the classes, as one network may be drawn with several numbers of them."""
        return f"nas-{self.architecture.key} nc {self.nc}"


def main(given: Mapping[str, Any]) -> int:
    """Profile, write a bundle or read what one brought back; returns the exit code.

    It is 3 where Ctrl-C ended it, after which the same command goes on.

    Raises:
        NASError: For an unknown key, a bad value, or what cannot be measured here.
    """
    values = checked(given, KEYS, USUAL)
    if values["import"]:
        if other := sorted(set(given) - {"import", "out", "seed"}):
            raise NASError(f"{other[0]}: not with import=, as the bundle has settled it")
        found = bundle.read(Path(values["import"]))
        profile = fit(*found[:5], about=found.about, seed=values["seed"])
        save(profile, _out(values, profile.device_name, profile.protocol.runtime))
    elif values["bundle"]:
        return _bundle(values)
    else:
        try:
            profile = _profile(values)
        except KeyboardInterrupt:
            print("\ninterrupted; the same command goes on with what was timed")
            return 3
    out = _out(values, profile.device_name, profile.protocol.runtime)
    print(summary(profile))
    known = [str(size) for size in profile.sizes]
    choice = f" sizes={','.join(known)}" if len(known) > 1 else ""
    print(
        f"written to {out}; for example:\n  yolo nas-search latency={out} max_latency=8 "
        f"imgsz={known[0]}{choice}"
    )
    return 0


def summary(profile: Profile) -> str:
    """Return what a profile is of and how well it predicts, as lines for people."""
    lines = [
        f"{profile.device_name}: {profile.protocol.setting}, {profile.runtime_version}; "
        f"{len(profile.layers)} layers"
    ]
    for imgsz, at in profile.sizes.items():
        times = [ms for _, ms, _ in at.models]
        lines.append(
            f"{imgsz} px: {len(times)} networks of {min(times):.2f} to {max(times):.2f} ms, each "
            f"predicted from the others: median error {at.error(0.5):.1%}, 90 % within "
            f"{at.error(0.9):.1%}"
        )
    return "\n".join(lines)


def _out(values: Mapping[str, Any], device: str, runtime: str) -> Path:
    """Return where the profile goes: unless it is given, a name made of the device's."""
    plain = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")[:40] or "device"
    return Path(values["out"] or f"{plain}-{runtime}.json")


def _protocol(values: Mapping[str, Any]) -> Protocol:
    names = ("runtime", "device", "precision", "batch", "threads")
    return Protocol(**{name: values[name] for name in names}, imgsz=values["imgsz"][0])


def _drawn(values: Mapping[str, Any]) -> tuple[list[Op], list[Network]]:
    """Return the layers to time and the networks to calibrate on."""
    spaces = [DetectorSpace.load(name) for name in values["spaces"]]
    networks = profile_sample.models(spaces, values["seed"] + 1)
    ops = profile_sample.layers(spaces, values["imgsz"], values["seed"])
    return ops, [Network(*n) for n in dict.fromkeys(networks)]


def _about(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"spaces": list(values["spaces"]), "date": time.strftime("%Y-%m-%d")}


def _profile(values: Mapping[str, Any]) -> Profile:
    """Return the profile of this device once it is written; what was timed is kept until then."""
    protocol = _protocol(values)
    if protocol.runtime not in LAYERED:
        raise NASError(
            f"runtime={protocol.runtime}: layers are timed in {', '.join(LAYERED)}; measure whole "
            "models by yolo nas-score measure=True, or search with latency=measure"
        )
    runtimes.check(protocol)
    from yolo_nas_ext.host import latency  # loads torch and the host

    device = latency.device_name_of(protocol)
    version = runtimes.runtime_version(protocol.runtime)
    out = _out(values, device, protocol.runtime)
    ops, networks = _drawn(values)
    if busy := runtimes.busy_note():
        print(f"note: {busy}")
    about = _about(values)
    identity = {
        "device": device,
        "version": version,
        "protocol": protocol.to_dict(),
        **about,
        "imgsz": values["imgsz"],
        "seed": values["seed"],
        "networks": [n.name for n in networks],
    }
    del identity["date"]
    record = Record(out.with_name(f".{out.name}.timed"), identity)
    with closing(record), runtimes.torch_threads(protocol.threads):
        if record.known:
            print(f"going on with {len(record.known)} layers that were timed before")
        times = _models(networks, values["imgsz"], protocol, record)
        minutes = 60 * values["minutes"]
        left = max(minutes - record.seconds, LAYERS * minutes)
        layers = time_layers(ops, protocol, record, seconds=left, what="layers")
    if len(layers) < min(FEWEST, len(ops)):
        raise NASError(
            f"minutes={values['minutes']:g}: {len(layers)} layers were timed, at least {FEWEST} "
            "are needed; the same command goes on with what was timed, or give more minutes"
        )
    models = {
        imgsz: [
            Model(n.name, deployed(n.architecture, n.nc, imgsz), ms)
            for n, ms in zip(networks, group, strict=True)
        ]
        for imgsz, group in times.items()
    }
    about["seconds"] = round(record.seconds)
    profile = fit(device, version, protocol, layers, models, about=about, seed=values["seed"])
    save(profile, out)
    record.delete()
    return profile


def _models(
    networks: Sequence[Network], imgsz: Sequence[int], protocol: Protocol, record: Record
) -> dict[int, list[float]]:
    """Return the milliseconds of whole networks by image size, measured unless it is recorded."""
    found: dict[int, list[float]] = {}
    for side in imgsz:
        name = f"models {side}"
        if name not in record.notes:
            clock = Clock(f"whole networks at {side} px")
            values = _measured(networks, replace(protocol, imgsz=side), clock)
            record.note(name, values, clock.spent)
        found[side] = record.notes[name]
    return found


def _measured(networks: Sequence[Network], protocol: Protocol, clock: Clock) -> list[float]:
    """Return the milliseconds of networks as the host builds and exports them."""
    from yolo_nas_ext.host.latency import measure_models

    total = len(networks) + -(-protocol.repeats // BURST)
    begin = {"load": 0, "measure": len(networks)}
    measured = measure_models(
        {n.name: emit(n.architecture, n.nc) for n in networks},
        protocol,
        progress=lambda what, done, _: clock(begin[what] + done, total),
    )
    return [measured[n.name].median_ms for n in networks]


def _bundle(values: Mapping[str, Any]) -> int:
    """Write what a device elsewhere is to time."""
    path = Path(values["bundle"])
    if values["runtime"] != "onnx":
        raise NASError(
            f"runtime={values['runtime']}: a bundle is timed by ONNX Runtime; leave runtime out"
        )
    if path.suffix != ".zip":
        raise NASError(f"bundle={path}: give the name of a zip, for example probe.zip")
    protocol = _protocol(values)
    runtimes.check(protocol)
    from yolo_nas_ext.host.latency import exported

    ops, networks = _drawn(values)
    clock, total = Clock("exports"), len(values["imgsz"]) * len(networks)
    models = []
    for side in values["imgsz"]:
        for n in networks:
            at = replace(protocol, imgsz=side)
            model = exported(emit(n.architecture, n.nc), at, where=n.name)
            models.append(bundle.ExportedModel(n.architecture, n.nc, side, model))
            clock(len(models), total)
    ops = ops[: bundle.LAYERS * len(values["imgsz"])]
    bundle.write(path, protocol, ops, models, seconds=60 * values["minutes"], about=_about(values))
    print(
        f"{path}: {len(ops)} layers, {len(models)} whole models, {path.stat().st_size / 1e6:.1f} MB"
        "; unpack it on the device, run probe/probe.py there, and give result.json to import="
    )
    return 0
