package dsp

import (
	"math"
	"math/cmplx"
	"testing"
)

func TestPowerMatchesNaive(t *testing.T) {
	for _, n := range []int{2, 15, 64, 320} {
		s, err := NewSpectrum(n)
		if err != nil {
			t.Fatal(err)
		}
		x := sound(n)
		got := make([]float32, s.Bins())
		s.Power(got, x)
		for k := range got {
			var sum complex128
			for i, v := range x {
				w := 0.5 - 0.5*math.Cos(2*math.Pi*(float64(i)+0.5)/float64(n))
				sum += complex(float64(v)*w, 0) * cmplx.Exp(complex(0, -2*math.Pi*float64(k*i)/float64(n)))
			}
			want := real(sum)*real(sum) + imag(sum)*imag(sum)
			if math.Abs(float64(got[k])-want) > 1e-6*(1+want) {
				t.Errorf("%d samples, bin %d: %v, want %v", n, k, got[k], want)
			}
		}
	}
	if _, err := NewSpectrum(1); err == nil {
		t.Error("no error for one sample")
	}
}

func TestPowerDoesNotAllocate(t *testing.T) {
	s, err := NewSpectrum(512)
	if err != nil {
		t.Fatal(err)
	}
	x, dst := sound(512), make([]float32, s.Bins())
	if n := testing.AllocsPerRun(20, func() { s.Power(dst, x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
