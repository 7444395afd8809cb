"""Asks the package when Ultralytics loads; installed at the top of site-packages.

The interpreter runs the line of `yolo_nas_ext_hook.pth` at start-up, and from Python 3.15 on
`install`, which `yolo_nas_ext_hook.start` names. The line puts a finder in front of the others
that imports this module when Ultralytics is looked for, and is no longer than that takes: a process
without Ultralytics compiles it for nothing. In an editable install the folder of `yolo_nas_ext` may
not even be on the path before.
"""

import sys


def found(finder, name, path=None, target=None):
    """Return a spec that patches a module of Ultralytics once it is loaded, or None."""
    try:
        from yolo_nas_ext.host.plugin import startup

        return startup.find_spec(finder, run, name, path, target, method)
    except BaseException:  # Ultralytics is then found without us, also where Ctrl-C fell here
        import os

        if os.environ.get("YOLO_NAS_DEBUG") == "1":
            import traceback

            traceback.print_exc()


def run(argv):
    """Run one of our commands."""
    from yolo_nas_ext import cli

    return cli.main(argv)


def method():
    """Return the function that is `YOLO.nas_search`."""
    from yolo_nas_ext.python.nas_search import nas_search

    return nas_search


class YoloNasExt:
    """The same finder as that of the line."""

    def find_spec(self, name, path=None, target=None):
        """Return what `found` does for a patched module, and None for every other."""
        if name in ("ultralytics.cfg", "ultralytics.nn.tasks", "ultralytics.models.yolo.model"):
            return found(self, name, path, target)


def install():
    """Put the finder in front of the others, once an interpreter."""
    if not any(type(finder).__name__ == YoloNasExt.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, YoloNasExt())
