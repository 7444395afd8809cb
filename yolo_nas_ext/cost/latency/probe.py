"""Timing exported models. It needs Python, NumPy and one runtime: ONNX Runtime, NCNN or LiteRT.

This file goes into a bundle (`cost.latency.bundle`) as its script. There it times the models beside
it and writes ``result.json``. The package uses the same functions, so that both measure alike. It
is kept to what Python 3.8 has, which devices of some years ago come with.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Mapping, MutableMapping, Sequence  # noqa: UP035

if sys.version_info < (3, 8):  # noqa: UP036
    sys.exit(f"probe.py: needs Python 3.8 or newer; this is {platform.python_version()}")
try:
    import numpy as np
except ImportError as missing:
    if __name__ != "__main__":
        raise
    sys.exit(f"probe.py: needs numpy ({missing}); install it: pip install numpy onnxruntime")

MANIFEST, RESULT = "manifest.json", "result.json"
BURST = 3  # runs of a model in a row; one more before them brings its weights back into the caches
TURNS = (6, 40)  # fewest and most turns in which a layer is timed
LAYER_SECONDS = 0.05  # that they take, roughly
FINE = time.get_clock_info("process_time").resolution < 1e-5  # not on Windows, in steps of 16 ms
DISTURBED = 1.1  # times the least of some runs from which on their median is not the model's own
Run = Callable[[], Any]
PACKAGES = {"onnx": "onnxruntime", "ncnn": "ncnn", "litert": "ai_edge_litert"}
# Versions of ONNX Runtime with the newest operators (opset) and format (IR) of ONNX that they take.
TAKES = (
    ((1, 6), 13, 7),
    ((1, 8), 14, 7),
    ((1, 9), 15, 8),
    ((1, 11), 16, 8),
    ((1, 12), 17, 8),
    ((1, 14), 18, 8),
    ((1, 15), 19, 9),
    ((1, 17), 20, 9),
    ((1, 18), 21, 10),
    ((1, 21), 22, 10),
    ((1, 22), 23, 11),
)
LOST = 20  # layers that fail one after the other, from which on it is the device that cannot
SHORTEST = 1e-5  # milliseconds: what a layer too fast to be timed counts


def interleaved(
    runs: Mapping[str, Run],
    *,
    repeats: int,
    warmup: int = 0,
    burst: int = BURST,
    progress: Callable[[int, int], object] = lambda done, total: None,
    waits: MutableMapping[str, list[float]] | None = None,
) -> dict[str, np.ndarray]:
    """Return the times in milliseconds of callables that take turns.

    A machine whose speed drifts slows all of them alike. Each turn begins with a run that is not
    timed; the order changes from turn to turn.

    Args:
        runs: What to time, by name.
        repeats: Timed runs of each, rounded up to whole bursts.
        warmup: Runs of each before anything is timed.
        burst: Timed runs in a turn.
        progress: Called with the number of turns done and of all.
        waits: Is given, for each run, the share of its time in which this process had no processor.
            Other work of the machine took it, unless the run waits for another device.
    """
    for run in runs.values():
        for _ in range(warmup):
            run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    turns = -(-repeats // burst)
    names = list(runs)
    for turn in range(turns):
        start = (turn * 7) % len(names) if names else 0
        for name in (*names[start:], *names[:start]):
            run = runs[name]
            run()
            for _ in range(burst):
                begin, used = time.perf_counter(), time.process_time()
                run()
                seconds = time.perf_counter() - begin
                times[name].append(1e3 * seconds)
                if waits is not None:
                    idle = 1 - (time.process_time() - used) / seconds if seconds else 0.0
                    waits.setdefault(name, []).append(max(0.0, idle))
        progress(turn + 1, turns)
    return {name: np.array(values) for name, values in times.items()}


def least_ms(times: np.ndarray, waits: Sequence[float] = (), alone: bool = True) -> float:
    """Return what a model takes itself, in milliseconds, as far as its runs tell.

    That is the least of their processor times: a run that waits for the processor takes longer by
    the wall clock, and uses no more of the processor.

    Args:
        times: Of the runs by the wall clock.
        waits: Shares of them in which this process had no processor, see `interleaved`.
        alone: Whether one thread of this process computes it: else its processor time is that of
            several threads, or of none, and the least time by the wall clock counts.
    """
    if alone and FINE and len(waits) == len(times):
        times = times * (1 - np.array(waits))
    return float(max(np.min(times), SHORTEST))


def layer_ms(few: Run, many: Run, more: int, alone: bool = True) -> float:
    """Return the time of a layer in milliseconds, from models with few and with many copies of it.

    The least of several turns is taken of each, as whatever else a machine does only adds to it.
    Where it waits for the processor there are more turns, and its processor time counts.

    Args:
        few: Runs the model with few copies.
        many: Runs the model with `more` copies more.
        more: By how many.
        alone: Whether one thread of this process computes it, see `least_ms`.
    """
    begin = time.perf_counter()
    few()
    many()
    took = time.perf_counter() - begin
    turns = int(min(max(LAYER_SECONDS / (took * 2), TURNS[0]), TURNS[1]))
    clock = time.process_time if alone and FINE else time.perf_counter
    least, wall = [np.inf, np.inf], [np.inf, np.inf]
    for turn in range(2 * turns):
        if turn >= turns and all(wall[i] < DISTURBED * least[i] for i in (0, 1)):
            break
        for index, run in enumerate((few, many)):
            run()
            begin, used = time.perf_counter(), clock()
            run()
            least[index] = min(least[index], clock() - used)
            wall[index] = min(wall[index], time.perf_counter() - begin)
    return max(1e3 * (least[1] - least[0]) / more, SHORTEST)


def of_group(medians: Sequence[float], least: Sequence[float]) -> list[float]:
    """Return what the models of a group take: their medians, or the least of each.

    The least counts of all where it is far below the median of any: other work disturbs some models
    more than others, and they are compared.
    """
    disturbed = bool((np.array(medians) > DISTURBED * np.array(least)).any())
    return [float(ms) for ms in (least if disturbed else medians)]


def session(model: str | bytes, threads: int) -> Run:
    """Return what runs an ONNX model once in ONNX Runtime, on random images from 0 to 1.

    Args:
        model: The path of a file, or its content.
        threads: CPU threads.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    made = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {i.name: rng.random(tuple(i.shape), dtype=np.float32) for i in made.get_inputs()}
    return lambda: made.run(None, feed)


