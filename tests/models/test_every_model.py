"""What holds for every file of conf/model."""

import copy
import importlib
import inspect
from pathlib import Path
from typing import get_args

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, fx, nn
from torch.func import functional_call, stack_module_state, vmap

from isthmus.models.freeze import output_layer
from isthmus.models.initialize import INITS, initialize

FOLDER = Path(__file__).parents[2] / "conf" / "model"
FILES = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
SUPPLIED = ["self", "input_shape", "num_classes"]

# input_shape, num_classes, and the number of parameters that the tests of each module source
NUM_PARAMETERS = {
    "alexnet": ((3, 224, 224), 1000, 61_101_352),
    "cnn": ((3, 32, 32), 10, 1_102_410),
    "conv2": ((3, 32, 32), 10, 4_301_642),
    "conv4": ((3, 32, 32), 10, 2_425_930),
    "conv6": ((3, 32, 32), 10, 2_262_602),
    "lenet5": ((1, 28, 28), 10, 61_706),
    "lenet_300_100": ((1, 28, 28), 10, 266_610),
    "mlp": ((1, 28, 28), 10, 785 * 64 + 65 * 64 + 65 * 10),
    "resnet101": ((3, 224, 224), 1000, 44_549_160),
    "resnet110": ((3, 32, 32), 10, 1_727_962),
    "resnet152": ((3, 224, 224), 1000, 60_192_808),
    "resnet18": ((3, 224, 224), 1000, 11_689_512),
    "resnet20": ((3, 32, 32), 10, 269_722),
    "resnet32": ((3, 32, 32), 10, 464_154),
    "resnet34": ((3, 224, 224), 1000, 21_797_672),
    "resnet44": ((3, 32, 32), 10, 658_586),
    "resnet50": ((3, 224, 224), 1000, 25_557_032),
    "resnet56": ((3, 32, 32), 10, 853_018),
    "vgg11": ((3, 32, 32), 10, 9_231_114),
    "vgg13": ((3, 32, 32), 10, 9_416_010),
    "vgg16": ((3, 32, 32), 10, 14_728_266),
    "vgg19": ((3, 32, 32), 10, 20_040_522),
}

# One small instance of each class and of each way through its forward pass
SMALL = {
    "mlp": ("mlp", (3, 4, 4), {"width": 8}),
    "lenet5": ("lenet5", (1, 12, 12), {}),
    "cnn": ("cnn", (1, 8, 8), {}),
    "conv4": ("conv4", (1, 8, 8), {}),
    "resnet_pad": ("resnet20", (3, 8, 8), {"depth": 8, "width": 4}),
    "resnet_projection": (
        "resnet20",
        (3, 7, 9),
        {"depth": 8, "width": 4, "shortcut": "projection", "norm": "layer"},
    ),
    "resnet18": ("resnet18", (3, 32, 32), {"width": 8}),
    "resnet50": ("resnet50", (3, 8, 8), {"width": 4, "stem": "cifar"}),
    "vgg11": ("vgg11", (3, 16, 16), {}),
    "alexnet": ("alexnet", (3, 63, 63), {}),
}


def read(name: str) -> tuple[type[nn.Module], dict[str, object]]:
    options = OmegaConf.to_container(OmegaConf.load(FILES[name]))
    module, _, attribute = options.pop("_target_").rpartition(".")
    assert options.pop("_partial_") is True
    assert options.pop("init", "kaiming_normal") in get_args(INITS)  # of the script's configuration
    return getattr(importlib.import_module(module), attribute), options


@pytest.fixture(params=SMALL, scope="module")
def model_and_inputs(request) -> tuple[nn.Module, Tensor]:
    name, input_shape, overrides = SMALL[request.param]
    model_class, options = read(name)
    with torch.device("meta"):
        model = model_class(input_shape, 5, **{**options, **overrides})
    model.to_empty(device="cpu")
    initialize(model, "kaiming_normal", "uniform", seed=0)
    inputs = torch.randn(4, *input_shape, generator=torch.Generator().manual_seed(0))
    return model.eval(), inputs


