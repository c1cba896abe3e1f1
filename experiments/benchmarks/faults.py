"""Kills workers of `wel csc --workers 2` at random moments, then the command itself, and holds the tables against those of a plain run.

    python experiments/benchmarks/faults.py --out DIR [--seed 0] [--kills 5] [-- --model cifar10 --limit 40 --methods all]

Moments are drawn from the seed: so many pieces are done, and of a worker up to `LATER` seconds have gone by since.
Exit code 1 unless all tables are alike.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

TABLES = ("csc.csv", "histograms.csv")
MOMENTS = range(12)  # pieces that are done; all methods of cifar10 have 16
LATER = 5.0
ASKED = "--model cifar10 --limit 40 --methods all".split()


def main() -> None:
    """Runs the command undisturbed, with workers killed, and killed itself in three ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=5, help=f"{len(MOMENTS)} at most")
    parser.add_argument("asked", nargs="*", default=ASKED, help="what `wel csc` is asked for")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    given.out.mkdir(parents=True)

    def command(name: str, *more: str) -> list[str]:
        return [sys.executable, "-m", "wel", "csc", *given.asked, *more, "--out", str(given.out / name)]

    def finished(name: str, *more: str) -> float:
        begun = time.monotonic()
        subprocess.run(command(name, *more), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.monotonic() - begun

    def same(name: str) -> bool:
        found = all((given.out / name / table).read_bytes() == (given.out / "plain" / table).read_bytes() for table in TABLES)
        print(f"{name}: {'the same bytes' if found else 'OTHER BYTES'}", flush=True)
        return found

    print(f"plain: {finished('plain'):.0f} s", flush=True)
    print(f"workers: {finished('workers', '--workers', '2'):.0f} s", flush=True)
    results = [same("workers")]
    moments = sorted(rng.sample(MOMENTS, given.kills))
    results.append(_with_workers_killed(command("killed", "--workers", "2"), given.out / "killed" / "parts", moments, rng))
    results.append(same("killed"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        name = number.name.lower()
        left = _killed(command(name, "--workers", "2"), given.out / name / "parts", rng.choice(MOMENTS[2:]), number)
        print(f"{name}: {_pieces(given.out / name / 'parts')} pieces are there, {left} processes outlived it", flush=True)
        finished(name, "--workers", "2")
        results += [same(name), not left]
    sys.exit(0 if all(results) else 1)


def _with_workers_killed(command: list[str], parts: Path, moments: list[int], rng: random.Random) -> bool:
    """Whether a command ends well although a worker of it was killed at every moment."""
    process, begun, killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), time.monotonic(), 0
    for pieces in moments:
        while process.poll() is None and (_pieces(parts) < pieces or not _workers(process.pid)):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, LATER))
        workers = _workers(process.pid)
        if process.poll() is None and workers:
            victim = rng.choice(workers)
            print(f"killing worker {victim} after {time.monotonic() - begun:.1f} s, {_pieces(parts)} pieces are there", flush=True)
            os.kill(victim, signal.SIGKILL)
            killed += 1
    code = process.wait()
    print(f"killed: {killed} of {len(moments)}, exit code {code} after {time.monotonic() - begun:.0f} s", flush=True)
    return code == 0 and killed == len(moments)


def _workers(parent: int) -> list[int]:
    children = psutil.Process(parent).children(recursive=True) if psutil.pid_exists(parent) else []
    return sorted(child.pid for child in children if _is_worker(child))


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # of one that was killed and is not buried yet
        return False


def _pieces(parts: Path) -> int:
    return len(list(parts.glob("[!.]*")))


def _killed(command: list[str], parts: Path, pieces: int, number: signal.Signals) -> int:
    """How many of a command's processes are there ten seconds after it was killed, which happens once so many pieces are there.

    Ctrl-C reaches all of them, as from a terminal.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while _pieces(parts) < pieces and process.poll() is None:
        time.sleep(0.05)
    others = psutil.Process(process.pid).children(recursive=True)
    if number is signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.wait(60)
    _, alive = psutil.wait_procs(others, 10)
    return len(alive)


if __name__ == "__main__":
    main()
