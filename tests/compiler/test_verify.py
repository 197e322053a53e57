"""Every rule of a legal graph, by a node that breaks it."""

from __future__ import annotations

import pytest

import ostinato
from ostinato.compiler.graph import Builder, Graph, Node
from ostinato.compiler.trace import trace
from ostinato.compiler.verify import RULES, VerifyError, check, verify

b = Builder()
X = b.input("x", "x", (6,), True)
Y = b.input("state", "h", (6,), True)
HEADS = b.input("state", "heads", (2, 3), True)
FLAG = b.input("stream", "flag", (6,), True, "bool")
W = b.input("tensor", "w", (4, 6), False)
STACK = b.input("tensor", "stack", (2, 5, 3), False)
TWO = b.const(2.0)


def node(op, inputs, shape, rows=True, dtype="real", **attrs) -> Node:
    return Node(op, tuple(inputs), shape, rows, tuple(sorted(attrs.items())), dtype, "cells.py:1: x")


GOOD = {
    "add": node("add", [X, Y], (6,)),
    "number": node("mul", [X, TWO], (6,)),
    "where": node("where", [FLAG, X, TWO], (6,)),
    "where of bools": node("where", [FLAG, FLAG, b.const(True)], (6,), dtype="bool"),
    "lt": node("lt", [X, TWO], (6,), dtype="bool"),
    "and": node("and", [FLAG, FLAG], (6,), dtype="bool"),
    "softplus": node("softplus", [X], (6,), beta=1.0, threshold=20.0),
    "clamp": node("clamp", [X], (6,), min=0.0),
    "broadcast": node("broadcast", [b.const(0.0)], (2, 3)),
    "slice": node("slice", [X], (2,), axis=0, start=1, stop=5, step=2),
    "cat": node("cat", [X, Y], (12,), axis=0),
    "reshape": node("reshape", [X], (2, 3)),
    "reshape of a tensor": node("reshape", [W], (24,), rows=False),
    "permute": node("permute", [HEADS], (3, 2), dims=[1, 0]),
    "sum": node("sum", [HEADS], (2, 1), axes=[1]),
    "softmax": node("softmax", [HEADS], (2, 3)),
    "logsumexp": node("logsumexp", [HEADS], (2, 1)),
    "layer_norm": node("layer_norm", [X], (6,), eps=1e-5),
    "linear": node("linear", [X, W], (4,)),
    "linear of part": node("linear", [X, W], (2,), start=1, stop=3),
    "linear of heads": node("linear", [HEADS, STACK], (2, 5)),
    "linear_t": node("linear_t", [node("linear", [X, W], (4,)), W], (6,)),
    "detach": node("detach", [X], (6,)),
    "clip_gradient": node("clip_gradient", [X], (6,), limit=1.0),
    "aten": node("aten", [W], (6, 4), rows=False, target="aten.t.default", args=[{"%": 0}], kwargs={}, result=None),
}

