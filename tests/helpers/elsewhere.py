"""A device that is none: its tensors are on the CPU, and no operation may mix them with others.

It goes by the name of torch's ``meta``. What is computed there has real values, so that code for a
GPU can be run, and compared with what it computes on the CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

DEVICE = torch.device("meta")
ATEN = torch.ops.aten
# Copies and indices take tensors of two devices; the first says where the result is.
MIXED = (
    ATEN.copy_.default,
    ATEN.index.Tensor,
    ATEN.index_put_.default,
    ATEN._index_put_impl_.default,
)


class Elsewhere(torch.Tensor):
    """A tensor of the device; `inner` has its values."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Elsewhere:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )
        made.inner = inner.detach()
        return made

    def __repr__(self) -> str:
        return f"Elsewhere({self.inner!r})"

    def tolist(self) -> Any:
        """Return the values, which torch gives of its own tensors alone."""
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class _FromNumbers(TorchFunctionMode):
    """Puts what is made of Python's numbers there, too, which torch does by itself."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.zeros, torch.arange):  # whose sizes torch reads past this class
            args = tree_map_only(Elsewhere, lambda x: x.inner.item(), args)
        if func is torch.Tensor.__getitem__ and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1], device="cpu"))
        if func is torch.tensor and torch.device(kwargs.get("device") or "cpu") == DEVICE:
            return Elsewhere(func(*args, **{**kwargs, "device": "cpu"}))
        return func(*args, **kwargs)


class Pretended(TorchDispatchMode):
    """Puts tensors on the device where code asks for it."""

    def __enter__(self) -> Any:
        # Else a module that changes its type keeps its parameters, whose values torch cannot see.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self._numbers = _FromNumbers()
        self._numbers.__enter__()
        return super().__enter__()

    def __exit__(self, *given: Any) -> None:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        super().__exit__(*given)
        self._numbers.__exit__(*given)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: Any) -> Any:
    """Return what an operation gives, on the device where its tensors are or where it asks for."""
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    there = [isinstance(x, Elsewhere) for x in tensors]
    mixed = [x for x in tensors if not isinstance(x, Elsewhere) and x.dim()]
    if any(x.device == DEVICE for x in mixed):
        raise TypeError(f"{func}: torch has made a tensor past this class, which has no values")
    if any(there) and mixed and func not in MIXED:
        raise RuntimeError(f"{func}: tensors of two devices")
    asked = kwargs.get("device")
    goes = any(there) if asked is None else torch.device(asked) == DEVICE
    if func in MIXED and asked is None:
        goes = there[0]
    plain_args, plain = tree_map_only(Elsewhere, lambda x: x.inner, (args, kwargs))
    plain = {**plain, "device": torch.device("cpu")} if asked is not None else plain
    found = func(*plain_args, **plain)
    if not goes:
        return found
    wrapped = tree_map_only(torch.Tensor, Elsewhere, found)
    return return_and_correct_aliasing(func, args, kwargs, wrapped) if any(there) else wrapped
