"""Bytes that the operations of a step read and write, were each of them to go to main memory.

Kernels that are fused, and what a cache keeps, move less: it is an upper bound, of the step as torch takes it apart,
not compiled. Beside the bandwidth of a copy it says whether memory could be what limits a step.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_NOTHING = ("empty", "empty_like", "empty_strided", "_unsafe_view", "_local_scalar_dense", "set_")


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in _NOTHING:
            return out
        aliases = [argument.alias_info for argument in func._schema.arguments]
        written = [alias is not None and alias.is_write for alias in aliases]
        shared = any(alias is not None for alias in aliases)
        if shared and not any(written):
            return out  # a view
        for place, value in enumerate(args):
            self.bytes += sum(map(_size, _tensors(value))) * (2 if written[place] else 1)
        if not shared:
            self.bytes += sum(map(_size, _tensors(out)))
        return out


def bytes_of(work: Callable[[], object]) -> int:
    """The bytes of what `work` does; what was compiled is run as it was before."""
    # A kernel that the compiler made is one that no operation tells of.
    with torch.compiler.set_stance("force_eager"), _Counter() as counter:
        work()
    return int(counter.bytes)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _size(tensor: Tensor) -> int:
    """Of an expanded tensor what is stored."""
    shape = zip(tensor.shape, tensor.stride(), strict=True)
    count: int = math.prod(size if stride else 1 for size, stride in shape)
    return count * tensor.element_size() if tensor.layout == torch.strided else 0
