package benchasr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sidetone/asr"
	"sidetone/asr/vad"
	"sidetone/asr/whisper"
	"sidetone/asr/whisper/model"
	"sidetone/bench/wer"
	"sidetone/internal/needs"
	"sidetone/internal/pcm"
	"sidetone/internal/wav"
)

// write makes a file below root, and the folders above it.
func write(t *testing.T, root, name string, b []byte) {
	t.Helper()
	p := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// tone is a wav file whose channels hold 100, 101 and so on, n times each.
func tone(t *testing.T, rate, channels, n int) []byte {
	t.Helper()
	a := &wav.Audio{Rate: rate}
	for c := range channels {
		x := make([]int16, n)
		for i := range x {
			x[i] = int16(100 + c)
		}
		a.Channels = append(a.Channels, x)
	}
	var b bytes.Buffer
	if err := wav.Encode(&b, a, wav.PCM16); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// data is an evaluation folder of two sets and one call.
func data(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, set := range []string{"asterisk", "librispeech", "other"} {
		write(t, root, "asr/"+set+"/manifest.tsv", []byte("path\tseconds\tref\tref_raw\n"+
			"wav16/"+set+"-1.wav\t1\tthe 1 st\tThe first \"quoted.\n"+
			"wav16/"+set+"-2.wav\t1\tb\tB.\n"))
		for i := 1; i <= 2; i++ {
			write(t, root, fmt.Sprintf("asr/%s/wav16/%s-%d.wav", set, set, i), tone(t, 16000, 1, 1600))
			write(t, root, fmt.Sprintf("asr/%s/tel8k/%s-%d.wav", set, set, i), tone(t, 8000, 1, 800))
		}
	}
	write(t, root, "asr/calls/calls.tsv", []byte("path\tcondition\ncall01.wav\tclean\n"))
	write(t, root, "asr/calls/call01.turns.tsv", []byte("channel\tutt\tref\n1\tasterisk/asterisk-1\tx\n2\tother/other-2\tx\n1\telse/1\tspoken live\n"))
	write(t, root, "asr/calls/call01.wav", tone(t, 8000, 2, 8000))
	return root
}

func names(cs []Clip) string {
	var out []string
	for _, c := range cs {
		out = append(out, c.Condition+"/"+c.Set+"/"+c.Name)
	}
	return strings.Join(out, " ")
}

func TestClips(t *testing.T) {
	root := data(t)
	for _, c := range []struct {
		s    Selection
		want string
	}{
		{
			Selection{Sets: []string{"asterisk", "other"}, Conditions: []string{"wav16", "tel8k"}, Limit: 1},
			"wav16/asterisk/asterisk-1.wav wav16/other/other-1.wav tel8k/asterisk/asterisk-1.wav tel8k/other/other-1.wav",
		},
		{
			Selection{Sets: []string{"other"}, Conditions: []string{"tel8k"}},
			"tel8k/other/other-1.wav tel8k/other/other-2.wav",
		},
		{Selection{Sets: []string{"calls"}, Conditions: []string{"tel8k"}}, "calls/calls/call01.wav#1 calls/calls/call01.wav#2"},
		{
			Selection{Sets: []string{"calls", "other"}, Conditions: []string{"tel8k"}, Limit: 1},
			"tel8k/other/other-1.wav calls/calls/call01.wav#1",
		},
	} {
		c.s.Root = root
		got, err := c.s.Clips()
		if err != nil || names(got) != c.want {
			t.Errorf("%+v: %v\n got %s\nwant %s", c.s, err, names(got), c.want)
		}
	}
	cs, err := Selection{Root: root, Sets: []string{"calls"}}.Clips()
	if err != nil {
		t.Fatal(err)
	}
	if cs[0].Ref != `The first "quoted. spoken live` || cs[1].Ref != "B." {
		t.Errorf("references %q and %q", cs[0].Ref, cs[1].Ref)
	}
	for i, want := range []int16{100, 101} {
		x, err := cs[i].Samples()
		if err != nil || len(x) != 16000 || x[8000] != want {
			t.Errorf("channel %d: %d samples, %v", i+1, len(x), err)
		}
	}
}

func TestClipErrors(t *testing.T) {
	root := data(t)
	write(t, root, "asr/short/manifest.tsv", []byte("path\tref_raw\na.wav\n"))
	write(t, root, "asr/nameless/manifest.tsv", []byte("path\tseconds\n"))
	write(t, root, "asr/gone/manifest.tsv", []byte("path\tref_raw\nwav16/a.wav\ta\n"))
	for name, c := range map[string]struct {
		sets, conditions []string
		want             string
	}{
		"no set":         {nil, []string{"wav16"}, "no set"},
		"no condition":   {[]string{"other"}, nil, "no clips"},
		"unknown set":    {[]string{"nowhere"}, []string{"wav16"}, "set nowhere"},
		"missing field":  {[]string{"short"}, []string{"wav16"}, "manifest.tsv:2"},
		"missing column": {[]string{"nameless"}, []string{"wav16"}, `no column "ref_raw"`},
	} {
		if _, err := (Selection{Root: root, Sets: c.sets, Conditions: c.conditions}).Clips(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	cs, err := Selection{Root: root, Sets: []string{"gone"}, Conditions: []string{"wav16"}}.Clips()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), "e", fake{}, cs, func(int) {}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing sound: %v", err)
	}
	mono := Clip{file: filepath.Join(root, "asr/other/wav16/other-1.wav"), channel: 1}
	if _, err := mono.Samples(); err == nil || !strings.Contains(err.Error(), "no channel 2") {
		t.Errorf("missing channel: %v", err)
	}
}

// fake hears how many samples there are.
type fake struct{ err error }

func (f fake) Recognise(_ context.Context, x []int16) (Heard, error) {
	return Heard{Text: fmt.Sprint(len(x)), Lags: []float64{1}}, f.err
}

func TestRun(t *testing.T) {
	cs, err := Selection{Root: data(t), Sets: []string{"other"}, Conditions: []string{"tel8k"}}.Clips()
	if err != nil {
		t.Fatal(err)
	}
	var told []int
	us, err := Run(t.Context(), "e", fake{}, cs, func(n int) { told = append(told, n) })
	if err != nil {
		t.Fatal(err)
	}
	if u := us[1]; len(us) != 2 || u.Engine != "e" || u.Set != "other" || u.Condition != "tel8k" || u.Clip != "other-2.wav" ||
		u.Seconds != 0.1 || u.Ref != "B." || u.Hyp != "1600" || u.Lags[0] != 1 || u.CPU < 0 {
		t.Errorf("%+v", us)
	}
	if !reflect.DeepEqual(told, []int{1, 2}) {
		t.Errorf("told %v", told)
	}
	broken := errors.New("broken")
	if _, err := Run(t.Context(), "e", fake{broken}, cs, func(int) {}); !errors.Is(err, broken) || !strings.Contains(err.Error(), "other/tel8k/other-1.wav") {
		t.Errorf("error %v", err)
	}
}

func TestTranscript(t *testing.T) {
	w := func(text string, end int64) asr.Word { return asr.Word{Text: text, End: end * pcm.Rate} }
	tr := transcript{stable: map[int]int{}}
	tr.take([]asr.Hypothesis{{Utterance: 1, Words: []asr.Word{w("Hello", 1), w("word", 2)}, Stable: 1}}, 3*pcm.Rate)
	tr.take([]asr.Hypothesis{
		{Utterance: 1, Words: []asr.Word{w("Hello", 1), w("world.", 2)}, Final: true},
		{Utterance: 2, Words: []asr.Word{w("noise", 5)}},
	}, 6*pcm.Rate)
	tr.take([]asr.Hypothesis{
		{Utterance: 2, Final: true},
		{Utterance: 3, Words: []asr.Word{w("Bye.", 9)}, Final: true},
	}, 10*pcm.Rate)
	if got := strings.Join(tr.finals, " "); got != "Hello world. Bye." {
		t.Errorf("text %q", got)
	}
	if want := []float64{2, 4, 1}; !reflect.DeepEqual(tr.lags, want) {
		t.Errorf("lags %v, want %v", tr.lags, want)
	}
}

// TestHears has both modes hear one clip of the evaluation data.
func TestHears(t *testing.T) {
	root := needs.Eval(t)
	m, err := model.Load(os.DirFS(filepath.Dir(needs.Model(t, "whisper-tiny.en", "model.bin"))), model.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(needs.Model(t, "silero-vad", "silero_vad_16k.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := vad.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	cs, err := Selection{Root: root, Sets: []string{"asterisk"}, Conditions: []string{"tel8k"}, Limit: 1}.Clips()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStream(m, v, whisper.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, r := range map[string]Recogniser{"whole": NewWhole(m), "stream": s} {
		us, err := Run(t.Context(), name, r, cs, func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		if c := wer.New().Score(us[0].Ref, us[0].Hyp); c.Percent() > 10 {
			t.Errorf("%s: heard %q, said %q", name, us[0].Hyp, us[0].Ref)
		}
		if (len(us[0].Lags) > 0) != (name == "stream") {
			t.Errorf("%s: %d lags", name, len(us[0].Lags))
		}
	}
	if _, err := NewWhole(m).Recognise(t.Context(), make([]int16, 31*pcm.Rate)); err == nil {
		t.Error("31 s in one piece: no error")
	}
}
