"""`wel methods`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wel.cli import flags
from wel.cli.console import PLAIN, console, number, printable, size
from wel.errors import invalid, words_on

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from wel.methods.options import Option
    from wel.methods.registry import Method
    from wel.networks.network import Network

NO_LEAK = 1e-5  # relative; float32 sums differ by less


def methods(
    *,
    method: Annotated[
        Optional[str],
        typer.Argument(help="One method: what it is and, with --model, the rule of every layer.", autocompletion=flags.completed_method),
    ] = None,
    model: Annotated[
        Optional[str],
        typer.Option("--model", help="For this network: which methods apply, or a method's rules.", autocompletion=flags.completed_model),
    ] = None,
    weights: flags.Weights = None,
    input_shape: flags.InputShape = None,
    output_index: flags.OutputIndex = None,
    semantics: flags.OneSemantics = "paper",
    leaks: Annotated[
        bool, typer.Option("--leaks", help="Where the method loses or makes relevance on its way through the network.")
    ] = False,
    images: flags.Images = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Use at most so many images for --leaks.")] = 4,
    seed: flags.Seed = 0,
    device: flags.Device = "auto",
    allow_tf32: flags.AllowTf32 = False,
    arithmetic: flags.Arithmetic = None,
) -> None:
    """List the attribution methods, or show one: its rules for a network and where it leaks relevance."""
    from wel.methods.registry import check_semantics, find_method

    chosen = find_method(method, maps=not leaks) if method else None
    check_semantics(semantics)
    if leaks and not (chosen and model):
        raise invalid("leaks", leaks, "a method and a model with it: wel methods METHOD --model MODEL --leaks")
    net = _loaded(model, weights, seed, input_shape, output_index) if model else None
    if chosen is None:
        _show_registry(net)
        return
    _show_description(chosen)
    if net and leaks:
        _show_leaks(net, chosen, semantics, images, limit)
    elif net:
        _show_rules(net, chosen, semantics)


def _loaded(model: str, weights: str | None, seed: int, input_shape: str | None, output_index: str | None) -> Network:
    from wel.networks.loading import load, parse_shape

    return load(model, weights, input_shape=parse_shape(input_shape), output_index=output_index, seed=seed)


def _show_registry(net: Network | None) -> None:
    from wel.methods.registry import CITATIONS, METHODS

    headings = ["method", "label", "applies" if net else "backends", "CSC", "options", "source"]
    rows = [(m.name, m.label, _applies(m, net) if net else _backends(m), _csc(m), _options(m), m.source) for m in METHODS.values()]
    table = printable(headings, rows)
    table.columns[0].no_wrap = True
    screen = console()
    screen.print(table)
    for key in dict.fromkeys(m.source for m in METHODS.values()):
        screen.print(f"{key}: {CITATIONS[key]}", markup=False)


def _show_description(method: Method) -> None:
    from wel.methods.registry import CITATIONS

    described = {
        "label": method.label,
        "formula": method.formula,
        "source": CITATIONS[method.source],
        "options": _options(method) or "none",
        "CSC": _csc(method),
        "backends": _backends(method),
    }
    screen = console()
    screen.print(method.name, **PLAIN)
    for key, value in described.items():
        screen.print(f"  {key}: {value}", **PLAIN)


def _show_rules(net: Network, method: Method, semantics: str) -> None:
    from wel.methods.composites import check_rules, described, rules_for  # imports TensorFlow
    from wel.methods.layers import layer_of
    from wel.networks.kinds import activation_name

    check_rules(method, net.graph, semantics)
    screen, layer = console(), layer_of(method, net.graph)
    if layer is not None:
        screen.print(f"  layer of {net.name}: {net.shown(layer)}", **PLAIN)
    if not method.has_rules:
        return
    rules = rules_for(net.graph, method.name, semantics, method.defaults)
    rows = []
    for name, pairs in rules.items():
        node = net.graph[name]
        activation = activation_name(node.layer)
        rows.append((net.shown(name), node.kind, activation if activation != "linear" else "", size(node.shape), described(pairs)))
    screen.print(f"{net.name}, {semantics}, from input to output:", **PLAIN)
    screen.print(printable(("layer", "kind", "activation", "shape", "rule"), rows))


def _show_leaks(net: Network, method: Method, semantics: str, images: Path | None, limit: int) -> None:
    from wel.images.load import load_images
    from wel.studies.leaks import leaks  # imports TensorFlow

    pictures = load_images(net, images, limit=limit)
    table = leaks(net, method.name, pictures.inputs, semantics=semantics)
    screen = console()
    screen.print(f"{net.name}, {semantics}, means over {len(pictures.names)} images ({pictures.source}), from output to input:", **PLAIN)
    screen.print(_leaks(table))


def _leaks(table: pd.DataFrame) -> Table:
    rows = [
        (row.layer, row.rule, f"{row.arrived:.4g}", number(row.handed_down, ".4g").strip("–"), _share(row.relative))
        for row in table.itertuples()
    ]
    return printable(("layer", "rule", "comes in", "handed down", "leak"), rows)


def _share(relative: float) -> str:
    if abs(relative) < NO_LEAK:
        return "0"
    return "" if relative != relative else f"{100 * relative:+.3g} %"


def _applies(method: Method, net: Network) -> str:
    """ "yes", or why not, without what the row says already."""
    from wel.methods.composites import why_not  # imports TensorFlow

    return words_on(method.name, why_not(method, net.graph) or "yes")


def _backends(method: Method) -> str:
    return ", ".join(["native", *([method.wrapped, "original"] if method.wrapped else [])])


def _csc(method: Method) -> str:
    return "yes" if method.csc else "map only"


def _options(method: Method) -> str:
    return ", ".join(f"{name}={_unless_given(option)}" for name, option in method.options.items())


def _unless_given(option: Option) -> str:
    if option.default is not None:
        return str(option.default)
    return "to be given" if option.needed else option.derived


COMMANDS = (methods,)
