"""One thread per test process: two of them on two cores, each with two threads, wait for one another most of the time
(a planted model trained in 306 s so, and in 8 s with one thread each)."""

import os

# Read when torch is imported, here and in the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
