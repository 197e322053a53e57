"""A user's own cell is tried before anything depends on it, and its errors are told apart from Ostinato's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from ostinato.errors import InvalidValue, OstinatoError
from ostinato.layers.recurrent import Recurrent

N = TypeVar("N", bound=nn.Module)


def constructed(make: Callable[[], N], cell: str) -> N:
    """What ``make`` gives: a network whose cells are of the class of that name.

    Raises:
        InvalidValue: the cell's own code fails.
        OstinatoError: the cell breaks its contract.
    """
    try:
        return make()
    except OstinatoError:
        raise
    except Exception as error:
        raise InvalidValue(_says(cell, error)) from error


def try_cells(network: nn.Module, cell: str) -> None:
    """Lets every recurrent stack of ``network`` go forward and back once.

    Raises:
        InvalidValue: the cell's own code fails.
        OstinatoError: the cell breaks its contract.
    """
    for stack in network.modules():
        if isinstance(stack, Recurrent):
            constructed(lambda stack=stack: _tried(stack), cell)  # type: ignore[misc]


def _tried(stack: Recurrent) -> Recurrent:
    with torch.random.fork_rng(devices=[]):
        # On a copy, so that nothing a cell computes on the way can be felt by the run.
        trial = copy.deepcopy(stack)
        output, _ = trial(torch.zeros(2, 2, stack.input_size))
        output.sum().backward()
    return stack


def _says(cell: str, error: Exception) -> str:
    return (
        f"a model of the cell {cell} does not work with these settings: {type(error).__name__}: {error}; "
        f"--debug shows where"
    )
