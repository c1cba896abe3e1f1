"""Preprocessing: what turns pixels into a network's inputs, named by the user or guessed from the network."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Callable, Sequence

import numpy as np

from wel.errors import WelError, invalid
from wel.images.fingerprints import Family, named_family, shaped_family
from wel.networks.graph import OPERATIONS, Node
from wel.networks.kinds import SELECTION
from wel.networks.network import Network

CAFFE_MEAN = (103.939, 116.779, 123.68)  # blue, green, red
TORCH_MEAN, TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # red, green, blue, of 0 to 1
DEFAULT = "scale:0-1"

# the modules of keras.applications (resnext: of keras-applications 1.0.8) and what their preprocess_input does
APPLICATIONS = {
    **dict.fromkeys(("resnet", "resnet50", "vgg16", "vgg19"), "caffe"),
    **dict.fromkeys(("inception_resnet_v2", "inception_v3", "mobilenet", "mobilenet_v2", "nasnet", "resnet_v2", "xception"), "tf"),
    **dict.fromkeys(("densenet", "resnext"), "torch"),
    **dict.fromkeys(("convnext", "efficientnet", "efficientnet_v2", "mobilenet_v3", "regnet", "resnet_rs"), "none"),
}
FORMS = (
    "keras-applications:NAME, torch, caffe, tf, none, scale:A-B (pixels of 0 to 255 become A to B), "
    "or mean-std:M1,M2,M3:S1,S2,S3 (red, green, blue or one number each, in units of pixels of 0 to 255)"
)
NUMBER = r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)"

# layers that may come before a network's first own one: they change values, or they do not
CHANGING = ("Rescaling", "Normalization", "Lambda", SELECTION, *OPERATIONS)
PASSING = (
    "CenterCrop Concatenate Dropout GaussianDropout GaussianNoise Identity Permute RandomBrightness RandomContrast RandomCrop RandomFlip "
    "RandomHeight RandomRotation RandomTranslation RandomWidth RandomZoom Reshape Resizing SpatialDropout2D"
).split()
WIDEST = 300.0  # of what goes into a network's own layers: 255 for pixels as they are, 275 with a mean for each colour taken off


@dataclass(frozen=True)
class Preprocessing:
    """What turns pixels into inputs: ((pixels, channels reversed or not) / divisor − mean) / std, in float32.

    Attributes:
        spec: the text that `parse_preprocessing` makes it from.
        formula: what it does, in words.
        guess: from what it was guessed and how sure that is, one sentence; None when it was given or is known.
        reverse: whether red, green, blue become blue, green, red.
        divisor: of the pixels.
        mean: for all channels or one each, in units of pixels / divisor, in the order of the inputs.
        std: likewise.
    """

    spec: str
    formula: str
    guess: str | None = None
    reverse: bool = False
    divisor: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @property
    def channels(self) -> int | None:
        """How many channels it needs, None when it takes any number."""
        return 3 if self.reverse or len(self.mean) > 1 or len(self.std) > 1 else None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels from 0 to 255 (n, height, width, channels; red first) as inputs, float32.

        Raises:
            WelError: when it is for three channels and there are others.
        """
        if self.channels and (np.ndim(pixels) < 2 or pixels.shape[-1] != self.channels):
            message = f"Invalid value for `preprocess`: '{self.spec}' for pixels of shape {np.shape(pixels)[1:]}."
            raise WelError(f"{message} Expected pixels with {self.channels} channels, or {DEFAULT} or tf.")
        inputs = np.array(pixels[..., ::-1] if self.reverse else pixels, dtype="float32", order="C")
        inputs /= np.float32(self.divisor)
        inputs -= np.asarray(self.mean, "float32")
        inputs /= np.asarray(self.std, "float32")
        return inputs


def parse_preprocessing(spec: str) -> Preprocessing:
    """The preprocessing that a text names.

    - `none`: pixels of 0 to 255 as they are. `scale:A-B`: these become A to B; `0-1` is short for `scale:0-1`.
    - `tf`: / 127.5 − 1. `torch`: / 255, minus ImageNet's mean, divided by its standard deviation. `caffe`: blue, green, red
      minus ImageNet's mean.
    - `keras-applications:NAME`: what `keras.applications.NAME.preprocess_input` does.
    - `mean-std:M1,M2,M3:S1,S2,S3`: (pixels − M) / S for red, green, blue, or one number for all; in units of pixels of 0 to 255.

    Raises:
        WelError: for anything else; the message lists what is possible.
    """
    text = str(spec).strip()
    kind, _, rest = text.partition(":")
    if kind in KINDS:
        return KINDS[kind](text, rest)
    if text not in PREPROCESSINGS:
        raise invalid("preprocess", text, FORMS)
    return PREPROCESSINGS[text]


