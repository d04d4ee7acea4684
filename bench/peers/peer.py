#!/usr/bin/env python3
"""Another recogniser as a child process of `sidetone bench`, for comparison.

Usage: peer.py ENGINE COMPUTE MODEL_FOLDER
       peer.py prepare MODEL_FOLDER

ENGINE is one of
  faster-whisper  its transcribe(), as its users call it
  ctranslate2     the library under it: features, encode() and generate() with
                  what transcribe() gives them, and nothing else; it lets the
                  context be shorter than 30 s
  whisper.cpp     by way of pywhispercpp
COMPUTE is int8 or float32; whisper.cpp has float16 weights only. MODEL_FOLDER
holds Sidetone's own weights, to compare engines and not weights.

Decoding is greedy: temperature 0, no fallback, no timestamps, no previous
text, no voice activity detection, one thread.

It writes a line of JSON when it is ready. A request is a line of JSON,
{"samples": N, "context": FRAMES, "max_tokens": N, "words": BOOL}, and N samples of
16 bits, little-endian, at 16 kHz; the answer is a line of JSON with the text, the
number of tokens and the seconds of wall clock and processor that they took.
max_tokens is not for faster-whisper, context for the other two.

The packages are installed by name into a virtual environment in the user's
cache folder, once; `prepare` does only that.
"""

import json
import os
import resource
import subprocess
import sys
import time
import venv

WHISPER, CPP = "faster-whisper==1.2.1", "pywhispercpp==1.5.1"
RATE = 16000


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "sidetone", "peers", WHISPER + "_" + CPP)


def inside(folder):
    """Goes on with the environment's Python, which is made if it is not there."""
    python = os.path.join(folder, "bin", "python3")
    if sys.flags.isolated and os.path.realpath(sys.prefix) == os.path.realpath(folder):
        return
    if not os.path.exists(python):
        venv.create(folder, with_pip=True)
    check = [python, "-I", "-c", "import faster_whisper, pywhispercpp.model"]
    if subprocess.run(check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", WHISPER, CPP],
                       check=True, stdout=sys.stderr)
    os.execv(python, [python, "-I"] + sys.argv)


def ggml(folder):
    """The folder's weights as whisper.cpp reads them, converted once."""
    out = os.path.join(cache(), os.path.basename(os.path.realpath(folder)) + ".ggml")
    weights = os.path.join(folder, "model.bin")
    if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(weights):
        script = os.path.join(os.path.dirname(os.path.realpath(__file__)), "ggml.py")
        subprocess.run([sys.executable, "-I", script, folder, out], check=True, stdout=sys.stderr)
    return out


class FasterWhisper:
    def __init__(self, folder, compute):
        import ctranslate2
        import faster_whisper

        self.model = faster_whisper.WhisperModel(folder, device="cpu", compute_type=compute, cpu_threads=1)
        self.version = f"faster-whisper {faster_whisper.__version__}, CTranslate2 {ctranslate2.__version__}, {compute}"

    def hear(self, x, request):
        words = request.get("words", False)
        segments, _ = self.model.transcribe(
            x, language="en", beam_size=1, temperature=[0.0], without_timestamps=True,
            condition_on_previous_text=False, vad_filter=False, word_timestamps=words)
        segments = list(segments)
        answer = {"text": " ".join(" ".join(s.text for s in segments).split()), "tokens": sum(len(s.tokens) for s in segments)}
        if words:
            answer["words"] = [{"text": w.word.strip(), "start": float(w.start), "end": float(w.end)}
                               for s in segments for w in s.words or []]
        return answer


