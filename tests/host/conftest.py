"""Drawn shapes as a data set, drawn once a file of tests."""

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.host.dataset import read


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def data(path):
    return read(path)
