"""The commands beside `yolo nas-search`, one file each, with its help and its `main`.

They may import every other folder.
"""
