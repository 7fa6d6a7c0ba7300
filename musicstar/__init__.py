"""Music translated between pairs of instruments: networks, data, training, and the work behind the pages."""

import os

# The one thing done at import, because it is read as PyTorch is imported, by whatever module comes first. Threads that
# spin while they wait for one another bring a translation to a crawl where another program keeps a core busy.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
