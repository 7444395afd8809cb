"""Drawn shapes as a data set, drawn once a file of tests."""

import shutil

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.host.dataset import read


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def data(path):
    return read(path)


@pytest.fixture
def folder(path, tmp_path):
    """A copy of them, to be changed."""
    shutil.copytree(path.parent, tmp_path / "set")
    return tmp_path / "set"
