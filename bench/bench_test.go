package bench

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"sidetone/bench/wer"
)

func sample() []Utterance {
	return []Utterance{
		{Engine: "ours", Set: "one", Condition: "wide", Clip: "a.wav", Seconds: 2, CPU: 1, Ref: "It's five pounds.", Hyp: "it is £5", Lags: []float64{0.5, 0.25}},
		{Engine: "ours", Set: "one", Condition: "wide", Clip: "b.wav", Seconds: 2, CPU: 0.5, Ref: "one two", Hyp: "one", Lags: []float64{1}},
		{Engine: "ours", Set: "two", Condition: "wide", Clip: "c.wav", Seconds: 4, CPU: 0.5, Ref: "a b", Hyp: "a c d"},
		{Engine: "peer", Set: "one", Condition: "wide", Clip: "a.wav", Seconds: 2, CPU: 1, Ref: "It's five pounds.", Hyp: "it was 5"},
		{Engine: "ours", Set: "one", Condition: "tel", Clip: "a.wav", Seconds: 2, CPU: 1, Ref: "It's five pounds.", Hyp: ""},
	}
}

func TestTally(t *testing.T) {
	rows := Tally(sample(), wer.New())
	var got []string
	for _, r := range rows {
		got = append(got, strings.Join([]string{r.Engine, r.Set, r.Condition}, " "))
	}
	if want := []string{"ours one wide", "ours two wide", "ours all wide", "peer one wide", "ours one tel"}; !reflect.DeepEqual(got, want) {
		t.Fatalf("rows %q, want %q", got, want)
	}
	all := rows[2]
	if all.Counts != (wer.Counts{Sub: 1, Ins: 1, Del: 1, Words: 7}) || all.Utterances != 3 || all.Seconds != 8 || all.RTF != 0.25 {
		t.Errorf("all: %+v", all)
	}
	if math.Abs(all.WER-100*3./7) > 1e-9 || all.LagP50 != 0.5 || all.LagP95 != 1 {
		t.Errorf("all: WER %v, lags %v and %v", all.WER, all.LagP50, all.LagP95)
	}
	if r := rows[4]; r.WER != 100 || r.Del != 3 || r.LagP95 != 0 {
		t.Errorf("nothing understood: %+v", r)
	}
}