def test_every_file_has_a_number_of_parameters_to_check():
    assert NUM_PARAMETERS.keys() == FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_a_file_builds_the_model_with_its_number_of_parameters(name):
    input_shape, num_classes, num_parameters = NUM_PARAMETERS[name]
    model_class, options = read(name)
    with torch.device("meta"):
        model = model_class(input_shape, num_classes, **options)
    assert sum(parameter.numel() for parameter in model.parameters()) == num_parameters
    assert isinstance(model.output, nn.Linear) and output_layer(model) == "output"


@pytest.mark.parametrize("name", FILES)
def test_a_file_opens_with_a_comment_and_names_every_option(name):
    text = FILES[name].read_text()
    assert text.startswith("# ") and f".py model={name}" in text.replace("--multirun ", "")
    model_class, options = read(name)
    assert "__init__" in vars(model_class)
    parameters = inspect.signature(model_class.__init__).parameters
    assert list(parameters) == SUPPLIED + list(options)
    assert all(parameters[key].default is not inspect.Parameter.empty for key in options)


def test_a_batch_of_one_gives_the_logits_of_the_first_image(model_and_inputs):
    model, inputs = model_and_inputs
    logits = model(inputs)
    assert logits.shape == (4, 5)
    torch.testing.assert_close(model(inputs[:1]), logits[:1], atol=1e-5, rtol=1e-4)


def test_the_forward_pass_leaves_its_inputs_alone(model_and_inputs):
    model, inputs = model_and_inputs
    before = inputs.clone()
    model(inputs)
    assert inputs.equal(before)


def test_the_symbolic_trace_gives_the_same_logits(model_and_inputs):
    model, inputs = model_and_inputs
    assert fx.symbolic_trace(model)(inputs).equal(model(inputs))


def test_dynamo_captures_one_graph(model_and_inputs):
    model, inputs = model_and_inputs
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert compiled(inputs).equal(model(inputs))


def test_functional_call_and_vmap_give_each_models_logits(model_and_inputs):
    model, inputs = model_and_inputs
    twice = [model, model]
    parameters, buffers = stack_module_state(twice)
    for stacked in parameters.values():
        stacked.detach()[1].mul_(0.5)  # the second model differs
    states = {**parameters, **buffers}

    def logits(state: dict[str, Tensor]) -> Tensor:
        return functional_call(model, state, (inputs,))

    expected = [logits({name: value[k] for name, value in states.items()}) for k in range(2)]
    assert expected[0].equal(model(inputs)) and not expected[1].equal(expected[0])
    torch.testing.assert_close(vmap(logits)(states), torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_channels_last_gives_the_same_logits_and_gradients(model_and_inputs):
    model, inputs = model_and_inputs
    expected = gradients(model, inputs)
    last = copy.deepcopy(model).to(memory_format=torch.channels_last)
    images = inputs.to(memory_format=torch.channels_last)
    torch.testing.assert_close(last(images), model(inputs), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(gradients(last, images), expected, atol=1e-4, rtol=1e-3)


def test_every_parameter_gets_a_gradient(model_and_inputs):
    assert all(gradient.any() for gradient in gradients(*model_and_inputs))


def gradients(model: nn.Module, inputs: Tensor) -> list[Tensor]:
    loss = nn.functional.cross_entropy(model(inputs), torch.arange(4))
    return [*torch.autograd.grad(loss, list(model.parameters()))]


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("mlp", "lenet_300_100")])
def test_a_vector_is_no_image(name):
    model_class, options = read(name)
    with pytest.raises(ValueError, match=r"^input_shape: must be \(channels, height, width\)"):
        model_class((784,), 10, **options)


@pytest.mark.parametrize("name", FILES)
def test_a_model_needs_a_class(name):
    model_class, options = read(name)
    with pytest.raises(ValueError, match="^num_classes: must be at least 1, got 0$"):
        model_class((3, 64, 64), 0, **options)
