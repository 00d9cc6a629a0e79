# SPDX-License-Identifier: MIT
"""The card comes late, loses its driver and gets it back, is pulled out and put in again: rayvm stays, and the face that was shown returns."""

import time

from lab.errors import Skip
from lab.qemu import default_size
from lab.rayvm import Rayvm, is_pattern, is_ui, synthetic

# "none": a card behind a PCIe port, which QEMU can pull out and put in (not a bochs-display: that is never quite gone). virtio-vga only loses its driver.
DISPLAYS = ("none", "virtio-vga")
SUITE = "all"       # two more boots of L1
CARD_MODEL = "secondary-vga"      # the driver is bochs
WIDTH, HEIGHT = default_size("bochs-display")
CARD = {"xres": WIDTH, "yres": HEIGHT, "edid": True, "bus": "port0"}
FACES = {"ui": is_ui, "guest": is_pattern}
state = {}


def machine(display):
    if display != "none":
        return {"memory": 1536}
    return {"memory": 1536, "qemu": ["-device", "pcie-root-port,id=port0,chassis=1",
                                     "-device", f"{CARD_MODEL},id=card0,bus=port0,xres={WIDTH},yres={HEIGHT},edid=on"]}


def cards(machine):
    return machine.sh("ls /dev/dri | grep card; true", check=True).stdout.split()


def setup(machine):
    if machine.options.display == "none":
        machine.sh("modprobe bochs", check=True)
    machine.wait_for(lambda: cards(machine), 20, "the card", interval=0.2)
    device = machine.sh("readlink -f /sys/class/drm/card0/device", check=True).stdout.strip()
    driver = machine.sh("readlink -f /sys/class/drm/card0/device/driver", check=True).stdout.strip()
    state.update(address=device.rsplit("/", 1)[1], driver=driver)
    unbind(machine)
    state["rayvm"] = Rayvm(machine, ["--features", "dev_scanout"])


def recover(machine):
    if not cards(machine):
        machine.sh(f"echo {state['address']} >{state['driver']}/bind; true")


def lost(machine):
    machine.wait_for(lambda: not cards(machine), 20, "the card to be gone", interval=0.2)


def unbind(machine):
    machine.sh(f"echo {state['address']} >{state['driver']}/unbind", check=True)
    lost(machine)


def bind(machine):
    machine.sh(f"echo {state['address']} >{state['driver']}/bind", check=True)


def pull(machine):
    machine.device_del("card0", 60)
    lost(machine)


def plug(machine):
    machine.device_add(CARD_MODEL, "card0", **CARD)


def shown(machine, face, seconds=30):
    """The face is on the screen; the pattern moves."""
    first = machine.wait_screen(FACES[face], seconds, f"the face '{face}'")
    if face == "guest":
        machine.wait_screen(lambda picture: is_pattern(picture) and synthetic(picture) != synthetic(first), 10, "a pattern that moves")
    return first


def lines(text):
    return sum(text in line for line in state["rayvm"].job.log_text().splitlines())


def card_is(machine, what):
    machine.wait_for(lambda: state["rayvm"].status()["card"] == what, 20, f"a card that is {what}", lambda: str(state["rayvm"].status()), interval=0.2)


def survives(machine, lose, give):
    """Each face in turn is shown, its card lost and given back. Keys work before, after and meanwhile: the other face is there when the card is."""
    rayvm = state["rayvm"]
    for face, other, key in (("ui", "guest", "KEY_F12"), ("guest", "ui", "KEY_F11")):
        machine.press(key)
        shown(machine, face)
        gone, back = lines("card is gone"), lines(" drm: card ")
        lose(machine)
        card_is(machine, "gone")
        status = rayvm.status()
        assert not status["outputs"] and "no display card" in status["lines"]["display"]["text"], status
        give(machine)
        card_is(machine, "present")
        shown(machine, face).save(machine.results / f"{lose.__name__}-{face}.png")
        assert (lines("card is gone"), lines(" drm: card ")) == (gone + 1, back + 1), rayvm.job.log_text()[-2000:]
        changes = len(rayvm.presentations())
        machine.press("KEY_GRAVE")
        shown(machine, other)
        lose(machine)
        card_is(machine, "gone")
        machine.press("KEY_GRAVE")
        machine.wait_for(lambda: len(rayvm.presentations()) == changes + 2, 10, "the toggle without a card", interval=0.2)
        give(machine)
        shown(machine, face)
        assert rayvm.job.status is None, rayvm.job.log_text()[-2000:]


def test_card_absent_at_the_start(machine):
    """It says at once what it waits for, and takes the card that comes."""
    rayvm = state["rayvm"]
    rayvm.job.wait_log("waiting for a display card", 8)
    assert rayvm.job.status is None and not cards(machine), rayvm.job.log_text()
    bind(machine)
    rayvm.listening(60)
    shown(machine, "ui")
    assert rayvm.status()["card"] == "present", rayvm.status()
    machine.press("KEY_F11")
    shown(machine, "guest")


def test_driver_unbound_and_bound(machine):
    survives(machine, unbind, bind)


def test_card_pulled_out_and_put_in(machine):
    if machine.options.display != "none":
        raise Skip("QEMU cannot pull this card out")
    survives(machine, pull, plug)


def test_card_exchanged_while_another_terminal_is_shown(machine):
    rayvm = state["rayvm"]
    machine.press("KEY_F11")
    shown(machine, "guest")
    rayvm.chvt(2)
    unbind(machine)
    card_is(machine, "gone")
    bind(machine)
    machine.wait_for(lambda: cards(machine), 20, "the card", interval=0.2)
    time.sleep(1)
    assert rayvm.status()["card"] == "gone", "it took a card while the seat was another's"
    rayvm.chvt(1)
    card_is(machine, "present")
    shown(machine, "guest").save(machine.results / "exchanged.png")


def test_end_while_no_card_is_there(machine):
    """The console comes back, and nothing of the kernel's broke on the way."""
    unbind(machine)
    card_is(machine, "gone")
    log = state["rayvm"].job.log_text()
    assert state["rayvm"].quit() == 0, log[-2000:]
    assert "was refused" not in log, log
    said = machine.sh("dmesg", check=True).stdout
    print("".join(f"         {line}\n" for line in said.splitlines() if "WARNING: " in line), end="", flush=True)   # virtio_gpu has some when it is unbound
    found = [line for line in said.splitlines() if "BUG: " in line or "Oops" in line]
    assert not found, found
