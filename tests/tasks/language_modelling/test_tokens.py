"""Corpora and models of words and byte pairs, from the file to the figures, against brute force."""

from __future__ import annotations

import math

import numpy
import pytest
import torch

import ostinato
from ostinato.errors import DataError, InvalidValue
from ostinato.models import text_file
from ostinato.models.folder import load
from ostinato.tasks.language_modelling.corpus import open_corpus, validation_part
from ostinato.tasks.language_modelling.kind import TASK, evaluation
from ostinato.tasks.language_modelling.line_tokens import cut_of, validation_characters
from ostinato.training.checkpoint import read_checkpoint

TEXT = "".join(f"{n} green bottles — hanging on the wall, number {n % 7}; été!\n\n" for n in range(60))

SMALL = {
    "hidden_size": 16, "embedding_size": 8, "batch_size": 4, "sequence_length": 12, "learning_rate": 0.03,
    "warm_up": 5, "device": "cpu", "quiet": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def corpus_of(path, tokens, **changes):
    sizes = {"word": {"least_count": 1}, "bpe": {"vocabulary_size": 300}}
    return open_corpus(path, tokens, 0.1, 10, **(sizes[tokens] | changes))


@pytest.mark.parametrize("piece", [1, 7, 1 << 22])
@pytest.mark.parametrize("tokens", ["word", "bpe"])
def test_both_parts_are_read_and_cut_where_characters_are(file, monkeypatch, tokens, piece):
    monkeypatch.setattr(text_file, "PIECE", piece)
    corpus = corpus_of(file, tokens)
    cut = len(TEXT) - round(0.1 * len(TEXT))
    assert cut_of(file, 0.1) == cut
    assert corpus.training.tolist() == corpus.vocabulary.encode(TEXT[:cut])
    assert corpus.validation.tolist() == corpus.vocabulary.encode(TEXT[cut:])
    if tokens == "bpe":
        assert "".join(corpus.vocabulary.decode(corpus.training)) == TEXT[:cut]


@pytest.mark.parametrize("tokens", ["word", "bpe"])
def test_the_second_time_comes_from_the_cache(file, monkeypatch, tokens):
    first = corpus_of(file, tokens)
    monkeypatch.setattr(text_file, "PIECE", None)  # reading the file would fail
    second = corpus_of(file, tokens)
    assert numpy.array_equal(first.training, second.training)
    assert second.vocabulary == first.vocabulary


def test_the_vocabulary_is_that_of_the_training_part(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("one twos up\n" * 81 + "four one\n" * 12)  # the latter are a tenth of the characters
    corpus = corpus_of(path, "word")
    assert corpus.vocabulary.known.tokens == ("\n", "one", "twos", "up")
    assert corpus.unknown_in_validation() == 12
    learnt = corpus_of(path, "bpe", vocabulary_size=400).vocabulary.subwords.pieces
    assert "Ġtwos" in learnt
    assert not any("ou" in piece for piece in learnt)


def test_rare_words_are_counted(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("one two\n" * 85 + "three three three four five\none two one\n" + "one two\n" * 10)
    corpus = corpus_of(path, "word", least_count=3)
    assert set(corpus.vocabulary.known.tokens) == {"one", "\n", "two", "three"}
    assert corpus.unknown_in_training == 2 == (corpus.training == 0).sum()
    assert corpus_of(path, "word", vocabulary_size=2).vocabulary.size == 3
    with pytest.raises(DataError, match=r"no word of .* occurs 100 times.*smaller --least-count"):
        corpus_of(path, "word", least_count=100)
    with pytest.raises(InvalidValue, match=r"from 257 to .*, got 9; give another --vocabulary-size"):
        corpus_of(path, "bpe", vocabulary_size=9)


@pytest.mark.parametrize("tokens", ["word", "bpe"])
@pytest.mark.parametrize("limit", [1, 17, 40, 10**9])
def test_characters_of_the_validation_part(file, tokens, limit):
    vocabulary = corpus_of(file, tokens).vocabulary
    part = TEXT[len(TEXT) - round(0.1 * len(TEXT)) :]
    found = validation_characters(file, vocabulary, 0.1, limit)
    numbers = validation_part(file, vocabulary, 0.1, limit)
    assert numbers.tolist() == vocabulary.encode(part)[:limit]
    covered = part[:found]
    assert vocabulary.encode(covered)[: len(numbers) - 1] == numbers.tolist()[:-1]
    if limit == 10**9:
        assert covered == part
    elif tokens == "bpe":
        assert covered == "".join(vocabulary.decode(numbers))
    else:
        assert vocabulary.encode(covered) == numbers.tolist()


@pytest.mark.parametrize(("tokens", "size"), [("word", {}), ("bpe", {"vocabulary_size": 300})])
def test_a_tiny_model_learns_and_its_figures_are_the_definition(file, tmp_path, tokens, size):
    result = ostinato.train(file, tmp_path / "m", tokens=tokens, steps=120, validate_every=60, **size, **SMALL)
    model = load(tmp_path / "m")
    # By brute force: one reading of the validation part, in double precision.
    part = TEXT[len(TEXT) - round(0.1 * len(TEXT)) :]
    numbers = torch.tensor(model.vocabulary.encode(part))
    network = model.network.double().eval()
    with torch.no_grad():
        scores, _ = network(numbers[:-1].unsqueeze(1))
    surprise = [-float(torch.log_softmax(row, 0)[n]) for row, n in zip(scores[:, 0], numbers[1:], strict=True)]
    nats = sum(surprise) / len(surprise)
    figures = result.validation.figures
    assert figures["nats"] == pytest.approx(nats, rel=1e-5)
    assert figures["perplexity"] == pytest.approx(math.exp(nats), rel=1e-5)
    assert figures["bits_per_character"] == pytest.approx(sum(surprise) / math.log(2) / len(part), rel=1e-5)
    assert result.validation.about["characters"] == len(part)
    # It knows the verse: far below the surprise of an even guess among the words.
    assert nats < 0.5 * math.log(model.vocabulary.size)

    network.float()
    again = evaluation(model, file, "validation")
    assert again.as_dict()["bits_per_character"] == pytest.approx(figures["bits_per_character"], rel=1e-6)
    assert f"{again.bits_per_character:.4f} bits per character" in str(again)
    whole = model.evaluate(file)
    assert whole.characters == len(TEXT)
    assert whole.nats == pytest.approx(model.evaluate(TEXT).nats)

    written = model.sample("3 green", 60, temperature=0.3, seed=1)
    assert written == model.sample("3 green", 60, temperature=0.3, seed=1)
    assert written.startswith(" ")
    assert "hanging on the wall," in written
    assert "\N{REPLACEMENT CHARACTER}" not in written
    assert max(model.predict("hanging on the"), key=model.predict("hanging on the").get).strip() == "wall"
    assert model.encode(["3 green", "on the wall"]).shape == (2, 16)


def test_an_interrupted_run_of_the_preset_ends_with_the_same_weights(file, tmp_path):
    flags = {"tokens": "bpe", "vocabulary_size": 280, "preset": "awd", "num_layers": 2, "validate_every": 8, **SMALL}
    ostinato.train(file, tmp_path / "whole", steps=24, checkpoint_every=5, **flags)

    class Stop(Exception):
        pass

    forward = ostinato.models.LanguageModel.activations
    calls = []

    def failing(self, *arguments):
        calls.append(self.training)
        if sum(calls) == 14:
            raise Stop
        return forward(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ostinato.models.LanguageModel, "activations", failing)
        with pytest.raises(Stop):
            ostinato.train(file, tmp_path / "broken", steps=24, checkpoint_every=5, **flags)
    ostinato.train(out=tmp_path / "broken", resume=True, quiet=True)
    whole, broken = (read_checkpoint(tmp_path / name / "checkpoints" / "last.ckpt") for name in ("whole", "broken"))
    assert whole["state_dict"].keys() == broken["state_dict"].keys()
    assert any(name.endswith("stack.weight_hh_l1") for name in whole["state_dict"])
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, broken["state_dict"][name]), name
    network = load(tmp_path / "broken").network
    assert network.head.weight is network.embedding.weight
    assert network.size.regularisation.locked


def test_a_preset_is_a_set_of_settings_that_flags_override():
    settings = TASK.settings
    preset = settings(preset="awd", weight_drop=0.0)
    assert preset.weight_drop == 0.0
    assert preset.tie_embeddings is True
    assert preset.regularisation.weights == 0.0
    assert preset.regularisation.locked
    assert settings().replaced({"preset": "awd"}) == settings(preset="awd")
    assert settings().regularisation is None
    assert settings(dropout=0.3).regularisation is None
    mixed = settings(dropout=0.3, output_dropout=0.1).regularisation
    assert (mixed.input, mixed.hidden, mixed.output, mixed.embedding, mixed.locked) == (0.3, 0.3, 0.1, 0.0, False)


def test_a_preset_is_printed(file):
    settings = TASK.settings(tokens="word", preset="awd", weight_drop=0.25)
    assert TASK.prepare([file], settings).notes[-1] == (
        "Preset awd: tie_embeddings True, embedding_dropout 0.1, input_dropout 0.4, hidden_dropout 0.3, "
        "output_dropout 0.4, locked_dropout True, weight_drop 0.25, activation_penalty 2.0, change_penalty 1.0."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocabulary_size": 50}, "vocabulary_size is for tokens that are word or bpe, got 'char'"),
        ({"tokens": "bpe", "least_count": 2}, "least_count is for tokens that are word, got 'bpe'"),
        ({"preset": "adw"}, "preset must be one of awd, got 'adw'"),
        ({"weight_drop": 1.0}, "weight_drop must be below 1"),
    ],
)
def test_settings_outside_the_rule(changes, message):
    with pytest.raises(InvalidValue, match=message):
        TASK.settings().replaced(changes)


def test_penalties_are_part_of_the_loss(file):
    task = TASK.prepare([file], TASK.settings(tokens="word", activation_penalty=2.0, change_penalty=3.0)).task
    batch = task.batch(0)
    scores, _ = task.network(batch.inputs)
    y, _ = task.network.stack(task.network.embedding(batch.inputs))
    expected = torch.nn.functional.cross_entropy(scores.flatten(0, 1), batch.targets.flatten())
    expected = expected + 2 * (y**2).mean() + 3 * ((y[1:] - y[:-1]) ** 2).mean()
    torch.testing.assert_close(task.loss(batch, None)[0], expected)
