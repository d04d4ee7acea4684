package httpsig

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	key    = "demo-key-1"
	secret = "bG9vcGJhY2stdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OSE="
)

// signed is when the vectors were signed.
var signed = time.Unix(1767225600, 0)

// vector is a signed request. testdata/signatures.py made them with Python's
// hmac and hashlib alone; the first is the one of the reference, whose signature
// and hash were known before.
type vector struct {
	Name, Target, Host string
	Header             map[string][]string
	Base               string `json:"base_sha256"`
}

func (v vector) request() Request {
	return Request{Method: "GET", Target: v.Target, Host: v.Host, Header: v.Header}
}

func vectors(t testing.TB) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/signatures.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(b, &all); err != nil || len(all) < 10 {
		t.Fatalf("%d vectors: %v", len(all), err)
	}
	return all
}

func verifier(t testing.TB) *Verifier {
	t.Helper()
	v, err := New(Config{Keys: map[string]string{key: secret, "open-key": ""}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// change is the first vector with one field set; an empty value removes it.
func change(t testing.TB, field, value string) Request {
	r := vectors(t)[0].request()
	r.Header = maps.Clone(r.Header)
	if value == "" {
		delete(r.Header, field)
	} else {
		r.Header[field] = []string{value}
	}
	return r
}

func TestVectors(t *testing.T) {
	first := vectors(t)[0]
	if got := first.Header["Signature"][0]; got != "sig1=:Ub9ECIN/map/zhVL29tRAz9Jyrf8u7BsCixMgPSiA6k=:" {
		t.Fatalf("the vector of the reference has the signature %s", got)
	}
	for _, c := range vectors(t) {
		t.Run("G1 "+c.Name, func(t *testing.T) {
			v := verifier(t)
			r := c.request()
			input, _ := r.Field("signature-input")
			value, _ := r.Field("signature")
			s, err := parseSignature(input, value)
			if err != nil {
				t.Fatal(err)
			}
			base, err := v.base(&r, s)
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(base); hex.EncodeToString(sum[:]) != c.Base {
				t.Errorf("signed text has another hash than the vector's:\n%s", base)
			}
			if err := v.Check(r, signed.Add(2*time.Second)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEveryByteCounts flips one bit of each byte that is signed, and of the
// signature itself.
func TestEveryByteCounts(t *testing.T) {
	flip := func(s string, i int) string {
		b := []byte(s)
		b[i] ^= 1
		return string(b)
	}
	base := vectors(t)[0].request()
	checked := 0
	refused := func(r Request, what string, i int) {
		checked++
		if err := verifier(t).Check(r, signed); err == nil {
			t.Errorf("%s with byte %d changed is let in", what, i)
		}
	}
	for i := range base.Target {
		r := base
		r.Target = flip(base.Target, i)
		refused(r, "the target", i)
	}
	for i := range base.Host {
		r := base
		r.Host = flip(base.Host, i)
		refused(r, "Host", i)
	}
	for name, values := range base.Header {
		for i := range values[0] {
			r := base
			r.Header = maps.Clone(base.Header)
			r.Header[name] = []string{flip(values[0], i)}
			refused(r, name, i)
		}
	}
	if checked < 400 {
		t.Errorf("only %d bytes were tried", checked)
	}
}

func TestRefusals(t *testing.T) {
	v0 := vectors(t)[0]
	input := v0.Header["Signature-Input"][0]
	with := func(old, now string) Request {
		if !strings.Contains(input, old) {
			t.Fatalf("no %q in %s", old, input)
		}
		return change(t, "Signature-Input", strings.Replace(input, old, now, 1))
	}
	cases := []struct {
		name string
		r    Request
		now  time.Time
		want string // empty: let in
	}{
		{"in time", v0.request(), signed, ""},
		{"G2 60 s old", v0.request(), signed.Add(time.Minute), "created 1m0s ago"},
		{"at the end of its life and the clocks' tolerance", v0.request(), signed.Add(13 * time.Second), ""},
		{"a second later", v0.request(), signed.Add(14 * time.Second), "created 14s ago"},
		{"clocks 3 s apart", v0.request(), signed.Add(-3 * time.Second), ""},
		{"clocks 4 s apart", v0.request(), signed.Add(-4 * time.Second), "4s from now"},
		{"expired", with("expires=1767225610", "expires=1767225601"), signed.Add(5 * time.Second), "expired 4s ago"},
		{"no creation", with("created=1767225600;", ""), signed, "when it was created"},
		{"G2 short nonce", with("c2FtcGxlLW5vbmNlLTAwMDAwMQ", "c2FtcGxlLW5vbmNlLTAwM"), signed, "21 bytes"},
		{"no nonce", with(`nonce="c2FtcGxlLW5vbmNlLTAwMDAwMQ";`, ""), signed, "0 bytes"},
		{"long nonce", with("c2FtcGxl", strings.Repeat("A", 300)), signed, "it must have 22 to 256"},
		{"other algorithm", with("hmac-sha256", "rsa-pss-sha512"), signed, "only hmac-sha256"},
		{"unknown parameter", with(";alg", `;tag="x";alg`), signed, "unknown parameter"},
		{"created as text", with("created=1767225600", `created="1767225600"`), signed, "wrong kind"},
		{"negative time", with("created=1767225600", "created=-1"), signed, "wrong kind"},
		{"fraction", with("created=1767225600", "created=1767225600.5"), signed, "fraction"},
		{"key and keyid differ", change(t, "X-Api-Key", "other"), signed, "keyid differ"},
		{"a component is missing", with(` "x-api-key"`, ""), signed, `does not cover "x-api-key"`},
		{"a component twice", with(`"x-api-key"`, `"x-api-key" "x-api-key"`), signed, "twice"},
		{"signature-params covered", with(`"x-api-key"`, `"x-api-key" "@signature-params"`), signed, "cannot cover"},
		{"signature covered", with(`"x-api-key"`, `"x-api-key" "signature"`), signed, "cannot cover"},
		{"unknown derived component", with(`"x-api-key"`, `"x-api-key" "@status"`), signed, "not supported"},
		{"a field that is not there", with(`"x-api-key"`, `"x-api-key" "x-none"`), signed, "has not"},
		{"a component with parameters", with(`"x-api-key"`, `"x-api-key";sf`), signed, "has parameters"},
		{"a component that is a token", with(`"x-api-key"`, `"x-api-key" x`), signed, "no string"},
		{"other label", change(t, "Signature", "sig2=:AAAA:"), signed, `no label "sig1"`},
		{"more labels", change(t, "Signature", "sig1=:AAAA:, sig2=:AAAA:"), signed, "1 labels"},
		{"no bytes", change(t, "Signature", `sig1="AAAA"`), signed, "no byte sequence"},
		{"no list", change(t, "Signature-Input", `sig1="x"`), signed, "is no list"},
		{"not base64", change(t, "Signature", "sig1=:***:"), signed, "not base64"},
		{"no Signature", change(t, "Signature", ""), signed, "no Signature"},
		{"no Signature-Input", change(t, "Signature-Input", ""), signed, "no Signature-Input"},
		{"no key", change(t, "X-Api-Key", ""), signed, "no X-API-KEY"},
		{"too long", change(t, "Signature-Input", strings.Repeat("a", 9000)), signed, "at most 8192"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := verifier(t).Check(c.r, c.now)
			if c.want == "" {
				// A changed request cannot have the right signature, these are not.
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "c2FtcGxl") || strings.Contains(err.Error(), "Ub9E") {
				t.Errorf("the text tells of nonce or signature: %v", err)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	unsigned := func(key string) Request {
		r := change(t, "Signature", "")
		delete(r.Header, "Signature-Input")
		r.Header["X-Api-Key"] = []string{key}
		return r
	}
	v := verifier(t)
	if err := v.Check(unsigned("open-key"), signed); err != nil {
		t.Errorf("a key that needs no signature: %v", err)
	}
	withSecret, unknown := v.Check(unsigned(key), signed), v.Check(unsigned("guess"), signed)
	if withSecret == nil || unknown == nil || withSecret.Error() != unknown.Error() {
		t.Errorf("unsigned: a known key gets %v, an unknown one %v", withSecret, unknown)
	}
	// The same request, judged where its key is unknown, where the secret is
	// another, and where there is none.
	var texts []string
	for _, keys := range []map[string]string{{"other": secret}, {key: "AAAA"}, {key: ""}} {
		v, err := New(Config{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		err = v.Check(vectors(t)[0].request(), signed)
		if err == nil {
			t.Fatalf("let in with the keys %v", keys)
		}
		texts = append(texts, err.Error())
	}
	if len(slices.Compact(texts)) != 1 {
		t.Errorf("the texts tell apart what they must not: %q", texts)
	}
	for _, keys := range []map[string]string{nil, {"with space": secret}, {"": secret}, {key: "no base64!"}} {
		if _, err := New(Config{Keys: keys}); err == nil {
			t.Errorf("keys %v are taken", keys)
		} else if strings.Contains(err.Error(), "base64!") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func TestAuthority(t *testing.T) {
	r := vectors(t)[0].request()
	r.Host = "10.1.2.3:8080"
	if err := verifier(t).Check(r, signed); err == nil {
		t.Error("a request that a proxy sent to another host is let in")
	}
	v, err := New(Config{Keys: map[string]string{key: secret}, Authority: "Ears.example.test:443"})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Check(r, signed); err != nil {
		t.Errorf("with the public name configured: %v", err)
	}
}

func TestReplay(t *testing.T) {
	v := verifier(t)
	r := vectors(t)[0].request()
	if err := v.Check(r, signed); err != nil {
		t.Fatal(err)
	}
	if err := v.Check(r, signed.Add(time.Second)); err == nil || !strings.Contains(err.Error(), "made before") {
		t.Errorf("G2 a replay gets %v", err)
	}
	// A wrong signature must not use up a nonce.
	v = verifier(t)
	if err := v.Check(change(t, "Signature", "sig1=:AAAA:"), signed); err == nil {
		t.Error("a wrong signature is let in")
	}
	if err := v.Check(r, signed); err != nil {
		t.Errorf("after a forged request with its nonce: %v", err)
	}
}

// TestNoncesAreBounded fills the memory and lets it empty again.
func TestNoncesAreBounded(t *testing.T) {
	v := verifier(t)
	for i := range maxNonces {
		if err := v.once(fmt.Sprint(i), signed); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.once("more", signed); err == nil || !strings.Contains(err.Error(), "try again") {
		t.Errorf("beyond the bound: %v", err)
	}
	if err := v.once("0", signed.Add(replayWindow)); err == nil {
		t.Error("a nonce is forgotten too early")
	}
	if err := v.once("0", signed.Add(replayWindow+time.Second)); err != nil {
		t.Errorf("after the window: %v", err)
	}
	if len(v.nonces) != 1 || len(v.order) != 1 {
		t.Errorf("%d and %d nonces are kept, want 1", len(v.nonces), len(v.order))
	}
}

func TestDictionary(t *testing.T) {
	cases := []struct{ in, want string }{
		{`a=1`, `a=1`},
		{`a=-12 ,	b=tok/en:1;x;y=?0`, `a=-12 b=tok/en:1;x=?1;y=?0`},
		{`a`, `a=?1`},
		{`*a.b-c_d="q\"\\"`, `*a.b-c_d="q\"\\"`},
		{`a=(  "x" "y";p  t );q=:AQI=:`, `a=("x" "y";p=?1 t);q=:0102:`},
		{`a=()`, `a=()`},
		{``, ``},
		{`a=1,`, "! ends with a comma"},
		{`a=1 b=2`, "! comma is missing"},
		{`a=1, a=2`, "! twice"},
		{`a=1;p;p`, "! twice"},
		{`A=1`, "! small letter"},
		{`a=`, "! value is missing"},
		{`a=)`, "! no value begins"},
		{`a="x`, "! no end"},
		{`a="\x"`, "! backslash"},
		{"a=\"\x01\"", "! printable"},
		{`a=:AQI=`, "! no end"},
		{`a=?2`, "! ?0 or ?1"},
		{`a=-`, "! 1 to 15 digits"},
		{`a=1234567890123456`, "! 1 to 15 digits"},
		{`a=("x""y")`, "! space"},
		{`a=("x"`, "! space"},
	}
	for _, c := range cases {
		got, err := parseDictionary(c.in)
		text := show(got)
		if want, bad := strings.CutPrefix(c.want, "! "); bad {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: got %s, %v, want an error with %q", c.in, text, err, want)
			}
		} else if err != nil || text != c.want {
			t.Errorf("%q: got %s, %v, want %s", c.in, text, err, c.want)
		}
	}
}

// show writes a dictionary down, octets in hex.
func show(all []member) string {
	value := func(i item) string {
		switch i.kind {
		case kindString:
			return string(appendString(nil, i.text))
		case kindInteger:
			return fmt.Sprint(i.number)
		case kindBytes:
			return fmt.Sprintf(":%x:", i.text)
		case kindBoolean:
			return fmt.Sprintf("?%d", i.number)
		default:
			return i.text
		}
	}
	params := func(all []param) (s string) {
		for _, p := range all {
			s += ";" + p.key + "=" + value(p.value)
		}
		return s
	}
	var out []string
	for _, m := range all {
		s := value(m.value)
		if m.isList {
			var in []string
			for _, e := range m.list {
				in = append(in, value(e.value)+params(e.params))
			}
			s = "(" + strings.Join(in, " ") + ")"
		}
		out = append(out, m.key+"="+s+params(m.params))
	}
	return strings.Join(out, " ")
}

// TestMutations feeds 1,000 damaged requests: each is refused with a text that
// says why, unless only the spelling of the signature fields was touched.
func TestMutations(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 752))
	all := vectors(t)
	fields := []string{"Signature-Input", "Signature", "X-Api-Key", "Audiohook-Session-Id"}
	refused := 0
	for i := range 1000 {
		r := all[i%len(all)].request()
		name := fields[rnd.IntN(len(fields))]
		r.Header = maps.Clone(r.Header)
		r.Header[name] = []string{mutate(rnd, r.Header[name][0])}
		err := verifier(t).Check(r, signed)
		if err == nil {
			if name == "X-Api-Key" || name == "Audiohook-Session-Id" {
				t.Errorf("%s: %q is let in", name, r.Header[name])
			}
			continue
		}
		refused++
		if text, ok := strings.CutPrefix(err.Error(), "httpsig: "); !ok || len(text) < 15 {
			t.Errorf("%q: the text %q says too little", r.Header[name], err)
		}
	}
	t.Logf("%d of 1000 were refused", refused)
	if refused < 900 {
		t.Errorf("only %d of 1000 were refused", refused)
	}
}

func mutate(rnd *rand.Rand, s string) string {
	b := []byte(s)
	for range 1 + rnd.IntN(3) {
		at := rnd.IntN(len(b))
		switch rnd.IntN(4) {
		case 0:
			b[at] = "\"();=:,\\ ?-aZ9\x00\xff"[rnd.IntN(16)]
		case 1:
			b = slices.Delete(b, at, min(len(b), at+1+rnd.IntN(4)))
		case 2:
			b = slices.Insert(b, at, b[at:min(len(b), at+rnd.IntN(9))]...)
		default:
			b = b[:at]
		}
		if len(b) == 0 {
			return "x"
		}
	}
	if string(b) == strings.TrimSpace(s) {
		return "x" + s
	}
	return string(b)
}

func FuzzCheck(f *testing.F) {
	for _, c := range vectors(f) {
		f.Add(c.Header["Signature-Input"][0], c.Header["Signature"][0])
	}
	f.Add("a, b=1;c", "a=(:AA==: tok ?1 -5)")
	// Whoever has no secret can only repeat the signatures that exist.
	known := map[string]bool{}
	for _, c := range vectors(f) {
		s, err := parseSignature(c.Header["Signature-Input"][0], c.Header["Signature"][0])
		if err != nil {
			f.Fatal(err)
		}
		known[string(s.value)] = true
	}
	f.Fuzz(func(t *testing.T, input, value string) {
		r := change(t, "Signature-Input", input)
		r.Header["Signature"] = []string{value}
		if verifier(t).Check(r, signed) != nil {
			return
		}
		if s, err := parseSignature(input, value); err != nil || !known[string(s.value)] {
			t.Errorf("forged: %q %q is let in", input, value)
		}
	})
}
