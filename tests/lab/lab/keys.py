# SPDX-License-Identifier: MIT
"""Key names: evdev (KEY_GRAVE, linux/input-event-codes.h) and QEMU (grave_accent, qapi/ui.json), and text to keys."""

_SPECIAL = {
    "grave": "grave_accent", "enter": "ret", "leftbrace": "bracket_left", "rightbrace": "bracket_right",
    "leftctrl": "ctrl", "rightctrl": "ctrl_r", "leftshift": "shift", "rightshift": "shift_r",
    "leftalt": "alt", "rightalt": "alt_r", "leftmeta": "meta_l", "rightmeta": "meta_r", "space": "spc",
    "capslock": "caps_lock", "numlock": "num_lock", "scrolllock": "scroll_lock", "pageup": "pgup",
    "pagedown": "pgdn", "dot": "dot", "102nd": "less", "sysrq": "sysrq", "kpasterisk": "kp_multiply",
    "kpplus": "kp_add", "kpminus": "kp_subtract", "kpslash": "kp_divide", "kpdot": "kp_decimal",
    "kpenter": "kp_enter", "compose": "menu",
}
_SPECIAL.update({f"kp{digit}": f"kp_{digit}" for digit in range(10)})

_PLAIN = {"`": "grave_accent", "-": "minus", "=": "equal", "[": "bracket_left", "]": "bracket_right",
          "\\": "backslash", ";": "semicolon", "'": "apostrophe", ",": "comma", ".": "dot", "/": "slash",
          " ": "spc", "\n": "ret", "\t": "tab"}
_SHIFTED = dict(zip('~!@#$%^&*()_+{}|:"<>?', "`1234567890-=[]\\;',./"))


def qcode(name):
    """QEMU's name of a key given by its evdev name ("KEY_F11") or already by QEMU's ("f11")."""
    if not name.upper().startswith("KEY_"):
        return name
    plain = name[4:].lower()
    return _SPECIAL.get(plain, plain)


def keys_of(character):
    """(qcode, with shift) that types CHARACTER on a US keyboard."""
    if character in _SHIFTED:
        return keys_of(_SHIFTED[character])[0], True
    if character in _PLAIN:
        return _PLAIN[character], False
    if character.isascii() and character.isalnum():
        return character.lower(), character.isupper()
    raise ValueError(f"no key types {character!r} on a US keyboard")
