"""Music translated between pairs of instruments: networks, data, training, and the work behind the pages."""

import os

# Read once, when PyTorch is imported. Threads that spin while they wait for one another cost nothing on an idle
# machine, but make a translation seven times slower where another program keeps one of two cores busy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
