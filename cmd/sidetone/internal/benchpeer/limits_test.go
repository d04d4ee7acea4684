package benchpeer

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"

	"sidetone/bench"
	"sidetone/internal/needs"
)

func TestDistances(t *testing.T) {
	s := bench.Shape{Bands: 1, Width: 100, EncoderHidden: 100, DecoderHidden: 100, EncoderLayers: 1, DecoderLayers: 1, Vocabulary: 10}
	l := Limits{Float: 50, Int8: 200, Reads: []Read{{1, 100}, {16, 50}, {400, 5}}}
	rows := []bench.LatencyRow{
		{Engine: "late", Ours: true, Seconds: 5, Frames: 100, Encode: 1, Token: 1, Kind: bench.Int8},
		{Engine: "early", Ours: true, Seconds: 2, Frames: 100, Encode: 1, Token: 0.1},
		{Engine: "peer", Seconds: 2, Frames: 100, Encode: 1, Token: 1},
		{Engine: "untold", Ours: true, Seconds: 2, Frames: 100, Encode: 1},
	}
	ds := Distances(rows, s, l, func(string) float64 { return 2 })
	if len(ds) != 2 || ds[0].Engine != "early" || ds[1].Engine != "late" {
		t.Fatalf("%+v", ds)
	}
	work, bytes := s.EncoderFLOP(100)/1e-3/1e9, s.TokenBytes(100, 2)
	for name, c := range map[string][2]float64{
		"encoder":          {ds[0].Encoder, work},
		"share of floats":  {ds[0].EncoderShare, work / 50},
		"share of bytes":   {ds[1].EncoderShare, work / 200},
		"decoder":          {ds[0].Decoder, bytes / 1e-4 / 1e9},
		"share of reading": {ds[0].DecoderShare, bytes / 1e-4 / 1e9 / 100},
	} {
		if math.Abs(c[0]-c[1]) > 1e-9*c[1] {
			t.Errorf("%s: %v, want %v", name, c[0], c[1])
		}
	}
	if r := l.reads(300e6); r.Megabytes != 400 {
		t.Errorf("300 MB are next to %d MB", r.Megabytes)
	}
	best := l.Best(Limits{Float: 60, Int8: 100, Reads: []Read{{1, 90}, {16, 60}, {400, 5}}})
	if best.Float != 60 || best.Int8 != 200 || best.Reads[0].Speed != 100 || best.Reads[1].Speed != 60 {
		t.Errorf("%+v", best)
	}
}

func TestLimitTables(t *testing.T) {
	var b bytes.Buffer
	l := Limits{Float: 50, Int8: 200, Reads: []Read{{1, 100}}}
	if err := l.Table(&b); err != nil {
		t.Fatal(err)
	}
	if err := DistanceTable(&b, []Distance{{Engine: "e", Seconds: 5, Fitted: true, Encoder: 20, EncoderShare: 0.4, Megabytes: 60, Decoder: 12, DecoderShare: 0.5}}); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"float32 50 GFLOP/s", "int8 200 GOP/s", "reading 1 MB 100.0 GB/s", "5 fitted e 20 40 % 60 12.0 50 %"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestReadShape(t *testing.T) {
	file, err := os.ReadFile(needs.Model(t, "whisper-tiny.en", "model.bin"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadShape(file)
	want := bench.Shape{Bands: 80, Width: 384, EncoderHidden: 1536, DecoderHidden: 1536, EncoderLayers: 4, DecoderLayers: 4, Vocabulary: 51864}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ReadShape([]byte("x")); err == nil {
		t.Error("no model: no error")
	}
}
