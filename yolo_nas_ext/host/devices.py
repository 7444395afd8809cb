"""The devices of a search: a list of them is a pool, and each worker process trains on one."""

from __future__ import annotations

import torch
from ultralytics.utils.torch_utils import parse_device, select_device

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.data_yaml import quiet

_own: dict[str, str] = {}  # the one that this process was given, under "device"


def use(device: str) -> None:
    """Have all trainings of this process run on a device, whatever their settings say.

    Nothing has them follow their settings again.
    """
    _own["device"] = device


def mine(device: str | None) -> str | None:
    """Return what a training of this process runs on.

    Args:
        device: What the settings say: one device, several separated by commas, or nothing.

    Returns:
        What `use` was told; without, the first of the devices, or None for Ultralytics' choice.
    """
    return _own.get("device") or (device and device.partition(",")[0])


def chosen(device: str | None) -> torch.device:
    """Return the device of this process as torch knows it, see `mine`.

    Where nothing is said it is the first GPU, or the CPU where there is none.
    """
    threads = torch.get_num_threads()
    try:
        with quiet():
            return torch.device(select_device(mine(device) or "", verbose=False))
    finally:
        torch.set_num_threads(threads)  # which Ultralytics changes with the device


def pool(device: str | None) -> tuple[str, ...]:
    """Return the devices that a search may use, each as Ultralytics calls it.

    Args:
        device: ``cpu``, ``mps``, a GPU's number, several separated by commas, or ``-1`` for one
            that has little to do.

    Returns:
        None of them where nothing is said.

    Raises:
        NASError: For a device that this machine has not, naming what is there. Ultralytics would
            find out in every training.
    """
    if device is None:
        return ()
    there = ["cpu", *map(str, range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    threads = torch.get_num_threads()
    try:
        with quiet():
            found = tuple(dict.fromkeys(filter(None, parse_device(device).split(","))))
            chosen = torch.device(select_device(",".join(found) or "none there", verbose=False))
        if device.startswith("mps") and chosen.type != "mps":
            raise ValueError("Ultralytics would take the CPU")
    except (ValueError, RuntimeError, AssertionError) as error:
        raise NASError(
            f"device={device}: cannot train on it; a search uses one device or several GPUs, as in "
            f"0,1; here one of {', '.join(there)}"
        ) from error
    finally:
        torch.set_num_threads(threads)  # which Ultralytics changes with the device
    return found
