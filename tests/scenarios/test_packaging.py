"""What is built, and how it behaves once it is installed, in environments of their own.

An environment shares the dependencies of this one through links, but not its `.pth` files, its host
or its `yolo_nas_ext`. The host is mostly a stand-in, which loads at once.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from email import message_from_string
from pathlib import Path

import pytest

import yolo_nas_ext

SITE = Path(sysconfig.get_path("purelib"))
NOT_SHARED = re.compile(r"_?yolo_nas_ext.*|ultralytics(-[\d.]+\.dist-info)?|.*\.pth|__pycache__")
FAKE_CFG = """
import sys
ARGV = sys.argv or ["", ""]
CLI_HELP_MSG = "host's help"

def entrypoint(debug=""):
    print(CLI_HELP_MSG if ARGV[1:] in ([], ["help"]) else ARGV[1:])
"""


def call(*command: str | Path, cwd: Path | None = None, check: bool = True) -> str:
    """Standard output of a command; what it prints on the way to an error is in the failure."""
    environment = {
        **os.environ,
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "UV_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(root: Path, target: str, folder: Path) -> Path:
    """Build a wheel or an sdist of a source tree."""
    call(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder, cwd=root)
    return next(folder.iterdir())


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(root, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of links to all that is installed here, but for the host and this package."""
    folder = tmp_path_factory.mktemp("dependencies")
    for entry in SITE.iterdir():
        if not NOT_SHARED.fullmatch(entry.name):
            (folder / entry.name).symlink_to(entry)
    return folder


