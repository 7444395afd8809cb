"""`yolo nas-completion`: a shell's completion of our commands, their keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from yolo_nas_ext.config.completion import CompletionSettings
from yolo_nas_ext.config.fields import allowed
from yolo_nas_ext.config.rules import RULES
from yolo_nas_ext.config.settings import Settings, keys
from yolo_nas_ext.config.settings import read as read_settings
from yolo_nas_ext.console import quoted, say
from yolo_nas_ext.host.plugin.startup import COMMANDS

FILE = "@file"  # stands for the value of a key that is a text, and may be a file's name
# Both shells understand it: what a command takes, and what a key of a command takes.
TABLES = """\
# Made by `yolo nas-completion`; write it again after an upgrade.
_yolo_nas_keys() {{
  case "$1" in
{keys}
  esac
}}
_yolo_nas_values() {{
  case "$1:$2" in
{values}
  esac
}}
"""
# Bash cuts a word at `=`, and puts in what stands behind it; where somebody took
# `=` out of COMP_WORDBREAKS, the whole word.
BASH = """\
_yolo_nas() {{
  local line="${{COMP_LINE:0:COMP_POINT}}" word command key values before=""
  local -a typed
  read -ra typed <<< "$line"
  word="${{line##*[[:space:]]}}"
  case "${{typed[0]##*/}}" in
    yolo-nas-search) command=nas-search ;;
    *) command="${{typed[1]}}"
       if [[ ${{#typed[@]}} -eq 1 || ( ${{#typed[@]}} -eq 2 && -n "$word" ) ]]; then
         COMPREPLY=($(compgen -W "{commands}" -- "$word"))
         return
       fi ;;
  esac
  if [[ "$word" == *=* ]]; then
    key="${{word%%=*}}"
    values="$(_yolo_nas_values "$command" "$key")"
    [[ "$COMP_WORDBREAKS" == *=* ]] || before="$key="
    if [[ "$values" == "{file}" ]]; then
      COMPREPLY=($(compgen -P "$before" -f -- "${{word#*=}}"))
    else
      COMPREPLY=($(compgen -P "$before" -W "$values" -- "${{word#*=}}"))
    fi
  else
    COMPREPLY=($(compgen -S = -W "$(_yolo_nas_keys "$command")" -- "$word"))
    [[ ${{#COMPREPLY[@]}} -gt 0 ]] && compopt -o nospace 2>/dev/null
  fi
}}
complete -o bashdefault -o default -F _yolo_nas yolo yolo-nas-search
"""
ZSH = """\
_yolo_nas() {{
  local command="${{words[2]}}" key values
  if [[ "${{words[1]:t}}" == yolo-nas-search ]]; then
    command=nas-search
  elif (( CURRENT == 2 )); then
    compadd -- {commands}
    _files
    return
  fi
  if [[ -z "$(_yolo_nas_keys "$command")" ]]; then
    _files
  elif [[ "$PREFIX" == *=* ]]; then
    key="${{PREFIX%%=*}}"
    values="$(_yolo_nas_values "$command" "$key")"
    compset -P '*='
    if [[ "$values" == "{file}" ]]; then _files; else compadd -- ${{=values}}; fi
  else
    compadd -S = -- $(_yolo_nas_keys "$command")
  fi
}}
compdef _yolo_nas yolo yolo-nas-search
"""
GLUE = {"bash": BASH, "zsh": ZSH}


def main(given: Mapping[str, Any]) -> int:
    """Print the completion of a shell; returns 0.

    Raises:
        NASError: For a shell that is not known.
    """
    say(script(read_settings(CompletionSettings, given).shell), end="")
    return 0


def script(shell: str) -> str:
    """Return the completion of a shell, made of the settings of all commands."""
    found = {command: dict(_taken(command)) for command in COMMANDS}
    commands = {c: f"    {c}) echo {quoted(' '.join(v))} ;;" for c, v in found.items()}
    values = (
        f"    {command}:{key}) echo {quoted(words)} ;;"
        for command, known in found.items()
        for key, words in known.items()
        if words
    )
    tables = TABLES.format(keys="\n".join(commands.values()), values="\n".join(values))
    return tables + GLUE[shell].format(commands=" ".join(COMMANDS), file=FILE)


def _taken(command: str) -> Iterator[tuple[str, str]]:
    """Yield the keys of a command with the values that each takes: words, files or nothing."""
    module = import_module(f"yolo_nas_ext.config.{command.removeprefix('nas-')}")
    for kind in module.HELP:
        named = _named(kind)
        for key in keys(kind).values():
            few = named.get(key.name) or allowed(key.parse)
            yield key.name, " ".join(few) or (FILE if key.kind in ("str", "list") else "")


def _named(kind: type[Settings]) -> dict[str, tuple[str, ...]]:
    """Return the names that keys take by the rules of their command."""
    rules = RULES.get(kind, ())
    return {rule.key: rule.allowed for rule in rules if rule.allowed and isinstance(rule.key, str)}
