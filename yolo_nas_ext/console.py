"""What a terminal shows: progress, tables, and numbers, sizes and times for people."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

EVERY = 10.0  # seconds between two lines of a log
WATCHED = 0.2  # seconds between two looks of a terminal


# What a scheduler, a closed terminal and `kill` end a process by.
ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_ending = {"asked": False, "finishing": False}
_silent = {"on": False}


@contextmanager
def stoppable() -> Iterator[None]:
    """Have the signals that end a process do what Ctrl-C does.

    A shell ignores Ctrl-C for what it starts in the background, and a scheduler sends SIGTERM some
    seconds before it kills. A signal that is ignored where the process was started, as SIGHUP is by
    `nohup`, stays so, but for SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.getsignal(one) for one in ENDS}
    kept = {one for one, how in before.items() if how == signal.SIG_IGN and one != signal.SIGTERM}
    _ending.update(asked=False, finishing=False)

    def end(number: int, frame: object) -> None:
        _ending["asked"] = True
        if not _ending["finishing"]:
            raise KeyboardInterrupt

    for one in before.keys() - kept:
        signal.signal(one, end)
    try:
        yield
    finally:
        for one in before.keys() - kept:
            signal.signal(one, before[one] if before[one] is not None else signal.SIG_DFL)


@contextmanager
def finishing() -> Iterator[None]:
    """Write results to their end, whatever signals follow the first; Ctrl-C still breaks it off."""
    _ending["finishing"] = True
    try:
        yield
    finally:
        _ending["finishing"] = False


def ending() -> bool:
    """Say whether a signal has asked this process to end."""
    return _ending["asked"]


@contextmanager
def silence(on: bool = True) -> Iterator[None]:
    """Print nothing on standard output meanwhile; what goes elsewhere is printed all the same.

    Args:
        on: Whether to; nothing changes otherwise.
    """
    before = _silent["on"]
    _silent["on"] = before or on
    try:
        yield
    finally:
        _silent["on"] = before


