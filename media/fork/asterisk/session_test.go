package asterisk

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sidetone/internal/leaktest"
	"sidetone/internal/pcm"
	"sidetone/media"
	"sidetone/media/fork"
	"sidetone/media/g711"
	"sidetone/media/g722"
	"sidetone/media/mediatest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var update = flag.Bool("update", false, "write the golden files anew")

const (
	plainStart = "MEDIA_START connection_id:5f0c channel:WebSocket/conn1/0x7f channel_id:pbx1-17.42 format:%s optimal_frame_size:640 ptime:20"
	jsonStart  = `{"event":"MEDIA_START","connection_id":"5f0c","channel":"WebSocket/conn1/0x7f","channel_id":"pbx1-17.42","format":"%s","optimal_frame_size":640,"ptime":20,"channel_variables":{"CALLERID":"+4930111222","SIDETONE_ROLE":"customer"}}`
)

// TestVectors plays the scripts of testdata, composed from the protocol's
// description, and holds what the host was told against the golden files.
func TestVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".txt")
		t.Run(name, func(t *testing.T) {
			script, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			r := open(t, Config{}, "call=c1&token=s3cret")
			r.play(string(script))
			got, file := r.h.Text(), filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if strings.Contains(got, "s3cret") {
				t.Error("the token is told")
			}
		})
	}
}

func slin(rate int) func(int) []byte {
	return func(i int) []byte { return mediatest.Tone(rate, i*rate/50, rate/50) }
}

// coded makes messages of 20 ms with an encoder.
func coded(t *testing.T, rate int, encode func(dst []byte, src []int16) (int, error)) func(int) []byte {
	return func(i int) []byte {
		b := mediatest.Tone(rate, i*rate/50, rate/50)
		x := make([]int16, len(b)/2)
		for j := range x {
			x[j] = int16(binary.LittleEndian.Uint16(b[2*j:]))
		}
		n, err := encode(b, x)
		if err != nil {
			t.Fatal(err)
		}
		return b[:n]
	}
}

