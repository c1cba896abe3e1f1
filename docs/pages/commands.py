"""The command line's reference, from the commands themselves."""

from __future__ import annotations

from typing import Any

import typer

from docs.pages.words import table
from wel.cli.app import app


def commands() -> str:
    """Every command with its help, arguments and options."""
    group: Any = typer.main.get_command(app)
    return "\n".join(_command(name, command) for name, command in group.commands.items())


def _command(name: str, command: Any) -> str:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = " ".join(_argument(p) for p in shown if p.param_type_name == "argument")
    usage = " ".join(f"wel {name} {arguments}".split()) + (" [OPTIONS]" if any(p.param_type_name == "option" for p in shown) else "")
    rows = [(_name(p), p.help or "", _default(p)) for p in shown]
    text = f"## wel {name}\n\n```text\n{usage}\n```\n\n{command.help or ''}\n\n"
    return text + (table(("option", "what it does", "default"), rows) if rows else "")


def _argument(parameter: Any) -> str:
    return parameter.name.upper() if parameter.required else f"[{parameter.name.upper()}]"


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "must be given"
    value = parameter.default
    return "" if value is None or value is False or callable(value) else f"`{value}`"
