"""The energy of a search's networks, measured of each candidate before it is trained."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from yolo_nas_ext.config.search import SearchSettings
from yolo_nas_ext.cost import energy
from yolo_nas_ext.cost.energy import METRIC, PROCESSING, RAPL, Zone
from yolo_nas_ext.cost.latency import runtimes
from yolo_nas_ext.cost.latency.command import Command, is_command
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.errors import NASError, TrialError
from yolo_nas_ext.host.bench import Bench, Subject
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.space.networks import NetworkSpace


@dataclass(frozen=True)
class Energy:
    """How energy is measured in a search.

    Attributes:
        protocol: How networks are run, and at which image size.
        nc: Classes of the data.
        task: What the networks do.
        counters: Of this machine's processors; none where a command measures.
        bench: The command of the user's that measures, where that is so.
        notes: What the user should know.
    """

    protocol: Protocol
    nc: int
    task: str
    counters: Sequence[Zone] = ()
    bench: Bench | None = None
    notes: Sequence[str] = ()

    @property
    def text(self) -> str:
        """How energy is known, for the report."""
        if self.bench is not None:
            return f"measured by {self.bench.command.text}, {self.bench.repeats} runs a network"
        return f"measured by RAPL, {PROCESSING}: {self.protocol}"

    def of_candidate(self, architecture: Architecture) -> dict[str, float]:
        """Return the millijoules of one image, before a candidate is trained.

        Raises:
            TrialError: For one that cannot be measured.
        """
        try:
            return {METRIC: self._millijoules(architecture)}
        except NASError as error:
            raise TrialError("energy", str(error)) from error

    def _millijoules(self, network: Architecture) -> float:
        imgsz = network.imgsz or self.protocol.imgsz
        if self.bench is not None:
            subject = Subject(network.key, network, imgsz)
            return 1000 * self.bench.measure({"": subject})[""].median_ms  # joules
        from yolo_nas_ext.host.latency import energy_of

        protocol = replace(self.protocol, imgsz=imgsz)
        return energy_of({"": network}, protocol, [*self.counters], nc=self.nc, task=self.task)[""]


def settle(
    config: SearchSettings, nc: int, space: NetworkSpace, protocol: Protocol | None
) -> Energy | None:
    """Return how energy is measured in a search; None where nothing asks for it.

    A command measures a network before anything is written, so that one that cannot is said.

    Args:
        config: The settings.
        nc: Classes of the data.
        space: Where networks are drawn from.
        protocol: How the profile of `latency` runs networks here, if it does.

    Raises:
        NASError: Where neither a counter nor a command tells it.
    """
    if config.energy is None:
        return None
    sizes = space.sizes(config.imgsz)
    usual = config.imgsz if config.imgsz in sizes else sizes[0]
    if not is_command(config.energy):
        protocol = protocol or Protocol(config.runtime, precision=config.precision)
        runtimes.check(protocol)
        if protocol.device != "cpu" or protocol.runtime == "tensorrt":
            raise NASError(
                f"energy={RAPL}: counts this machine's processors and no GPU; {energy.INSTEAD}"
            )
        protocol = replace(protocol, imgsz=usual)
        return Energy(protocol, nc, config.task, energy.zones(), None, _notes())
    command = Command.parse(config.energy, config.latency_timeout, "energy")
    bench = Bench(command, nc=nc, task=config.task, repeats=config.latency_repeats)
    if config.resume is not None:
        bench.keep(Path(config.resume))
    found = Energy(Protocol(imgsz=usual), nc, config.task, bench=bench)
    tried = space.architecture(space.sample(random.Random(config.seed)))
    mj = found._millijoules(tried)
    return replace(found, notes=[f"energy: {command.text} says {mj:.4g} mJ of nas-{tried.key}"])


def _notes() -> list[str]:
    busy = runtimes.busy_note()
    return [f"energy: {busy}"] if busy else []
