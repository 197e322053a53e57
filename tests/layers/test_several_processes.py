"""DistributedDataParallel: every parameter of a layer has a gradient, whatever a call uses of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch
import torch.multiprocessing as mp
from torch import distributed, nn

import ostinato
from tests.support.own_cells import PeepholeLSTMCell


def train(rank: int, world: int, file: str, found) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    meet = {"init_method": f"file://{file}", "timeout": timedelta(seconds=100)}
    distributed.init_process_group("gloo", rank=rank, world_size=world, **meet)
    try:
        layer = ostinato.Recurrent(PeepholeLSTMCell, 4, 5, 2, bidirectional=True, initial_state="learned")
        model = nn.parallel.DistributedDataParallel(layer)
        x, hx = torch.randn(6, 4, 4), None
        own = slice(rank * 4 // world, (rank + 1) * 4 // world)
        for _ in range(3):  # from the second call on the learned initial states are not used
            output, hx = model(x[:, own], hx)
            hx = tuple(s.detach() for s in hx)
            output.square().sum().backward()
        grads = [p.grad.clone() * world for p in layer.parameters()]
        if rank == 0:
            found.put([g.tolist() for g in grads])
        distributed.barrier()  # who leaves first would close the others' connections
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("world", [1, 2])
def test_carried_states_leave_the_learned_ones_unused(world, tmp_path) -> None:
    context = mp.get_context("spawn")
    found = context.SimpleQueue()
    if world == 1:
        train(0, world, str(tmp_path / "meet"), found)
    else:
        mp.spawn(train, (world, str(tmp_path / "meet"), found), nprocs=world)
    grads = [torch.tensor(g) for g in found.get()]
    torch.manual_seed(0)
    layer = ostinato.Recurrent(PeepholeLSTMCell, 4, 5, 2, bidirectional=True, initial_state="learned")
    x, hx = torch.randn(6, 4, 4), None
    for _ in range(3):
        output, hx = layer(x, hx)
        hx = tuple(s.detach() for s in hx)
        output.square().sum().backward()
    for got, parameter in zip(grads, layer.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad, rtol=1e-4, atol=1e-5)
