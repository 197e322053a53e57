"""What ours is measured against: ONNX Runtime, a loop over a compiled step, the best matrix product (theirs.py:
torchrecurrent).

Every rival runs on the same weights as ours. One that cannot run raises :class:`Unavailable`, with the reason.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor, nn

import ostinato


class Unavailable(Exception):
    """A rival that cannot run here, and why."""


ONNX_ORDER = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}  # torch's gates in ONNX's order: z,r,h and i,o,f,c


def onnx_session(module: nn.Module, threads: int, *, one_step: bool = False) -> Any:
    """An ONNX Runtime session of one RNN, GRU or LSTM node that holds the module's weights.

    Inputs: ``X`` (T, B, I); with ``one_step`` (1, 1, I), and the states too, (1, 1, H) each.
    Outputs: ``Y`` (T, 1, B, H) and the last states; with ``one_step`` the states alone.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise Unavailable(f"no {error.name}: pip install -c constraints.txt -e '.[bench]'") from None
    kind: str = module.mode.removesuffix("_TANH").removesuffix("_RELU")
    input_size, hidden = module.input_size, module.hidden_size
    rows = torch.cat([torch.arange(hidden) + gate * hidden for gate in ONNX_ORDER[kind]])
    w, r, b_w, b_r = (p.detach()[rows] for p in module.parameters())
    weights = {"W": w[None], "R": r[None], "B": torch.cat([b_w, b_r])[None]}
    states = ("h", "c") if kind == "LSTM" else ("h",)
    initial = [f"initial_{s}" for s in states] if one_step else []
    final = [f"Y_{s}" for s in states]
    node = onnx.helper.make_node(
        kind,
        ["X", "W", "R", "B", *(["", *initial] if initial else [])],
        ["" if one_step else "Y", *final],
        hidden_size=hidden,
        **({"linear_before_reset": 1} if kind == "GRU" else {}),
    )
    info = onnx.helper.make_tensor_value_info
    real = onnx.TensorProto.FLOAT
    steps, batch = (1, 1) if one_step else ("T", "B")
    graph = onnx.helper.make_graph(
        [node],
        kind,
        [info("X", real, [steps, batch, input_size]), *(info(n, real, [1, batch, hidden]) for n in initial)],
        [
            *([] if one_step else [info("Y", real, [steps, 1, batch, hidden])]),
            *(info(n, real, [1, batch, hidden]) for n in final),
        ],
        [onnx.numpy_helper.from_array(v.contiguous().numpy(), n) for n, v in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def compiled_loop(cell: ostinato.Cell) -> Callable[[Tensor], Tensor]:
    """A loop over ``torch.compile(cell.step)``, compiled for these sizes when it is first called."""
    torch._dynamo.reset()
    step = torch.compile(cell.step, dynamic=False, fullgraph=True)

    def run(x: Tensor) -> Tensor:
        states = tuple(x.new_zeros(x.shape[1], size) for size in cell.state_sizes)
        frames = x.unbind(0)
        # The first step's states need no gradient and the others' do: two compilations, of which this saves one.
        output, states = cell.split(cell.step(frames[0], *states))
        outputs = [output]
        for frame in frames[1:]:
            output, states = cell.split(step(frame, *states))
            outputs.append(output)
        return torch.stack(outputs)

    return run


def try_compiled_loop(cell: ostinato.Cell, x: Tensor) -> Callable[[Tensor], Tensor]:
    """A :func:`compiled_loop` that has run forward and backward once."""
    run = compiled_loop(cell)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(x[:3]).sum().backward()
    except Exception as error:  # whatever the compiler or its C++ compiler raises
        lines = str(error).strip().splitlines() or [""]
        raise Unavailable(f"torch.compile failed: {type(error).__name__}: {lines[0][:120]}") from None
    finally:
        cell.zero_grad(set_to_none=True)
    return run


GEMM_SIZES = ((3200, 256, 512), (6400, 512, 1024), (1024, 1024, 1024), (2048, 2048, 2048), (4096, 1024, 1024))


@dataclass(frozen=True)
class Gemm:
    """A float32 matrix product (M, K) · (K, N)."""

    name: str
    operations: float
    call: Callable[[], object]


def gemms() -> Iterator[Gemm]:
    """Products of a few sizes, by ``torch.mm`` and by oneDNN where torch has it."""
    for m, k, n in GEMM_SIZES:
        a, b = torch.randn(m, k), torch.randn(k, n)
        yield Gemm(f"torch.mm {m} × {k} × {n}", 2.0 * m * k * n, partial(torch.mm, a, b))
        if torch.backends.mkldnn.is_available():
            linear = partial(torch.ops.mkldnn._linear_pointwise, a, b.t().contiguous(), None, "none", [], "")
            yield Gemm(f"mkldnn._linear_pointwise {m} × {k} × {n}", 2.0 * m * k * n, linear)


def versions() -> dict[str, str]:
    """Those of the rivals that are installed."""
    found = {}
    for name in ("onnxruntime", "torchrecurrent"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
