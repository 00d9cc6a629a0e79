#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Behind ./run-tests: builds, runs the suites, counts."""

import argparse
import collections
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("RAYVM_BUILD") or TOP / "build").absolute()
OUT = pathlib.Path(os.environ.get("RAYVM_TEST_OUT") or TOP / "test-out").absolute()
MESON_SUITES = ("unit", "payload", "attack", "fuzz")
ATTACK = BUILD.with_name(f"{BUILD.name}-attack")    # the program that attacks itself: never in the build that is used
# The unit and payload suites again, in a build directory of their own: what -Db_sanitize is.
SANITIZED = {"asan": "address,undefined", "tsan": "thread"}
SUITES = (*MESON_SUITES, *SANITIZED, "lab")
DEFAULT = (*MESON_SUITES, "lab")    # for every change
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": f"suppressions={TOP / 'tests/lsan.supp'}:print_suppressions=0",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
    "CK_TIMEOUT_MULTIPLIER": "6",
}
FUZZ_SECONDS = {"asked": "60", "default": "10"}     # of each target
FUZZED = re.compile(r"^fuzz \S+: (\d+) executions in ", re.MULTILINE)

TAP_LINE = re.compile(r"^(ok|not ok)\b\s*\d*\s*(?:- )?(.*?)\s*(?:#\s*(skip|todo)\b:?\s*(.*))?$", re.IGNORECASE)
PROGRESS = re.compile(r"^\s*\d+/\d+\s+(?:.* / )?(?P<name>\S.*?)\s+"
                      r"(?P<result>OK|FAIL|SKIP|TIMEOUT|ERROR|EXPECTEDFAIL|UNEXPECTEDPASS|INTERRUPT)\s+"
                      r"(?P<seconds>[\d.]+)\s*s")


class Counts:
    """What all suites came to."""

    def __init__(self):
        self.passed, self.failures, self.skips, self.again = 0, [], [], []

    def line(self):
        text = f"{self.passed} passed, {len(self.failures)} failed"
        return text + (f", {len(self.skips)} skipped" if self.skips else "")


def say(text):
    print(text, flush=True)


