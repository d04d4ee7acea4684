package twilio

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidetone/media/fork"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each dialect's vector, composed from the platform's documentation, brings the
// call, the legs and the samples that stand in its golden file.
func TestDialects(t *testing.T) {
	for name, steps := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			if err := r.play(steps); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".golden")
			got := r.host.text()
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if strings.Contains(r.log.String(), "not-a-fact") || strings.Contains(got, "not-a-fact") {
				t.Error("the token is in the log or in the facts")
			}
			for _, l := range r.host.legs {
				if l.ends != 1 {
					t.Errorf("leg %s has %d ends", l.leg.ID, l.ends)
				}
			}
			if len(r.host.ended) != 1 {
				t.Errorf("%d ends of the call", len(r.host.ended))
			}
		})
	}
}

// mutate changes a message in one of the ways in which messages go wrong.
func mutate(rnd *rand.Rand, b []byte) []byte {
	out := append([]byte(nil), b...)
	for range 1 + rnd.IntN(3) {
		if len(out) == 0 {
			return out
		}
		i := rnd.IntN(len(out))
		switch rnd.IntN(6) {
		case 0:
			out[i] ^= 1 << rnd.IntN(8)
		case 1:
			out = out[:i]
		case 2:
			j := i + rnd.IntN(len(out)-i)
			out = append(out[:i], out[j:]...)
		case 3:
			j := i + rnd.IntN(len(out)-i)
			out = append(out[:j], out[i:]...)
		case 4:
			const odd = `{}[]",:\-_=0e.nul`
			out[i] = odd[rnd.IntN(len(odd))]
		default:
			out = append(out[:i], append([]byte(`null`), out[i:]...)...)
		}
	}
	return out
}

// 1,000 mutations of each dialect's messages: nothing panics, every refusal says
// what is wrong, and whatever was opened is ended.
func TestMutations(t *testing.T) {
	for name, steps := range vectors(t) {
		t.Run(name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(1, uint64(len(name))))
			refused := 0
			for range 1000 {
				r := newRig(t, nil)
				bad := append([]step(nil), steps...)
				for range 1 + rnd.IntN(3) {
					i := rnd.IntN(len(bad))
					bad[i].data = mutate(rnd, bad[i].data)
				}
				if err := r.play(bad); err != nil {
					refused++
					var closing *fork.CloseError
					if !errors.As(err, &closing) || len(closing.Reason) < 10 || closing.Code < 1002 {
						t.Fatalf("refused with %v, which does not say what is wrong", err)
					}
				}
				r.s.Closed(nil, r.now)
				if len(r.host.ended) != len(r.host.calls) {
					t.Fatalf("%d calls and %d ends", len(r.host.calls), len(r.host.ended))
				}
				for _, l := range r.host.legs {
					if l.ends != 1 {
						t.Fatalf("leg %s has %d ends", l.leg.ID, l.ends)
					}
				}
			}
			if refused == 0 || refused == 1000 {
				t.Errorf("%d of 1000 were refused: the mutations are no test", refused)
			}
		})
	}
}
