package freeswitch

import (
	"bufio"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/media/fork"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden plays the scripts of testdata, which are composed from the
// modules' documentation, and compares what the host is told.
//
//	connect QUERY PROTOCOLS   text TEXT   binary HEX   times N HEX (one message each 20 ms)
//	wait DURATION             closed      lost
func TestGolden(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.script")
	if err != nil || len(scripts) < 5 {
		t.Fatalf("%d scripts, error %v", len(scripts), err)
	}
	for _, name := range scripts {
		t.Run(filepath.Base(name), func(t *testing.T) {
			got := perform(t, read(t, name)) + "\n"
			golden := strings.TrimSuffix(name, ".script") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := read(t, golden); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// perform plays a script and returns what the host was told and what a tick
// or a message was answered with.
func perform(t testing.TB, script string) string {
	b := newBench(t, nil)
	var c *connection
	lines := bufio.NewScanner(strings.NewReader(script))
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		var err error
		switch word {
		case "", "#":
		case "connect":
			query, protocols, _ := strings.Cut(rest, " ")
			c = b.connect(query, protocols)
		case "text":
			err = c.Text([]byte(rest), b.now)
		case "binary":
			err = c.Binary(unhex(t, rest), b.now)
		case "times":
			number, bytes, _ := strings.Cut(rest, " ")
			n, bad := strconv.Atoi(number)
			if bad != nil {
				t.Fatal(bad)
			}
			message := unhex(t, bytes)
			for range n {
				if err = c.Binary(message, b.now); err == nil {
					err = c.pass(20 * time.Millisecond)
				}
			}
		case "wait":
			d, bad := time.ParseDuration(rest)
			if bad != nil {
				t.Fatal(bad)
			}
			err = c.pass(d)
		case "closed":
			c.Closed(nil, b.now)
		case "lost":
			c.Closed(errLost, b.now)
		default:
			t.Fatalf("unknown word %q", word)
		}
		if err != nil {
			b.host.say("closed by us: %v", fork.CloseFor(err))
			c.Closed(nil, b.now)
		}
	}
	return b.host.told()
}

// unhex reads bytes, of which the last word may say how often they repeat.
func unhex(t testing.TB, text string) []byte {
	digits, number, repeated := strings.Cut(text, " x")
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	if !repeated {
		return b
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.Repeat(string(b), n))
}

// FuzzSession gives a session messages of any content: each begins with a byte
// for its kind and length.
func FuzzSession(f *testing.F) {
	f.Add("rate=16000&channels=2", []byte("\x85"+`{"a":1}`+"\x05hello"))
	f.Add("", []byte("\xff"+jambonzStart[:127]))
	f.Add("mix=stereo&call=u", []byte("\x03abc\x01d\x91"+`{"event":"dtmf"}`))
	f.Fuzz(func(t *testing.T, query string, data []byte) {
		b := newBench(t, nil)
		q := mustQuery(query)
		s, err := b.calls.Open(Request{Query: q}, &writer{}, b.now)
		if err != nil {
			return
		}
		for len(data) > 0 {
			kind, n := data[0], min(int(data[0]&0x7F), len(data)-1)
			message := data[1 : 1+n]
			data = data[1+n:]
			if kind&0x80 != 0 {
				err = s.Text(message, b.now)
			} else {
				err = s.Binary(message, b.now)
			}
			if err != nil && err.Error() == "" {
				t.Error("an error without words")
			}
			if err != nil {
				break
			}
			b.now = b.now.Add(20 * time.Millisecond)
			if err = s.Tick(b.now); err != nil {
				t.Fatal(err)
			}
		}
		s.Closed(err, b.now)
		b.calls.Tick(b.now.Add(time.Hour))
		if n := b.calls.Running(); n != 0 {
			t.Errorf("%d calls are left", n)
		}
		if told := b.host.told(); strings.Count(told, "open ") > 0 && !strings.Contains(told, "\nend: ") {
			t.Errorf("the call has no end:\n%s", told)
		}
	})
}

// TestMutations feeds 1,000 changed forms of good first texts.
func TestMutations(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 5))
	good := []string{
		jambonzStart,
		`{"uuid":"u-2","rate":"16k","role":"agent","language":"en"}`,
		`{"event":"dtmf","dtmf":"5","duration":"1600"}`,
	}
	refused := map[string]int{}
	for i := range 1000 {
		text := []byte(good[i%len(good)])
		for range 1 + r.IntN(4) {
			at := r.IntN(len(text))
			switch r.IntN(4) {
			case 0:
				text[at] = byte(r.IntN(256))
			case 1:
				text = append(text[:at], text[at+1:]...)
			case 2:
				text = append(text[:at], append([]byte(`"k0`[:1+r.IntN(3)]), text[at:]...)...)
			default:
				text = text[:max(1, at)]
			}
		}
		b := newBench(t, nil)
		c := b.connect("", "audio.jambonz.org")
		if err := c.Text(text, b.now); err != nil {
			said := err.Error()
			switch {
			case strings.Contains(said, "sample rate"), strings.Contains(said, "mixed or stereo"),
				strings.Contains(said, "a role is"), strings.Contains(said, "cannot be printed"):
				refused[strings.Fields(said)[2]]++
			default:
				t.Fatalf("%s: the error does not say what is wrong: %v", text, err)
			}
			continue
		}
		c.play(40*time.Millisecond, 16000, 1, 2)
		c.Closed(nil, b.now)
		b.has("\nend: ended")
	}
	if len(refused) < 3 {
		t.Errorf("the mutations met only %v", refused)
	}
	t.Log(fmt.Sprint("refused: ", refused))
}