class CTranslate2(FasterWhisper):
    def __init__(self, folder, compute):
        import ctranslate2
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        super().__init__(folder, compute)
        m = self.model
        self.version = f"CTranslate2 {ctranslate2.__version__}, {compute}"
        self.tokenizer = Tokenizer(m.hf_tokenizer, m.model.is_multilingual, task="transcribe", language="en")
        self.prompt = m.get_prompt(self.tokenizer, [], without_timestamps=True)
        self.suppress = get_suppressed_tokens(self.tokenizer, [-1])

    def hear(self, x, request):
        from faster_whisper.audio import pad_or_trim

        m = self.model
        features = m.feature_extractor(x)[..., :-1]
        begin = processor_time()
        encoded = m.encode(pad_or_trim(features, 2 * (request.get("context") or 1500)))
        end = processor_time()
        limit = request.get("max_tokens") or 0  # generate() takes twice as many, as Whisper halves its context
        result = m.model.generate(
            encoded, [self.prompt], beam_size=1, patience=1, length_penalty=1, repetition_penalty=1,
            no_repeat_ngram_size=0, max_length=2 * limit or m.max_length,
            return_scores=True, return_no_speech_prob=True, suppress_blank=True, suppress_tokens=self.suppress,
            max_initial_timestamp_index=50)[0]
        tokens = result.sequences_ids[0]
        return {"text": " ".join(self.tokenizer.decode(tokens).split()), "tokens": len(tokens), "encode": end - begin}


class WhisperCpp:
    def __init__(self, folder, compute):
        import importlib.metadata

        import _pywhispercpp
        from pywhispercpp.model import Model

        if compute != "float16":
            sys.exit("whisper.cpp: its weights are converted to float16, not " + compute)
        self.binding = _pywhispercpp
        self.model = Model(ggml(folder), redirect_whispercpp_logs_to=None, n_threads=1, language="en",
                           temperature=0.0, temperature_inc=0.0, greedy={"best_of": 1}, no_context=True,
                           no_timestamps=True, suppress_blank=True, suppress_nst=True, print_progress=False,
                           print_realtime=False, print_timestamps=False)
        extensions = _pywhispercpp.whisper_print_system_info().split("CPU :")[-1].replace(" = 1", "").replace("|", "")
        self.version = f"pywhispercpp {importlib.metadata.version('pywhispercpp')}, {compute}: {' '.join(extensions.split())}"

    def hear(self, x, request):
        segments = self.model.transcribe(x, audio_ctx=request.get("context") or 0, max_tokens=request.get("max_tokens") or 0)
        p, ctx = self.binding, self.model._ctx
        end = p.whisper_token_eot(ctx)
        tokens = sum(p.whisper_full_get_token_id(ctx, s, t) < end
                     for s in range(p.whisper_full_n_segments(ctx)) for t in range(p.whisper_full_n_tokens(ctx, s)))
        return {"text": " ".join(" ".join(s.text for s in segments).split()), "tokens": tokens}


ENGINES = {"faster-whisper": FasterWhisper, "ctranslate2": CTranslate2, "whisper.cpp": WhisperCpp}


def processor_time():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def main():
    args = sys.argv[1:]
    if not (len(args) == 2 and args[0] == "prepare" or len(args) == 3 and args[0] in ENGINES):
        sys.exit(__doc__)
    inside(cache())
    if args[0] == "prepare":
        ggml(args[1])
        return
    # Whatever the libraries print must not end up among the answers.
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.environ["OMP_NUM_THREADS"] = "1"
    import numpy

    def say(what):
        print(json.dumps(what), file=answers, flush=True)

    engine = ENGINES[args[0]](args[2], args[1])
    say({"ready": engine.version})
    while line := requests.readline():
        request = json.loads(line)
        raw = requests.read(2 * request["samples"])
        x = numpy.frombuffer(raw, "<i2").astype("float32") / 32768
        wall, cpu = time.perf_counter(), processor_time()
        try:
            answer = engine.hear(x, request)
        except Exception as e:  # the one who asks decides what to make of it
            answer = {"error": f"{type(e).__name__}: {e}"}
        say(answer | {"wall": time.perf_counter() - wall, "cpu": processor_time() - cpu})


if __name__ == "__main__":
    main()
