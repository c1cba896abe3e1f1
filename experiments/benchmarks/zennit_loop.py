"""zennit 0.5.1 on torch 2.13: relevance of V vectors at the logits of a network with random weights, kept at all layers.

    python zennit_loop.py vgg16|resnet50 alpha1_beta0|alpha2_beta1|epsilon_plus V

Every line on standard input is one run; the answer to it is {"seconds": ...}.
"""

from __future__ import annotations

import json
import sys
import time
from types import ModuleType

import torch
from torch import nn

# zennit imports it for the classes of torchvision's networks, which are not used here; so torchvision need not be there
sys.modules["zennit.torchvision"] = ModuleType("zennit.torchvision")

from zennit.canonizers import SequentialMergeBatchNorm  # noqa: E402
from zennit.composites import EpsilonPlus, LayerMapComposite, layer_map_base  # noqa: E402
from zennit.layer import Sum  # noqa: E402
from zennit.rules import AlphaBeta  # noqa: E402
from zennit.types import Linear  # noqa: E402


class Bottleneck(nn.Module):
    """A residual block of ResNet-50."""

    def __init__(self, before: int, width: int, stride: int, projected: bool):
        super().__init__()
        after = 4 * width
        self.main = nn.Sequential(
            *_normalised(before, width, 1, stride), nn.ReLU(), *_normalised(width, width, 3), nn.ReLU(), *_normalised(width, after, 1)
        )
        self.shortcut = nn.Sequential(*_normalised(before, after, 1, stride)) if projected else nn.Identity()
        self.sum, self.relu = Sum(), nn.ReLU()

    def forward(self, x):
        return self.relu(self.sum(torch.stack([self.main(x), self.shortcut(x)], dim=-1)))


def _normalised(before: int, after: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, size, stride, size // 2), nn.BatchNorm2d(after)]


def build_resnet50() -> nn.Module:
    """ResNet-50 as `wel.networks.architectures.build_resnet50` has it: the stride in a block's first convolution."""
    layers: list[nn.Module] = [*_normalised(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for stage, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        for block in range(blocks):
            layers.append(Bottleneck(before, width, 2 if stage and not block else 1, not block))
            before = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def build_vgg16() -> nn.Module:
    """VGG-16."""
    layers: list[nn.Module] = []
    before = 3
    for channels, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU()]
            before = channels
        layers.append(nn.MaxPool2d(2))
    dense = [nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return nn.Sequential(*layers, nn.Flatten(), *dense)


def _alpha_beta(alpha: float, beta: float) -> LayerMapComposite:
    return LayerMapComposite([*layer_map_base(), (Linear, AlphaBeta(alpha, beta))], canonizers=[SequentialMergeBatchNorm()])


NETWORKS = {"vgg16": build_vgg16, "resnet50": build_resnet50}
COMPOSITES = {
    "alpha1_beta0": lambda: _alpha_beta(1, 0),
    "alpha2_beta1": lambda: _alpha_beta(2, 1),
    "epsilon_plus": lambda: EpsilonPlus(canonizers=[SequentialMergeBatchNorm()]),
}


def main(network: str, composite: str, count: str) -> None:
    """Answers runs until standard input ends."""
    torch.manual_seed(0)
    model = NETWORKS[network]().eval()
    kept: list[torch.Tensor] = []

    def keep(module, inputs, output):
        output.retain_grad()
        kept.append(output)

    leaves = [module for module in model.modules() if not list(module.children())]
    with COMPOSITES[composite]().context(model) as attributed:
        for module in leaves:
            module.register_forward_hook(keep)
        for _ in sys.stdin:
            images, vectors = torch.rand(int(count), 3, 224, 224, requires_grad=True), torch.randn(int(count), 1000)
            before = time.perf_counter()
            attributed(images).backward(vectors)
            seconds = time.perf_counter() - before
            if images.grad is None or any(output.grad is None for output in kept):
                sys.exit("zennit kept no relevance at a layer.")
            kept.clear()
            print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
