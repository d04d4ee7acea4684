package backend

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"sidetone/voiceprint"
)

// world draws voices whose covariances are known: speakers are scattered alike in all
// dimensions, what one speaker's recordings differ by lies mostly in the first few.
type world struct {
	r      *rand.Rand
	of     voiceprint.Model
	offset float64
	// within are standard deviations at 10 s of speech.
	within []float64
}

func newWorld(dim int) *world {
	w := &world{r: rand.New(rand.NewPCG(7, uint64(dim))), of: voiceprint.Model{ID: "drawn", Dim: dim}, offset: 3}
	for i := range dim {
		s := 0.3
		if i < dim/4 {
			s = 2
		}
		w.within = append(w.within, s)
	}
	return w
}

func (w *world) speaker() []float64 {
	v := make([]float64, w.of.Dim)
	for i := range v {
		v[i] = w.r.NormFloat64()
	}
	return v
}

// heard is one recording of a speaker: the channel, and less speech more noise.
func (w *world) heard(speaker []float64, net float64) voiceprint.Embedding {
	v := make(voiceprint.Embedding, w.of.Dim)
	for i, x := range speaker {
		v[i] = float32(x + w.within[i]*w.r.NormFloat64() + 0.3*math.Sqrt(10/net)*w.r.NormFloat64())
	}
	v[0] += float32(w.offset)
	voiceprint.Unit(v)
	return v
}

func (w *world) recordings(speakers, each int) []Recording {
	var out []Recording
	for s := range speakers {
		voice := w.speaker()
		for n := range each {
			r := Recording{
				Name: strconv.Itoa(s) + "-" + strconv.Itoa(n), Speaker: "s" + strconv.Itoa(s), Group: "adult", Line: "line" + strconv.Itoa(n),
				Template: w.heard(voice, 30),
			}
			for range 4 {
				r.Parts = append(r.Parts, Piece{5 * time.Second, w.heard(voice, 5)})
			}
			for net := 2 * time.Second; net <= 15*time.Second; net += 3 * time.Second {
				r.Looks = append(r.Looks, Piece{net, w.heard(voice, net.Seconds())})
			}
			out = append(out, r)
		}
	}
	return out
}

// trained makes parameters of a small world.
func trained(t testing.TB) (*world, *Params, []Path) {
	t.Helper()
	w := newWorld(24)
	p, paths, err := Train(Training{Of: w.of, Recordings: w.recordings(40, 3), Data: "drawn voices", Date: "2026-01-02", Folds: 4})
	if err != nil {
		t.Fatal(err)
	}
	return w, p, paths
}

// The covariance that samples were drawn with becomes the identity.
func TestSpaceWhitens(t *testing.T) {
	w := newWorld(8)
	var samples []Sample
	for s := range 400 {
		voice := w.speaker()
		for range 10 {
			samples = append(samples, Sample{strconv.Itoa(s), w.heard(voice, 10)})
		}
	}
	const shrink = 0.001
	space, err := TrainSpace(w.of, samples, shrink)
	if err != nil {
		t.Fatal(err)
	}
	// The naive twin: the same definition, dimension by dimension.
	dim := w.of.Dim
	mean := make([]float64, dim)
	for _, s := range samples {
		for i, x := range s.Raw {
			mean[i] += float64(x) / float64(len(samples))
		}
	}
	centred := make([][]float64, len(samples))
	for n, s := range samples {
		centred[n] = make([]float64, dim)
		for i, x := range s.Raw {
			centred[n][i] = float64(x) - mean[i]
		}
		toUnit(centred[n])
	}
	mapped := make([][]float64, len(samples))
	for n, c := range centred {
		mapped[n] = make([]float64, dim)
		for i := range dim {
			for j := range i + 1 {
				mapped[n][j] += c[i] * float64(space.lower[i*(i+1)/2+j])
			}
		}
	}
	for i := range dim {
		for j := range dim {
			var cov float64
			for s := range 400 {
				var mi, mj float64
				for _, v := range mapped[10*s : 10*s+10] {
					mi, mj = mi+v[i]/10, mj+v[j]/10
				}
				for _, v := range mapped[10*s : 10*s+10] {
					cov += (v[i] - mi) * (v[j] - mj) / 9 / 400
				}
			}
			want := 0.0
			if i == j {
				want = 1
			}
			if math.Abs(cov-want) > 0.02 {
				t.Errorf("covariance %d, %d is %.3f after the space", i, j, cov)
			}
		}
	}
	// Map is the same and of unit length.
	got, err := space.Map(samples[5].Raw)
	if err != nil {
		t.Fatal(err)
	}
	toUnit(mapped[5])
	for i, x := range got {
		if math.Abs(float64(x)-mapped[5][i]) > 1e-5 {
			t.Fatalf("Map gives %v, the naive way %v", got, mapped[5])
		}
	}
}

