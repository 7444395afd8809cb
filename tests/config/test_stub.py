"""The stub of `nas_search` and its signature have the keys of the command."""

import inspect

from yolo_nas_ext.config.search import KEYS
from yolo_nas_ext.config.stub import LEFT_OUT, stub
from yolo_nas_ext.python.nas_search import nas_search


def test_the_stub_is_up_to_date(root):
    file = root / "yolo_nas_ext" / "python" / "nas_search.pyi"
    again = "python -m yolo_nas_ext.config.stub > yolo_nas_ext/python/nas_search.pyi"
    assert file.read_text(encoding="utf-8") == stub(), again


def test_the_signature_has_every_key():
    found = inspect.signature(nas_search).parameters
    keys = [name for name in KEYS if name not in LEFT_OUT]
    assert list(found) == ["model", "callbacks", *keys, "training"]
    assert found["data"].default == "cells" and found["val_fraction"].default == 0.25
