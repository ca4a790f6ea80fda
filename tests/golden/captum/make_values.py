"""Runs Captum on the toy networks and writes cases.json, the values the C++ tests read.

Each case is computed twice: by Captum (key "expected") and, for everything but the plain
gradients, by a short implementation of the definition (definitions.py) in double precision
(key "math"). The two must agree within the case's tolerance, except where Captum itself
is wrong; such a case says so in "captum_is_wrong" and carries our value in "right".
README.md describes the file's format.

    python toy_models.py && python make_values.py
"""

import collections
import itertools
import json
import pathlib
import warnings

import captum
import numpy as np
import onnx
import onnxruntime
import torch

from case import CASES, arange_image, both, ig, ixg, occlusion, rand, saliency
from definitions import quadrature

warnings.filterwarnings("ignore")
torch.manual_seed(0)
torch.set_num_threads(1)

HERE = pathlib.Path(__file__).resolve().parent
RULES = ["riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid", "gausslegendre"]

README_X = {"x": [[0.2961, 0.5166, 0.2517], [0.6886, 0.0740, 0.8665]]}
ML123, ML205030 = {"x": [[1.0, 2.0, 3.0]]}, {"x": [[20.0, 50.0, 30.0]]}
PAIR = {"x1": [[1.5, 2.0, 34.3], [3.4, 1.2, 2.0]], "x2": [[3.0, 3.5, 23.2], [2.3, 1.2, 0.3]]}
LARGE = {"x1": [[10.5, 12.0, 34.3], [43.4, 51.2, 32.0]], "x2": [[1.0, 3.5, 23.2], [2.3, 1.2, 0.3]]}
SMALL6 = {"x1": [[1.5, 2.0, 3.3]], "x2": [[3.0, 3.5, 2.2]]}
THREE = {
    "x1": [[23.0, 100.0, 0.0], [20.0, 50.0, 30.0]],
    "x2": [[20.0, 50.0, 30.0], [0.0, 100.0, 0.0]],
    "x3": [[0.0, 100.0, 10.0], [20.0, 10.0, 13.0]],
}
BATCH3 = {"x": [[1.5, 2.0, 1.3], [0.5, 0.1, 2.3], [1.5, 2.0, 1.3]]}
DEEP3 = {"x": [BATCH3["x"], rand(31, 3, 3)]}
SIX = {"x": [1.0, 2.0, 3.0, 0.0, -1.0, 7.0]}


