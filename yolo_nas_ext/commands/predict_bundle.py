"""A model as a bundle of MONAI: its weights, and a workflow that predicts scans with them."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from yolo_nas_ext import __version__
from yolo_nas_ext.commands.predict_scan import Job
from yolo_nas_ext.console import quoted
from yolo_nas_ext.data.scans.options import AXES
from yolo_nas_ext.errors import NASError
from yolo_nas_ext.files import write_json, write_text

MODEL = "models/model.pt"
# What monai.bundle run executes; its own keys are given on its command line.
WORKFLOW: dict[str, Any] = {
    "imports": ["$from yolo_nas_ext.commands.predict import main"],
    "bundle_root": ".",
    "dataset_dir": "scans",
    "output_dir": "$@bundle_root + '/found'",
    "format": "auto",
    "run": [
        f"$main({{'model': @bundle_root + '/{MODEL}', 'source': @dataset_dir, "
        "'out': @output_dir, 'format': @format})"
    ],
}
README = """\
# {name}

A model of the task {task} for scans, found by the package yolo-nas-ext
{version}. It knows: {classes}.

```sh
{command}
```

`found/masks` then has a mask on the grid of every scan, `found/findings.csv` what was found in mm
of the patient, and `found/overlays` pictures. Scans are read as those of the training were: {axis}
slices. No file names a patient. Install yolo-nas-ext first, and fire for the command.
"""


def write_bundle(folder: Path, job: Job) -> Path:
    """Write a bundle, whole or not at all, and return its folder.

    Args:
        folder: Where to; may exist if it is empty.
        job: The model and how it is used.

    Raises:
        NASError: For a folder that has files or cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NASError(f"bundle={folder}: exists and is not an empty folder; give a new one")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
            made = Path(work) / "bundle"
            for name in ("configs", "models", "docs"):
                (made / name).mkdir(parents=True)
            shutil.copyfile(job.model.path, made / MODEL)
            write_json(made / "configs/inference.json", WORKFLOW)
            write_json(made / "configs/metadata.json", _metadata(folder.name, job))
            write_text(made / "docs/README.md", _readme(folder, job))
            os.replace(made, folder)
    except OSError as error:
        raise NASError(
            f"bundle={folder}: cannot be written ({error.strerror or error}); give a folder on a "
            "writable disk with room"
        ) from error
    return folder


def command(folder: Path) -> str:
    """Return what executes a bundle."""
    return (
        f"python -m monai.bundle run --config_file {quoted(folder / 'configs/inference.json')} "
        f"--bundle_root {quoted(folder)} --dataset_dir scans --output_dir found"
    )


def _metadata(name: str, job: Job) -> dict[str, Any]:
    """Return what MONAI's schema asks for."""
    names = {"0": "background", **{str(k): str(v) for k, v in job.recipe.names.items()}}
    return {
        "version": "1.0.0",
        "changelog": {"1.0.0": f"written by yolo_nas_ext {__version__}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {
            "yolo-nas-ext": __version__,
            "ultralytics": version("ultralytics"),
        },
        "name": name,
        "task": f"{job.model.task} of {', '.join(job.recipe.names.values())}",
        "description": "a YOLO that a search found, which sees scans slice by slice",
        "authors": "",
        "copyright": "",
        "data_type": "nibabel, pynrrd or pydicom",
        "intended_use": "research; not a medical device",
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "magnitude",
                    "num_channels": _channels(job),
                    "spatial_shape": [job.imgsz, job.imgsz],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {"0": "image"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "image",
                    "format": "segmentation",
                    "num_channels": 1,
                    "spatial_shape": ["*", "*", "*"],
                    "dtype": "uint8",
                    "value_range": [0, max(job.recipe.names)],
                    "is_patch_data": False,
                    "channel_def": names,
                }
            },
        },
    }


def _channels(job: Job) -> int:
    """Return the channels of a picture."""
    options = job.recipe.options
    return 3 if options.contrasts or options.cut.windows else options.cut.channels


def _readme(folder: Path, job: Job) -> str:
    return README.format(
        name=folder.name,
        task=job.model.task,
        version=__version__,
        classes=", ".join(job.recipe.names.values()),
        command=command(Path(folder.name)),
        axis=AXES[job.recipe.options.cut.axis],
    )
