"""A disk that is full while a command writes: one line, and what was recorded goes on."""

import contextlib
import errno

import pytest

from tests.helpers.fakes import without_pictures
from tests.helpers.shapes import draw
from yolo_nas_ext import cli, files, report, run_dir
from yolo_nas_ext.estimators.training import UntouchedTraining
from yolo_nas_ext.pipeline import outputs

resource = pytest.importorskip("resource")  # which Windows has not


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


@contextlib.contextmanager
def files_of_at_most(size):
    """Let no file grow beyond a size, as a full disk does not."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


SEARCH = ["estimator=resolved", "strategy=random", "trials=3", "imgsz=64", "baseline=none"]


SLOW = [pytest.param(size, marks=pytest.mark.slow) for size in (100, 3_000, 110_000, 130_000)]


@pytest.mark.parametrize("size", [60_000, *SLOW])
def test_a_search_says_it_in_one_line_and_goes_on(tmp_path, data, capsys, monkeypatch, size):
    without_pictures(monkeypatch)
    given = ["search", f"data={data}", f"project={tmp_path}", *SEARCH]
    with files_of_at_most(size):
        code = cli.main(given)
    (line,) = capsys.readouterr().err.splitlines()
    assert code in (1, 2) and line.startswith("nas-search: ") and "cannot " in line
    run = tmp_path / "search"
    assert cli.main(["search", f"resume={run}"] if run.exists() else given) == 0


@pytest.fixture
def full(monkeypatch):
    """Have files of a name meet a full disk, however they are written."""
    real = files.replacing

    def fill(*names):
        @contextlib.contextmanager
        def replacing(path, *rest):
            if path.name in names or path.suffix in names:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            with real(path, *rest) as temporary:
                yield temporary

        for module in (files, outputs, report):
            monkeypatch.setattr(module, "replacing", replacing)

    return fill


@pytest.mark.parametrize("name", ["best.yaml", ".html", run_dir.SITTINGS])
def test_results_that_cannot_be_written(tmp_path, data, capsys, monkeypatch, full, name):
    """The second write after the first, such as that of the hours, says nothing of its own."""
    without_pictures(monkeypatch)
    full(name, run_dir.SITTINGS)
    code = cli.main(["search", f"data={data}", f"project={tmp_path}", *SEARCH])
    said = capsys.readouterr().err.splitlines()
    if name == run_dir.SITTINGS:  # of which nothing hangs
        assert (code, said) == (0, [])
        return
    assert code == 1 and len(said) == 1 and "No space left on device" in said[0]
    assert f"{tmp_path / 'search'}" in said[0] and "resume" in said[0]


@pytest.mark.parametrize("name", [".json", ".html"])
def test_a_comparison_says_it_in_one_line_and_goes_on(
    tmp_path, data, capsys, monkeypatch, full, name
):
    without_pictures(monkeypatch)
    monkeypatch.setattr(
        UntouchedTraining, "estimate", lambda *_, **__: {"fitness": 0.5, "map50": 0.5}
    )
    given = ["compare", "models=yolov8n,yolo11n", f"data={data}", f"project={tmp_path}", "seeds=1"]
    full(name)
    assert cli.main([*given, "runtime=none"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    folder = tmp_path / "compare"
    assert "No space left on device" in line and f"resume={folder}" in line