def integrated_gradients_cases():
    # the network of Captum's README
    both(
        ig, "readme_toy", README_X, "readme", target=0, baselines={"x": [[0.0] * 3] * 2}, source="Captum README",
        asserted={"x": [[-0.5922, -1.5497, -1.0067], [0.0, -0.2219, -5.1991]]}, asserted_tol=1e-3,
    )
    ig("readme_toy", README_X, "readme/none", target=0)
    ig("readme_toy", README_X, "readme/t1", target=1)
    ig("readme_toy", README_X, "readme/list", target=[0, 1])

    # the inventory's table
    table = "inventory 6.3"
    both(
        ig, "basic2_scalar", {"x1": [3.0], "x2": [1.0]}, "3-1", source=table,
        asserted={"x1": [1.5], "x2": [-0.5], "delta": [0.0]}, asserted_tol=1e-3,
    )
    for rule in RULES:
        trapezoid = rule == "riemann_trapezoid"
        both(
            ig, "multilayer", ML123, f"123/n7/{rule}", target=0, n_steps=7, method=rule, source=table,
            asserted={
                "x": [[2.57143, 5.14286, 7.71429]] if trapezoid else [[3.0, 6.0, 9.0]],
                "delta": [-2.57143] if trapezoid else [0.0],
            },
        )
    both(
        ig, "multilayer", ML123, "123/baseline/no-multiply", target=1, baselines={"x": [[0.5, 1.0, -1.0]]},
        multiply_by_inputs=False, source=table, asserted={"x": [[3.0, 3.0, 3.0]]},
    )
    for n in (2, 4, 9):
        for rule in RULES:
            exact = rule == "gausslegendre" or rule in ("riemann_middle", "riemann_trapezoid")
            ig(
                "square", {"x": [[1.0, -2.0, 3.0], [0.5, 0.25, -4.0]]}, f"n{n}/{rule}", n_steps=n, method=rule,
                source="inventory 1.0" if (n, rule) == (4, "riemann_trapezoid") else "own",
                truth=(lambda x: [x * x]) if exact else None,
                truth_why="the gradient 2x is linear along the path and this rule integrates it exactly: x^2",
            )

    # Captum's own tests: test_integrated_gradients_basic
    src = "Captum test_integrated_gradients_basic"
    for model in ("basic2_scalar", "basic3_scalar"):
        zero = {"x1": [0.0], "x2": [0.0]}
        for rule, n in (("riemann_right", 201), ("riemann_left", 201), ("riemann_middle", 200), ("gausslegendre", 50)):
            both(
                ig, model, {"x1": [3.0], "x2": [1.0]}, f"multivariable/{rule}", baselines=zero, n_steps=n,
                method=rule, source=src, asserted={"x1": [1.5], "x2": [-0.5]}, asserted_tol=0.05,
            )
    ig(
        "basic2_scalar", {"x1": [3.0], "x2": [1.0]}, "multivariable/no-multiply", multiply_by_inputs=False,
        source=src, asserted={"x1": [0.5], "x2": [-0.5]}, asserted_tol=0.05, precision="float32",
    )
    for k, (x, b) in enumerate(((1.0, 0.0), (0.0, 0.0), (-1.0, 0.00001))):
        both(ig, "basic_scalar", {"x": [x]}, f"univariable/{k}", baselines={"x": [b]}, source=src)
    for rule in RULES:
        n = {"riemann_left": 101, "riemann_right": 101, "riemann_trapezoid": 102}.get(rule, 100)  # no node on a kink
        both(ig, "basic4_d4_i0", PAIR, f"multi-argument/{rule}", n_steps=n, method=rule, source=src)
        both(ig, "basic5_a3_b1_i0", PAIR, f"multi-argument/{rule}", n_steps=n, method=rule, source=src)
        both(ig, "basic6", SMALL6, f"multi-tensor/{rule}", n_steps=n, method=rule, source=src)
        both(ig, "basic_3", BATCH3, f"batched/{rule}", target=0, n_steps=n, method=rule, source=src)
        both(ig, "basic_3x3", DEEP3, f"batched-3d/{rule}", target=(0, 1), n_steps=n, method=rule, source=src)
    both(ig, "basic5_a2_b3_i1", LARGE, "multi-argument/large", source=src)

    # quadrature: rule x number of steps, on piecewise linear and on smooth networks
    for rule, n in itertools.product(RULES, (2, 5, 20, 50)):
        ig("readme_toy", {"x": rand(1, 3, 3, scale=2.0)}, f"n{n}/{rule}", target=[0, 1, 0], n_steps=n,
           method=rule, baselines={"x": rand(2, 3, 3, scale=2.0)})
    for rule, n in itertools.product(RULES, (3, 10, 50)):
        ig("tanh_net", {"x": rand(3, 3, 3)}, f"n{n}/{rule}", target=0, n_steps=n, method=rule)
    for rule in RULES:
        ig("sigmoid_net", {"x": rand(4, 2, 10)}, rule, target=2, n_steps=30, method=rule, baselines={"x": 0.25})
        ig("convnet", {"x": rand(5, 1, 1, 10, 10)}, rule, target=3, n_steps=12, method=rule,
           baselines={"x": rand(15, 1, 1, 10, 10, scale=0.5)})
    for n in (1, 2, 3, 100, 500):
        ig("tanh_net", {"x": rand(3, 3, 3)}, f"gl-n{n}", target=1, n_steps=n)
    cubic = {"a": [[1.0, -2.0]], "b": [[3.0, 0.5]], "c": [[4.0, -1.0]]}
    ig(
        "cubic", cubic, "closed-form", target=0, n_steps=2,
        truth=lambda a, b, c: [t * torch.tensor([[1.0, 0.0]]) for t in (2 / 3 * a * a * b, a * a * b / 3, c)],
        truth_why="a^2 b + c from 0: the integrals of 2 a b t^2 * a, a^2 t^2 * b and 1 * c over t in [0, 1]",
    )

    # baselines
    x = {"x": rand(6, 3, 3)}
    for tag, b in (
        ("none", None), ("scalar", 0.5), ("negative-scalar", -1.25), ("tensor", rand(7, 3, 3)), ("row", rand(8, 1, 3)),
    ):
        base = None if b is None else {"x": b}
        ig("tanh_net", x, f"baseline-{tag}", target=1, baselines=base)
        ig("softmax_net", {"x": rand(9, 2, 40)}, f"baseline-{tag}", target=4, n_steps=20,
           baselines=None if b is None else {"x": b if isinstance(b, float) else rand(10, 2 if tag == "tensor" else 1, 40)})
        ig("tanh_net", x, f"baseline-{tag}/no-multiply", target=0, baselines=base, multiply_by_inputs=False)
    for tag, b in (
        ("none", None), ("scalars", {"x1": 1.0, "x2": -2.0, "x3": 0.5}), ("first-only", {"x1": 3.5}),
        ("mixed", {"x1": [[1.0, 2.0, 3.0]], "x2": 4.0, "x3": [[5.5, -6.0, 7.0], [0.25, -1.0, 2.0]]}),
    ):
        for mbi in (True, False):
            ig("multilayer_multi_input", THREE, f"baseline-{tag}" + ("" if mbi else "/no-multiply"), target=0,
               baselines=b, multiply_by_inputs=mbi)
    ig("multilayer_multi_input_scale3", THREE, "scale3", target=1, baselines={"x2": 1.5})
    ig("multilayer_true_multi_input", THREE, "true", target=[0, 1], baselines={"x3": [[1.0, 2.0, 4.0]]})

    # targets
    x = {"x": rand(11, 3, 3, scale=4.0)}
    for tag, target in (
        ("tuple", (1, 0, 1)), ("tuple2", (0, 1, 1)), ("list-of-tuples", [(0, 0, 1), (1, 1, 1), (1, 0, 0)]),
    ):
        ig("multilayer_multidim", x, f"target-{tag}", target=target)
        ig("multilayer_multidim", x, f"target-{tag}/no-multiply", target=target, multiply_by_inputs=False)
    ig("softmax_net", {"x": rand(9, 4, 40)}, "target-list", target=[0, 9, 3, 3], n_steps=20)
    both(ig, "softmax_net", {"x": [(np.arange(40.0) / 32).tolist()]}, "arange", target=5, n_steps=25)

    # chunks: the same numbers whatever the size of the internal batch
    for size in (1, 2, 3, 7, 64):
        ig("tanh_net", {"x": rand(12, 3, 3)}, f"internal-batch-{size}", target=1, n_steps=20, internal_batch_size=size)
    for rule in RULES:
        ig("multilayer_multi_input", THREE, f"internal-batch/{rule}", target=1, n_steps=11, method=rule,
           internal_batch_size=4)

    # DeepLift's toy networks, and an extra input that is not attributed
    ig("relu_linear", {"x1": [[-10.0, 1.0, -5.0]], "x2": [[3.0, 3.0, 1.0]]}, "toy",
       asserted={"x1": [[0.0, 0.0, 0.0]], "x2": [[6.0, 9.0, 0.0]]})
    ig("relu_deeplift", {"x1": [1.0], "x2": [2.0]}, "toy", baselines={"x1": 0.0, "x2": 0.0})
    ig("tanh_deeplift", {"x1": [-1.0], "x2": [-2.0]}, "toy")
    ig("multilayer_add", {"x": [[1.0, 2.0, 3.0], [4.0, -5.0, 6.0]]}, "fixed-input", target=0,
       fixed={"add": [[10.0, 0.0, -3.0], [0.5, 1.0, 2.0]]})
    ig("convnet_one_conv", {"x": arange_image(1)}, "image", target=0, n_steps=20)
    ig("convnet_one_conv_two", {"x": arange_image(), "x2": arange_image(3)}, "two-images", target=2, baselines={"x": 1.0})


