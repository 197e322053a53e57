from __future__ import annotations

import pytest
import torch

import ostinato
from ostinato.models import ByteVocabulary, CharacterVocabulary, LanguageModel, LanguageModelSize, TextModel, save

PNG = b"\x89PNG"
TEXT = "a bb (c) ab\nba, a b"


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of an untrained model, as if trained."""
    pytest.importorskip("safetensors")
    pytest.importorskip("matplotlib")

    def make(cell, layers=1, input="embedding", vocabulary=None):
        vocabulary = vocabulary or CharacterVocabulary.of(TEXT)
        size = LanguageModelSize(vocabulary.size, 12, layers, input, 6)
        save(TextModel(LanguageModel(size, cell), vocabulary), tmp_path / "model")
        return str(tmp_path / "model")

    return make


@pytest.mark.parametrize("cell", [ostinato.LSTMCell, ostinato.GRUCell, ostinato.RNNCell])
def test_it_draws_every_gate_by_the_names_of_the_equations(example, folder, tmp_path, capsys, cell):
    example("gates").main([folder(cell), "--text", TEXT, "--out", "pictures/gates.png", "--units", "4"])
    assert (tmp_path / "pictures" / "gates.png").read_bytes().startswith(PNG)
    names = {"LSTMCell": "i, f, g, o, c, h", "GRUCell": "r, z, n, h", "RNNCell": "h"}[cell.__name__]
    assert f"l0: {names} of 12 units over {len(TEXT)} steps" in capsys.readouterr().out


def test_a_picture_a_layer_and_one_hot_input(example, folder, tmp_path):
    example("gates").main([folder(ostinato.LSTMCell, layers=2, input="one-hot"), "--text", TEXT])
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["gates-l0.png", "gates-l1.png"]


def test_bytes(example, folder, tmp_path):
    example("gates").main([folder(ostinato.GRUCell, vocabulary=ByteVocabulary()), "--text", "ab é$"])
    assert (tmp_path / "gates.png").exists()


def test_a_unit_that_follows_spaces_is_found(example):
    gates = example("gates")
    text = "a wide range of words, each of its own length and none alike"
    h = torch.randn(len(text), 8)
    h[:, 5] = torch.tensor([0.9 if c == " " else -0.9 for c in text]) + 0.01 * h[:, 5]
    reading = gates.Reading("l0", {"h": h}, output="h")
    found = gates.findings(reading, text)
    assert [(f.name, f.unit) for f in found if f.feature == "a space"] == [("h", 5)]
    assert 5 in gates.to_draw(reading, found, 3)


def test_noise_gives_few_findings(example):
    gates = example("gates")
    text = TEXT * 4
    found = [gates.findings(gates.Reading("l0", {"h": torch.randn(len(text), 64)}, "h"), text) for _ in range(10)]
    assert sum(map(len, found)) <= 10  # of 60 searches one in twenty is expected


def test_shuffled_marks_keep_their_runs(example):
    at = torch.tensor([0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0]).bool()
    order = example("gates").shuffle_runs(at, torch.Generator().manual_seed(3))
    assert sorted(order.tolist()) == list(range(len(at)))
    runs = "".join(str(int(mark)) for mark in at[order])
    assert sorted(runs.replace("0", " ").split()) == ["1", "1", "111"]


def test_a_drift_does_not_pass_for_brackets(example):
    gates = example("gates")
    text = "some words and then (in brackets) end"
    h = torch.linspace(-1, 1, len(text)).unsqueeze(1) + 0.01 * torch.randn(len(text), 4)
    assert gates.findings(gates.Reading("l0", {"h": h}, output="h"), text) == []


def test_signed_values_are_drawn_around_zero(example):
    scale_of = example("gates").scale_of
    signed, gate = torch.randn(5, 3), torch.rand(5, 3)
    assert scale_of(gate, gate.T)["vmin"] == 0
    scale = scale_of(signed, signed.T)
    assert scale["vmin"] == -scale["vmax"]


def test_without_a_folder_it_says_how_to_make_one(example, capsys):
    example("gates").main([])
    assert "ostinato demo" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_an_error_in_words(example):
    with pytest.raises(SystemExit, match="no model folder nowhere"):
        example("gates").main(["nowhere"])


def test_unknown_characters_are_an_error_in_words(example, folder):
    with pytest.raises(SystemExit, match="error: the prompt"):
        example("gates").main([folder(ostinato.LSTMCell), "--text", "xyz"])
