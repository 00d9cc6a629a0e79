# SPDX-License-Identifier: MIT
"""The acceptance test of the toggle with the synthetic scanout in the guest's place, by pixels and by markers."""

import signal
import time

from lab.errors import Skip
from lab.rayvm import Rayvm, console_state, is_pattern, is_ui, measure_toggles, synthetic

ALONE = True
MACHINE = {"memory": 1536}
K_OFF = 4
state = {}


def setup(machine):
    state["rayvm"] = Rayvm(machine, ["--log-level", "debug"], env={"RAYOS_KERNEL_FEATURES": "dev_scanout"})
    state["rayvm"].marker("DEV_SCANOUT:enabled", 40)


def half_of_each(picture):
    """The upper part of one face, the lower of the other."""
    tops, feet = picture.pixel(2, 2), picture.pixel(2, picture.height - 3)
    dark = [10 < sum(colour) < 130 for colour in (tops, feet)]
    red, blue = tops[0] > 200 and tops[2] < 50, feet[2] > 200 and feet[0] < 50
    return (red and dark[1]) or (dark[0] and blue)


def shown(machine, accept, what, timeout=5):
    return machine.wait_screen(accept, timeout, what)


def test_ui_comes_first(machine):
    """Steps 1 and 2: it starts hidden, and the UI has text and status."""
    picture = state["rayvm"].ready()
    picture.save(machine.results / "ui.png")
    assert state["rayvm"].presentations() == []
    status = state["rayvm"].status()
    assert status["presentation"] == "hidden" and status["vm"] == "running" and status["keyboards"] >= 1, status
    assert status["outputs"][0]["width"] == picture.width, (status, picture.size)


def test_backtick_shows_the_desktop_and_returns(machine):
    """Steps 3 and 4."""
    rayvm = state["rayvm"]
    machine.press("KEY_GRAVE")
    rayvm.marker("LINUX_PRESENTATION:PRESENTED", 10)
    rayvm.marker("RAYOS_LINUX_DESKTOP_PRESENTED:ok:", 10)
    picture = shown(machine, is_pattern, "the pattern")
    picture.save(machine.results / "desktop.png")
    machine.press("KEY_GRAVE")
    rayvm.marker("LINUX_PRESENTATION:HIDDEN", 10)
    shown(machine, is_ui, "the UI")


def test_f11_shows_and_f12_returns_and_both_are_idempotent(machine):
    rayvm = state["rayvm"]
    before = len(rayvm.presentations())
    for key in ("KEY_F12", "KEY_F11", "KEY_F11", "KEY_F12", "KEY_F12"):
        machine.press(key)
        time.sleep(0.3)
        rayvm.ctl("status")
    assert rayvm.presentations()[before:] == ["PRESENTED", "HIDDEN"], rayvm.presentations()[before:]
    shown(machine, is_ui, "the UI")


def test_holding_the_key_toggles_once(machine):
    """Auto-repeat never toggles."""
    rayvm = state["rayvm"]
    before = len(rayvm.presentations())
    machine.press("KEY_GRAVE", hold=1.5)
    time.sleep(0.5)
    assert rayvm.presentations()[before:] == ["PRESENTED"], rayvm.presentations()[before:]
    machine.press("KEY_F12")
    shown(machine, is_ui, "the UI")


def test_the_guest_runs_on_while_hidden(machine):
    machine.press("KEY_F11")
    first = synthetic(shown(machine, is_pattern, "the pattern"))
    machine.press("KEY_F12")
    shown(machine, is_ui, "the UI")
    time.sleep(3)
    machine.press("KEY_F11")
    second = synthetic(shown(machine, is_pattern, "the pattern"))
    machine.press("KEY_F12")
    shown(machine, is_ui, "the UI")
    assert second - first > 20, f"frame {first}, then {second} after 3 seconds hidden"


def test_typing_reaches_the_ui_and_toggle_keys_do_not(machine):
    before = shown(machine, is_ui, "the UI")
    machine.press("KEY_F12")     # changes nothing, prints nothing
    time.sleep(0.5)
    assert machine.screendump() == before
    machine.type("version\n")
    machine.wait_screen(lambda p: is_ui(p) and p.difference(before) > 200, 10, "the answer to 'version'").save(machine.results / "ui-typed.png")


def test_toggles_leave_no_wrong_frame(machine):
    """Step 5: bursts of pictures while toggling hold one face or the other, never black or a mixture.

    cirrus has no page flips: its driver copies each commit into the one buffer that is scanned out, slowly enough on a
    software CPU to be caught at it. There a picture may be one face above and the other below.
    """
    rayvm = state["rayvm"]
    copies = machine.options.display == "cirrus-vga"
    before = len(rayvm.presentations())
    modesets = rayvm.stats()["modesets"]
    wrong = []
    for number in range(20):
        machine.press("KEY_GRAVE", hold=0.01)
        for picture in machine.burst(3):
            if not is_ui(picture) and not is_pattern(picture) and not (copies and half_of_each(picture)):
                wrong.append(number)
                picture.save(machine.results / f"wrong-{number}.png")
    machine.wait_for(lambda: len(rayvm.presentations()) == before + 20, 20, "20 toggles")
    assert not wrong, f"after toggles {wrong} the screen held neither face (wrong-*.png)"
    assert rayvm.stats()["modesets"] == modesets, "a toggle set a mode"
    shown(machine, is_ui, "the UI")


