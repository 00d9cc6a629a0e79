# SPDX-License-Identifier: MIT
"""A guest that chose another mode than the panel's: its picture is centred, in proportion, on black, scaled as asked; the figures over it; and the trusted strip beside it."""

import time

from lab.rayvm import Rayvm, guest_files, is_ui, tiny, tinypic

DISPLAYS = ("virtio-vga",)
MACHINE = {"memory": 2048}
GUEST = (1024, 768)
SCALED = (800, 600)
PAPER = (0x10, 0x14, 0x18)      # of the figures' box
state = {}


def start(machine, append, *options, ready=True):
    files = guest_files("make-tiny")
    state["rayvm"] = Rayvm(machine, ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", "256M", "-s", "1", "-a", f"quiet loglevel=3 {append}", *options])
    if ready:
        state["rayvm"].ready()


def setup(machine):
    start(machine, "tiny.mode=%dx%d" % GUEST)


def test_smaller_guest_is_centred_on_black(machine):
    rayvm = state["rayvm"]
    rayvm.wait("scanout", 120)
    machine.press("KEY_GRAVE")
    picture = machine.wait_screen(tiny, 30, "the guest's picture")
    picture.save(machine.results / "letterbox.png")
    scanout = rayvm.status()["scanout"]
    assert (scanout["width"], scanout["height"]) == GUEST, scanout
    width, height = picture.size
    left, top = (width - GUEST[0]) // 2, (height - GUEST[1]) // 2
    assert tinypic.find(tinypic.Picture(width, height, picture.data)) == (left, top, *GUEST)
    for x, y in ((0, 0), (left - 1, height // 2), (left + GUEST[0], height // 2), (width // 2, top - 1), (width - 1, height - 1)):
        assert picture.pixel(x, y) == (0, 0, 0), (x, y, picture.pixel(x, y))


def test_no_mode_was_set_and_the_ui_returns_whole(machine):
    """U-10: the panel keeps its mode; the UI's buffer knows nothing of the guest's size."""
    rayvm = state["rayvm"]
    assert rayvm.stats()["modesets"] == 1
    machine.press("KEY_GRAVE")
    machine.wait_screen(is_ui, 20, "the UI")
    assert rayvm.quit() == 0


def scaled(picture):
    """The tiny guest in its own size and colours, or None."""
    plain = tinypic.Picture(picture.width, picture.height, picture.data)
    where = (picture.width - round(picture.height * 4 / 3)) // 2, 0, picture.height * 4 // 3, picture.height
    return tinypic.read(plain, where, SCALED) if tinypic.is_tiny(plain, where, SCALED) else None


def figures(picture):
    """Whether the box of figures is in the upper right corner: its border, and letters in it."""
    width = picture.width
    return all(picture.pixel(width - x, y) == PAPER for x in (1, 100, 400) for y in (0, 1)) and \
        any(picture.pixel(width - x, 10) != PAPER for x in range(1, 460))


def test_bilinear_mixes_neighbours(machine):
    start(machine, "tiny.mode=%dx%d tiny.fps=10" % SCALED, "--scaling", "bilinear", "--stats-chord", "ctrl+alt+s")
    rayvm = state["rayvm"]
    rayvm.wait("scanout", 120)
    machine.press("KEY_GRAVE")
    picture = machine.wait_screen(scaled, 30, "the guest's picture, scaled")
    picture.save(machine.results / "bilinear.png")
    assert rayvm.status()["scaling"] == "bilinear", rayvm.status()
    left = (picture.width - round(picture.height * 4 / 3)) // 2
    row = [picture.pixel(x, 20) for x in range(left + 60, left + 110)]
    between = [colour for colour in row if colour not in (tinypic.RED, tinypic.BACKGROUND)]
    assert 1 <= len(between) <= 2, row
    for colour in between:
        assert all(min(a, b) <= c <= max(a, b) for a, b, c in zip(tinypic.RED, tinypic.BACKGROUND, colour)), row


def test_figures_over_either_face(machine):
    """The chord shows and hides them; the guest, which draws all the time, is under them."""
    rayvm = state["rayvm"]
    machine.press("KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_S")
    machine.wait_screen(figures, 10, "the figures over the guest")
    time.sleep(2.5)
    for _ in range(5):
        picture = machine.wait_screen(lambda p: True, 10, "a picture")
        assert figures(picture), "the guest has drawn over the figures"
    picture.save(machine.results / "figures-guest.png")
    machine.press("KEY_GRAVE")
    machine.wait_screen(lambda p: figures(p) and p.pixel(2, 2) != (0, 0, 0), 10, "the figures over the UI").save(machine.results / "figures-ui.png")
    machine.press("KEY_GRAVE")
    machine.wait_screen(lambda p: figures(p) and p.pixel(2, 2) == (0, 0, 0), 10, "the figures over the guest again")
    machine.press("KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_S")
    machine.wait_screen(scaled, 10, "the guest alone, whole")
    assert rayvm.quit() == 0


STRIP = 28                      # rows, on a panel of 800
INK, ORANGE, GREEN = (255, 255, 255), (0xa6, 0x3a, 0x00), (0x1d, 0x6b, 0x3a)


def strip(picture, paper):
    """Whether the panel's first rows are the host's strip in that colour, with letters on it, and nothing else."""
    colours = picture.crop(0, 0, picture.width, STRIP).colours()
    return set(colours) == {paper, INK} and 500 < colours[INK] < colours[paper]


def test_beside_the_trusted_strip(machine):
    """Linux takes what is left of the panel for its mode and fills it; the strip says whose picture it is, and never mixes with it."""
    start(machine, "tiny.fps=10", "--trusted-strip", "top", ready=False)
    rayvm = state["rayvm"]
    rayvm.listening()
    picture = machine.wait_screen(lambda p: strip(p, GREEN), 20, "the strip over the UI")
    picture.save(machine.results / "strip-ui.png")
    rayvm.wait("scanout", 120)
    machine.press("KEY_GRAVE")
    machine.wait_screen(lambda p: strip(p, ORANGE), 30, "the strip over the guest")
    picture = machine.wait_screen(lambda p: tinypic.find(tinypic.Picture(p.width, p.height, p.data)) is not None, 30, "the guest's picture")
    picture.save(machine.results / "strip-guest.png")
    where = tinypic.find(tinypic.Picture(picture.width, picture.height, picture.data))
    assert where == (0, STRIP, picture.width, picture.height - STRIP), where
    scanout = rayvm.status()["scanout"]
    assert (scanout["width"], scanout["height"]) == where[2:], scanout
    for number in range(12):
        machine.press("KEY_GRAVE")
        for picture in machine.burst(3):
            assert strip(picture, GREEN) or strip(picture, ORANGE), f"toggle {number}: neither strip, or a mixture"
    machine.wait_screen(lambda p: strip(p, ORANGE), 10, "the guest again")
    assert rayvm.stats()["modesets"] == 1
    assert rayvm.quit() == 0


test_beside_the_trusted_strip.suite = "all"      # two guests' starts; the strip's rows are the unit tests' and a fuzz target's business
