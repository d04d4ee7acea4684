#!/usr/bin/env python3
"""Scores a recogniser on the demo call, turn by turn and leg by leg.

    python check.py MODEL NORM

MODEL is a folder with Whisper weights in CTranslate2 format, NORM the folder
of the evaluation data's norm.py. Each turn is cut from ../demo.wav.gz at the
times of ../script.yaml, with 200 ms around it and a line's noise under it, and
decoded greedily in int8.
"""

import gzip
import pathlib
import sys

import jiwer
import numpy as np
import yaml
from faster_whisper import WhisperModel

HERE = pathlib.Path(__file__).resolve().parent
HZ = 8000


def legs():
    """The two channels as floats at HZ."""
    wav = gzip.decompress((HERE.parent / "demo.wav.gz").read_bytes())
    code = ~np.frombuffer(wav[wav.index(b"data") + 8 :], np.uint8).reshape(-1, 2)
    size = ((((code & 15).astype(np.int32) << 3) + 132) << (code >> 4 & 7)) - 132
    return np.where(code & 0x80, -size, size).T / 32768


def to_16k(x):
    """Doubles the rate by a windowed-sinc filter."""
    n = np.arange(-64, 65)
    up = np.zeros(2 * len(x))
    up[::2] = x
    return np.convolve(up, np.sinc(n / 2) * np.blackman(len(n)), "same").astype(np.float32)


def main(model, norm_folder):
    sys.path.insert(0, norm_folder)
    from norm import norm

    whisper = WhisperModel(model, device="cpu", compute_type="int8", cpu_threads=1)
    script = yaml.safe_load((HERE.parent / "script.yaml").read_text("utf-8"))
    audio = dict(zip(("agent", "customer"), legs()))
    noise = np.random.default_rng(2)
    wrong, words = {}, {}
    for turn in script["turns"]:
        cut = slice(max(0, turn["start_ms"] - 200) * HZ // 1000, (turn["end_ms"] + 200) * HZ // 1000)
        x = audio[turn["role"]][cut]
        x = x + noise.standard_normal(len(x)) * 10 ** (-62 / 20)
        segments, _ = whisper.transcribe(
            to_16k(x), language="en", beam_size=1, temperature=0, condition_on_previous_text=False
        )
        heard = " ".join(s.text.strip() for s in segments)
        want, got = norm(turn["text"]), norm(heard)
        n = len(want.split())
        bad = round(jiwer.wer(want, got) * n) if n else len(got.split())
        wrong[turn["role"]] = wrong.get(turn["role"], 0) + bad
        words[turn["role"]] = words.get(turn["role"], 0) + n
        print(f"{bad:2d}/{n:2d} {turn['role']:8} {turn['text']}" + (f"\n      {'':8} {heard}" if bad or not n else ""))
    for role in words:
        print(f"{role}: {wrong[role]} of {words[role]} words, WER {100 * wrong[role] / words[role]:.1f} %")
    print(f"both: WER {100 * sum(wrong.values()) / sum(words.values()):.1f} %")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