def _made(spec: str, reverse: bool = False, divisor: float = 1.0, mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,)):
    steps = [f"divided by {divisor:.7g}"] if divisor != 1 else []
    if any(mean):
        steps.append(f"plus {-mean[0]:.7g}" if len(mean) == 1 and mean[0] < 0 else f"minus {_listed(mean)}")
    if set(std) != {1.0}:
        steps.append(f"divided by {_listed(std)}")
    formula = f"{'BGR' if reverse else 'pixels of 0 to 255'} {', '.join(steps) or 'as they are'}"
    return Preprocessing(spec, formula, None, reverse, divisor, tuple(mean), tuple(std))


def _listed(numbers: Sequence[float]) -> str:
    words = ", ".join(f"{number:.7g}" for number in numbers)
    return words if len(numbers) == 1 else f"({words})"


def _application(spec: str, name: str) -> Preprocessing:
    plain = {module.replace("_", ""): mode for module, mode in APPLICATIONS.items()}
    mode = plain.get(re.sub("[_-]", "", name.lower()))
    if mode is None:
        raise invalid("preprocess", spec, f"keras-applications: with one of {', '.join(sorted(APPLICATIONS))}")
    return replace(PREPROCESSINGS[mode], spec=spec)


def _scale(spec: str, range_: str) -> Preprocessing:
    found = re.fullmatch(f"{NUMBER}-{NUMBER}", range_)
    low, high = map(float, found.groups()) if found else (0.0, 0.0)
    if low >= high or not math.isfinite(high - low):
        raise invalid("preprocess", spec, "scale:A-B with A less than B, such as scale:0-1 or scale:-1-1")
    return _made(spec, divisor=255 / (high - low), mean=(0.0 - low,))


def _mean_std(spec: str, numbers: str) -> Preprocessing:
    expected = "mean-std:M1,M2,M3:S1,S2,S3 or mean-std:M:S, in units of pixels of 0 to 255, S above 0"
    mean, _, std = (_numbers(part) for part in numbers.partition(":"))
    if any(len(part) not in (1, 3) for part in (mean, std)) or min(std) <= 0:
        raise invalid("preprocess", spec, expected)
    if 0 < max(map(abs, mean)) <= 1 and max(std) < 1:
        raise invalid("preprocess", spec, f"{expected}; these look like units of 0 to 1 (× 255; ImageNet's own are `torch`)")
    return _made(spec, mean=mean, std=std)


def _numbers(text: str) -> tuple[float, ...]:
    parts = [part.strip() for part in text.split(",")]
    return tuple(map(float, parts)) if all(re.fullmatch(NUMBER, part) for part in parts) else ()


KINDS: dict[str, Callable[[str, str], Preprocessing]] = {"keras-applications": _application, "scale": _scale, "mean-std": _mean_std}
PREPROCESSINGS: dict[str, Preprocessing] = {
    "none": _made("none"),
    "0-1": _made("0-1", divisor=255.0),
    "tf": _made("tf", divisor=127.5, mean=(1.0,)),
    "torch": _made("torch", divisor=255.0, mean=TORCH_MEAN, std=TORCH_STD),
    "caffe": _made("caffe", reverse=True, mean=CAFFE_MEAN),
}


def guess_preprocessing(net: Network) -> Preprocessing:
    """The preprocessing of a network: known for the zoo's, else guessed, from what says most down to what says least.

    1. Rescaling, Normalization or arithmetic at the model's start: it does it itself.
    2. The statistics of a BatchNormalization on the input.
    3. Layer names, then kernel shapes, of a known architecture, also inside a model of the user's.
    4. Nothing: pixels from 0 to 1.
    """
    if net.architecture:
        return parse_preprocessing(net.architecture.preprocessing)
    leading = _leading(net)
    for guessed in (_from_own_rescaling, _from_statistics, _from_family):
        found = guessed(net, leading)
        if found and (parse_preprocessing(found[0]).channels or net.input_shape[-1]) == net.input_shape[-1]:
            return replace(parse_preprocessing(found[0]), guess=found[1])
    return replace(parse_preprocessing(DEFAULT), guess=_default_words(net, leading))


