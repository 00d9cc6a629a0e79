# SPDX-License-Identifier: MIT
"""
Why a toggle was late, from what rayvm tells of it (`late` of its statistics) and the holes that a watch on each CPU saw (tests/tools/barewake).

A toggle that is committed `margin` before the vblank it is due at is in time. So it had the time from when it could be committed (its reading, or that margin before the
vblank) until the vblank, and took the time until its commit was done. Whose the difference is: without the holes in that time, would it have been in time? Then it is
the machine's. Without the front thread's own long turn, as far as it had the CPU in it? Then it is rayvm's. Neither: nobody is blamed, and it counts as unexplained.

One flip is in flight at a time. A toggle that finds one which went out too late for its own vblank, and so has the toggle's, is late by that one's commit, which is looked at
in the same way.

    python3 tests/bench/bench/late.py --self-test
"""

VBLANK_US = 1e6 / 60
MACHINE, RAYVM, UNEXPLAINED = "machine", "rayvm", "unexplained"


def overlap(begin, end, other_begin, other_end):
    return max(0, min(end, other_end) - max(begin, other_begin))


def held(begin, end, holes):
    """For how long between the two, in microseconds, a CPU was away, and which ones were; holes: (CPU, from, until), microseconds. A thread whose CPU is back may be moved
    to one that goes away then, so the holes of all count, each moment once."""
    total, until, cpus = 0, begin, set()
    for hole_begin, hole_end, cpu in sorted((hole_begin, hole_end, cpu) for cpu, hole_begin, hole_end in holes):
        if overlap(until, end, hole_begin, hole_end) > 0:
            total += overlap(until, end, hole_begin, hole_end)
            until = max(until, hole_end)
            cpus.add(cpu)
    return total, sorted(cpus)


def explain(toggle, holes):
    """TOGGLE with what it is due to; holes: [CPU, from in ns of the clock, for how long in us]."""
    near = [(cpu, (since - toggle["event_ns"]) / 1000, (since - toggle["event_ns"]) / 1000 + us) for cpu, since, us in holes]
    behind = toggle.get("ahead_flip_us", toggle["due_us"] - VBLANK_US) > toggle["due_us"] - VBLANK_US / 2
    due, done = toggle["due_us"], toggle["committed_us"]
    could = max(toggle["read_us"], due - toggle["margin_us"])
    if behind:
        due, done = toggle.get("ahead_target_us", toggle["ahead_commit_us"]), toggle["ahead_commit_us"]
        could = due - toggle["margin_us"]
    had, took = due - could, done - could
    away, cpus = held(could, done, near)
    own = 0
    if "stall_us" in toggle:
        own = min(overlap(could, done, toggle["stall_us"], toggle["stall_end_us"]), toggle["stall_cpu_us"])
    due_to = UNEXPLAINED
    if behind and toggle.get("ahead_target_us", due) > toggle["due_us"] - VBLANK_US / 2:
        due_to = RAYVM  # it sent another picture off to the toggle's vblank, or to one it did not know
    elif took >= had:     # else the commit was in time, and its flip was not
        if took - own < had:
            due_to = RAYVM
        elif took - away < had:
            due_to = MACHINE
    more = {"due_to": due_to, "behind": behind, "had_us": round(had), "took_us": round(took), "own_us": round(own), "away_us": round(away)}
    if away:
        more["away_cpus"] = cpus
    before = toggle.get("key_us")
    if before is not None:
        more["key_to_read_us"] = -before
    return {**toggle, **more}