def layer_integrated_gradients_cases():
    both(
        ig, "multilayer", {"x": [[4.0, 5.0, 6.0]]}, "linear1/456", target=0, layer="linear1", source="inventory 6.3",
        asserted={"linear1": [[5.20431, 15.0, 15.0, 15.0]], "delta": [0.204315]}, asserted_tol=1e-4,
    )
    both(
        ig, "multilayer_two_branches", {"x": [[0.0, 100.0, 0.0]]}, "multi-relu", target=0,
        layer=["relu_a", "relu_b"], modules=["multi_relu"], source="Captum test_layer_integrated_gradients",
        asserted={"relu_a": [[90.0, 100.0, 100.0, 100.0]], "relu_b": [[90.0, 100.0, 100.0, 100.0]]},
    )
    joint = {"x": [[4.0, 5.0, 6.0], [1.0, -2.0, 30.0]]}
    ig("multilayer_two_branches", joint, "joint", target=1, layer=["linear1", "linear1_alt"], n_steps=40,
       baselines={"x": [[0.5, 0.25, -1.0]]})
    ig("multilayer_two_branches", joint, "joint/no-multiply", target=1, layer=["linear1", "linear1_alt"], n_steps=40,
       multiply_by_inputs=False)
    for layer in ("linear0", "linear1", "relu", "linear2"):
        ig("multilayer", joint, f"{layer}/scalar", target=[0, 1], layer=layer, baselines={"x": -0.5})
    ig("multilayer", joint, "linear1/layer-input", target=0, layer="linear1", modules=["relu"], layer_input=True)
    for rule in RULES:
        ig("readme_toy", README_X, f"linear1/{rule}", target=0, layer="linear1", method=rule, n_steps=23)
        ig("tanh_net", {"x": rand(13, 2, 3)}, f"lin1/{rule}", target=1, layer="lin1", method=rule, n_steps=9)
    ig("readme_toy", README_X, "relu", target=1, layer="relu", baselines={"x": rand(14, 1, 3)})
    ig("tanh_net", {"x": rand(13, 2, 3)}, "act1/no-multiply", target=1, layer="act1", multiply_by_inputs=False)
    ig("softmax_net", {"x": rand(9, 2, 40)}, "act1", target=4, layer="act1", n_steps=20)
    ig("softmax_net", {"x": rand(9, 2, 40)}, "lin2/internal-batch", target=[4, 0], layer="lin2", n_steps=20,
       internal_batch_size=6)
    ig("convnet_one_conv", {"x": arange_image(1)}, "conv1", target=0, layer="conv1", n_steps=30)
    ig("convnet_one_conv", {"x": arange_image(1)}, "fc1", target=0, layer="fc1", n_steps=30)
    ig("convnet", {"x": rand(5, 2, 1, 10, 10)}, "pool1", target=3, layer="pool1", n_steps=15, baselines={"x": 0.5})
    ig("convnet", {"x": rand(5, 2, 1, 10, 10)}, "conv2", target=[3, 7], layer="conv2", n_steps=15)
    ids = {"ids": [[1, 5, 9, 2], [0, 3, 3, 7]]}
    ig("embedding", ids, "tokens/none", target=0, layer="embedding", n_steps=20)
    ig("embedding", ids, "tokens/pad", target=2, layer="embedding", n_steps=20, baselines={"ids": [[0, 0, 0, 0]]})
    ig("embedding", ids, "tokens/full", target=[1, 2], layer="embedding", n_steps=20,
       baselines={"ids": [[1, 0, 0, 2], [4, 4, 4, 4]]})
    ig("embedding", ids, "tokens/no-multiply", target=1, layer="embedding", n_steps=20, multiply_by_inputs=False)
    ig("embedding", ids, "tokens/right", target=1, layer="embedding", n_steps=10, method="riemann_right")
    ig("embedding", ids, "tokens/trapezoid", target=1, layer="embedding", n_steps=10, method="riemann_trapezoid")
    ig("embedding", ids, "tokens/internal-batch", target=0, layer="embedding", n_steps=20, internal_batch_size=5)
    ig("embedding", ids, "tokens/linear1", target=0, layer="linear1", n_steps=20)


