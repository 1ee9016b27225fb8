"""What an error message says, in words."""

from __future__ import annotations

from typing import Any


def error_words(message: Any) -> str:
    """What a switch refused something for (os-ken's OFPErrorMsg), in the names of the specification."""
    if message.code is None:
        # os-ken has no code of an experimenter's error, and its own names fail over it.
        return f"error {message.exp_type} of experimenter {message.experimenter:#x}"
    return str(message.datapath.ofproto.ofp_error_code_to_str(message.type, message.code))