func TestQuantile(t *testing.T) {
	ten := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]float64{0: 1, 0.1: 1, 0.11: 2, 0.5: 5, 0.95: 10, 1: 10} {
		if got := Quantile(ten, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	if Quantile(nil, 0.5) != 0 {
		t.Error("of nothing: not 0")
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := Table(&b, Tally(sample(), wer.New())); err != nil {
		t.Fatal(err)
	}
	const want = `
  set  condition  engine  clips  words   WER %  sub  ins  del  audio s  CPU s    RTF  lag p50 s  lag p95 s
  one       wide    ours      2      5   20.00    0    0    1        4    1.5  0.375       0.50       1.00
  one       wide    peer      1      3   33.33    1    0    0        2    1.0  0.500          -          -
  two       wide    ours      1      2  100.00    1    1    0        4    0.5  0.125          -          -
  all       wide    ours      3      7   42.86    1    1    1        8    2.0  0.250       0.50       1.00
  one        tel    ours      1      3  100.00    0    0    3        2    1.0  0.500          -          -
`
	if got := b.String(); strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("got\n%s\nwant%s", got, want)
	}
}

func TestUtterancesThereAndBack(t *testing.T) {
	var b bytes.Buffer
	want := sample()
	if err := WriteUtterances(&b, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadUtterances(&b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	b.Reset()
	if err := WriteUtterances(&b, []Utterance{{Ref: "a\tb\r\nc", Hyp: "\n"}}); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadUtterances(&b); err != nil || len(got) != 1 || got[0].Ref != "a b  c" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestBadUtterances(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no header":  {"a\tb\n", "line 1"},
		"few fields": {columns + "\na\tb\n", "line 2: 2 fields"},
		"seconds":    {columns + "\n\na\tb\tc\td\tx\t1\tr\th\n", "line 2"},
		"cpu":        {columns + "\na\tb\tc\td\t1\tx\tr\th\n", "line 2: cpu"},
		"lags":       {columns + "\na\tb\tc\td\t1\t1\tr\th\t1 x\n", "line 2: lags"},
	} {
		if _, err := ReadUtterances(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

func FuzzReadUtterances(f *testing.F) {
	var b bytes.Buffer
	if err := WriteUtterances(&b, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Add(columns + "\n\t\t\t\t1\tNaN\t\t\n")
	f.Fuzz(func(t *testing.T, s string) {
		us, err := ReadUtterances(strings.NewReader(s))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err = WriteUtterances(&b, us); err != nil {
			t.Fatal(err)
		}
		again, err := ReadUtterances(&b)
		if err != nil || len(again) != len(us) {
			t.Fatalf("%d utterances become %d, %v", len(us), len(again), err)
		}
	})
}

func TestBaseline(t *testing.T) {
	rows := Tally(sample(), wer.New())
	b := &Baseline{Threshold: 0.3}
	b.Set(rows)
	var buf bytes.Buffer
	if err := b.Write(&buf); err != nil {
		t.Fatal(err)
	}
	b, err := ReadBaseline(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Compare(rows); err != nil {
		t.Errorf("its own rows: %v", err)
	}
	row := func(change func(*Row)) []Row {
		r := rows[0]
		change(&r)
		return []Row{r}
	}
	for name, c := range map[string]struct {
		rows []Row
		want string
	}{
		"a little worse":  {row(func(r *Row) { r.WER += 0.29 }), ""},
		"much better":     {row(func(r *Row) { r.WER = 0 }), ""},
		"worse":           {row(func(r *Row) { r.WER += 0.31 }), "20.31 %, the entry has 20.00 %"},
		"not a number":    {row(func(r *Row) { r.WER = math.NaN() }), "NaN"},
		"other clips":     {row(func(r *Row) { r.Utterances++ }), "3 utterances"},
		"other condition": {row(func(r *Row) { r.Condition = "x" }), "no entry"},
		"nothing":         {nil, "nothing was measured"},
	} {
		err := b.Compare(c.rows)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
	n := len(b.Entries)
	b.Set(row(func(r *Row) { r.WER = 7 }))
	if len(b.Entries) != n || b.Entries[0].WER != 7 {
		t.Errorf("replaced: %+v", b.Entries)
	}
}

// TestCommittedBaseline checks that the baseline which CI compares with has
// every set in every condition.
func TestCommittedBaseline(t *testing.T) {
	f, err := os.Open("testdata/asr-baseline.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := ReadBaseline(f)
	if err != nil {
		t.Fatal(err)
	}
	if b.Threshold != 0.3 {
		t.Errorf("threshold %v, want 0.3", b.Threshold)
	}
	for set, n := range map[string]int{"asterisk": 84, "librispeech": 50, "other": 39, All: 173} {
		for _, condition := range []string{"wav16", "tel8k", "tel8k_noise10", "tel8k_loss3"} {
			r := Row{Engine: "sidetone tiny.en whole", Set: set, Condition: condition, Utterances: n}
			if err := b.Compare([]Row{r}); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestBadBaselines(t *testing.T) {
	for _, s := range []string{"", "{}", `{"threshold":0.3,"entries":[]}`, `{"threshold":0,"entries":[{"engine":"a"}]}`, `{"threshold":1,"entries":[{"sets":"a"}]}`} {
		if b, err := ReadBaseline(strings.NewReader(s)); err == nil {
			t.Errorf("%q: no error, %+v", s, b)
		}
	}
}

func TestRowJSONIsFlat(t *testing.T) {
	b, err := json.Marshal(Tally(sample(), wer.New())[0])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"engine":"ours","set":"one","condition":"wide","utterances":2,"sub":0,"ins":0,"del":1,"words":5,"wer":20,"seconds":4,"cpu":1.5,"rtf":0.375,"lag_p50":0.5,"lag_p95":1}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}