def build(folder=BUILD, options=(), targets=()):
    """Configure if need be, and compile. Returns False after printing what went wrong."""
    OUT.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    log = OUT / f"{folder.name}.log"
    steps = [["ninja", "-C", str(folder), *targets]]
    if not (folder / "build.ninja").exists():
        half_made = ["--wipe"] if (folder / "meson-private").exists() else []
        steps.insert(0, ["meson", "setup", *half_made, "-Dwerror=true", *options, str(folder), str(TOP)])
    with open(log, "wb") as output:
        for step in steps:
            say(f"== {' '.join(step[:2])}")
            try:
                status = subprocess.run(step, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
            except FileNotFoundError:
                say(f"run-tests: {step[0]} is missing: run tools/install-deps")
                return False
            if status:
                output.flush()
                text = log.read_text(encoding="utf-8", errors="replace").splitlines()
                say("\n".join(text[-40:]))
                say(f"run-tests: the build failed; all of its output is in {log}")
                return False
    say(f"   built in {time.monotonic() - begin:.1f} s")
    return True


def meson_tests():
    """{suite: number of its tests} as declared in the build files."""
    done = subprocess.run(["meson", "introspect", str(BUILD), "--tests"], stdout=subprocess.PIPE, check=True)
    counts = collections.Counter()
    for test in json.loads(done.stdout):
        for suite in test["suite"]:
            counts[suite.rsplit(":", 1)[-1]] += 1
    return counts


def last_line(entry):
    """The reason a program gives for being skipped: the last thing it says."""
    text = (entry.get("stderr") or "").strip() or (entry.get("stdout") or "").strip()
    return re.sub(r"^1\.\.0\s*#\s*skip\w*:?\s*", "", text.splitlines()[-1], flags=re.I) if text else "no reason given"


def take(entry, suite, counts):
    """Count one meson test: its TAP lines where it has some, else as one."""
    name = f"{suite}: {entry['name'].rsplit(' / ', 1)[-1].removeprefix('rayvm:')}"
    result = entry["result"]
    if result == "SKIP" and entry.get("returncode") == 77:
        counts.skips.append((name, last_line(entry)))
        return
    failed = 0
    lines = [match for match in map(TAP_LINE.match, (entry.get("stdout") or "").splitlines()) if match]
    for verdict, text, directive, reason in (match.groups() for match in lines):
        if (directive or "").lower() == "skip":
            counts.skips.append((f"{name}: {text}".rstrip(": "), reason or "no reason given"))
        elif verdict.lower() == "ok":
            counts.passed += 1
        else:
            failed += 1
            counts.failures.append(f"{name}: {text}")
    if result in ("OK", "EXPECTEDFAIL"):
        counts.passed += not lines
    elif result == "SKIP":
        if not lines:
            counts.skips.append((name, last_line(entry)))
    elif not failed:    # a crash, a time-out, a plan that was not kept
        counts.failures.append(f"{name} ({result.lower()})")


def sanitized(suite):
    """The build directory of asan or tsan."""
    return BUILD.with_name(f"{BUILD.name}-{suite}")


def run_meson(suite, counts, asked):
    """Run one meson suite, a line a test while it goes."""
    environment = dict(os.environ)
    folder = ATTACK if suite == "attack" else sanitized(suite) if suite in SANITIZED else BUILD
    if suite == "fuzz":
        environment.setdefault("RAYVM_FUZZ_SECONDS", FUZZ_SECONDS["asked" if asked else "default"])
        if not asked:
            environment.setdefault("RAYVM_FUZZ_SEED", "1")      # a check of a change; looking for what is unknown is the long run's work
    log = folder / "meson-logs" / f"run-tests-{suite}.json"
    log.unlink(missing_ok=True)
    suites = ["--suite", suite]
    if suite in SANITIZED:
        environment |= SANITIZER_OPTIONS
        suites = ["--suite", "unit", "--suite", "payload", "--timeout-multiplier", "10"]
    argv = ["meson", "test", "-C", str(folder), "--no-rebuild", *suites, "--logbase", f"run-tests-{suite}"]
    if suite == "fuzz":
        argv += ["--timeout-multiplier", "0", *(["--num-processes", "1"] if asked else [])]     # the fuzzer keeps its own time
    running = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
                               errors="replace")
    words = []
    for line in running.stdout:
        words.append(line)
        match = PROGRESS.match(line)
        if match:
            verdict = {"OK": "PASS", "EXPECTEDFAIL": "PASS"}.get(match["result"], match["result"])
            say(f"{verdict:4} {float(match['seconds']):7.1f} s  {suite}/{match['name'].removeprefix('rayvm:')}")
    running.wait()
    entries = []
    if log.exists():
        entries = [json.loads(line) for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line]
    for entry in entries:
        take(entry, suite, counts)
        if entry["result"] in ("FAIL", "ERROR", "TIMEOUT", "INTERRUPT"):
            say(f"      -- {entry['name']}, the end of its output:")
            for stream in ("stdout", "stderr"):
                for row in (entry.get(stream) or "").strip().splitlines()[-25:]:
                    say(f"      {row}")
    if suite == "fuzz":
        executions = 0
        for entry in entries:
            for match in FUZZED.finditer(entry.get("stdout") or ""):
                say(f"      {entry['stdout'][match.start():].splitlines()[0]}")
                executions += int(match[1])
        say(f"      {executions} executions in all")
    if not entries:
        say("".join(words[-20:]))
        counts.failures.append(f"{suite}: meson test ran nothing (exit {running.returncode})")
    text_log = folder / "meson-logs" / f"run-tests-{suite}.txt"
    if text_log.exists():
        shutil.copy(text_log, OUT / f"{suite}.log")


