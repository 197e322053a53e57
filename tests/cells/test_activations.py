"""Activations of the standard cells by name or as a function: Keras's equations in NumPy, in every engine there is."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from scipy.special import erf, expit
from torch import nn

import ostinato
from ostinato import errors
from ostinato.cells import activations

T, B, I, H = 7, 3, 4, 5
SELU = 1.0507009873554805, 1.6732632423543772

NUMPY = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "gelu": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "identity": lambda x: x,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "relu": lambda x: np.maximum(x, 0),
    "selu": lambda x: SELU[0] * np.where(x > 0, x, SELU[1] * np.expm1(x)),
    "sigmoid": expit,
    "silu": lambda x: x * expit(x),
    "sin": np.sin,
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
}


def test_every_name_has_its_function():
    assert list(activations.ACTIVATIONS) == sorted(NUMPY)


def lstm(x, weights, f, gate):
    """Keras's LSTM step: ``activation`` on the candidate and on c, ``recurrent_activation`` on the gates."""
    w, u, b = weights
    h = c = np.zeros((x.shape[1], H))
    outputs = []
    for step in x:
        z0, z1, z2, z3 = np.split(step @ w.T + h @ u.T + b, 4, axis=-1)
        i, f_, g, o = gate(z0), gate(z1), f(z2), gate(z3)
        c = f_ * c + i * g
        h = o * f(c)
        outputs.append(h)
    return np.stack(outputs)


def gru(x, weights, f, gate, reset_after):
    """Keras's GRU step, with both of its orders of reset and product."""
    w, u, b_in, b_h = weights
    h = np.zeros((x.shape[1], H))
    outputs = []
    for step in x:
        x_r, x_z, x_h = np.split(step @ w.T + b_in, 3, axis=-1)
        u_r, u_z, u_h = np.split(u, 3)
        b_r, b_z, b_n = np.split(b_h, 3)
        z, r = gate(x_z + h @ u_z.T + b_z), gate(x_r + h @ u_r.T + b_r)
        new = f(x_h + r * (h @ u_h.T + b_n)) if reset_after else f(x_h + (r * h) @ u_h.T + b_n)
        h = z * h + (1 - z) * new
        outputs.append(h)
    return np.stack(outputs)


def simple(x, weights, f):
    w, u, b = weights
    h, outputs = np.zeros((x.shape[1], H)), []
    for step in x:
        h = f(step @ w.T + h @ u.T + b)
        outputs.append(h)
    return np.stack(outputs)


def arrays(rnn):
    own = {name: p.detach().numpy() for name, p in rnn.named_parameters()}
    return own["weight_ih_l0"], own["weight_hh_l0"], own["bias_ih_l0"], own["bias_hh_l0"]


def check(rnn, expected, x, *engines):
    """In the loop, and where it is named in the native engine; without gradients, for which less is compiled."""
    for engine in ("loop", *engines):
        rnn.engine = engine
        with torch.no_grad():
            output, _ = rnn(torch.from_numpy(x))
        np.testing.assert_allclose(output.numpy(), expected, rtol=0, atol=1e-12)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(T, B, I)) * 1.5


@pytest.mark.parametrize("name", NUMPY)
def test_lstm(x, name):
    rnn = ostinato.LSTM(I, H, activation=name, gate_activation="hard_sigmoid", dtype=torch.float64)
    w, u, b, c = arrays(rnn)
    check(rnn, lstm(x, (w, u, b + c), NUMPY[name], NUMPY["hard_sigmoid"]), x)


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("kind", [ostinato.GRU, ostinato.ChoGRU])
def test_gru(x, kind, name):
    rnn = kind(I, H, activation="softsign", gate_activation=name, dtype=torch.float64)
    expected = gru(x, arrays(rnn), NUMPY["softsign"], NUMPY[name], reset_after=kind is ostinato.GRU)
    check(rnn, expected, x)


@pytest.mark.parametrize("name", NUMPY)
def test_simple(x, name):
    rnn = ostinato.RNN(I, H, nonlinearity=name, dtype=torch.float64)
    w, u, b, c = arrays(rnn)
    check(rnn, simple(x, (w, u, b + c), NUMPY[name]), x, "native")
    rnn.engine = "auto"
    with torch.no_grad():
        assert ostinato.explain(rnn).engine == "native"
    elman = ostinato.Elman(I, H, nonlinearity=name, dtype=torch.float64)
    w, u, b, c = arrays(elman)
    h = simple(x, (w, u, b + c), NUMPY[name])
    check(elman, h @ elman.weight_ho_l0.detach().numpy().T + elman.bias_ho_l0.detach().numpy(), x)


def scaled(x):
    return 1.7159 * torch.tanh(2 / 3 * x)


