"""How many bits the samples of 16-bit files use, where the files do not say."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

USUAL_BITS = {10: 1023, 12: 4095, 14: 16383}  # of sensors, and the largest sample of each


@dataclass
class SampleBits:
    """The largest samples of a set of photos: one dark photo proves nothing, a set does."""

    largest: Counter[int] = field(default_factory=Counter)  # samples, and how many photos have it

    def add(self, largest: int | None) -> None:
        """Take in a photo's largest sample; None: it says its bits, or has no 16."""
        if largest is not None:
            self.largest[largest] += 1

    @property
    def suspected(self) -> int | None:
        """Bits that hold every sample, or at whose end some photo is clipped; None: all 16."""
        top = max(self.largest, default=max(USUAL_BITS.values()) + 1)
        holding = [bits for bits, end in USUAL_BITS.items() if top <= end]
        clipping = [bits for bits, end in USUAL_BITS.items() if end in self.largest]
        return next(iter(holding + clipping), None)

    @property
    def doubt(self) -> str:
        """As in: no sample of 7 16-bit photos is above 4095. Empty if there is none."""
        if self.suspected is None:
            return ""
        end = USUAL_BITS[self.suspected]
        count = sum(photos for largest, photos in self.largest.items() if largest <= end)
        photos = "a 16-bit photo" if count == 1 else f"{count} 16-bit photos"
        return f"no sample of {photos} is above {end}"

    def todo(self, option: str = "Set captures.sample_bits:") -> str:
        """What to do about the doubt, by default in the configuration."""
        return f"{self.suspected} bits in 16? {option} {self.suspected}"
