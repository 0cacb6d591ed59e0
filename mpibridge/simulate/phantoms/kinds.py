"""Kinds of parts: the first number of a row."""

CAPSULE, CYLINDER, BOX, ELLIPSOID, GAUSSIAN, ARC, LUMP, IMAGE = range(8)
CUT = 4.0
"""A Gaussian ends at this many standard deviations, at 3e-4 of its height."""
N_MODES = 4
"""Waves round the edge of a lump: 2, 3, 4 and 5 per turn."""
WIDTH = 8 + 7 + 2 * N_MODES
"""Numbers in a row: kind, value, lowest corner (3), highest corner (3), and up to 15 that depend on the kind."""
