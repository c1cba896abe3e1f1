"""`wel saliency`."""
from __future__ import annotations

from pathlib import Path

from rich.table import Table

from wel.cifar10 import CLASSES
from wel.commands.console import PLAIN, console, listed, printable
from wel.commands.csc import context
from wel.commands.sanity import checked, described
from wel.data import load_images
from wel.errors import invalid
from wel.loading import load
from wel.methods import METHODS
from wel.network import Network
from wel.progress import bar_steps
from wel.studies.cascading import choose_stages
from wel.studies.saliency import SaliencyResult, check_compared, saliency
