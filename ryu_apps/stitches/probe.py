"""The probe that crosses a stitch: a signed frame from its first switch to its last, through its own rules."""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

from stitching.match import ETH_PROBE, ETH_VLAN

_HEAD = struct.Struct("!6s6sH")
_BODY = struct.Struct("!IHHQ")
_MAC_SIZE = 16


@dataclass(frozen=True, slots=True)
class StitchProbe:
    """What a probe says: whose it is, which direction (0 there, 1 back), and when it was sent (monotonic)."""

    stitch_id: int
    epoch: int
    direction: int
    sent_s: float


@dataclass(frozen=True)
class StitchProber:
    """Makes and reads probes; only the holder of the key can make one that is believed."""

    key: bytes

    def frame(self, probe: StitchProbe, source_mac: str, target_mac: str, label: int | None = None) -> bytes:
        """The frame of a probe, addressed like the traffic it stands for; at the far end it loses its label."""
        body = _BODY.pack(probe.stitch_id, probe.epoch, probe.direction, round(probe.sent_s * 1e9))
        head = _HEAD.pack(_raw(target_mac), _raw(source_mac), ETH_PROBE)
        frame = (head + body + self._sign(head + body)).ljust(60, b"\0")
        return frame if label is None else frame[:12] + struct.pack("!HH", ETH_VLAN, label) + frame[12:]

    def read(self, frame: bytes) -> StitchProbe | None:
        """The probe in a frame, None where it is none of ours."""
        size = _HEAD.size + _BODY.size
        if len(frame) < size + _MAC_SIZE or _HEAD.unpack_from(frame)[2] != ETH_PROBE:
            return None
        if not hmac.compare_digest(frame[size : size + _MAC_SIZE], self._sign(frame[:size])):
            return None
        stitch_id, epoch, direction, sent_ns = _BODY.unpack_from(frame, _HEAD.size)
        return StitchProbe(stitch_id, epoch, direction, sent_ns / 1e9)

    def _sign(self, data: bytes) -> bytes:
        return hashlib.blake2s(data, key=self.key[:32], digest_size=_MAC_SIZE, person=b"stitch").digest()


def _raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))
