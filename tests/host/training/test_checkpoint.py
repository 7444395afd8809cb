"""A file of weights: complete or absent, and the same for the same content."""

import pytest
import torch

from yolo_nas_ext.errors import RunError
from yolo_nas_ext.host.training import checkpoint


def test_the_same_content_is_the_same_bytes(tmp_path):
    for name in ("a.pt", "b.pt"):
        checkpoint.write({"weights": torch.ones(3)}, tmp_path / name)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert torch.load(tmp_path / "a.pt")["weights"].tolist() == [1, 1, 1]


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(content, file):
        raise RuntimeError("no space left on device")  # as torch says it

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match="no space left"):
        checkpoint.write({}, tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []
