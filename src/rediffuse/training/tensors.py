"""A training state as named tensors, and back."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rediffuse.processes import whole
from rediffuse.training.trainer import TrainingState

# What AdamW keeps of each parameter, once a step has moved it: a count, and two tensors of the parameter's shape.
MOMENTS = ("step", "exp_avg", "exp_avg_sq")

# So many differences are named in a refusal; the rest is counted.
_NAMED = 3


def tensors_of(state: TrainingState) -> dict[str, Tensor]:
    """Weights, averages, moments and the guard's memory, each under its own name: the state's own, not copies."""
    return {f"{part}.{name}": tensor for part, held in _parts(state).items() for name, tensor in held.items()}


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


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """A module's parameters and buffers by name, whole; where they are spread over processes, all ask together."""
    return {name: whole(tensor) for name, tensor in module.state_dict().items()}


def _parts(state: TrainingState) -> dict[str, dict[str, Tensor]]:
    return {
        "weights": module_tensors(state.trained),
        **{average.name: module_tensors(average.denoiser) for average in state.averages.members},
        "guard": {"memory": state.guard.memory},
        "optimizer": _moments(state),
    }


def _moments(state: TrainingState) -> dict[str, Tensor]:
    """Empty before the first step; a parameter that no gradient has reached has none."""
    return {
        f"{key}.{name}": whole(value)
        for name, parameter in state.trained.named_parameters()
        for key, value in state.optimizer.state.get(parameter, {}).items()
    }


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
    expected = {
        f"{part}.{name}": (tensor.shape, tensor.dtype)
        for part, held in _parts(state).items()
        if part != "optimizer"
        for name, tensor in held.items()
    }
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
