"""`yolo nas-profile`: how long networks take on a device, measured on a sample and fitted."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from yolo_nas_ext.commands import profile_networks, profile_sample
from yolo_nas_ext.commands.profile_networks import Network
from yolo_nas_ext.config.profile import LAYERED, ProfileSettings
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.settings import read
from yolo_nas_ext.console import quoted, say
from yolo_nas_ext.cost.latency import bundle, carry, runtimes
from yolo_nas_ext.cost.latency.fit import Record, fit, time_layers
from yolo_nas_ext.cost.latency.fused_layers import Op, deployed
from yolo_nas_ext.cost.latency.onnx_layer import OPSET
from yolo_nas_ext.cost.latency.probe import Clock, of_group
from yolo_nas_ext.cost.latency.profile import Profile, load, save
from yolo_nas_ext.cost.latency.protocol import CLASSES, EXPORTS, Protocol
from yolo_nas_ext.errors import NASError, RunError
from yolo_nas_ext.network.emit import emit
from yolo_nas_ext.space.detector import DetectorSpace

LAYERS = 0.25  # of the minutes, for layers at the least, however long whole networks take
FEWEST = 50  # layers that a profile can be made of
DRAWN = 20  # networks of each space that the ten are chosen from which make another profile this
FROM = "from"  # in what a profile says of itself: the one that it was made of
WORST = 0.15  # median error of a profile on its own networks that is still written


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
        profile = _imported(settings)
        _usable(profile, settings)
        save(profile, _out(settings, profile.device_name, profile.protocol.runtime))
    elif settings.bundle:
        return _bundle(settings)
    else:
        try:
            profile = _carried(settings) if settings.from_ else _profile(settings)
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
        if at.suppression:
            lines.append(
                f"{imgsz} px, with nms=True: {at.suppression[0]:.2f} ms more at {CLASSES[0]} class "
                f"and {at.suppression[1]:.2f} ms at {CLASSES[1]} classes; of an end-to-end head "
                f"{at.choice[0]:.2f} and {at.choice[1]:.2f} ms"
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
    ops = profile_sample.layers(spaces, settings.imgsz, settings.seed)
    return ops, _drawn_models(spaces, settings)


def _ten(settings: ProfileSettings, before: Profile) -> dict[int, list[Network]]:
    """Return the networks by image size that make a profile of another device one of this."""
    spaces = [DetectorSpace.load(name) for name in settings.spaces]
    sample = profile_sample.networks(spaces, DRAWN, settings.seed + 2)
    networks = [Network(*n) for n in dict.fromkeys(sample)]
    networks += [n for n in _drawn_models(spaces, settings) if n not in networks]  # small ones, too
    found = {}
    for size in settings.imgsz if "imgsz" in settings.given else tuple(before.sizes)[:1]:
        before.at(size)
        tables = [deployed(n.architecture, n.nc, size) for n in networks]
        found[size] = [networks[i] for i in carry.chosen(before, tables, size, carry.NETWORKS)]
    return found


def _carried(settings: ProfileSettings) -> Profile:
    """Return the profile of this device from that of another, once it is written."""
    before = load(str(settings.from_))
    ten = _ten(settings, before)
    protocol = replace(_protocol(settings), imgsz=next(iter(ten)))
    runtimes.check(protocol)
    from yolo_nas_ext.host import latency  # loads torch and Ultralytics

    models = {}
    for size, networks in ten.items():
        clock = Clock(f"whole networks at {size} px")
        rows = profile_networks.measured(networks, replace(protocol, imgsz=size), clock)
        times = of_group(*zip(*rows, strict=True))
        models[size] = profile_networks.timed(networks, times, size)
    device = latency.device_name_of(protocol)
    version = runtimes.runtime_version(protocol.runtime)
    profile = carry.carried(before, device, version, protocol, models, about=_about(settings))
    profile = _suppressing(profile)
    _usable(profile, settings)
    save(profile, _out(settings, device, protocol.runtime))
    return profile


def _imported(settings: ProfileSettings) -> Profile:
    """Return the profile of a device elsewhere from what its bundle brought back.

    Raises:
        NASError: For a bundle of ten networks without the profile that they are to change.
    """
    found = bundle.read(Path(str(settings.import_)))
    name = found.about.get(FROM)
    if bool(name) != bool(settings.from_):
        way_out = f"give from= the profile of {name}" if name else "leave from out"
        holds = "ten whole networks" if name else "layers of its own"
        raise NASError(f"import={settings.import_}: its bundle has {holds}; {way_out}")
    if settings.from_:
        before = load(settings.from_)
        device, version, protocol, _, models, about = found
        return carry.carried(before, device, version, protocol, models, about=about)
    return fit(*found[:5], about=found.about, seed=settings.seed)


def _drawn_models(spaces: Sequence[DetectorSpace], settings: ProfileSettings) -> list[Network]:
    """Return the networks that a profile is calibrated on."""
    return [Network(*n) for n in dict.fromkeys(profile_sample.models(spaces, settings.seed + 1))]


def _about(settings: ProfileSettings) -> dict[str, Any]:
    return {"spaces": list(settings.spaces), "date": time.strftime("%Y-%m-%d")}


def _profile(settings: ProfileSettings) -> Profile:
    """Return the profile of this device once it is written; what was timed is kept until then."""
    protocol = _protocol(settings)
    if protocol.runtime not in LAYERED:
        raise NASError(
            f"runtime={protocol.runtime}: layers are timed in {', '.join(LAYERED)}; give from= a "
            "profile of one, measure models by yolo nas-score measure=True, or search with "
            "latency=measure"
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
        profile_networks.models(networks, settings.imgsz, protocol, record)
        minutes = 60 * settings.minutes
        left = max(minutes - record.seconds, LAYERS * minutes)
        layers = time_layers(ops, protocol, record, seconds=left, what="layers")
        times = profile_networks.models(networks, settings.imgsz, protocol, record, again=True)
    if len(layers) < min(FEWEST, len(ops)):
        raise NASError(
            f"minutes={settings.minutes:g}: {len(layers)} layers were timed, at least {FEWEST} "
            "are needed; the same command goes on with what was timed, or give more minutes"
        )
    models = {size: profile_networks.timed(networks, group, size) for size, group in times.items()}
    about["seconds"] = round(record.seconds)
    profile = fit(device, version, protocol, layers, models, about=about, seed=settings.seed)
    profile = _suppressing(profile)
    try:
        _usable(profile, settings)
    finally:
        record.delete()  # of times that are worth nothing, too
    save(profile, out)
    return profile


def _suppressing(profile: Profile) -> Profile:
    """Return a profile of this device that knows the time of non-maximum suppression, too."""
    from yolo_nas_ext.host import suppression

    sizes = {}
    with runtimes.torch_threads(profile.protocol.threads):
        for imgsz, at in profile.sizes.items():
            nms, choice = suppression.timed(replace(profile.protocol, imgsz=imgsz))
            sizes[imgsz] = replace(at, suppression=nms, choice=choice)
    return replace(profile, sizes=sizes)


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


def _bundle(settings: ProfileSettings) -> int:
    """Write what a device elsewhere is to time."""
    assert settings.bundle
    path = Path(settings.bundle)
    protocol = _protocol(settings)
    runtimes.check(protocol)
    about = _about(settings)
    ops: list[Op] = []
    if settings.from_:
        before = load(settings.from_)
        by_size = _ten(settings, before)
        about[FROM] = before.device_name
    else:
        ops, networks = _drawn(settings)
        by_size = dict.fromkeys(settings.imgsz, networks)
    ops = ops[: bundle.LAYERS * len(by_size)]
    clock, total = Clock("exports"), sum(map(len, by_size.values()))
    models = []
    with TemporaryDirectory(prefix="nas-bundle-") as folder:
        for side, networks in by_size.items():
            for n in networks:
                place = Path(folder) / str(len(models))
                model = _exported(n, replace(protocol, imgsz=side), place)
                models.append(bundle.ExportedModel(n.architecture, n.nc, side, model))
                clock(len(models), total)
        protocol = replace(protocol, imgsz=next(iter(by_size)))
        bundle.write(path, protocol, ops, models, seconds=60 * settings.minutes, about=about)
    more = f"from={quoted(str(settings.from_))} " if settings.from_ else ""
    say(
        f"{path}: {len(ops)} layers, {len(models)} whole models, {path.stat().st_size / 1e6:.1f} MB"
        f"; unpack it on the device, run probe/probe.py there, and give result.json to "
        f"{more}import="
    )
    return 0


def _exported(network: Network, protocol: Protocol, folder: Path) -> bytes | Path:
    """Return a network as ONNX, or as what Ultralytics exports for its runtime, in a folder."""
    from yolo_nas_ext.host.latency import exported, written

    definition = emit(network.architecture, network.nc)
    if protocol.runtime not in EXPORTS:
        return exported(definition, protocol, where=network.name, opset=OPSET)
    folder.mkdir()
    return written(definition, EXPORTS[protocol.runtime], protocol, folder, where="network")
