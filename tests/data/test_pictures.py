"""Pictures are opened as pictures: no other program is run for them."""

import base64
import builtins
import os
import subprocess

import pytest
from PIL import EpsImagePlugin, Image

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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.parametrize(
    "make", [getattr(os, "mkfifo", None), os.mkdir, lambda path: path.symlink_to("/dev/zero")]
)
def test_nothing_waits_for_a_pipe_or_reads_a_device(tmp_path, make):
    path = tmp_path / "picture.png"
    make(path)
    for read in (opened, inspect):
        with pytest.raises(OSError, match="is no file"):
            read(path)
    (seen,) = looked_at([str(path)])
    assert (seen.shape, seen.wrong) == (None, "is no file")


# 24 x 16 pixels as a phone writes them, to be turned by a quarter: the upper half is darker.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAcdtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB6wABAAAAAAAAAFQAAgAAAAACPwABAAAAAAAAACQAAAA4aWlu"
    "ZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAB"
    "BmlwcnAAAADlaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
    "AAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAA"
    "ABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAGAAAAAEAAAAQAAAAAf///9gA"
    "AAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAACWlyb3QDAAAAGWlwbWEAAAAAAAAAAQABBoECAwWEhgAAABpp"
    "cmVmAAAAAAAAAA5jZHNjAAIAAQABAAAAgG1kYXQAAABQKAGvCchshxojm1H/lGv5joU+rtF9G1Rqt2L4Kx6iSkgr"
    "G+F0ZSkjD3JiYKOzEjFa2KsCA8AQjp6ix+j+lprVFk8B0OkyE494NdDjH8qmAz8AAAAGRXhpZgAATU0AKgAAAAgA"
    "AQESAAMAAAABAAYAAAAAAAA="
)


@pytest.fixture
def heic(tmp_path):
    path = tmp_path / "phone.heic"
    path.write_bytes(HEIC)
    (tmp_path / "phone.jpg").write_bytes(HEIC)
    return path


def test_pictures_of_phones_are_read_turned(heic):
    pytest.importorskip("pi_heif", reason="HEIC is an extra: pip install 'yolo-nas-ext[heic]'")
    with opened(heic) as image:
        assert image.size == (16, 24)
    (seen,) = looked_at([str(heic)])
    assert seen.shape == (24, 16) and not seen.wrong
    assert reading.read(heic).plane(2, 0).shape[:2] == (24, 16)
    (called,) = looked_at([str(heic.with_suffix(".jpg"))])  # which a training goes by
    assert "cannot read it (HEIF" in called.wrong
    with pytest.raises(OSError, match=r"HEIC picture that is called .jpg"):
        inspect(heic.with_suffix(".jpg"))


def test_pictures_of_phones_are_named_where_nothing_reads_them(heic, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "pi_heif":
            raise ImportError
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("something is installed"))
    for path in (heic, heic.with_suffix(".jpg")):
        path.touch()
        (seen,) = looked_at([str(path)])
        assert seen.shape is None and "pip install pi-heif" in seen.wrong
        with pytest.raises(OSError, match="HEIC picture"):
            inspect(path)
        with pytest.raises(ScanError, match="pi-heif"):
            reading.read(path)
