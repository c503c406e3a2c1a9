"""Text encoders: a small trainable one, and CLIP, SigLIP, BERT or the like from a folder or hub."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from embodied.errors import ConfigError
from embodied.files import atomic_directory
from embodied.perception.features import TextFeatures
from embodied.perception.pretrained import (
    DTYPES,
    WeightsError,
    find_weights,
    hash_folder,
    load_component,
    load_model,
    read_json,
    require_tokenizer,
)
from embodied.perception.vocabulary import PAD, Vocabulary

SMALL_TEXT = "embodied_small_text"
WITHOUT_POOLER = ("bert", "roberta", "xlm-roberta")
"""Families whose pooling layer many checkpoints lack: the first token is used as it is."""
FIXED_LENGTH = ("siglip", "siglip2", "siglip_text_model", "siglip2_text_model")
"""Families trained on texts padded to full length, without an attention mask."""


class TextEncoder(ABC):
    """Texts to vectors.

    >>> encoder = TextEncoder.load("openai/clip-vit-base-patch32")
    >>> features = encoder.encode(["a red chair", "the kitchen"])     # (2, D) and (2, L, E)

    Attributes:
        dim: D of the pooled features.
        batch: texts encoded at once.
    """

    dim: int
    batch: int
    device: str
    dtype: torch.dtype

    @staticmethod
    def load(
        name: str | Path = "small",
        device: str = "cpu",
        dtype: str = "float32",
        batch: int = 64,
        vocabulary: Vocabulary | None = None,
    ) -> TextEncoder:
        """Load an encoder.

        Args:
            name: "small" (untrained, needs no download), a folder, or a model name of the hub.
            device: a torch device.
            dtype: "float32", "bfloat16" or "float16".
            batch: texts encoded at once.
            vocabulary: the words of "small"; nothing else reads it.

        Raises:
            WeightsError: weights absent, damaged or incomplete.
            ConfigError: a value that cannot be used.
        """
        if batch < 1:
            raise ConfigError(f"batch = {batch} must be at least 1")
        if str(name) == "small":
            if vocabulary is None:
                raise ConfigError(
                    "the small text encoder needs the words it shall know: pass "
                    "vocabulary=Vocabulary.build(texts), or name a pretrained encoder"
                )
            return SmallTextEncoder(vocabulary, device=device, dtype=dtype, batch=batch)
        folder = find_weights(name)
        if read_json(folder / "config.json").get("model_type") == SMALL_TEXT:
            return SmallTextEncoder.load_folder(folder, device, dtype, batch)
        return PretrainedText(folder, device, dtype, batch)

    @property
    @abstractmethod
    def digest(self) -> str:
        """16 hexadecimal digits that change with the weights, the settings or the precision."""

    @abstractmethod
    def _run(self, texts: list[str]) -> TextFeatures:
        """Encode at most `batch` texts."""

    def encode(self, texts: Sequence[str]) -> TextFeatures:
        """Encode B >= 1 texts; longer ones than the encoder reads lose their end.

        Returns:
            Pooled (B, D) and token features (B, L, E) with their mask (B, L), on `device`.

        Raises:
            ConfigError: no text, or one without any character.
        """
        given = [texts] if isinstance(texts, str) else list(texts)
        if not given or not all(isinstance(t, str) and t.strip() for t in given):
            raise ConfigError(f"texts {given!r} must be one or more sentences, none of them empty")
        parts = [self._run(given[i : i + self.batch]) for i in range(0, len(given), self.batch)]
        length = max(p.mask.shape[1] for p in parts)
        return TextFeatures(
            torch.cat([p.pooled for p in parts]),
            torch.cat([_padded(p.tokens, length) for p in parts]),
            torch.cat([_padded(p.mask, length) for p in parts]),
        )


class SmallTextEncoder(TextEncoder):
    """Word embeddings and two transformer layers; pooled = mean over the words.

    It starts with seeded random weights; `network` is an ordinary module to be trained with a
    policy, `save` keeps it together with its words.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        dim: int = 128,
        seed: int = 0,
        device: str = "cpu",
        dtype: str = "float32",
        batch: int = 64,
        max_length: int = 80,
    ) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"unknown dtype '{dtype}': allowed are {', '.join(DTYPES)}")
        if dim < 4 or dim % 4:
            raise ConfigError(f"dim = {dim} must be a multiple of 4, the number of heads")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = SmallTextNetwork(len(vocabulary), dim, max_length)
        self.network.to(device, DTYPES[dtype]).eval()
        self.vocabulary, self.max_length = vocabulary, max_length
        self.dim, self.device, self.dtype, self.batch = dim, device, DTYPES[dtype], batch

    @property
    def digest(self) -> str:
        """A digest of the words and the present weights."""
        total = hashlib.sha256(f"{SMALL_TEXT} {self.dtype} {self.vocabulary.words}".encode())
        for name, value in self.network.state_dict().items():
            total.update(name.encode() + value.float().cpu().numpy().tobytes())
        return total.hexdigest()[:16]

    def _run(self, texts: list[str]) -> TextFeatures:
        ids, _ = self.vocabulary.encode(texts, self.max_length)
        with torch.inference_mode():
            return self.network(torch.from_numpy(ids).to(self.device))

    def save(self, folder: str | Path) -> None:
        """Write words and weights; `TextEncoder.load(folder)` reads them back."""
        with atomic_directory(folder) as target:
            save_file(self.network.state_dict(), target / "model.safetensors")
            settings = {
                "model_type": SMALL_TEXT,
                "dim": self.dim,
                "max_length": self.max_length,
                "words": self.vocabulary.words,
            }
            (target / "config.json").write_text(json.dumps(settings) + "\n", encoding="utf-8")

    @staticmethod
    def load_folder(folder: Path, device: str, dtype: str, batch: int) -> SmallTextEncoder:
        """Read what `save` wrote.

        Raises:
            WeightsError: the folder is damaged.
        """
        settings = read_json(folder / "config.json")
        try:
            vocabulary = Vocabulary(tuple(settings["words"]))
            dim, length = int(settings["dim"]), int(settings["max_length"])
            encoder = SmallTextEncoder(vocabulary, dim, 0, device, dtype, batch, length)
            encoder.network.load_state_dict(load_file(folder / "model.safetensors"))
        except (
            OSError, KeyError, TypeError, ValueError, RuntimeError, ConfigError, SafetensorError,
        ) as error:  # fmt: skip
            raise WeightsError(
                f"the small encoder in {folder} is damaged: {error}. Save or copy it again."
            ) from error
        return encoder


