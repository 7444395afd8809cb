"""What the tests of scores without a training share: drawn images, and a space."""

import pytest

from tests.helpers.shapes import draw
from yolo_nas_ext.host.dataset import read
from yolo_nas_ext.space.detector import DetectorSpace


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return read(draw(tmp_path_factory.mktemp("shapes")))


@pytest.fixture(scope="module")
def space():
    return DetectorSpace.load("tiny")
