"""What a program's surroundings are read by: nothing tells when the time, a file or a setting of torch's changes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType
from typing import Any

from ostinato.compiler.refusal import Refused

ANYTHING = frozenset(("globals", "eval", "exec", "__import__"))
"""Builtins that read what no name in the code tells."""

NAMESPACES = frozenset(("__globals__", "f_globals", "f_locals", "f_builtins"))
"""Attributes that do."""

FILES = frozenset(("open", "input"))
"""Builtins that read what is outside of the program."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


REFLECTION = frozenset(
    _words(
        "getattr hasattr vars dir attrgetter methodcaller getattr_static __dict__ __getattribute__ __match_args__ "
        "format format_map vformat"
    )
)
"""Names by which attributes are read that the code need not name; ``"{0.name}".format(…)`` is one."""


_FILES = _words("exists isfile isdir getsize getmtime getctime getatime")
OUTSIDE: dict[str, tuple[str, ...]] = {
    "os": _words("environ environb getenv getenvb open read stat listdir scandir walk getcwd getpid urandom times"),
    "posixpath": _FILES,
    "ntpath": _FILES,
    "io": ("open",),
    "pathlib": (),
    "sys": ("modules", "argv"),
    "importlib": ("import_module",),
    "random": (),
    "secrets": (),
    "time": (),
    "datetime": ("now", "today", "utcnow"),
    "threading": (),
    "numpy": ("load", "loadtxt", "fromfile", "genfromtxt"),
    "numpy.random": (),
    "torch": _words(
        "are_deterministic_algorithms_enabled get_num_threads get_num_interop_threads get_rng_state initial_seed "
        "is_inference_mode_enabled is_grad_enabled get_float32_matmul_precision get_default_device get_autocast_dtype "
        "get_autocast_cpu_dtype is_autocast_enabled is_autocast_cpu_enabled is_autocast_cache_enabled "
        "get_deterministic_debug_mode is_deterministic_algorithms_warn_only_enabled is_warn_always_enabled "
        "is_anomaly_enabled is_anomaly_check_nan_enabled load from_file backends"
    ),
    "torch.autograd": ("grad_mode", "anomaly_mode"),
    "torch.backends": (),
    "torch.random": (),
}
"""Names of a module, or all of them; of the modules within it too, where those are all."""


def refuse_outside(module: str, names: Iterable[str]) -> None:
    """Refused, if one of these names of a module, or of a class of the module's, reads the surroundings."""
    outside = OUTSIDE.get(module)
    if outside is None:
        root = next((m for m, own in OUTSIDE.items() if not own and module.startswith(f"{m}.")), None)
        outside = None if root is None else ()
    if outside is not None and (name := next((n for n in names if n in outside or not outside), None)) is not None:
        raise Refused(f"{module}.{name} reads what cannot be watched; make it an attribute of the cell")


def refuse_function(value: Any) -> None:
    """Refused, if a function or a class reads the surroundings, whatever it is called where it was found."""
    name = _functions(len(sys.modules)).get(id(value))
    if name is not None:
        raise Refused(f"{name} reads what cannot be watched; make it an attribute of the cell")


@lru_cache(maxsize=1)
def _functions(modules: int) -> dict[int, str]:
    """The functions and classes of :data:`OUTSIDE` in the modules that are loaded, by identity."""
    found = {}
    for module, names in OUTSIDE.items():
        inner = vars(sys.modules[module]) if module in sys.modules else {}
        for name in names or tuple(inner):
            value = inner.get(name)
            if isinstance(value, BuiltinFunctionType | FunctionType | type):
                own = getattr(value, "__module__", None)
                if names or (own or "").lstrip("_").startswith(module):
                    found[id(value)] = f"{module}.{name}"
    return found
