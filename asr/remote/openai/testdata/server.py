"""POST /v1/audio/transcriptions around the package faster-whisper, for tests.

server.py MODEL             prints the port it listens on, ends with its input
server.py MODEL FILE...     prints the text of each file instead
"""

import email.parser
import email.policy
import io
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from faster_whisper import WhisperModel

model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=1)
busy = threading.Lock()


def transcribe(file, words):
    with busy:
        segments, info = model.transcribe(file, language="en", beam_size=1, temperature=0, word_timestamps=words)
        return list(segments), info


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n"
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        fields = {p.get_param("name", header="content-disposition"): p.get_payload(decode=True) for p in form.iter_parts()}
        verbose = fields["response_format"] == b"verbose_json"
        segments, info = transcribe(io.BytesIO(fields["file"]), verbose)
        reply = {"text": "".join(s.text for s in segments)}
        if verbose:
            reply["duration"] = info.duration
            reply["segments"] = [
                {"start": s.start, "end": s.end, "text": s.text, "avg_logprob": s.avg_logprob, "no_speech_prob": s.no_speech_prob}
                for s in segments
            ]
            reply["words"] = [{"word": w.word, "start": w.start, "end": w.end} for s in segments for w in s.words]
        answer = json.dumps(reply).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except ConnectionError:
            print("a client has given up", file=sys.stderr)


if len(sys.argv) > 2:
    for name in sys.argv[2:]:
        print("".join(s.text for s in transcribe(name, True)[0]).strip(), flush=True)
else:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
