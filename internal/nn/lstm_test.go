package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func naiveSigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func naiveLSTM(c float64, in, forget, cell, out float64) (h, next float64) {
	next = naiveSigmoid(forget)*c + naiveSigmoid(in)*math.Tanh(cell)
	return naiveSigmoid(out) * math.Tanh(next), next
}

func TestLSTMGates(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		r := newRand()
		for _, n := range lengths() {
			for _, spread := range []float32{0, 0.01, 1, 10, 1000} {
				gates, c, h := normal(r, 4*n), make([]float32, n), make([]float32, n)
				for i := range gates {
					gates[i] *= spread
				}
				for i := range c {
					c[i] = 8*r.Float32() - 4
				}
				wantH, wantC := make([]float64, n), make([]float64, n)
				for i := range n {
					wantH[i], wantC[i] = naiveLSTM(float64(c[i]), float64(gates[i]), float64(gates[n+i]), float64(gates[2*n+i]), float64(gates[3*n+i]))
				}
				v.lstmGates(h, c, gates)
				for i := range n {
					within(t, i, c[i], wantC[i], 1e-6)
					within(t, i, h[i], wantH[i], 1e-6)
				}
			}
		}
	})
}

// TestLSTMGatesSweep leads each argument alone from one end to the other.
func TestLSTMGatesSweep(t *testing.T) {
	forEach(t, func(t *testing.T, v isa) {
		const n = 8 << 10
		gates, c, h := make([]float32, 4*n), make([]float32, n), make([]float32, n)
		for which := range 5 {
			in := [5]float32{0.5, 1, -1.5, 2, 0.75}
			for i := range n {
				arg := in
				arg[which] = float32(i-n/2) / (n / 2) * 4
				if which < 4 {
					arg[which] *= 25
				}
				for g := range 4 {
					gates[g*n+i] = arg[g]
				}
				c[i] = arg[4]
			}
			was := append([]float32(nil), c...)
			v.lstmGates(h, c, gates)
			for i := range n {
				wantH, wantC := naiveLSTM(float64(was[i]), float64(gates[i]), float64(gates[n+i]), float64(gates[2*n+i]), float64(gates[3*n+i]))
				within(t, i, c[i], wantC, 1e-6)
				within(t, i, h[i], wantH, 1e-6)
			}
		}
	})
}

func TestLSTMGatesExtremes(t *testing.T) {
	zero := float32(0)
	cases := []struct{ in, forget, cell, out, c, wantC, wantH float32 }{
		{inf, inf, inf, inf, 1, 2, float32(math.Tanh(2))},
		{-inf, -inf, inf, inf, 3, 0, 0},
		{inf, -inf, -inf, inf, 3, -1, float32(math.Tanh(-1))},
		{inf, inf, zero, -inf, 3, 3, 0},
		{1e30, 1e30, -1e30, 1e30, 0, -1, float32(math.Tanh(-1))},
		{-1e30, 1e30, 1e30, 1e30, -50, -50, -1},
		{nan, 0, 0, 0, 0, nan, nan},
		{0, nan, 0, 0, 0, nan, nan},
		{0, 0, nan, 0, 0, nan, nan},
		{0, 0, 0, nan, 0, 0, nan},
		{0, 0, 0, 0, nan, nan, nan},
		{0, 0, 0, 0, inf, inf, 0.5},
	}
	forEach(t, func(t *testing.T, v isa) {
		for _, e := range cases {
			const n = 11 // a whole vector and a tail
			gates, c, h := make([]float32, 4*n), make([]float32, n), make([]float32, n)
			for i := range n {
				gates[i], gates[n+i], gates[2*n+i], gates[3*n+i], c[i] = e.in, e.forget, e.cell, e.out, e.c
			}
			v.lstmGates(h, c, gates)
			for i := range n {
				for _, p := range []struct{ got, want float32 }{{c[i], e.wantC}, {h[i], e.wantH}} {
					if !same(p.got, p.want) && !(math.Abs(float64(p.got-p.want)) <= 1e-6) {
						t.Fatalf("%+v, element %d: c %v, h %v", e, i, c[i], h[i])
					}
				}
			}
		}
	})
}

// TestLSTMGatesExported checks what the exported function passes on.
func TestLSTMGatesExported(t *testing.T) {
	h, c := make([]float32, 2), []float32{0.5, -1}
	gates := []float32{1, -1, 0.5, 2, -0.3, 0.7, 3, -2}
	var wantH, wantC [2]float64
	for i := range h {
		wantH[i], wantC[i] = naiveLSTM(float64(c[i]), float64(gates[i]), float64(gates[2+i]), float64(gates[4+i]), float64(gates[6+i]))
	}
	LSTMGates(h, c, gates)
	for i := range h {
		within(t, i, h[i], wantH[i], 1e-6)
		within(t, i, c[i], wantC[i], 1e-6)
	}
	if got := testing.AllocsPerRun(20, func() { LSTMGates(h, c, gates) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
	for name, f := range map[string]func(){
		"c":     func() { LSTMGates(h, c[:1], gates) },
		"gates": func() { LSTMGates(h, c, gates[:7]) },
	} {
		t.Run("wrong "+name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func BenchmarkLSTMGates(b *testing.B) {
	const n = 128
	r := rand.New(rand.NewPCG(3, 4))
	gates, c, h := normal(r, 4*n), make([]float32, n), make([]float32, n)
	for _, v := range isas() {
		b.Run(fmt.Sprintf("%v/%d", v, n), func(b *testing.B) {
			for b.Loop() {
				v.lstmGates(h, c, gates)
			}
		})
	}
}
