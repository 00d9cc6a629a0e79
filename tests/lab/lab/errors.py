# SPDX-License-Identifier: MIT
"""What can go wrong in the lab."""


class LabError(Exception):
    """The machine or a request to it failed; the text says what, and ends with the machine's last words."""


class LabTimeout(LabError):
    """A deadline passed."""


class Skip(Exception):
    """Raised by a test or scene that cannot run here; the text is the reason."""