def _leading(net: Network) -> list[Node]:
    """The nodes at the input that at most rescale it."""
    current, found, through = net.graph.input, [], net.graph.bottlenecks()
    for node in net.graph.nodes[1:]:
        if set(node.inputs) != {current} or node.kind not in (*CHANGING, *PASSING) or node.name not in through:
            break
        found.append(node)
        current = node.name
    return found


def _from_own_rescaling(net: Network, leading: list[Node]) -> tuple[str, str] | None:
    # the layer graph has layers in the place of operators, with their names
    changing = [node.layer.name if node.layer.name.startswith("tf.") else node.kind for node in leading if node.kind in CHANGING]
    if not changing:
        return None
    black, white = (_through(leading, np.full((1, *net.input_shape), value, "float32")) for value in (0, 255))
    reached = np.concatenate([black.ravel(), white.ravel()])
    if not np.isfinite(reached).all() or (not black.any() and (white == 255).all()):
        return None
    low, high = reached.min(), reached.max()
    words = f"The model itself begins with {', '.join(changing)}, which makes {low:.3g} to {high:.3g} of pixels of 0 to 255"
    # one that takes off 1 at most and leaves the range wide was made for 0 to 1
    if high - low <= WIDEST and not (high - low > 128 and np.abs(black).max() <= 1):
        return "none", f"{words}: nearly certain."
    if high - low <= 255 * WIDEST:
        return DEFAULT, f"{words}, so that inputs of 0 to 1 are likely."
    return None


def _through(nodes: Sequence[Node], value: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    tensor = tf.constant(value)
    for node in nodes:
        tensor = node.apply([tensor] * len(node.inputs))
    return np.asarray(tensor, "float64")


def _normalized(net: Network, leading: list[Node]) -> Node | None:
    """The BatchNormalization that the input goes into, if there is one."""
    following = net.graph.nodes[len(leading) + 1 : len(leading) + 2]
    return following[0] if following and following[0].kind == "BatchNormalization" else None


def _from_statistics(net: Network, leading: list[Node]) -> tuple[str, str] | None:
    node = _normalized(net, leading)
    if node is None:
        return None
    mean = float(np.mean(node.layer.moving_mean))
    std = float(np.sqrt(np.mean(node.layer.moving_variance)))
    words = f"The input goes into a BatchNormalization that has seen a mean of {mean:.3g} and a standard deviation of {std:.3g}"
    if 10 <= mean <= 245 and 10 <= std <= 130:
        return "none", f"{words}: pixels of 0 to 255, nearly certain."
    if 0.03 <= mean <= 0.97 and 0.03 <= std <= 0.4:
        return DEFAULT, f"{words}: 0 to 1 is likely."
    if -0.97 <= mean < 0.5 and 0.1 <= std < 0.95:
        return "tf", f"{words}: −1 to 1 is plausible."
    return None


def _from_family(net: Network, leading: list[Node]) -> tuple[str, str] | None:
    named, shaped = named_family(net.graph), shaped_family(net.graph)
    if named:
        return named.spec, f"Its layers are named as in {named.name}{_how_likely(net, named)}"
    if shaped:
        return shaped.spec, (
            f"Its first convolutions have the shapes of {shaped.name}, under other names: plausible at best, for other libraries "
            f"trained the same architecture on other inputs, and it may have been trained anew."
        )
    return None


def _how_likely(net: Network, family: Family) -> str:
    kernels = [node.layer for node in net.graph.nodes if node.kind.endswith("Conv2D")]
    if any(not layer.trainable for layer in kernels):
        return ", and they are frozen, as when published weights are kept: very likely."
    if net.output_shape[-1] == 1000:
        return ", with 1000 classes, as ImageNet has: very likely."
    return ": likely, if it started from published weights; trained from scratch, it may have seen other inputs, such as 0 to 1."


def _default_words(net: Network, leading: list[Node]) -> str:
    if _normalized(net, leading):
        known = "The input goes into a BatchNormalization, whose statistics tell nothing"
    else:
        known = "Nothing in the model says what its inputs were"
    return f"{known}: 0 to 1 is a mere default, so look at the predictions."
