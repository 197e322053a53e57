"""Where a sequence begins: zeros, learned, or computed from the input or a condition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ostinato


class Begin(nn.Module):
    """(h, c) for an LSTM of two layers, from whatever it is given."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, 4 * 5)

    def forward(self, value):
        mean = value.mean(0) if value.dim() == 3 else value
        h, c = self.linear(mean).view(-1, 4, 5).transpose(0, 1).chunk(2)
        return h, c


def test_learned() -> None:
    layer = ostinato.LSTM(4, 5, 2, bidirectional=True, initial_state="learned")
    plain = ostinato.LSTM(4, 5, 2, bidirectional=True)
    plain.load_state_dict(layer.state_dict(), strict=False)
    x = torch.randn(6, 3, 4)
    assert torch.equal(layer(x)[0], plain(x)[0])
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if name.startswith("initial_"):
                parameter.normal_()
    h, c = (
        torch.stack([getattr(layer, f"initial_{s}_l{k}{d}") for k in range(2) for d in ("", "_reverse")])
        .unsqueeze(1)
        .expand(4, 3, 5)
        for s in "hc"
    )
    torch.testing.assert_close(layer(x)[0], plain(x, (h, c))[0])
    torch.testing.assert_close(layer(x, lengths=[6, 0, 2])[0], plain(x, (h, c), lengths=[6, 0, 2])[0])
    given = (torch.zeros(4, 3, 5), torch.zeros(4, 3, 5))
    assert torch.equal(layer(x, given)[0], plain(x)[0])
    layer(x)[0].sum().backward()
    assert all(p.grad.abs().sum() > 0 for n, p in layer.named_parameters() if n.startswith("initial_"))
    layer.reset_parameters()
    assert all(not p.any() for n, p in layer.named_parameters() if n.startswith("initial_"))


@pytest.mark.parametrize("lengths", [None, [6, 1, 4]])
def test_computed_from_the_input(lengths) -> None:
    begin = Begin(4)
    layer = ostinato.LSTM(4, 5, 2, initial_state=begin)
    plain = ostinato.LSTM(4, 5, 2)
    plain.load_state_dict(layer.state_dict(), strict=False)
    x = torch.randn(6, 3, 4)
    zeroed = x.clone()
    for b, n in enumerate(lengths or []):
        zeroed[n:, b] = 0
    expected, _ = plain(x, begin(zeroed), lengths=lengths)
    torch.testing.assert_close(layer(x, lengths=lengths)[0], expected)
    if lengths is None:
        torch.testing.assert_close(layer(x[:, 0])[0], expected[:, 0])
        first = ostinato.LSTM(4, 5, 2, initial_state=begin, batch_first=True)
        first.load_state_dict(layer.state_dict())
        torch.testing.assert_close(first(x.transpose(0, 1))[0], expected.transpose(0, 1))


def test_computed_from_a_condition() -> None:
    begin = Begin(7)
    layer = ostinato.LSTM(4, 5, 2, initial_state=begin)
    plain = ostinato.LSTM(4, 5, 2)
    plain.load_state_dict(layer.state_dict(), strict=False)
    x, image = torch.randn(6, 3, 4), torch.randn(3, 7)
    output, _ = layer(x, condition=image)
    torch.testing.assert_close(output, plain(x, begin(image))[0])
    torch.testing.assert_close(layer(x[:, 1], condition=image[1])[0], output[:, 1])
    output.sum().backward()
    assert begin.linear.weight.grad.abs().sum() > 0
    assert {"initial_state.linear.weight", "weight_ih_l0"} <= set(layer.state_dict())


def test_what_is_refused() -> None:
    x = torch.randn(6, 3, 4)
    with pytest.raises(ValueError, match=r"did you mean 'learned'"):
        ostinato.GRU(4, 5, initial_state="learnt")
    with pytest.raises(TypeError, match=r"Module"):
        ostinato.GRU(4, 5, initial_state=torch.zeros(1, 3, 5))
    with pytest.raises(ValueError, match=r"condition="):
        ostinato.GRU(4, 5)(x, condition=x)
    with pytest.raises(RuntimeError, match=r"result of initial_state.*must be \(1, 3, 5\)"):
        ostinato.GRU(4, 5, initial_state=nn.Linear(4, 5))(x)