def sentence(toggle):
    where = f"CPU {' and '.join(map(str, toggle['away_cpus']))} ran nobody for {toggle['away_us']} us of it" if toggle["away_us"] else "no CPU was away"
    stall = "no long turn of the front thread"
    if "stall_us" in toggle:
        stall = (f"a turn of the front thread from {toggle['stall_us']} to {toggle['stall_end_us']} us had the CPU for {toggle['stall_cpu_us']} us at most, "
                 f"{toggle['own_us']} of them in that time")
    if toggle["behind"]:
        where += f"; behind a flip that was committed at {toggle['ahead_commit_us']} us for the vblank at {toggle.get('ahead_target_us', '?')} and came at {toggle['ahead_flip_us']}"
    return (f"late by {toggle['vblanks']}: {toggle['due_to']}. Read {toggle.get('key_to_read_us', '?')} us after its key; due {toggle['due_us']} us later, margin {toggle['margin_us']}; "
            f"{'committed' if 'flip_us' in toggle else 'replaced by the next'} from {toggle['commit_us']} to {toggle['committed_us']} us (CPU {toggle['cpu']}): {toggle['took_us']} us where {toggle['had_us']} were left; {where}; {stall}")


def count(toggles):
    return {f"late_{kind}": sum(toggle["due_to"] == kind for toggle in toggles) for kind in (MACHINE, RAYVM, UNEXPLAINED)}


def self_test():
    base = {"event_ns": 10**9, "read_us": 5, "margin_us": 1600, "due_us": 9000, "commit_us": 11000, "committed_us": 11050, "key_us": -40, "vblanks": 1, "cpu": 0}
    hole = [1, 10**9 + 7_400_000, 3600]     # from when the commit was due until it was made
    assert explain(base, [hole])["due_to"] == MACHINE
    assert explain(base, [hole])["away_cpus"] == [1]
    assert explain(base, [])["due_to"] == UNEXPLAINED
    assert explain(base, [[1, 10**9 + 1_000_000, 5000]])["due_to"] == UNEXPLAINED       # before it mattered
    assert explain(base, [[1, 10**9 + 9_200_000, 1800], [0, 10**9 + 7_400_000, 1800]])["due_to"] == MACHINE      # from one CPU that was away to the other
    assert explain(base, [[0, 10**9 + 7_400_000, 1800], [1, 10**9 + 7_400_000, 1800]])["due_to"] == UNEXPLAINED  # no moment counts twice
    stall = {**base, "stall_us": 2, "stall_end_us": 10900, "stall_cpu_us": 10000}
    assert explain(stall, [hole])["due_to"] == RAYVM            # it had the CPU: the watch was away because of it
    assert explain({**stall, "stall_cpu_us": 40}, [hole])["due_to"] == MACHINE
    assert explain({**stall, "stall_cpu_us": 40}, [])["due_to"] == UNEXPLAINED      # waited, for whatever
    early = {**base, "commit_us": 7400, "committed_us": 7450}
    assert explain(early, [hole])["due_to"] == UNEXPLAINED      # committed in time: not the thread's wake-up
    soon = {**base, "read_us": 5, "due_us": 1605, "commit_us": 3000, "committed_us": 3050}
    assert explain(soon, [[0, 10**9 + 10_000, 2900]])["due_to"] == MACHINE      # read just before the latch closed
    behind = {**base, "event_ns": 10**9 + 20_000_000, "due_us": 4000, "commit_us": 19000, "committed_us": 19050, "ahead_commit_us": -9000, "ahead_target_us": -12667, "ahead_flip_us": 4000}
    assert explain(behind, [[1, 10**9 + 20_000_000 - 14_200_000, 5000]])["due_to"] == MACHINE       # the one ahead of it was late by that
    assert explain(behind, [])["due_to"] == UNEXPLAINED
    assert explain({**behind, "ahead_target_us": 4000}, [hole])["due_to"] == RAYVM
    assert explain({**base, "ahead_commit_us": -9000, "ahead_target_us": -7667, "ahead_flip_us": -7667}, [hole])["due_to"] == MACHINE     # ahead of it, and in time
    assert count([explain(base, []), explain(base, [hole])]) == {"late_machine": 1, "late_rayvm": 0, "late_unexplained": 1}
    assert "unexplained" in sentence(explain(base, []))
    print("late: ok")


if __name__ == "__main__":
    self_test()
