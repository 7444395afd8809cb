"""Where checkpoints of version 0.1 look for the plugin modules; they are in `host.plugin.modules`.

A pickled model names its classes by the path of their module, so this path stays.
"""

from yolo_nas_ext.host.plugin.modules import Inverted, MBConv, Timm

__all__ = ["Inverted", "MBConv", "Timm"]
