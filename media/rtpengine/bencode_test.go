package rtpengine

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestBencode(t *testing.T) {
	for _, c := range []struct {
		text string
		want any
	}{
		{"0:", ""},
		{"5:hel\x00o", "hel\x00o"},
		{"i-42e", int64(-42)},
		{"i9223372036854775807e", int64(1<<63 - 1)},
		{"le", []any{}},
		{"l1:ai1eli2eee", []any{"a", int64(1), []any{int64(2)}}},
		{"de", map[string]any{}},
		{"d1:b1:x1:ad1:cleee", map[string]any{"b": "x", "a": map[string]any{"c": []any{}}}},
		{"d7:command4:pinge", map[string]any{"command": "ping"}},
	} {
		got, err := decode([]byte(c.text))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %#v, %v; want %#v", c.text, got, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"":                       "cut off",
		"i":                      "no 'e' ends",
		"ie":                     "no number",
		"i12345678901234567890e": "no number",
		"i1-e":                   "no number",
		"5:abcd":                 "a string of 5 bytes where 4 are left",
		"99999999999999999999:":  "no number",
		"4294967296:a":           "a string of 4294967296 bytes",
		"l":                      "cut off",
		"l1:a":                   "cut off",
		"d1:a":                   "cut off",
		"di1e1:ae":               "a key that is no string",
		"x":                      "no value begins with 'x'",
		"-1:":                    "no value begins with '-'",
		"1:ab":                   "1 bytes follow",
		strings.Repeat("l", 40) + strings.Repeat("e", 40): "more than 16 deep",
	} {
		if v, err := decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", text, v, err, want)
		}
	}
}

func TestEncode(t *testing.T) {
	got := string(appendValue(nil, map[string]any{
		"command": "subscribe request", "from-tags": []string{"A", "B"}, "n": -7,
		"codec": map[string]any{"strip": []string{"all"}},
	}))
	want := "d5:codecd5:stripl3:allee7:command17:subscribe request9:from-tagsl1:A1:Be1:ni-7ee"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// vectors are replies as rtpengine's documentation describes them.
func vectors(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/*.ng")
	if err != nil || len(names) < 4 {
		t.Fatalf("%d vectors, error %v", len(names), err)
	}
	all := map[string][]byte{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(n), ".ng")] = b
	}
	return all
}

func TestReplies(t *testing.T) {
	both := map[string]source{
		"1": {tag: "as7d", label: "caller", mode: "sendrecv"},
		"0": {tag: "k3Q", label: "callee", mode: "sendrecv"},
	}
	for _, c := range []struct {
		name, toTag string
		medias      map[string]source
		fails       string
	}{
		{name: "subscribe-siprec", toTag: "rec1", medias: both},
		{name: "subscribe-tag-medias", toTag: "rec1", medias: both},
		{name: "subscribe-plain", toTag: "rec2", medias: map[string]source{}},
		{name: "pong", medias: map[string]source{}},
		{name: "unknown-call", fails: "refuses subscribe request: Unknown call-ID"},
		{name: "no-result", fails: "has no result"},
		{name: "list", fails: "is no dictionary"},
	} {
		r, err := parseReply("subscribe request", vectors(t)[c.name])
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: error %v, want one with %q", c.name, err, c.fails)
			}
			continue
		}
		if err != nil || r.toTag != c.toTag || !reflect.DeepEqual(r.medias, c.medias) {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, b := range vectors(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseReply("ping", b)
		if err == nil && r.result == "" || err != nil && err.Error() == "" {
			t.Errorf("%+v, %v", r, err)
		}
		v, err := decode(b)
		if err != nil {
			return
		}
		// What was read means the same when it is written.
		again, err := decode(write(v))
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Errorf("%#v became %#v, %v", v, again, err)
		}
	})
}

// write encodes what decode returns, in the plainest way.
func write(v any) []byte {
	var b []byte
	switch v := v.(type) {
	case string:
		b = appendValue(b, v)
	case int64:
		b = appendValue(b, int(v))
	case []any:
		b = append(b, 'l')
		for _, e := range v {
			b = append(b, write(e)...)
		}
		b = append(b, 'e')
	case map[string]any:
		b = append(b, 'd')
		for k, e := range v {
			b = append(appendValue(b, k), write(e)...)
		}
		b = append(b, 'e')
	}
	return b
}

// TestMutations feeds 1,000 changed forms of good replies.
func TestMutations(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 4))
	all := vectors(t)
	good := [][]byte{all["subscribe-siprec"], all["subscribe-tag-medias"], all["subscribe-plain"]}
	refused := 0
	for i := range 1000 {
		b := append([]byte(nil), good[i%len(good)]...)
		for range 1 + r.IntN(3) {
			at := r.IntN(len(b))
			switch r.IntN(4) {
			case 0:
				b[at] = byte(r.IntN(256))
			case 1:
				b = append(b[:at], b[at+1:]...)
			case 2:
				b = append(b[:at], append([]byte{"eld0i:"[r.IntN(6)]}, b[at:]...)...)
			default:
				b = b[:max(1, at)]
			}
		}
		if _, err := parseReply("subscribe request", b); err != nil {
			refused++
			said := err.Error()
			if !strings.Contains(said, "bencoding, at byte") && !strings.Contains(said, "no result") && !strings.Contains(said, "no dictionary") {
				t.Fatalf("%q: the error does not say what is wrong: %v", b, err)
			}
		}
	}
	if refused < 500 {
		t.Errorf("only %d of 1000 mutations are refused", refused)
	}
}
