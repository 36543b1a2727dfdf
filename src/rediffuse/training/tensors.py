"""A training state as named tensors, and back."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from rediffuse.processes import whole
from rediffuse.training.trainer import TrainingState

# What AdamW keeps of each parameter, once a step has moved it: a count, and two tensors of the parameter's shape.
MOMENTS = ("step", "exp_avg", "exp_avg_sq")

# So many differences are named in a refusal; the rest is counted.
_NAMED = 3


def tensors_of(state: TrainingState) -> Iterator[tuple[str, Tensor]]:
    """Weights, averages, moments and the guard's memory, each with its own name: the state's own, not copies.

    Of a state that is sharded, each is put together when it is asked for, by all processes; whoever lets go of it
    before the next has one at a time.
    """
    for name, tensor in _held(state):
        yield name, whole(tensor)


def restore(state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
    """Put such tensors into `state`, each on the device of what it replaces.

    Raises:
        ValueError: they are another model's; names the first differences. `state` is as it was.
    """
    found = _differences(state, tensors)
    if found:
        more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        raise ValueError(f"it is of another model: {', '.join(found[:_NAMED])}{more}")

    def below(part: str) -> dict[str, Tensor]:
        prefix = f"{part}."
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    state.trained.load_state_dict(below("weights"))
    for average in state.averages.members:
        average.denoiser.load_state_dict(below(average.name))
    state.guard.memory.copy_(tensors["guard.memory"])
    _restore_moments(state, below("optimizer"))


def module_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A module's parameters and buffers with their names; for one that is sharded see `tensors_of`."""
    for name, tensor in module.state_dict().items():
        yield name, whole(tensor)


def _held(state: TrainingState) -> Iterator[tuple[str, Tensor]]:
    """See `tensors_of`; of what is sharded, this process's share."""
    modules: dict[str, nn.Module] = {"weights": state.trained}
    modules |= {average.name: average.denoiser for average in state.averages.members}
    for part, module in modules.items():
        yield from ((f"{part}.{name}", tensor) for name, tensor in module.state_dict().items())
    yield "guard.memory", state.guard.memory
    # None before the first step; a parameter that no gradient has reached has none.
    for name, parameter in state.trained.named_parameters():
        for key, value in state.optimizer.state.get(parameter, {}).items():
            yield f"optimizer.{key}.{name}", value


def _restore_moments(state: TrainingState, moments: Mapping[str, Tensor]) -> None:
    state.optimizer.state.clear()
    for name, parameter in state.trained.named_parameters():
        if f"step.{name}" in moments:
            state.optimizer.state[parameter] = {
                key: like.copy_(moments[f"{key}.{name}"]) for key, like in _new_moments(parameter).items()
            }


def _new_moments(parameter: Tensor) -> dict[str, Tensor]:
    """What AdamW (fused) begins with, in the parameter's own memory format."""
    count = torch.zeros((), dtype=torch.float32, device=parameter.device)
    return {key: count if key == "step" else torch.zeros_like(parameter, requires_grad=False) for key in MOMENTS}


def _differences(state: TrainingState, tensors: Mapping[str, Tensor]) -> list[str]:
    held = ((name, tensor) for name, tensor in _held(state) if not name.startswith("optimizer."))
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in held}
    for name, parameter in state.trained.named_parameters():
        names = {key: f"optimizer.{key}.{name}" for key in MOMENTS}
        # All of a parameter's moments or none.
        if any(each in tensors for each in names.values()):
            expected |= {names[key]: (parameter.shape, parameter.dtype) for key in MOMENTS}
            expected[names["step"]] = (torch.Size(), torch.float32)
    found = [f"{name} is missing" for name in expected if name not in tensors]
    found += [f"{name} belongs to none of its tensors" for name in tensors if name not in expected]
    for name, (shape, dtype) in expected.items():
        other = tensors.get(name)
        if other is not None and (other.shape, other.dtype) != (shape, dtype):
            found.append(f"{name} is {_text(other.shape, other.dtype)}, not {_text(shape, dtype)}")
    return found


def _text(shape: torch.Size, dtype: torch.dtype) -> str:
    return f"{list(shape)} {str(dtype).removeprefix('torch.')}"
