"""LoRA adapters of frozen models (Hu et al. 2021), by peft: the only file that imports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from embodied.extras import require_extra
from embodied.files import atomic_directory

LoraWeights = Mapping[str, tuple[Tensor, Tensor]]
"""Name of a linear layer -> its A (rank, inputs) and B (outputs, rank)."""


def add_lora_layers(
    model: nn.Module, layers: Sequence[str], rank: int, alpha: float
) -> dict[str, tuple[Tensor, Tensor]]:
    """Let linear layers of a model add ``(alpha / rank) B A x`` to their output.

    The model's own A and B stay frozen and change nothing, as B is 0: those that count are given
    with each call, see `name_lora_tensors`, so that several adapters can share the model.

    Args:
        model: changed in place.
        layers: names of its linear layers.
        rank: of the update.
        alpha: its scale times the rank.

    Returns:
        Fresh weights to train, by layer.

    Raises:
        MissingExtraError: peft is not installed.
    """
    peft = _import_peft()
    peft.inject_adapter_in_model(_make_config(layers, rank, alpha), model)
    fresh = {}
    for layer in layers:
        part: Any = model.get_submodule(layer)
        pair = part.lora_A["default"].weight, part.lora_B["default"].weight
        fresh[layer] = (pair[0].detach().float().clone(), pair[1].detach().float().clone())
        for weight in pair:
            weight.requires_grad_(False)
    return fresh


def name_lora_tensors(weights: LoraWeights) -> dict[str, Tensor]:
    """Return weights under the names that `torch.func.functional_call` takes for the model."""
    return {
        f"{layer}.lora_{letter}.default.weight": tensor
        for layer, pair in weights.items()
        for letter, tensor in zip("AB", pair, strict=True)
    }


def save_lora(folder: str | Path, weights: LoraWeights, alpha: float, base: str) -> Path:
    """Write an adapter as peft does, atomically: PeftModel and transformers load it.

    Args:
        folder: gets adapter_config.json and adapter_model.safetensors.
        weights: at least one layer.
        alpha: scale times the rank.
        base: folder or hub name of the model it belongs to.

    Raises:
        MissingExtraError: peft is not installed.
        UnwritableError: the folder cannot be written to.
    """
    rank = next(iter(weights.values()))[0].shape[0]
    config = _make_config(list(weights), rank, alpha)
    config.base_model_name_or_path, config.inference_mode = base, True
    tensors = {
        f"base_model.model.{name.replace('.default', '')}": tensor.detach().cpu().contiguous()
        for name, tensor in name_lora_tensors(weights).items()
    }
    with atomic_directory(folder) as temporary:
        config.save_pretrained(str(temporary))
        save_file(tensors, temporary / "adapter_model.safetensors", {"format": "pt"})
    return Path(folder)


def _make_config(layers: Sequence[str], rank: int, alpha: float) -> Any:
    config: Any = _import_peft().LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(layers), lora_dropout=0.0
    )
    return config


def _import_peft() -> Any:
    with require_extra("A LoRA adapter"):
        import peft
    return peft
