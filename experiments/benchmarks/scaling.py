"""How much of many workers' time is work, where units of work are replaced by sleeps as long as they take.

    python experiments/benchmarks/scaling.py [--workers 1,8,64] [--seconds 5] [--units 16] [--bytes 8000000]

Workers are Dask's, all in one process; each has so many units, of seconds from a half to one and a half of those given, to which
images of so many bytes travel. Efficiency is the sum of all sleeps over workers × time.
"""

from __future__ import annotations

import argparse
import random
import time
import uuid

import dask.config
import distributed
import numpy as np

from wel.system.cluster import CONFIGURATION, answers


def asleep(seconds: float, images: np.ndarray) -> dict[str, np.ndarray]:
    """A unit that computes nothing."""
    time.sleep(seconds)
    return {"done": images[:1]}


def efficiency(workers: int, units: int, seconds: float, size: int, seed: int = 0) -> float:
    """The share of the workers' time in which they sleep."""
    rng, images = random.Random(seed), np.zeros(size, "uint8")
    sleeps = [seconds * rng.uniform(0.5, 1.5) for _ in range(workers * units)]
    dask.config.set(CONFIGURATION)
    settings = {"processes": False, "n_workers": workers, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.Client(**settings) as client:
        begun = time.monotonic()

        def submit(sleep: float):
            return client.submit(asleep, sleep, images, key=f"units-{uuid.uuid4().hex}", pure=False)

        for _ in answers(client, sleeps, submit, print):
            pass
        return sum(sleeps) / workers / (time.monotonic() - begun)


def main() -> None:
    """Prints the efficiency for each number of workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", default="1,8,64")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--units", type=int, default=16)
    parser.add_argument("--bytes", type=int, default=8_000_000)
    given = parser.parse_args()
    for workers in map(int, given.workers.split(",")):
        found = efficiency(workers, given.units, given.seconds, given.bytes)
        print(f"{workers} workers, units of {given.seconds:g} s and {given.bytes:,} bytes: {found:.3f}", flush=True)


if __name__ == "__main__":
    main()
