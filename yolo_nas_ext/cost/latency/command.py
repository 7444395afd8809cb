"""A device behind a command of the user's, which gets a network as files and prints a number.

It is the milliseconds of an image (key `latency`), or its joules (key `energy`).

The command is split into arguments before files are put in, and no shell reads it: whatever a file
is called, it stays one argument.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yolo_nas_ext.console import quoted
from yolo_nas_ext.errors import NASError, did_you_mean

PREFIX = "cmd:"  # begins the value of the key latency, or energy
# What a command prints by the key that names it: in words, its unit, as an example.
PRINTS = {"latency": ("milliseconds", "ms", "12.5"), "energy": ("joules", "J", "0.35")}
# What stands in braces: the format of Ultralytics' export that is put in its place.
FORMS = {
    "onnx": "onnx",
    "pt": "pt",
    "openvino": "openvino",
    "tflite": "litert",
    "ncnn": "ncnn",
}
IMGSZ = "imgsz"  # the image size, in braces
PLACE = re.compile(r"\{(\w*)\}")
# A comma would be read as a decimal point by some, and as a separator by others.
NUMBER = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
SHOWN = 80  # characters of what a command printed that a message holds
GRACE = 5.0  # seconds that a command has to end once its output is closed


def is_command(value: str | None) -> bool:
    """Say whether a value of the key latency, or energy, is a command."""
    return value is not None and value.lstrip().startswith(PREFIX)


@dataclass(frozen=True)
class Command:
    """What measures a network: a programme with its arguments.

    Attributes:
        text: As the user typed it.
        arguments: The programme and its arguments, with places in braces.
        timeout: Seconds after which a run is ended.
        key: The key that it was given by, one of `PRINTS`.
    """

    text: str
    arguments: tuple[str, ...]
    timeout: float
    key: str = "latency"

    @classmethod
    def parse(cls, value: str, timeout: float, key: str = "latency") -> Command:
        """Return the command of a key.

        Raises:
            NASError: For one that cannot be read or started, or that gets no file.
        """
        text = value.strip()
        try:
            arguments = tuple(shlex.split(text.removeprefix(PREFIX)))
        except ValueError as error:
            raise NASError(f"{key}={text}: cannot be split into arguments ({error})") from error
        if not arguments:
            raise NASError(f"{key}={text}: no command; give one, as in {_example(key)}")
        places = [place for argument in arguments for place in PLACE.findall(argument)]
        for place in places:
            if place not in (*FORMS, IMGSZ):
                known = ", ".join(f"{{{name}}}" for name in (*FORMS, IMGSZ))
                hint = did_you_mean(place, FORMS)
                raise NASError(f"{key}={text}: no such place {{{place}}}.{hint} Allowed: {known}")
        if not set(places) & FORMS.keys():
            raise NASError(
                f"{key}={text}: gets no network; say where its file goes: {_example(key)}"
            )
        if PLACE.search(arguments[0]) or shutil.which(arguments[0]) is None:
            raise NASError(
                f"{key}={text}: {arguments[0]} is no programme that can be run here; give its "
                "path, and the right to run it (chmod +x)"
            )
        return cls(text, arguments, timeout, key)

    @property
    def forms(self) -> tuple[str, ...]:
        """The places of files, in the order of `FORMS`."""
        named = {place for argument in self.arguments for place in PLACE.findall(argument)}
        return tuple(form for form in FORMS if form in named)

    def run(self, files: Mapping[str, Path], imgsz: int, where: str) -> list[float]:
        """Return the numbers that a run of the command prints.

        Args:
            files: The network as a file, or a folder, by place.
            imgsz: Image size in pixels.
            where: What the network is called, for messages.

        Raises:
            NASError: For a command that fails, takes too long or prints something else.
        """
        values = {IMGSZ: str(imgsz), **{form: str(file) for form, file in files.items()}}
        arguments = [PLACE.sub(lambda m: values[m[1]], argument) for argument in self.arguments]
        code, printed, errors = self._output(arguments, where)
        if code:
            said = f": {_last(errors or printed)}" if _last(errors or printed) else ""
            ended = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise NASError(f"{self.key}={self.text}: ended with {ended} for {where}{said}")
        return self._read(printed, where)

    def _output(self, arguments: list[str], where: str) -> tuple[int, str, str]:
        """Run a command to its end, or to the time-out, with all that it started."""
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise NASError(f"{self.key}={self.text}: cannot be started ({error})") from error
        try:
            printed, errors = process.communicate(timeout=self.timeout)
        except subprocess.TimeoutExpired as error:
            raise NASError(
                f"{self.key}={self.text}: took more than latency_timeout={self.timeout:g} s for "
                f"{where}; give it more time, or look at what it waits for"
            ) from error
        finally:
            if process.returncode is None:  # also where Ctrl-C ended the wait
                _end(process)
        told, wrong = (each.decode("utf-8", "replace") for each in (printed, errors))
        return process.returncode or 0, told, wrong

    def _read(self, printed: str, where: str) -> list[float]:
        """Return the numbers of the last line that was printed."""
        line = _last(printed)
        words, unit, example = PRINTS[self.key]
        numbers = re.sub(rf"(?<=[\d.])\s*{unit}\b", "", line).split()
        if numbers and all(NUMBER.fullmatch(number) for number in numbers):
            found = [float(number) for number in numbers]
            if all(0 < number < math.inf for number in found):
                return found
        said = f"'{line[:SHOWN]}'" if line else "nothing"
        raise NASError(
            f"{self.key}={self.text}: printed {said} for {where}; its last line has to be "
            f"{words} above 0, one number or several, such as {example}"
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, OSError):  # not on this system, or it has ended
        process.kill()
    try:
        process.communicate(timeout=GRACE)
    except subprocess.TimeoutExpired:  # something that left the group holds its output open
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _last(text: str) -> str:
    """Return the last line of a text that has something in it, without what terminals obey."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "".join(c if c.isprintable() else " " for c in lines[-1])[:200] if lines else ""


def _example(key: str) -> str:
    return quoted(f"{key}={PREFIX}./bench {{onnx}}")
