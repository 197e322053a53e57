"""Swapping torch.nn's recurrent modules for ours and back, on the same parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import ostinato
from tests.support.own_cells import PeepholeLSTMCell

MODULES = [
    lambda: nn.LSTM(4, 5, 2, bidirectional=True, batch_first=True, dropout=0.3),
    lambda: nn.LSTM(4, 5, proj_size=3, bias=False),
    lambda: nn.GRU(4, 5, dtype=torch.float64),
    lambda: nn.RNN(4, 5, nonlinearity="relu"),
    lambda: nn.LSTMCell(4, 5),
    lambda: nn.GRUCell(4, 5, bias=False),
    lambda: nn.RNNCell(4, 5, nonlinearity="relu"),
]


def leaves(value):
    return torch.utils._pytree.tree_leaves(value)


@pytest.mark.parametrize("make", MODULES)
def test_there_and_back(make) -> None:
    theirs = make().eval()
    ours = ostinato.replace_(theirs)
    back = ostinato.to_torch(ours)
    assert type(ours).__name__ == type(theirs).__name__
    assert type(ours) is not type(theirs)
    assert type(back) is type(theirs)
    assert not ours.training
    names = dict(theirs.named_parameters())
    for module in (ours, back):
        assert list(module.state_dict()) == list(theirs.state_dict())
        assert all(p is names[n] for n, p in module.named_parameters())
    x = torch.randn(3, 4) if "Cell" in type(ours).__name__ else torch.randn(6, 3, 4)
    x = x.to(next(theirs.parameters()).dtype)
    for one, two, three in zip(leaves(theirs(x)), leaves(ours(x)), leaves(back(x)), strict=True):
        torch.testing.assert_close(two, one)
        assert torch.equal(one, three)
    assert str(getattr(back, "dropout", None)) == str(getattr(theirs, "dropout", None))


def test_inside_a_model() -> None:
    shared = nn.GRU(4, 4)
    model = nn.ModuleDict(
        {
            "a": shared,
            "b": nn.Sequential(nn.Linear(4, 4), shared),
            "own": nn.ModuleList([nn.LSTMCell(4, 4), nn.RNN(4, 4)]),
        }
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    keys = list(model.state_dict())
    calls = []
    shared.register_forward_hook(lambda *_: calls.append(1))
    assert ostinato.replace_(model) is model
    assert type(model["a"]) is ostinato.GRU
    assert model["b"][1] is model["a"]
    assert [type(m) for m in model["own"]] == [ostinato.LSTMCell, ostinato.RNN]
    assert list(model.state_dict()) == keys
    before = model["a"].weight_hh_l0.detach().clone()
    model["a"](torch.randn(6, 3, 4))[0].sum().backward()
    optimizer.step()
    assert not torch.equal(before, model["a"].weight_hh_l0)
    assert calls == [1]


def test_pruned_modules_stay_pruned() -> None:
    theirs = nn.LSTM(4, 5)
    prune.random_unstructured(theirs, "weight_hh_l0", amount=0.5)
    ours = ostinato.replace_(theirs)
    x = torch.randn(6, 3, 4)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours(x)[0].sum().backward()
    assert not ours.weight_hh_l0_orig.grad[ours.weight_hh_l0_mask == 0].any()


def test_what_is_left_alone_or_refused() -> None:
    class Special(nn.LSTM):
        pass

    model = nn.ModuleList([Special(4, 5)])
    assert type(ostinato.replace_(model)[0]) is Special
    normed = parametrizations.weight_norm(nn.GRU(4, 5), "weight_hh_l0")
    with pytest.raises(ValueError, match=r"replace first and parametrize"):
        ostinato.replace_(nn.ModuleList([normed]))
    for layer, kind, says in (
        (ostinato.LSTM(4, [5, 6]), ValueError, r"one width for all layers"),
        (ostinato.GRU(4, 5, initial_state="learned"), ValueError, r"begins at zeros"),
        (ostinato.LSTMCell(4, 5, proj_size=3), ValueError, r"no projection"),
        (ostinato.ChoGRU(4, 5), TypeError, r"got ostinato\.layers\.torch_nn\.ChoGRU"),
        (ostinato.Recurrent(PeepholeLSTMCell, 4, 5), TypeError, r"got .*Recurrent; for a whole model"),
        (parametrizations.weight_norm(ostinato.GRU(4, 5), "weight_hh_l0"), ValueError, r"parametrization first"),
    ):
        with pytest.raises(kind, match=says):
            ostinato.to_torch(layer)


@pytest.mark.parametrize("make", MODULES)
def test_state_dicts_load_strictly_both_ways(make) -> None:
    theirs = make()
    ours = ostinato.replace_(make())
    ours.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(ours.state_dict(), strict=True)


def test_hooks_of_every_kind_go_along() -> None:
    model = nn.Sequential(nn.LSTM(4, 5))
    calls = []
    lstm = model[0]
    handle = lstm.register_forward_pre_hook(lambda m, a, k: calls.append("pre"), with_kwargs=True)
    lstm.register_forward_hook(lambda m, a, k, o: calls.append("post"), with_kwargs=True)
    lstm.register_full_backward_hook(lambda m, gi, go: calls.append("back"))
    lstm.register_state_dict_post_hook(lambda m, *_: calls.append("state"))
    lstm.note, lstm.extra = "kept", nn.Linear(2, 2)
    ostinato.replace_(model)
    x = torch.randn(3, 2, 4, requires_grad=True)
    model(x)[0].sum().backward()
    model.state_dict()
    assert calls == ["pre", "post", "back", "state"]
    assert model[0].note == "kept"
    assert model[0].extra is lstm.extra
    handle.remove()
    calls.clear()
    model(x)
    assert calls == ["post"]
    back = ostinato.to_torch(model[0])
    back.register_forward_hook(lambda *_: calls.append("theirs"))
    calls.clear()
    model(x)
    assert calls == ["post"]
    with pytest.raises(TypeError, match=r"needs a torch\.nn\.Module, got int"):
        ostinato.replace_(3)