func TestChecklist(t *testing.T) {
	for _, c := range []struct{ name, start string }{{"plain text", plainStart}, {"JSON", jsonStart}} {
		t.Run("W1 MEDIA_START in "+c.name, func(t *testing.T) {
			for format, rate := range map[string]int{
				"ulaw": 8000, "alaw": 8000, "g722": 16000, "opus": 16000, "slin": 8000, "slin12": 12000, "slin16": 16000,
				"slin24": 24000, "slin32": 32000, "slin44": 44100, "slin48": 48000, "slin96": 96000, "slin192": 192000,
			} {
				r := open(t, Config{}, "")
				r.text(fmt.Sprintf(c.start, format))
				if r.err != nil || len(r.h.Calls()) != 1 || r.h.Calls()[0].ID != "pbx1-17.42" || r.s.decoder.rate != rate {
					t.Errorf("%s: %v, calls %+v", format, r.err, r.h.Calls())
				}
				r.close()
			}
		})
	}

	t.Run("W2 audio", func(t *testing.T) {
		mu, err := g711.New(g711.MuLaw)
		if err != nil {
			t.Fatal(err)
		}
		a, err := g711.New(g711.ALaw)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			format  string
			message func(int) []byte
			size    int
		}{
			{"slin16", slin(16000), 640}, {"slin", slin(8000), 320}, {"slin48", slin(48000), 1920}, {"slin192", slin(192000), 7680},
			{"ulaw", coded(t, 8000, mu.Encode), 160}, {"alaw", coded(t, 8000, a.Encode), 160},
			{"g722", coded(t, 16000, g722.NewEncoder().Encode), 160},
		} {
			r := open(t, Config{}, "")
			r.text(fmt.Sprintf(plainStart, c.format))
			if n := len(c.message(0)); n != c.size {
				t.Fatalf("%s: messages of %d bytes", c.format, n)
			}
			r.stream(c.message, 50)
			l := r.h.Legs()[0]
			if f := l.Pitch(); r.err != nil || l.Frames != 50 || l.Peak < 7000 || l.Peak > 9000 || f < 380 || f > 420 {
				t.Errorf("%s: %v, %d frames, peak %d, a tone of %.0f Hz", c.format, r.err, l.Frames, l.Peak, f)
			}
			r.close()
		}
	})

	t.Run("W3 unknown fields and events", func(t *testing.T) {
		r := open(t, Config{}, "")
		r.text(`{"event":"CHANNEL_MOVED","to":{"x":[1,2]}}`)
		r.text("SOMETHING new:1 x")
		r.text(`{"event":"MEDIA_START","channel_id":"a","format":"slin","passthrough":false,"unbuffered":{"a":null},"ptime":"20","channel_variables":{"N":7,"T":true,"O":{"a":1}}}`)
		for _, m := range []string{
			"STATUS queue_length:43 xon_level:800 xoff_level:900 queue_full:false bulk_media:true media_paused:false",
			"MEDIA_BUFFERING_COMPLETED x1", "QUEUE_DRAINED", `{"event":"MEDIA_MARK_PROCESSED","correlation_id":"x"}`,
			"MEDIA_XOFF", `{"event":"MEDIA_XON","channel_id":"x"}`,
		} {
			r.text(m)
		}
		if r.err != nil || !strings.Contains(r.h.Text(), "fact asterisk.variable.N: 7\n") || len(r.h.Calls()) != 1 {
			t.Errorf("%v, told\n%s", r.err, r.h.Text())
		}
		if len(r.w.texts) != 0 {
			t.Errorf("sent %q", r.w.texts)
		}
		r.text(fmt.Sprintf(plainStart, "ulaw")) // a second one changes nothing
		if r.err != nil || r.s.decoder.rate != 8000 || !r.s.decoder.linear || len(r.h.Legs()) != 1 {
			t.Errorf("after a second MEDIA_START: %v", r.err)
		}
		r.close()
	})

	t.Run("W4 JSON over several lines", func(t *testing.T) {
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, fmt.Appendf(nil, jsonStart, "slin16"), " ", "\t"); err != nil {
			t.Fatal(err)
		}
		r := open(t, Config{}, "")
		r.text("\r\n " + pretty.String() + "\n")
		if r.err != nil || r.s.decoder.rate != 16000 || !strings.Contains(r.h.Text(), "role=customer") {
			t.Errorf("%v, told\n%s", r.err, r.h.Text())
		}
		r.close()
	})

	t.Run("W6 digits", func(t *testing.T) {
		r := open(t, Config{}, "")
		r.text("DTMF_END digit:1") // before the start: nothing to put it on
		r.text(fmt.Sprintf(plainStart, "slin"))
		r.stream(slin(8000), 5)
		for _, m := range []string{
			"DTMF_END digit:7", `{"event":"DTMF_END","channel_id":"x","digit":"#"}`, `{"event":"DTMF_END","digit":5}`, "DTMF_END digit:a",
			"DTMF_END", "DTMF_END digit:77", "DTMF_END digit:x", `{"event":"DTMF_END"}`, "DTMF_END digit::",
		} {
			r.text(m)
		}
		text, want := r.h.Text(), ""
		for _, key := range "7#5A" {
			want += fmt.Sprintf("pbx1-17.42: mark digit %c at 1600\n", key)
		}
		if r.err != nil || !strings.Contains(text, want) || strings.Count(text, "digit") != 4 {
			t.Errorf("%v, told\n%s", r.err, text)
		}
		r.close()
	})

	t.Run("W7 no MEDIA_START", func(t *testing.T) {
		r := open(t, Config{}, "")
		r.stream(slin(8000), 200) // early audio must not help
		if r.err != nil || r.s.earlySize > earlyBytes {
			t.Fatalf("%v, %d bytes kept", r.err, r.s.earlySize)
		}
		r.sleep(2 * time.Second)
		if r.closeCode() != fork.ClosePolicy || !strings.Contains(r.err.Error(), "MEDIA_START") {
			t.Errorf("closed with %v", r.err)
		}
		r.close()
	})
	t.Run("W7 audio before MEDIA_START", func(t *testing.T) {
		r := open(t, Config{}, "")
		for i := range 10 {
			r.binary(slin(16000)(i))
		}
		r.text(fmt.Sprintf(plainStart, "slin16"))
		r.stream(func(i int) []byte { return slin(16000)(10 + i) }, 40)
		if l := r.h.Legs()[0]; r.err != nil || l.Frames != 50 || l.Pitch() < 380 {
			t.Errorf("%v, %d frames", r.err, r.h.Legs()[0].Frames)
		}
		r.close()
		r = open(t, Config{}, "")
		for range 200 {
			r.binary(make([]byte, 640))
		}
		r.text(fmt.Sprintf(plainStart, "slin16"))
		if l := r.h.Legs()[0]; r.err != nil || l.Frames != 100 || !strings.Contains(r.h.Text(), "discarded") {
			t.Errorf("%v, told\n%s", r.err, r.h.Text())
		}
		r.close()
	})

	t.Run("W9 20 s without messages", func(t *testing.T) {
		r := open(t, Config{}, "")
		r.text(fmt.Sprintf(plainStart, "ulaw"))
		silence := func(int) []byte { return bytes.Repeat([]byte{0xff}, 160) }
		r.stream(silence, 50)
		r.sleep(20 * time.Second)
		r.stream(silence, 50)
		l := r.h.Legs()[0]
		if want := pcm.Samples(22 * time.Second); r.err != nil || l.Next < want-640 || l.Next > want+640 {
			t.Errorf("%v, the clock stands at %d, want %d", r.err, l.Next, want)
		}
		r.close()
	})

	t.Run("W10 two sockets of one call", func(t *testing.T) {
		h := mediatest.New()
		h.Join = true
		in := open(t, Config{Host: h}, "call=c7&leg=in&role=customer")
		out := open(t, Config{Host: h}, "call=c7&leg=out&role=agent&agent=maria")
		in.text(fmt.Sprintf(plainStart, "slin"))
		out.text(strings.ReplaceAll(fmt.Sprintf(jsonStart, "slin16"), "pbx1-17.42", "pbx1-17.43"))
		in.stream(slin(8000), 10)
		out.stream(slin(16000), 20)
		in.s.Closed(nil, in.now)
		if len(h.Ends()) != 0 {
			t.Error("the call ended with its first socket")
		}
		out.close()
		text := h.Text()
		if len(h.Calls()) != 1 || h.Calls()[0].ID != "c7" || h.Legs()[0].Frames != 10 || h.Legs()[1].Frames != 20 ||
			!strings.Contains(text, "leg in role=customer") || !strings.Contains(text, "leg out role=agent") {
			t.Errorf("told\n%s", text)
		}
	})

	t.Run("W11 opus", func(t *testing.T) {
		packets := opusPackets(t, "hybrid-24k-20ms")
		r := open(t, Config{}, "")
		r.text(fmt.Sprintf(plainStart, "opus"))
		r.stream(func(i int) []byte { return packets[i] }, len(packets))
		if l := r.h.Legs()[0]; r.err != nil || l.Frames != len(packets) || l.Peak < 1000 {
			t.Errorf("%v, %d frames of %d packets, peak %d", r.err, l.Frames, len(packets), l.Peak)
		}
		r.binary([]byte{0xff, 0xff}) // no packet
		r.close()
		if text := r.h.Text(); !strings.Contains(text, "fact asterisk.undecodable: 1 messages") {
			t.Errorf("told\n%s", text)
		}
	})

	t.Run("W12 long message", func(t *testing.T) {
		for format, frames := range map[string]int{"slin16": 102, "ulaw": 409, "g722": 409} {
			r := open(t, Config{}, "")
			r.text(fmt.Sprintf(plainStart, format))
			r.binary(make([]byte, 65501))
			if l := r.h.Legs()[0]; r.err != nil || l.Frames != frames {
				t.Errorf("%s: %v, %d frames", format, r.err, l.Frames)
			}
			r.close()
		}
	})
}