def ncnn_network(model: str | Path, threads: int, side: int, precision: str = "fp32") -> Run:
    """Return what runs a network once in NCNN, on a random image from 0 to 1.

    Args:
        model: The folder that Ultralytics exports.
        threads: CPU threads.
        side: Pixels of the image each way.
        precision: ``fp32``, or ``fp16`` where the processor computes in it.
    """
    import ncnn  # pyright: ignore[reportMissingImports]

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, name, precision == "fp16")
    folder = Path(model)
    for load, file in ((net.load_param, "model.ncnn.param"), (net.load_model, "model.ncnn.bin")):
        if load(str(folder / file)):  # 0 is success
            raise OSError("ncnn cannot load {}".format(file))  # noqa: UP032
    image = np.random.default_rng(0).random((3, side, side), dtype=np.float32)
    given, wanted = net.input_names()[0], list(net.output_names())

    def run() -> Any:
        with net.create_extractor() as extractor:
            extractor.input(given, ncnn.Mat(image))
            return [np.array(extractor.extract(name)[1]) for name in wanted]

    return run


def litert_network(model: str | Path, threads: int) -> Run:
    """Return what runs a network once in LiteRT, on a random image from 0 to 1.

    Args:
        model: The ``.tflite`` file that Ultralytics exports.
        threads: CPU threads.
    """
    from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

    interpreter = Interpreter(model_content=Path(model).read_bytes(), num_threads=threads)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]
    image = np.random.default_rng(0).random(tuple(given["shape"]), dtype=np.float32)
    interpreter.set_tensor(given["index"], image)
    return interpreter.invoke


def network(runtime: str, model: str, threads: int, side: int, precision: str = "fp32") -> Run:
    """Return what runs a whole model of a bundle once in its runtime."""
    if runtime == "ncnn":
        return ncnn_network(model, threads, side, precision)
    if runtime == "litert":
        return litert_network(model, threads)
    return session(model, threads)


