package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func ring(t testing.TB, kind Kind) *Keyring {
	t.Helper()
	k, err := Open(Config{Dir: filepath.Join(t.TempDir(), "keys"), Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func sealFile(t testing.TB, k *Keyring, plain []byte, purpose, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := k.NewWriter(&b, purpose, name)
	if err != nil {
		t.Fatal(err)
	}
	for part := plain; len(part) > 0; {
		n := min(len(part), 1000)
		if _, err = w.Write(part[:n]); err != nil {
			t.Fatal(err)
		}
		part = part[n:]
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWhatIsSealedOpens(t *testing.T) {
	for _, kind := range []Kind{Hybrid, X25519} {
		k := ring(t, kind)
		for _, n := range []int{0, 1, 100, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000} {
			t.Run(fmt.Sprint(kind, n), func(t *testing.T) {
				plain := noise(n)
				sealed := sealFile(t, k, plain, "recording", "call-1")
				if n > 16 && bytes.Contains(sealed, plain[:16]) {
					t.Error("the content stands there in clear")
				}
				r, err := k.NewReader(bytes.NewReader(sealed), int64(len(sealed)), "recording", "call-1")
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%d bytes came back of %d: %v", len(got), n, err)
				}
				// Any range, as a player asks for it.
				for range 20 {
					if n == 0 {
						break
					}
					from := rand.IntN(n)
					part := make([]byte, 1+rand.IntN(n-from))
					if _, err = r.ReadAt(part, int64(from)); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(part, plain[from:from+len(part)]) {
						t.Fatalf("%d bytes from %d are wrong: %v", len(part), from, err)
					}
				}
				if got, err = k.Open(sealed, "recording", "call-1"); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("as a small value: %d bytes, %v", len(got), err)
				}
			})
		}
	}
}

// The form is fixed: a header of the age format whose first stanza is ours.
func TestHeader(t *testing.T) {
	k := ring(t, X25519)
	sealed, err := k.Seal([]byte("x"), "voice", "print-7")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := k.Keys()
	if err != nil {
		t.Fatal(err)
	}
	want := "age-encryption.org/v1\n-> sidetone " + keys[0].ID + " voice print-7\n"
	if !bytes.HasPrefix(sealed, []byte(want)) {
		t.Errorf("the header is %q", sealed[:min(len(sealed), 120)])
	}
	if id, err := KeyOf(bytes.NewReader(sealed)); id != keys[0].ID || err != nil {
		t.Errorf("KeyOf: %q, %v", id, err)
	}
	if _, err = KeyOf(strings.NewReader("age-encryption.org/v1\n--- x\n")); !errors.Is(err, ErrBroken) {
		t.Errorf("KeyOf of nothing: %v", err)
	}
	// The tag is written down here, so that no change of it goes unseen.
	o := &key{tag: []byte("0123456789abcdef0123456789abcdef")}
	if got := hex.EncodeToString(o.sign("voice", "print-7", []byte("file key"))); got != goldenTag {
		t.Errorf("the tag is %s", got)
	}
	if hex.EncodeToString(o.sign("voicep", "rint-7", []byte("file key"))) == goldenTag {
		t.Error("the tag does not tell where the purpose ends")
	}
}

const goldenTag = "3e30dcfee4259da759d811055a96899f840381d62a3649cacc6b7284a9da49f4"

// Every holder of the key's file can open a recording without Sidetone.
func TestOpensAsPlainAge(t *testing.T) {
	for _, kind := range []Kind{Hybrid, X25519} {
		k := ring(t, kind)
		keys, err := k.Keys()
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(keys[0].Path)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := age.ParseIdentities(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		r, err := age.Decrypt(bytes.NewReader(sealFile(t, k, []byte("hello"), "recording", "c")), ids...)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); string(got) != "hello" || err != nil {
			t.Errorf("%s: %q, %v", kind, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	k, other := ring(t, X25519), ring(t, X25519)
	sealed := sealFile(t, k, noise(100_000), "recording", "call-1")
	small, err := k.Seal([]byte("secret"), "recording", "call-1")
	if err != nil {
		t.Fatal(err)
	}
	// Somebody who knows the public half makes a file of his own.
	cur, err := k.current()
	if err != nil {
		t.Fatal(err)
	}
	var forged bytes.Buffer
	stranger := *cur
	stranger.tag = make([]byte, 32)
	w, err := age.Encrypt(&forged, &sealer{key: &stranger, purpose: "recording", name: "call-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	var plain bytes.Buffer
	if w, err = age.Encrypt(&plain, cur.recipient); err != nil {
		t.Fatal(err)
	}
	if err = w.Close(); err != nil {
		t.Fatal(err)
	}
	change := func(b []byte, at int) []byte {
		c := bytes.Clone(b)
		c[at] ^= 1
		return c
	}
	rename := func(b []byte, from, to string) []byte { return bytes.Replace(b, []byte(from), []byte(to), 1) }
	cases := []struct {
		name          string
		ring          *Keyring
		sealed        []byte
		purpose, call string
		want          error
	}{
		{"another call's", k, sealed, "recording", "call-2", ErrOther},
		{"another purpose", k, sealed, "voice", "call-1", ErrOther},
		{"renamed", k, rename(sealed, "call-1", "call-2"), "recording", "call-2", ErrBroken},
		{"wrong key", other, sealed, "recording", "call-1", ErrNoKey},
		{"forged by a holder of the public key", k, forged.Bytes(), "recording", "call-1", ErrBroken},
		{"without our stanza", k, plain.Bytes(), "recording", "call-1", ErrBroken},
		{"empty", k, nil, "recording", "call-1", ErrBroken},
		{"no age", k, []byte("RIFF....WAVE"), "recording", "call-1", ErrBroken},
		{"header cut", k, sealed[:60], "recording", "call-1", ErrBroken},
		{"no content", k, sealed[:len(sealed)-100_000-32], "recording", "call-1", ErrBroken},
		{"end cut by one", k, sealed[:len(sealed)-1], "recording", "call-1", ErrBroken},
		{"end cut at a chunk", k, sealed[:len(sealed)-(100_000-65536)-16], "recording", "call-1", ErrBroken},
		{"one byte more", k, append(bytes.Clone(sealed), 0), "recording", "call-1", ErrBroken},
		{"last byte changed", k, change(sealed, len(sealed)-1), "recording", "call-1", ErrBroken},
		{"small, changed", k, change(small, len(small)-1), "recording", "call-1", ErrBroken},
		{"small, cut", k, small[:len(small)-1], "recording", "call-1", ErrBroken},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.ring.NewReader(bytes.NewReader(c.sealed), int64(len(c.sealed)), c.purpose, c.call)
			if !errors.Is(err, c.want) {
				t.Errorf("reader: %v, want %v", err, c.want)
			}
			if _, err = c.ring.Open(c.sealed, c.purpose, c.call); !errors.Is(err, c.want) {
				t.Errorf("Open: %v, want %v", err, c.want)
			}
		})
	}
	// A change in the middle is seen where it is read.
	middle := change(sealed, len(sealed)-70_000)
	r, err := k.NewReader(bytes.NewReader(middle), int64(len(middle)), "recording", "call-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadAll(r); !errors.Is(err, ErrBroken) {
		t.Errorf("a change in the middle: %v", err)
	}
	// What the disk says is no tampering.
	gone, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	if _, err = k.NewReader(gone, 1000, "recording", "call-1"); errors.Is(err, ErrBroken) || err == nil {
		t.Errorf("a closed file: %v", err)
	}
	for _, label := range []string{"", "two words", "line\n", "Grüße", strings.Repeat("x", maxLabel+1)} {
		if _, err := k.Seal(nil, label, "n"); err == nil {
			t.Errorf("%q passes for a purpose", label)
		}
		if _, err := k.NewWriter(io.Discard, "p", label); err == nil {
			t.Errorf("%q passes for a name", label)
		}
		if _, err := k.NewLog("p", label, 0); err == nil {
			t.Errorf("%q passes for a log's name", label)
		}
	}
}

func TestRotation(t *testing.T) {
	k := ring(t, Hybrid)
	first, err := k.Seal([]byte("one"), "p", "n")
	if err != nil {
		t.Fatal(err)
	}
	// Another process rotates, to another kind of key.
	cli, err := Open(Config{Dir: k.cfg.Dir, Kind: X25519})
	if err != nil {
		t.Fatal(err)
	}
	made, err := cli.Rotate(time.Now().Add(time.Hour))
	if err != nil || !made.Current || made.Kind != X25519 {
		t.Fatalf("%+v, %v", made, err)
	}
	second, err := k.Seal([]byte("two"), "p", "n")
	if err != nil {
		t.Fatal(err)
	}
	if id, err := KeyOf(bytes.NewReader(second)); id != made.ID || err != nil {
		t.Errorf("sealed with %s after %s was made: %v", id, made.ID, err)
	}
	for sealed, want := range map[string]string{string(first): "one", string(second): "two"} {
		if got, err := k.Open([]byte(sealed), "p", "n"); string(got) != want || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	// The clock was set back: the newest key is the newest all the same.
	again, err := k.Rotate(noon.Add(-24 * time.Hour))
	if err != nil || again.ID <= made.ID {
		t.Errorf("%s came after %s: %v", again.ID, made.ID, err)
	}
	keys, err := k.Keys()
	if err != nil || len(keys) != 3 || !keys[2].Current || keys[0].Current || keys[1].ID != made.ID {
		t.Errorf("%+v, %v", keys, err)
	}
	// Without its file, what a key has sealed is noise; with it, it is back.
	moved := keys[0].Path + ".moved"
	if err = os.Rename(keys[0].Path, moved); err != nil {
		t.Fatal(err)
	}
	if _, err = k.Open(first, "p", "n"); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), keys[0].ID) {
		t.Errorf("without the key: %v", err)
	}
	if err = os.Rename(moved, keys[0].Path); err != nil {
		t.Fatal(err)
	}
	if _, err = k.Open(first, "p", "n"); err != nil {
		t.Errorf("with the key again: %v", err)
	}
}

func TestKeyFiles(t *testing.T) {
	k := ring(t, "")
	keys, err := k.Keys()
	if err != nil || len(keys) != 1 || keys[0].Kind != Hybrid || time.Since(keys[0].Created) > time.Hour {
		t.Fatalf("%+v, %v", keys, err)
	}
	for path, want := range map[string]os.FileMode{k.cfg.Dir: 0o700, keys[0].Path: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	secret, err := os.ReadFile(keys[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(secret), "\nAGE-SECRET-KEY-PQ-1") {
		t.Error("the file holds no key of the age tool")
	}
	if again, err := Open(k.cfg); err != nil || len(again.keys) != 1 {
		t.Errorf("opened again: %v", err)
	}
	cases := []struct {
		name, text, file string
		mode             os.FileMode
		want             string
	}{
		{"readable by all", string(secret), "k.age-key", 0o644, "chmod 600"},
		{"writable by the group", string(secret), "k.age-key", 0o660, "chmod 600"},
		{"no secret", "# nothing\n", "k.age-key", 0o600, "k.age-key"},
		{"rubbish", "AGE-SECRET-KEY-1QQQQ\n", "k.age-key", 0o600, "k.age-key"},
		{"two secrets", string(secret) + string(secret), "k.age-key", 0o600, "2 secrets"},
		{"name", string(secret), "a key.age-key", 0o600, "visible ASCII"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, c.file)
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	for _, cfg := range []Config{{}, {Dir: t.TempDir(), Kind: "rot13"}, {Dir: keys[0].Path}} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
	// A ring all of whose keys were taken away says so.
	if err = os.Remove(keys[0].Path); err != nil {
		t.Fatal(err)
	}
	if _, err = k.Seal(nil, "p", "n"); !errors.Is(err, ErrNoKey) {
		t.Errorf("without any key: %v", err)
	}
}

// A log that was cut anywhere gives every record that is complete, and no more.
func TestLogIsReadToTheCut(t *testing.T) {
	k := ring(t, X25519)
	l, err := k.NewLog("recording", "c", 0)
	if err != nil {
		t.Fatal(err)
	}
	var file []byte
	var ends []int
	for i := range 4 {
		rec, err := l.Seal(noise(10 * i))
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, rec...)
		ends = append(ends, len(file))
	}
	for n := range len(file) + 1 {
		whole := 0
		for whole < len(ends) && ends[whole] <= n {
			whole++
		}
		// The records are opened near a cut only, as that is the slow part.
		if near := whole > 0 && n-ends[whole-1] < 8 || whole < len(ends) && ends[whole]-n < 8; !near && n%97 != 0 {
			continue
		}
		r := k.ReadLog(bytes.NewReader(file[:n]), "recording", "c")
		var err error
		for got := 0; err == nil; got++ {
			var rec []byte
			if rec, err = r.Next(); err == nil && !bytes.Equal(rec, noise(10*got)) {
				t.Fatalf("cut at %d: record %d is %x", n, got, rec)
			}
		}
		if !errors.Is(err, io.EOF) || r.Records() != whole || whole > 0 && r.Size() != int64(ends[whole-1]) {
			t.Fatalf("cut at %d: %d records of %d, %d bytes, %v", n, r.Records(), whole, r.Size(), err)
		}
	}
	records := func(file []byte, name string) (int, error) {
		r := k.ReadLog(bytes.NewReader(file), "recording", name)
		for {
			if _, err := r.Next(); err != nil {
				return r.Records(), err
			}
		}
	}
	swapped := append(append(bytes.Clone(file[:ends[0]]), file[ends[1]:ends[2]]...), file[ends[0]:ends[1]]...)
	for name, c := range map[string]struct {
		file []byte
		call string
		want int
		is   error
	}{
		"left out":  {append(bytes.Clone(file[:ends[0]]), file[ends[1]:]...), "c", 1, ErrOther},
		"swapped":   {swapped, "c", 1, ErrOther},
		"other":     {file, "d", 0, ErrOther},
		"changed":   {func() []byte { b := bytes.Clone(file); b[ends[2]-1] ^= 1; return b }(), "c", 2, ErrBroken},
		"zeroes":    {append(bytes.Clone(file), make([]byte, 100)...), "c", 4, ErrBroken},
		"very long": {append(bytes.Clone(file), 0xff, 0xff, 0xff, 0xff, 1), "c", 4, ErrBroken},
	} {
		if n, err := records(c.file, c.call); n != c.want || !errors.Is(err, c.is) {
			t.Errorf("%s: %d records, %v", name, n, err)
		}
	}
	// It goes on where it was left, under a new key.
	if _, err = k.Rotate(time.Now()); err != nil {
		t.Fatal(err)
	}
	if l, err = k.NewLog("recording", "c", 4); err != nil {
		t.Fatal(err)
	}
	rec, err := l.Seal(nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := records(append(file, rec...), "c"); n != 5 || !errors.Is(err, io.EOF) {
		t.Errorf("gone on: %d records, %v", n, err)
	}
	if _, err = l.Seal(make([]byte, maxRecord)); err == nil {
		t.Error("a record of 16 MiB is accepted")
	}
}

func FuzzOpen(f *testing.F) {
	k := ring(f, X25519)
	sealed := sealFile(f, k, []byte("hello"), "p", "n")
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-20])
	f.Add([]byte("age-encryption.org/v1\n-> sidetone a p n\n\n--- AAAA\n"))
	f.Add([]byte("age-encryption.org/v1\n-> sidetone\n\n-> sidetone a p n\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		plain, err := k.Open(b, "p", "n")
		if err == nil && string(plain) != "hello" {
			t.Errorf("opened %q", plain)
		}
		if r, err := k.NewReader(bytes.NewReader(b), int64(len(b)), "p", "n"); err == nil && r.Size() != 5 {
			t.Errorf("opened %d bytes", r.Size())
		}
		_, _ = KeyOf(bytes.NewReader(b))
		if _, err := k.ReadLog(bytes.NewReader(b), "p", "n").Next(); err == nil {
			t.Error("found a record that nobody wrote")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, kind := range []Kind{Hybrid, X25519} {
		k := ring(b, kind)
		l, err := k.NewLog("p", "n", 0)
		if err != nil {
			b.Fatal(err)
		}
		plain := noise(20_000)
		b.Run(string(kind), func(b *testing.B) {
			for range b.N {
				if _, err := l.Seal(plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
