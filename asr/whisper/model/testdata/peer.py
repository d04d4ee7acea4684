"""Writes what faster-whisper decodes, in float32, on one thread.

    python peer.py MODEL_DIR EVAL_DIR golden.json.gz
    python peer.py MODEL_DIR EVAL_DIR base.json.gz

Needs faster-whisper 1.2.1 (ctranslate2 4.8.5, numpy 2.4.6). MODEL_DIR is the
CTranslate2 folder of tiny.en, or of base, which hears some of the clips and
also says their language. EVAL_DIR holds asr/{asterisk,librispeech,other}.

Both sides must hear the same samples, so 8 kHz clips are brought to 16 kHz by
a half-band filter in integers, which Go and numpy compute bit for bit alike:
    y[2n]   = x[n]
    y[2n+1] = (sum_k c[k] * (x[n-k] + x[n+1+k]) + 2^14) >> 15, clipped, k < 32
    c[k]    = round(2^15 * (-1)^k / (pi*(k+1/2)) * cos(pi*(k+1/2)/64)^2)

Every entry is keyed by set/condition/file and decoded as one window of 30 s at
temperature 0 without fallback; options are those of transcribe() otherwise.
"""

import gzip
import json
import os
import struct
import sys

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import (
    TranscriptionOptions,
    get_suppressed_tokens,
    pad_or_trim,
)

PREPEND = "\"'“¿([{-"
APPEND = "\"'.。,，!！?？:：”)]}、"


def read_wav(path):
    data = open(path, "rb").read()
    pos, fmt = 12, None
    while pos + 8 <= len(data):
        name, size = data[pos : pos + 4], struct.unpack("<I", data[pos + 4 : pos + 8])[0]
        body = data[pos + 8 : pos + 8 + size]
        if name == b"fmt ":
            fmt = struct.unpack("<HHIIHH", body[:16])
        if name == b"data":
            break
        pos += 8 + size + size % 2
    tag, channels, rate, _, _, bits = fmt
    assert channels == 1
    if tag == 1 and bits == 16:
        return np.frombuffer(body, "<i2").astype(np.int64), rate
    assert tag == 7
    u = ~np.frombuffer(body, np.uint8).astype(np.int64) & 0xFF
    t = (((u & 15) << 3) + 132 << ((u >> 4) & 7)) - 132
    return np.where(u & 0x80, -t, t), rate


def samples(path):
    x, rate = read_wav(path)
    if rate == 8000:
        k = np.arange(32)
        c = (-1.0) ** k / (np.pi * (k + 0.5)) * np.cos(np.pi * (k + 0.5) / 64) ** 2
        c = np.rint(2**15 * c).astype(np.int64)
        p = np.concatenate([np.zeros(31, np.int64), x, np.zeros(32, np.int64)])
        n = len(x)
        odd = sum(c[j] * (p[31 - j : 31 - j + n] + p[32 + j : 32 + j + n]) for j in k)
        y = np.empty(2 * n, np.int64)
        y[0::2] = x
        y[1::2] = np.clip((odd + 2**14) >> 15, -32768, 32767)
        x = y
    else:
        assert rate == 16000
    return (x / 32768).astype(np.float32)


