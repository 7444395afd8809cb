"""Files as somebody hostile would hand them over; what they attack is a marker beside them.

`make` writes all of them into a folder. The marker stands for whatever an attack would do: it is a
folder or a file that must not be there afterwards.
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import struct
from pathlib import Path

import torch
import yaml

from tests.helpers.shapes import draw

MARKER = "marker"


class Runs:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def make(folder: Path) -> dict[str, Path]:
    """Write hostile files of every kind; return each by a name for command lines."""
    folder.mkdir(parents=True)
    code = f"__import__('os').mkdir({str(folder / MARKER)!r})"
    (folder / "theirs.py").write_text(f"{code}\nclass Theirs: ...\nBLOCKS = {{1: 2}}\n")
    found = {
        **_checkpoints(folder),
        **_data_sets(folder, code),
        **_scans(folder),
        **_models(folder, code),
        **_numbers(folder),
        **_storages(folder),
        **_runs(folder, code),
    }
    return {**found, "code": folder / "theirs.py"}


def _checkpoints(folder: Path) -> dict[str, Path]:
    torch.save({"model": Runs(folder / MARKER)}, folder / "zip.pt")
    torch.save(
        {"model": Runs(folder / MARKER)}, folder / "old.pt", _use_new_zipfile_serialization=False
    )
    return {"zip_pt": folder / "zip.pt", "old_pt": folder / "old.pt"}


def _data_sets(folder: Path, code: str) -> dict[str, Path]:
    plain = yaml.safe_load(draw(folder / "shapes", train=4, val=2).read_text())
    there = {**plain, "path": str(folder / "shapes")}
    contents = {
        "named": {**there, "names": ["a", "../../../marker"]},
        "lines": {**there, "names": ["a", "b\nactivation: x\x1b]0;marker\x07"]},
        "many": {**there, "names": None, "nc": 10**12},
        "wide": {**there, "channels": 10**9},
        "typed": {**there, "names": {"a": {"b": ["c"]}}},
        "away": {**there, "train": "/dev/zero", "val": "/proc/self/mem"},
        "fetched": {"train": "a", "val": "b", "names": ["a"], "download": "http://theirs/a.zip"},
    }
    found = {}
    for name, content in contents.items():
        found[name] = folder / f"{name}.yaml"
        found[name].write_text(yaml.safe_dump(content))
    (folder / "aliases.yaml").write_text(
        "a0: &a0 [x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 12))
    )
    (folder / "tagged.yaml").write_text(f"train: !!python/object/apply:eval [{code!r}]")
    return {**found, "aliases": folder / "aliases.yaml", "tagged": folder / "tagged.yaml"}


def _scans(folder: Path) -> dict[str, Path]:
    (folder / "secret.raw").write_bytes(bytes(range(24)))
    detached = folder / "detached"
    detached.mkdir()
    head = ("NRRD0004", "type: uint8", "dimension: 3", "sizes: 2 3 4", "encoding: raw")
    for number, target in enumerate((folder / "secret.raw", "../secret.raw")):
        lines = [*head, f"data file: {target}", "", ""]
        (detached / f"scan{number}.nhdr").write_text("\n".join(lines))
    bomb = folder / "bomb"
    bomb.mkdir()
    # NIfTI: its size, dimensions, 16 bits a voxel, where voxels begin, and its magic
    nifti = bytearray(352)
    struct.pack_into("<i", nifti, 0, 348)
    struct.pack_into("<8h", nifti, 40, 3, 2000, 2000, 1500, 1, 1, 1, 1)
    struct.pack_into("<2h", nifti, 70, 4, 16)
    struct.pack_into("<f", nifti, 108, 352)
    nifti[344:348] = b"n+1\0"
    with gzip.open(bomb / "scan.nii.gz", "wb") as file:
        file.write(bytes(nifti))
    (bomb / "scan.nii").write_bytes(bytes(nifti))
    datalist = folder / "datalist.json"
    datalist.write_text(json.dumps({"training": [{"image": ["a"] * 3, "label": {"b": 1}}]}))
    return {"detached": detached, "bomb": bomb, "datalist": datalist}


def _models(folder: Path, code: str) -> dict[str, Path]:
    rows = {"backbone": [[-1, 1, "Conv", [8, 3, 2]]], "head": [[[0], 1, "Detect", ["nc"]]]}
    contents = {
        "evaluated": {"nc": 2, "activation": code, **rows},
        "called": {"nc": 2, **rows, "backbone": [[-1, 1, "check_requirements", ["x"]]]},
        "huge": {"nc": 2, **rows, "backbone": [[-1, 10**9, "Conv", [10**9, 3, 2]]]},
        "weird": {"nc": [], "scales": {"n": "abc"}, "backbone": [[[], {}, None]], "head": [1]},
        "timm": {"nc": 2, **rows, "backbone": [[-1, 1, "Timm", ["local-dir:/etc", True, [2]]]]},
    }
    for name, content in contents.items():
        (folder / f"{name}-model.yaml").write_text(yaml.safe_dump(content))
    return {f"{name}_model": folder / f"{name}-model.yaml" for name in contents}


def _numbers(folder: Path) -> dict[str, Path]:
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "odd.json").write_text(json.dumps({"schema": 1, "manifest": {"bundle": 1}}))
    shapes = folder / "shapes" / "images" / "train"
    names = ["../../../secret.raw", "/etc/passwd", "000.png", "../val/000.png"]
    coco = {
        "images": [{"id": f"../{i}", "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {
                "image_id": f"../{i}",
                "category_id": 1,
                "segmentation": {"size": [0, 10**9], "counts": [10**12]},
                **({"bbox": [1, 1, 30, 30]} if i % 2 else {}),
            }
            for i in range(len(names))
        ],
        "categories": [{"id": 1, "name": "../../../marker"}],
    }
    (folder / "coco.json").write_text(json.dumps(coco))
    names = {"deep": "deep.json", "odd": "odd.json", "coco": "coco.json"}
    return {**{name: folder / file for name, file in names.items()}, "pictures": shapes}


def _storages(folder: Path) -> dict[str, Path]:
    (folder / "text.db").write_text("no database")
    with sqlite3.connect(folder / "empty.db") as connection:
        connection.execute("create table version_info (a)")
        connection.execute("create table studies (study_id, study_name)")
        connection.execute("insert into studies values (1, 'search')")
    connection.close()
    return {"text_db": folder / "text.db", "empty_db": folder / "empty.db"}


def _runs(folder: Path, code: str) -> dict[str, Path]:
    contents = {
        "strategy": {"strategy": f"{folder / 'theirs.py'}:Theirs"},
        "blocks": {"blocks": str(folder / "theirs.py"), "estimator": "supernet"},
        "download": {"data": str(folder / "run-download.yaml"), "estimator": "supernet"},
        "storage": {"storage": f"sqlite:///{folder / MARKER}"},
        "ray": {"executor": "ray", "ray_address": "ray://theirs:10001"},
        "url": {"data": "http://theirs/data.yaml"},
        "compared": {"models": [str(folder / "evaluated-model.yaml")], "data": "cells"},
        "weights": {"model": str(folder / "zip.pt")},
        "typed": {"trials": {"a": [1]}, "data": [["b"]], 5: None},
        "keys": {"trials": "1", "\x1b]0;marker\x07\n": "x"},
        "nothing": {},
    }
    data = {"train": "a", "val": "b", "names": ["a"], "path": str(folder), "download": code}
    (folder / "run-download.yaml").write_text(yaml.safe_dump(data))
    for name, content in contents.items():
        run = folder / f"run-{name}"
        (run / "weights").mkdir(parents=True)
        (run / "args.yaml").write_text(yaml.safe_dump(content))
        for file in ("study.db", "supernet.pt", "weights/x.pt"):
            (run / file).write_bytes((folder / "zip.pt").read_bytes())
        for file in ("seconds.json", "changes.json", "distribution.json", "tracker.json"):
            (run / file).write_text("[" * 100_000)
    return {f"run_{name}": folder / f"run-{name}" for name in contents}