func TestSpaceTellsVoicesApart(t *testing.T) {
	w := newWorld(24)
	rs := w.recordings(60, 3)
	var samples []Sample
	for _, r := range rs[:120] {
		for _, p := range r.Parts {
			samples = append(samples, Sample{r.Speaker, p.Raw})
		}
	}
	space, err := TrainSpace(w.of, samples, 0.3)
	if err != nil {
		t.Fatal(err)
	}
	// wrong is the share of pairs of a target and an impostor comparison that are in
	// the wrong order, on speakers that were not trained on.
	wrong := func(place func(voiceprint.Embedding) voiceprint.Embedding) float64 {
		var same, other []float64
		for i, a := range rs[120:] {
			for _, b := range rs[120+i+1:] {
				c := voiceprint.Cosine(place(a.Template), place(b.Looks[2].Raw))
				if a.Speaker == b.Speaker {
					same = append(same, c)
				} else {
					other = append(other, c)
				}
			}
		}
		n := 0
		for _, s := range same {
			for _, o := range other {
				if s <= o {
					n++
				}
			}
		}
		return float64(n) / float64(len(same)*len(other))
	}
	raw := wrong(func(e voiceprint.Embedding) voiceprint.Embedding { return e })
	in := wrong(func(e voiceprint.Embedding) voiceprint.Embedding {
		e, err := space.Map(e)
		if err != nil {
			t.Fatal(err)
		}
		return e
	})
	if in > raw/3 {
		t.Errorf("%.4f of pairs are in the wrong order in the space, %.4f outside", in, raw)
	}
}

func TestTrainSpaceRefuses(t *testing.T) {
	of := voiceprint.Model{ID: "m", Dim: 2}
	a, b := voiceprint.Embedding{1, 0}, voiceprint.Embedding{0, 1}
	var few *TooLittleError
	if _, err := TrainSpace(of, []Sample{{"x", a}, {"x", b}, {"y", a}}, 0.3); !errors.As(err, &few) || few.Have != 1 {
		t.Errorf("one speaker with two samples: %v", err)
	}
	if _, err := TrainSpace(of, []Sample{{"x", a}, {"x", voiceprint.Embedding{1}}}, 0.3); !errors.Is(err, voiceprint.ErrModel) {
		t.Errorf("another length: %v", err)
	}
	if _, err := TrainSpace(of, []Sample{{"x", a}, {"x", voiceprint.Embedding{0, 0}}}, 0.3); err == nil {
		t.Error("a vector of zeros is taken")
	}
	if _, err := TrainSpace(of, []Sample{{"x", a}, {"x", a}, {"y", b}, {"y", b}}, 0.3); err == nil {
		t.Error("speakers without any variance are taken")
	}
	for _, shrink := range []float64{0, -1, 1.5, math.NaN()} {
		if _, err := TrainSpace(of, nil, shrink); err == nil {
			t.Errorf("shrinkage of %v is taken", shrink)
		}
	}
}

// raw is an embedder that gives what it is.
type raw struct {
	model voiceprint.Model
	out   voiceprint.Embedding
	err   error
}

func (r raw) Model() voiceprint.Model                       { return r.model }
func (r raw) Embed([]float32) (voiceprint.Embedding, error) { return r.out, r.err }

