"""all-MiniLM-L6-v2 in this process, by onnxruntime on one thread, with its WordPiece read from tokenizer.json."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from providers.errors import BadRequest

MAX_TOKENS = 256
BATCH = 16
_MAX_WORD = 100


def _is_punctuation(char: str) -> bool:
    code = ord(char)
    if 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126:
        return True
    return unicodedata.category(char).startswith("P")


def _is_cjk(char: str) -> bool:
    code = ord(char)
    return (
        0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x2FA1F
    )


def _kept(text: str) -> Iterator[str]:
    """The characters of a text as BERT sees them: controls gone, accents off, each sign apart."""
    for char in unicodedata.normalize("NFD", text.lower()):
        category = unicodedata.category(char)
        if char in "\t\n\r" or category == "Zs":
            yield " "
        elif category in ("Cc", "Cf", "Cn", "Co", "Mn") or char == "\ufffd":
            continue
        elif _is_punctuation(char) or _is_cjk(char):
            yield f" {char} "
        else:
            yield char


class WordPiece:
    """The tokenizer of a BERT, uncased."""

    def __init__(self, tokenizer_json: bytes) -> None:
        self._vocab: dict[str, int] = orjson.loads(tokenizer_json)["model"]["vocab"]
        self._start, self._end, self._unknown = (self._vocab[t] for t in ("[CLS]", "[SEP]", "[UNK]"))

    def ids(self, text: str) -> list[int]:
        """With the marks at both ends, cut to what the model reads."""
        found: list[int] = []
        for word in "".join(_kept(text)).split():
            found += self._pieces(word)
            if len(found) >= MAX_TOKENS - 2:
                break
        return [self._start, *found[: MAX_TOKENS - 2], self._end]

    def _pieces(self, word: str) -> list[int]:
        """The longest known pieces from the left."""
        if len(word) > _MAX_WORD:
            return [self._unknown]
        pieces, at = [], 0
        while at < len(word):
            end = len(word)
            while end > at:
                found = self._vocab.get(word[at:end] if at == 0 else f"##{word[at:end]}")
                if found is not None:
                    pieces.append(found)
                    break
                end -= 1
            if end == at:
                return [self._unknown]
            at = end
        return pieces


class MiniLM:
    """The model of a directory with `model.onnx` and `tokenizer.json`. Safe to share between threads."""

    def __init__(self, directory: str) -> None:
        folder = Path(directory)
        model = next((path for path in (folder / "model.onnx", folder / "onnx" / "model.onnx") if path.exists()), None)
        if model is None or not (folder / "tokenizer.json").exists():
            raise BadRequest(f"No embedding model in '{directory}': model.onnx and tokenizer.json are needed there.")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._words = WordPiece((folder / "tokenizer.json").read_bytes())
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._inputs = {entry.name for entry in self._session.get_inputs()}

    def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """(vectors of length 1, tokens read). Texts of like length share a batch, so that little is padding."""
        ids = [self._words.ids(text) for text in texts]
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        vectors: list[list[float]] = [[] for _ in ids]
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            for n, vector in zip(chosen, self._run([ids[n] for n in chosen]), strict=True):
                vectors[n] = vector
        return vectors, sum(map(len, ids))

    def _run(self, batch: list[list[int]]) -> list[list[float]]:
        width = max(map(len, batch))
        tokens = np.zeros((len(batch), width), dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, ids in enumerate(batch):
            tokens[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        feed: dict[str, Any] = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        hidden = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        weight = mask[:, :, None].astype(np.float32)
        mean = (hidden * weight).sum(axis=1) / weight.sum(axis=1)
        unit = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        return [[float(value) for value in row] for row in unit]
