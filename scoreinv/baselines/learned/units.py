"""Network units: what the published training data are divided by."""

# Attenuation at 1000 HU, 1/mm: the window from -1000 to 1000 HU becomes 0 to 1.
ATTENUATION = 0.04
# Line integral of 0.2 m at that attenuation: those of a body become 0 to about 1.
LINE_INTEGRAL = 8.0
