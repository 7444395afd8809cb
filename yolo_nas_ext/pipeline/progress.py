"""What a search says while it runs: one line per trial, plain where nobody watches."""

from __future__ import annotations

from typing import TextIO

from yolo_nas_ext import console
from yolo_nas_ext.console import duration, number, short
from yolo_nas_ext.report.facts import label, pixels, sized
from yolo_nas_ext.study.study import Study
from yolo_nas_ext.study.trial import Trial


class Progress:
    """Prints a line when a trial has ended; on a terminal also what runs now.

    Args:
        study: The record.
        trials: Number of trials in all.
        hours: Limit of the search's time.
        stream: Where to print.
        at_a_time: Trials at a time.
        later: Trainings that follow the trials, as many trials as take the same time.
    """

    def __init__(
        self,
        study: Study,
        trials: int,
        hours: float,
        stream: TextIO | None = None,
        *,
        at_a_time: int = 1,
        later: float = 0.0,
    ) -> None:
        self.study, self.at_a_time, self.later = study, at_a_time, later
        self.trials = trials
        self.hours = hours
        self._line = console.Progress(trials, stream=stream)
        self._digits = len(str(trials))

    def __call__(self, trial: Trial) -> None:
        """Say that a trial has started or ended."""
        trials = self.study.trials  # numbers of a record that several processes share have gaps
        place, most = sum(t.number <= trial.number for t in trials), max(self.trials, len(trials))
        head = f"trial {place:>{self._digits}}/{most}  {label(trial):<14}"
        if trial.state == "running":
            self._line.show(f"{head}  running ...")
            return
        params, flops = (short(trial.cost.get(name, 0)) for name in ("params", "flops"))
        size = f"{params:>6} params {flops:>6}FLOPs"
        if sized(self.study):
            size += f" {pixels(trial):>4} px"
        result = (
            f"{self._measured(trial)}{self._rank(trial)}"
            if trial.state == "complete"
            else f"failed ({trial.error})"
            if trial.state == "failed"
            else trial.error
        )
        parts = (head, size, result, *self._best(), f"{trial.seconds:.1f} s", self.left())
        self._line.say("  ".join(filter(None, parts)))

    def _measured(self, trial: Trial) -> str:
        batches = [t.metrics["batch"] for t in self.study.trials if "batch" in t.metrics]
        own = trial.metrics.get("batch", 0)
        half = f" with batch={own:.0f}" if own < max(batches, default=0) else ""
        return f"{self.study.measure.name} {number(self._value(trial))}{half}"

    def _value(self, trial: Trial) -> float:
        return self.study.measure.restated(trial).fitness

    def _rank(self, trial: Trial) -> str:
        """Return the place of a trial among those so far, where a projection gives it one."""
        if not self.study.measure.projects:
            return ""
        known = [t.fitness for t in self.study.complete]
        return f"  rank {1 + sum(v > trial.fitness for v in known)} of {len(known)}"

    def _best(self) -> list[str]:
        """Return the highest of what was found within the limits, and of the baselines."""
        found = [self._value(t) for t in self.study.candidates if not t.name]
        known = [t for t in self.study.complete if t.name]
        said = [f"best found {number(max(found))}" if found else "nothing found yet"]
        if known:
            best = max(known, key=lambda t: (self._value(t), -t.number))
            said.append(f"best baseline {number(self._value(best))}")
        return said

    def resumed(self) -> str:
        """Return what a record holds that is gone on with, and what is left; nothing if new."""
        trials = self.study.trials
        if not trials:
            return ""
        ended = [t for t in trials if t.state != "running"]
        failed = sum(t.state == "failed" for t in ended)
        running = len(trials) - len(ended)
        said = f"{len(ended)} of {max(self.trials, len(trials))} trials are recorded"
        said += f" ({failed} failed)" if failed else ""
        if running:
            again = "broke off and runs" if running == 1 else "broke off and run"
            who = "of other workers running" if self.study.others else f"{again} again"
            said += f", {running} {who}"
        left = max(0, self.trials - len(trials)) + (0 if self.study.others else running)
        return f"{said}; {left or 'none'} {'is' if left == 1 else 'are'} left to try"

    def again(self, before: Trial, after: Trial) -> None:
        """Say what a repeat of a good trial measured."""
        again = self.study.measure.restated(after).metrics.get("fitness_again")
        text = "failed" if again is None else f"{self.study.measure.name} {number(again)}"
        text = f"{text} ({number(self._value(before))} in the search)"
        self._afterwards(f"again {len(self.study.repeats)}", before, text)

    def confirmed(self, trial: Trial) -> None:
        """Say what the confirming training of a trial measured."""
        own = trial.trained
        name = self.study.measure.confirmed
        text = "training failed" if own is trial else f"{name} {number(own.fitness)} trained"
        text = f"{text} ({number(self._value(trial))} in the search)"
        self._afterwards(f"confirmed {len(self.study.confirmed)}", trial, text)

    def measured(self, trial: Trial, before: str, name: str, limit: float | None) -> None:
        """Say what the latency of a trial was measured to be, beside its prediction.

        Args:
            trial: With both among its metrics.
            before: Of the metric that was predicted.
            name: Of the metric that was measured.
            limit: Most milliseconds, if there is a limit.
        """
        ms, predicted = trial.metrics[name], trial.metrics.get(before, 0.0)
        over = f"; above max_latency={limit:g}, left out" if limit and ms > limit else ""
        beside = f" ({predicted:.2f} predicted, {ms / predicted - 1:+.1%})" if predicted else ""
        text = f"{ms:.2f} ms measured{beside}{over}"
        self._afterwards("latency", trial, text)

    def _afterwards(self, what: str, trial: Trial, text: str) -> None:
        """Print a line about a trial that has ended, in the columns of the others."""
        self._line.say(f"{what:<{6 + 2 * self._digits}}  {label(trial):<14}  {text}")

    def left(self) -> str:
        """Return an estimate of the time left, from the trials so far.

        It counts the repeats, confirmations and final trainings that come after them.
        """
        ended = [t.seconds for t in self.study.trials if t.state != "running"]
        remaining = max(0, self.trials - len(ended))
        if not ended or not (remaining or self.later):
            return ""
        usual, spent = sum(ended[-10:]) / len(ended[-10:]), sum(ended) / self.at_a_time
        seconds = min(remaining * usual / self.at_a_time, max(0.0, 3600 * self.hours - spent))
        return f"{duration(seconds + self.later * usual / self.at_a_time)} left"
