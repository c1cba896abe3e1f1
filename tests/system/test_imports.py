"""wel.system.imports: TensorFlow is silent while it is imported, and heard when that fails or when it is asked to speak."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOUD = "import os\nos.write(2, b'no GPU here')\n"
CODE = """
import sys
from wel.system.imports import quiet_tensorflow
quiet_tensorflow()
import tensorflow
print(tensorflow.__name__, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("module", "level", "heard"),
    [(LOUD, None, "tensorflow"), (LOUD, "0", "no GPU heretensorflow"), (LOUD + "raise ValueError('broken')", None, "no GPU here")],
)
def test_what_is_heard(module, level, heard, tmp_path):
    (tmp_path / "tensorflow.py").write_text(module)
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    environment.update({"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}, **({"TF_CPP_MIN_LOG_LEVEL": level} if level else {}))
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stderr.startswith(heard) and ("ValueError: broken" in done.stderr) == ("broken" in module)
