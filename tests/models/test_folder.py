"""The model folder: what is written is read back, and nothing else is believed."""

from __future__ import annotations

import errno
import json
import math
import os
import struct
import sys

import pytest
import safetensors.torch
import torch
from torch import nn

from ostinato.cells.cell import Cell
from ostinato.cells.library.lstm import LSTMCell
from ostinato.errors import DataError, ModelFolderError
from ostinato.models.cell_names import cell_named, name_of_cell
from ostinato.models.folder import is_model_folder, load, save, save_training
from ostinato.models.language_model import LanguageModel, LanguageModelSize
from ostinato.models.text_model import TextModel
from ostinato.models.vocabulary import ByteVocabulary, CharacterVocabulary


class LeakyCell(Cell):
    """A cell of a user's own."""

    def __init__(self, input_size, hidden_size, *, leak=0.9, device=None, dtype=None):
        super().__init__(input_size, hidden_size)
        self.leak = leak
        self.weight_ih = nn.Parameter(torch.zeros(hidden_size, input_size, device=device, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.zeros(hidden_size, hidden_size, device=device, dtype=dtype))
        self.reset_parameters()

    def step(self, x, h):
        return self.leak * h + (1 - self.leak) * torch.tanh(x @ self.weight_ih.T + h @ self.weight_hh.T)


def a_model(cell=LSTMCell, **options) -> TextModel:
    vocabulary = CharacterVocabulary.of("abc \né")
    size = LanguageModelSize(vocabulary.size, hidden_size=6, num_layers=2, embedding_size=3, cell_options=options)
    return TextModel(LanguageModel(size, cell).eval(), vocabulary, {"step": 3})


@pytest.fixture
def folder(tmp_path):
    save(a_model(), tmp_path / "model")
    return tmp_path / "model"


def edit(folder, **changes):
    """Changes entries of config.json; a dot in a name leads into an object."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    for name, value in changes.items():
        table = config
        *path, last = name.split("__")
        for part in path:
            table = table[part]
        table[last] = value
    (folder / "config.json").write_text(json.dumps(config), "utf-8")


def test_what_is_written_is_read_back(tmp_path):
    for number, model in enumerate([a_model(), a_model(LSTMCell)]):
        save(model, tmp_path / str(number))
        again = load(tmp_path / str(number))
        assert again.vocabulary == model.vocabulary
        assert again.training == model.training
        assert again.network.size == model.network.size
        for name, tensor in model.network.state_dict().items():
            assert torch.equal(again.network.state_dict()[name], tensor)
        assert again.sample("ab", 50, seed=1) == model.sample("ab", 50, seed=1)
        assert again.evaluate("abc abé?") == model.evaluate("abc abé?")
        assert again.evaluate("abc abé?").unknown == 1


def test_bytes(tmp_path):
    model = TextModel(LanguageModel(LanguageModelSize(256, 4, input="one-hot"), LSTMCell).eval(), ByteVocabulary())
    save(model, tmp_path)
    assert load(tmp_path).sample("漢", 20, seed=2) == model.sample("漢", 20, seed=2)


def test_a_file_and_its_text_give_the_same_figure(folder, tmp_path):
    text = "abc cab é\r\nb" * 50
    (tmp_path / "text.txt").write_bytes(text.encode())
    assert load(folder).evaluate(tmp_path / "text.txt") == load(folder).evaluate(text)


def test_a_folder_of_the_first_format_is_read(folder):
    """Format 1 had the vocabulary beside the model."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["format_version"], config["tokens"] = 1, config["model"].pop("tokens")
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    again = load(folder)
    assert again.vocabulary == CharacterVocabulary.of("abc \né")
    assert again.training == {"step": 3}


def test_figures_that_json_does_not_have(folder):
    save_training(folder, {"test": {"r2": math.nan, "worst": -math.inf, "mean": torch.tensor(0.5)}, "lost": (1, 2)})
    assert load(folder).training == {"test": {"r2": None, "worst": None, "mean": 0.5}, "lost": [1, 2]}


def test_predicting_and_encoding_texts(tmp_path):
    model = a_model()
    likeliest = model.predict("ab")
    assert len(likeliest) == 5
    assert list(likeliest.values()) == sorted(likeliest.values(), reverse=True)
    scores, _ = model.network(torch.tensor(model.vocabulary.encode("ab")).unsqueeze(1))
    top = int(scores[-1, 0, : model.vocabulary.unknown].argmax())
    assert next(iter(likeliest)) == model.vocabulary.alphabet[top]
    assert model.predict(["ab", "c"]) == [likeliest, model.predict("c")]
    encoded = model.encode(["abc", "b", "?a"])
    assert encoded.shape == (3, 6)
    for row, text in zip(encoded, ["abc", "b", "?a"], strict=True):
        tokens = torch.tensor(model.vocabulary.encode(text)).unsqueeze(1)
        output, _ = model.network.stack(model.network.embedding(tokens))
        torch.testing.assert_close(row, output[-1, 0])
    with pytest.raises(DataError, match="must not be empty"):
        model.encode(["abc", ""])


def test_loading_leaves_the_random_numbers_alone(folder):
    before = torch.get_rng_state()
    load(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_cell_of_ones_own_must_be_given(tmp_path):
    model = a_model(LeakyCell, leak=0.5)
    save(model, tmp_path)
    name = f"{LeakyCell.__module__}:LeakyCell"
    with pytest.raises(ModelFolderError, match=f"--cell {name}, or ostinato.load"):
        load(tmp_path)
    again = load(tmp_path, cell=LeakyCell)
    assert again.sample("a", 30, seed=0) == model.sample("a", 30, seed=0)
    assert cell_named(name_of_cell(LeakyCell)).__name__ == "LeakyCell"


def test_a_folder_never_imports(tmp_path, monkeypatch, folder):
    (tmp_path / "evil_module_of_a_folder.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    edit(folder, model__cell="evil_module_of_a_folder:Cell")
    with pytest.raises(ModelFolderError, match="never enough to import code"):
        load(folder)
    assert "evil_module_of_a_folder" not in sys.modules


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 3}, "format version 3.*upgrade"),
        ({"format": "other"}, "format must be 'ostinato.model'"),
        ({"kind": "translator"}, "kind must be"),
        ({"model__hidden_size": 1 << 40}, "hidden_size must be a whole number from 1 to"),
        ({"model__hidden_size": 65536}, r"must be F32 \(262144, 3\)|must be F32"),
        ({"model__hidden_size": 6.0}, "hidden_size must be a whole number"),
        ({"model__hidden_size": True}, "hidden_size must be a whole number"),
        ({"model__num_layers": 1024}, "1024 layers and model.safetensors holds"),
        ({"model__num_layers": 3}, "lacks stack"),
        ({"model__num_layers": 1}, "has besides stack"),
        ({"model__embedding_size": 4}, "must be F32"),
        ({"model__dropout": "0.1"}, "dropout must be"),
        ({"model__input": "../../etc"}, "input must be one of"),
        ({"model__cell": "/etc/passwd"}, "cell must be"),
        ({"model__cell": "gru"}, "must be F32"),
        ({"model__cell_options": {"leak": [1]}}, "cell_options must be"),
        ({"model__cell_options": {"proj_size": 1 << 30}}, "cell_options must be"),
        ({"model__cell_options": {"nonsense": 1}}, "cannot be built"),
        ({"model__tokens__alphabet": "ba"}, "sorted"),
        ({"model__tokens__alphabet": 3}, "alphabet must be a text"),
        ({"model__tokens__kind": "words"}, "char, byte, word, bpe"),
        ({"model": []}, "model must be an object"),
        ({"training": 4}, "training must be an object"),
    ],
)
def test_entries_that_are_not_believed(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(ModelFolderError, match=message):
        load(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 200_000, b'{"format": NaN}', b"1" * 5000, b"{}"],
)
def test_damaged_configurations(folder, content):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ModelFolderError):
        load(folder)


