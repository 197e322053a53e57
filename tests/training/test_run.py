"""Whole runs, small: what they leave, what they refuse, and what survives when something fails."""

from __future__ import annotations

import csv
import errno
import math
import os

import matplotlib.image
import pytest
import torch

import ostinato
from ostinato.errors import DataError, InvalidValue, ModelFolderError, TrainingError
from ostinato.models.evaluation import Evaluation
from ostinato.models.folder import load, save
from ostinato.models.language_model import LanguageModel, LanguageModelSize
from ostinato.models.text_model import TextModel
from ostinato.models.vocabulary import CharacterVocabulary
from ostinato.tasks.language_modelling.corpus import validation_part
from ostinato.tasks.language_modelling.settings import LanguageModelSettings
from ostinato.training.checkpoint import read_checkpoint
from ostinato.training.run import train
from ostinato.training.schedule import learning_rate, progress
from tests.models.test_folder import LeakyCell

SMALL = {"hidden_size": 12, "embedding_size": 6, "batch_size": 4, "sequence_length": 16, "device": "cpu", "quiet": True}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{n} green bottles, {n % 7} of them on the wall.\n" for n in range(300)))
    return path


def test_what_a_run_leaves(text, tmp_path):
    result = train(text, tmp_path / "m", steps=60, validate_every=20, **SMALL)
    model = ostinato.load(result.folder)
    tokens = validation_part(text, model.vocabulary, 0.1, 250_000)
    again = model.evaluate_tokens(tokens)
    assert again.as_dict() == model.training["validation"]
    assert again == Evaluation.from_dict({**result.validation.figures, **result.validation.about})
    assert (result.step, result.best_step, result.stopped_because) == (60, 60, "all steps done")
    rows = list(csv.DictReader((tmp_path / "m" / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    assert float(rows[-1]["validation_nats"]) < float(rows[0]["validation_nats"]) < math.log(model.vocabulary.size)
    assert matplotlib.image.imread(result.curve).shape[2] == 4
    names = {path.name for path in (tmp_path / "m").iterdir()}
    assert names == {"config.json", "model.safetensors", "checkpoints", "metrics.csv", "learning_curve.png", "run.json"}


@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "gru", "tokens": "byte"},
        {"cell": "rnn", "input": "one-hot", "num_layers": 2, "dropout": 0.1},
        {"cell": "tests.models.test_folder:LeakyCell"},
        {"epochs": 0.5},
    ],
)
def test_every_kind_of_model_learns(text, tmp_path, changes):
    settings = {**SMALL, "steps": 40, "validate_every": 20, **changes}
    result = train(text, tmp_path / "m", **settings)
    assert result.validation.figures["nats"] < math.log(256 if "tokens" in changes else 40)
    assert load(result.folder, cell=result.cell).evaluate("3 green bottles").unknown == 0