def prepare_lab():
    """Begin to fetch and make, beside the other suites, what the lab needs; its scenes wait for each other's making anyway."""
    with open(OUT / "lab-prepare.log", "wb") as log:
        return subprocess.Popen(["nice", str(TOP / "tests/lab/prepare")], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def run_lab(everything, preparing, counts):
    """Run the lab's scenes."""
    if preparing.poll() is None:
        say("   still fetching and making what the lab needs; its log is test-out/lab-prepare.log")
        preparing.wait()
    results = OUT / "lab.json"
    results.unlink(missing_ok=True)
    argv = [sys.executable, str(TOP / "tests/lab/run"), "--jobs", "2", "--again", "--json", str(results)] + (["--all"] if everything else [])
    status = subprocess.run(argv, env=dict(os.environ, RAYVM_BUILD=str(BUILD), RAYVM_TEST_OUT=str(OUT)),
                            check=False).returncode
    entries = json.loads(results.read_text(encoding="utf-8")) if results.exists() else []
    for entry in entries:
        name = f"lab: {entry['name']}"
        if entry["result"] == "pass":
            counts.passed += 1
            if "again" in entry:
                counts.again.append((name, (entry["again"].strip().splitlines() or ["no reason given"])[-1]))
        elif entry["result"] == "skip":
            counts.skips.append((name, (entry["text"].splitlines() or ["no reason given"])[0]))
        else:
            counts.failures.append(name)
    if not entries or (status and not counts.failures):
        counts.failures.append(f"lab: the runner ended with {status}")


def main():
    parser = argparse.ArgumentParser(
        prog="run-tests",
        description="Install what is missing, build into build/, run test suites. Logs and pictures go to test-out/.",
        epilog="Suites: unit; payload (tiny guests on /dev/kvm); attack (rayvm against itself, in a build of its own); fuzz (60 s a target when named, "
               "else 10 s; RAYVM_FUZZ_SECONDS says how long); lab (whole machines in QEMU, on three display drivers); asan, tsan (unit and payload again "
               "under these sanitizers). Without a suite all but the last two run; 'all' adds those and the long lab scenes. "
               "RAYVM_LAB_TIMEOUT_SCALE multiplies the lab's deadlines on a slow machine. Single lab scenes: "
               "tests/lab/run.")
    parser.add_argument("suite", nargs="*", metavar="SUITE", help="unit, payload, attack, fuzz, asan, tsan, lab or all")
    parser.add_argument("--no-install", action="store_true", help="do not look for missing packages")
    options = parser.parse_args()
    for suite in options.suite:
        if suite not in (*SUITES, "all"):
            parser.error(f"unknown suite '{suite}' ({', '.join(SUITES)}, all)")
    everything = "all" in options.suite
    wanted = SUITES if everything else [suite for suite in SUITES if suite in (options.suite or DEFAULT)]

    begin = time.monotonic()
    if not build():
        say("0 passed, 1 failed")
        return 1
    declared, counts = meson_tests(), Counts()
    preparing = prepare_lab() if "lab" in wanted else None
    for suite in wanted:
        if suite == "attack":
            if not build(ATTACK, ("-Dattack=true",), ("src/rayvm", "src/rayvmctl")):
                counts.failures.append("attack: the build failed")
                continue
        elif suite in SANITIZED:
            # gcc warns of code that a sanitizer has changed (msix.c's switch, fences under TSan): the last -D counts.
            if not build(sanitized(suite), (f"-Db_sanitize={SANITIZED[suite]}", "-Db_lundef=false", "-Doptimization=1", "-Ddebug=true", "-Dwerror=false")):
                counts.failures.append(f"{suite}: the build failed")
                continue
        elif suite in MESON_SUITES and not declared[suite]:
            if suite in options.suite:
                counts.failures.append(f"{suite}: this source tree has no such tests")
            continue
        say(f"== {suite}")
        if suite == "lab":
            run_lab(everything, preparing, counts)
        else:
            run_meson(suite, counts, suite in options.suite)

    say(f"== done in {time.monotonic() - begin:.0f} s")
    for (_, reason), skips in itertools.groupby(counts.skips, lambda skip: (skip[0].split(": ")[:2], skip[1])):
        name, *others = [name for name, _ in skips]
        say(f"skipped: {name}{f' and {len(others)} more' if others else ''} ({reason})")     # of one program, for one reason
    for name, reason in counts.again:
        say(f"passed only when run again: {name} ({reason})")
    for name in counts.failures:
        say(f"failed: {name}")
    say(counts.line())
    return 1 if counts.failures or not counts.passed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
