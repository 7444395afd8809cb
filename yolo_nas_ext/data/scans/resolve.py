"""What labels mean, decided for all scans of a source before any is converted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from yolo_nas_ext.console import EVERY, Progress
from yolo_nas_ext.data.scans import headers, mask_volumes, masks, pairing, structures
from yolo_nas_ext.data.scans.options import NONE, Options, remapped
from yolo_nas_ext.data.scans.publish import check_names
from yolo_nas_ext.errors import NASError

BAR = "{percent:3.0f}% of the labels of {total:.0f} masks, {spent} so far, {left} left"


def resolved(
    found: pairing.PairedScans, options: Options, say: Callable[[str], None]
) -> tuple[pairing.PairedScans, Options]:
    """Return scans and options with what labels mean decided: objects or classes, and which none.

    Raises:
        NASError: For names that leave out a label or a structure, or are of none.
    """
    if options.finest:
        axis, said = headers.finest(entry.source for entry in found.entries)
        options = replace(options, finest=False, cut=replace(options.cut, axis=axis))
        if said:
            say(f"note: {said}")
    if options.by_folder:
        return found, options
    files = {mask: None for entry in found.entries for mask in entry.masks}
    looks = [masks.look(f, options.pages) for f in files if isinstance(f, Path)]
    meaning = masks.meaning(looks)
    for note in meaning.notes:
        say(f"note: {note}")
    several = [e for e in found.entries if len(e.masks) > 1 and not e.labels]
    if options.values == "classes" and several:
        raise NASError(
            f"values=classes: {several[0].name} has {len(several[0].masks)} masks whose names say "
            "no class; call each file or folder as its class, or give one label map"
        )
    instances = options.values == "instances"
    if options.values == "auto" and not found.structures:
        instances = bool(several) or meaning.instances
    if not instances:
        found, names = structures.agreed(found, options.names)
        options = replace(options, names=names)
    void = {masks.VOID: NONE} if meaning.void and not instances else {}
    remap = () if instances else remapped({**void, **options.names})
    options = replace(
        options,
        structures={name: label for label, name in found.names.items()} if found.inside else {},
        cut=replace(
            options.cut, instances=instances, polygons=options.task == "segment", remap=remap
        ),
    )
    if not instances and any(name != NONE for name in options.names.values()):
        present = {label for look in looks if look for label in look.labels}
        if not found.structures:
            bar = Progress(len(files), BAR, delay=EVERY, stream=sys.stderr)
            for number, file in enumerate(files, 1):
                present |= mask_volumes.labels_in(file)
                bar(number)
            bar.close()
        check_names(found, options, present)
    return found, options
