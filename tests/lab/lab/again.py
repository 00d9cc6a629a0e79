# SPDX-License-Identifier: MIT
"""What failed in the lab runs again before it counts."""

import pathlib
import shutil
import sys
import tempfile

AGAIN_MOST = 2      # times that a scene with failures runs again
LOST_MOST = 4       # times, for a test whose machine was lost each time: that says nothing of the test


def run_again(scenes, report):
    """
    The scenes with failures once more, each by itself, and a second time where some still fail. The software CPU loses a guest or a machine now and
    then, and a busy host keeps nobody's deadlines; a test that fails each time has failed, one that has lost its machine each time has failed after
    more of them. What passed only now says so ("again"), with what was wrong the first time.
    """
    for attempt in range(1, LOST_MOST + 1):
        for scene, tests in scenes:
            failed = {entry["name"]: entry for entry in report.results if entry["result"] == "fail" and entry["name"].startswith(scene.name + "/")
                      and (attempt <= AGAIN_MOST or entry["lost"])}
            if not failed:
                continue
            kept = scene.folder.with_name(f"{scene.folder.name}-{attempt}")
            shutil.rmtree(kept, ignore_errors=True)
            if scene.folder.exists():
                scene.folder.rename(kept)
            print(f"       -- {scene.name} once more; logs and pictures of this time: {kept}", flush=True)
            before, report.results = report.results, []
            scene.run(tests, report)
            now = {entry["name"]: entry for entry in report.results}
            report.results = before
            for name, entry in failed.items():
                again = now.get(name)
                if again and again["result"] == "pass":
                    entry.update(again, again=entry["text"])
                elif again:
                    entry["lost"] = entry["lost"] and again["lost"]


class _Scene:
    """One test, whose results are given: pass, fail, or that it lost its machine."""

    def __init__(self, name, folder, outcomes):
        self.name, self.folder, self.outcomes, self.runs = name, folder / name, outcomes, 0

    def run(self, _tests, report):
        outcome = self.outcomes[min(self.runs, len(self.outcomes) - 1)]
        self.runs += 1
        report.results.append({"name": f"{self.name}/test", "result": "pass" if outcome == "pass" else "fail", "text": outcome, "lost": outcome == "lost"})


class _Report:
    def __init__(self):
        self.results = []


def _self_test():
    with tempfile.TemporaryDirectory() as folder:
        cases = ((["pass"], 1, "pass", None), (["fail", "pass"], 2, "pass", "fail"), (["fail"], 3, "fail", None), (["lost"], 5, "fail", None),
                 (["lost", "lost", "lost", "pass"], 4, "pass", "lost"), (["lost", "fail", "lost", "pass"], 3, "fail", None))
        scenes = [_Scene(f"case-{number}", pathlib.Path(folder), case[0]) for number, case in enumerate(cases)]
        report = _Report()
        for scene in scenes:
            scene.run(None, report)
        run_again([(scene, None) for scene in scenes], report)
        for scene, entry, (outcomes, runs, result, text) in zip(scenes, report.results, cases):
            assert (scene.runs, entry["result"], entry.get("again")) == (runs, result, text), (outcomes, scene.runs, entry)


if __name__ == "__main__" and sys.argv[1:] == ["--self-test"]:
    _self_test()
