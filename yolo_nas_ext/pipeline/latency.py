"""The latency of a search's networks: predicted from a device profile, measured for the best."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.cost.budget import metric
from yolo_nas_ext.cost.latency import runtimes
from yolo_nas_ext.cost.latency.command import Command
from yolo_nas_ext.cost.latency.probe import device_name
from yolo_nas_ext.cost.latency.profile import CHECKSUM, Profile, asked
from yolo_nas_ext.cost.latency.protocol import Measurement, Protocol
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.host.bench import Bench, Subject
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.networks import NetworkSpace
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial

GROUP = 12  # networks that are measured in turns at once
SLOW = 0.15  # a unit that takes so much longer than it should says that the machine is disturbed
UNIT = "unit"  # the name of what takes turns with the networks that are measured, as none has it
AGAIN = 2  # times that is measured again whose times are far apart
MOST = 4  # times as many networks are measured, at most, as are to be confirmed

Network = Architecture | Mapping[str, Any]  # or a model definition of Ultralytics'

ON_GPU = ("torch", "tensorrt")  # runtimes of GPUs


@dataclass(frozen=True)
class Timing:
    """How latency is known in a search.

    Attributes:
        protocol: How networks are measured.
        profile: What predicts it; None where each candidate is measured.
        limit: Most milliseconds, if there is one.
        here: Whether the device is this machine.
        notes: What the user should know.
        nc: Classes of the data.
        task: What the networks do.
        bench: The command of the user's that measures, where that is so.
        name: What its columns are called where there are several devices.
        unit: A network that takes turns with all that are measured, if there is one.
        unit_ms: What it counts as: the limit where its latency is that, else what is predicted.
        relative: Whether all is relative to it; else only while it takes `SLOW` longer than that.
        slowed: How many times as long it took, each time that this counted.
    """

    protocol: Protocol
    profile: Profile | None
    limit: float | None
    here: bool
    notes: Sequence[str]
    nc: int
    task: str
    bench: Bench | None = None
    name: str = ""
    unit: Architecture | None = None
    unit_ms: float = 0.0
    relative: bool = False
    slowed: list[float] = field(default_factory=list, compare=False)

    @property
    def metric(self) -> str:
        """The metric of the latency that each candidate has."""
        return metric(self.name)

    @property
    def measured(self) -> str:
        """The metric of what is measured of the best, beside what was predicted."""
        return metric(self.name, "measured")

    @property
    def bounds(self) -> dict[str, float]:
        """Bounds on the measured latency, which count for networks that have one."""
        return {self.measured: self.limit} if self.profile and self.limit else {}

    @property
    def measured_on(self) -> str:
        """Device, runtime and setting that latency is measured of here."""
        if self.bench is not None:
            return self.bench.command.text
        version = runtimes.runtime_version(self.protocol.runtime) if self.here else "not measured"
        return f"{named_here(self.protocol)}, {version}, {self.protocol.setting}"

    @property
    def latency_of(self) -> str:
        """What a candidate's latency is of: a profile, or this machine."""
        if self.profile is None:
            return self.measured_on
        digest = self.profile.to_dict()[CHECKSUM][:8]
        return f"{self.profile.device_name} by profile {digest}" + ", with NMS" * self.profile.nms

    @property
    def text(self) -> str:
        """How latency is known, for the report."""
        if self.bench is not None:
            return f"measured by {self.bench.command.text}, {self.bench.repeats} runs a network"
        if self.profile is None:
            return f"measured: {self.protocol}; {self.protocol.processing}{self._beside}"
        by = f"predicted from {len(self.profile.layers)} timed layers of {self.profile.device_name}"
        errors = "; ".join(
            f"{imgsz} px: median error {at.error(0.5):.1%} and 90 % within {at.error(0.9):.1%}"
            for imgsz, at in self.profile.sizes.items()
        )
        return (
            f"{by} ({self.protocol.setting}, {self.profile.runtime_version}; "
            f"{self.protocol.processing}; on its own networks, {errors}){self._beside}"
        )

    @property
    def _beside(self) -> str:
        if not self.relative:
            return ""
        said = "; what is measured takes turns with the parent, which counts as"
        return f"{said} {self.unit_ms:.4g} ms"

    @property
    def disturbed(self) -> str:
        """What to say of a machine that was slower than its profile; nothing where it was not."""
        if not self.slowed:
            return ""
        return (
            f"other work slows this machine down: it took up to {max(self.slowed):.2g} times as "
            "long as its profile says, and measured latencies are relative to that"
        )

    def measure(self, networks: Mapping[str, Network]) -> dict[str, Measurement]:
        """Return the measured latency of networks, which take turns, each at its image size.

        Of another make than those of the space, a network is given by its model definition.

        What other work on the machine disturbs is measured again, and the least of it is returned,
        as such work only adds to it; it can still be an unsteady one. Of what is relative to a
        `unit` the machine's speed at that moment drops out.

        Raises:
            NASError: For a network that cannot be exported or run.
        """
        if self.bench is not None:
            return self.bench.measure(
                {
                    name: Subject(key_of(network), self._whole(network), self._size(network))
                    for name, network in networks.items()
                }
            )
        from yolo_nas_ext.host.latency import measure_models

        found: dict[str, Measurement] = {}
        for _ in range(1 + AGAIN):
            todo = {n: a for n, a in networks.items() if n not in found or not found[n].steady}
            if not todo:
                break
            turns = {**todo, **({UNIT: self.unit} if self.unit else {})}
            sizes = {name: self._size(network) for name, network in turns.items()}
            whole = {name: self._whole(network) for name, network in turns.items()}
            measured = measure_models(whole, self.protocol, nc=self.nc, task=self.task, sizes=sizes)
            if self.unit:
                measured = self._by_unit(networks, measured, measured.pop(UNIT))
            for name, new in measured.items():
                old = found.get(name, new)
                found[name] = min(old, new, key=lambda m: (not m.steady, m.own_ms))
        return found

    def _by_unit(
        self,
        networks: Mapping[str, Network],
        measured: Mapping[str, Measurement],
        unit: Measurement,
    ) -> dict[str, Measurement]:
        """Return measurements relative to the unit, where they are to be."""
        slower = unit.own_ms / self.unit_ms
        if not self.relative:
            if slower <= 1 + SLOW:
                return dict(measured)
            self.slowed.append(slower)
        return {
            name: (unit if networks[name] == self.unit else m).beside(unit, self.unit_ms)
            for name, m in measured.items()
        }

    def _size(self, network: Network) -> int:
        own = network.imgsz if isinstance(network, Architecture) else network.get("imgsz")
        return own or self.protocol.imgsz

    def _whole(self, network: Network) -> Network:
        """Return a network with the classes of the data, which an `Architecture` gets elsewhere."""
        return network if isinstance(network, Architecture) else {**network, "nc": self.nc}

    def milliseconds(self, network: Network) -> float:
        """Return what one network takes; see `measure`.

        Where other work on the machine disturbs its times again and again, the least processor time
        counts, or with several threads the first quartile. Of a command's numbers the median does.
        """
        found = self.measure({"network": network})["network"]
        return found.median_ms if self.bench else found.own_ms

    def of_candidate(self, network: Network) -> dict[str, float]:
        """Return the measured latency of a candidate or a baseline, before it is trained.

        Raises:
            TrialError: For one above the limit, or that the runtime cannot run.
        """
        try:
            ms = self.milliseconds(network)
        except NASError as error:
            raise TrialError("latency", str(error)) from error
        if self.limit and ms > self.limit:
            raise TrialError("latency", f"{ms:.2f} ms measured > max_latency={self.limit:g}")
        return {"latency_ms": ms}


