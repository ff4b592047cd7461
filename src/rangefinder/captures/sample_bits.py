"""How many bits the samples of 16-bit files use, where the files do not say."""

from __future__ import annotations

from dataclasses import dataclass

USUAL_BITS = (10, 12, 14)  # of sensors, whose samples programs put into 16 bits as they are


@dataclass
class SampleBits:
    """The largest sample of a set of photos; one dark photo proves nothing, a set does."""

    photos: int = 0  # 16-bit files that do not say how many bits they use
    largest: int = 0  # sample of them

    def add(self, largest: int | None) -> None:
        """Take in a photo's largest sample; None: it is no such file."""
        if largest is not None:
            self.photos += 1
            self.largest = max(self.largest, largest)

    @property
    def suspected(self) -> int | None:
        """Bits that hold every sample; None where all 16 are needed, or nothing was seen."""
        if not self.photos:
            return None
        return next((bits for bits in USUAL_BITS if self.largest < 2**bits), None)

    def todo(self, option: str = "Set captures.sample_bits:") -> str:
        """What to do about the doubt, by default in the configuration."""
        return f"{self.suspected} bits in 16? {option} {self.suspected}"

    @property
    def doubt(self) -> str:
        """As in: no sample of 7 16-bit photos is above 4095. Empty if there is none."""
        bits = self.suspected
        if bits is None:
            return ""
        photos = "the 16-bit photo" if self.photos == 1 else f"{self.photos} 16-bit photos"
        return f"no sample of {photos} is above {2**bits - 1}"
