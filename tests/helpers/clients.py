"""Stand-ins for clients of trackers: they take the calls that the real ones take, and keep them."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

Calls = list[tuple[str, tuple[Any, ...], dict[str, Any]]]


class Recorder:
    """Keeps calls of the methods that it is made with, and refuses any other.

    Args:
        calls: Where calls are kept.
        name: Begins their names.
        methods: Names of methods with what they return, or what makes it.
        **values: Attributes.
    """

    def __init__(self, calls: Calls, name: str, methods: dict[str, Any], **values: Any) -> None:
        self.__dict__.update(values)
        for method, found in methods.items():
            self.__dict__[method] = self._kept(calls, f"{name}.{method}", found)

    @staticmethod
    def _kept(calls: Calls, name: str, found: Any) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            calls.append((name, given, more))
            return found() if callable(found) else found

        return call


def wandb(calls: Calls) -> types.ModuleType:
    """A module with `init`, whose runs take what those of Weights & Biases take."""
    made: list[Recorder] = []

    def run() -> Recorder:
        name = f"run{len(made)}"
        summary = Recorder(calls, f"{name}.summary", {"update": None})
        methods = dict.fromkeys(("log", "finish", "save"))
        made.append(Recorder(calls, name, methods, id=name, summary=summary))
        return made[-1]

    return _module("wandb", Recorder(calls, "wandb", {"init": run}))


def clearml(calls: Calls) -> types.ModuleType:
    """A module with `Task`, of which tasks are made, begun and found."""
    made: list[Recorder] = []

    def task() -> Recorder:
        name = f"task{len(made)}"
        logger = Recorder(
            calls, f"{name}.logger", dict.fromkeys(("report_scalar", "report_single_value"))
        )
        names = "connect set_parent set_tags mark_started mark_completed mark_failed mark_stopped "
        names += "set_parameters upload_artifact close"
        methods = {**dict.fromkeys(names.split()), "get_logger": lambda: logger}
        made.append(Recorder(calls, name, methods, id=name))
        return made[-1]

    kind = Recorder(calls, "Task", {"init": task, "create": task, "get_task": task})
    module = types.ModuleType("clearml")
    module.__dict__["Task"] = kind
    return module


def comet(calls: Calls) -> types.ModuleType:
    """A module with `Experiment` and `ExistingExperiment`."""
    made: list[Recorder] = []

    def experiment() -> Recorder:
        name = f"experiment{len(made)}"
        names = "set_name log_parameters add_tags add_tag log_other log_metric log_metrics "
        names += "log_asset end"
        methods = {**dict.fromkeys(names.split()), "get_key": name}
        made.append(Recorder(calls, name, methods))
        return made[-1]

    kinds = {"Experiment": experiment, "ExistingExperiment": experiment}
    return _module("comet_ml", Recorder(calls, "comet_ml", kinds))


def _module(name: str, content: Recorder) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(vars(content))
    return module
