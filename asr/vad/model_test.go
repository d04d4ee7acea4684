package vad

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"sidetone/internal/needs"
	"sidetone/internal/wav"
)

func load(t testing.TB) *Model {
	t.Helper()
	f, err := os.Open(needs.Model(t, "silero-vad", "silero_vad_16k.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// synthetic is 6 s of something that the network takes for speech: a glottal
// pulse train through three resonators, one vowel after the other, noise
// bursts between and a pause after six. The golden file was computed from the
// same arithmetic.
func synthetic() []int16 {
	vowels := [4][3]float64{{1.90, 1.78, 0.75}, {1.955, 1.15, 0.30}, {1.95, 1.87, 0.80}, {1.93, 1.40, 0.50}}
	out := make([]int16, 6*16000)
	var y [3][2]float64
	var phase, env, low float64
	seed := int64(1)
	for i := range out {
		seed = (seed*1103515245 + 12345) & 0x7fffffff
		noise := float64(seed>>8)/4194304 - 1
		syllable, pos := i/2800, i%2800
		pause := syllable%8 >= 6
		want := 0.0
		if pos >= 500 && pos < 2400 && !pause {
			want = 1
		}
		env += (want - env) * 0.004
		phase += (130 - 0.01*float64(pos) + 5*float64(syllable%5)) / 16000
		e := noise * 0.002
		if phase >= 1 {
			phase--
			e += env
		}
		if pos < 500 && !pause {
			e += noise * 0.03
		}
		low += (e - low) * 0.3
		v := low
		for k := range y {
			r := v + vowels[syllable%4][k]*y[k][0] - 0.965*y[k][1]
			y[k][1], y[k][0] = y[k][0], r
			v = r * 0.2
		}
		out[i] = int16(max(-32768, min(32767, v*60000)))
	}
	return out
}

func golden(t *testing.T, name string) []float64 {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []float64
	for s := bufio.NewScanner(f); s.Scan(); {
		v, err := strconv.ParseFloat(s.Text(), 64)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

// The golden probabilities come from onnxruntime running the graph
// silero_vad_16k_op15.onnx of the package silero-vad 6.2.3 with the weights of
// its silero_vad_16k.safetensors put in: the package's two files hold
// different trainings of one network.
func TestProbabilitiesEqualTheReference(t *testing.T) {
	m := load(t)
	cases := []struct {
		name    string
		samples func(t *testing.T) []int16
	}{
		{"synthetic.golden", func(*testing.T) []int16 { return synthetic() }},
		{"clip.golden", func(t *testing.T) []int16 {
			b, err := os.ReadFile(needs.Eval(t, "asr", "librispeech", "wav16", "2033-164914-0001.wav"))
			if err != nil {
				t.Fatal(err)
			}
			a, err := wav.Decode(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			return a.Channels[0]
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x, want := c.samples(t), golden(t, c.name)
			if len(want) != len(x)/window {
				t.Fatalf("%d golden values for %d windows", len(want), len(x)/window)
			}
			var n network
			worst := 0.0
			for i, w := range want {
				p := m.run(&n, (*[window]int16)(x[i*window:]))
				worst = max(worst, math.Abs(float64(p)-w))
			}
			if worst > 1e-3 {
				t.Errorf("probabilities differ by up to %.2g, want at most 1e-3", worst)
			}
			t.Logf("largest difference %.2g", worst)
		})
	}
}

// file builds a safetensors file of zeros with the given shapes.
func file(t testing.TB, shapes map[string][]int) []byte {
	t.Helper()
	h := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	at := 0
	for name, s := range shapes {
		n := 4
		for _, d := range s {
			n *= d
		}
		h[name] = map[string]any{"dtype": "F32", "shape": s, "data_offsets": []int{at, at + n}}
		at += n
	}
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(j)))
	return append(append(b, j...), make([]byte, at)...)
}

func silero() map[string][]int {
	return map[string][]int{
		"stft_conv.weight": {258, 1, 256},
		"conv1.weight":     {128, 129, 3}, "conv1.bias": {128},
		"conv2.weight": {64, 128, 3}, "conv2.bias": {64},
		"conv3.weight": {64, 64, 3}, "conv3.bias": {64},
		"conv4.weight": {128, 64, 3}, "conv4.bias": {128},
		"lstm_cell.weight_ih": {512, 128}, "lstm_cell.bias_ih": {512},
		"lstm_cell.weight_hh": {512, 128}, "lstm_cell.bias_hh": {512},
		"final_conv.weight": {1, 128, 1}, "final_conv.bias": {1},
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	whole := file(t, silero())
	without := silero()
	delete(without, "conv3.bias")
	eight := silero()
	eight["stft_conv.weight"] = []int{130, 1, 128}
	integers := bytes.ReplaceAll(whole, []byte(`"F32"`), []byte(`"I32"`))
	nan := bytes.Clone(whole)
	binary.LittleEndian.PutUint32(nan[len(nan)-4:], math.Float32bits(float32(math.NaN())))
	cases := []struct {
		name string
		r    io.Reader
		want string
	}{
		{"empty", strings.NewReader(""), "too short"},
		{"failing reader", iotest.ErrReader(io.ErrClosedPipe), "closed pipe"},
		{"not safetensors", bytes.NewReader(bytes.Repeat([]byte("RIFF"), 100)), "header of"},
		{"bad JSON", strings.NewReader("\x02\x00\x00\x00\x00\x00\x00\x00{]"), "header:"},
		{"tensor is no object", strings.NewReader("\x08\x00\x00\x00\x00\x00\x00\x00{\"a\": 1}"), `tensor "a"`},
		{"cut off", bytes.NewReader(whole[:len(whole)-100]), "cut off"},
		{"missing", bytes.NewReader(file(t, without)), `no tensor "conv3.bias"`},
		{"8 kHz model", bytes.NewReader(file(t, eight)), "shape [130 1 128], want [258 1 256]"},
		{"integers", bytes.NewReader(integers), "type int32"},
		{"not a number", bytes.NewReader(nan), "NaN"},
		{"endless", io.LimitReader(zeros{}, maxFile+10), "more than"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(c.r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
	if _, err := Load(bytes.NewReader(whole)); err != nil {
		t.Errorf("the whole file is refused: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func FuzzLoad(f *testing.F) {
	whole := file(f, silero())
	f.Add(whole[:2000])
	f.Add(whole)
	f.Fuzz(func(_ *testing.T, b []byte) {
		if m, err := Load(bytes.NewReader(b)); err == nil {
			var n network
			m.run(&n, new([window]int16))
		}
	})
}

func BenchmarkWindow(b *testing.B) {
	m := load(b)
	x := synthetic()
	var n network
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.run(&n, (*[window]int16)(x[i%100*window:]))
	}
}
