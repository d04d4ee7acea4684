#!/usr/bin/env python3
"""Converts a CTranslate2 Whisper folder with float16 weights for whisper.cpp.

Usage: ggml.py MODEL_FOLDER OUT

The numbers are the same afterwards: matrices stay float16, vectors and
positions become float32, as whisper.cpp's own converter leaves them.
"""

import json
import os
import struct
import sys

import numpy
from faster_whisper.feature_extractor import FeatureExtractor

MAGIC = 0x67676D6C
TYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}
TEXT_CONTEXT = 448


class Reader:
    """Takes numbers and names off a CTranslate2 file."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, kind):
        size = struct.calcsize("<" + kind)
        (v,) = struct.unpack_from("<" + kind, self.data, self.at)
        self.at += size
        return v

    def take(self, n):
        self.at += n
        return self.data[self.at - n:self.at]

    def name(self):
        return self.take(self.number("H")).rstrip(b"\0").decode()


def variables(path):
    with open(path, "rb") as f:
        r = Reader(f.read())
    r.number("I")
    if (spec := r.name()) != "WhisperSpec":
        sys.exit(f"{path} holds a {spec}, not a WhisperSpec")
    r.number("I")
    found = {}
    for _ in range(r.number("I")):
        name = r.name()
        shape = [r.number("I") for _ in range(r.number("B"))]
        kind = TYPES[r.number("B")]
        found[name] = numpy.frombuffer(r.take(r.number("I")), kind).reshape(shape)
    return found


def tensors(v):
    """Yields whisper.cpp's names and their values, float32."""

    def get(name):
        return v[name].astype("float32")

    def norm(to, scope):
        yield to + ".weight", get(scope + "/layer_norm/gamma")
        yield to + ".bias", get(scope + "/layer_norm/beta")

    def linear(to, scope, rows=slice(None), bias=True):
        yield to + ".weight", get(scope + "/weight")[rows]
        if bias:
            yield to + ".bias", get(scope + "/bias")[rows]

    width = v["decoder/embeddings/weight"].shape[1]
    first, second, third = (slice(i * width, (i + 1) * width) for i in range(3))
    for side in "encoder", "decoder":
        yield side + ".positional_embedding", get(side + "/position_encodings/encodings")
    for c in "conv1", "conv2":
        yield f"encoder.{c}.weight", get(f"encoder/{c}/weight")
        yield f"encoder.{c}.bias", get(f"encoder/{c}/bias").reshape(-1, 1)
    yield "decoder.token_embedding.weight", get("decoder/embeddings/weight")
    yield from norm("encoder.ln_post", "encoder")
    yield from norm("decoder.ln", "decoder")
    for side in "encoder", "decoder":
        layer = 0
        while f"{side}/layer_{layer}/ffn/linear_0/weight" in v:
            of, to = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            attention = of + "/self_attention"
            yield from norm(to + ".attn_ln", attention)
            yield from linear(to + ".attn.query", attention + "/linear_0", first)
            yield from linear(to + ".attn.key", attention + "/linear_0", second, bias=False)
            yield from linear(to + ".attn.value", attention + "/linear_0", third)
            yield from linear(to + ".attn.out", attention + "/linear_1")
            if side == "decoder":
                attention = of + "/attention"
                yield from norm(to + ".cross_attn_ln", attention)
                yield from linear(to + ".cross_attn.query", attention + "/linear_0")
                yield from linear(to + ".cross_attn.key", attention + "/linear_1", first, bias=False)
                yield from linear(to + ".cross_attn.value", attention + "/linear_1", second)
                yield from linear(to + ".cross_attn.out", attention + "/linear_2")
            yield from norm(to + ".mlp_ln", of + "/ffn")
            yield from linear(to + ".mlp.0", of + "/ffn/linear_0")
            yield from linear(to + ".mlp.2", of + "/ffn/linear_1")
            layer += 1


def spellings(folder, vocabulary):
    """The bytes of the text tokens: GPT-2 writes bytes as printable characters."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    byte = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        token = {i: t for t, i in json.load(f)["model"]["vocab"].items()}
    # English-only models have one token less before the special ones.
    text = 50257 if vocabulary >= 51865 else 50256
    return [bytes(byte[c] for c in token[i]) for i in range(text)]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, out = sys.argv[1:]
    v = variables(os.path.join(folder, "model.bin"))
    layers = {s: sum(n.startswith(s + "/layer_") and n.endswith("/ffn/linear_0/weight") for n in v) for s in ("encoder", "decoder")}
    context, width = v["encoder/position_encodings/encodings"].shape
    vocabulary = v["decoder/embeddings/weight"].shape[0]
    heads = width // 64
    mel = FeatureExtractor(feature_size=v["encoder/conv1/weight"].shape[1]).mel_filters.astype("<f4")
    with open(out + ".part", "wb") as f:
        f.write(struct.pack("<12i", MAGIC, vocabulary, context, width, heads, layers["encoder"],
                            TEXT_CONTEXT, width, heads, layers["decoder"], mel.shape[0], 1))
        f.write(struct.pack("<2i", *mel.shape) + mel.tobytes())
        text = spellings(folder, vocabulary)
        f.write(struct.pack("<i", len(text)))
        for t in text:
            f.write(struct.pack("<i", len(t)) + t)
        for name, x in tensors(v):
            half = x.ndim > 1 and not name.endswith((".bias", "positional_embedding"))
            f.write(struct.pack("<3i", x.ndim, len(name), half))
            f.write(struct.pack(f"<{x.ndim}i", *reversed(x.shape)) + name.encode())
            f.write(numpy.ascontiguousarray(x, "<f2" if half else "<f4").tobytes())
    os.replace(out + ".part", out)


if __name__ == "__main__":
    main()
