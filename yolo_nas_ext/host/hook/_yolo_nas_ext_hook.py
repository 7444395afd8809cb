"""Waits for Ultralytics in every interpreter; installed at the top of site-packages.

The interpreter runs `install` at start-up (`yolo_nas_ext_hook.pth`, and from Python 3.15 on
`yolo_nas_ext_hook.start`). A process without Ultralytics never sees more than this, and may have to
compile it each time. So it is short, and `yolo_nas_ext` is imported only when Ultralytics loads. In
an editable install its folder may not even be on the path before.
"""

import sys


class Finder:
    """Asks the package when a patched module of Ultralytics is looked for; finds nothing else."""

    def find_spec(self, name, path=None, target=None):
        """Return a spec that patches the module once it is loaded, or None."""
        if name != "ultralytics.cfg" and name != "ultralytics.nn.tasks":
            return None
        try:
            from yolo_nas_ext.host.plugin import startup

            return startup.find_spec(self, run, name, path, target)
        except BaseException:  # Ultralytics is then found without us, also where Ctrl-C fell here
            import os

            if os.environ.get("YOLO_NAS_DEBUG") == "1":
                import traceback

                traceback.print_exc()


def run(argv):
    """Run one of our commands."""
    from yolo_nas_ext import cli

    return cli.main(argv)


def install():
    """Put the finder in front of the others, once an interpreter."""
    if not any(type(finder) is Finder for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
