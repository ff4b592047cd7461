"""One way to compile the inner loops of ray tracing and rendering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a loop over arrays with numba; threads may run it side by side.

    The machine code is kept next to the source file, or in the user's cache folder; where neither
    can be written it is compiled again in each process (seconds).

    Args:
        function: Loop over NumPy arrays and numbers that calls nothing but NumPy, `math` and other
            compiled functions.

    Returns:
        The same function, compiled on first use.
    """
    import numba

    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return cast(Function, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # numba: no folder for its cache
        return cast(Function, numba.njit(**options)(function))