def gradient_cases():
    for function, name in ((saliency, "saliency"), (ixg, "input_x_gradient")):
        src = f"Captum test_{name}"
        signs = ({"abs": True}, {"abs": False}) if function is saliency else ({},)
        for sign in signs:
            end = {True: "/abs", False: "/signed"}.get(sign.get("abs"), "")
            grads = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0] if sign else [0.0, 0.0, 0.0, 0.0, -1.0, 0.0]
            both(function, "basic_scalar", SIX, "basic" + end, source=src, asserted={"x": grads}, **sign)
            for tag, pair in (("small", PAIR), ("large", LARGE)):
                both(function, "basic5_a2_b3_i1", pair, tag + end, source=src, **sign)
            function("basic5_a3_b1_i0", PAIR, "small" + end, **sign)
            function("basic4_d4_i0", PAIR, "small" + end, **sign)
            function("basic6", {"x1": rand(40, 3, 3), "x2": rand(41, 3, 3)}, "batch" + end, **sign)
            both(function, "softmax_net", {"x": [(np.arange(40.0) / 32).tolist()]}, "arange" + end, target=5, source=src, **sign)
            function("softmax_net", {"x": rand(9, 4, 40)}, "target-list" + end, target=[0, 9, 3, 3], **sign)
            function("sigmoid_net", {"x": rand(4, 2, 10)}, "t1" + end, target=1, **sign)
            function("readme_toy", README_X, "t0" + end, target=0, **sign)
            function("readme_toy", {"x": rand(1, 4, 3)}, "target-list" + end, target=[1, 0, 1, 0], **sign)
            function("tanh_net", {"x": rand(3, 3, 3)}, "t1" + end, target=1, **sign)
            deep = {"x": rand(11, 3, 3, scale=4.0)}
            for tag, target in (("tuple", (1, 0, 1)), ("list-of-tuples", [(0, 0, 1), (1, 1, 1), (1, 0, 0)])):
                function("multilayer_multidim", deep, f"target-{tag}" + end, target=target, **sign)
            function("multilayer_multi_input", THREE, "t0" + end, target=0, **sign)
            function("multilayer_true_multi_input", THREE, "target-list" + end, target=[0, 1], **sign)
            function("multilayer_add", {"x": [[1.0, 2.0, 3.0]]}, "fixed-input" + end, target=0,
                     fixed={"add": [[10.0, 0.0, -3.0]]}, **sign)
            function("convnet_one_conv", {"x": arange_image(1)}, "image" + end, target=0, **sign)
            function("convnet", {"x": rand(5, 2, 1, 10, 10)}, "image" + end, target=[3, 7], **sign)
            function("relu_linear", {"x1": [[-10.0, 1.0, -5.0]], "x2": [[3.0, 3.0, 1.0]]}, "toy" + end, **sign)
            function("tanh_deeplift", {"x1": [-1.0, 0.3], "x2": [-2.0, 1.7]}, "toy" + end, **sign)
    both(saliency, "multilayer", ML205030, "t1/signed", target=1, abs=False, source="inventory 6.3",
         asserted={"x": [[4.0, 4.0, 4.0]]})
    both(ixg, "multilayer", ML205030, "t1", target=1, source="inventory 6.3", asserted={"x": [[80.0, 200.0, 120.0]]})


