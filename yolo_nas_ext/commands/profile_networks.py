"""The whole networks of a profile: which they are, and what they take here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from yolo_nas_ext.cost.latency.fit import Model, Record
from yolo_nas_ext.cost.latency.fused_layers import deployed
from yolo_nas_ext.cost.latency.probe import BURST, Clock, of_group
from yolo_nas_ext.cost.latency.protocol import Protocol
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import emit


class Network(NamedTuple):
    """A network of the calibration and its number of classes."""

    architecture: Architecture
    nc: int

    @property
    def name(self) -> str:
        """Its key, with the classes, as one network may be drawn with several numbers of them."""
        return f"nas-{self.architecture.key} nc {self.nc}"


def models(
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
                values = measured(networks, replace(protocol, imgsz=side), clock)
                record.note(name, values, clock.spent)
            rows.append(record.notes[name])
        least = [tuple(map(min, zip(*each, strict=True))) for each in zip(*rows, strict=True)]
        found[side] = of_group(*zip(*least, strict=True))
    return found


def measured(
    networks: Sequence[Network], protocol: Protocol, clock: Clock
) -> list[tuple[float, float]]:
    """Return median and least milliseconds of networks as Ultralytics builds and exports them."""
    from yolo_nas_ext.host.latency import measure_models  # loads torch and Ultralytics

    total = len(networks) + -(-protocol.repeats // BURST)
    begin = {"load": 0, "measure": len(networks)}
    found = measure_models(
        {n.name: emit(n.architecture, n.nc) for n in networks},
        protocol,
        progress=lambda what, done, _: clock(begin[what] + done, total),
    )
    times = [found[n.name] for n in networks]
    return [(ms.median_ms, ms.least_ms or ms.median_ms) for ms in times]


def timed(networks: Sequence[Network], times: Sequence[float], size: int) -> list[Model]:
    """Return networks with their layers and what they take."""
    return [
        Model(n.name, deployed(n.architecture, n.nc, size), ms)
        for n, ms in zip(networks, times, strict=True)
    ]