class Environment:
    """A virtual environment without pip; `tool` installs into it from outside."""

    def __init__(self, folder: Path, dependencies: Path, tool: str = "uv") -> None:
        venv.create(folder, symlinks=True, with_pip=False)
        self.folder = folder
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / "python"
        self.site = Path(self.run("import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        (self.site / "dependencies.pth").write_text(f"{dependencies}\n")
        self.tool = tool

    def run(self, code: str, *options: str) -> str:
        return call(self.python, *options, "-c", code, cwd=self.folder)

    def script(self, name: str, *arguments: str) -> str:
        return call(self.bin / name, *arguments, cwd=self.folder)

    def install(self, *what: str | Path) -> None:
        options = ("--no-deps", "--no-build-isolation", *what)
        if self.tool == "uv":
            cache = ("--cache-dir", self.folder / ".uv")
            call(sys.executable, "-m", "uv", *cache, "pip", "install", "-p", self.python, *options)
        else:
            call(sys.executable, "-m", "pip", "--python", self.python, "install", *options)

    def uninstall(self, name: str) -> None:
        if self.tool == "uv":
            call(sys.executable, "-m", "uv", "pip", "uninstall", "-p", self.python, name)
        else:
            call(sys.executable, "-m", "pip", "--python", self.python, "uninstall", "-y", name)

    def files(self) -> set[str]:
        """What stands in the environment, without what the installer keeps for itself."""
        paths = (path.relative_to(self.folder) for path in self.folder.rglob("*"))
        return {str(path) for path in paths if path.parts[0] not in (".uv", ".lock")}


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make a wheel of the host's stand-in at a version."""

    def host(version: str) -> Path:
        path = tmp_path_factory.mktemp("host") / f"ultralytics-{version}-py3-none-any.whl"
        info = f"ultralytics-{version}.dist-info"
        scripts = "[console_scripts]\nyolo = ultralytics.cfg:entrypoint\n"
        files = {
            "ultralytics/__init__.py": f"__version__ = '{version}'",
            "ultralytics/cfg/__init__.py": FAKE_CFG,
            "ultralytics/nn/__init__.py": "",
            "ultralytics/nn/tasks.py": "",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: ultralytics\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": scripts,
        }
        record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in {**files, f"{info}/RECORD": record}.items():
                archive.writestr(name, text)
        return path

    return host


@pytest.fixture(scope="session")
def installed(
    wheel: Path,
    host: Callable[[str], Path],
    dependencies: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Environment:
    """The wheel and the host's stand-in, installed; not to be changed."""
    environment = Environment(tmp_path_factory.mktemp("installed"), dependencies)
    environment.install(host("8.4.190"), wheel)
    return environment


def names(archive: Path) -> set[str]:
    return set(zipfile.ZipFile(archive).namelist())


def test_the_wheel_has_what_it_needs(wheel: Path, root: Path) -> None:
    inside = names(wheel)
    for folder in ("cfg", "datasets"):
        shipped = {p.relative_to(root).as_posix() for p in (root / folder).rglob("*.yaml")}
        assert shipped and {f"yolo_nas_ext/{name}" for name in shipped} <= inside
    pages = (p for p in (root / "yolo_nas_ext" / "report").rglob("*.*") if p.suffix != ".pyc")
    assert {page.relative_to(root).as_posix() for page in pages} <= inside
    assert "yolo_nas_ext/py.typed" in inside
    assert {name.partition("/")[0] for name in inside} == {
        "yolo_nas_ext",
        f"yolo_nas_ext-{yolo_nas_ext.__version__}.dist-info",
        "_yolo_nas_ext_hook",
        "yolo_nas_ext_hook.pth",
        "yolo_nas_ext_hook.start",
    }


def test_the_metadata(wheel: Path) -> None:
    info = f"yolo_nas_ext-{yolo_nas_ext.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
    assert metadata["Version"] == yolo_nas_ext.__version__
    assert metadata["License-Expression"] == "AGPL-3.0-only"
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in licence
    assert metadata["Requires-Python"] == ">=3.10"
    assert "yolo-nas-search = yolo_nas_ext.cli:search_main" in scripts
    required: dict[str, set[str]] = {}
    for requirement in metadata.get_all("Requires-Dist", []):
        what, _, marker = requirement.partition("; extra == ")
        required.setdefault(marker.strip("'\""), set()).add(what)
    everything = required.pop("all")
    assert set(required) == {"", "ray", "openvino", "heic", "test", "docs"}
    assert everything == set().union(*(required[extra] for extra in required if extra))


def test_the_sdist_builds_the_same_wheel(wheel: Path, root: Path, tmp_path: Path) -> None:
    with tarfile.open(build(root, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if sys.version_info >= (3, 12) else {}))
    source = next(tmp_path.glob("yolo_nas_ext-*"))
    assert names(build(source, "wheel", tmp_path / "wheel")) == names(wheel)


def test_the_start_file_names_what_the_pth_file_calls(root: Path, installed: Environment) -> None:
    hook = root / "yolo_nas_ext" / "host" / "hook"
    module, _, function = (hook / "yolo_nas_ext_hook.start").read_text().strip().partition(":")
    line = (hook / "yolo_nas_ext_hook.pth").read_text().strip()
    assert "\n" not in line and f"from {module} import found" in line
    # As Python 3.15 does with each line of it.
    installed.run(f"import pkgutil; pkgutil.resolve_name('{module}:{function}')()", "-I")


def test_shipped_files_are_found_in_an_installation(installed: Environment) -> None:
    code = (
        "from yolo_nas_ext.files import resource\n"
        "for name in ('cfg', 'nas.yaml'), ('datasets', 'cells.yaml'): print(resource(*name))"
    )
    for line in installed.run(code).splitlines():
        assert Path(line).is_relative_to(installed.site) and Path(line).is_file()


@pytest.mark.parametrize(
    ("tool", "kind", "host_first"),
    [
        ("uv", "wheel", True),
        ("uv", "wheel", False),
        ("uv", "editable", True),
        ("uv", "editable", False),
        ("pip", "wheel", False),
        ("pip", "editable", True),
        pytest.param("pip", "wheel", True, marks=pytest.mark.slow),
        pytest.param("pip", "editable", False, marks=pytest.mark.slow),
    ],
)
def test_install_upgrade_uninstall(
    tool: str,
    kind: str,
    host_first: bool,
    root: Path,
    wheel: Path,
    host: Callable[[str], Path],
    dependencies: Path,
    tmp_path: Path,
) -> None:
    environment = Environment(tmp_path / "venv", dependencies, tool)
    before = environment.files()
    ours = [wheel] if kind == "wheel" else ["-e", root]
    for what in [[host("8.4.190")], ours][:: 1 if host_first else -1]:
        environment.install(*what)
    assert "yolo nas-search" in environment.script("yolo", "help")

    environment.install(host("8.4.191"))
    assert "8.4.191" in environment.run("import ultralytics; print(ultralytics.__version__)")
    assert "yolo nas-search" in environment.script("yolo", "help")
    assert environment.script("yolo", "train", "x=1") == "['train', 'x=1']\n"

    environment.uninstall("yolo-nas-ext")
    assert environment.script("yolo", "help") == "host's help\n"
    left = {path for path in environment.files() - before if "yolo_nas" in path}
    environment.uninstall("ultralytics")
    assert left == set()
    assert {path for path in environment.files() - before if "__pycache__" not in path} == set()


def test_an_editable_install_reads_the_checkout(
    root: Path, dependencies: Path, tmp_path: Path
) -> None:
    environment = Environment(tmp_path / "venv", dependencies)
    environment.install("-e", root)
    code = (
        "import yolo_nas_ext; from yolo_nas_ext.files import resource\n"
        "print(*yolo_nas_ext.__path__); print(resource('cfg', 'nas.yaml'))"
    )
    assert environment.run(code).split() == [str(root / "yolo_nas_ext"), str(root / "cfg/nas.yaml")]
    assert not (environment.site / "yolo_nas_ext").exists()


def test_the_hook_is_in_every_kind_of_process(installed: Environment) -> None:
    program = installed.folder / "spawns.py"
    program.write_text(
        "import multiprocessing, subprocess, sys\n"
        "def listed():\n"
        "    import ultralytics.cfg\n"
        "    print('yolo nas-search' in ultralytics.cfg.CLI_HELP_MSG, flush=True)\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=listed)\n"
        "    process.start(); process.join()\n"
        "    subprocess.run([sys.executable, '-c', 'import spawns; spawns.listed()'], check=True)\n"
        "    listed()\n"
    )
    assert call(installed.python, program, cwd=installed.folder).split() == ["True"] * 3


@pytest.mark.parametrize(("option", "expected"), [("-I", "True"), ("-E", "True"), ("-O", "True")])
def test_interpreter_options(installed: Environment, option: str, expected: str) -> None:
    code = "import ultralytics.cfg as cfg; print('yolo nas-search' in cfg.CLI_HELP_MSG)"
    assert installed.run(code, option).strip() == expected


def test_without_site_there_is_no_hook_and_no_harm(installed: Environment) -> None:
    code = f"import sys; sys.path.append({str(installed.site)!r}); " + (
        "import ultralytics.cfg as cfg; print('yolo nas-search' in cfg.CLI_HELP_MSG)"
    )
    assert installed.run(code, "-S").strip() == "False"


@pytest.mark.slow
def test_the_hook_is_in_the_processes_of_a_distributed_run(installed: Environment) -> None:
    program = installed.folder / "rank.py"
    program.write_text(
        "import ultralytics.cfg as cfg, ultralytics.nn.tasks\n"
        "print('yolo nas-search' in cfg.CLI_HELP_MSG, flush=True)\n"
    )
    out = call(
        installed.python,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        program,
        cwd=installed.folder,
    )
    assert out.split() == ["True", "True"]


def test_every_way_in_reaches_the_command(installed: Environment) -> None:
    ways = [
        installed.script("yolo", "nas-search", "help"),
        installed.script("yolo-nas-search", "help"),
        call(installed.python, "-m", "yolo_nas_ext", "search", "help", cwd=installed.folder),
    ]
    assert "trials" in ways[0]
    assert ways[1:] == ways[:1] * 2


def test_the_real_host_in_an_installation(wheel: Path, dependencies: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv", dependencies)
    for entry in SITE.glob("ultralytics*"):
        if NOT_SHARED.fullmatch(entry.name):
            (environment.site / entry.name).symlink_to(entry)
    environment.install(wheel)
    # What the host's console script does.
    code = "import sys; from ultralytics.cfg import entrypoint; sys.exit(entrypoint())"
    out = call(environment.python, "-c", code, "nas-search", "help", cwd=tmp_path)
    assert out == environment.script("yolo-nas-search", "help")
