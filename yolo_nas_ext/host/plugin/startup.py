"""Additions to Ultralytics as it loads: `yolo nas-*`, `YOLO.nas_search` and the plugin blocks.

The finder that `hook/` installs beside the packages calls `find_spec`, in every process that loads
Ultralytics. This runs in the middle of Ultralytics' import, so it imports neither Ultralytics nor
anything heavy. A host that has not what is added to stays as it is, and one line says so;
``YOLO_NAS_DEBUG=1`` shows the error in full.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from threading import get_ident
from types import MethodType, ModuleType
from typing import Any

# The single source of the commands: the help text below and `cli` read it.
COMMANDS = {
    "nas-search": "search a backbone for your data",
    "nas-score": "cost and analytic scores of models, without training",
    "nas-profile": "measure a device, so that latency can be predicted",
    "nas-scale": "a family of larger networks out of one",
    "nas-extract": "networks of a trained supernet as stock models",
    "nas-data": "turn scans or a COCO JSON into a YOLO data set",
    "nas-predict": "what a model finds in scans, in the scans' own space",
    "nas-compare": "measure trained models: COCO's numbers, FROC, Dice, accuracy",
    "nas-completion": "have a shell complete these commands and their keys",
}
# Runs a command: its name and its arguments in, the exit code out. It is handed in, because nothing
# in this folder may import the command line.
Run = Callable[[list[str]], int]
# Returns the function that is `YOLO.nas_search`, once somebody asks for it; handed in for the same
# reason.
Method = Callable[[], Callable[..., Any]]

_OURS = "__yolo_nas_ext__"
_asking: set[tuple[str, int]] = set()
_said = False


def find_spec(
    asker: object,
    run: Run,
    name: str,
    path: Any = None,
    target: ModuleType | None = None,
    method: Method | None = None,
) -> ModuleSpec | None:
    """Return the spec that the other finders have for a module, with the patch as a further step.

    Args:
        asker: The finder that this is called for; it is not asked itself.
        run: What one of our commands calls.
        name: Full name of the module.
        path: Where a submodule is looked for, as the import system gives it.
        target: The module that is reloaded, if it is.
        method: Returns `YOLO.nas_search`; the hook of an earlier version has none.

    Returns:
        None where no other finder knows the module.
    """
    # Another package's finder may ask all finders in turn too, and so this one while it is asking.
    question = (name, get_ident())
    if question in _asking:
        return None
    _asking.add(question)
    try:
        for finder in list(sys.meta_path):
            ask = None if finder is asker else getattr(finder, "find_spec", None)
            spec = None if ask is None else ask(name, path, target)
            if spec is not None:
                _patch_after_loading(spec, run, method)
                return spec
        return None
    finally:
        _asking.discard(question)


def _patch_after_loading(spec: ModuleSpec, run: Run, method: Method | None) -> None:
    loader: Any = spec.loader
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        loader.__dict__.pop("exec_module", None)
        load(module)
        try:
            patch(module, run, method)
        except BaseException as error:  # also Ctrl-C, by which Ultralytics would be half loaded
            if os.environ.get("YOLO_NAS_DEBUG") == "1":
                traceback.print_exc()
            elif _is_of_the_host(error):
                _say_unknown(error)

    # It is set on the instance and only until it is called. So the loader keeps its type, which
    # inspect and importlib.resources ask for, and nobody sees a stranger between it and its module.
    loader.exec_module = exec_module


def _is_of_the_host(error: BaseException) -> bool:
    """Say whether a patch failed by Ultralytics, rather than by what is missing of ours."""
    if isinstance(error, ImportError):
        return str(error.name).startswith("ultralytics")
    return isinstance(error, (AttributeError, TypeError))


def _say_unknown(error: BaseException) -> None:
    """Say once a process that Ultralytics is not as it was, and stays as it is."""
    global _said
    if _said or sys.stderr is None:
        return
    _said = True
    version = getattr(sys.modules.get("ultralytics"), "__version__", "of this version")
    what = " ".join(f"{type(error).__name__}: {error}".split())[:120]
    line = (
        f"yolo_nas_ext: Ultralytics {version} is not one that it knows ({what}), and is left as it "
        "is; install a newer yolo-nas-ext, or 'ultralytics<8.5'"
    )
    # As `console.say` would, whose module takes as long to load as all else here.
    sys.stderr.write("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) + "\n")


def patch(module: ModuleType, run: Run, method: Method | None = None) -> None:
    """Patch a module of Ultralytics that has just been loaded; a second time does nothing.

    Args:
        module: ``ultralytics.cfg``, ``ultralytics.nn.tasks`` or ``ultralytics.models.yolo.model``;
            any other is left alone.
        run: What one of our commands calls.
        method: Returns `YOLO.nas_search`.

    Raises:
        Exception: Whatever goes wrong in a host that has changed.
    """
    if module.__name__ == "ultralytics.cfg":
        _add_commands(module, run)
    elif module.__name__ == "ultralytics.nn.tasks":
        from yolo_nas_ext.host.plugin import register

        register.register(module)
    elif module.__name__ == "ultralytics.models.yolo.model" and method is not None:
        module.YOLO.nas_search = _Lazy(method)


class _Lazy:
    """A method that is loaded when somebody asks for it; loading Ultralytics does not."""

    def __init__(self, method: Method) -> None:
        self._method = method

    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., Any]:
        function = self._method()
        return function if instance is None else MethodType(function, instance)


def _add_commands(cfg: Any, run: Run) -> None:
    if hasattr(cfg.entrypoint, _OURS):
        return
    if not callable(cfg.entrypoint) or not isinstance(cfg.ARGV, list):
        raise TypeError("its entry point or its arguments have changed")
    # Above the links at the end of Ultralytics' text, or below everything where there are none.
    head, links, tail = cfg.CLI_HELP_MSG.partition("\n    Docs:")
    # Nothing is changed before all has been read: a host is patched whole or not at all.
    cfg.entrypoint = _with_commands(cfg, cfg.entrypoint, run)
    cfg.CLI_HELP_MSG = f"{head}{_help()}{links}{tail}"


def _with_commands(cfg: Any, entrypoint: Callable[..., Any], run: Run) -> Callable[..., Any]:
    """Return Ultralytics' entry point with our commands in front of its own."""

    @functools.wraps(entrypoint)
    def with_commands(debug: str = "") -> Any:
        arguments = debug.split() if debug else list(cfg.ARGV)
        command = arguments[1].lstrip("-").lower() if len(arguments) > 1 else ""
        if command not in COMMANDS:
            return entrypoint(debug)
        code = run([command, *arguments[2:]])
        if code:
            raise SystemExit(code)
        return None

    setattr(with_commands, _OURS, True)
    return with_commands


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"        yolo {name:<{width}}  {does}\n" for name, does in COMMANDS.items()]
    return "\n    Backbone search (yolo-nas-ext):\n" + "".join(lines)
