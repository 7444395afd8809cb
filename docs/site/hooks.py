"""Pages that are made from what they are about: the front page, the changes and the reference."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from yolo_nas_ext.config.settings import groups
from yolo_nas_ext.host.plugin.startup import COMMANDS
from yolo_nas_ext.network.blocks import BLOCKS
from yolo_nas_ext.report.tables import FIXED
from yolo_nas_ext.space import schema

ROOT = Path(__file__).resolve().parents[2]


def on_files(files: Any, config: Any) -> Any:
    """Add the pages; called by mkdocs."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """Return the generated pages by their paths in the documentation."""
    return {
        "index.md": _outside("README.md"),
        "changes.md": _outside("CHANGELOG.md"),
        "reference.md": "\n".join(["# Reference\n", keys(), run_files(), space()]),
    }


def _outside(name: str) -> str:
    """Return a page from above the folder, with its links as they are from inside."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\[([^]]+)\]\(CITATION\.cff\)", r"`\1`", text)  # no page of the site
    return text.replace("](docs/", "](").replace("](CHANGELOG.md)", "](changes.md)")


def keys() -> str:
    """Return the keys of every command as tables, from the classes that they are fields of."""
    lines: list[str] = []
    for command in COMMANDS:
        module = import_module(f"yolo_nas_ext.config.{command.removeprefix('nas-')}")
        lines += ["", f"## Keys of `yolo {command}`"]
        if command == "nas-search":
            lines += [
                "",
                "`cfg/nas.yaml` holds them too, and `yolo nas-search help` prints them. Training "
                "keys of Ultralytics pass through to every candidate.",
            ]
        for kind in module.HELP:
            for title, members in groups(kind).items():
                lines += ["", f"### {title}", ""]
                lines += ["| key | default | type | meaning |", "|---|---|---|---|"]
                for key in members:
                    usual = "" if key.usual in (None, "") else f"`{key.usual}`"
                    lines.append(f"| `{key.name}` | {usual} | {key.kind} | {_cell(key.about)} |")
    return "\n".join(lines).strip() + "\n"


def run_files() -> str:
    """Return what a run leaves, from the README, and the columns of its table of trials."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^## What a run leaves.*?\n(.*?)(?=^## )", text, re.S | re.M)
    assert section
    columns = ", ".join(f"`{name}`" for name in FIXED)
    body = section[1].replace("](docs/", "](")
    return (
        f"## Files of a run\n\n`runs/nas/<name>/` holds:\n{body}\n### Columns of `trials.csv`\n\n"
        f"{columns}; every further metric and cost under its name, the fidelity, and\n"
        "`choice.<name>` for each choice of the space.\n"
    )


def space() -> str:
    """Return the grammar of a space's YAML, from the tables that it is read by."""
    lines = [
        "## Grammar of a space",
        "",
        "A key of a space's YAML may hold the following; [spaces](spaces.md) explains it.",
        "",
        f"Top level: {', '.join(f'`{name}`' for name in schema.TOP)}.",
        "",
        f"Contexts: {', '.join(f'`{name}`' for name in schema.CONTEXTS)}.",
    ]
    parts = {
        "stem": schema.STEM,
        "stages.<name>": schema.STAGE,
        "neck": schema.NECK,
        "head": schema.HEAD,
    }
    for name, part in parts.items():
        lines += ["", f"### `{name}`", "", "| key | an option is | default |", "|---|---|---|"]
        for key, (_, allowed, usual) in part.items():
            shown = "required" if usual is None else f"`{str(usual).lower()}`"
            lines.append(f"| `{key}` | {_cell(allowed)} | {shown} |")
    lines += [
        "",
        "### Blocks",
        "",
        "| block | description | kernels | needs this package |",
        "|---|---|---|---|",
    ]
    for kind, block in BLOCKS.items():
        kernels = ", ".join(map(str, block.kernels)) or "-"
        plugin = "yes" if block.plugin else "no"
        lines.append(f"| `{kind}` | {_cell(block.about)} | {kernels} | {plugin} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Return a text that no table breaks at and no browser takes for a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")
