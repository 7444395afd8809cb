"""`yolo nas-profile`: how long networks take on a device, measured on a sample and fitted."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from yolo_nas_ext.commands import profile_sample
from yolo_nas_ext.config.profile import LAYERED, ProfileSettings
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.settings import read
from yolo_nas_ext.console import quoted, say
from yolo_nas_ext.cost.latency import bundle, runtimes
from yolo_nas_ext.cost.latency.fit import Model, Record, fit, time_layers
from yolo_nas_ext.cost.latency.fused_layers import Op, deployed
from yolo_nas_ext.cost.latency.onnx_layer import OPSET
from yolo_nas_ext.cost.latency.probe import BURST, Clock, of_group
from yolo_nas_ext.cost.latency.profile import Profile, save
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.space.detector import DetectorSpace

LAYERS = 0.25  # of the minutes, for layers at the least, however long whole networks take
FEWEST = 50  # layers that a profile can be made of
WORST = 0.15  # median error of a profile on its own networks that is still written


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
        RunError: For a profile that other work has made useless.
    """
    settings = read(ProfileSettings, given)
    check(settings)
    if settings.import_:
        found = bundle.read(Path(settings.import_))
        profile = fit(*found[:5], about=found.about, seed=settings.seed)
        _usable(profile, settings)
        save(profile, _out(settings, profile.device_name, profile.protocol.runtime))
    elif settings.bundle:
        return _bundle(settings)
    else:
        try:
            profile = _profile(settings)
        except KeyboardInterrupt:
            say("\ninterrupted; the same command goes on with what was timed")
            return 3
    out = _out(settings, profile.device_name, profile.protocol.runtime)
    say(summary(profile))
    known = [str(size) for size in profile.sizes]
    choice = f" sizes={','.join(known)}" if len(known) > 1 else ""
    say(
        f"written to {out}; for example:\n"
        f"  yolo nas-search latency={quoted(out)} max_latency=8 "
        f"imgsz={known[0]}{choice}"
    )
    return 0


def summary(profile: Profile) -> str:
    """Return what a profile is of and how well it predicts, as lines for people."""
    lines = [
        f"{profile.device_name}: {profile.protocol.setting}, "
        f"{profile.runtime_version}; {len(profile.layers)} layers"
    ]
    for imgsz, at in profile.sizes.items():
        times = [ms for _, ms, _ in at.models]
        lines.append(
            f"{imgsz} px: {len(times)} networks of {min(times):.2f} to {max(times):.2f} ms, each "
            f"predicted from the others: median error {at.error(0.5):.1%}, 90 % within "
            f"{at.error(0.9):.1%}"
        )
    return "\n".join(lines)


def _out(settings: ProfileSettings, device: str, runtime: str) -> Path:
    """Return where the profile goes: unless it is given, a name made of the device's."""
    plain = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")[:40] or "device"
    return Path(settings.out or f"{plain}-{runtime}.json")


def _protocol(settings: ProfileSettings) -> Protocol:
    names = ("runtime", "device", "precision", "batch", "threads")
    return Protocol(**{name: getattr(settings, name) for name in names}, imgsz=settings.imgsz[0])


def _drawn(settings: ProfileSettings) -> tuple[list[Op], list[Network]]:
    """Return the layers to time and the networks to calibrate on."""
    spaces = [DetectorSpace.load(name) for name in settings.spaces]
    networks = profile_sample.models(spaces, settings.seed + 1)
    ops = profile_sample.layers(spaces, settings.imgsz, settings.seed)
    return ops, [Network(*n) for n in dict.fromkeys(networks)]


def _about(settings: ProfileSettings) -> dict[str, Any]:
    return {"spaces": list(settings.spaces), "date": time.strftime("%Y-%m-%d")}


