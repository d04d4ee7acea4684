"""Writes mel.json: log-mel features by faster-whisper 1.2.1 of made-up sounds.

    python peer.py mel.json

The sounds are integers out of a linear congruential generator, so that the Go
test makes the very same ones.
"""

import json
import sys

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor


def sound(n):
    x, y, s = np.zeros(n, np.int64), 0, 1
    for i in range(n):
        s = (s * 1103515245 + 12345) % 2**31
        y += (s >> 16) % 2001 - 1000 - y // 16  # low-passed noise
        tone = 6000 if i // 40 % 2 else -6000  # 200 Hz, on and off
        x[i] = np.clip(y + (tone if i // 4000 % 2 else 0), -32768, 32767)
    return (x / 32768).astype(np.float32)


out = []
for n, bands in [(480, 80), (16000, 80), (7777, 80), (3000, 128), (100, 80)]:
    f = FeatureExtractor(feature_size=bands)(sound(n))[:, :-1]
    out.append({"samples": n, "bands": bands, "frames": f.shape[1],
                "mean": round(float(f.astype(np.float64).mean()), 6) if f.size else 0,
                "rows": {str(t): [round(float(v), 5) for v in f[:, t]]
                         for t in sorted({0, 1, f.shape[1] // 2, f.shape[1] - 2, f.shape[1] - 1})
                         if 0 <= t < f.shape[1]}})
json.dump(out, open(sys.argv[1], "w"), separators=(",", ":"))
