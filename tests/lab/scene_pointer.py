# SPDX-License-Identifier: MIT
"""The guest's hardware pointer and the UI's on real cards: on the cursor plane where there is one, to the pixel and with its hot spot; drawn into the picture elsewhere."""

import time

from lab.errors import Skip
from lab.picture import Picture
from lab.rayvm import Rayvm, guest_files, is_ui, tiny

DISPLAYS = ("virtio-vga", "bochs-display")
MACHINE = {"memory": 2048}
PLANE = {"virtio-vga": True, "qxl": True}
HOT = (5, 3)                    # of the tiny guest's picture, a square of 16 in one of 64
MAGENTA, BACKGROUND = (255, 0, 255), (0x30, 0x50, 0x70)
PLACES = ((640, 400), (300, 500), (900, 650))
state = {}


def setup(machine):
    files = guest_files("make-tiny")
    state["rayvm"] = Rayvm(machine, ["-k", files["vmlinuz"], "-i", files["initrd"], "-m", "256M", "-s", "1", "-a",
                                     "console=ttyS0 quiet loglevel=3 tiny.fps=0 tiny.cursor=1", "--serial", "file:/lab/guest.log"])
    state["rayvm"].ready()
    state["rayvm"].wait("scanout", 120)
    machine.wait_for(lambda: "TINY:READY" in (machine.results / "guest.log").read_text(errors="replace"), 60, "all of the guest")
    # Out of its picture's corner, which the square would cover where it is drawn.
    state["rayvm"].ctl("pointer", "--guest", "600", "600")


def plane(machine):
    return PLANE.get(machine.options.display, False)


def corner(machine, place):
    """Where the picture's corner has to be, as the guest's tablet counts in thousandths of the screen: within two pixels."""
    return [at - hot for at, hot in zip(place, HOT)]


def near(found, wanted):
    return found is not None and all(abs(a - b) <= 2 for a, b in zip(found, wanted))