func TestEmbedder(t *testing.T) {
	w, p, _ := trained(t)
	e, err := p.Embedder(raw{model: w.of, out: w.heard(w.speaker(), 10)})
	if err != nil {
		t.Fatal(err)
	}
	if m := e.Model(); m.ID != "drawn/"+p.Space.version || m.Dim != 24 || m != p.Space.Model() {
		t.Errorf("model %+v", m)
	}
	v, err := e.Embed(nil)
	if err != nil || math.Abs(voiceprint.Cosine(v, v)-1) > 1e-5 {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := p.Embedder(raw{model: voiceprint.Model{ID: "else", Dim: 24}}); !errors.Is(err, voiceprint.ErrModel) {
		t.Errorf("another model: %v", err)
	}
	short, err := p.Embedder(raw{model: w.of, err: voiceprint.ErrTooShort})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := short.Embed(nil); !errors.Is(err, voiceprint.ErrTooShort) {
		t.Errorf("too short: %v", err)
	}
	lost, err := p.Embedder(raw{model: w.of, out: make(voiceprint.Embedding, 24)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lost.Embed(nil); err == nil {
		t.Error("a vector of zeros has a place in the space")
	}
}

// cllr is the cost of paths' last looks in bits; best that of the best growing
// function of them, by pooling adjacent violators.
func cllr(paths []Path) (cost, best float64) {
	type one struct {
		llr    float64
		target bool
	}
	var all []one
	var n [2]float64
	for _, p := range paths {
		o := one{p.Looks[len(p.Looks)-1].LLR, p.Target()}
		all = append(all, o)
		if o.target {
			n[1]++
		} else {
			n[0]++
		}
	}
	bits := func(llr float64, target bool) float64 {
		if target {
			return math.Log2(1+math.Exp(-llr)) / n[1] / 2
		}
		return math.Log2(1+math.Exp(llr)) / n[0] / 2
	}
	slices.SortFunc(all, func(a, b one) int { return int(math.Copysign(1, a.llr-b.llr)) })
	var blocks [][2]float64 // impostors, targets
	for _, o := range all {
		cost += bits(o.llr, o.target)
		b := [2]float64{1, 0}
		if o.target {
			b = [2]float64{0, 1}
		}
		blocks = append(blocks, b)
		for len(blocks) > 1 {
			p, q := blocks[len(blocks)-2], blocks[len(blocks)-1]
			if p[1]/(p[0]+p[1]) < q[1]/(q[0]+q[1]) {
				break
			}
			blocks = append(blocks[:len(blocks)-2], [2]float64{p[0] + q[0], p[1] + q[1]})
		}
	}
	for _, b := range blocks {
		if b[0] > 0 && b[1] > 0 {
			llr := math.Log(b[1] / n[1] / (b[0] / n[0]))
			best += b[0]*bits(llr, false) + b[1]*bits(llr, true)
		}
	}
	return cost, best
}

func TestTrainIsCalibratedOnOthers(t *testing.T) {
	_, p, paths := trained(t)
	// Each of 120 recordings against each of the others.
	if len(paths) != 120*119 {
		t.Errorf("%d paths, want each recording against each other: %d", len(paths), 120*119)
	}
	targets := 0
	for i := range paths {
		if paths[i].Template == paths[i].Test {
			t.Fatalf("%s is compared with itself", paths[i].Test)
		}
		if paths[i].Target() {
			targets++
		}
	}
	cost, best := cllr(paths)
	t.Logf("%d targets, Cllr %.4f, at its least %.4f", targets, cost, best)
	if targets != 240 || best > 0.3 || cost-best > 0.04 {
		t.Errorf("%d targets, Cllr %.4f, at its least %.4f", targets, cost, best)
	}
	if o := p.Operating; o.Targets != 240 || o.Impostors != 120*119-240 || o.Speakers != 40 || o.Policy != voiceprint.DefaultPolicy() || len(o.Looks) != 5 {
		t.Errorf("operating points from %+v", o)
	}
	if p.Trained != (Trained{"drawn voices", "drawn voices", "2026-01-02"}) {
		t.Errorf("trained on %+v", p.Trained)
	}
}

func TestTrainIsRepeatable(t *testing.T) {
	_, a, _ := trained(t)
	_, b, _ := trained(t)
	if a.Version() != b.Version() || a.Space.version != b.Space.version {
		t.Errorf("%s %s, then %s %s", a.Space.version, a.Version(), b.Space.version, b.Version())
	}
}

func TestEstimateIsTrainWithoutThresholds(t *testing.T) {
	w, p, _ := trained(t)
	got, err := Estimate(Training{Of: w.of, Recordings: newWorld(w.of.Dim).recordings(40, 3)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Space.version != p.Space.version || got.Calibration != p.Calibration || len(got.Operating.Points) > 0 {
		t.Errorf("%s, %+v, want %s, %+v", got.Space.version, got.Calibration, p.Space.version, p.Calibration)
	}
	if _, err := Estimate(Training{Of: w.of}); err == nil {
		t.Error("nothing is taken for enough")
	}
}

func TestTrainKeepsTheSpace(t *testing.T) {
	w, p, _ := trained(t)
	var steps []int
	again, paths, err := Train(Training{
		Of: w.of, Recordings: w.recordings(20, 2), Data: "own calls", Date: "2026-02-03", Keep: p,
		Progress: func(done, all int) { steps = append(steps, done, all) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if again.Space != p.Space || again.Version() == p.Version() || len(paths) != 40*39 {
		t.Errorf("the same space: %v, another calibration: %v, %d paths", again.Space == p.Space, again.Version() != p.Version(), len(paths))
	}
	if again.Trained != (Trained{"drawn voices", "own calls", "2026-02-03"}) {
		t.Errorf("trained on %+v", again.Trained)
	}
	if n := len(steps); steps[0] != 0 || steps[n-2] != steps[n-1] || steps[n-1] != 56 {
		t.Errorf("progress %v", steps)
	}
}

func TestTrainRefuses(t *testing.T) {
	w, p, _ := trained(t)
	enough := w.recordings(40, 2)
	silent := w.recordings(40, 2)
	for i := range silent {
		silent[i].Looks = nil
	}
	twice := append(slices.Clone(enough), enough[0])
	other := &Params{Space: newSpace(voiceprint.Model{ID: "else", Dim: 24}, p.Space.mean, p.Space.lower)}
	for name, c := range map[string]struct {
		t    Training
		need int
	}{
		"few speakers for a space":       {Training{Recordings: w.recordings(39, 2)}, LeastForSpace},
		"one recording each":             {Training{Recordings: w.recordings(60, 1)}, LeastForSpace},
		"few speakers for a calibration": {Training{Recordings: w.recordings(19, 2), Keep: p}, LeastForCalibration},
		"nobody calls":                   {Training{Recordings: silent}, LeastForCalibration},
		"names twice":                    {Training{Recordings: twice}, 0},
		"another model's space":          {Training{Recordings: enough, Keep: other}, 0},
		"prior":                          {Training{Recordings: enough, Prior: 1}, 0},
		"folds":                          {Training{Recordings: enough, Folds: 3}, 0},
	} {
		c.t.Of = w.of
		_, _, err := Train(c.t)
		var few *TooLittleError
		if err == nil || errors.As(err, &few) != (c.need > 0) || few != nil && few.Need != c.need {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Groups are never compared with each other, and no fold has all of one.
func TestGroups(t *testing.T) {
	w, p, _ := trained(t)
	rs := w.recordings(24, 2)
	for i := range rs {
		if i < 12 {
			rs[i].Group = "child"
		}
	}
	_, paths, err := Train(Training{Of: w.of, Recordings: rs, Keep: p})
	if err != nil {
		t.Fatal(err)
	}
	if want := 12*11 + 36*35; len(paths) != want {
		t.Errorf("%d paths, want %d", len(paths), want)
	}
}

func BenchmarkMap(b *testing.B) {
	w := newWorld(192)
	space := newSpace(w.of, make([]float32, 192), slices.Repeat([]float32{1}, 192*193/2))
	e := w.heard(w.speaker(), 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := space.Map(e); err != nil {
			b.Fatal(err)
		}
	}
}