def occlusion_cases():
    table, src = "inventory 6.3", "Captum test_occlusion"
    both(
        occlusion, "convnet_one_conv", {"x": arange_image(1)}, "2x2-stride-2-1", target=0,
        sliding_window_shapes=(1, 2, 2), strides=(1, 2, 1), source=table,
        asserted={"x": [[[[12.0, 14.5, 17.0, 17.0]] * 2 + [[39.0, 53.0, 60.0, 53.0]] * 2]]},
    )
    both(
        occlusion, "weighted_sum", {"x": [[1.0] * 5]}, "cut-off", sliding_window_shapes=(2,), strides=2, source=table,
        asserted={"x": [[3.0, 3.0, 7.0, 7.0, 5.0]]},
    )
    both(occlusion, "multilayer", ML205030, "simple", target=0, sliding_window_shapes=(1,), source=src,
         asserted={"x": [[80.0, 200.0, 120.0]]})
    both(occlusion, "multilayer", ML205030, "window2-baseline10", target=0, sliding_window_shapes=(2,),
         baselines={"x": [[10.0] * 3]}, source=src, asserted={"x": [[200.0, 220.0, 240.0]]})
    both(occlusion, "multilayer", {"x": [[2.0, 10.0, 3.0], [20.0, 50.0, 30.0]]}, "multi-sample", target=0,
         sliding_window_shapes=(1,), source=src, asserted={"x": [[8.0, 35.0, 12.0], [80.0, 200.0, 120.0]]})
    both(
        occlusion, "basic3_1", {"x1": [[-10.0], [3.0]], "x2": [[-5.0], [1.0]]}, "simple-multi-input",
        sliding_window_shapes=((1,), (1,)), source=src, asserted={"x1": [[0.0], [1.0]], "x2": [[0.0], [-1.0]]},
    )
    both(
        occlusion, "multilayer_multi_input", THREE, "three", target=0, sliding_window_shapes=((1,),) * 3, source=src,
        asserted={
            "x1": [[92.0, 400.0, 0.0], [80.0, 200.0, 120.0]],
            "x2": [[80.0, 200.0, 120.0], [0.0, 400.0, 0.0]],
            "x3": [[0.0, 400.0, 40.0], [80.0, 40.0, 52.0]],
        },
    )
    both(
        occlusion, "multilayer_multi_input", THREE, "three/mixed-windows", target=0,
        sliding_window_shapes=((2,), (1,), (3,)), strides=(2, 1, (3,)), source=src,
    )
    both(
        occlusion, "multilayer_multi_input_scale3", THREE, "three/scale-baselines", target=1,
        sliding_window_shapes=((2,), (2,), (1,)), baselines={"x1": 2.0, "x2": [[1.0, -2.0, 3.0]]}, source=src,
    )
    image = {"x": arange_image()}
    for tag, window, strides in (
        ("1x1", (1, 1, 1), None), ("2x2", (1, 2, 2), None), ("3x3", (1, 3, 3), None), ("4x4", (1, 4, 4), None),
        ("3x3-stride3", (1, 3, 3), (1, 3, 3)), ("3x2-stride2-1", (1, 3, 2), (1, 2, 1)), ("4x1", (1, 4, 1), None),
        ("2x3-int-stride", (1, 2, 3), 1), ("3x3-stride2", (1, 3, 3), (1, 2, 2)),
    ):
        both(occlusion, "convnet_one_conv", image, tag, target=0, sliding_window_shapes=window, strides=strides, source=src)
    two = {"x": arange_image(), "x2": np.ones((1, 1, 4, 4)).tolist()}
    both(occlusion, "convnet_one_conv_two", two, "2x2-and-1x2", target=0,
         sliding_window_shapes=((1, 2, 2), (1, 1, 2)), source=src)
    both(occlusion, "convnet_one_conv_two", two, "strides", target=0, sliding_window_shapes=((1, 3, 3), (1, 4, 2)),
         strides=((1, 2, 3), (1, 1, 2)), baselines={"x2": 5.0}, source=src)
    both(occlusion, "multilayer_multi_input", THREE, "three/per-evaluation-4", target=[1, 0],
         sliding_window_shapes=((2,), (1,), (3,)), perturbations_per_eval=4, source=src)
    both(occlusion, "convnet_one_conv", {"x": arange_image(batch=2)}, "per-evaluation-4", target=[0, 3],
         sliding_window_shapes=(1, 2, 2), perturbations_per_eval=4, source=src)
    five = {"x": rand(50, 3, 5)}
    for window, stride in ((1, 1), (2, 1), (3, 1), (3, 2), (3, 3), (4, 3), (5, 1), (5, 5), (4, 4)):
        occlusion("weighted_sum", five, f"window{window}-stride{stride}", sliding_window_shapes=(window,), strides=stride,
                  baselines={"x": 0.125 * window})
    occlusion("weighted_sum", five, "baseline-tensor", sliding_window_shapes=(2,), baselines={"x": rand(51, 3, 5)})
    occlusion("weighted_sum", five, "baseline-row", sliding_window_shapes=(2,), baselines={"x": rand(52, 1, 5)})
    for target in (3, [3, 7]):
        for window, stride in (((1, 3, 3), (1, 3, 3)), ((1, 4, 2), (1, 3, 2))):
            tag = f"{'list' if isinstance(target, list) else 'int'}-{window[1]}x{window[2]}"
            occlusion("convnet", {"x": rand(5, 2, 1, 10, 10)}, tag, target=target, sliding_window_shapes=window,
                      strides=stride)
    occlusion("softmax_net", {"x": rand(9, 2, 40)}, "window7-stride5", target=[4, 0], sliding_window_shapes=(7,), strides=5)
    occlusion("readme_toy", README_X, "window2", target=0, sliding_window_shapes=(2,))
    occlusion("readme_toy", README_X, "window2-scalar", target=[1, 0], sliding_window_shapes=(2,), baselines={"x": -0.75})
    deep = {"x": rand(11, 3, 3, scale=4.0)}
    occlusion("multilayer_multidim", deep, "target-tuple", target=(1, 0, 1), sliding_window_shapes=(2,))
    occlusion("multilayer_multidim", deep, "target-list-of-tuples", target=[(0, 0, 1), (1, 1, 1), (1, 0, 0)],
              sliding_window_shapes=(1,))
    occlusion("multilayer_true_multi_input", THREE, "target-list", target=[0, 1], sliding_window_shapes=((2,), (1,), (3,)))
    occlusion("multilayer_add", {"x": [[1.0, 2.0, 3.0]]}, "fixed-input", target=0, fixed={"add": [[10.0, 0.0, -3.0]]},
              sliding_window_shapes=(1,))
    occlusion("basic4_d4_i0", PAIR, "pair", sliding_window_shapes=((1,), (2,)), strides=(1, 2))


def main():
    integrated_gradients_cases()
    layer_integrated_gradients_cases()
    gradient_cases()
    occlusion_cases()
    names = [c["name"] for c in CASES]
    twice = [n for n, k in collections.Counter(names).items() if k > 1]
    assert not twice, twice
    lines = ",\n".join(json.dumps(c) for c in CASES)
    (HERE / "cases.json").write_text("[\n" + lines + "\n]\n")
    versions = {m.__name__: m.__version__ for m in (captum, torch, onnx, onnxruntime, np)}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")
    count = collections.Counter(("layer " if "layer" in c else "") + c["method"] for c in CASES)
    print(len(CASES), "cases:", dict(count), "wrong in Captum:", sum("captum_is_wrong" in c for c in CASES))


if __name__ == "__main__":
    main()