class Peer:
    def __init__(self, folder):
        self.m = WhisperModel(folder, device="cpu", compute_type="float32", cpu_threads=1)
        self.t = Tokenizer(self.m.hf_tokenizer, self.m.model.is_multilingual, task="transcribe", language="en")
        self.suppress = get_suppressed_tokens(self.t, [-1])

    def features(self, x, context=None):
        f = self.m.feature_extractor(x)
        n = f.shape[-1] - 1
        size = min(n, 3000)
        f = f[:, :size]
        return pad_or_trim(f) if context is None else pad_or_trim(f, 2 * context), size

    def decode(self, x, beam=1, timestamps=False, prompt=(), prefix=None, context=None, words=False):
        f, size = self.features(x, context)
        enc = self.m.encode(f)
        p = self.m.get_prompt(self.t, list(prompt), without_timestamps=not timestamps, prefix=prefix)
        o = TranscriptionOptions(
            beam_size=beam, best_of=5, patience=1, length_penalty=1, repetition_penalty=1,
            no_repeat_ngram_size=0, log_prob_threshold=None, no_speech_threshold=None,
            compression_ratio_threshold=None, condition_on_previous_text=False,
            prompt_reset_on_temperature=0.5, temperatures=[0.0], initial_prompt=None, prefix=None,
            suppress_blank=True, suppress_tokens=self.suppress, without_timestamps=not timestamps,
            max_initial_timestamp=1.0, word_timestamps=words, prepend_punctuations=PREPEND,
            append_punctuations=APPEND, multilingual=False, max_new_tokens=None, clip_timestamps="0",
            hallucination_silence_threshold=None, hotwords=None,
        )
        result, avg, _, ratio = self.m.generate_with_fallback(enc, p, self.t, o)
        tokens = result.sequences_ids[0]
        r = {
            "tokens": [int(t) for t in tokens],
            "avg": round(float(avg), 4) if np.isfinite(avg) else None,
            "nospeech": round(float(result.no_speech_prob), 4),
            "ratio": round(float(ratio), 3),
        }
        if words:
            segments, _, _ = self.m._split_segments_by_timestamps(
                tokenizer=self.t, tokens=tokens, time_offset=0.0, segment_size=size,
                segment_duration=size * 0.01, seek=0,
            )
            self.m.add_word_timestamps([segments], self.t, enc, size, PREPEND, APPEND, 0.0)
            r["words"] = [
                [w["word"], round(float(w["start"]), 2), round(float(w["end"]), 2), round(float(w["probability"]), 4)]
                for s in segments
                for w in s["words"]
            ]
        return r

    def language(self, x, context=None):
        f, _ = self.features(x, context)
        token, p = self.m.model.detect_language(self.m.encode(f))[0][0]
        return {"code": token.strip("<|>"), "p": round(float(p), 4)}


def keys(evaldir):
    clips = []
    for s in ["asterisk", "librispeech", "other"]:
        names = sorted(os.listdir(f"{evaldir}/asr/{s}/wav16"))
        for c in ["wav16", "tel8k", "tel8k_noise10", "tel8k_loss3"]:
            clips += [f"{s}/{c}/{n}" for n in names]
    return clips


def many(peer, evaldir):
    golden = {k: {} for k in ["greedy", "words", "language"]}
    for i, key in enumerate(keys(evaldir)[::17]):
        x = samples(f"{evaldir}/asr/{key}")
        golden["greedy"][key] = peer.decode(x)
        golden["language"][key] = peer.language(x)
        if i % 7 == 0:
            golden["words"][key] = peer.decode(x, words=True)
        print(i, key, golden["language"][key], peer.t.decode(golden["greedy"][key]["tokens"]), flush=True)
    return golden


def english(peer, evaldir):
    golden = {k: {} for k in ["greedy", "timestamps", "beam", "beamtimestamps", "prompt", "prefix", "words", "wordstimestamps", "short"]}
    clips = keys(evaldir)
    before = peer.t.encode(" Thank you for calling the bank, this is Anna.")
    for i, key in enumerate(clips):
        x = samples(f"{evaldir}/asr/{key}")
        golden["greedy"][key] = peer.decode(x)
        if i % 7 == 0:
            golden["timestamps"][key] = peer.decode(x, timestamps=True)
            golden["words"][key] = peer.decode(x, words=True)
            golden["short"][key] = peer.decode(x, context=min(1500, len(x) // 320 + 50))
        if i % 7 == 1:
            golden["beam"][key] = peer.decode(x, beam=5)
        if i % 7 == 2:
            golden["beamtimestamps"][key] = peer.decode(x, beam=5, timestamps=True)
            golden["wordstimestamps"][key] = peer.decode(x, timestamps=True, words=True)
        if i % 7 == 3:
            golden["prompt"][key] = peer.decode(x, prompt=before, timestamps=i % 2 == 0)
            golden["prefix"][key] = peer.decode(x, prefix="So the", timestamps=i % 2 == 0)
        print(i, len(clips), key, peer.t.decode(golden["greedy"][key]["tokens"]), flush=True)
    return golden


def main(folder, evaldir, out):
    peer = Peer(folder)
    golden = (many if peer.m.model.is_multilingual else english)(peer, evaldir)
    with gzip.GzipFile(out, "wb", mtime=0) as f:
        f.write(json.dumps(golden, separators=(",", ":"), ensure_ascii=False).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
