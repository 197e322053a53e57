"""Guards, where they are not written yet."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["MISSING", "Guard", "tensors_of"]

try:
    from ostinato.compiler import trace as _trace  # noqa: F401
    from ostinato.compiler.guard import Guard, tensors_of

    MISSING = None
except ImportError as problem:
    MISSING = str(problem)

    class Guard:  # type: ignore[no-redef]
        key = ""

        @classmethod
        def of(cls, cell: Any) -> Guard:
            return cls()

        def holds(self, cell: Any) -> bool:
            return True

    def tensors_of(cell: Any) -> dict[str, Tensor]:
        return {**dict(cell.named_parameters()), **dict(cell.named_buffers())}
