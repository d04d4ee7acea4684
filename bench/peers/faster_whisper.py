#!/usr/bin/env python3
"""Runs faster-whisper over the samples that Sidetone hears, for comparison.

Usage: faster_whisper.py SIDETONE OUT.tsv [--model NAME] [--compute int8,float32]
                         [--venv DIR] [options of `sidetone bench samples`]

SIDETONE is the program, OUT.tsv what `sidetone bench wer` prints. The weights
are Sidetone's own, to compare engines and not weights. Decoding is greedy: temperature 0, no fallback, no
timestamps, no previous text, no voice activity detection, one thread; that is
what `sidetone bench asr --mode whole` does.

faster-whisper is installed by package name into a virtual environment in the
user's cache folder, once.
"""

import argparse
import os
import resource
import subprocess
import sys
import venv

PACKAGE = "faster-whisper==1.2.1"
COLUMNS = "engine set condition clip seconds cpu ref hyp".split()
RATE = 16000


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "sidetone", "peers", PACKAGE)


def inside(folder):
    """Goes on with the environment's Python, which is made if it is not there.

    It runs isolated, or it would import this very file as faster_whisper.
    """
    python = os.path.join(folder, "bin", "python3")
    if sys.flags.isolated and os.path.realpath(sys.prefix) == os.path.realpath(folder):
        return
    if not os.path.exists(python):
        venv.create(folder, with_pip=True)
    if subprocess.run([python, "-I", "-c", "import faster_whisper"], stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE],
                       check=True, stdout=sys.stderr)
    os.execv(python, [python, "-I"] + sys.argv)


def clips(sidetone, options):
    """Yields set, condition, name, reference and samples of every clip."""
    import numpy

    with subprocess.Popen([sidetone, "bench", "samples"] + options, stdout=subprocess.PIPE) as p:
        while line := p.stdout.readline():
            kind, condition, name, n, ref = line.decode().rstrip("\n").split("\t")
            raw = p.stdout.read(2 * int(n))
            if len(raw) != 2 * int(n):
                sys.exit("sidetone bench samples ended within " + name)
            yield kind, condition, name, ref, numpy.frombuffer(raw, "<i2").astype("float32") / 32768
    if p.returncode != 0:
        sys.exit("sidetone bench samples failed")


def processor_time():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("sidetone")
    a.add_argument("out")
    a.add_argument("--model", default="whisper-tiny.en")
    a.add_argument("--compute", default="int8,float32")
    a.add_argument("--venv", default=cache())
    args, options = a.parse_known_args()
    inside(args.venv)

    os.environ["OMP_NUM_THREADS"] = "1"
    from faster_whisper import WhisperModel

    name = args.model.removeprefix("whisper-")
    path = subprocess.run([args.sidetone, "models", "path", args.model], stdout=subprocess.PIPE, text=True)
    if path.returncode != 0:
        sys.exit(path.returncode)
    with open(args.out, "w", encoding="utf-8") as out:
        print(*COLUMNS, sep="\t", file=out)
        for compute in args.compute.split(","):
            model = WhisperModel(path.stdout.strip(), device="cpu", compute_type=compute, cpu_threads=1)
            for done, (kind, condition, clip, ref, x) in enumerate(clips(args.sidetone, options), 1):
                before = processor_time()
                segments, _ = model.transcribe(
                    x, language="en", beam_size=1, temperature=[0.0], without_timestamps=True,
                    condition_on_previous_text=False, vad_filter=False)
                hyp = " ".join(" ".join(s.text for s in segments).split())
                cpu = processor_time() - before
                print(f"faster-whisper {name} {compute}", kind, condition, clip, f"{len(x) / RATE:.3f}", f"{cpu:.3f}",
                      ref, hyp, sep="\t", file=out)
                if done % 50 == 0:
                    print(f"faster-whisper {compute}: {done} clips", file=sys.stderr)


if __name__ == "__main__":
    main()
