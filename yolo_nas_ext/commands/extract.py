"""`yolo nas-extract`: networks of a trained supernet as stock models with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yolo_nas_ext import files, run_dir
from yolo_nas_ext.config.extract import FRONT, ExtractSettings
from yolo_nas_ext.config.names import metric_name
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.search import configure
from yolo_nas_ext.config.settings import read
from yolo_nas_ext.console import number, say
from yolo_nas_ext.errors import NASError, did_you_mean
from yolo_nas_ext.estimators.base import Context, hand_over
from yolo_nas_ext.estimators.factory import make, space_file
from yolo_nas_ext.host import arguments, dataset
from yolo_nas_ext.network.architecture import Architecture
from yolo_nas_ext.network.emit import to_yaml
from yolo_nas_ext.pipeline.outputs import write_weights
from yolo_nas_ext.plugins import load_blocks
from yolo_nas_ext.study.study import Study


def main(given: Mapping[str, Any]) -> int:
    """Write the networks of ``nas-extract``; returns the exit code.

    Raises:
        NASError: For bad input.
    """
    settings = read(ExtractSettings, given)
    check(settings)
    folder = Path(settings.run)
    files.refuse_links(folder, "run", follow=settings.follow_links)
    run_dir.allow(folder, settings.given, "run", ("data", "blocks"))
    try:
        config = configure(run_dir.saved(folder, "run"), arguments.TRAINING, arguments.REFUSED)
    except NASError as error:
        raise NASError(f"run={folder}: {str(error).removeprefix(f'run={folder}: ')}") from error
    for name in settings.given & {"data", "blocks"}:
        if settings.values[name] != config.values[name]:
            then = config.values[name]
            raise NASError(f"{name}={settings.values[name]}: the run has {name}={then}; give that")
    if config.estimator != "supernet":
        raise NASError(
            f"run={folder}: searched with estimator={config.estimator}, which shares no weights; "
            "its best network is in best.pt"
        )
    if not (folder / "study.db").is_file():
        raise NASError(
            f"run={folder}: no record in it (study.db); give the folder of a search that has "
            "evaluated networks, without storage="
        )
    load_blocks(config.blocks)
    space = space_file(config)
    wanted = _wanted(Study(space, folder / "study.db"), settings.key_, folder)
    data = dataset.read(config.data, config.task, group=config.group)
    estimator = make(config, data)
    hand_over(Context(folder), estimator)
    out = Path(settings.out or folder / "pareto")
    for network in wanted:
        metrics = write_weights(estimator, network, out)
        path = out / f"nas-{network.key}.yaml"
        name = metric_name(config.task, config.fitness)
        note = f"{name} {number(metrics['fitness'])} with the supernet's weights"
        text = to_yaml(network, data.nc, config.task, [note], data.keypoints)
        files.write_text(path, text)
        say(f"{path.with_suffix('.pt')}: {note}")
    return 0


def _wanted(study: Study, key: str, folder: Path) -> list[Architecture]:
    """Return the networks of the record that are asked for."""
    known = {t.architecture.key: t.architecture for t in study.complete if t.architecture}
    if key == FRONT:
        return [trial.network for trial in study.front]
    names = [name.strip().removeprefix("nas-") for name in key.split(",")]
    for name in names:
        if name not in known:
            raise NASError(
                f"key={name}: no network that the search in {folder} has evaluated."
                f"{did_you_mean(name, known)} Its trials.csv lists them; front is for the best"
            )
    return [known[name] for name in names]