def square(picture):
    """The corner of the magenta square on the picture, None when there is none; it must be whole."""
    found = [(x, y) for y in range(200, 700) for x in range(200, 1000) if picture.pixel(x, y) == MAGENTA]
    if not found:
        return None
    x, y = found[0]
    assert found == [(x + i % 16, y + i // 16) for i in range(256)], f"{len(found)} magenta pixels from {x},{y} on"
    return x, y


def pointed(machine, place):
    """Moves there; returns a picture of the screen when the pointer has come."""
    machine.move(*place)
    if plane(machine):
        machine.wait_for(lambda: near(machine.cursor_plane(), corner(machine, place)), 15, f"the plane at {corner(machine, place)}",
                         lambda: f"it is at {machine.cursor_plane()}")
        return machine.screendump()
    return machine.wait_screen(lambda p: tiny(p) and near(square(p), corner(machine, place)), 15, f"the square at {corner(machine, place)}")


def show(machine):
    machine.press("KEY_F11")
    return machine.wait_screen(tiny, 30, "the guest's picture")


def test_it_is_where_the_guest_put_it(machine):
    rayvm = state["rayvm"]
    show(machine)
    for place in PLACES:
        picture = pointed(machine, place)
        picture.save(machine.results / f"at-{place[0]}-{place[1]}.png")
        # One pointer, not two: what the plane shows is not in the picture, and the screen dump is of the picture alone.
        assert (square(picture) is None) == plane(machine), f"the square is at {square(picture)}, the plane at {machine.cursor_plane()}"
        if not plane(machine):
            assert machine.cursor_plane() is None
    assert rayvm.status()["cursor"] == ("plane" if plane(machine) else "software"), rayvm.status()
    assert ("cursor plane" in rayvm.status()["lines"]["display"]["text"]) == plane(machine), rayvm.status()["lines"]


def test_the_card_has_its_pixels_and_hot_spot(machine):
    if machine.options.display != "virtio-vga":
        raise Skip("this card cannot be asked for its cursor")
    hot_x, hot_y, width, height, pixels = machine.cursor()
    assert (hot_x, hot_y, width, height) == (*HOT, 64, 64), (hot_x, hot_y, width, height)
    for i in range(64 * 64):
        wanted = bytes((*MAGENTA, 255)) if i % 64 < 16 and i // 64 < 16 else bytes(4)
        assert pixels[4 * i:4 * i + 4] == wanted, f"pixel {i % 64},{i // 64}: {pixels[4 * i:4 * i + 4].hex()}"


def test_moves_copy_nothing(machine):
    rayvm = state["rayvm"]
    time.sleep(0.5)
    before = rayvm.stats()
    for place in PLACES:
        pointed(machine, place)
    after = rayvm.stats()
    assert after["frames_presented"] == before["frames_presented"], "the guest stands still"
    assert after["commits"] >= before["commits"] + len(PLACES), (before["commits"], after["commits"])
    assert (after["bytes_copied"] == before["bytes_copied"]) == plane(machine), (before["bytes_copied"], after["bytes_copied"])


def test_it_comes_and_goes_with_the_face(machine):
    rayvm = state["rayvm"]
    for place in PLACES:
        show(machine)
        pointed(machine, place)
        machine.press("KEY_F12")
        machine.wait_screen(is_ui, 10, "the UI")
        machine.wait_for(lambda: machine.cursor_plane() is None, 5, "the plane to be off beside the UI")
    modesets = rayvm.stats()["modesets"]
    # It moves while hidden, by keys that only the guest gets; nothing is committed for that but what the UI draws.
    rayvm.ctl("pointer", "--guest", "700", "300")
    time.sleep(1)
    assert machine.cursor_plane() is None and is_ui(machine.screendump())
    picture = show(machine)
    if plane(machine):
        machine.wait_for(lambda: near(machine.cursor_plane(), corner(machine, (700, 300))), 5, "the plane where it was moved to meanwhile",
                         lambda: f"it is at {machine.cursor_plane()}")
    else:
        machine.wait_screen(lambda p: tiny(p) and near(square(p), corner(machine, (700, 300))), 5, "the square where it was moved to meanwhile")
    picture.save(machine.results / "shown-again.png")
    assert rayvm.stats()["modesets"] == modesets == 1


def test_another_terminal_and_back(machine):
    rayvm = state["rayvm"]
    machine.press("KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_F2")
    machine.wait_for(lambda: rayvm.status()["session"] == "inactive", 20, "the other terminal", interval=0.2)
    machine.press("KEY_LEFTCTRL", "KEY_LEFTALT", "KEY_F1")
    machine.wait_screen(tiny, 20, "the guest's picture again")
    pointed(machine, PLACES[0])


def with_cursor(machine, picture):
    """The picture as a person sees it, who sees the plane as well."""
    (left, top), (_hot_x, _hot_y, width, height, pixels) = machine.cursor_plane(), machine.cursor()
    data = bytearray(picture.data)
    for i in range(width * height):
        x, y = left + i % width, top + i // width
        red, green, blue, alpha = pixels[4 * i:4 * i + 4]
        if 0 <= x < picture.width and 0 <= y < picture.height:
            at = 3 * (y * picture.width + x)
            # QEMU hands on what the kernel has, which is premultiplied.
            data[at:at + 3] = bytes(min(255, over + under * (255 - alpha) // 255) for over, under in zip((red, green, blue), data[at:at + 3]))
    return Picture(picture.width, picture.height, data)


def ui_pointer_at(machine, place, what):
    machine.wait_for(lambda: near(machine.cursor_plane(), place), 5, f"the UI's pointer at {place}, {what}", lambda: f"it is at {machine.cursor_plane()}", interval=0.05)


def test_the_ui_has_one_of_its_own(machine):
    """Tablet and mouse move it without a redraw, each toggle shows the right one where it was, typing and time hide it."""
    if machine.options.display != "virtio-vga":
        raise Skip("one card will do: who draws the pointer is the panel, as for the guest's")
    rayvm = state["rayvm"]
    show(machine)
    pointed(machine, PLACES[0])
    machine.press("KEY_F12")
    machine.wait_screen(is_ui, 10, "the UI")
    assert machine.cursor_plane() is None, "nobody has used the UI's pointer yet"
    time.sleep(1)
    drawn = machine.screendump()
    for place in ((0, 0), (1279, 799), (700, 300)):
        machine.move(*place)
        ui_pointer_at(machine, place, "by the tablet")
    machine.move_by(-40, 25)
    machine.wait_for(lambda: (machine.cursor_plane() or (700, 0))[0] < 690, 5, "the mouse to move it")
    time.sleep(0.3)
    x, y = machine.cursor_plane()
    assert 540 <= x <= 680 and 310 <= y <= 400, f"40 counts left and 25 down, by the mouse, took it from 700,300 to {x},{y}"
    with_cursor(machine, machine.screendump()).save(machine.results / "ui-pointer.png")
    assert machine.screendump() == drawn, "the UI draws nothing for a move"
    hot_x, hot_y, _width, _height, pixels = machine.cursor()
    assert (hot_x, hot_y) == (0, 0) and 0 < sum(pixels[3::4]) < 255 * 600, "an arrow whose tip is the corner, on nothing"
    for _ in range(3):
        show(machine)
        machine.wait_for(lambda: near(machine.cursor_plane(), corner(machine, PLACES[0])), 5, "the guest's where it was left", lambda: f"it is at {machine.cursor_plane()}")
        machine.press("KEY_F12")
        machine.wait_screen(is_ui, 10, "the UI")
        ui_pointer_at(machine, (x, y), "where it was left")
    machine.type("w")
    machine.wait_for(lambda: machine.cursor_plane() is None, 3, "typing to hide it", interval=0.05)
    machine.move(200, 200)
    ui_pointer_at(machine, (200, 200), "again")
    machine.wait_for(lambda: machine.cursor_plane() is None, 15, "five seconds to hide it")
    assert rayvm.stats()["modesets"] == 2, "the first picture's, and the terminal's"


def test_the_end_leaves_nothing_of_it(machine):
    assert state["rayvm"].quit() == 0, state["rayvm"].job.log_text()[-1000:]
    assert machine.cursor_plane() is None