class Progress:
    """Says how far long work is: over one line on a terminal, now and then a line in a log.

    Args:
        total: Steps in all.
        text: The line: a format of ``done``, ``total``, ``percent``, ``spent``, ``left``, ``rate``
            in steps a second, and ``note``.
        head: Begins the line, as it is.
        every: Seconds between two lines of a log.
        delay: Seconds before the first line of a log.
        keep: Whether the line of the last step stays; a log has it in any case then.
        stream: A terminal or a log; standard output unless given.
        say: Takes every line in place of the stream, for example to be silent.
    """

    def __init__(
        self,
        total: float,
        text: str = "",
        *,
        head: str = "",
        every: float = EVERY,
        delay: float = 0.0,
        keep: bool = False,
        stream: TextIO | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.total, self.done = total, 0.0
        self.stream = stream or sys.stdout
        self._silent = say is None and stream is None and _silent["on"]
        self.watched = say is None and self.stream.isatty() and not self._silent
        self._text, self._head, self._keep, self._say = text, head, keep, say
        self._every, self._delay = every, delay
        self._before: float | None = None
        self._begin = time.perf_counter()
        self._log = _Log()
        self._line: tqdm | None = None

    def __call__(self, done: float, note: str = "", *, before: float = 0.0) -> None:
        """Say that so many steps are done.

        Args:
            done: Number of steps.
            note: What else to say.
            before: Steps that an earlier run did, which say nothing of the time; the first call's
                value counts.
        """
        self._before = before if self._before is None else self._before
        line = self._tqdm()
        line.set_description_str(self._format(done, note), refresh=False)
        line.update(done - self.done)
        self.done = done
        if self._keep and done >= self.total:
            line.refresh()
        self._pass_on()

    def update(self, by: float) -> None:
        """Say that so many more steps are done."""
        self(self.done + by)

    def show(self, line: str) -> None:
        """Show a line on a terminal until the next one comes; nothing in a log."""
        if self.watched:
            self._tqdm().set_description_str(self._cut(line))

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.clear()
        self._print(clean(line))

    def clear(self) -> None:
        """Take the line off a terminal, so that something else can be printed."""
        if self._line is not None:
            self._line.clear()

    def close(self) -> None:
        """End the line."""
        if self._line is not None:
            self._line.close()
        self._log.line = ""

    def __enter__(self) -> Progress:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the line, also where the work failed."""
        self.close()

    def _tqdm(self) -> tqdm:
        if self._line is None:
            from tqdm import tqdm  # takes 50 ms, and most commands show no progress

            self._line = tqdm(
                total=self.total,
                file=self.stream if self.watched else self._log,
                bar_format="{desc}",
                mininterval=WATCHED if self.watched else self._every,
                miniters=0,
                position=0,  # whatever else is not closed yet
                delay=0 if self.watched else self._delay,
                leave=self._keep,
            )
        return self._line

    def _format(self, done: float, note: str) -> str:
        spent = time.perf_counter() - self._begin
        rate = (done - (self._before or 0.0)) / max(spent, 1e-9)
        text = self._text.format(
            done=done,
            total=self.total,
            percent=100 * done / max(self.total, 1e-9),
            spent=duration(spent),
            left=duration(max(0.0, self.total - done) / max(rate, 1e-9)),
            rate=rate,
            note=note,
        )
        return self._cut(self._head + text)

    def _cut(self, line: str) -> str:
        """Return a line that a terminal does not wrap, as what is wrapped cannot be taken back."""
        line = clean(line)
        return cut(line, shutil.get_terminal_size().columns - 1) if self.watched else line

    def _pass_on(self) -> None:
        """Print what tqdm wrote into the log."""
        line, self._log.line = self._log.line, ""
        if line:
            self._print(line)

    def _print(self, line: str) -> None:
        if self._silent:
            return
        if self._say is None:
            print(line, file=self.stream, flush=True)
        else:
            self._say(line)


class _Log:
    """A file that keeps the last line that tqdm writes, without its carriage returns."""

    line = ""

    def write(self, text: str) -> None:
        self.line = text.strip() or self.line

    def flush(self) -> None:
        pass


def aligned(cells: Sequence[Sequence[str]]) -> str:
    """Return rows of texts as a table: the first column to the left, the others to the right."""
    cells = [[clean(cell) for cell in line] for line in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def short(value: float, *, up: bool = False) -> str:
    """Return a number with three digits and a suffix: ``2590425`` is ``"2.59M"``.

    Args:
        value: A number of at least 0.
        up: Round away from zero.
    """
    for factor, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if value >= factor:
            scaled = value / factor
            digits = 2 if scaled < 10 else 1 if scaled < 100 else 0
            text = f"{scaled:.{digits}f}"
            if up and float(text) < scaled:
                text = f"{float(text) + 10**-digits:.{digits}f}"
            return text + suffix
    return f"{value:.0f}"


def number(value: float) -> str:
    """Return a fitness for people."""
    plain = value == 0 or 1e-3 <= abs(value) < 100
    return f"{value:.4f}" if plain else f"{value:.4g}"


def signed(value: float) -> str:
    """Return a difference of fitness with its sign."""
    size = abs(value)
    return ("+" if value >= 0 else "-") + (f"{size:.4f}" if 5e-5 <= size < 1e-3 else number(size))


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def quoted(value: object) -> str:
    """Return a value as a word of a shell's command, whatever a file is called."""
    text = str(value)
    if text.isprintable():
        return shlex.quote(text)
    plain = (c if c.isprintable() and c not in "'\\" else _escape(c) for c in text)
    return "$'" + "".join(plain) + "'"


def quoted_code(code: str) -> str:
    """Return code whose texts are in single quotes as a word of a shell's command."""
    return quoted(code) if set(code) & set('"$`\\!') or not code.isprintable() else f'"{code}"'


def say(text: str = "", *, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a text without what a terminal obeys; all that the package prints goes this way."""
    if file is None and _silent["on"]:
        return
    print(clean(str(text)), file=file, end=end, flush=True)


def clean(text: str) -> str:
    """Return a text without what a terminal obeys: control characters are shown as Python's."""
    return "".join(c if c.isprintable() or c == "\n" else _escape(c) for c in text)


def _escape(character: str) -> str:
    """Return what stands for a character in quotes, for a shell as for Python."""
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a name that is no text
        return f"\\x{number - 0xDC00:02x}"
    if character in "'\\":
        return "\\" + character
    return f"\\x{number:02x}" if number < 128 else f"\\u{number:04x}"


def cut(text: str, most: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