class SmallTextNetwork(nn.Module):
    """Embeddings of words and places, two pre-norm transformer layers."""

    def __init__(self, words: int, dim: int, max_length: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, dim, padding_idx=PAD)
        self.places = nn.Parameter(torch.randn(max_length, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(
            dim, 4, 2 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)

    def forward(self, ids: Tensor) -> TextFeatures:
        """Encode (B, L) token ids of `Vocabulary.encode`."""
        mask = ids != PAD
        x = self.words(ids) + self.places[: ids.shape[1]]
        x = self.norm(self.layers(x, src_key_padding_mask=~mask))
        weight = mask.to(x.dtype)[..., None]
        pooled = (x * weight).sum(dim=1) / weight.sum(dim=1)
        return TextFeatures(pooled.float(), (x * weight).float(), mask)


class PretrainedText(TextEncoder):
    """A transformers text encoder.

    Pooled features are what the model compares with images (CLIP, SigLIP) or the state of its
    first token (BERT); token features are the last hidden states.
    """

    def __init__(self, folder: Path, device: str, dtype: str, batch: int) -> None:
        from transformers import AutoModel

        family = str(read_json(folder / "config.json").get("model_type"))
        options = {"add_pooling_layer": False} if family in WITHOUT_POOLER else {}
        model = load_model(AutoModel, folder, dtype, device, **options)
        self._model = getattr(model, "text_model", model)
        self._project = getattr(model, "text_projection", None)
        config = getattr(model.config, "text_config", model.config)
        self._tokenizer = load_tokenizer(folder)
        if self._tokenizer.pad_token is None:
            raise WeightsError(
                f"the tokenizer of {folder} has no padding token, so '{family}' is no text encoder "
                "this class can batch. Use CLIP, SigLIP, SigLIP 2, BERT or a sentence encoder."
            )
        # Some tokenizers know no limit and say 1e30; the model's table of places is one.
        places = int(getattr(config, "max_position_embeddings", self._tokenizer.model_max_length))
        offset = int(getattr(config, "pad_token_id", 0) or 0) + 1 if "roberta" in family else 0
        self._length = min(self._tokenizer.model_max_length, places - offset)
        self._fixed = family in FIXED_LENGTH
        self.dim = getattr(self._project, "out_features", None) or getattr(
            config, "projection_size", config.hidden_size
        )
        self.device, self.dtype, self.batch = device, DTYPES[dtype], batch
        self._digest = hashlib.sha256(f"{hash_folder(folder)} {dtype}".encode()).hexdigest()[:16]

    @property
    def digest(self) -> str:
        """A digest of the weights, the settings files and the precision."""
        return self._digest

    def _run(self, texts: list[str]) -> TextFeatures:
        inputs = self._tokenizer(
            texts,
            padding="max_length" if self._fixed else True,
            truncation=True,
            max_length=self._length,
            return_tensors="pt",
            return_attention_mask=True,
        ).to(self.device)
        mask = inputs["attention_mask"].bool()
        with torch.inference_mode():
            output = self._model(
                input_ids=inputs["input_ids"], attention_mask=None if self._fixed else mask.long()
            )
            pooled = getattr(output, "pooler_output", None)
            pooled = output.last_hidden_state[:, 0] if pooled is None else pooled
            pooled = pooled if self._project is None else self._project(pooled)
        return TextFeatures(pooled.float(), output.last_hidden_state.float(), mask)


def load_tokenizer(folder: Path) -> Any:
    """Load a model's tokenizer; a tokenizer.json is enough where the class needs sentencepiece.

    Raises:
        WeightsError: its files are absent or damaged, or it needs a package that is not installed.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    require_tokenizer(folder)
    try:
        return load_component(AutoTokenizer.from_pretrained, folder, "tokenizer")
    except WeightsError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        if not (folder / "tokenizer.json").is_file():
            raise WeightsError(
                f"the tokenizer of {folder} needs the package sentencepiece, because the folder "
                "has no tokenizer.json. Install it (pip install sentencepiece), or copy "
                "tokenizer.json of the model too."
            ) from error
    return load_component(PreTrainedTokenizerFast.from_pretrained, folder, "tokenizer")


def _padded(values: Tensor, length: int) -> Tensor:
    """Fill (B, L, ...) with zeros up to `length`."""
    if values.shape[1] == length:
        return values
    filled = values.new_zeros((values.shape[0], length, *values.shape[2:]))
    filled[:, : values.shape[1]] = values
    return filled
