"""Several packages of OpenCV: said where their versions differ."""

from importlib.metadata import PackageNotFoundError

import pytest

from yolo_nas_ext.host import opencv


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ({"opencv-python": "5.0"}, ""),
        ({"opencv-python": "5.0", "opencv-python-headless": "5.0"}, ""),
        (
            {"opencv-python": "4.12", "opencv-python-headless": "5.0"},
            "opencv-python 4.12 and opencv-python-headless 5.0 are installed",
        ),
    ],
)
def test_a_mixture_is_said_with_the_way_out(installed, said, monkeypatch):
    def version(name):
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(opencv, "version", version)
    found = opencv.mixed()
    assert found.startswith(said) and bool(found) == bool(said)
    if said:
        assert "pip uninstall -y opencv-python opencv-python-headless and pip install" in found
        assert "\n" not in found
