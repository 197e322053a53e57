"""The model folder: ``config.json`` and ``model.safetensors``, written in one step each; nothing in it is executed.

Reading trusts nothing: every number is bounded, every name checked, and the shapes that ``config.json`` asks for are
compared with those that ``model.safetensors`` holds before anything of that size is allocated. A cell that is not
built in is named, not imported: the caller hands it over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ostinato.cells.cell import Cell
from ostinato.errors import ModelFolderError, OstinatoError
from ostinato.models.cell_names import BUILT_IN, IMPORT_PATH, name_of_cell
from ostinato.models.config import ENSEMBLE, FORMAT, ModelConfig, config_from_json, config_to_json
from ostinato.models.ensemble import MOST, Ensemble
from ostinato.models.files import write_bytes, write_text
from ostinato.models.kinds import model_class
from ostinato.models.model import Model
from ostinato.models.needs import need
from ostinato.models.reader import Reader

CONFIG, WEIGHTS = "config.json", "model.safetensors"

CONFIG_LIMIT = 1 << 24
"""Bytes. An alphabet of all of Unicode needs 12 million."""

DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64", torch.bool: "BOOL"}
"""What a model's tensors may be, and how safetensors calls it."""


def save(model: Model, folder: Path) -> None:
    """Writes the model folder; what was there stays until each new file is complete.

    Raises:
        OSError: the disk is full or not writable; the old files are as they were.
        ModelFolderError: the cell's class has no import path, so nobody could load the model again.
    """
    content = model.content()
    cell = content["cell"]
    if cell not in BUILT_IN and not IMPORT_PATH.fullmatch(cell):
        raise ModelFolderError(f"the cell must be a class at the top of a module, so that it can be named, got {cell}")
    config = config_to_json(ModelConfig(model.kind, content, model.training))
    write_bytes(folder / WEIGHTS, need("safetensors.torch", "export").save(_tensors(model)))
    write_text(folder / CONFIG, config)


def save_training(folder: Path, training: dict[str, Any]) -> None:
    """Replaces what ``config.json`` says of the model's making.

    Raises:
        OSError: the disk is full or not writable; the old file is as it was.
    """
    config = config_from_json(_read_config(folder), folder / CONFIG)
    write_text(folder / CONFIG, config_to_json(ModelConfig(config.kind, config.content, training)))


def save_ensemble(members: int, training: dict[str, Any], folder: Path) -> None:
    """Makes ``folder`` an ensemble of the models in its subfolders 1, 2, … ``members``.

    Raises:
        OSError: the disk is full or not writable; the old file is as it was.
    """
    write_text(folder / CONFIG, config_to_json(ModelConfig(ENSEMBLE, {"members": members}, training)))


def load(folder: str | Path, cell: type[Cell] | None = None) -> Any:
    """The model in ``folder``, on the CPU, ready to use: a class of :mod:`ostinato.models`, or an ensemble of such.

    Args:
        folder: what ``ostinato train`` made.
        cell: the class of the cell, for a model of a cell of your own; nothing is imported on a folder's word.

    Raises:
        ModelFolderError: the folder is incomplete, damaged, of a newer version, not to be trusted, or needs ``cell``.
    """
    folder = Path(folder)
    config = config_from_json(_read_config(folder), folder / CONFIG)
    if config.kind != ENSEMBLE:
        return _load_model(folder, config, cell)
    count = Reader(folder / CONFIG).whole(config.content, "members", MOST)
    return Ensemble([_load_member(folder, str(number), cell) for number in range(1, count + 1)], config.training)


def _load_member(ensemble: Path, name: str, cell: type[Cell] | None) -> Model:
    folder = ensemble / name
    if not folder.resolve().is_relative_to(ensemble.resolve()):
        raise ModelFolderError(f"{folder} is a link out of the model folder, which is not followed; copy it itself")
    config = config_from_json(_read_config(folder), folder / CONFIG)
    if config.kind == ENSEMBLE:
        raise ModelFolderError(f"{folder} is a member of an ensemble and says that it is an ensemble itself")
    return _load_model(folder, config, cell)


