"""Runs one of wel's modules under an interpreter in which wel is not installed: `python bootstrap.py wel.backends.innvestigate.worker`.

Only the package is made known. The folder in which it lies must not come onto the path: it may be the caller's site-packages, which are
for another Python.
"""

import os
import runpy
import sys
from importlib.util import module_from_spec, spec_from_file_location

BACKENDS = os.path.dirname(os.path.abspath(__file__))
WEL = os.path.dirname(BACKENDS)


def main() -> None:
    """Makes the package known and runs the module that the command line names."""
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != BACKENDS]
    spec = spec_from_file_location("wel", os.path.join(WEL, "__init__.py"), submodule_search_locations=[WEL])
    sys.modules["wel"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["wel"])
    runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
