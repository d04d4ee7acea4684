package voice

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidetone/internal/needs"
)

// made is scored trials among so many speakers: targets about 3, impostors about -3
// nats, in steps that make some of them equal.
func made(seed uint64, speakers, targets, impostors int) []Scored {
	rng := rand.New(rand.NewPCG(seed, 1))
	name := func(i int) string { return "s" + strconv.Itoa(i) }
	shift := make([]float64, speakers)
	for i := range shift {
		shift[i] = rng.NormFloat64()
	}
	var out []Scored
	for i := range targets + impostors {
		a := rng.IntN(speakers)
		t := &Trial{Enrolled: name(a), Speaker: name(a), Net: 5 * time.Second, Group: Adult, Condition: "tel", Channel: "g711", Target: true}
		llr := 3 + shift[a] + 2*rng.NormFloat64()
		if i >= targets {
			b := (a + 1 + rng.IntN(speakers-1)) % speakers
			t.Speaker, t.Target = name(b), false
			llr = -3 + shift[b] + 2*rng.NormFloat64()
		}
		out = append(out, Scored{t, math.Round(4*llr) / 4})
	}
	return out
}

func newSet(t testing.TB, scored []Scored) *Set {
	t.Helper()
	s, err := NewSet(scored)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ofScores is a set of plain scores.
func ofScores(t testing.TB, targets, impostors []float64) *Set {
	t.Helper()
	var all []Scored
	for _, v := range targets {
		all = append(all, Scored{&Trial{Target: true, Enrolled: "a", Speaker: "a"}, v})
	}
	for _, v := range impostors {
		all = append(all, Scored{&Trial{Enrolled: "a", Speaker: "b"}, v})
	}
	return newSet(t, all)
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-12 }

// Three scores of each side, small enough to see:
//
//	accepted from   5     3     1     0    -2    -4
//	FAR             0    1/3   1/3   2/3   2/3    1
//	FRR            2/3   2/3   1/3   1/3    0     0
//
// FAR and FRR meet at 1/3. The best cost at a prior of 0.01 is that of the first
// threshold: 0.01*2/3/0.01.
func TestByHand(t *testing.T) {
	s := ofScores(t, []float64{5, 1, -2}, []float64{3, 0, -4})
	if got := s.EER(); !near(got, 1.0/3) {
		t.Errorf("EER %v, want 1/3", got)
	}
	if got := s.MinDCF(0.01); !near(got, 2.0/3) {
		t.Errorf("minDCF %v, want 2/3", got)
	}
	if got := s.MinDCF(0.5); !near(got, 2.0/3) {
		t.Errorf("minDCF at even odds %v, want 2/3", got)
	}
	for _, c := range []struct{ far, frr float64 }{{0, 2.0 / 3}, {0.3, 2.0 / 3}, {0.34, 1.0 / 3}, {0.7, 0}, {1, 0}} {
		if got := s.FRRAt(c.far); !near(got, c.frr) {
			t.Errorf("FRR at %v: %v, want %v", c.far, got, c.frr)
		}
	}
	for _, c := range []struct{ llr, far, frr float64 }{{6, 0, 1}, {5, 0, 2.0 / 3}, {4, 0, 2.0 / 3}, {2, 1.0 / 3, 2.0 / 3}, {-3, 2.0 / 3, 0}, {-4, 1, 0}} {
		if far, frr := s.At(c.llr); !near(far, c.far) || !near(frr, c.frr) {
			t.Errorf("at %v: %v, %v, want %v, %v", c.llr, far, frr, c.far, c.frr)
		}
	}
	want := []Point{{0, 1}, {0, 2.0 / 3}, {1.0 / 3, 2.0 / 3}, {1.0 / 3, 1.0 / 3}, {2.0 / 3, 1.0 / 3}, {2.0 / 3, 0}, {1, 0}}
	got := s.DET()
	if !slices.EqualFunc(got, want, func(a, b Point) bool { return near(a.FAR, b.FAR) && near(a.FRR, b.FRR) }) {
		t.Errorf("DET %v, want %v", got, want)
	}
	// Rising, the sides are i t i t i t: the blocks are {i}, {t i}, {t i}, {t}; the two
	// in the middle have even odds and cost 1 bit for a third of each side, twice.
	if got := s.MinCllr(); !near(got, 2.0/3) {
		t.Errorf("min Cllr %v, want 2/3", got)
	}
	cost := func(x float64) float64 { return math.Log2(1 + math.Exp(x)) }
	if got, want := s.Cllr(), (cost(-5)+cost(-1)+cost(2)+cost(3)+cost(0)+cost(-4))/6; !near(got, want) {
		t.Errorf("Cllr %v, want %v", got, want)
	}
}

func TestExtremes(t *testing.T) {
	inf := math.Inf(1)
	for name, c := range map[string]struct {
		targets, impostors []float64
		eer, dcf, minCllr  float64
	}{
		"apart":    {[]float64{2, 1}, []float64{-1, -2}, 0, 0, 0},
		"endless":  {[]float64{inf}, []float64{-inf}, 0, 0, 0},
		"all same": {[]float64{1, 1}, []float64{1, 1, 1}, 0.5, 1, 1},
		"reversed": {[]float64{-1}, []float64{1}, 1, 1, 1},
	} {
		s := ofScores(t, c.targets, c.impostors)
		if got := s.EER(); !near(got, c.eer) {
			t.Errorf("%s: EER %v, want %v", name, got, c.eer)
		}
		if got := s.MinDCF(0.01); !near(got, c.dcf) {
			t.Errorf("%s: minDCF %v, want %v", name, got, c.dcf)
		}
		if got := s.MinCllr(); !near(got, c.minCllr) {
			t.Errorf("%s: min Cllr %v, want %v", name, got, c.minCllr)
		}
	}
	if got := ofScores(t, []float64{inf}, []float64{-inf}).Cllr(); got != 0 {
		t.Errorf("Cllr of certain scores that are right: %v", got)
	}
	if got := ofScores(t, []float64{-inf}, []float64{-inf}).Cllr(); !math.IsInf(got, 1) {
		t.Errorf("Cllr of a certain score that is wrong: %v", got)
	}
	if got := ofScores(t, []float64{0}, []float64{0}).Cllr(); !near(got, 1) {
		t.Errorf("Cllr of scores that say nothing: %v", got)
	}
	if _, err := NewSet([]Scored{{&Trial{Target: true}, math.NaN()}, {&Trial{}, 0}}); err == nil {
		t.Error("a score that is not a number is taken")
	}
}

// rates counts one threshold's errors, trial by trial.
func rates(all []Scored, llr float64) (far, frr float64) {
	var p, n float64
	for _, x := range all {
		switch {
		case x.Target:
			p++
			if x.LLR < llr {
				frr++
			}
		default:
			n++
			if x.LLR >= llr {
				far++
			}
		}
	}
	return far / n, frr / p
}

// naive measures by looking at each threshold anew.
func naive(all []Scored) (eer, dcf, frr1 float64, det []Point) {
	thresholds := []float64{math.Inf(1)}
	for _, x := range all {
		thresholds = append(thresholds, x.LLR)
	}
	slices.Sort(thresholds)
	thresholds = slices.Compact(thresholds)
	slices.Reverse(thresholds)
	dcf, frr1, eer = math.Inf(1), 1, -1
	for _, llr := range thresholds {
		far, frr := rates(all, llr)
		dcf = min(dcf, frr+99*far)
		if far <= 0.01 {
			frr1 = min(frr1, frr)
		}
		if far >= frr && eer < 0 {
			// Where the straight line from the last point meets the diagonal.
			was := det[len(det)-1]
			for low, high := 0.0, 1.0; ; {
				m := (low + high) / 2
				x, y := was.FAR+m*(far-was.FAR), was.FRR+m*(frr-was.FRR)
				if high-low < 1e-15 {
					eer = x
					break
				}
				if x < y {
					low = m
				} else {
					high = m
				}
			}
		}
		det = append(det, Point{far, frr})
	}
	return eer, dcf, frr1, det
}

// isotonic is the regression of x in their order by the min-max formula (Barlow et
// al., 1972), with scores that are equal taken as one.
func isotonic(all []Scored) (cost float64) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Scored) int {
		switch {
		case a.LLR < b.LLR:
			return -1
		case a.LLR > b.LLR:
			return 1
		}
		return 0
	})
	type group struct{ right, n float64 }
	var groups []group
	var targets, impostors float64
	for i, x := range all {
		if i == 0 || x.LLR != all[i-1].LLR {
			groups = append(groups, group{})
		}
		g := &groups[len(groups)-1]
		g.n++
		if x.Target {
			g.right++
			targets++
		} else {
			impostors++
		}
	}
	mean := func(i, j int) float64 {
		var right, n float64
		for _, g := range groups[i : j+1] {
			right += g.right
			n += g.n
		}
		return right / n
	}
	for k, g := range groups {
		p := 0.0
		for i := range k + 1 {
			low := 1.0
			for j := k; j < len(groups); j++ {
				low = min(low, mean(i, j))
			}
			p = max(p, low)
		}
		llr := math.Log(p/(1-p)) - math.Log(targets/impostors)
		if g.right > 0 {
			cost += g.right * math.Log2(1+math.Exp(-llr)) / targets
		}
		if g.n > g.right {
			cost += (g.n - g.right) * math.Log2(1+math.Exp(llr)) / impostors
		}
	}
	return cost / 2
}