def frame_pixels(width, height, frame):
    """The synthetic scanout's picture, as the top of src/link/synthetic.h has it: all rows are one of five."""
    def rgb(*parts):
        return b"".join(colour.to_bytes(3, "big") * count for colour, count in parts)

    def over(row, x, part):
        return row[:3 * x] + part + row[3 * x + len(part):]

    bars = (0x202830, 0x28303c, 0x303c4c, 0x384858, 0x405464, 0x385058, 0x30444c, 0x283840)
    plain = b"".join(bars[x * 8 // width].to_bytes(3, "big") for x in range(width))
    top = rgb((0xff0000, 64)) + plain[3 * 64:-3 * 64] + rgb((0x00ff00, 64))
    foot = rgb((0x0000ff, 64)) + plain[3 * 64:-3 * 64] + rgb((0xffff00, 64))
    counter = over(plain, 100, rgb(*((0xffffff if frame >> (31 - i) & 1 else 0, 16) for i in range(32))))
    mover = over(plain, frame * 8 % (width - 48), rgb((0xffffff, 48)))
    return b"".join(top if y < 64 else counter if 100 <= y < 116 else mover if height // 2 <= y < height // 2 + 48 else foot if y >= height - 64 else plain
                    for y in range(height))


def test_no_picture_of_two_frames(machine):
    """Each frame changes a part of the picture, in two places: what is to be seen is one frame, to the pixel, also where it is drawn into the framebuffer on the screen."""
    if machine.options.display == "cirrus-vga":
        raise Skip("its driver copies each commit into the one buffer that is scanned out, slowly enough to be caught at it")
    rayvm = state["rayvm"]
    machine.press("KEY_F11")
    shown(machine, is_pattern, "the pattern")
    time.sleep(0.5)
    rayvm.stats(reset=True)
    frames, wrong = [], []
    for number in range(80):
        # The machine stands still for each picture: a frame or two pass between them, at any point of the refresh.
        time.sleep(0.013 + number % 7 * 0.003)
        picture = machine.still()
        frame = synthetic(picture)
        if frame is None or picture.data != frame_pixels(*picture.size, frame):
            wrong.append(number)
            picture.save(machine.results / f"two-frames-{number}.png")
        else:
            frames.append(frame)
    stats, path = rayvm.stats(), rayvm.status()["lines"]["path"]["text"]
    machine.press("KEY_F12")
    shown(machine, is_ui, "the UI")
    print(f"         {len(frames)} pictures of {len(set(frames))} frames; copied {stats['bytes_copied']} of {stats['bytes_damaged']} damaged bytes, "
          f"{stats['frames_presented']} frames presented; {path}", flush=True)
    assert not wrong, f"pictures {wrong} are not one frame (two-frames-*.png)"
    assert len(set(frames)) > 20 and frames == sorted(frames), frames
    in_place = machine.options.display == "virtio-vga"
    assert in_place == ("on the screen" in path), path
    # The first frame may have been counted as damage before.
    assert 0 < stats["bytes_copied"] <= ((1 if in_place else 2) + 1 / stats["frames_presented"]) * stats["bytes_damaged"], stats


def test_sigint_does_not_end_it(machine):
    rayvm = state["rayvm"]
    rayvm.job.signal(signal.SIGINT)
    machine.press("KEY_LEFTCTRL", "KEY_C")
    time.sleep(1)
    assert rayvm.job.status is None
    rayvm.ctl("status")


def test_sigterm_ends_it_and_gives_the_console_back(machine):
    rayvm = state["rayvm"]
    assert console_state(machine) == (False, K_OFF)
    assert rayvm.quit() == 0, rayvm.job.log_text()[-2000:]
    text, keyboard = console_state(machine)
    assert text and keyboard != K_OFF, (text, keyboard)
    assert not machine.exists("/run/rayvm.sock")


def test_sigkill_gives_the_console_back(machine):
    rayvm = Rayvm(machine, ["--features", "dev_scanout"], log="killed.log")
    rayvm.ready()
    rayvm.job.signal(signal.SIGKILL)
    rayvm.job.wait(20)
    machine.wait_for(lambda: console_state(machine)[0] and console_state(machine)[1] != K_OFF, 10, "text mode and a keyboard", interval=0.3)
    # A stale socket is no obstacle.
    again = Rayvm(machine, ["--features", "dev_scanout"], log="again.log")
    again.ready()
    assert again.quit() == 0


def test_statistics(machine):
    """200 toggles in a row: latency from the key's time stamp to the page flip, and no key stuck."""
    with Rayvm(machine, ["--features", "dev_scanout"], log="toggles.log") as rayvm:
        rayvm.ready()
        measure_toggles(machine, rayvm)
        shown(machine, is_ui, "the UI after an even number of toggles")
        assert rayvm.quit() == 0
