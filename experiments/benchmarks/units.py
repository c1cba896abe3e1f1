"""What CSC's units of work take on a cluster: bytes to a worker and back, seconds there, and the network's bytes.

    python experiments/benchmarks/units.py [--model vgg16] [--weights random] [--limit 2] [--batch-size 1] [--methods METHODS]

One worker on this machine computes them. Printed are medians over the units of a method but for its first, which compiles, where there are
more. Seconds are wall time: other work on the machine counts.
"""

from __future__ import annotations

import argparse
import pickle
from collections import defaultdict
from statistics import median

from distributed import get_task_stream

import wel
from wel.networks.packing import packed
from wel.system.cluster import connected
from wel.system.imports import quiet_tensorflow

MB = 1e6


def main() -> None:
    """Runs CSC on a worker and weighs what it is sent and what it answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--weights")
    parser.add_argument("--limit", type=int, default=2)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--methods", default="gradient,lrp_alpha1_beta0")
    given = parser.parse_args()
    quiet_tensorflow()
    net = wel.load(given.model, given.weights)
    images = wel.load_images(net, limit=given.limit).inputs
    there, futures = {}, defaultdict(list)
    with connected(1, None) as client:
        submit = client.submit

        def weighed(function, *arguments, **settings):
            future = submit(function, *arguments, **settings)
            there[future.key] = len(pickle.dumps(arguments))
            futures[arguments[1]].append(future)
            return future

        client.submit = weighed
        with get_task_stream(client) as stream:
            wel.csc(net, images, methods=given.methods.split(","), batch_size=given.batch_size, client=client)
        seconds = {task["key"]: sum(one["stop"] - one["start"] for one in task["startstops"]) for task in stream.data}
        back = {one.key: sum(array.nbytes for array in one.result().values()) for several in futures.values() for one in several}
    print(f"the network: {len(packed(net).data) / MB:.0f} MB")
    for cell, several in futures.items():
        kept = several[1:] or several
        sent, took = (median(found[one.key] for one in kept) for found in (there, seconds))
        answered = median(back[one.key] for one in kept)
        print(f"{cell}: {len(several)} units of {sent / MB:.2f} MB there, {answered / MB:.1f} MB back, {took:.1f} s")


if __name__ == "__main__":
    main()
