"""Checkpoints: folders of safetensors, YAML and JSON, written whole, refused when damaged.

checkpoints/00000120/  model.safetensors      weights
                       normalization.json     mean and deviation of the policy's inputs; {} if none
                       config.yaml            the resolved configuration of the run
                       optimizer.safetensors  to go on training
                       meta.json              policy, inputs, code version, digests, metrics
checkpoints/latest     the name of the newest folder; `best` the one with the best score
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from embodied import config as configuration
from embodied import registry
from embodied.errors import CheckpointError, ConfigError
from embodied.files import atomic_directory, recover_directory, write_text

FORMAT = 1
FILES = ("model.safetensors", "normalization.json", "config.yaml", "optimizer.safetensors")


class JsonInputs(Protocol):
    """What a policy was made for: spaces, words, sizes; compared before weights are loaded."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for meta.json."""
        ...


class StorablePolicy(Protocol):
    """A policy that a checkpoint can hold.

    To load it again without its Python object, the registry's table "restore" names a function
    ``(inputs JSON, configuration tree, source) -> policy``.

    Attributes:
        name: its row in the registry.
        network: its weights.
        inputs: what it was made for.
        normalization: plain values beside the weights, e.g. the mean of its inputs.
    """

    @property
    def name(self) -> str:  # noqa: D102 - see the class
        ...

    @property
    def network(self) -> nn.Module:  # noqa: D102
        ...

    @property
    def inputs(self) -> JsonInputs:  # noqa: D102
        ...

    normalization: dict[str, Any]


