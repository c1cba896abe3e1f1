"""Packages wel: the library, the bundled networks and images (`wel.models`), the scripts of the 2020 stack (`wel.original`)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def requirements(name):
    """The requirements that a file under docker/ lists, without its `-r` lines."""
    lines = (ROOT / "docker" / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("-")]


setup(
    name="wel",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "wel" / "__init__.py").read_text(encoding="utf-8")).group(1),
    description="When explanations lie: does an attribution method explain your network or only its first layers?",
    author="The wel authors",
    license="MIT",
    python_requires=">=3.9,<3.14",
    packages=[*find_packages(include=["wel", "wel.*"]), "wel.models", "wel.original"],
    package_dir={"wel.models": "models", "wel.original": "experiments/original"},
    package_data={
        "wel.models": [f"**/*.{kind}" for kind in ("h5", "json", "npz", "jpg", "png", "csv", "md")],
        "wel.original": ["requirements.*", "*.md"],
        "wel": ["py.typed"],
        "wel.auditing": ["*.j2", "*.js", "*.json"],
        "wel.backends": ["requirements-wrapped.*"],
    },
    install_requires=requirements("requirements.in"),
    extras_require={
        "dask": requirements("requirements-dask.in"),
        "gpu": requirements("requirements-gpu.in"),
        "paper": requirements("requirements-paper.in"),
        "test": requirements("requirements-dev.in"),
    },
    entry_points={"console_scripts": ["wel = wel.cli.app:main"]},
)
