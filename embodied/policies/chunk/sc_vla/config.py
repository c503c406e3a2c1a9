"""Sizes and options of SC-VLA's action head."""

from __future__ import annotations

from dataclasses import dataclass

from embodied.errors import ConfigError


@dataclass(frozen=True)
class ScVlaConfig:
    """The flow-matching head (arXiv 2602.21633, section 3.1 and 3.2; sizes are our tiny ones).

    Attributes:
        imagination: denoise progress and the change of state together with the actions.
        width: of the tokens.
        layers: blocks; the first, third, ... read the context.
        heads: of the attention.
        tap: block after which progress and change are decoded (the paper's 12 of 16).
        num_future_tokens: learned tokens between the state and what is denoised (the paper: 32).
            Our tiny head does as well without any, in two thirds of the time.
        pack: action steps per token (the paper: 1). Four make training on a CPU several times as
            fast.
        context_layers: self-attention layers over the context before the blocks (the paper: 4).
        imagination_horizon: control steps that the imagined change looks ahead.
        jitter: the label looks up to so many steps more or fewer ahead, drawn anew each time.
        delta_weight, progress_weight: of the two losses beside that of the actions.
        draws: noises and times drawn for each observation of a training batch: the backbone runs
            once for all of them (the paper: 1). Eight to sixteen learn a given task in a fraction
            of the steps.
        num_inference_steps: of Euler's method when acting.
        temperature: scale of the noise that acting starts from (the paper: 1). Demonstrations that
            stray and recover make the chunks behind an image spread widely; from 0 the policy plays
            their middle instead of straying itself.
    """

    imagination: bool = True
    width: int = 128
    layers: int = 4
    heads: int = 4
    tap: int = 3
    num_future_tokens: int = 0
    pack: int = 4
    context_layers: int = 0
    imagination_horizon: int = 5
    jitter: int = 1
    delta_weight: float = 0.1
    progress_weight: float = 0.1
    draws: int = 8
    num_inference_steps: int = 4
    temperature: float = 0.0

    def __post_init__(self) -> None:
        least = {
            "width": 1,
            "layers": 1,
            "heads": 1,
            "tap": 1,
            "num_future_tokens": 0,
            "pack": 1,
            "context_layers": 0,
            "imagination_horizon": 1,
            "jitter": 0,
            "draws": 1,
            "num_inference_steps": 1,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ConfigError(
                    f"policy.sc_vla.{name} = {getattr(self, name)} must be at least {bound}"
                )
        if self.tap > self.layers or self.width % (2 * self.heads):
            raise ConfigError(
                f"policy.sc_vla: tap {self.tap} must be one of the {self.layers} layers, width "
                f"{self.width} a multiple of twice the {self.heads} heads"
            )
        weights = (self.delta_weight, self.progress_weight, self.temperature)
        if self.jitter >= self.imagination_horizon or min(weights) < 0:
            raise ConfigError(
                f"policy.sc_vla: jitter {self.jitter} must be below horizon "
                f"{self.imagination_horizon}, and "
                "no weight and no temperature may be negative"
            )
