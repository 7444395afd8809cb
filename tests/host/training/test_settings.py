"""The settings of trainings: one frozen value, and Ultralytics' arguments from it."""

from dataclasses import FrozenInstanceError, replace

import pytest

from yolo_nas_ext.errors import NASError
from yolo_nas_ext.host.training.settings import TrainingSettings

SETTINGS = TrainingSettings(epochs=3, imgsz=64, batch=4, overrides={"lr0": 0.1, "epochs": 9})


def test_a_field_is_replaced_and_never_set():
    other = replace(SETTINGS, imgsz=96)
    assert (SETTINGS.imgsz, other.imgsz, other.overrides) == (64, 96, SETTINGS.overrides)
    with pytest.raises(FrozenInstanceError):
        SETTINGS.epochs = 5  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("imgsz", [0, 16, 100, -32])
def test_an_image_size_that_no_network_takes_is_refused(imgsz):
    with pytest.raises(NASError, match=f"imgsz={imgsz}: give a multiple of 32"):
        replace(SETTINGS, imgsz=imgsz)


def test_overrides_add_arguments_and_replace_none_of_the_settings():
    made = SETTINGS.arguments(amp=False)
    assert made["lr0"] == 0.1 and made["epochs"] == 3 and made["amp"] is False
    assert made["val"] is False and replace(SETTINGS, every=2).arguments()["val"] is True
