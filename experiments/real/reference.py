"""Predictions by the runtime that a file with weights is for; run under an interpreter that has it:

python reference.py onnx|torch MODEL INPUTS.npy PREDICTIONS.npz LOGITS

LOGITS names the value of an ONNX graph that the predictions are the softmax of.
"""

from __future__ import annotations

import sys

import numpy as np

GRAPH, OUTPUT, NAME = 7, 12, 1  # fields of a model, a graph and a value


def by_onnx(model: str, inputs: np.ndarray, logits: str) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and logits of ONNX Runtime, one picture at a time."""
    import onnxruntime

    with open(model, "rb") as file:
        # a message that is appended to another is merged into it: the graph gets a second output
        session = onnxruntime.InferenceSession(file.read() + _field(GRAPH, _field(OUTPUT, _field(NAME, logits.encode()))))
    name = session.get_inputs()[0].name
    predictions, values = zip(*(session.run(None, {name: picture[None]}) for picture in inputs))
    return np.concatenate(predictions), np.concatenate(values)


def by_torch(model: str, inputs: np.ndarray, logits: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits of PyTorch's EfficientNet-Lite0, which are its predictions too."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(model))
    with torch.no_grad():
        found = network(torch.from_numpy(inputs.transpose(0, 3, 1, 2).copy())).numpy()
    return found, found


def _field(number: int, content: bytes) -> bytes:
    assert number < 16 and len(content) < 128  # so that each takes one byte
    return bytes([number << 3 | 2, len(content)]) + content


if __name__ == "__main__":
    runtime, model, inputs, out, logits = sys.argv[1:]
    predictions, values = {"onnx": by_onnx, "torch": by_torch}[runtime](model, np.load(inputs), logits)
    np.savez(out, predictions=predictions, logits=values)
