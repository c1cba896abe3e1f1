"""Appendix: |cos| at the input by the layers between, and the rate per layer, of all networks whose CSC the other scripts measured."""

from __future__ import annotations

from paper import RUNS, Out, Quick, start
from sheet import Sheet


def main(quick: Quick = False, out: Out = RUNS / "appendix_depth") -> None:
    """How much of what methods do depends on depth: from the tables of the figures that lie beside `--out`."""
    sheet = Sheet(out, "Appendix: depth", "Convergence by depth, all networks", quick)
    sheet.depth(out.parent)
    sheet.close()


if __name__ == "__main__":
    start(main)
