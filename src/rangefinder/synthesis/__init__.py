"""Charts, scenes and RGB-D frames rendered through a PSF bank."""
