"""The commands, `yolo nas-search` among them, one file each, with its help and its `main`.

They may import every other folder.
"""
