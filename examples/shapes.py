"""Print the shapes of cells, layers, projections, directions and stacks, beside the rule each of them follows.

    python examples/shapes.py

T time steps, B sequences in a batch, I input width, H hidden width, P projection, L layers, D directions.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import ostinato


def shape(value: Any) -> str:
    """The shape of a tensor, or those of the tensors of a tuple."""
    return str(tuple(value.shape)) if isinstance(value, Tensor) else ", ".join(map(shape, value))


def row(name: str, value: Any, rule: str = "") -> None:
    """One printed line."""
    print(f"  {name:<22}{shape(value) if not isinstance(value, str) else value:<26}{rule}".rstrip())


def cell_in_a_loop() -> None:
    print("A cell is one step; the loop over time is yours. RNNCell(10, 20) over (6, 3, 10):")
    cell = ostinato.RNNCell(10, 20)
    x, h = torch.randn(6, 3, 10), torch.zeros(3, 20)
    outputs = []
    for x_t in x:
        h = cell(x_t, h)
        outputs.append(h)
    row("x", x, "(T, B, I)")
    row("outputs", f"{len(outputs)} × {shape(outputs[0])}", "T × (B, H)")


def cell_and_layer() -> None:
    print("\nA layer is that loop. RNNCell(4, 2) and RNN(4, 2) with the same weights over (3, 1, 4):")
    cell, layer = ostinato.RNNCell(4, 2), ostinato.RNN(4, 2)
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    x = torch.randn(3, 1, 4)
    h, outputs = None, []
    for x_t in x:
        h = cell(x_t, h)
        outputs.append(h)
    output, h_n = layer(x)
    row("cell, each step", outputs[0], "(B, H)")
    row("layer, output", output, "(T, B, H)")
    row("layer, h_n", h_n, "(L, B, H): the last step's")
    print(f"  equal: {torch.allclose(torch.stack(outputs), output)}")

    print("\nThe same with batch_first, RNN(4, 2, batch_first=True) over (1, 3, 4):")
    turned = ostinato.RNN(4, 2, batch_first=True)
    turned.load_state_dict(layer.state_dict())
    output_turned, h_n = turned(x.transpose(0, 1))
    row("output", output_turned, "(B, T, H)")
    row("h_n", h_n, "(L, B, H): states are never batch-first")
    print(f"  equal: {torch.allclose(output_turned.transpose(0, 1), output)}")


def lstm() -> None:
    print("\nLSTM(4, 5, batch_first=True): batch 2, T 3, I 4, H 5. Four gates lie stacked in each weight:")
    layer = ostinato.LSTM(4, 5, batch_first=True)
    output, (h_n, c_n) = layer(torch.randn(2, 3, 4))
    for name, value in layer.named_parameters():
        row(name, value, {"weight_ih_l0": "(4·H, I)", "weight_hh_l0": "(4·H, H)"}.get(name, "(4·H)"))
    row("output", output, "(B, T, H)")
    row("h_n", h_n, "(L, B, H)")
    row("c_n", c_n, "(L, B, H)")


def lstmp() -> None:
    print("\nLSTMP, the same with proj_size=3: every h_t is mapped to P = 3 values, c keeps H = 5:")
    layer = ostinato.LSTM(4, 5, batch_first=True, proj_size=3)
    output, (h_n, c_n) = layer(torch.randn(2, 3, 4))
    rules = {"weight_hh_l0": "(4·H, P) instead of (4·H, H)", "weight_hr_l0": "(P, H), the projection"}
    for name, value in layer.named_parameters():
        row(name, value, rules.get(name, ""))
    row("output", output, "(B, T, P)")
    row("h_n", h_n, "(L, B, P)")
    row("c_n", c_n, "(L, B, H)")

    print("\nWhat a projection saves: parameters, and multiplications a step and sequence (one for each weight entry):")
    print(f"  {'':<26}{'parameters':>12}{'saved':>8}{'multiplications':>18}{'saved':>8}")
    for inputs, hidden, projection in ((4, 5, 3), (64, 512, 128), (256, 1024, 256)):
        plain, small = (counts(ostinato.LSTM(inputs, hidden, proj_size=p)) for p in (0, projection))
        print(f"  {f'LSTM({inputs}, {hidden})':<26}{plain[0]:>12,}{'':>8}{plain[1]:>18,}")
        saved = [f"{1 - after / before:.0%}" for before, after in zip(plain, small, strict=True)]
        print(f"  {f'    proj_size={projection}':<26}{small[0]:>12,}{saved[0]:>8}{small[1]:>18,}{saved[1]:>8}")
    print("  A P near H saves nothing: it pays when 4·H·(H - P) exceeds the projection's own P·H, so for P < 0.8·H.")


def counts(layer: ostinato.Recurrent) -> tuple[int, int]:
    """Parameters, and the multiplications of one step's matrix products."""
    parameters = dict(layer.named_parameters())
    return sum(p.numel() for p in parameters.values()), sum(p.numel() for p in parameters.values() if p.dim() == 2)


def directions_and_layers() -> None:
    print("\nTwo directions, GRU(4, 5, bidirectional=True): parameters of their own, outputs joined at the same step:")
    layer = ostinato.GRU(4, 5, bidirectional=True)
    output, h_n = layer(torch.randn(3, 2, 4))
    row("output", output, "(T, B, 2·H)")
    row("h_n", h_n, "(2·L, B, H): forward, reverse")
    print(f"  reverse ends at t = 0: {torch.equal(output[0, :, 5:], h_n[1])}")
    one, two = ostinato.GRU(4, 5), layer
    print(f"  parameters: {counts(one)[0]:,} in one direction, {counts(two)[0]:,} in two")

    print("\nTwo layers of two directions, LSTM(4, 5, num_layers=2, bidirectional=True): layer 1 reads 2·H values:")
    deep = ostinato.LSTM(4, 5, num_layers=2, bidirectional=True)
    output, (h_n, c_n) = deep(torch.randn(3, 2, 4))
    for name in ("weight_ih_l0", "weight_ih_l0_reverse", "weight_ih_l1", "weight_ih_l1_reverse"):
        row(name, getattr(deep, name), "(4·H, I)" if "l0" in name else "(4·H, 2·H)")
    row("output", output, "(T, B, 2·H)")
    row("h_n", h_n, "(2·L, B, H)")
    row("c_n", c_n, "(2·L, B, H)")
    print(f"\n{ostinato.explain(deep)}")


def main(argv: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args(argv)
    torch.manual_seed(0)
    cell_in_a_loop()
    cell_and_layer()
    lstm()
    lstmp()
    directions_and_layers()


if __name__ == "__main__":
    main()
