"""The hook, in interpreters of its own that have read its `.pth` or have not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from yolo_nas_ext.host.plugin import startup
from yolo_nas_ext.host.plugin.startup import COMMANDS

ROOT = Path(__file__).resolve().parents[3]
HOOK = ROOT / "yolo_nas_ext" / "host" / "hook"

# The modules of Ultralytics that the hook touches; loads in no time.
FAKE_CFG = '''
import functools, sys, types, typing
ARGV = sys.argv or ["", ""]
CLI_HELP_MSG = """
    6. Run special commands:
        yolo help

    Docs: somewhere
    """

def entrypoint(debug: str = "") -> None:
    """Ultralytics' own."""
    arguments = (debug.split(" ") if debug else ARGV)[1:]
    print("stock", arguments)
    if arguments[:1] in ([], ["help"]):
        print(CLI_HELP_MSG)
'''
# `cli` by a stand-in, so that what arrives is seen and the exit code is chosen.
STAND_IN = """
import sys, types
cli = types.ModuleType("yolo_nas_ext.cli")
cli.main = lambda argv: print("ours", argv) or (3 if "fail=1" in argv else 0)
sys.modules["yolo_nas_ext.cli"] = cli
from ultralytics.cfg import entrypoint
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def fake_ultralytics(tmp_path: Path) -> Path:
    """A folder with a stand-in for Ultralytics."""
    package = tmp_path / "site" / "ultralytics"
    (package / "cfg").mkdir(parents=True)
    (package / "nn").mkdir()
    (package / "__init__.py").touch()
    (package / "nn" / "__init__.py").touch()
    (package / "cfg" / "__init__.py").write_text(FAKE_CFG)
    (package / "nn" / "tasks.py").write_text("def parse_model(): ...\n")
    return package.parent


@pytest.fixture
def run(fake_ultralytics: Path) -> Run:
    """Run code with or without the hook; nothing else of the environment's start-up happens."""

    def run(
        code: str,
        *arguments: str,
        hook: bool = True,
        site: Path | str | list[str] = fake_ultralytics,
        package: Path = ROOT,
        debug: bool = False,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        sites = site if isinstance(site, list) else [str(site)]
        start = f"import sys, site; sys.path[1:1] = {sites!r}; sys.path.remove('')\n"
        if hook:
            # The package's own folder comes last, as after an editable install's `.pth`.
            start += f"site.addsitedir({str(HOOK)!r}); sys.path.append({str(package)!r})\n"
        return subprocess.run(
            [sys.executable, "-S", "-c", start + code, *arguments],
            env={**os.environ, "YOLO_NAS_DEBUG": "1" if debug else ""},
            capture_output=True,
            text=True,
            check=check,
            timeout=120,
        )

    return run


def broken_package(folder: Path, body: str) -> Path:
    """A `yolo_nas_ext` whose patch has this body."""
    host = folder / "broken" / "yolo_nas_ext" / "host"
    host.mkdir(parents=True)
    (host.parent / "__init__.py").touch()
    (host / "__init__.py").touch()
    (host / "plugin").mkdir()
    (host / "plugin" / "__init__.py").touch()
    (host / "plugin" / "startup.py").write_text(body)
    return host.parents[2]


def test_nothing_of_the_package_loads_without_ultralytics(run: Run) -> None:
    code = "import json, email; print([m for m in sys.modules if m.startswith('yolo_nas')])"
    assert run(code).stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["nas-search", "--nas-search", "-nas-search", "NAS-search"])
def test_our_command_reaches_our_cli(run: Run, command: str) -> None:
    done = run(STAND_IN + "print('returned', entrypoint())", command, "a=1", "b = 2")
    assert done.stdout.splitlines() == ["ours ['nas-search', 'a=1', 'b = 2']", "returned None"]


def test_our_command_by_the_debug_string(run: Run) -> None:
    done = run(STAND_IN + "entrypoint(debug='yolo nas-data x=1'); entrypoint('yolo train x=1')")
    assert done.stdout.splitlines() == ["ours ['nas-data', 'x=1']", "stock ['train', 'x=1']"]


def test_exit_code_is_ours(run: Run) -> None:
    done = run(STAND_IN + "entrypoint()", "nas-search", "fail=1", check=False)
    assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize("arguments", [["train", "nas-search"], ["nas", "x=1"], ["", "nas-search"]])
def test_other_commands_are_those_of_ultralytics(run: Run, arguments: list[str]) -> None:
    code = "from ultralytics.cfg import entrypoint; entrypoint()"
    assert run(code, *arguments).stdout == run(code, *arguments, hook=False).stdout


def without_our_lines(text: str) -> str:
    """The help without our list: its title, its lines and the empty line after it."""
    head, _, rest = text.partition("\n    Backbone search (yolo-nas-ext):\n")
    lines = rest.splitlines(keepends=True)
    while lines and lines[0].startswith("        yolo nas-"):
        lines.pop(0)
    return head + "".join(lines)


@pytest.mark.parametrize("arguments", [[], ["help"]])
def test_help_lists_our_commands_and_keeps_the_stock_ones(run: Run, arguments: list[str]) -> None:
    code = "from ultralytics.cfg import entrypoint; entrypoint()"
    ours, theirs = (run(code, *arguments, hook=hook).stdout for hook in (True, False))
    assert without_our_lines(ours) == theirs
    listed = [
        line.split()[1] for line in ours.splitlines() if line.startswith(" " * 8 + "yolo nas")
    ]
    assert listed == list(COMMANDS)


def test_a_reload_is_patched_once_again(run: Run) -> None:
    code = STAND_IN + (
        "import importlib, ultralytics.cfg as cfg\n"
        "for _ in range(2): importlib.reload(cfg)\n"
        "cfg.entrypoint('yolo nas-search'); print(cfg.CLI_HELP_MSG.count('nas-search'))\n"
        "print(cfg.entrypoint.__doc__, type(cfg.__loader__).__name__, vars(cfg.__loader__).keys())"
    )
    assert run(code).stdout.splitlines() == [
        "ours ['nas-search']",
        "1",
        "Ultralytics' own. SourceFileLoader dict_keys(['name', 'path'])",
    ]


def test_installing_twice_is_installing_once(run: Run) -> None:
    again = f"import site; site.addsitedir({str(HOOK)!r})\n"
    code = (
        f"{again}import _yolo_nas_ext_hook as hook; hook.install()\n"
        "print(sum(type(f).__name__ == 'YoloNasExt' for f in sys.meta_path))"
    )
    assert run(code).stdout.strip() == "1"
    first = f"sys.path.append({str(HOOK)!r}); import _yolo_nas_ext_hook as hook; hook.install()\n"
    assert run(first + code, hook=False).stdout.strip() == "1"


def test_finders_that_ask_each_other(run: Run) -> None:
    code = """
class Asks:
    def find_spec(self, *question):
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(*question)):
                return spec
sys.meta_path.insert(0, Asks())
import ultralytics.cfg
print("nas-search" in ultralytics.cfg.CLI_HELP_MSG)
"""
    assert run(code).stdout.strip() == "True"


def test_ultralytics_in_a_zip(run: Run, fake_ultralytics: Path, tmp_path: Path) -> None:
    import shutil

    archive = shutil.make_archive(str(tmp_path / "site"), "zip", fake_ultralytics)
    code = (
        "import ultralytics.cfg as cfg, ultralytics.nn.tasks\n"
        "print('nas-search' in cfg.CLI_HELP_MSG, type(cfg.__loader__).__name__)"
    )
    assert run(code, site=archive).stdout.strip() == "True zipimporter"


@pytest.mark.parametrize(
    "body",
    [
        "syntax error",
        "def find_spec(*_): raise SystemExit(1)",
        "def find_spec(*_): raise KeyboardInterrupt",
        "raise KeyboardInterrupt",
        "",
    ],
)
def test_a_broken_patch_does_not_break_ultralytics(run: Run, tmp_path: Path, body: str) -> None:
    package = broken_package(tmp_path, body)
    code = "from ultralytics.cfg import entrypoint; entrypoint(); import ultralytics.nn.tasks"
    quiet = run(code, "train", package=package)
    assert (quiet.stdout, quiet.stderr) == ("stock ['train']\n", "")
    assert "Traceback" in run(code, "train", package=package, debug=True).stderr


def test_a_patch_that_fails_does_not_break_ultralytics(run: Run, fake_ultralytics: Path) -> None:
    (fake_ultralytics / "ultralytics" / "cfg" / "__init__.py").write_text("entry_point = 1")
    code = "import ultralytics.cfg; print(ultralytics.cfg.entry_point)"
    assert run(code).stdout == "1\n"
    assert "Traceback" in run(code, debug=True).stderr


# What a later Ultralytics may have changed: each is left as it is, and one line says so.
CHANGED = {
    "cfg/__init__.py": [
        "def main(): ...",
        "ARGV = []\ndef entrypoint(debug=''): ...",
        "ARGV, CLI_HELP_MSG = [], None\ndef entrypoint(debug=''): ...",
        "CLI_HELP_MSG = ''\ndef entrypoint(debug=''): ...",
        "ARGV, CLI_HELP_MSG, entrypoint = [], '', None",
        "ARGV, CLI_HELP_MSG = None, ''\ndef entrypoint(debug=''): ...",
    ],
    "nn/tasks.py": ["def parse(d): ..."],
    "models/yolo/model.py": ["class Yolo: ..."],
}


@pytest.mark.parametrize(
    ("file", "text"), [(file, text) for file, texts in CHANGED.items() for text in texts]
)
def test_a_host_that_is_not_known_stays_as_it_is(
    run: Run, fake_ultralytics: Path, file: str, text: str
) -> None:
    path = fake_ultralytics / "ultralytics" / file
    for folder in (path.parent, path.parent.parent):
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "__init__.py").exists() and folder != fake_ultralytics:
            (folder / "__init__.py").touch()
    (fake_ultralytics / "ultralytics" / "__init__.py").write_text("__version__ = '9.0.0'")
    path.write_text(text)
    name = "ultralytics." + file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    code = (
        f"import importlib; module = importlib.import_module({name!r}); importlib.reload(module)\n"
        "found = {k: str(v) for k, v in vars(module).items() if not k.startswith('__')}\n"
        "print({k: v.split(' at ')[0] for k, v in found.items()})"
    )
    ours, theirs = run(code), run(code, hook=False)
    assert ours.stdout == theirs.stdout
    (line,) = ours.stderr.splitlines()
    assert line.startswith("yolo_nas_ext: Ultralytics 9.0.0 is not one that it knows (")


@pytest.mark.parametrize("body", ["syntax error", "", "raise KeyboardInterrupt", "\\0"])
def test_a_damaged_hook_is_one_line(run: Run, tmp_path: Path, body: str) -> None:
    (tmp_path / "hook").mkdir()
    line = (HOOK / "yolo_nas_ext_hook.pth").read_text()
    (tmp_path / "hook" / "yolo_nas_ext_hook.pth").write_text(line)
    (tmp_path / "hook" / "_yolo_nas_ext_hook.py").write_text(body)
    add = f"import site; site.addsitedir({str(tmp_path / 'hook')!r})"
    assert run(add, hook=False).stderr == ""  # nor anything where Ultralytics is not loaded
    code = f"{add}; import ultralytics.cfg, ultralytics.nn.tasks"
    done = run(code + "; print('loaded')", hook=False)
    (said,) = done.stderr.splitlines()
    assert said.startswith("yolo_nas_ext: its start-up hook is damaged (")
    assert done.stdout == "loaded\n"


def test_a_package_that_is_gone_does_not_break_ultralytics(run: Run, tmp_path: Path) -> None:
    code = "from ultralytics.cfg import entrypoint; entrypoint(); import ultralytics.nn.tasks"
    done = run(code, "train", package=tmp_path)
    assert (done.stdout, done.stderr) == ("stock ['train']\n", "")


def test_errors_of_ultralytics_stay_its_own(run: Run, fake_ultralytics: Path) -> None:
    (fake_ultralytics / "ultralytics" / "cfg" / "__init__.py").write_text(
        "raise ValueError('theirs')"
    )
    code = (
        "try: import ultralytics.cfg\n"
        "except ValueError as error: print(error, 'ultralytics.cfg' in sys.modules)"
    )
    assert run(code).stdout.strip() == "theirs False"


def test_an_ultralytics_without_the_module_is_left_alone(run: Run, tmp_path: Path) -> None:
    code = (
        "try: import ultralytics.nn.tasks\nexcept ModuleNotFoundError as error: print(error.name)"
    )
    assert run(code, site=tmp_path, debug=True).stdout.strip() == "ultralytics"


def test_plugin_blocks_are_registered(run: Run) -> None:
    code = """
import types
modules = types.ModuleType("yolo_nas_ext.host.plugin.register")
modules.register = lambda tasks: print(tasks.__name__, hasattr(tasks, "parse_model"))
sys.modules[modules.__name__] = modules
import ultralytics.nn.tasks
"""
    assert run(code).stdout.strip() == "ultralytics.nn.tasks True"


def loaded_by(run: Run, code: str, before: str = "", **options: bool) -> set[str]:
    """Names of the modules that a line of code loads."""
    lines = f"{before}\nseen = set(sys.modules)\n{code}\nprint(*set(sys.modules) - seen)"
    return set(run(lines, **options).stdout.split())


# How long these take is measured by benchmarks/startup.py.


def test_start_up_loads_nothing(run: Run) -> None:
    line = (HOOK / "yolo_nas_ext_hook.pth").read_text()
    code = f"sys.path.append({str(HOOK)!r}); exec({line!r})"
    assert loaded_by(run, code, hook=False) == set()


def test_loading_ultralytics_loads_little_more(run: Run) -> None:
    # What the real one has loaded by the time it loads its cfg.
    load = "import functools, importlib.machinery, math, os, threading, traceback, types, typing"
    code = "import ultralytics.cfg, ultralytics.nn.tasks"
    more = loaded_by(run, code, load) - loaded_by(run, code, load, hook=False)
    ours = ("", ".host", ".host.plugin", ".host.plugin.startup", ".host.plugin.register")
    assert more - {"__future__", "_yolo_nas_ext_hook"} == {f"yolo_nas_ext{name}" for name in ours}


REAL = """
import sys
from ultralytics.cfg import entrypoint
for line in ("yolo help", "yolo version", "yolo cfg", "yolo -v"):
    print(">", line)
    entrypoint(line)
try:
    entrypoint("yolo no-such-command")
except SyntaxError as error:
    print(">", error)
"""


def test_the_real_ultralytics(run: Run) -> None:
    site = [path for path in sys.path if Path(path).name == "site-packages"]
    # Before it stands the word on the settings file that Ultralytics makes in a new folder.
    ours, theirs = (
        run(REAL, hook=hook, site=site).stdout.partition("> yolo help")[2] for hook in (True, False)
    )
    assert ours.count("yolo nas-search") == 2  # in the help and in the error's help
    assert without_our_lines(without_our_lines(ours)) == theirs


def test_a_model_can_search_once_ultralytics_is_loaded(run: Run, fake_ultralytics: Path) -> None:
    folder = fake_ultralytics / "ultralytics" / "models" / "yolo"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder.parent / "__init__.py").touch()
    (folder / "model.py").write_text("class YOLO: ...\nclass YOLOE: ...\n")
    code = """
from ultralytics.models.yolo.model import YOLO, YOLOE
print([m for m in sys.modules if m.startswith("yolo_nas_ext.") and ".host" not in m])
import types
module = types.ModuleType("yolo_nas_ext.python.nas_search")
module.nas_search = lambda model, **keys: (type(model).__name__, keys)
sys.modules[module.__name__] = module
print(YOLO().nas_search(data="x"), YOLO.nas_search is module.nas_search)
print(hasattr(YOLOE, "nas_search"))
"""
    done = run(code, debug=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[]", "('YOLO', {'data': 'x'}) True", "False"]


def test_the_hook_of_an_earlier_version_works_with_the_package_of_today() -> None:
    # An editable install copies the hook, and the package changes under it.
    finders = [type("Finder", (), {"find_spec": lambda *_: None})()]
    assert startup.find_spec(finders[0], len, "ultralytics.cfg.no_such_module", None, None) is None
    module = ModuleType("ultralytics.models.yolo.model")
    startup.patch(module, len)
    assert not hasattr(module, "YOLO")
