"""Runs Captum on the toy networks and writes cases.json, the values the C++ tests read.

Each case is computed twice: by Captum (key "expected") and, for everything but the plain
gradients, by a short implementation of the definition below in pure double precision
(key "math"). The two must agree within the case's tolerance, except where Captum itself
is wrong; such a case says so in "captum_is_wrong" and carries our value in "right".
README.md describes the file's format.

    python toy_models.py && python make_values.py
"""

import collections
import itertools
import json
import math
import pathlib
import warnings

import captum
import numpy as np
import onnx
import onnxruntime
import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerIntegratedGradients, Occlusion, Saliency

import toy_models

warnings.filterwarnings("ignore")
torch.manual_seed(0)
torch.set_num_threads(1)

HERE = pathlib.Path(__file__).resolve().parent
SHAKE = [(1 - 1e-7, 0.0), (1 + 1e-7, 0.0)]  # factor and shift of the nodes that look for kinks
SHIFT = [(1.0, 1e-7), (1.0, -1e-7)]
RULES = ["riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid", "gausslegendre"]
TRAPEZOID_WHY = (
    "n nodes bound n-1 intervals, so the weights are 1/(n-1) with both ends halved (sum 1); "
    "Captum takes 1/n (sum (n-1)/n), hence right = captum * n/(n-1)"
)
CASES = []


# ------------------------------------------------- the definitions, in double precision


def quadrature(rule, n):
    """Nodes and weights on [0, 1]; the trapezoid rule has weights that sum to one."""
    i = np.arange(n)
    if rule == "gausslegendre":
        x, w = np.polynomial.legendre.leggauss(n)
        return 0.5 * (1 + x), 0.5 * w
    if rule == "riemann_trapezoid":
        w = np.full(n, 1.0 / (n - 1))
        w[[0, -1]] /= 2
        return i / (n - 1), w
    shift = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
    return (i + shift) / n, np.full(n, 1.0 / n)


def select(out, target):
    """One value per example: target None, int, tuple, or one int or tuple per example."""
    if target is None:
        return out.reshape(out.shape[0])
    rows = target if isinstance(target, list) else [target] * out.shape[0]
    rows = [r if isinstance(r, tuple) else (r,) for r in rows]
    return torch.stack([out[(k, *r)] for k, r in enumerate(rows)])


