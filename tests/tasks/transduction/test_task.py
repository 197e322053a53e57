"""What the trainer sees of transduction: batches, the loss, the score, and that it learns."""

from __future__ import annotations

import copy
import random

import pytest
import torch

from ostinato.cells.library.gru import GRUCell
from ostinato.data.tokens import build_tokens
from ostinato.models.transducer import Transducer
from ostinato.models.transduction_network import TransductionNetwork
from ostinato.models.transduction_size import TransductionSize
from ostinato.tasks.transduction import task as module
from ostinato.tasks.transduction.task import UNCOUNTED, Pair, TransductionTask, loss_of, numbered

PAIRS = [Pair("abc", "cba"), Pair("b", "b"), Pair("ca", "ac"), Pair("aacb", "bcaa"), Pair("cc", "cc")] * 4


def model_of(pairs, hidden_size=6, **size) -> Transducer:
    source = build_tokens([pair.source for pair in pairs], "characters")
    target = build_tokens([pair.target for pair in pairs], "characters")
    sizes = TransductionSize(source.size, target.size, hidden_size=hidden_size, embedding_size=8, **size)
    return Transducer(TransductionNetwork(sizes, GRUCell), source, target)


def task_of(model, pairs=PAIRS, **more) -> TransductionTask:
    return TransductionTask(model, pairs, pairs[:5], **{"batch_tokens": 40, "seed": 3, **more})


def surprises(model, pair) -> list[float]:
    """−ln p of each token of the target and of its end, for one pair alone."""
    size = model.network.size
    source = torch.tensor([[*model.source_tokens.encode(pair.source), size.source_end]]).t()
    target = [*model.target_tokens.encode(pair.target), size.end]
    scores = model.network(source, torch.tensor([len(source)]), torch.tensor([[size.start, *target[:-1]]]).t())
    return [-float(row.log_softmax(0)[token].detach()) for row, token in zip(scores[:, 0], target, strict=True)]


def test_a_batch_is_its_pairs_side_by_side():
    model = model_of(PAIRS)
    batch = numbered(model, [Pair("abc", "cb"), Pair("b", "bca")])
    size = model.network.size
    a, b, c = (model.source_tokens.encode(letter)[0] for letter in "abc")
    assert batch.source.t().tolist() == [[a, b, c, size.source_end], [b, *[size.source_end] * 3]]
    assert batch.lengths.tolist() == [4, 2]
    a, b, c = (model.target_tokens.encode(letter)[0] for letter in "abc")
    assert batch.target.t().tolist() == [[c, b, size.end, UNCOUNTED], [b, c, a, size.end]]
    assert batch.before.t().tolist() == [[size.start, c, b, size.end], [size.start, b, c, a]]


@pytest.mark.parametrize("attention", ["multiplicative", "none"])
def test_the_loss_is_the_mean_surprise(attention):
    model = model_of(PAIRS, attention=attention)
    every = [value for pair in PAIRS[:5] for value in surprises(model, pair)]
    expected = sum(every) / len(every)
    loss, state = task_of(model).loss(numbered(model, PAIRS[:5]), None)
    assert state is None
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert loss_of(model, PAIRS[:5]) == pytest.approx(expected, rel=1e-5)


def test_smoothing_spreads_part_of_the_certainty():
    model = model_of(PAIRS)
    batch = numbered(model, PAIRS[:5])
    scores = model.network(batch.source, batch.lengths, batch.before).log_softmax(2)
    counted = batch.target != UNCOUNTED
    uniform = -(scores.mean(2)[counted]).mean().item()
    plain = task_of(model).loss(batch, None)[0].item()
    smooth = task_of(model, label_smoothing=0.2).loss(batch, None)[0].item()
    assert smooth == pytest.approx(0.8 * plain + 0.2 * uniform, rel=1e-5)


def test_a_long_pair_is_scored_piece_by_piece(monkeypatch):
    model = model_of(PAIRS)
    pairs = [Pair("abc" * 9, "cba" * 9), *PAIRS[:3]]
    whole = loss_of(model, pairs)
    monkeypatch.setattr(module, "CELLS", 60)
    assert loss_of(model, pairs) == pytest.approx(whole, rel=1e-5)


def test_every_pair_is_read_once_an_epoch_whatever_was_read_before():
    task = task_of(model_of(PAIRS))
    sizes = [task.batch(step).lengths.numel() for step in range(task.batches_per_epoch)]
    assert sum(sizes) == len(PAIRS)
    assert max(sizes) > 1
    other = task_of(model_of(PAIRS))
    for step in (7, 2):
        assert torch.equal(task.batch(step).source, other.batch(step).source)
    tokens = [(task.batch(n).source.numel(), task.batch(n).before.numel()) for n in range(task.batches_per_epoch)]
    assert all(sum(both) <= 40 for both in tokens)


def test_it_learns_to_reverse():
    draw = random.Random(0)
    texts = ["".join(draw.choices("abcd", k=draw.randint(2, 5))) for _ in range(1500)]
    pairs = [Pair(text, text[::-1]) for text in texts]
    model = model_of(pairs, hidden_size=48)
    task = TransductionTask(model, pairs[100:], pairs[:100], batch_tokens=500, seed=0)
    before = task.validate()
    optimizer = torch.optim.Adam(model.network.parameters(), lr=0.01)
    for step in range(150):
        loss, _ = task.loss(task.batch(step), None)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.network.parameters(), 1.0)
        optimizer.step()
    after = task.validate()
    assert after.main == "loss"
    assert not after.higher_is_better
    assert after.value < 0.1 * before.value
    assert before.figures["exact_match"] < 0.1 < 0.9 < after.figures["exact_match"]
    finished = task.finished({"steps": 150})
    assert finished.training == {"steps": 150}
    assert finished.predict("abcd") == "dcba"
    weights = finished.attend("abcd", "dcba").weights
    assert weights[:4, :4].argmax(1).tolist() == [3, 2, 1, 0]


def test_validation_leaves_the_network_in_its_mode():
    task = task_of(model_of(PAIRS))
    before = copy.deepcopy(task.network.state_dict())
    for mode in (True, False):
        task.network.train(mode)
        task.validate()
        assert task.network.training == mode
    torch.testing.assert_close(task.network.state_dict(), before, rtol=0, atol=0)
