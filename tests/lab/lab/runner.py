# SPDX-License-Identifier: MIT
"""Finds and runs scenes. A scene is a file tests/lab/scene_NAME.py:

    DISPLAYS = ("virtio-vga",)      # a machine for each of these (default: the three display drivers); (None,): no machine
    ISOLATED = ("virtio-vga",)      # and on these once more with `rayvm --isolate`, under the name NAME-isolated (default: on none)
    DISPLAYS_ALL = ("qxl",)         # and on these, but only when everything is asked for, or this scene
    ISOLATED_ALL = ("none",)        # as ISOLATED, but as seldom
    SUITE = "lab"                   # or "all": only when everything is asked for
    ALONE = True                    # it measures times: nothing else runs beside it (default: False)
    MACHINE = {"memory": 2048}      # fields of qemu.Options; or a function machine(display) that returns them
    def setup(machine): ...         # once after boot; may raise Skip
    def recover(machine): ...       # after a test that failed: end what it left, so that the next one can pass
    def test_something(machine): ...    # in file order, in the same machine; without a machine: no argument
    test_something.suite = "all"    # this one only when everything is asked for
    test_something.displays = ("virtio-vga",)   # it has nothing to do with the display's driver: when not asked for, on these alone

Each test that does not raise passes; Skip("reason") skips. A machine that was lost is started anew for the next test.
"""

import argparse
import importlib.util
import inspect
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from . import again, paths
from .errors import LabError, LabTimeout, Skip
from .machine import Machine

DEFAULT_DISPLAYS = ("virtio-vga", "bochs-display", "cirrus-vga")
BESIDE_SCALE = 2    # deadlines of a scene that shares the processors with another one


class _Report:
    """Prints a line a test and keeps the counts."""

    def __init__(self):
        self.results = []

    def add(self, name, result, seconds, text="", lost=False):
        """`lost`: its machine was gone."""
        self.results.append({"name": name, "result": result, "seconds": round(seconds, 3), "text": text, "lost": lost})
        line = f"{result.upper():4} {seconds:7.1f} s  {name}"
        print(line + (f"  ({text.strip().splitlines()[0]})" if result == "skip" and text else ""), flush=True)
        if result == "fail":
            print("\n".join(f"      {row}" for row in text.strip().splitlines()), flush=True)

    def count(self, result):
        return sum(entry["result"] == result for entry in self.results)


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _tests(module):
    found = [(name[5:], value) for name, value in vars(module).items()
             if name.startswith("test_") and inspect.isfunction(value)]
    return sorted(found, key=lambda entry: entry[1].__code__.co_firstlineno)


def _is_for_each_change(function, display):
    """Whether a test runs when nothing in particular was asked for."""
    return getattr(function, "suite", "lab") != "all" and display in getattr(function, "displays", (display,))


def _describe(error):
    """A LabError says all there is to say; of others, and of assertions, the place matters."""
    if isinstance(error, LabError):
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "scene_" in frame.filename]
        where = f"{pathlib.Path(frames[-1].filename).name}:{frames[-1].lineno}: {frames[-1].line}\n" if frames else ""
        return f"{where}{type(error).__name__}: {error}"
    return "".join(traceback.format_exception(error)[-6:])


