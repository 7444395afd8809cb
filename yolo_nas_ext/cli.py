"""The commands `yolo nas-search` and its like, also as `python -m yolo_nas_ext search`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from yolo_nas_ext.config.arguments import parse_arguments
from yolo_nas_ext.config.settings import help_text
from yolo_nas_ext.console import say, stoppable
from yolo_nas_ext.errors import NASError, did_you_mean, no_room
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
        if name not in COMMANDS:
            known = [command.removeprefix("nas-") for command in COMMANDS]
            raise NASError(
                f"'{argv[0] if argv else ''}': no such command.{did_you_mean(name[4:], known)} "
                f"Commands: {', '.join(COMMANDS)}"
            )
        with stoppable():
            return _run(name, argv[1:])
    except NASError as error:
        say(f"{name}: {error}".replace("\n", "\\n"), file=sys.stderr)  # a name may have lines
        return error.code
    except KeyboardInterrupt:
        say(f"{name}: interrupted", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except OSError as error:
        if full := no_room(error):
            say(f"{name}: {full}", file=sys.stderr)
            return full.code
        raise


def search_main() -> None:
    """Run `yolo-nas-search`, the command without that of Ultralytics in front."""
    raise SystemExit(main(["nas-search", *sys.argv[1:]]))


def _run(name: str, arguments: Sequence[str]) -> int:
    """Run a command of its own module, or print its help, which loads nothing heavy."""
    module = name.removeprefix("nas-")
    kinds = import_module(f"{__package__}.config.{module}").HELP
    if any(argument.lstrip("-") in ("help", "h") for argument in arguments):
        say(help_text(*kinds), end="")
        return 0
    given = parse_arguments(arguments, kinds)
    command = import_module(f"{__package__}.commands.{module}")  # loads torch and Ultralytics
    return command.main(given)
