"""The public names of wel, as mkdocstrings directives: what they say of themselves is read from the files, nothing is imported for it."""

from __future__ import annotations

import wel


def names() -> str:
    """A directive for every name of `wel.__init__`."""
    return "\n".join(
        f"::: {module}.{name}\n    options: {{heading: wel.{name}, toc_label: {name}}}\n" for name, module in wel._PUBLIC.items()
    )
