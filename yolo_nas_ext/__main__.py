"""`python -m yolo_nas_ext search key=value ...`: the commands where `.pth` files are not read."""

import sys

from yolo_nas_ext.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