def test_a_huge_configuration_is_not_read(folder):
    with open(folder / "config.json", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ModelFolderError, match="at most 16,777,216 bytes"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelFolderError, match=rf"{name} is missing.*pytorch_model.bin is not read: pickled"):
        load(folder)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(ModelFolderError, match="there is no model folder"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("keep", [0, 4, 8, 60, -1])
def test_truncated_weights(folder, keep):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:keep])
    with pytest.raises(ModelFolderError, match="damaged"):
        load(folder)


def test_a_header_that_claims_more_than_the_file_holds(folder):
    for claim in (1 << 62, 1 << 30):
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", claim) + b"{}" * 50)
        with pytest.raises(ModelFolderError, match="damaged"):
            load(folder)
    header = b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)
    with pytest.raises(ModelFolderError, match="damaged"):
        load(folder)


def test_a_pickle_under_the_right_name(folder):
    torch.save({"head.weight": torch.ones(2)}, folder / "model.safetensors")
    with pytest.raises(ModelFolderError, match="damaged"):
        load(folder)


def test_tensors_of_another_kind(folder):
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file({n: t.double() for n, t in tensors.items()}, folder / "model.safetensors")
    with pytest.raises(ModelFolderError, match=r"must be F32 .* got F64"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_link_out_of_the_folder(folder, tmp_path, name):
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(ModelFolderError, match="link out of the model folder"):
        load(folder)


def test_the_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert load(tmp_path / "link").training == {"step": 3}
    assert is_model_folder(tmp_path / "link")


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_model(folder, monkeypatch, call):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        save(a_model(), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