def key_of(network: Network) -> str:
    """Return the key of a network, of a model definition by its content."""
    if isinstance(network, Architecture):
        return network.key
    content = json.dumps(network, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:10]


def settle(config: SearchSettings, nc: int, space: NetworkSpace) -> tuple[Timing, ...]:
    """Return how latency is known in a search, for each device; none where nothing asks for it.

    Raises:
        NASError: For a profile that is of something else than the search, or what cannot be
            measured here.
    """
    if config.latency is None:
        return ()
    sizes = space.sizes(config.imgsz)
    limits = config.max_latency or (None,) * max(1, len(config.profiles))
    if config.commanded:
        return (_commanded(config, nc, space, sizes, limits[0]),)
    if config.timed:
        return (_measured(config, nc, sizes, limits[0]),)
    return tuple(
        _profiled(config, nc, sizes, name, file, limit)
        for (name, file), limit in zip(config.profiles, limits, strict=True)
    )


def _profiled(
    config: SearchSettings,
    nc: int,
    sizes: Sequence[int],
    name: str,
    file: str,
    limit: float | None,
) -> Timing:
    """Return the timing of a device with a profile."""
    profile = asked(file, config.nms)
    protocol = _fitting(config, profile, sizes, file)
    mine = named_here(protocol)
    here = profile.device_name == mine
    notes = []
    if here:
        runtimes.check(protocol)
        version = runtimes.runtime_version(protocol.runtime)
        if version != profile.runtime_version:
            notes.append(f"latency: the profile is of {profile.runtime_version}, here is {version}")
    else:
        notes.append(
            f"WARNING: {file} is a profile of another device: latencies are those of "
            f"{profile.device_name}, this machine is {mine}. The best are not measured here; "
            "measure them on the device"
        )
    return Timing(protocol, profile, limit, here, notes, nc, config.task, name=name)


def named_here(protocol: Protocol) -> str:
    """Return the name of this machine's device that a protocol is of, a GPU's own for a GPU."""
    if protocol.device == "cpu":
        return device_name()
    import torch  # which a search whose latency is of a CPU does without

    try:
        return torch.cuda.get_device_name(int(protocol.device))
    except (RuntimeError, AssertionError, ValueError):  # there is none
        return device_name()


def _device(config: SearchSettings) -> str:
    """Return what each candidate is measured on: the user's GPU, by a runtime that takes one."""
    first = (config.device or "cpu").partition(",")[0]
    return first if config.runtime in ON_GPU and first not in ("mps", "-1") else "cpu"


