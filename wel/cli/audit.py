"""`wel audit`."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Sequence

from wel.auditing.plan import MODES
from wel.auditing.verdicts import VERDICTS
from wel.cli.console import PLAIN, console, listed, print_left_out, printable
from wel.errors import WelError, invalid, one_of
from wel.images.load import load_images
from wel.methods.registry import chosen_semantics, find_method
from wel.networks.loading import load
from wel.studies.map_study import choose_map_methods
from wel.system.progress import bar_steps


def run_audit(
    model, weights, images, labels, limit, preprocess, *, full, methods, semantics, seed, expect, fail_on, out, **strangeness
) -> bool:
    """`wel audit`: measures, writes the report, prints the verdicts; tells whether nothing that `--fail-on` names was found."""
    began = time.monotonic()
    chosen, watched = listed(methods), parse_fail_on(fail_on)
    if chosen != "all":
        chosen = [method.name for method in choose_map_methods([*chosen, *(method for _, method in watched)])]
    chosen_semantics(semantics)
    mode = MODES["full" if full else "quick"]
    net = load(model, weights, **strangeness)
    pictures = load_images(net, images, labels, limit or mode.images_for(net), preprocess, keep_going=True)
    folder = out or Path("runs") / (f"audit-{net.name}-full" if full else f"audit-{net.name}")
    screen = console()
    screen.print(f"{net.name}: {len(pictures.names)} images ({pictures.source})", **PLAIN)
    screen.print(f"Preprocessing: {pictures.preprocessing.formula}. {pictures.preprocessing.guess or ''}", **PLAIN)
    from wel.auditing.audit import audit  # imports TensorFlow

    left = None if mode.seconds is None else mode.seconds - (time.monotonic() - began)  # loading took time too
    first = [method for _, method in watched]
    settings = {"mode": mode.name, "methods": chosen, "semantics": semantics, "seed": seed, "limit": len(pictures.names)}
    with bar_steps("audit") as steps:
        result = audit(net, pictures, folder, **settings, first=first, expect=expect, seconds=left, command=_command(), steps=steps)
    _print(screen, result.record)
    screen.print(f"Report: {folder / 'report.html'} (as data: {folder / 'audit.json'})", **PLAIN)
    if result.record["stopped"]:
        raise WelError(f"The audit stopped before anything was measured. {result.record['stopped']}")
    return _passed(result, watched)


def parse_fail_on(text: str | None) -> list[tuple[str, str]]:
    """ "insensitive:lrp_z,inconclusive:gradient" as pairs (verdict, method).

    Raises:
        WelError: for anything else.
    """
    pairs = []
    for item in (text or "").split(",") if text else []:
        verdict, _, method = item.strip().partition(":")
        if verdict not in VERDICTS or not method:
            raise invalid("fail-on", item, f"VERDICT:METHOD, with commas between several; VERDICT is {one_of(VERDICTS)}")
        pairs.append((verdict, find_method(method, maps=True).name))
    return pairs


def _passed(result, watched: Sequence[tuple[str, str]]) -> bool:
    for _, method in watched:
        if result.verdict(method) is None:
            raise WelError(f"Invalid value for `fail-on`: '{method}' was not measured; the report says why. Expected a method that was.")
    found = [(verdict, method) for verdict, method in watched if result.verdict(method) == verdict]
    for verdict, method in found:
        print(f"wel: {method} is {verdict}, as named by --fail-on.", file=sys.stderr)
    return not found


def _print(screen, record: dict) -> None:
    several = len(record["settings"]["semantics"]) > 1
    rows = [(_shown(entry, several), entry["verdict"], entry["sentence"]) for entry in record["methods"]]
    if rows:
        table = printable(("method", "verdict", "because"), rows)
        table.columns[0].no_wrap = True
        screen.print(table)
    print_left_out(screen, {entry["method"]: entry["reason"] for entry in record["not_applicable"]})
    for reason in dict.fromkeys(entry["reason"] for entry in record["not_measured"]):
        names = [_shown(entry, several) for entry in record["not_measured"] if entry["reason"] == reason]
        screen.print(f"Left out: {', '.join(names)}. {reason}", **PLAIN)
    print_left_out(screen, {image["name"]: image["reason"] for image in record["images"]["left_out"]})


def _shown(entry: dict, several: bool) -> str:
    return f"{entry['method']} ({entry['semantics']})" if several and entry["semantics"] != "both" else entry["method"]


def _command() -> str:
    return shlex.join(["wel", *sys.argv[1:]])
