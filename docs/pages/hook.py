"""What the site has beyond the files of docs/: pages of the repository, a page per method, and the parts that are made of the code."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from docs.pages import api, commands, glossary, matrix, methods  # noqa: E402

# they stand in the site as they stand in the repository, so that their links hold
REPOSITORY = (
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docker/README.md",
    "experiments/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("experiments/figures/*.png"))),
    "experiments/benchmarks/README.md",
    "experiments/real/README.md",
)
# `<!-- made: NAME -->` in a page stands for what the function gives
MADE = {
    "api": api.names,
    "commands": commands.commands,
    "layer kinds": glossary.layer_kinds,
    "method facts": glossary.method_facts,
    "matrix": matrix.matrix,
    "matrix signs": matrix.signs,
    "methods": methods.overview,
}


def on_config(config):
    """A page for every method, below what mkdocs.yml has of them."""
    (section,) = (item["Methods"] for item in config.nav if "Methods" in item)
    section += [{family: [f"methods/{name}.md" for name in names]} for family, names in methods.families().items()]


def on_files(files, config):
    """The repository's pages, and those of methods that nobody has written a word about."""
    for name in REPOSITORY:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for name in methods.NAMES:
        if f"methods/{name}.md" not in files.src_uris:
            files.append(File.generated(config, f"methods/{name}.md", content=""))


def on_page_markdown(markdown, page, config, files):
    """Puts in what is made of the code."""
    folder, _, name = page.file.src_uri.removesuffix(".md").rpartition("/")
    if folder == "methods" and name in methods.NAMES:
        markdown = methods.page(name, markdown)
        page.meta["search"] = {"boost": 2}  # before pages that only name the method
    if page.file.src_uri in REPOSITORY:
        markdown = markdown.replace("](docs/", "](")  # the site's pages are those of docs/
    return re.sub("<!-- made: (.+) -->", lambda found: MADE[found[1]](), markdown)