def _fitting(config: SearchSettings, profile: Profile, sizes: Sequence[int], file: str) -> Protocol:
    """Return how a profile's device is measured, where the profile is of what is searched."""
    other = [size for size in sizes if size not in profile.sizes]
    has = profile.protocol
    known = ", ".join(map(str, profile.sizes))
    wrong = {
        f"imgsz={other[0] if other else ''}": (bool(other), f"{known} px"),
        f"precision={config.precision}": (
            has.precision != config.precision
            and (len(config.profiles) == 1 or "precision" in config.given),
            has.precision,
        ),
        "batch 1, which a search is for": (has.batch != 1, f"batch {has.batch}"),
        f"runtime={config.runtime}": (
            "runtime" in config.given and has.runtime != config.runtime,
            has.runtime,
        ),
    }
    for asked_for, (differs, found) in wrong.items():
        if differs:
            raise NASError(
                f"latency={file}: the profile is for {found}, not for {asked_for}; make "
                "one by yolo nas-profile, or search as it says"
            )
    return Protocol.from_dict({**has.to_dict(), "imgsz": sizes[0], "nms": config.nms})


def _measured(config: SearchSettings, nc: int, sizes: Sequence[int], limit: float | None) -> Timing:
    """Return the timing of a search that measures each candidate on this machine.

    A network with an image size of its own is measured at that.
    """
    usual = config.imgsz if config.imgsz in sizes else sizes[0]
    protocol = Protocol(
        config.runtime,
        _device(config),
        precision=config.precision,
        imgsz=usual,
        nms=config.nms,
    )
    runtimes.check(protocol)
    busy = runtimes.busy_note()
    notes = [busy] if busy else []
    return Timing(protocol, None, limit, True, notes, nc, config.task)


def _commanded(
    config: SearchSettings,
    nc: int,
    space: NetworkSpace,
    sizes: Sequence[int],
    limit: float | None,
) -> Timing:
    """Return the timing of a search in which a command measures each candidate.

    It measures a network before anything is written, so that one that cannot is said at once.

    Raises:
        NASError: For a command that cannot be run, fails, or prints something else.
    """
    assert config.latency is not None
    command = Command.parse(config.latency, config.latency_timeout)
    if config.precision == "int8" and command.forms != ("onnx",):
        raise NASError(
            f"latency={config.latency}: with precision=int8 the ONNX file is quantised; give "
            "{onnx} alone, or leave precision out"
        )
    bench = Bench(
        command,
        nc=nc,
        task=config.task,
        repeats=config.latency_repeats,
        precision=config.precision,
    )
    if config.resume is not None:
        bench.keep(Path(config.resume))
    usual = config.imgsz if config.imgsz in sizes else sizes[0]
    timing = Timing(Protocol(imgsz=usual), None, limit, True, [], nc, config.task, bench)
    tried = space.architecture(space.sample(random.Random(config.seed)))
    measured = timing.measure({"": tried})[""]
    low, high = measured.low_ms, measured.high_ms
    note = (
        f"latency: {command.text} says {measured.median_ms:.4g} ms of nas-{tried.key}, quartiles "
        f"{low:.4g} to {high:.4g}"
    )
    return replace(timing, notes=[note])


def measure_best(
    study: Study,
    timing: Timing,
    n: int,
    say: Callable[[Trial], Any] = lambda trial: None,
    given: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> str:
    """Measure the best candidates, and the next ones in place of any above the limit.

    Where other work on the machine disturbs the times again and again, the least processor time
    counts; with several threads, of which there is none, the prediction stands.

    Args:
        study: The record, to which the measurements are added.
        timing: How.
        n: Number of the best that are to be measured and within the limit; with several objectives
            the front too.
        say: Called with each trial that was measured.
        given: Model definitions of baselines by name, whose latency nothing predicts: they are
            measured, too.

    Returns:
        What went wrong, or nothing.
    """
    unsteady: set[int] = set()
    for _ in range(MOST):
        todo = [
            t
            for t in (*_best(study, n), *(t for t in study.complete if t.name in given))
            if timing.measured not in t.metrics and t.number not in unsteady
        ][:GROUP]
        if not todo:
            break
        try:
            found = timing.measure({str(t.number): t.architecture or given[t.name] for t in todo})
        except NASError as error:
            return f"the best could not be measured: {error}"
        for trial in todo:
            ms = found[str(trial.number)]
            if not ms.known:
                unsteady.add(trial.number)
                continue
            study.record_measurement(
                trial.number,
                {timing.measured: ms.own_ms, metric(timing.name, "iqr"): ms.iqr_ms},
            )
            say(next(t for t in study.results if t.number == trial.number))
    if unsteady:
        return (
            f"the latency of {len(unsteady)} of the best could not be measured, as other work on "
            "this machine disturbs it: what was predicted of them stands"
        )
    return ""


def _best(study: Study, n: int) -> list[Trial]:
    """Return the best candidates of a study as far as is known now."""
    found = sorted(study.candidates, key=lambda t: (-t.trained.fitness, t.number))[:n]
    if len(study.goal.objectives) > 1:
        found += study.front
    return list({t.number: t for t in found}.values())
