"""Writes signatures.json: signed requests, made with the standard library of
Python from the text of draft-ietf-httpbis-message-signatures-11 and nothing of
the package under test. Run it in this folder: python3 signatures.py
"""
import base64
import hashlib
import hmac
import json

SECRET = "bG9vcGJhY2stdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OSE="
FIELDS = {
    "Audiohook-Organization-Id": ["6f6a1c1e-5a8b-4a38-9a55-0d3b5c8a7e10"],
    "Audiohook-Session-Id": ["0b8c4f1e-2f0d-4a7c-8f59-5d0c2f6e9a01"],
    "Audiohook-Correlation-Id": ["e3b7a1c2-77d4-4c0e-9b1f-aa02d9c4f533"],
    "X-Api-Key": ["demo-key-1"],
}
NEEDED = ["@request-target", "@authority", "audiohook-organization-id",
          "audiohook-session-id", "audiohook-correlation-id", "x-api-key"]
PARAMS = [("keyid", '"demo-key-1"'), ("nonce", '"c2FtcGxlLW5vbmNlLTAwMDAwMQ"'),
          ("alg", '"hmac-sha256"'), ("created", "1767225600"), ("expires", "1767225610")]


def sign(name, components=None, params=None, host="ears.example.test", signed_host=None,
         more=None, label="sig1", written=lambda inner: inner):
    components, params = components or NEEDED, params or PARAMS
    target = "/ingest/audiohook?tenant=t1"
    path, _, query = target.partition("?")
    header = dict(FIELDS, **(more or {}))
    known = {k.lower(): ", ".join(x.strip() for x in v) for k, v in header.items()}
    known |= {"@request-target": target, "@authority": signed_host or host,
              "@method": "GET", "@path": path, "@query": "?" + query}
    inner = "(" + " ".join(f'"{c}"' for c in components) + ")"
    inner += "".join(f";{k}={v}" for k, v in params)
    lines = [f'"{c}": {known[c]}' for c in components] + [f'"@signature-params": {inner}']
    base = "\n".join(lines).encode()
    mac = hmac.new(base64.b64decode(SECRET), base, hashlib.sha256).digest()
    header["Signature-Input"] = [f"{label}={written(inner)}"]
    header["Signature"] = [f"{label}=:{base64.b64encode(mac).decode()}:"]
    return {"name": name, "target": target, "host": host, "header": header,
            "base_sha256": hashlib.sha256(base).hexdigest()}


def spread(inner):
    return "( " + inner[1:].replace('" "', '"   "').replace(")", " )", 1).replace(";", "; ")


VECTORS = [
    sign("as the client sends it"),
    sign("components in another order", components=NEEDED[::-1]),
    sign("more components than are needed",
         components=["@method", "@path", "@query"] + NEEDED + ["content-type"],
         more={"Content-Type": ["text/plain"]}),
    sign("parameters in another order, without alg and expires",
         params=[PARAMS[3], ("nonce", '"c2FtcGxlLW5vbmNlLTAwMDAwMg"'), PARAMS[0]]),
    sign("spaces where structured fields allow them", written=spread),
    sign("the default port in Host", host="Ears.Example.test:443", signed_host="ears.example.test"),
    sign("another port in Host", host="ears.example.test:8443"),
    sign("a repeated and padded field", components=NEEDED + ["x-extra"],
         more={"X-Extra": ["  one ", "two"]}),
    sign("another label", label="gen-1_a.b"),
    sign("an escaped nonce",
         params=[PARAMS[0], ("nonce", r'"quote\"and\\backslash-000001"'), PARAMS[3]]),
]

with open("signatures.json", "w", encoding="ascii") as f:
    json.dump(VECTORS, f, indent=1)
    f.write("\n")
