"""Every key of `yolo nas-completion`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from yolo_nas_ext.config.fields import one_of
from yolo_nas_ext.config.settings import Settings, key

SHELLS = ("bash", "zsh")
WHAT = "What is completed"


@dataclass(frozen=True, kw_only=True)
class CompletionSettings(Settings):
    """The settings of the completion of a shell."""

    command: ClassVar[str] = "nas-completion"
    about: ClassVar[str] = """\
yolo nas-completion shell=<shell>

Prints what has a shell complete `yolo nas-*`, their keys, and values where they are few. For bash:

    yolo nas-completion shell=bash > ~/.yolo-nas.bash && echo "source ~/.yolo-nas.bash" >> ~/.bashrc

For zsh, below `compinit`:

    yolo nas-completion shell=zsh > ~/.yolo-nas.zsh && echo "source ~/.yolo-nas.zsh" >> ~/.zshrc

It is a file, so that a shell starts without Python; write it again after an upgrade. Words behind
`yolo` that are none of ours are completed as they were."""

    shell: str = key("bash", one_of(*SHELLS), WHAT, "the shell: bash or zsh")


HELP = (CompletionSettings,)
