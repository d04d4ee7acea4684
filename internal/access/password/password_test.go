package password

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

func cheap() Params { return Params{MemoryKiB: 64, Time: 1, Threads: 1} }

func hasher(t *testing.T, c Config) *Hasher {
	t.Helper()
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// The costs are one of the choices of OWASP's password storage cheat sheet, which
// holds them equal: less memory takes more passes.
func TestRecommended(t *testing.T) {
	p := Recommended()
	enough := false
	for _, c := range []Params{{47104, 1, 1}, {19456, 2, 1}, {12288, 3, 1}, {9216, 4, 1}, {7168, 5, 1}} {
		enough = enough || p.MemoryKiB >= c.MemoryKiB && p.Time >= c.Time && p.Threads >= c.Threads
	}
	if !enough {
		t.Errorf("costs %+v are below all of OWASP's", p)
	}
	h, err := hasher(t, Config{}).Make(t.Context(), "correct horse battery")
	if err != nil || len(h.Salt) != 16 || len(h.Sum) != 32 || !strings.HasPrefix(h.String(), "$argon2id$v=19$m=47104,t=1,p=1$") {
		t.Errorf("%s, %v", h, err)
	}
}

// The hash is that of the reference implementation's test (phc-winner-argon2,
// test.c: version 19, t=2, m=65536, p=1, "password", "somesalt").
func TestReference(t *testing.T) {
	const phc = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	h, err := Parse(phc)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(h.Sum); got != "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7" || string(h.Salt) != "somesalt" {
		t.Errorf("sum %s, salt %q", got, h.Salt)
	}
	if h.String() != phc {
		t.Errorf("written as %s", h)
	}
	x := hasher(t, Config{Params: cheap()})
	if ok, err := x.Matches(t.Context(), "password", &h); err != nil || !ok {
		t.Errorf("the right password: %v, %v", ok, err)
	}
	if ok, err := x.Matches(t.Context(), "Password", &h); err != nil || ok {
		t.Errorf("a wrong one: %v, %v", ok, err)
	}
	if !x.Outdated(h) {
		t.Error("other costs are not outdated")
	}
}

func TestParse(t *testing.T) {
	const salt, sum = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for _, bad := range []string{
		"", "plain", "$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + sum, "$argon2id$v=16$m=64,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$m=64,t=1,p=1$" + salt + "$" + sum, "$argon2id$v=19$t=1,m=64,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=1$" + salt + "$" + sum, "$argon2id$v=19$m=64,t=0,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=4294967295,t=1,p=1$" + salt + "$" + sum, "$argon2id$v=19$m=64,t=99,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=1,p=256$" + salt + "$" + sum, "$argon2id$v=19$m=064,t=1,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "=$" + sum, "$argon2id$v=19$m=64,t=1,p=1$c2E$" + sum,
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$c2E", "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + sum + "$",
		"$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + strings.Repeat("A", 600),
	} {
		if h, err := Parse(bad); err == nil {
			t.Errorf("%q was read as %s", bad, h)
		}
	}
}

// An account that there is not costs the same computation, and never matches.
func TestDecoy(t *testing.T) {
	x := hasher(t, Config{Params: cheap()})
	if ok, err := x.Matches(t.Context(), "", nil); ok || err != nil {
		t.Errorf("no account: %v, %v", ok, err)
	}
	if d := x.decoy; d.Params != cheap() || len(d.Salt) != 16 || len(d.Sum) != 32 {
		t.Errorf("the decoy is %+v", d)
	}
	// Even who knows the decoy's password is not let in.
	x.decoy.Sum = argon2.IDKey([]byte("x"), x.decoy.Salt, 1, 64, 1, 32)
	if ok, _ := x.Matches(t.Context(), "x", nil); ok {
		t.Error("the decoy lets in")
	}
}

func TestPlaces(t *testing.T) {
	x := hasher(t, Config{Params: cheap(), Parallel: 1})
	x.slots <- struct{}{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := x.Make(ctx, "correct horse battery"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no place: %v", err)
	}
	<-x.slots
	if _, err := x.Make(t.Context(), "correct horse battery"); err != nil {
		t.Errorf("a place: %v", err)
	}
	for _, bad := range []Config{{Parallel: -1}, {Params: Params{MemoryKiB: 1, Time: 1, Threads: 1}}, {Params: Params{MemoryKiB: 64, Time: 1}}} {
		if _, err := New(bad); err == nil {
			t.Errorf("%+v: accepted", bad)
		}
	}
	if one, other := Generate(), Generate(); len(one) < 26 || one == other || Check("ann", one) != nil {
		t.Error("made-up passwords are not good")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=,t=,p=$$")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := Parse(s)
		if err == nil && h.String() != s {
			t.Errorf("%q is written as %q", s, h)
		}
	})
}

func BenchmarkMake(b *testing.B) {
	x, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := x.Make(b.Context(), "correct horse battery"); err != nil {
			b.Fatal(err)
		}
	}
}
