"""The environment of the tests; set before the host is imported, which reads it once."""

import os
from pathlib import Path

from psutil import virtual_memory

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "tests" / ".config"
CONFIG.mkdir(exist_ok=True)
MEMORY = Path("/dev/shm")  # of Linux: a file there is never waited for
ROOM = 6e9  # bytes; the tests leave less than 2e9 at a time


def in_memory() -> bool:
    """Say whether the tests' folders fit into memory, where a program may be run, too."""
    if not (hasattr(os, "statvfs") and os.access(MEMORY, os.W_OK)):
        return False
    state = os.statvfs(MEMORY)
    free = min(state.f_bavail * state.f_frsize, virtual_memory().available)
    return free > ROOM and not state.f_flag & os.ST_NOEXEC


# SQLite waits for the disk at every commit, which is most of the time of some tests.
if in_memory():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
os.environ.update(
    YOLO_CONFIG_DIR=str(CONFIG),  # the user's own settings are neither read nor written
    YOLO_OFFLINE="1",
    YOLO_AUTOINSTALL="false",
    OMP_NUM_THREADS="1",  # two threads cost thrice one's time on networks as small as those here
    OMP_WAIT_POLICY="PASSIVE",  # a thread that spins takes the core from the one it waits for
    MPLBACKEND="Agg",
)

import random  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Begin each test, and what it shares with others, with the same random numbers.

    A network of random weights sees something in a picture or nothing, which failed a test.
    """
    random.seed(0)
    # A test that does without these does not load them.
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(0)
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the repository; for tests marked `realdata`."""
    return _beside("data")


@pytest.fixture(scope="session")
def shared_inputs() -> Path:
    """Folder of small inputs of many kinds beside the repository; for tests marked `realdata`."""
    return _beside("inputs")


def _beside(name: str) -> Path:
    """Return a folder that is handed out beside the repository, not in it: without it, a skip."""
    folder = ROOT.parent / "shared" / name
    if not folder.is_dir():
        pytest.skip(f"no real {name}: {folder} does not exist")
    return folder


@pytest.fixture
def catalogue() -> Iterator[None]:
    """The catalogue of blocks as it was, after a test that adds a user's."""
    from yolo_nas_ext.network.blocks import BLOCKS
    from yolo_nas_ext.space import schema

    parts = (BLOCKS, schema.STAGE, schema.NECK)
    kept, stages, necks = [dict(p) for p in parts], [*schema.STAGE_BLOCKS], [*schema.NECK_BLOCKS]
    yield
    for part, before in zip(parts, kept, strict=True):
        part.clear()
        part.update(before)
    schema.STAGE_BLOCKS[:], schema.NECK_BLOCKS[:] = stages, necks
