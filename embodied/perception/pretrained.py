"""Find, verify and load the weights of transformers models, with or without a network."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from embodied.errors import ConfigError, EmbodiedError, suggest_nearest

PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""Files of a hub repository that are used; pickled weights are not among them."""

WORD_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "spiece.model", "tokenizer.model")

PROBE_SECONDS = 4.0
"""How long to wait for a sign of the hub before saying that there is no network."""

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class WeightsError(EmbodiedError):
    """Pretrained weights that are absent, damaged or not those of the model asked for."""


def find_weights(name: str | Path) -> Path:
    """Return the folder of a model: a folder given as such, the hub's cache, or a new download.

    The cache is asked first, and a download is tried only after the hub answered within
    `PROBE_SECONDS`: huggingface_hub by itself retries for half a minute without a network.

    Args:
        name: a folder, or a model name of the Hugging Face hub ("openai/clip-vit-base-patch32").

    Raises:
        WeightsError: not there; says what was looked for and how to get it onto this machine.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    text, folder = str(name), Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise WeightsError(
                f"the folder {folder} holds no config.json, so no transformers model. Pass the "
                "folder that model.save_pretrained or `hf download --local-dir` wrote."
            )
        return folder
    if not HUB_NAME.fullmatch(text):
        raise WeightsError(f"there is no folder {folder}, and '{text}' is no model name of the hub")
    try:
        return Path(huggingface_hub.snapshot_download(text, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    except HFValidationError as error:
        raise WeightsError(f"'{text}' is neither a folder nor a model name: {error}") from error
    if not _hub_answers():
        raise WeightsError(_offline(text, "and the hub cannot be reached from this machine"))
    try:
        return Path(huggingface_hub.snapshot_download(text, allow_patterns=list(PATTERNS)))
    except (HfHubHTTPError, OSError) as error:
        reason = f"and the hub did not give it out ({error})"
        raise WeightsError(_offline(text, reason)) from error


def load_model(auto: Any, folder: Path, dtype: str, device: str, **options: Any) -> Any:
    """Load a model in evaluation mode and make sure that every weight came from the checkpoint.

    transformers fills absent weights with random numbers and only prints so; results then are
    plausible and wrong, a known cause of failed reproductions of VLN papers.

    Args:
        auto: a transformers auto class, e.g. `AutoModel`.
        folder: from `find_weights`.
        dtype: "float32", "bfloat16" or "float16".
        device: a torch device.
        options: passed to `from_pretrained`.

    Raises:
        WeightsError: no safetensors file, a damaged one, or weights missing or of another shape.
        ConfigError: unknown dtype or a device this machine lacks.
    """
    from safetensors import SafetensorError

    if dtype not in DTYPES:
        raise ConfigError(f"unknown dtype '{dtype}': {suggest_nearest(dtype, DTYPES)}")
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(
            f"{folder} holds no *.safetensors file: found {', '.join(_names(folder)) or 'nothing'}."
            " Pickled weights (*.bin) are not read, because they can run code. Convert them on a "
            "machine you trust: transformers.AutoModel.from_pretrained(f).save_pretrained(f)."
        )
    try:
        with _quiet():
            model, info = auto.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=DTYPES[dtype],
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"the weights in {folder} cannot be loaded: {error}\nThe files are damaged, incomplete "
            "or of a model this transformers does not know. Download them again, or update "
            "transformers."
        ) from error
    wrong = {key: sorted(map(str, info[key])) for key in ("missing_keys", "mismatched_keys")}
    if any(wrong.values()):
        listed = "; ".join(f"{k.split('_')[0]}: {_some(v)}" for k, v in wrong.items() if v)
        raise WeightsError(
            f"{folder} does not hold all weights of its model ({listed}). They would be random "
            "numbers. Use a complete checkpoint that matches its config.json."
        )
    try:
        return model.to(device).eval().requires_grad_(False)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device '{device}' cannot be used: {error}. Try device=cpu.") from error


def load_component(load: Any, folder: Path, what: str, **options: Any) -> Any:
    """Load a processor or tokenizer from a model's folder.

    Raises:
        WeightsError: its files are absent or damaged, or it needs a package that is not installed.
    """
    try:
        with _quiet():
            return load(folder, local_files_only=True, **options)
    except ImportError as error:
        raise WeightsError(
            f"the {what} of {folder} needs a package that is not installed: {error}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder} has no usable {what}: {error}\nFound: {', '.join(_names(folder))}. Copy all "
            "*.json and *.txt files of the model, not its weights alone."
        ) from error


def require_tokenizer(folder: Path) -> None:
    """Make sure that a folder holds a tokenizer.

    Without its files transformers makes an empty one for some families: every word is then unknown.

    Raises:
        WeightsError: none of the files tokenizers keep their words in is there.
    """
    if not any((folder / name).is_file() for name in WORD_FILES):
        raise WeightsError(
            f"{folder} has no usable tokenizer: none of {', '.join(WORD_FILES)} is there. Copy all "
            "*.json, *.txt and *.model files of the model, not its weights alone."
        )


def hash_folder(folder: Path) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a model's settings and weights."""
    total = hashlib.sha256()
    files = (p for p in folder.iterdir() if any(p.match(pattern) for pattern in PATTERNS))
    for path in sorted(files):
        with path.open("rb") as file:
            total.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object of a model's folder.

    Raises:
        WeightsError: absent or not a JSON object.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read: {error}. Copy the model again.") from error
    if not isinstance(tree, dict):
        raise WeightsError(f"{path} must hold a JSON object. Copy the model again.")
    return tree


def _hub_answers() -> bool:
    """Whether the hub sends any answer; also a stuck name lookup counts as none."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answered, done = threading.Event(), threading.Event()

    def ask() -> None:
        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=PROBE_SECONDS):  # noqa: S310
                answered.set()
        except urllib.error.HTTPError:
            answered.set()  # an error page is an answer
        except (OSError, ValueError):
            pass  # no answer: the caller explains
        finally:
            done.set()

    threading.Thread(target=ask, daemon=True).start()
    done.wait(PROBE_SECONDS)
    return answered.is_set()


def _offline(name: str, reason: str) -> str:
    from huggingface_hub import constants

    short = name.rpartition("/")[2]
    return (
        f"the weights of '{name}' are not on this machine (looked for a folder of that name and in "
        f"the cache {constants.HF_HUB_CACHE}), {reason}. Get them on a machine with a network:\n"
        f"  hf download {name} --local-dir {short}\n"
        f"copy the folder {short} here and pass its path instead of the name. Or copy that "
        "machine's whole cache (~/.cache/huggingface) and set HF_HOME to the copy. Models behind a "
        "licence need `hf auth login` first."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' loading notes and bars off the screen; what matters is raised here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
