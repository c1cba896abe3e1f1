"""`wel audit`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, List, Optional, Sequence

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, console, listed, print_left_out, printable, shown_method
from wel.errors import WelError, invalid, one_of

if TYPE_CHECKING:
    from rich.console import Console

    from wel.auditing.audit import AuditResult


def audit(
    *,
    model: Annotated[
        str,
        typer.Argument(
            callback=flags.named_model,
            help="A .h5, .hdf5, .keras or .json file, a SavedModel directory, or a network of the zoo.",
            autocompletion=flags.completed_model,
        ),
    ],
    images: flags.Images = None,
    labels: flags.Labels = None,
    limit: Annotated[Optional[int], typer.Option("--limit", min=1, help="Use so many images; up to 24 by default.")] = None,
    preprocess: flags.Preprocess = None,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="More methods, cuts and vectors, or the paper's methods at three cuts.")
    ] = False,
    minutes: Annotated[
        Optional[float], typer.Option("--minutes", help="Leave methods out, the last ones, until the others take no longer as predicted.")
    ] = None,
    methods: flags.Methods = "all",
    analyzer: Annotated[
        Optional[List[str]],
        typer.Option(
            "--analyzer",
            help="An analyzer of innvestigate's, such as lrp.epsilon:epsilon=0.1, beside the methods; may be given several times.",
        ),
    ] = None,
    semantics: flags.Semantics = "both",
    seed: flags.Seed = 0,
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    input_name: flags.InputName = None,
    fixed: flags.Fixed = None,
    output: Annotated[Optional[str], typer.Option("--output", help="Which output of a model with several.")] = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run code that the model file carries. Only for files that you trust.")
    ] = False,
    custom_objects: Annotated[
        Optional[str], typer.Option("--custom-objects", help="module:Name,Name: layers of yours that the file names.")
    ] = None,
    expect: Annotated[
        Optional[Path],
        typer.Option(
            "--expect", exists=True, dir_okay=False, help="An .npz with `inputs` and the model's `predictions`, which are checked first."
        ),
    ] = None,
    fail_on: Annotated[
        Optional[str], typer.Option("--fail-on", help="Exit code 1 for VERDICT:METHOD, such as insensitive:lrp_alpha1_beta0.")
    ] = None,
    workers: flags.Workers = None,
    scheduler: flags.Scheduler = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Run directory; runs/audit-<model> by default.")] = None,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """Audit a stranger's model: which heat maps show what it decides from? One report with a verdict for every method.

    An audit that was interrupted goes on where it stopped when the same command is given again.
    """
    from wel.methods.registry import choose_map_methods, chosen_semantics

    names, watched = listed(methods), parse_fail_on(fail_on)
    if names != "all":
        names = [method.name for method in choose_map_methods([*names, *(method for _, method in watched)])]
    chosen_semantics(semantics)
    from wel.auditing.plan import MODES
    from wel.images.load import load_images
    from wel.networks.loading import load, parse_shape
    from wel.system.cluster import connected
    from wel.system.progress import bar_steps

    mode = MODES["full" if full else "quick"]
    given = {"output": output, "allow_code": allow_code, "custom_objects": custom_objects}
    with connected(workers, scheduler) as client, bar_steps("audit") as steps:
        net = load(model, weights, input_shape=parse_shape(input_shape), output_index=output_index, input=input_name, fixed=fixed, **given)
        pictures = load_images(net, images, labels, limit or mode.images_for(net), preprocess, keep_going=True)
        folder = out or Path("runs") / (f"audit-{net.name}-full" if full else f"audit-{net.name}")
        screen = console()
        screen.print(f"{net.name}: {len(pictures.names)} images ({pictures.source})", **PLAIN)
        screen.print(f"Preprocessing: {pictures.preprocessing.formula}. {pictures.preprocessing.guess or ''}", **PLAIN)
        from wel.auditing import audit as course  # imports TensorFlow

        result = course.audit(
            net,
            pictures,
            folder,
            mode=mode.name,
            methods=names,
            semantics=semantics,
            seed=seed,
            limit=len(pictures.names),
            first=[method for _, method in watched],
            expect=expect,
            minutes=minutes,
            command=shlex.join(["wel", *sys.argv[1:]]),
            steps=steps,
            client=client,
            analyzer=analyzer or (),
        )
    _print(screen, result.record)
    screen.print(f"Report: {folder / 'report.html'} (as data: {folder / 'audit.json'})", **PLAIN)
    if result.record["stopped"]:
        raise WelError(f"The audit stopped before anything was measured. {result.record['stopped']}")
    if not _passed(result, watched):
        raise typer.Exit(1)


def parse_fail_on(text: str | None) -> list[tuple[str, str]]:
    """ "insensitive:lrp_z,inconclusive:gradient" as pairs (verdict, method).

    Raises:
        WelError: for anything else.
    """
    from wel.auditing.verdicts import VERDICTS
    from wel.methods.registry import find_method

    pairs = []
    for item in (text or "").split(",") if text else []:
        verdict, _, method = item.strip().partition(":")
        if verdict not in VERDICTS or not method:
            raise invalid("fail-on", item, f"VERDICT:METHOD, with commas between several; VERDICT is {one_of(VERDICTS)}")
        pairs.append((verdict, find_method(method, maps=True).name))
    return pairs


def _passed(result: AuditResult, watched: Sequence[tuple[str, str]]) -> bool:
    for _, method in watched:
        if result.verdict(method) is None:
            raise WelError(f"Invalid value for `fail-on`: '{method}' was not measured; the report says why. Expected a method that was.")
    found = [(verdict, method) for verdict, method in watched if result.verdict(method) == verdict]
    for verdict, method in found:
        print(f"wel: {method} is {verdict}, as named by --fail-on.", file=sys.stderr)
    return not found


def _print_advice(screen: Console, record: dict) -> None:
    """What to use, what not, and of what it cannot be told, a line for each method."""
    from wel.auditing.advice import CANNOT_TELL, DO_NOT_USE, NONE, USE, advised, named

    advice = advised(record)
    if advice and not named(advice, USE):
        screen.print(NONE, **PLAIN)
    for word, heading in ((USE, "Use"), (DO_NOT_USE, "Do not use"), (CANNOT_TELL, "Of these it cannot be told")):
        lines = [f"  {name}: {reason}" for name, reason in named(advice, word)]
        for line in [heading, *lines] if lines else []:
            screen.print(line, **PLAIN)


def _print(screen: Console, record: dict) -> None:
    _print_advice(screen, record)
    several = len(record["settings"]["semantics"]) > 1
    rows = [(_shown(entry, several), entry["verdict"], entry["sentence"]) for entry in record["methods"]]
    if rows:
        table = printable(("method", "verdict", "because"), rows)
        table.columns[0].no_wrap = True
        screen.print(table)
    print_left_out(screen, {entry["method"]: entry["reason"] for entry in record["not_applicable"]})
    print_left_out(screen, {_shown(entry, several): entry["reason"] for entry in record["not_measured"]})
    print_left_out(screen, {image["name"]: image["reason"] for image in record["images"]["left_out"]})


def _shown(entry: dict, several: bool) -> str:
    return shown_method(entry["method"], entry["semantics"], several and entry["semantics"] != "both")


COMMANDS = (audit,)