def _profile(settings: ProfileSettings) -> Profile:
    """Return the profile of this device once it is written; what was timed is kept until then."""
    protocol = _protocol(settings)
    if protocol.runtime not in LAYERED:
        raise NASError(
            f"runtime={protocol.runtime}: layers are timed in {', '.join(LAYERED)}; measure whole "
            "models by yolo nas-score measure=True, or search with latency=measure"
        )
    runtimes.check(protocol)
    from yolo_nas_ext.host import latency  # loads torch and Ultralytics

    device = latency.device_name_of(protocol)
    version = runtimes.runtime_version(protocol.runtime)
    out = _out(settings, device, protocol.runtime)
    ops, networks = _drawn(settings)
    if busy := runtimes.busy_note():
        say(f"note: {busy}")
    about = _about(settings)
    identity = {
        "device": device,
        "version": version,
        "protocol": protocol.to_dict(),
        **about,
        "imgsz": settings.imgsz,
        "seed": settings.seed,
        "networks": [n.name for n in networks],
        "times": "median and least",
    }
    del identity["date"]
    record = Record(out.with_name(f".{out.name}.timed"), identity)
    with closing(record), runtimes.torch_threads(protocol.threads):
        if record.known:
            say(f"going on with {len(record.known)} layers that were timed before")
        _models(networks, settings.imgsz, protocol, record)
        minutes = 60 * settings.minutes
        left = max(minutes - record.seconds, LAYERS * minutes)
        layers = time_layers(ops, protocol, record, seconds=left, what="layers")
        times = _models(networks, settings.imgsz, protocol, record, again=True)
    if len(layers) < min(FEWEST, len(ops)):
        raise NASError(
            f"minutes={settings.minutes:g}: {len(layers)} layers were timed, at least {FEWEST} "
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
    profile = fit(device, version, protocol, layers, models, about=about, seed=settings.seed)
    try:
        _usable(profile, settings)
    finally:
        record.delete()  # of times that are worth nothing, too
    save(profile, out)
    return profile


def _usable(profile: Profile, settings: ProfileSettings) -> None:
    """Refuse a profile that does not even predict its own networks from each other.

    Raises:
        RunError: For one whose median error is above `WORST`, unless `force` is given.
    """
    size, error = max(((n, at.error(0.5)) for n, at in profile.sizes.items()), key=lambda e: e[1])
    if error <= WORST:
        return
    said = (
        f"its networks at {size} px, each predicted from the others, are off by {error:.0%} "
        f"(median), more than {WORST:.0%}"
    )
    if settings.force:
        say(f"WARNING: {said}; it is written, as force=True")
        return
    when = "the device does nothing else"
    if not settings.import_:
        cores = os.cpu_count() or 1
        when = f"its load is below {max(1, cores // 2)} (it is {load_now()}, on {cores} processors)"
    raise RunError(
        f"the profile is not written: {said}. Other work disturbed what was measured; measure "
        f"again when {when}, or give force=True"
    )


def load_now() -> str:
    """Return how many processes want a processor here, by the mean of a minute; ? where unknown."""
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "?"


def _models(
    networks: Sequence[Network],
    imgsz: Sequence[int],
    protocol: Protocol,
    record: Record,
    again: bool = False,
) -> dict[int, list[float]]:
    """Return the milliseconds of whole networks by image size, measured unless it is recorded.

    Args:
        networks: The networks.
        imgsz: Image sizes in pixels.
        protocol: How.
        record: Where it is kept.
        again: Whether networks of a size at which other work disturbed any are measured once more,
            at another time; the least counts.
    """
    found: dict[int, list[float]] = {}
    for side in imgsz:
        rows = []
        for name in (f"models {side}", f"models {side} again")[: 1 + again]:
            if rows and of_group(*zip(*rows[0], strict=True)) == [ms for ms, _ in rows[0]]:
                break
            if name not in record.notes:
                clock = Clock(f"whole networks at {side} px{', again' * bool(rows)}")
                values = _measured(networks, replace(protocol, imgsz=side), clock)
                record.note(name, values, clock.spent)
            rows.append(record.notes[name])
        least = [tuple(map(min, zip(*each, strict=True))) for each in zip(*rows, strict=True)]
        found[side] = of_group(*zip(*least, strict=True))
    return found


def _measured(
    networks: Sequence[Network], protocol: Protocol, clock: Clock
) -> list[tuple[float, float]]:
    """Return median and least milliseconds of networks as Ultralytics builds and exports them."""
    from yolo_nas_ext.host.latency import measure_models

    total = len(networks) + -(-protocol.repeats // BURST)
    begin = {"load": 0, "measure": len(networks)}
    measured = measure_models(
        {n.name: emit(n.architecture, n.nc) for n in networks},
        protocol,
        progress=lambda what, done, _: clock(begin[what] + done, total),
    )
    found = [measured[n.name] for n in networks]
    return [(ms.median_ms, ms.least_ms or ms.median_ms) for ms in found]


def _bundle(settings: ProfileSettings) -> int:
    """Write what a device elsewhere is to time."""
    assert settings.bundle
    path = Path(settings.bundle)
    protocol = _protocol(settings)
    runtimes.check(protocol)
    from yolo_nas_ext.host.latency import exported

    ops, networks = _drawn(settings)
    clock, total = Clock("exports"), len(settings.imgsz) * len(networks)
    models = []
    for side in settings.imgsz:
        for n in networks:
            at = replace(protocol, imgsz=side)
            model = exported(emit(n.architecture, n.nc), at, where=n.name, opset=OPSET)
            models.append(bundle.ExportedModel(n.architecture, n.nc, side, model))
            clock(len(models), total)
    ops = ops[: bundle.LAYERS * len(settings.imgsz)]
    bundle.write(path, protocol, ops, models, seconds=60 * settings.minutes, about=_about(settings))
    say(
        f"{path}: {len(ops)} layers, {len(models)} whole models, {path.stat().st_size / 1e6:.1f} MB"
        "; unpack it on the device, run probe/probe.py there, and give result.json to import="
    )
    return 0
