"""Runs Captum's own tests with its `attribute` methods and assertions instrumented.

`run(checkout, files, on_assertion)` imports Captum and its tests from a checkout of github.com/pytorch/captum and calls
`on_assertion` for every assertion that compares the result of an `attribute` call with numbers written in the test.

An expected value is such a number unless it was computed from a model's output, an autograd gradient or another
attribution: a torch function mode marks those and everything derived from them.
"""

import functools
import importlib
import inspect
import random
import sys
import threading
import time
import traceback
import unittest
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode, _pop_mode_temporarily


@dataclass
class Call:
    """One outermost call of an attribution method."""

    method: Any  # the Captum object
    arguments: dict  # bound, with defaults; tensors as they were before the call
    rules: dict  # LRP: module name -> rule object, which Captum deletes after the call
    results: list = field(default_factory=list)  # flat list of attribution tensors
    delta: Any = None
    seed: int = 0


@dataclass
class Assertion:
    file: str
    test: str
    line: int
    call: Call
    actual: Any
    expected: Any
    tolerance: float
    mode: str  # "sum" or "max" of the absolute differences


class Marked(float):
    """A Python number taken from a marked tensor."""

    calls: tuple = ()


def flat(value):
    if isinstance(value, (tuple, list)):
        return [t for v in value for t in flat(v)]
    return [value]


def copied(value):
    """The value with its tensors cloned; modules and functions stay what they are."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return type(value)(copied(v) for v in value)
    if isinstance(value, dict):
        return {k: copied(v) for k, v in value.items()}
    return value


def calls_of(value):
    """The attribute calls that a value was computed from; None: no mark at all."""
    if isinstance(value, torch.Tensor):
        return value.__dict__.get("_recorded")
    if isinstance(value, Marked):
        return value.calls
    if isinstance(value, (tuple, list)):
        found = [c for c in map(calls_of, value) if c is not None]
        return None if not found else tuple(dict.fromkeys(call for calls in found for call in calls))
    return None


def reseed(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def mark(value, calls):
    for t in flat(value):
        if isinstance(t, torch.Tensor):
            t._recorded = calls


class Ids:
    """Call objects by number, so that marks stay hashable."""

    calls: list = []


class Recorder(TorchFunctionMode):
    def __init__(self, on_assertion):
        super().__init__()
        self.depth = 0  # inside an attribute call or a model
        self.in_assertion = False
        self.on_assertion = on_assertion
        self.file = self.test = ""
        Recorder.current = self

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if self.depth or self.in_assertion:
            return out
        calls = calls_of([args, tuple((kwargs or {}).values())] if kwargs else args)
        if calls is None:
            return out
        name = getattr(func, "__name__", "")
        if name == "item" and type(out) is float:
            out = Marked(out)
            out.calls = calls
        elif name == "tolist":
            return out
        elif isinstance(out, (torch.Tensor, tuple, list)):
            mark(out, calls)
        return out

    # ------------------------------------------------------------------------- methods

    def wrap_method(self, cls, name):
        original = cls.__dict__[name]
        signature = inspect.signature(original)

        @functools.wraps(original)
        def attribute(obj, *args, **kwargs):
            if self.depth:
                return original(obj, *args, **kwargs)
            try:
                bound = signature.bind(obj, *args, **kwargs)
                bound.apply_defaults()
                arguments = dict(list(bound.arguments.items())[1:])
            except TypeError:
                arguments = {}
            model = getattr(obj, "model", None) or getattr(obj, "forward_func", None)
            rules = {}
            if isinstance(model, torch.nn.Module):
                rules = {n: m.rule for n, m in model.named_modules() if getattr(m, "rule", None) is not None}
            call = Call(obj, copied(arguments), rules)
            self.depth += 1
            try:
                with _pop_mode_temporarily():  # nothing to mark inside
                    result = original(obj, *args, **kwargs)
                values = result
                if isinstance(result, torch.futures.Future):
                    result.wait()
                    values = result.value()
            finally:
                self.depth -= 1
            attributions = values
            if {**arguments, **arguments.get("kwargs", {})}.get("return_convergence_delta"):
                attributions, call.delta = values
            call.results = [t for t in flat(attributions) if isinstance(t, torch.Tensor)]
            Ids.calls.append(call)
            mark(values, (len(Ids.calls) - 1,))
            return result

        setattr(cls, name, attribute)

    def wrap_model(self):
        original = torch.nn.Module.__call__

        def call(module, *args, **kwargs):
            if self.depth:
                return original(module, *args, **kwargs)
            self.depth += 1
            try:
                out = original(module, *args, **kwargs)
            finally:
                self.depth -= 1
            mark(out, calls_of(args) or ())
            return out

        torch.nn.Module.__call__ = call
        grad = torch.autograd.grad

        def autograd_grad(*args, **kwargs):
            out = grad(*args, **kwargs)
            if not self.depth:
                mark(out, ())
            return out

        torch.autograd.grad = autograd_grad

    def wrap_quadrature(self, module):
        """Nodes and weights count as results; the call's method is then (rule, part)."""
        original = module.riemann_builders

        def riemann_builders(method=module.Riemann.trapezoid):
            def recorded(part, function):
                def values(n):
                    out = torch.tensor(function(n))
                    Ids.calls.append(Call((method.name, part), {"n": n}, {}, [out]))
                    mark(out, (len(Ids.calls) - 1,))
                    return out

                return values

            weights, nodes = original(method)
            return recorded("weights", weights), recorded("alphas", nodes)

        module.riemann_builders = riemann_builders

    # ---------------------------------------------------------------------- assertions

    def assertion(self, actual, expected, tolerance, mode):
        if calls_of(actual) is None:
            actual, expected = expected, actual
        calls = calls_of(actual)
        if not calls or calls_of(expected) is not None:
            return
        frames = [f for f in traceback.extract_stack() if "/tests/attr/" in f.filename]
        where = frames[0].lineno if len(frames) else 0
        self.on_assertion(
            Assertion(self.file, self.test, where, Ids.calls[calls[-1]], actual, expected, tolerance, mode)
        )

    def wrap_assertions(self, basic):
        original = basic.assertTensorAlmostEqual

        @functools.wraps(original)
        def tensor(test, actual, expected, delta=0.0001, mode="sum"):
            if not self.in_assertion:
                self.in_assertion = True
                try:
                    original(test, actual, expected, delta, mode)
                finally:
                    self.in_assertion = False
                self.assertion(actual, expected, delta, mode)
            else:
                original(test, actual, expected, delta, mode)

        basic.assertTensorAlmostEqual = tensor
        scalar_original = unittest.TestCase.assertAlmostEqual

        @functools.wraps(scalar_original)
        def scalar(test, first, second, places=None, msg=None, delta=None):
            scalar_original(test, first, second, places, msg, delta)
            if not self.in_assertion:
                tolerance = delta if delta is not None else 0.5 * 10 ** -(7 if places is None else places)
                self.assertion(first, second, tolerance, "sum")

        unittest.TestCase.assertAlmostEqual = scalar


