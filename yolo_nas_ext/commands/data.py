"""`yolo nas-data`: whether scans, a COCO JSON or the guides' drawn data are asked for.

It loads what the one asked for needs and no more. Processes that convert scans start before that,
so that they load theirs at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yolo_nas_ext.config.data import CocoSettings, ConvertSettings, DemoSettings
from yolo_nas_ext.config.rules import check
from yolo_nas_ext.config.settings import keys, read
from yolo_nas_ext.data.scans import workers

_COCO_ALONE = {
    name: "is of a COCO JSON; give images= with it, the folder of its pictures"
    for name in keys(CocoSettings)
    if name not in keys(ConvertSettings)
}


def main(given: Mapping[str, Any]) -> int:
    """Run `yolo nas-data` and return its exit code.

    Args:
        given: Keys and raw values of the command.

    Returns:
        0; 3 when scans or images were left out, each of them named, or when it was interrupted.

    Raises:
        NASError: For bad input, or where nothing can be converted.
    """
    if "demo" in given:
        settings = read(DemoSettings, given)
        check(settings)
        from yolo_nas_ext.commands import data_demo

        return data_demo.draw(settings)
    if "images" in given:
        settings = read(CocoSettings, given)
        check(settings)
        from yolo_nas_ext.commands import data_coco

        return data_coco.convert(settings)
    settings = read(ConvertSettings, given, refused=_COCO_ALONE)
    check(settings)
    with workers.Workers(workers.ahead(settings.source, settings.jobs)) as pool:
        from yolo_nas_ext.commands import data_scans

        return data_scans.convert(settings, pool)
