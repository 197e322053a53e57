"""Autograd inside the code of an operator or of a node of autograd's graph, where torch has switched it off."""

from __future__ import annotations

from typing import Any

import torch

KEYS = ("AutogradFunctionality", "AutogradCPU", "AutogradCUDA", "AutogradOther")


class recording:  # noqa: N801 - reads as a statement: with recording()
    """What is computed inside has gradients: grad mode alone does not say so within an operator."""

    def __enter__(self) -> None:
        excluded = torch._C._dispatch_tls_local_exclude_set()
        for key in KEYS:
            excluded = excluded.remove(getattr(torch._C.DispatchKey, key))
        self.keys = torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded)
        self.keys.__enter__()
        self.grad = torch.enable_grad()
        self.grad.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.grad.__exit__(*error)
        self.keys.__exit__(*error)