class Result(unittest.TextTestResult):
    recorder = None

    def startTest(self, test):
        super().startTest(test)
        self.recorder.test = f"{type(test).__name__}.{test._testMethodName}"


def run(checkout, files, on_assertion, only=None):
    """Returns unittest's result; `files` are paths below tests/attr without ".py"."""
    sys.path.insert(0, str(checkout))
    warnings.filterwarnings("ignore")
    import captum.attr  # noqa: F401
    import captum.attr._core.lime  # noqa: F401
    from captum.attr._utils import approximation_methods
    from captum.attr._utils.attribution import Attribution
    from captum.testing.helpers import basic

    recorder = Recorder(on_assertion)
    todo, seen = [Attribution], set()
    while todo:
        cls = todo.pop()
        if cls in seen:
            continue
        seen.add(cls)
        todo += cls.__subclasses__()
        for name in ("attribute", "attribute_future"):
            if name in cls.__dict__ and cls is not Attribution:
                recorder.wrap_method(cls, name)
    recorder.wrap_model()
    recorder.wrap_quadrature(approximation_methods)
    recorder.wrap_assertions(basic)
    # Some tests answer from a thread that sleeps ten seconds first.
    start, time.sleep = threading.Thread.start, lambda seconds: None
    threading.Thread.start = lambda t: t.run() if type(t) is threading.Thread else start(t)
    Result.recorder = recorder
    results = []
    with recorder:
        for file in files:
            recorder.file = file
            module = importlib.import_module("tests.attr." + file.replace("/", "."))
            suite = unittest.defaultTestLoader.loadTestsFromModule(module)
            if only:
                suite = unittest.TestSuite(t for s in suite for t in s if only in t.id())
            results.append(unittest.TextTestRunner(sys.stderr, verbosity=0, resultclass=Result).run(suite))
    return results