@runtime_checkable
class Checkpointable(Protocol):
    """What a run needs beside the policy's weights to go on, as tensors in named groups."""

    def get_tensor_groups(self) -> dict[str, dict[str, Tensor]]:
        """Return the tensors by group and name; a checkpoint calls them "group.name"."""
        ...

    def load_tensor_groups(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over what `get_tensor_groups` returned; a group without tensors may be absent."""
        ...


Stateful = Checkpointable | torch.optim.Optimizer
"""What `CheckpointStore.save` keeps beside the policy."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint folder: its path and its meta.json."""

    path: Path
    meta: dict[str, Any]

    def load_config(self) -> dict[str, Any]:
        """Return the configuration of the run as nested mappings."""
        return configuration.read_recipe(self.path / "config.yaml")


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: usually `<run>/checkpoints`.
        keep: newest checkpoints kept; the best one stays in any case.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        if keep < 1:
            raise ConfigError(f"train.keep = {keep} must be at least 1")
        self.folder = folder
        self.keep = keep

    def save(
        self,
        update: int,
        policy: StorablePolicy,
        optimizer: Stateful,
        config: Any,
        progress: Mapping[str, Any],
        score: float | None = None,
    ) -> Path:
        """Write checkpoint `update`, point `latest` (and `best`) at it, drop the oldest.

        Args:
            update: number of finished updates, the folder's name.
            policy: what to save.
            optimizer: its state, to go on training.
            config: the run's configuration dataclass.
            progress: plain values the trainer needs to go on, and metrics.
            score: higher is better; None leaves `best` alone.
        """
        target = self.folder / f"{update:08d}"
        with atomic_directory(target) as folder:
            _write_tensors(folder / "model.safetensors", _weights(policy))
            _write_tensors(folder / "optimizer.safetensors", _flatten(optimizer))
            _write_json(folder / "normalization.json", policy.normalization)
            configuration.save(config, folder / "config.yaml")
            meta = {
                "format": FORMAT,
                "policy": policy.name,
                "inputs": policy.inputs.to_json(),
                "code_version": code_version(),
                "config_digest": configuration.digest(config),
                "update": update,
                "score": score,
                "progress": dict(progress),
                "files": {name: file_digest(folder / name) for name in FILES},
            }
            _write_json(folder / "meta.json", meta)
        best = self._named("best")
        if score is not None and (best is None or score >= _score(self.folder / best)):
            write_text(self.folder / "best", target.name + "\n")
            best = target.name
        write_text(self.folder / "latest", target.name + "\n")
        names = sorted(p.name for p in self.folder.glob("[0-9]*") if p.is_dir())
        for name in names[: -self.keep]:
            if name != best:
                shutil.rmtree(self.folder / name, ignore_errors=True)
        return target

    def _named(self, pointer: str) -> str | None:
        file = self.folder / pointer
        name = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        return name if name and (self.folder / name / "meta.json").is_file() else None


def find_checkpoint(path: str | Path, which: str = "latest") -> Path:
    """Return the checkpoint folder for a run folder, its `checkpoints` folder or a checkpoint
    itself.

    Args:
        path: what the user gave.
        which: "latest" or "best", for the first two.

    Raises:
        CheckpointError: nothing there.
    """
    given = Path(path)
    if (given / "meta.json").is_file():
        return given
    for folder in (given / "checkpoints", given):
        pointer = folder / which
        if not pointer.is_file():
            continue
        name = pointer.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
        recover_directory(folder / name)
        if name and (folder / name).is_dir():
            return folder / name
        raise CheckpointError(
            f"{pointer} names '{name}', which is not there. Pass one of the checkpoint folders in "
            f"{folder} itself, or train again."
        )
    raise CheckpointError(
        f"no checkpoint in {given}: expected a run folder with checkpoints/latest, or a folder "
        "with meta.json. Train one with: embodied train RECIPE --run FOLDER"
    )


def open_checkpoint(path: str | Path, which: str = "latest") -> Checkpoint:
    """Find a checkpoint and verify every file in it.

    Raises:
        CheckpointError: missing, damaged, incomplete or of an unknown format.
    """
    folder = find_checkpoint(path, which)
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        version, expected = meta["format"], dict(meta["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, "meta.json", str(error)) from error
    if version != FORMAT:
        raise CheckpointError(
            f"checkpoint {folder} has format {version}, this version reads {FORMAT}: "
            "use the code version named in its meta.json"
        )
    for name in FILES:
        file = folder / name
        if not file.is_file():
            raise _damaged(folder, name, "the file is missing")
        if file_digest(file) != expected.get(name):
            raise _damaged(folder, name, "its content does not match the digest in meta.json")
    return Checkpoint(folder, meta)


def load_policy(path: str | Path, which: str = "latest") -> Any:
    """Rebuild the policy of a checkpoint, ready to act.

    Args:
        path: run folder, its `checkpoints` folder or a checkpoint.
        which: "latest" or "best", for the first two.

    Returns:
        What the registry's "restore" row of the stored policy name builds.

    Raises:
        CheckpointError: missing, damaged, or of a policy this version does not know.
    """
    checkpoint = open_checkpoint(path, which)
    name = checkpoint.meta.get("policy")
    try:
        restore = registry.resolve("restore", str(name))
    except ConfigError as error:
        raise CheckpointError(
            f"checkpoint {checkpoint.path} belongs to the policy '{name}', which this version "
            f"cannot load ({error}). Use the code version in its meta.json, or another checkpoint."
        ) from error
    source = f"{checkpoint.path}/config.yaml"
    try:
        policy = restore(checkpoint.meta["inputs"], checkpoint.load_config(), source)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise _damaged(checkpoint.path, "config.yaml", str(error)) from error
    load_weights(checkpoint, policy)
    return policy


def load_weights(
    checkpoint: Checkpoint, policy: StorablePolicy, optimizer: Stateful | None = None
) -> None:
    """Copy a checkpoint's weights (and optimiser state) into existing objects.

    Raises:
        CheckpointError: they were made for other inputs, sizes or another policy.
    """
    folder = checkpoint.path
    if checkpoint.meta.get("policy") != policy.name:
        raise CheckpointError(
            f"checkpoint {folder} belongs to the policy '{checkpoint.meta.get('policy')}', not to "
            f"'{policy.name}'. Name the policy it was trained for, or another checkpoint."
        )
    require_same_inputs(folder, checkpoint.meta["inputs"], policy.inputs.to_json())
    try:
        policy.network.load_state_dict(load_file(folder / "model.safetensors"))
        policy.normalization = json.loads((folder / "normalization.json").read_text("utf-8"))
        if optimizer is not None:
            _unflatten(optimizer, load_file(folder / "optimizer.safetensors"))
    except (RuntimeError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {folder} does not fit this policy: {error}\n"
            "Use the policy section of its config.yaml, or train a new one."
        ) from error


def require_same_inputs(where: object, stored: Any, now: Any) -> None:
    """Check that what a checkpoint was trained for is what is given now.

    Args:
        where: the checkpoint, for the message.
        stored: plain values as `JsonInputs.to_json` gave them.
        now: the same of the present task.

    Raises:
        CheckpointError: they differ.
    """
    # Through JSON, because a tuple comes back as a list.
    stored, now = (json.dumps(value, sort_keys=True) for value in (stored, now))
    if stored != now:
        raise CheckpointError(
            f"checkpoint {where} was trained on other observations or actions:\n"
            f"  checkpoint: {_shortened(stored)}\n  now:        {_shortened(now)}\n"
            "Use the task and camera settings in its config.yaml."
        )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def code_version() -> str:
    """Return the installed version of this package, or "source" for a bare checkout."""
    try:
        return importlib.metadata.version("embodied-stack")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def _weights(policy: StorablePolicy) -> dict[str, Tensor]:
    return {key: value.contiguous() for key, value in policy.network.state_dict().items()}


def get_optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimiser by "number of the parameter.name"."""
    return {
        f"{index}.{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Take over what `get_optimizer_tensors` returned for an optimiser of the same parameters."""
    tree = optimizer.state_dict()
    tree["state"] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        tree["state"].setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(tree)


def _flatten(optimizer: Stateful) -> dict[str, Tensor]:
    if isinstance(optimizer, torch.optim.Optimizer):
        tensors = get_optimizer_tensors(optimizer)
    else:
        groups = optimizer.get_tensor_groups()
        tensors = {f"{group}.{n}": value for group, t in groups.items() for n, value in t.items()}
    return {name: value.contiguous() for name, value in tensors.items()}


def _unflatten(optimizer: Stateful, tensors: Mapping[str, Tensor]) -> None:
    if isinstance(optimizer, torch.optim.Optimizer):
        return load_optimizer_tensors(optimizer, tensors)
    groups: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        group, _, name = key.partition(".")
        groups.setdefault(group, {})[name] = value
    return optimizer.load_tensor_groups(groups)


def _score(folder: Path) -> float:
    try:
        score = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["score"]
    except (OSError, ValueError, KeyError):
        return float("-inf")
    return float("-inf") if score is None else float(score)


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise OSError(str(error)) from error


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _shortened(text: str, limit: int = 600) -> str:
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def _damaged(folder: Path, name: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {folder} is damaged ({name}: {reason}). Use an older folder beside it, "
        "or copy it again from where it was made."
    )