def _run_apart(scene, report, lock, options, scale):
    """The scene in a process of its own; what it prints comes out line by line, a failure with its text in one piece."""
    argv = [sys.executable, sys.argv[0], "--only", scene.name, "--kernel", options.kernel, "--accel", options.accel, *options.pattern]
    for flag, word in ((options.isolate, "--isolate"), (options.all, "--all")):
        argv += [word] if flag else []
    environment = dict(os.environ, RAYVM_LAB_TIMEOUT_SCALE=str(float(os.environ.get("RAYVM_LAB_TIMEOUT_SCALE", "1")) * scale))
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", suffix=".json") as results:
        child = subprocess.Popen([*argv, "--json", results.name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True, errors="replace", env=environment)
        held = []

        def let_go():
            if held:
                with lock:
                    print("".join(held), end="", flush=True)
                held.clear()

        for line in child.stdout:
            if not line.startswith("      "):
                let_go()
            if not line.startswith("lab: "):
                held.append(line)
        let_go()
        status = child.wait()
        text = results.read()
    found = json.loads(text) if text else []
    with lock:
        report.results += found
        if not found or (status and all(entry["result"] != "fail" for entry in found)):
            report.add(scene.name, "fail", 0, f"its process ended with {status}")


def _run_all(scenes, report, options):
    """All of them, as many at a time as asked for; those that measure times one by one at the end."""
    lock, waiting = threading.Lock(), [scene for scene, _ in scenes if not scene.alone]

    def take(scale):
        while True:
            with lock:
                scene = waiting.pop(0) if waiting else None
            if scene is None:
                return
            _run_apart(scene, report, lock, options, scale)

    workers = [threading.Thread(target=take, args=(BESIDE_SCALE,)) for _ in range(options.jobs)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for scene, tests in scenes:
        if scene.alone:
            scene.run(tests, report)


class _Scene:
    """One scene on one display."""

    def __init__(self, path, module, display, isolated, options):
        self.module, self.display, self.isolated, self.options = module, display, isolated, options
        self.name = path.stem[len("scene_"):] + ("-isolated" if isolated else "") + (f"/{display}" if display else "")
        self.folder = paths.OUT / "lab" / self.name.replace("/", "-")
        self.alone = getattr(module, "ALONE", False)
        self.machine = None

    def boot(self):
        if hasattr(self.module, "machine"):
            wanted = self.module.machine(self.display)
        else:
            wanted = getattr(self.module, "MACHINE", {})
        wanted = dict({"display": self.display, "kernel": self.options.kernel, "accel": self.options.accel}, **wanted)
        self.machine = Machine(results=self.folder, **wanted)
        self.machine.isolated = self.isolated
        try:
            self.machine.start()
            if hasattr(self.module, "setup"):
                self.module.setup(self.machine)
        except BaseException:
            self.picture("failed-setup")
            self.machine.kill()
            self.machine = None
            raise

    def picture(self, name):
        try:
            if self.machine and self.machine.alive and self.machine.qmp:
                self.machine.screendump().save(self.folder / f"{name}.png")
        except (LabError, OSError, ValueError):
            pass

    def recover(self):
        """What to add to the failed test's text."""
        try:
            if self.machine.alive and hasattr(self.module, "recover"):
                self.module.recover(self.machine)
        except Exception as error:
            self.machine.kill()     # the next test gets a new one
            return f"\nnot to be cleaned up, so this machine is ended: {error}"
        return ""

    def run(self, tests, report):
        self.folder.mkdir(parents=True, exist_ok=True)
        trouble = None
        for name, function in tests:
            begin, full = time.monotonic(), f"{self.name}/{name}"
            try:
                if trouble:
                    raise trouble
                if self.display and not (self.machine and self.machine.alive):
                    try:
                        self.boot()
                        print(f"       {time.monotonic() - begin:5.1f} s  {self.name}: machine is up", flush=True)
                    except Exception as error:
                        trouble = error if isinstance(error, Skip) else LabError(f"no machine: {_describe(error)}")
                        raise trouble from None
                    begin = time.monotonic()
                if self.display:
                    function(self.machine)
                else:
                    function()
                report.add(full, "pass", time.monotonic() - begin)
            except Skip as error:
                report.add(full, "skip", time.monotonic() - begin, str(error))
            except Exception as error:
                text, lost = _describe(error), bool(self.machine) and not self.machine.alive
                if self.machine:
                    self.picture(f"failed-{name}")
                    text += f"\nlogs and pictures: {self.folder}"
                    text += self.recover()
                report.add(full, "fail", time.monotonic() - begin, text, lost)
        if self.machine:
            self.machine.quit()


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Run the lab's scenes (tests/lab/scene_*.py).")
    parser.add_argument("pattern", nargs="*", help="only tests whose name (scene/display/test) contains one of these")
    parser.add_argument("--list", action="store_true", help="print the tests and end")
    parser.add_argument("--all", action="store_true", help="also the scenes that only a full run has")
    parser.add_argument("--display", action="append", help="only on this display device; repeatable")
    parser.add_argument("--isolate", action="store_true", help="every scene with `rayvm --isolate`, none without")
    parser.add_argument("--kernel", default="debian-6.12", help="L1's kernel (default debian-6.12)")
    parser.add_argument("--accel", choices=("auto", "kvm", "tcg"), default="auto")
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help=f"scenes at a time, those that measure times excepted (default 1); deadlines are {BESIDE_SCALE} times as long then")
    parser.add_argument("--again", action="store_true", help="run scenes with failures again, each by itself, before they count")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)

    report, chosen, scenes = _Report(), 0, []
    for path in sorted(paths.LAB.glob("scene_*.py")):
        try:
            module = _load(path)
        except Exception as error:
            report.add(path.stem, "fail", 0, f"cannot be loaded: {_describe(error)}")
            continue
        asked = options.all or options.pattern
        if getattr(module, "SUITE", "lab") == "all" and not asked:
            continue
        displays = getattr(module, "DISPLAYS", DEFAULT_DISPLAYS) + (getattr(module, "DISPLAYS_ALL", ()) if asked else ())
        ways = [(display, options.isolate) for display in displays]
        if not options.isolate:
            ways += [(display, True) for display in getattr(module, "ISOLATED", ()) + (getattr(module, "ISOLATED_ALL", ()) if asked else ())]
        for display, isolated in ways:
            if options.display and display not in options.display:
                continue
            scene = _Scene(path, module, display, isolated, options)
            tests = [(name, function) for name, function in _tests(module)
                     if (any(word in f"{scene.name}/{name}" for word in options.pattern) if options.pattern
                         else options.all or _is_for_each_change(function, display))]
            chosen += len(tests)
            if options.list:
                for name, _ in tests:
                    print(f"{scene.name}/{name}")
            elif tests and options.only in (None, scene.name):
                scenes.append((scene, tests))
    if options.jobs > 1:
        _run_all(scenes, report, options)
    else:
        for scene, tests in scenes:
            scene.run(tests, report)
    if options.again:
        again.run_again(scenes, report)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(report.results, indent=1), encoding="utf-8")
    if options.list:
        return 0
    if not chosen and not report.results:
        print("lab: no test matches", file=sys.stderr)
        return 2
    for entry in report.results:
        if "again" in entry:
            print(f"passed only when run again: {entry['name']}", flush=True)
    skipped = report.count("skip")
    print(f"lab: {report.count('pass')} passed, {report.count('fail')} failed"
          + (f", {skipped} skipped" if skipped else ""), flush=True)
    return 1 if report.count("fail") else 0


__all__ = ["main", "Machine", "LabError", "LabTimeout", "Skip"]