def test_carried_state_and_batches_are_the_definition(text, tmp_path):
    """The run against the same training written out in twenty lines."""
    result = train(text, tmp_path / "m", steps=30, validate_every=30, seed=5, clip=0.5, **SMALL)
    torch.manual_seed(5)
    untrained = tmp_path / "m0"
    train(text, untrained, steps=1, validate_every=1, seed=5, learning_rate=1e-30, **SMALL)
    network = load(untrained).network.train()
    from ostinato.tasks.language_modelling.batches import Batches
    from ostinato.tasks.language_modelling.corpus import open_corpus

    corpus = open_corpus(text, "char", 0.1, 16)
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.99), weight_decay=0.0)
    state = None
    batches = Batches(corpus, 4, 16, seed=5)
    for step, batch in enumerate(batches[number] for number in range(30)):
        scores, state = network(batch.inputs, None if batch.fresh else state)
        state = tuple(part.detach() for part in state)
        loss = torch.nn.functional.cross_entropy(scores.reshape(-1, scores.shape[-1]), batch.targets.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * (1.01 + 0.99 * math.cos(math.pi * step / 30)) * (step + 1) / 100 * LEARNING_RATE
        optimizer.step()
    for name, tensor in load(result.folder).network.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


LEARNING_RATE = LanguageModelSettings().learning_rate


def test_a_run_leaves_the_callers_random_numbers_alone(text, tmp_path):
    before = torch.get_rng_state()
    train(text, tmp_path / "m", steps=2, **SMALL)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_gives_the_same_weights(text, tmp_path):
    one, two, other = (
        load(train(text, tmp_path / name, steps=10, dropout=0.3, seed=seed, **SMALL).folder).network.state_dict()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_the_best_weights_are_kept_and_patience_ends(text, tmp_path):
    result = train(
        text, tmp_path / "m", steps=4000, validate_every=5, patience=3, learning_rate=1.0, warm_up=0, **SMALL
    )
    assert "3 times in a row" in result.stopped_because
    assert result.step == result.best_step + 15
    model = load(result.folder)
    again = model.evaluate_tokens(validation_part(text, model.vocabulary, 0.1, 250_000))
    assert again.nats == result.validation.figures["nats"]
    assert train(out=tmp_path / "m", resume=True, quiet=True).step == result.step


def test_a_time_budget_ends(text, tmp_path):
    result = train(text, tmp_path / "m", time_budget="1s", **SMALL)
    assert result.stopped_because == "time budget used"
    assert result.seconds >= 1
    assert result.validation is not None


def test_a_finished_run_may_be_prolonged(text, tmp_path):
    train(text, tmp_path / "m", steps=10, **SMALL)
    assert train(out=tmp_path / "m", resume=True, steps=25, quiet=True).step == 25


def test_folders_that_hold_something(text, tmp_path):
    train(text, tmp_path / "m", steps=2, **SMALL)
    with pytest.raises(ModelFolderError, match=r"holds a run already; go on with it \(--resume\)"):
        train(text, tmp_path / "m", steps=2, **SMALL)
    train(text, tmp_path / "m", steps=3, overwrite=True, **SMALL)
    with pytest.raises(InvalidValue, match="exclude each other"):
        train(text, tmp_path / "m", overwrite=True, resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ModelFolderError, match="left alone"):
            train(text, tmp_path / "other", steps=2, overwrite=overwrite, **SMALL)
    with pytest.raises(ModelFolderError, match="is a file"):
        train(text, text, steps=2, **SMALL)
    assert (tmp_path / "other" / "thesis.tex").read_text() == "years of work"


def test_a_cell_of_ones_own_is_named_again_on_resuming(text, tmp_path):
    train(text, tmp_path / "m", steps=3, cell=LeakyCell, **SMALL)
    name = f"{LeakyCell.__module__}:LeakyCell"
    with pytest.raises(ModelFolderError, match=f"never enough to import code.*--cell {name}"):
        train(out=tmp_path / "m", resume=True, steps=5, quiet=True)
    assert train(out=tmp_path / "m", resume=True, steps=5, cell=LeakyCell, quiet=True).step == 5


def test_a_cell_without_an_import_path(text, tmp_path):
    class Local(LeakyCell):
        pass

    with pytest.raises(InvalidValue, match=r"package.module:Class"):
        train(text, tmp_path / "m", cell=Local, **SMALL)
    model = TextModel(LanguageModel(LanguageModelSize(4, 3), Local), CharacterVocabulary("abc"))
    with pytest.raises(ModelFolderError, match="at the top of a module"):
        save(model, tmp_path / "n")


def test_what_cannot_be_resumed(text, tmp_path):
    with pytest.raises(ModelFolderError, match="there is no run to go on with"):
        train(out=tmp_path / "m", resume=True)
    train(text, tmp_path / "m", steps=2, **SMALL)
    with pytest.raises(InvalidValue, match=r"keeps its settings.*got hidden_size"):
        train(out=tmp_path / "m", resume=True, hidden_size=13)
    text.write_text(text.read_text() + "more")
    with pytest.raises(DataError, match="is not what this run began with"):
        train(out=tmp_path / "m", resume=True)


def test_a_damaged_or_hostile_checkpoint(text, tmp_path):
    train(text, tmp_path / "m", steps=2, **SMALL)
    checkpoint = tmp_path / "m" / "checkpoints" / "last.ckpt"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[:1000])
    with pytest.raises(TrainingError, match="cannot be read"):
        train(out=tmp_path / "m", resume=True, steps=4)
    torch.save({"global_step": 1, "ostinato": os.system}, checkpoint)
    with pytest.raises(TrainingError, match="cannot be read"):
        train(out=tmp_path / "m", resume=True, steps=4)


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_a_loss_that_becomes_nan(text, tmp_path, monkeypatch, poison):
    forward, calls = LanguageModel.forward, []

    def poisoned(self, tokens, state=None):
        scores, state = forward(self, tokens, state)
        if self.training:
            calls.append(1)
            if len(calls) == 25:
                if poison == "loss":
                    return scores * math.nan, state
                scores.register_hook(lambda gradient: gradient * math.nan)
        return scores, state

    monkeypatch.setattr(LanguageModel, "forward", poisoned)
    with pytest.raises(TrainingError, match=rf"the {poison} became nan at step 25;.*--resume --learning-rate"):
        train(text, tmp_path / "m", steps=40, validate_every=10, checkpoint_every=7, **SMALL)
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "m" / "checkpoints" / "last.ckpt")["global_step"] == 21
    assert all(bool(t.isfinite().all()) for t in load(tmp_path / "m").network.state_dict().values())
    assert train(out=tmp_path / "m", resume=True, learning_rate=1e-3, quiet=True).step == 40