@pytest.mark.parametrize(
    "function", [scaled, lambda x: x * torch.sigmoid(x), torch.atan], ids=["def", "lambda", "torch"]
)
def test_a_function_of_one_s_own(x, function):
    rnn = ostinato.LSTM(I, H, activation=function, dtype=torch.float64)
    w, u, b, c = arrays(rnn)
    check(rnn, lstm(x, (w, u, b + c), lambda v: function(torch.from_numpy(v)).numpy(), expit), x, "native")
    simple_rnn = ostinato.RNN(I, H, 2, nonlinearity=function, bidirectional=True)
    assert simple_rnn(torch.randn(T, B, I))[0].shape == (T, B, 2 * H)
    assert simple_rnn.mode.startswith("RNN_")


@pytest.mark.parametrize(("activation", "gate"), [("softplus", "hard_sigmoid"), ("sin", "softsign")])
def test_gradients(activation, gate):
    rnn = ostinato.LSTM(2, 3, activation=activation, gate_activation=gate, dtype=torch.float64, engine="native")
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v, *_: rnn(v)[0], (x, *rnn.parameters()))


@pytest.mark.parametrize(("kind", "own"), [(ostinato.LSTM, nn.LSTM), (ostinato.GRU, nn.GRU), (ostinato.RNN, nn.RNN)])
def test_the_default_is_torch_s_and_keeps_its_kernel(kind, own):
    rnn, theirs = kind(I, H, engine="aten"), own(I, H)
    theirs.load_state_dict(rnn.state_dict())
    x = torch.randn(T, B, I)
    torch.testing.assert_close(rnn(x)[0], theirs(x)[0])
    assert type(ostinato.to_torch(rnn)) is own
    relu = ostinato.RNN(I, H, nonlinearity="relu", engine="aten")
    theirs = nn.RNN(I, H, nonlinearity="relu")
    theirs.load_state_dict(relu.state_dict())
    torch.testing.assert_close(relu(x)[0], theirs(x)[0])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda **o: ostinato.LSTM(I, H, activation="relu", **o), "LSTMCell with activation='relu'"),
        (lambda **o: ostinato.GRU(I, H, gate_activation="hard_sigmoid", **o), "GRUCell with gate_activation='hard_s"),
        (lambda **o: ostinato.RNN(I, H, nonlinearity="elu", **o), "RNNCell with nonlinearity='elu'"),
    ],
)
def test_torch_s_kernels_and_modules_have_no_others(make, named):
    x = torch.randn(T, B, I)
    with pytest.raises(errors.EngineError, match=f"'aten' cannot run this: {named}.*is not one of torch's own cells"):
        make(engine="aten")(x)
    with pytest.raises(errors.InvalidValue, match=r"to_torch: torch\.nn.*this layer has"):
        ostinato.to_torch(make())


def test_single_cells():
    x, h = torch.randn(B, I), torch.randn(B, H)
    cell = ostinato.RNNCell(I, H, nonlinearity="sin")
    sums = x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
    torch.testing.assert_close(cell(x, h), torch.sin(sums))
    assert "nonlinearity='sin'" in repr(cell)
    assert "gate_activation='softsign'" in repr(ostinato.LSTMCell(I, H, gate_activation="softsign"))
    assert "activation='relu'" in repr(ostinato.GRU(I, H, activation="relu"))
    with pytest.raises(errors.InvalidValue, match=r"to_torch: torch\.nn has no activation"):
        ostinato.to_torch(ostinato.GRUCell(I, H, activation="relu"))


def test_the_default_s_state_dict_and_seed_are_torch_s():
    torch.manual_seed(1)
    ours = ostinato.GRU(I, H, activation="relu")
    torch.manual_seed(1)
    theirs = nn.GRU(I, H)
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: ostinato.LSTM(I, H, activation="tahn"), errors.InvalidValue, "got 'tahn'; did you mean 'tanh'"),
        (lambda: ostinato.GRU(I, H, gate_activation="sigmiod"), errors.InvalidValue, "gate_activation must be one of"),
        (lambda: ostinato.RNN(I, H, nonlinearity="none"), errors.InvalidValue, "nonlinearity must be one of 'elu'"),
        (lambda: ostinato.LSTM(I, H, activation=3), errors.InvalidType, "activation must be one of .* or a function"),
        (lambda: ostinato.RNN(I, H, activation="tanh"), errors.InvalidType, "RNNCell has no option 'activation'"),
    ],
)
def test_what_is_no_activation(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_options_stand_after_torch_s_own_arguments():
    """A call written for torch.nn's positional arguments means the same here."""
    for ours, theirs in (
        (ostinato.LSTMCell, nn.LSTMCell),
        (ostinato.GRUCell, nn.GRUCell),
        (ostinato.RNNCell, nn.RNNCell),
    ):
        positional = [n for n, p in inspect.signature(ours).parameters.items() if p.kind is not p.KEYWORD_ONLY]
        assert positional == list(inspect.signature(theirs).parameters)
