"""The derivative of one elementwise operation, as torch has it.

torch differentiates the operation on two numbers, and each operation of that backward is written down as the tracer
writes down a cell's. So no formula of torch's is repeated here but those that it computes in one piece
(``tanh_backward``): ``FUSED``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from ostinato.compiler.graph import Builder, Node
from ostinato.compiler.interpret import COMPOSITE, POINTWISE
from ostinato.compiler.maths import Maths
from ostinato.compiler.refusal import Refused
from ostinato.compiler.rules_pointwise import POINTWISE_RULES
from ostinato.compiler.seed import seed
from ostinato.compiler.traced import Maker, Value

CONSTANT = frozenset(("sign", "floor", "ceil", "round", "trunc", "floor_divide"))
"""Their derivative is zero wherever there is one."""

TENSORS_ONLY = frozenset(("maximum", "minimum", "remainder", "fmod"))
"""torch has no form of these (or no derivative of one) in which the first or the second is a plain number."""


def _tanh(m: Maths, g: Node, y: Node) -> Node:
    return m("mul", g, m("sub", 1.0, m("mul", y, y)))


def _sigmoid(m: Maths, g: Node, y: Node) -> Node:
    return m.chain("mul", g, m("sub", 1.0, y), y)


def _threshold(m: Maths, g: Node, x: Node, threshold: float) -> Node:
    return m("where", m("le", x, threshold), 0.0, g)


def _softplus(m: Maths, g: Node, x: Node, beta: float, threshold: float) -> Node:
    scaled = x if beta == 1 else m("mul", x, beta)
    return m("where", m("gt", scaled, threshold), g, m("mul", g, m("sigmoid", scaled)))


def _silu(m: Maths, g: Node, x: Node) -> Node:
    s = m("sigmoid", x)
    return m.chain("mul", g, s, m("add", 1.0, m("mul", x, m("sub", 1.0, s))))


def _gelu(m: Maths, g: Node, x: Node, *, approximate: str = "none") -> Node:
    square = m("mul", x, x)
    if approximate == "none":
        cdf = m("mul", 0.5, m("add", 1.0, m("erf", m("mul", x, math.sqrt(0.5)))))
        pdf = m("mul", m("exp", m("mul", square, -0.5)), 1 / math.sqrt(2 * math.pi))
        return m("mul", g, m("add", cdf, m("mul", x, pdf)))
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    t = m("tanh", m("mul", scale, m("add", x, m("mul", cubic, m("mul", square, x)))))
    inner = m("mul", scale, m("add", 1.0, m("mul", 3 * cubic, square)))
    slope = m.chain("mul", 0.5, x, m("sub", 1.0, m("mul", t, t)), inner)
    return m("mul", g, m("add", m("mul", 0.5, m("add", 1.0, t)), slope))


def _elu(m: Maths, g: Node, alpha: float, scale: float, input_scale: float, is_result: bool, x: Node) -> Node:
    assert not is_result
    below = m("mul", m("mul", g, input_scale * alpha * scale), m("exp", m("mul", x, input_scale)))
    return m("where", m("gt", x, 0.0), m("mul", g, scale), below)


def _leaky_relu(m: Maths, g: Node, x: Node, slope: float, is_result: bool) -> Node:
    return m("where", m("gt", x, 0.0), g, m("mul", g, slope))


def _hardtanh(m: Maths, g: Node, x: Node, low: float, high: float) -> Node:
    return m("where", m("and", m("gt", x, low), m("lt", x, high)), g, 0.0)


SIXTH = 0.1666666716337204
"""A sixth in single precision, which torch takes for every dtype."""


def _hardsigmoid(m: Maths, g: Node, x: Node) -> Node:
    return m("where", m("and", m("gt", x, -3.0), m("lt", x, 3.0)), m("mul", g, SIXTH), 0.0)


def _hardswish(m: Maths, g: Node, x: Node) -> Node:
    inside = m("mul", g, m("add", m("div", x, 3.0), 0.5))
    return m("where", m("le", x, -3.0), 0.0, m("where", m("ge", x, 3.0), g, inside))


def _mish(m: Maths, g: Node, x: Node) -> Node:
    t, s = m("tanh", m("softplus", x)), m("sigmoid", x)
    return m("mul", g, m("add", t, m.chain("mul", x, s, m("sub", 1.0, m("mul", t, t)))))


def _hardshrink(m: Maths, g: Node, x: Node, lambd: float) -> Node:
    return m("where", m("or", m("lt", x, -lambd), m("gt", x, lambd)), g, 0.0)


def _softshrink(m: Maths, g: Node, x: Node, lambd: float) -> Node:
    return m("where", m.between(x, -lambd, lambd), 0.0, g)


def _logit(m: Maths, g: Node, x: Node, eps: float | None = None) -> Node:
    assert eps is None
    return m("where", m.between(x, 0.0, 1.0), m("div", g, m("mul", x, m("sub", 1.0, x))), math.nan)


FUSED: dict[str, Callable[..., Node]] = {
    "tanh_backward": _tanh,
    "sigmoid_backward": _sigmoid,
    "threshold_backward": _threshold,
    "softplus_backward": _softplus,
    "silu_backward": _silu,
    "gelu_backward": _gelu,
    "elu_backward": _elu,
    "leaky_relu_backward": _leaky_relu,
    "hardtanh_backward": _hardtanh,
    "hardsigmoid_backward": _hardsigmoid,
    "hardswish_backward": _hardswish,
    "mish_backward": _mish,
    "hardshrink_backward": _hardshrink,
    "softshrink_backward": _softshrink,
    "logit_backward": _logit,
    "log_sigmoid_backward": lambda m, g, x, buffer: m("mul", g, m("sigmoid", m("neg", x))),
    "detach": lambda m, x: x,
    "alias": lambda m, x: x,
    "scalar_tensor": lambda m, value, **_: m.build.const(float(value)),
    "zeros": lambda m, size, **_: m.build.const(0.0),
    "zeros_like": lambda m, x, **_: m.build.const(0.0),
}
"""Operations of a backward that are no single node of ours: the same value from those that are."""


class _Recorder(TorchDispatchMode):
    """Writes down every operation torch does on known tensors, by the tracer's rules and by those of ``FUSED``."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No, as for the tracer's recorder: torch would import all of dynamo to keep it out."""
        return False

    def __init__(self, build: Builder) -> None:
        super().__init__()
        self.maths = Maths(build)
        self.maker = Maker(2, torch.float64, torch.device("cpu"))
        self.maker.build = build
        self.known: dict[int, tuple[Tensor, Node]] = {}

    def know(self, tensor: Tensor, node: Node) -> Tensor:
        self.known[id(tensor)] = (tensor, node)
        return tensor

    def node(self, tensor: Tensor) -> Node | None:
        return self.known[id(tensor)][1] if id(tensor) in self.known else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__.rstrip("_")
        tensors = [a for a in args if isinstance(a, Tensor)]
        if not isinstance(result, Tensor) or (tensors and self.node(tensors[0]) is None):
            return result
        if name in FUSED:
            operands = [self.node(a) if isinstance(a, Tensor) else a for a in args]
            self.know(result, FUSED[name](self.maths, *operands, **kwargs))
        elif name in POINTWISE_RULES:
            self.maker.out = result
            made = POINTWISE_RULES[name](self.maker, *map(self._value, args), **kwargs)
            self.know(result, self.maths.build.const(made.fill) if made.fill is not None else made.node)
        return result

    def _value(self, argument: Any) -> Any:
        node = self.node(argument) if isinstance(argument, Tensor) else None
        if node is None:
            return argument
        return node["value"] if node.op == "const" else Value(node, 0)


def vjp(build: Builder, node: Node, grad: Node, wanted: Sequence[bool]) -> list[Node | None]:
    """The gradients of an elementwise node's inputs (None where not wanted) from the gradient of its value.

    Raises:
        Refused: torch's backward of this operation uses one that has no native form.
    """
    if node.op in CONSTANT or not any(wanted):
        return [None] * len(node.inputs)
    recorder = _Recorder(build)
    function = POINTWISE.get(node.op) or COMPOSITE[node.op]
    with _disable_current_modes(), torch.inference_mode(False), torch.enable_grad():
        values = [_value(recorder, node.op, i, w) for i, w in zip(node.inputs, wanted, strict=True)]
        start = recorder.know(torch.ones(2, dtype=torch.float64, device="cpu"), grad)
        with recorder:
            result = function(*values, **dict(node.attrs))
            recorder.know(result, node)
            leaves = [v for v, w in zip(values, wanted, strict=True) if w]
            found = iter(torch.autograd.grad(seed([result], [start]), leaves))
    grads: list[Node | None] = []
    for want in wanted:
        made = recorder.node(next(found)) if want else None
        if want and made is None:
            raise Refused(f"the derivative of {node.op} has no native form", node.source)
        grads.append(made)
    return grads


def _value(recorder: _Recorder, op: str, node: Node, wanted: bool) -> Any:
    """What stands for an input: no value matters, but 0.5 is in the domain of every function."""
    if node.op == "const" and op not in TENSORS_ONLY:
        return node["value"]
    if node.op == "const":
        return recorder.know(torch.tensor(node["value"], dtype=torch.float64, device="cpu"), node)
    if node.dtype == "bool":
        return recorder.know(torch.zeros(2, dtype=torch.bool, device="cpu"), node)
    return recorder.know(torch.full((2,), 0.5, dtype=torch.float64, device="cpu").requires_grad_(wanted), node)