func opusPackets(t *testing.T, name string) [][]byte {
	f, err := os.Open(filepath.Join("..", "..", "opus", "testdata", "vectors.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]struct{ Packets [][]byte }
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		t.Fatal(err)
	}
	if len(all[name].Packets) == 0 {
		t.Fatalf("no vector %s", name)
	}
	return all[name].Packets
}

func TestHangUp(t *testing.T) {
	end := media.End{State: media.Aborted, Reason: "shutting down"}
	for _, c := range []struct{ start, want string }{{plainStart, "HANGUP"}, {jsonStart, `{"command":"HANGUP"}`}} {
		r := open(t, Config{}, "")
		r.text(fmt.Sprintf(c.start, "slin"))
		r.h.HangUp(end)
		if len(r.w.hung) != 1 {
			t.Fatal("the host's hang-up does not reach the writer")
		}
		for range 2 {
			if err := r.s.HangUp(end, r.now); err != nil {
				t.Error(err)
			}
		}
		r.binary(slin(8000)(0))
		r.text("DTMF_END digit:1")
		if !reflect.DeepEqual(r.w.texts, []string{c.want}) {
			t.Errorf("sent %q", r.w.texts)
		}
		r.sleep(3 * time.Second)
		if r.closeCode() != fork.CloseNormal {
			t.Errorf("closed with %v", r.err)
		}
		r.close()
		if text := r.h.Text(); !strings.Contains(text, "ended: aborted, shutting down") || strings.Contains(text, "mark") {
			t.Errorf("told\n%s", text)
		}
	}
	r := open(t, Config{}, "")
	if r.err = r.s.HangUp(end, r.now); r.closeCode() != fork.CloseGoingAway {
		t.Errorf("before MEDIA_START: %v", r.err)
	}
	r.close()
}

func TestAnswer(t *testing.T) {
	r := open(t, Config{Answer: true}, "")
	r.text(fmt.Sprintf(jsonStart, "slin"))
	if !reflect.DeepEqual(r.w.texts, []string{`{"command":"ANSWER"}`}) {
		t.Errorf("sent %q", r.w.texts)
	}
	r.close()
}

func TestEnds(t *testing.T) {
	for _, c := range []struct {
		err  error
		want media.EndState
	}{{nil, media.Ended}, {errors.New("1006: abnormal closure"), media.Lost}, {fork.ErrSilent, media.TimedOut}} {
		r := open(t, Config{}, "")
		r.text(fmt.Sprintf(plainStart, "slin"))
		r.stream(slin(8000), 3)
		r.err = c.err
		r.close()
		if e := r.h.NextEnd(); e.State != c.want {
			t.Errorf("%v: ended as %+v", c.err, e)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, text string
		host       error
		code       int
		want       string
	}{
		{"broken JSON", `{"event":`, nil, 1007, "JSON"},
		{"JSON without an event", `{"a":1}`, nil, 1007, "no event"},
		{"variables that are none", `{"event":"MEDIA_START","channel_variables":[1]}`, nil, 1007, "channel_variables"},
		{"empty", " \n", nil, 1007, "empty"},
		{"number", "MEDIA_START format:slin channel:x ptime:-3", nil, 1007, `ptime is "-3"`},
		{"codec", fmt.Sprintf(plainStart, "g729"), nil, 1003, "c(slin16)"},
		{"no codec", "MEDIA_START channel:x", nil, 1003, "c(slin16)"},
		{"no name", "MEDIA_START format:slin", nil, 1007, "channel_id"},
		{"long name", "MEDIA_START format:slin channel_id:" + strings.Repeat("x", 1000), nil, 1007, "channel_id"},
		{"bad role", `{"event":"MEDIA_START","channel_id":"x","format":"slin","channel_variables":{"SIDETONE_ROLE":"boss"}}`, nil, 1008, "boss"},
		{"no room", fmt.Sprintf(plainStart, "slin"), media.ErrBusy, 1013, "no room"},
		{"running", fmt.Sprintf(plainStart, "slin"), media.ErrDuplicate, 1008, "running"},
	} {
		r := open(t, Config{}, "")
		r.h.Refuse = c.host
		r.text(c.text)
		if r.closeCode() != c.code || !strings.Contains(r.err.Error(), c.want) {
			t.Errorf("%s: got %v", c.name, r.err)
		}
		r.close()
	}
	p, err := New(Config{Host: mediatest.New()})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []url.Values{{"role": {"boss"}}, {"call": {strings.Repeat("x", 200)}}, {"agent": {"a\nb"}}, {"leg": {"\xff"}}} {
		_, err := p.Open(q, &wire{}, start)
		var no *fork.Refusal
		if !errors.As(err, &no) || no.Status != 400 {
			t.Errorf("%v: got %v", q, err)
		}
	}
	for _, c := range []Config{{}, {Host: mediatest.New(), Start: -1}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestSwappedBytesAreTold(t *testing.T) {
	r := open(t, Config{}, "")
	r.text(fmt.Sprintf(plainStart, "slin"))
	r.stream(func(i int) []byte {
		b := slin(8000)(i)
		for j := 0; j < len(b); j += 2 {
			b[j], b[j+1] = b[j+1], b[j]
		}
		return b
	}, 100)
	r.close()
	if n := strings.Count(r.h.Text(), "swapped"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// good are messages of every kind that Asterisk sends.
func good() []string {
	return []string{
		fmt.Sprintf(plainStart, "slin16"), fmt.Sprintf(jsonStart, "ulaw"), "DTMF_END digit:7",
		`{"event":"DTMF_END","channel_id":"pbx1-17.42","digit":"7"}`, "MEDIA_XOFF", "QUEUE_DRAINED",
		"STATUS queue_length:43 xon_level:800 xoff_level:900 queue_full:false bulk_media:true media_paused:false",
	}
}

// try gives a message to a session that has not begun and to one that has, and
// audio after it.
func try(t *testing.T, message []byte) error {
	var errs []error
	for _, begun := range []bool{false, true} {
		r := open(t, Config{}, "")
		if begun {
			r.text(fmt.Sprintf(plainStart, "ulaw"))
		}
		r.text(string(message))
		r.binary(message)
		r.sleep(20 * time.Millisecond)
		r.close()
		if r.err != nil && !strings.HasPrefix(fork.CloseFor(r.err).Reason, "asterisk: ") && !strings.Contains(r.err.Error(), "parameter") &&
			!strings.Contains(r.err.Error(), "MEDIA_START") {
			t.Errorf("%q: an error that does not say what is wrong: %v", message, r.err)
		}
		errs = append(errs, r.err)
	}
	return errors.Join(errs...)
}

func TestMutations(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 12))
	refused := 0
	for i := range 1000 {
		b := []byte(good()[i%len(good())])
		for range 1 + rnd.IntN(3) {
			switch at := rnd.IntN(len(b)); rnd.IntN(3) {
			case 0:
				b[at] ^= 1 << rnd.IntN(8)
			case 1:
				b = append(b[:at], b[min(len(b), at+1+rnd.IntN(10)):]...)
			default:
				b = append(b[:at], append([]byte{byte(rnd.Uint32())}, b[at:]...)...)
			}
			if len(b) == 0 {
				b = []byte{' '}
			}
		}
		if try(t, b) != nil {
			refused++
		}
	}
	if refused < 100 {
		t.Errorf("only %d of 1000 mutations were refused: are they any?", refused)
	}
}

func FuzzParse(f *testing.F) {
	for _, g := range good() {
		f.Add([]byte(g))
	}
	f.Add([]byte(`{"event":"MEDIA_START","channel_variables":{"a":null}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil && !errors.Is(err, ErrMessage) {
			t.Errorf("%q: the error is %v", b, err)
		}
		if err == nil && m.Event == "" {
			t.Errorf("%q has no event and no error", b)
		}
		if err := try(t, b); err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Errorf("%q: an empty error", b)
		}
	})
}

func TestMessagesDoNotAllocate(t *testing.T) {
	for _, format := range []string{"slin16", "ulaw"} {
		p, err := New(Config{Host: deaf()})
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.Open(nil, &wire{}, start)
		if err != nil {
			t.Fatal(err)
		}
		now := start
		if err := s.Text(fmt.Appendf(nil, plainStart, format), now); err != nil {
			t.Fatal(err)
		}
		data := mediatest.Tone(16000, 0, 320)
		step := func() {
			now = now.Add(20 * time.Millisecond)
			if s.Binary(data, now) != nil || s.Tick(now) != nil {
				t.Error("an error")
			}
		}
		step()
		if n := testing.AllocsPerRun(500, step); n != 0 {
			t.Errorf("%s: %v allocations for a message", format, n)
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	p, err := New(Config{Host: deaf()})
	if err != nil {
		b.Fatal(err)
	}
	s, err := p.Open(nil, &wire{}, start)
	if err != nil {
		b.Fatal(err)
	}
	now := start
	if err := s.Text(fmt.Appendf(nil, plainStart, "slin16"), now); err != nil {
		b.Fatal(err)
	}
	data := mediatest.Tone(16000, 0, 320)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(20 * time.Millisecond)
		if err := errors.Join(s.Binary(data, now), s.Tick(now)); err != nil {
			b.Fatal(err)
		}
	}
}
