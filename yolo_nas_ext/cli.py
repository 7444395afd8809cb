"""The commands `yolo nas-search` and its like, also as `python -m yolo_nas_ext search`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from yolo_nas_ext.config import search
from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.host.plugin.startup import COMMANDS


def main(argv: Sequence[str]) -> int:
    """Run a command.

    Args:
        argv: The command's name, with or without ``nas-``, and its ``key=value`` arguments.

    Returns:
        0 when done, 1 for a run that failed for reasons outside the input, 2 for bad input, 3 when
        done in part.
    """
    name = argv[0].lstrip("-") if argv else ""
    name = name if name.startswith("nas-") else f"nas-{name}"
    try:
        if name not in _RUN:
            known = [command.removeprefix("nas-") for command in COMMANDS]
            raise NASError(
                f"'{argv[0] if argv else ''}': no such command.{did_you_mean(name[4:], known)} "
                f"Commands: {', '.join(COMMANDS)}"
            )
        return _RUN[name](argv[1:])
    except NASError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print(f"{name}: interrupted, nothing was searched", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1


def search_main() -> None:
    """Run `yolo-nas-search`, the command without the host's own in front."""
    raise SystemExit(main(["nas-search", *sys.argv[1:]]))


def _search(arguments: Sequence[str]) -> int:
    if _asks_help(arguments):
        print(search.help_text())
        return 0
    given = parse_arguments(arguments)
    from yolo_nas_ext.pipeline import job  # torch and Ultralytics load here, after the arguments

    done = job.search(given)
    if not done.study.complete:
        print("nas-search: no candidate could be judged; see trials.csv for why", file=sys.stderr)
        return 1
    return 3 if done.partial else 0


def _data(arguments: Sequence[str]) -> int:
    from yolo_nas_ext.commands import data

    if _asks_help(arguments):
        print(data.help_text())
        return 0
    return data.main(parse_arguments(arguments))


def _of(module: str) -> Callable[[Sequence[str]], int]:
    """Return the command of a module of the package, which has its `HELP` and `main`."""

    def run(arguments: Sequence[str]) -> int:
        path = f"{__package__}.commands.{module}"
        if _asks_help(arguments):
            print(import_module(path).HELP)
            return 0
        given = parse_arguments(arguments)
        return import_module(path).main(given)  # torch and Ultralytics load after the arguments

    return run


def _asks_help(arguments: Sequence[str]) -> bool:
    return any(a.lstrip("-") in ("help", "h") for a in arguments)


_RUN: dict[str, Callable[[Sequence[str]], int]] = {
    "nas-search": _search,
    "nas-score": _of("score"),
    "nas-data": _data,
    "nas-profile": _of("profile"),
    "nas-compare": _of("compare"),
    "nas-scale": _of("scale"),
    "nas-extract": _of("extract"),
}