class Override:
    """Within the block, the listed modules output the given values instead of their own."""

    def __init__(self, modules, values):
        self.handles = [m.register_forward_hook(lambda *_, v=v: v) for m, v in zip(modules, values)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()


def layer_values(model, modules, inputs):
    """Outputs of the modules; one that returns a tuple keeps it."""
    seen = {}
    handles = [m.register_forward_hook(lambda _m, _i, o, k=k: seen.__setitem__(k, o)) for k, m in enumerate(modules)]
    with torch.no_grad():
        model(*inputs)
    for handle in handles:
        handle.remove()
    return [seen[k] for k in range(len(modules))]


def flat(values):
    return [v for x in values for v in (x if isinstance(x, tuple) else (x,))]


def repack(leaves, like):
    it = iter(leaves)
    return [tuple(next(it) for _ in x) if isinstance(x, tuple) else next(it) for x in like]


def path_integral(evaluate, ends, starts, rule, n, times_difference, jitter=(1.0, 0.0)):
    """Sum of w_i * gradient at start + a_i (end - start), times (end - start) if asked."""
    total = [torch.zeros_like(e) for e in ends]
    for alpha, weight in zip(*quadrature(rule, n)):
        alpha = alpha * jitter[0] + jitter[1]
        leaves = [(s + alpha * (e - s)).requires_grad_() for s, e in zip(starts, ends)]
        for acc, grad in zip(total, torch.autograd.grad(evaluate(leaves).sum(), leaves)):
            acc += weight * grad
    return [t * (e - s) if times_difference else t for t, e, s in zip(total, ends, starts)]


def math_ig(model, xs, bs, fixed, target, rule, n, mbi, jitter=(1.0, 0.0)):
    def evaluate(leaves):
        return select(model(*leaves, *fixed), target)

    attr = path_integral(evaluate, xs, bs, rule, n, mbi, jitter)
    full = attr if mbi else path_integral(evaluate, xs, bs, rule, n, True, jitter)
    with torch.no_grad():
        change = evaluate(xs) - evaluate(bs)
    delta = sum(a.reshape(a.shape[0], -1).sum(1) for a in (attr if mbi else full)) - change
    return attr, delta


def math_layer_ig(model, modules, xs, bs, target, rule, n, mbi, jitter=(1.0, 0.0)):
    like = layer_values(model, modules, xs)
    ends, starts = flat(like), flat(layer_values(model, modules, bs))

    def evaluate(leaves):
        with Override(modules, repack(leaves, like)):
            return select(model(*xs), target)

    attr = path_integral(evaluate, ends, starts, rule, n, mbi, jitter)
    with torch.no_grad():
        change = select(model(*xs), target) - select(model(*bs), target)
    delta = sum(a.reshape(a.shape[0], -1).sum(1) for a in attr) - change
    return attr, delta


def math_occlusion(model, xs, bs, fixed, target, windows, strides):
    """Mean, over the windows that cover an element, of F(x) - F(x with the window := b)."""
    out = []
    with torch.no_grad():
        base = select(model(*xs, *fixed), target)
        for k, x in enumerate(xs):
            stride = strides[k] if strides[k] is not None else 1
            stride = (stride,) * len(windows[k]) if isinstance(stride, int) else stride
            counts = [
                math.ceil((d - w) / s) + 1 for d, w, s in zip(x.shape[1:], windows[k], stride)
            ]
            total, cover = torch.zeros_like(x), torch.zeros_like(x)
            for where in itertools.product(*[range(c) for c in counts]):
                box = (slice(None),) + tuple(
                    slice(i * s, i * s + w) for i, s, w in zip(where, stride, windows[k])
                )
                changed = x.clone()
                changed[box] = bs[k].expand_as(x)[box]
                args = xs[:k] + [changed] + xs[k + 1 :]
                diff = base - select(model(*args, *fixed), target)
                total[box] += diff.reshape([-1] + [1] * (x.dim() - 1))
                cover[box] += 1
            out.append(total / cover)
    return out


# ------------------------------------------------------------------------------ the cases


def nested(tensor, precision="float64"):
    array = tensor.detach().cpu().numpy()
    if array.dtype.kind in "iu":
        return array.tolist()
    if precision == "float32":
        return np.vectorize(lambda v: float(str(np.float32(v))))(array).tolist()
    return array.tolist()


def to_tensor(value, dtype):
    """A tensor whose floating values are representable in float32, in the given dtype."""
    array = np.asarray(value)
    if array.dtype.kind in "iu" and dtype is torch.int64:
        return torch.as_tensor(array.astype(np.int64))
    return torch.as_tensor(array.astype(np.float32)).to(dtype)


def size(values):
    """Largest absolute value of a case, over all its tensors; at least 1e-6."""
    return max([1e-6] + [float(torch.as_tensor(v).abs().max()) for v in values])


def scaled_error(a, b):
    """Largest difference over the size of b."""
    return max(float((torch.as_tensor(x).double() - torch.as_tensor(y).double()).abs().max()) for x, y in zip(a, b)) / size(b)


SHORT = {
    "integrated-gradients": "ig",
    "saliency": "saliency",
    "input-x-gradient": "ixg",
    "occlusion": "occlusion",
}


def add(
    which,
    model,
    inputs,
    tag,
    /,
    target=None,
    baselines=None,
    layer=None,
    modules=None,
    layer_input=False,
    fixed=None,
    precision="float64",
    asserted=None,
    asserted_tol=1e-4,
    source="own",
    truth=None,
    truth_why=None,
    **options,
):
    """Computes one case and appends it.

    inputs: dict name -> nested list, in the order of the network's arguments. baselines:
    dict name -> number or nested list; a missing name means None. layer: name of the ONNX
    value (or list of names, attributed jointly); modules: the PyTorch attribute names that
    output it, where they differ; layer_input: Captum is asked for the layer's input.
    """
    spec = toy_models.MODELS[model]
    dtype = torch.float64 if precision == "float64" else torch.float32
    net, net64 = spec.module().to(dtype).eval(), spec.module().double().eval()
    integer = model == "embedding"
    kind = torch.int64 if integer else dtype
    names = list(inputs)
    xs = [to_tensor(v, kind) for v in inputs.values()]
    fixed_ts = [to_tensor(v, dtype) for v in (fixed or {}).values()]
    if baselines is None:
        bs = None
    else:
        bs = []
        for name in names:
            b = baselines.get(name)
            bs.append(b if b is None or isinstance(b, (int, float)) else to_tensor(b, kind))
        bs = tuple(0 if b is None else b for b in bs)
    xs64 = [x if integer else x.double() for x in xs]
    fixed64 = [f.double() for f in fixed_ts]

    def full(b, x):
        if not torch.is_tensor(b):
            b = torch.full_like(x, float(np.float32(b)) if not integer else int(b))
        return b.to(x.dtype).expand_as(x).clone()

    bs64 = [full(b, x) for b, x in zip(bs or [0] * len(xs), xs64)]
    single = len(xs) == 1
    call = {"target": target}
    if fixed_ts:
        call["additional_forward_args"] = tuple(fixed_ts)
    captum_in = xs[0] if single else tuple(xs)
    captum_bs = None if bs is None else (bs[0] if single else bs)
    opts = {k: v for k, v in options.items() if v is not None}
    expected, delta, reference, ref_delta, jittered = None, None, None, None, None

    if which == "saliency":
        opts.setdefault("abs", True)
        expected = Saliency(net).attribute(captum_in, abs=opts["abs"], **call)
    elif which == "input-x-gradient":
        expected = InputXGradient(net).attribute(captum_in, **call)
    elif which == "occlusion":
        windows, strides = opts["sliding_window_shapes"], opts.get("strides")
        per = {k: v for k, v in opts.items() if k == "perturbations_per_eval"}
        expected = Occlusion(net).attribute(
            captum_in, sliding_window_shapes=windows, strides=strides, baselines=captum_bs, **per, **call
        )
        every = [strides] if single else (strides if strides is not None else [None] * len(xs))
        every = [every] * len(xs) if isinstance(every, int) else list(every)
        wins = [windows] if single else list(windows)
        reference = math_occlusion(net64, xs64, bs64, fixed64, target, wins, every)
        opts["sliding_window_shapes"] = [list(w) for w in wins]
        if strides is not None:
            opts["strides"] = [
                list(s) if isinstance(s, tuple) else [s or 1] * len(w) for s, w in zip(every, wins)
            ]
    elif which == "integrated-gradients":
        opts.setdefault("n_steps", 50)
        opts.setdefault("method", "gausslegendre")
        opts.setdefault("multiply_by_inputs", True)
        n, rule, mbi = opts["n_steps"], opts["method"], opts["multiply_by_inputs"]
        run = dict(n_steps=n, method=rule, return_convergence_delta=True, **call)
        if "internal_batch_size" in opts:
            run["internal_batch_size"] = opts["internal_batch_size"]
        if layer is None:
            engine = IntegratedGradients(net, multiply_by_inputs=mbi)
            expected, delta = engine.attribute(captum_in, baselines=captum_bs, **run)
            args = (net64, xs64, bs64, fixed64, target, rule, n, mbi)
            reference, ref_delta = math_ig(*args)
            jittered = [math_ig(*args, jitter=j)[0] for j in SHAKE + SHIFT]
        else:
            wanted = [layer] if isinstance(layer, str) else layer
            mods = [getattr(net, m) for m in (modules or wanted)]
            engine = LayerIntegratedGradients(net, mods[0] if len(mods) == 1 else mods, multiply_by_inputs=mbi)
            expected, delta = engine.attribute(
                captum_in, baselines=captum_bs, attribute_to_layer_input=layer_input, **run
            )
            mods64 = [getattr(net64, m) for m in (wanted if layer_input or modules is None else modules)]
            args = (net64, mods64, xs64, bs64, target, rule, n, mbi)
            reference, ref_delta = math_layer_ig(*args)
            jittered = [math_layer_ig(*args, jitter=j)[0] for j in SHAKE + SHIFT]
            names = wanted
        if not mbi:
            # Captum adds up the unmultiplied values in its delta; that number means nothing
            delta = ref_delta = None
    else:
        raise ValueError(which)

    expected = [t.detach() for t in flat([expected] if torch.is_tensor(expected) else list(expected))]
    assert len(expected) == len(names), (tag, names, len(expected))

    # tolerance: on the largest |difference| over the largest |expected| of the case
    wrong = which == "integrated-gradients" and opts["method"] == "riemann_trapezoid"
    compare = reference
    if wrong:
        share = (opts["n_steps"] - 1) / opts["n_steps"]
        compare = [r * share for r in reference]
    tol = 1e-5 if precision == "float32" else (1e-10 if reference is None else 1e-6)
    jumps = [scaled_error(j, reference) for j in jittered or [[]] * 4 if j] or [0.0] * 4
    jump = max(jumps[:2])
    kink, exact_kink = jump > 2e-6, max(jumps) > 2e-6 >= jump
    if kink:
        # a node sits where a unit switches: rounding of the node picks the side
        assert source.startswith("Captum test"), (which, model, tag, "a node lies on a kink", jump)
        tol = round(1.5 * jump + tol, 6)
    if compare is not None:
        error = scaled_error(expected, compare)
        assert error < (tol if kink else tol / 3), (which, model, tag, "Captum against the definition", error)

    if delta is not None and not wrong and not kink:
        bound = tol * max(1.0, sum(float(t.abs().sum()) for t in expected))
        assert float((delta.double() - ref_delta).abs().max()) < bound, (which, model, tag, "delta", delta, ref_delta)

    case = {"name": None, "model": spec.file, "method": which, "source": source}
    prefix = "layer-ig" if layer is not None else SHORT[which]
    case["name"] = f"{prefix}/{model}/{tag}" + ("/f32" if precision == "float32" else "")
    case["options"] = opts
    case["inputs"] = {k: nested(x.double() if not integer else x) for k, x in zip(inputs, xs)}
    if fixed:
        case["fixed_inputs"] = {k: nested(x.double()) for k, x in zip(fixed, fixed_ts)}
    if baselines is not None:
        case["baselines"] = {
            k: (nested(b if integer else b.double()) if torch.is_tensor(b) else b)
            for k, b in zip(inputs, bs)
            if baselines.get(k) is not None
        }
    if target is not None:
        batch = xs[0].shape[0]
        if isinstance(target, tuple):
            case["target"], case["target_form"] = [list(target)] * batch, "tuple"
        elif isinstance(target, list):
            tuples = isinstance(target[0], tuple)
            case["target"] = [list(t) for t in target] if tuples else target
            case["target_form"] = "list of tuples" if tuples else "list"
        else:
            case["target"], case["target_form"] = target, "int"
    if layer is not None:
        case["layer"] = layer
        if layer_input:
            case["captum_layer_input"] = modules[0]
    case["precision"] = precision
    case["expected"] = {k: nested(t, precision) for k, t in zip(names, expected)}
    if delta is not None:
        case["delta"] = nested(delta, precision)
    case["tol"] = tol
    if kink:
        case["kink"] = "a node lies where a unit switches; either one-sided gradient there is right"
    if reference is not None and precision == "float64" and not wrong and not kink:
        case["math"] = {k: nested(t) for k, t in zip(names, reference)}
        if ref_delta is not None:
            case["math_delta"] = nested(ref_delta)
        case["math_tol"] = 1e-10
    if exact_kink:
        case["convention"] = "an end point lies exactly on a kink: relu'(0) = 0, a MaxPool tie goes to the first"
    if wrong:
        case["captum_is_wrong"] = "Q1 trapezoid weights"
        case["right"] = {k: nested(t) for k, t in zip(names, reference)}
        if ref_delta is not None:
            case["right_delta"] = nested(ref_delta)
        case["right_why"], case["right_tol"] = TRAPEZOID_WHY, tol if kink else 1e-10
    if asserted is not None:
        case["asserted"], case["asserted_tol"] = asserted, asserted_tol
        for k, t in zip(names, expected):
            if k in asserted:
                gap = float((t.double() - torch.tensor(asserted[k], dtype=torch.float64)).abs().max())
                assert gap <= asserted_tol, (which, model, tag, "asserted", k, gap, t)
        if "delta" in asserted:
            gap = float((delta.double() - torch.tensor(asserted["delta"], dtype=torch.float64)).abs().max())
            assert gap <= asserted_tol, (which, model, tag, "asserted delta", gap)
    if truth is not None:
        value = truth(*xs64)
        assert scaled_error(reference, value) < 1e-12, (tag, "closed form")
        case["closed_form"], case["closed_form_why"] = {k: nested(t) for k, t in zip(names, value)}, truth_why
    CASES.append(case)


def ig(*args, **kw):
    add("integrated-gradients", *args, **kw)


def saliency(*args, **kw):
    add("saliency", *args, **kw)


def ixg(*args, **kw):
    add("input-x-gradient", *args, **kw)


def occlusion(*args, **kw):
    add("occlusion", *args, **kw)


def both(function, *args, **kw):
    """The same case in double and, as Captum's own tests run it, in single precision."""
    function(*args, **kw)
    function(*args, precision="float32", **kw)


def rand(seed, *shape, scale=1.0):
    """Seeded normal numbers with four decimals."""
    return np.round(np.random.RandomState(seed).standard_normal(shape) * scale, 4).tolist()


def arange_image(start=0, side=4, batch=1):
    return np.arange(start, start + batch * side * side, dtype=float).reshape(batch, 1, side, side).tolist()


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
