"""Builders of the zoo's networks: (input_shape, classes) -> Keras model with logits as output."""

from __future__ import annotations

from wel.keras.two import keras2


def build_cifar10(input_shape: tuple[int, int, int] = (32, 32, 3), classes: int = 10):
    """The CIFAR-10 network of Sixt et al. 2020, appendix D: four 3×3 convolutions, two dense layers, separate ReLUs."""
    layers = keras2().layers

    def conv(name, channels):
        return layers.Conv2D(channels, 3, padding="same", kernel_initializer="he_uniform", name=name)

    return keras2().Sequential(
        [
            layers.Input(input_shape, name="input"),
            conv("conv1", 32),
            layers.ReLU(name="relu1"),
            conv("conv2", 64),
            layers.ReLU(name="relu2"),
            layers.MaxPooling2D(name="pool2"),
            conv("conv3", 128),
            layers.ReLU(name="relu3"),
            conv("conv4", 128),
            layers.ReLU(name="relu4"),
            layers.MaxPooling2D(name="pool4"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.5, name="dropout5"),
            layers.Dense(1024, kernel_initializer="he_uniform", name="fc5"),
            layers.ReLU(name="relu5"),
            layers.Dropout(0.5, name="dropout6"),
            layers.Dense(classes, name="fc6"),
        ],
        name="cifar10",
    )


def build_resnet20(input_shape: tuple[int, int, int] = (32, 32, 3), classes: int = 10):
    """The 20-layer residual network of He et al. 2016, section 4.2 (n = 3; 16, 32 and 64 channels).

    BatchNormalization follows each convolution. Where the shape changes the shortcut is a 1×1 convolution with
    stride 2 and BatchNormalization (the paper's option B), else it is the identity. Stages are numbered 2, 3 and 4;
    `block3_1` is the output of the ReLU after the first residual sum of stage 3. The zoo's start layers for it follow
    those that Sixt et al. 2020 took for ResNet-50: the logits, the first block of the last stage, one block of each earlier one.
    """
    layers = keras2().layers

    image = layers.Input(input_shape, name="input")
    x = layers.ReLU(name="relu_conv1")(_conv_bn(image, "conv1", 16, 3))
    for stage, channels in ((2, 16), (3, 32), (4, 64)):
        for block in (1, 2, 3):
            x = _basic_block(x, stage, block, channels)
    x = layers.GlobalAveragePooling2D(name="avgpool")(x)
    logits = layers.Dense(classes, kernel_initializer="he_normal", name="dense")(x)
    return keras2().Model(image, logits, name="resnet20")


def _basic_block(x, stage: int, block: int, channels: int):
    layers = keras2().layers

    stride = 2 if stage > 2 and block == 1 else 1
    name = f"conv{stage}_{block}"
    main = layers.ReLU(name=f"relu_{name}a")(_conv_bn(x, f"{name}a", channels, 3, stride))
    main = _conv_bn(main, f"{name}b", channels, 3)
    shortcut = _conv_bn(x, f"conv{stage}_skip", channels, 1, stride) if stride == 2 else x
    return layers.ReLU(name=f"block{stage}_{block}")(layers.Add(name=f"add{stage}_{block}")([main, shortcut]))


def _conv_bn(x, name: str, channels: int, size: int, stride: int = 1):
    layers = keras2().layers

    conv = layers.Conv2D(channels, size, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)
    return layers.BatchNormalization(name=f"bn_{name}")(conv(x))


def build_vgg16(input_shape: tuple[int, int, int] = (224, 224, 3), classes: int = 1000):
    """VGG-16 (Simonyan and Zisserman 2015, configuration D) with the layer names of keras-applications; ReLUs inside the layers."""
    layers = keras2().layers

    image = x = layers.Input(input_shape, name="input")
    for block, (channels, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for number in range(1, depth + 1):
            x = layers.Conv2D(channels, 3, padding="same", activation="relu", name=f"block{block}_conv{number}")(x)
        x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(4096, activation="relu", name=name)(x)
    return keras2().Model(image, layers.Dense(classes, name="predictions")(x), name="vgg16")


RESNET50_BLOCKS = {2: 3, 3: 4, 4: 6, 5: 3}


def build_resnet50(input_shape: tuple[int, int, int] = (224, 224, 3), classes: int = 1000):
    """ResNet-50 (He et al. 2016) as keras-applications 1.0.8 builds it, with its layer names.

    BatchNormalization has ε = 1e-3, the stride is in the first 1×1 convolution of a block, and the residual sum takes the
    main branch first. Names that the original left to Keras are those of a fresh session: `activation_1`, `add_1`, ….
    """
    layers = keras2().layers

    image = layers.Input(input_shape, name="input")
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Conv2D(64, 7, strides=2, kernel_initializer="he_normal", name="conv1")(x)
    x = layers.Activation("relu", name="activation_1")(_normalised(x, "bn_conv1"))
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="max_pooling2d_1")(x)
    for number, (stage, block) in enumerate(resnet50_blocks(), start=1):
        x = _bottleneck(x, stage, block, number)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras2().Model(image, layers.Dense(classes, name="fc1000")(x), name="resnet50")


def resnet50_blocks() -> list[tuple[int, str]]:
    """Stage and letter of each of the 16 residual blocks of ResNet-50, from input to output: (2, "a") … (5, "c")."""
    return [(stage, "abcdef"[i]) for stage, blocks in RESNET50_BLOCKS.items() for i in range(blocks)]


def _bottleneck(x, stage: int, block: str, number: int):
    """The residual block `number` (from 1 on); its ReLUs are activation_3n-1, activation_3n and, after the sum, activation_3n+1."""
    layers = keras2().layers

    def conv(tensor, branch, channels, size=1, stride=1):
        name = f"{stage}{block}_branch{branch}"
        padding = "same" if size > 1 else "valid"
        layer = layers.Conv2D(channels, size, stride, padding, kernel_initializer="he_normal", name=f"res{name}")
        return _normalised(layer(tensor), f"bn{name}")

    def relu(tensor, offset):
        return layers.Activation("relu", name=f"activation_{3 * number + offset}")(tensor)

    channels = 64 * 2 ** (stage - 2)
    stride = 2 if block == "a" and stage > 2 else 1
    main = relu(conv(x, "2a", channels, stride=stride), -1)
    main = relu(conv(main, "2b", channels, size=3), 0)
    main = conv(main, "2c", 4 * channels)
    shortcut = conv(x, "1", 4 * channels, stride=stride) if block == "a" else x
    return relu(layers.Add(name=f"add_{number}")([main, shortcut]), 1)


def _normalised(x, name: str):
    layers = keras2().layers

    return layers.BatchNormalization(epsilon=1e-3, name=name)(x)
