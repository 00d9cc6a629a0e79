# SPDX-License-Identifier: MIT
"""From measurements to the figures that are printed: ratios of pairs, what holds, the table."""

import json
import os
import statistics
import sys

from lab import paths

PEER = "qemu-microvm"


def say(text):
    """Progress, for a person."""
    print(text, file=sys.stderr, flush=True)


def load():
    return round(os.getloadavg()[0], 1)


def quantile(values, q):
    """Linear between the nearest two."""
    values = sorted(values)
    at = q * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def ratio_of(ours, theirs):
    """Exact counts may be nothing at all: nothing against nothing is equal."""
    return ours / theirs if theirs else (1.0 if not ours else float("inf"))


def paired(name, unit, pairs, bound, digits=3, better="lower", **more):
    """A figure from [(ours, peer's) ...]: the median of the pairs' ratios counts, so that slow changes of load cancel out."""
    ratios = [ratio_of(ours, theirs) for ours, theirs in pairs]
    ratio, span = statistics.median(ratios), [quantile(ratios, 0.1), quantile(ratios, 0.9)]
    within = ratio <= bound if better == "lower" else ratio >= bound
    equal = not within and span[0] <= bound <= span[1]
    figure = {
        "name": name, "value": round(statistics.median(ours for ours, _ in pairs), digits), "unit": unit, "peer": PEER,
        "peer_value": round(statistics.median(theirs for _, theirs in pairs), digits), "ratio": round(ratio, 3), "bound": bound,
        "holds": within or equal, "range": [round(edge, 3) for edge in span], "better": better, "pairs": len(pairs), "load": load(), **more,
    }
    if equal:
        figure["equal"] = True
    return figure


def absolute(name, value, unit, bound, holds, **more):
    return {"name": name, "value": value, "unit": unit, "bound": bound, "holds": holds, "better": "lower", "load": load(), **more}


def keep(name, results):
    """The raw results, for a closer look."""
    (paths.OUT / "bench").mkdir(parents=True, exist_ok=True)
    (paths.OUT / "bench" / name).write_text(json.dumps(results, indent=1))


def row(figure):
    peer = f"{figure['peer_value']:g} {figure['unit']}" if "peer_value" in figure else "-"
    if figure.get("peer", PEER) != PEER:
        peer += f" ({figure['peer']})"
    ratio = f"{figure['ratio']:.2f} [{figure['range'][0]:.2f} {figure['range'][1]:.2f}]" if "ratio" in figure else "-"
    verdict = "no" if not figure["holds"] else "equal" if figure.get("equal") else "yes"
    bound = f"{'>=' if figure['better'] == 'higher' else '<='} {figure['bound']:g}"
    return [figure["name"], f"{figure['value']:g} {figure['unit']}", peer, ratio, bound, verdict]


def table(figures):
    rows = [["benchmark", "rayvm", PEER, "ratio [p10 p90]", "bound", "holds"], *map(row, figures)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]))]
    for line in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