func TestNaiveTwin(t *testing.T) {
	for seed := range uint64(30) {
		all := made(seed, 6, 3+int(seed), 20+4*int(seed))
		s := newSet(t, all)
		eer, dcf, frr1, det := naive(all)
		for _, c := range []struct {
			name      string
			got, want float64
		}{
			{"EER", s.EER(), eer}, {"minDCF", s.MinDCF(0.01), dcf}, {"FRR at FAR 1 %", s.FRRAt(0.01), frr1}, {"min Cllr", s.MinCllr(), isotonic(all)},
		} {
			if math.Abs(c.got-c.want) > 1e-9 {
				t.Errorf("seed %d: %s %v, want %v", seed, c.name, c.got, c.want)
			}
		}
		for _, p := range s.DET() {
			if !slices.ContainsFunc(det, func(q Point) bool { return near(p.FAR, q.FAR) && near(p.FRR, q.FRR) }) {
				t.Errorf("seed %d: %v is no point of the ROC", seed, p)
			}
		}
		for _, llr := range []float64{-2, 0, 1.25, 4} {
			far, frr := s.At(llr)
			if wantFAR, wantFRR := rates(all, llr); !near(far, wantFAR) || !near(frr, wantFRR) {
				t.Errorf("seed %d: at %v: %v, %v, want %v, %v", seed, llr, far, frr, wantFAR, wantFRR)
			}
		}
		if s.MinCllr() > s.Cllr()+1e-12 {
			t.Errorf("seed %d: min Cllr %v above Cllr %v", seed, s.MinCllr(), s.Cllr())
		}
	}
}