BAD = {
    "no such operation": (node("sort", [X], (6,)), "no such operation"),
    "too few values": (node("add", [X], (6,)), "it reads 2 values"),
    "other shapes": (node("add", [X, HEADS], (6,)), "values have one shape"),
    "rows and none": (node("mul", [W, node("broadcast", [W], (4, 6))], (4, 6)), "values have one shape"),
    "result shape": (node("tanh", [X], (5,)), "values have one shape"),
    "bool in arithmetic": (node("add", [X, FLAG], (6,)), "it reads real values"),
    "real in logic": (node("and", [X, FLAG], (6,), dtype="bool"), "it reads bool values"),
    "dtype of a comparison": (node("lt", [X, Y], (6,)), "it gives bool"),
    "condition": (node("where", [X, X, X], (6,)), "the condition is a bool"),
    "branches": (node("where", [FLAG, X, FLAG], (6,)), "it reads real values"),
    "attributes missing": (node("softplus", [X], (6,), beta=1.0), "its attributes are"),
    "attributes too many": (node("tanh", [X], (6,), beta=1.0), "its attributes are"),
    "dtype": (node("tanh", [X], (6,), dtype="int"), "dtype is real or bool"),
    "sizes": (node("tanh", [X], (-6,)), "sizes are whole numbers"),
    "broadcast": (node("broadcast", [X], (4,)), "axes are aligned"),
    "broadcast to less": (node("broadcast", [X], (1,)), "axes are aligned"),
    "broadcast without rows": (node("broadcast", [W], (4, 6), rows=False), "what is broadcast has rows"),
    "slice outside": (node("slice", [X], (3,), axis=0, start=4, stop=7, step=1), "0 ≤ start ≤ stop ≤ size"),
    "slice axis": (node("slice", [X], (3,), axis=1, start=0, stop=3, step=1), "axis is one"),
    "slice shape": (node("slice", [X], (3,), axis=0, start=0, stop=2, step=1), "follows from the bounds"),
    "slice back": (node("slice", [X], (2,), axis=0, start=0, stop=2, step=-1), "step is greater"),
    "cat axis": (node("cat", [X, Y], (12,), axis=1), "axis is one"),
    "cat sizes": (node("cat", [X, Y], (11,), axis=0), "sizes add up"),
    "cat rows": (node("cat", [W, node("broadcast", [W], (4, 6))], (8, 6), axis=0), "rows and dtype are one"),
    "reshape": (node("reshape", [X], (5,)), "the number of elements stays"),
    "rows vanish": (node("reshape", [X], (6,), rows=False), "rows do not vanish"),
    "rows appear": (node("reshape", [W], (24,)), "rows stay"),
    "permute": (node("permute", [HEADS], (3, 2), dims=[1, 1]), "an order of the axes"),
    "reduction": (node("sum", [HEADS], (2,), axes=[1]), "axes stay with size 1"),
    "reduction axis": (node("sum", [HEADS], (2, 3), axes=[2]), "axes are the value's"),
    "reduction of bools": (node("sum", [FLAG], (1,), axes=[0]), "the dtype stays"),
    "normalising": (node("norm", [X], (6,)), "over the last axis"),
    "normalising a tensor": (node("softmax", [W], (4, 6), rows=False), "it has rows"),
    "linear widths": (node("linear", [HEADS, W], (2, 4)), "the summed axes are equal"),
    "linear of rows": (node("linear", [X, node("broadcast", [W], (4, 6))], (4,)), "the weight has no rows"),
    "linear of a tensor": (node("linear", [W, W], (4, 4), rows=False), "the value has rows"),
    "linear shape": (node("linear", [X, W], (6,)), "follows from the weight"),
    "heads": (node("linear", [node("broadcast", [b.const(0.0)], (4, 3)), STACK], (4, 5)), "as many matrices"),
    "detach of a tensor": (node("detach", [W], (4, 6), rows=False), "values with rows"),
    "limit": (node("clip_gradient", [X], (6,), limit=0.0), "greater than zero"),
    "aten of rows": (
        node("aten", [X], (6,), target="aten.exp.default", args=[{"%": 0}], kwargs={}, result=None),
        "without rows",
    ),
    "aten target": (
        node("aten", [W], (4, 6), rows=False, target="aten.expp.default", args=[{"%": 0}], kwargs={}, result=None),
        "target is an operation of torch's",
    ),
    "aten arguments": (
        node("aten", [W], (4, 6), rows=False, target="aten.exp.default", args=[], kwargs={}, result=None),
        "every input is an argument",
    ),
    "number": (node("const", [], (), rows=False, value=1), "its value has its dtype"),
    "kind": (node("input", [], (3,), kind="other", name="x"), "an input is of kind"),
    "rows of a param": (node("input", [], (3,), kind="param", name="x"), "tensors and params have no rows"),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_legal(name: str) -> None:
    check(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_what_is_not(name: str) -> None:
    bad, why = BAD[name]
    with pytest.raises(VerifyError, match=why) as error:
        check(bad)
    assert bad.op in str(error.value)
    assert "cells.py:1" in str(error.value)


def test_an_input_that_the_graph_does_not_name() -> None:
    total = b.pointwise("add", X, Y)
    verify(Graph({"x": X, "h": Y}, {"output": total}))
    with pytest.raises(VerifyError, match="no input of the graph"):
        verify(Graph({"x": X}, {"output": total}))
    with pytest.raises(VerifyError, match="the input x is add"):
        verify(Graph({"x": total, "h": Y, "y": X}, {"output": total}))


def test_every_operation_that_has_a_meaning_has_a_rule() -> None:
    from ostinato.compiler import interpret

    tables = (interpret.POINTWISE, interpret.COMPOSITE, interpret.VIEWS, interpret.REDUCTIONS, interpret.NORMALISING)
    assert {name for table in tables for name in table} <= RULES.keys()
    verify(trace(ostinato.LSTMCell(3, 4)._frozen_view(), 3, {}, {}))