def _load_model(folder: Path, config: ModelConfig, cell: type[Cell] | None) -> Model:
    read, content = Reader(folder / CONFIG), config.content
    name = read.text(content, "cell")
    if name not in BUILT_IN and not IMPORT_PATH.fullmatch(name):
        raise ModelFolderError(
            f"{read.path}: cell must be a name that `ostinato cells` lists or package.module:Class, got {name[:80]!r}"
        )
    cell_type, kind = _cell_type(name, cell, folder), model_class(config.kind)

    def build(device: str) -> Model:
        try:
            with torch.random.fork_rng(devices=[]):
                return kind.from_content(content, config.training, read, cell_type, device)
        except ModelFolderError:
            raise
        except (OstinatoError, TypeError) as error:
            raise ModelFolderError(f"{read.path} asks for a network that cannot be built: {error}") from error

    weights = _inside(folder, WEIGHTS)
    header = _header(weights)
    layers = content.get("num_layers", 1)
    if isinstance(layers, int) and layers > len(header):
        raise ModelFolderError(
            f"{read.path} speaks of {layers} layers and {WEIGHTS} holds {len(header)} tensors; "
            f"the two files do not belong together: copy the folder again"
        )
    _compare(build("meta").network.state_dict(), header, folder)
    model = build("cpu")
    model.network.load_state_dict(need("safetensors.torch", "export").load_file(weights), strict=True)
    model.network.eval()
    return model


def _tensors(model: Model) -> dict[str, Tensor]:
    """The weights by name; tensors that share memory, as tied ones do, are written one by one."""
    tensors: dict[str, Tensor] = {}
    seen = set()
    for name, tensor in model.network.state_dict().items():
        tensor = tensor.detach().cpu().contiguous()
        tensors[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return tensors


def is_model_folder(folder: Path) -> bool:
    """Whether ``folder`` holds a ``config.json`` that Ostinato wrote."""
    try:
        return _read_config(folder).get("format") == FORMAT
    except ModelFolderError:
        return False


def _inside(folder: Path, name: str) -> Path:
    """The file ``name`` of the folder, which must be a file of the folder and not a link that leads out of it."""
    path = folder / name
    if not folder.is_dir():
        raise ModelFolderError(f"there is no model folder {folder}; `ostinato train FILE --out {folder}` makes one")
    if not path.exists():
        raise ModelFolderError(_missing(folder, name))
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelFolderError(f"{path} is a link out of the model folder, which is not followed; copy the file itself")
    if not path.is_file():
        raise ModelFolderError(f"{path} must be a file")
    return path


def _missing(folder: Path, name: str) -> str:
    message = f"{folder} is no complete model folder: {name} is missing. Copy the whole folder again, or train it anew"
    pickled = [path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".pkl", ".ckpt"}]
    if pickled:
        message += f". {', '.join(sorted(pickled)[:3])} is not read: pickled files can run code"
    return message


def _read_config(folder: Path) -> dict[str, Any]:
    path = _inside(folder, CONFIG)
    if path.stat().st_size > CONFIG_LIMIT:
        raise ModelFolderError(f"{path} must be at most {CONFIG_LIMIT:,} bytes, got {path.stat().st_size:,}")
    try:
        config = json.loads(path.read_bytes().decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is damaged ({error}); copy the folder again, or train it anew") from error
    if not isinstance(config, dict):
        raise ModelFolderError(f"{path} must hold a JSON object, got {type(config).__name__}")
    return config


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _cell_type(name: str, given: type[Cell] | None, folder: Path) -> type[Cell]:
    if given is not None:
        if name_of_cell(given) != name and name in BUILT_IN:
            raise ModelFolderError(f"{folder} was trained with the built-in cell {name}, got cell={given.__name__}")
        return given
    if name in BUILT_IN:
        return BUILT_IN[name]
    class_name = name.partition(":")[2]
    raise ModelFolderError(
        f"{folder} was trained with a cell of its user's own, {name}, and a model folder's word is never enough to "
        f"import code. If you trust that code, give it: --cell {name}, or ostinato.load(folder, cell={class_name})"
    )


def _header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name → (dtype, shape), from the head of the file alone; the library checks that they fit the file's length."""
    safetensors = need("safetensors", "export")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)
            return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelFolderError(f"{path} is damaged ({error}); copy the folder again, or train it anew") from error


def _compare(expected: dict[str, Tensor], header: dict[str, tuple[str, tuple[int, ...]]], folder: Path) -> None:
    """Whether the file holds the tensors that the configuration asks for, which were not allocated."""
    missing, extra = sorted(expected.keys() - header.keys()), sorted(header.keys() - expected.keys())
    if missing or extra:
        parts = [f"lacks {', '.join(missing[:4])}"] * bool(missing) + [f"has besides {', '.join(extra[:4])}"] * bool(
            extra
        )
        raise ModelFolderError(
            f"{folder / WEIGHTS} must hold the tensors that {CONFIG} describes; it {' and '.join(parts)}"
        )
    for name, tensor in expected.items():
        wanted, found = (DTYPES[tensor.dtype], tuple(tensor.shape)), header[name]
        if found != wanted:
            raise ModelFolderError(
                f"{name} in {folder / WEIGHTS} must be {wanted[0]} {wanted[1]}, as {CONFIG} describes, "
                f"got {found[0]} {found[1]}"
            )
