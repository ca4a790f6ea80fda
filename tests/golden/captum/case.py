"""One case: computed by Captum and by the definition, checked against each other, and added to CASES."""

import math

import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients, LayerIntegratedGradients, Occlusion, Saliency

import toy_models
from definitions import flat, math_ig, math_layer_ig, math_occlusion

SHAKE = [(1 - 1e-7, 0.0), (1 + 1e-7, 0.0)]  # factor and shift of the nodes that look for kinks
SHIFT = [(1.0, 1e-7), (1.0, -1e-7)]
TRAPEZOID_WHY = (
    "n nodes bound n-1 intervals, so the weights are 1/(n-1) with both ends halved (sum 1); "
    "Captum takes 1/n (sum (n-1)/n), hence right = captum * n/(n-1)"
)
CASES = []


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