def device_name() -> str:
    """Return the name of this machine's processor, the same at every call."""
    for file in ("/proc/device-tree/model", "/proc/cpuinfo"):
        try:
            text = Path(file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if file.endswith("model"):
            return text.strip("\0 \n")
        for line in text.splitlines():
            if line.lower().startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine() or "unknown"


class Clock:
    """Says how far a long measurement is: over one line on a terminal, now and then elsewhere.

    Args:
        what: What is measured.
        seconds: After which it is ended; none without.
    """

    def __init__(self, what: str, seconds: float = float("inf")) -> None:
        self.what, self.seconds = what, seconds
        self.watched = sys.stdout.isatty()
        self.begin = time.perf_counter()
        self.said = self.begin - 1e9

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.begin

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return self.spent >= self.seconds

    def __call__(self, done: int, total: int) -> None:
        """Say that so many of all are done."""
        now, end = time.perf_counter(), done >= total or self.over
        if now - self.said < (0.2 if self.watched else 15) and not end:
            return
        self.said = now
        line = f"{self.what}: {done} of {total}"
        if done and not end:
            left = min(self.spent / done * (total - done), self.seconds - self.spent)
            line += f", about {max(left, 0.0):.0f} s left"
        start, stop = ("\r\x1b[K", "\n" if end else "") if self.watched else ("", "\n")
        print(start + line, end=stop, flush=True)


def too_old(version: str, opset: int, ir: int) -> str:
    """Return what to say of an ONNX Runtime that does not take a bundle; nothing where it does.

    Args:
        version: Of ONNX Runtime.
        opset: Newest operators of the bundle's models.
        ir: Newest format of them.
    """
    parts = version.split(".")[:2]
    if len(parts) < 2 or not all(part.isdigit() for part in parts):
        return ""  # a build of its own: it will say itself
    mine = (int(parts[0]), int(parts[1]))
    least = next((known for known, o, i in TAKES if o >= opset and i >= ir), TAKES[-1][0])
    if mine >= least:
        return ""
    takes = [o for known, o, _ in TAKES if known <= mine]
    has = f"takes models up to opset {takes[-1]}" if takes else "is older than any that is known"
    return (
        f"the models are of opset {opset} (IR {ir}) and need onnxruntime {least[0]}.{least[1]} or "
        f"newer; this is {version}, which {has}: pip install --upgrade onnxruntime"
    )


def known_times(kept: Path) -> dict[str, Any]:
    """Return what an earlier run of this script timed."""
    known: dict[str, Any] = {}
    if kept.is_file():
        for line in kept.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                name, value = json.loads(line)
            except (ValueError, TypeError):  # the last line of a run that was killed
                continue
            if isinstance(name, str):
                known[name] = value
    return known


def main(folder: Path) -> None:
    """Time what a manifest lists, and write the result; what an earlier run timed is kept."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    runtime = manifest.get("protocol", {}).get("runtime", "onnx")
    package = PACKAGES.get(runtime, PACKAGES["onnx"])  # others' times are of ONNX Runtime
    try:
        version = str(getattr(import_module(package), "__version__", "of an unknown version"))
    except ImportError as missing:
        sys.exit(f"probe.py: needs {package} ({missing}): pip install {package}")
    needs = manifest.get("needs", {"opset": 0, "ir": 0})
    old = too_old(version, needs["opset"], needs["ir"]) if package == PACKAGES["onnx"] else ""
    if old:
        sys.exit(f"probe.py: {old}")
    kept = folder / "timed.jsonl"
    known = known_times(kept)

    def keep(name: str, value: Any) -> None:
        known[name] = value
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, value]) + "\n")

    if kept.is_file() and not kept.read_bytes().endswith(b"\n"):  # a line that was cut short
        with kept.open("a", encoding="utf-8") as file:
            file.write("\n")
    _time_layers(folder, manifest, known, keep)
    models = {
        size: _time_models(folder, manifest, size, known, keep) for size in manifest["models"]
    }
    result = {
        "manifest": manifest,
        "device": device_name(),
        "runtime_version": f"{package} {version}",
        "layers": [known.get(many) for _, many, _ in manifest["layers"]],
        "models": models,
    }
    (folder / RESULT).write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(f"{folder / RESULT}: bring it back, then yolo nas-profile import={RESULT}")


def _time_layers(
    folder: Path, manifest: Any, known: Mapping[str, Any], keep: Callable[[str, Any], None]
) -> None:
    """Time the layers that are not known yet; one that the device cannot run is left out."""
    clock = Clock("layers", manifest["seconds"])
    row = 0  # that failed one after the other
    for index, (few, many, more) in enumerate(manifest["layers"]):
        if many not in known:
            try:
                small, large = (
                    session(str(folder / name), manifest["threads"]) for name in (few, many)
                )
                keep(many, layer_ms(small, large, more, manifest["threads"] == 1))
                row = 0
            except Exception as error:  # whatever a runtime says of a layer that it has not
                row += 1
                reason = " ".join(str(error).split())[:200]
                if row >= LOST:
                    sys.exit(
                        f"probe.py: {row} layers in a row cannot be timed, the last by {reason}; "
                        "what was timed is kept"
                    )
                print(f"{many} is left out: {reason}", flush=True)
        clock(index + 1, len(manifest["layers"]))
        if clock.over:
            break


def _time_models(
    folder: Path,
    manifest: Any,
    size: str,
    known: Mapping[str, Any],
    keep: Callable[[str, Any], None],
) -> Mapping[str, Any]:
    """Return quartiles and `least_ms` of the whole models of a size, which take turns."""
    names = manifest["models"][size]
    mark = f"models at {size} px"
    if mark in known and set(known[mark]) == set(names):
        return known[mark]
    clock = Clock(f"whole models at {size} px")
    try:
        protocol = manifest.get("protocol", {})
        how = protocol.get("runtime", "onnx"), protocol.get("precision", "fp32")
        runs = {
            name: network(how[0], str(folder / name), manifest["threads"], int(size), how[1])
            for name in names
        }
        waits: dict[str, list[float]] = {}
        times = interleaved(
            runs,
            repeats=manifest["repeats"],
            warmup=manifest["warmup"],
            progress=clock,
            waits=waits,
        )
    except Exception as error:
        sys.exit(
            f"probe.py: the whole models at {size} px cannot be timed "
            f"({' '.join(str(error).split())[:200]}); what was timed is kept, and the next run "
            "goes on from there"
        )
    alone = manifest["threads"] == 1
    keep(
        mark,
        {
            name: [*np.percentile(t, (25, 50, 75)).tolist(), least_ms(t, waits[name], alone)]
            for name, t in times.items()
        },
    )
    return known[mark]


if __name__ == "__main__":
    main(Path(__file__).resolve().parent)