@pytest.mark.parametrize(("call", "after"), [("replace", 8), ("replace", 14), ("fsync", 14), ("fsync", 19)])
def test_a_disk_that_fills_up(text, tmp_path, monkeypatch, call, after):
    """The n-th write of the run fails: whichever file it is, the old ones stand, and the run can go on."""
    real, calls = getattr(os, call), []

    def full(*arguments):
        calls.append(1)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    monkeypatch.setattr(os, call, full)
    with pytest.raises(TrainingError, match=r"No space left.*Make room, and go on with --resume"):
        train(text, tmp_path / "m", steps=60, validate_every=10, checkpoint_every=4, **SMALL)
    monkeypatch.setattr(os, call, real)
    load(tmp_path / "m")
    assert not list((tmp_path / "m").rglob("*.tmp"))
    assert train(out=tmp_path / "m", resume=True, quiet=True).step == 60


def test_the_schedule():
    assert progress(10, None, 30, 120) == 0.25
    assert progress(10, 20, 30, 120) == 0.5
    assert progress(30, 20, 30, None) == 1
    assert learning_rate(1.0, 0, 10, 0.0) == pytest.approx(0.1)
    assert learning_rate(1.0, 50, 10, 0.5) == pytest.approx(0.505)
    assert learning_rate(1.0, 50, 0, 1.0) == pytest.approx(0.01)


class NeedyCell(ostinato.Cell):
    """Its constructor wants what no layer gives."""

    def __init__(self, input_size, hidden_size, needed):
        super().__init__(input_size, hidden_size)

    def step(self, x, h):
        return h


class FailingCell(ostinato.Cell):
    def step(self, x, h):
        return h @ x


class ShrinkingCell(ostinato.Cell):
    def step(self, x, h):
        return h[:, 1:]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": NeedyCell}, r"TypeError: .*'needed'"),
        ({"cell": FailingCell}, r"FailingCell does not work with these settings: RuntimeError: mat1"),
        ({"cell": ShrinkingCell}, r"must return h as \(batch, 12\)"),
        ({"device": "cuda"}, r"finds no CUDA GPU"),
        ({"batch_size": 0}, r"at least 1"),
    ],
)
def test_bad_input_never_costs_the_run_that_was_to_be_replaced(text, tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    train(text, tmp_path / "m", steps=2, **SMALL)
    before = {path: path.read_bytes() for path in (tmp_path / "m").rglob("*") if path.is_file()}
    with pytest.raises((ValueError, TypeError), match=message):
        train(text, tmp_path / "m", overwrite=True, **(SMALL | changes))
    assert {path: path.read_bytes() for path in (tmp_path / "m").rglob("*") if path.is_file()} == before