// The least Cllr depends on the order of the scores alone.
func TestMinCllrOfGrowingFunctions(t *testing.T) {
	all := made(3, 8, 60, 200)
	want := newSet(t, all).MinCllr()
	for i := range all {
		all[i].LLR = math.Atan(all[i].LLR)*7 + 2
	}
	if got := newSet(t, all).MinCllr(); !near(got, want) {
		t.Errorf("%v after a growing function, %v before", got, want)
	}
}

// eval.py is the judge of the evaluation data.
func TestAgreesWithTheEvaluationsScript(t *testing.T) {
	python := needs.Program(t, "python3")
	for _, condition := range []string{"tel", "codec", "noise"} {
		list := needs.Eval(t, "voice", "trials_"+condition+".tsv")
		scores := needs.Eval(t, "voice", "reference", "campp_cosine_"+condition+".txt")
		scored := readScored(t, list, scores, condition)
		for _, group := range []string{Adult, Child} {
			out, err := exec.Command(python, needs.Eval(t, "voice", "eval.py"), list, scores, group).Output()
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n")[1:] {
				seconds, err := strconv.Atoi(strings.Fields(line)[0])
				if err != nil {
					t.Fatal(err)
				}
				s := newSet(t, slices.DeleteFunc(slices.Clone(scored), func(x Scored) bool {
					return x.Group != group || x.Net != time.Duration(seconds)*time.Second
				}))
				got := fmt.Sprintf("%d %d %d %.2f %.3f %.1f", seconds, s.Targets(), s.Impostors(), 100*s.EER(), s.MinDCF(0.01), 100*s.FRRAt(0.01))
				if got != line {
					t.Errorf("%s, %s: %s, eval.py says %s", condition, group, got, line)
				}
			}
		}
	}
}

func readScored(t *testing.T, list, scores, condition string) []Scored {
	t.Helper()
	f, err := os.Open(filepath.Clean(list))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	trials, err := ReadTrials(f, condition)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(scores)
	if err != nil {
		t.Fatal(err)
	}
	values := strings.Fields(string(b))
	if len(values) != len(trials) {
		t.Fatalf("%d scores of %d trials", len(values), len(trials))
	}
	out := make([]Scored, len(trials))
	for i := range trials {
		v, err := strconv.ParseFloat(values[i], 64)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = Scored{&trials[i], v}
	}
	return out
}

func BenchmarkEER(b *testing.B) {
	s := newSet(b, made(1, 70, 1000, 10000))
	for b.Loop() {
		s.EER()
	}
}
