"""Pictures are opened as pictures: no other program is run for them."""

import subprocess

import pytest
from PIL import EpsImagePlugin

from yolo_nas_ext.data.coco.objects import inspect
from yolo_nas_ext.data.pictures import opened
from yolo_nas_ext.data.scans import reading
from yolo_nas_ext.data.scans.volumes import ScanError
from yolo_nas_ext.host.pictures import looked_at

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_postscript_is_no_picture_whatever_it_is_called(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it is run"))
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("it is run"))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(POSTSCRIPT)
    with pytest.raises(OSError):
        opened(path)
    with pytest.raises(OSError):
        inspect(path)
    with pytest.raises(ScanError):
        reading.read(path)
    (seen,) = looked_at([str(path)])
    assert seen.shape is None
