// Package resample changes the sample rate of a stream of 16-bit audio.
//
// It is a polyphase windowed-sinc filter (Kaiser window; Oppenheim and Schafer,
// Discrete-Time Signal Processing, section 7.5.3). With N the lower of the two
// Nyquist frequencies, the pass band reaches to 7/8 N, where the gain is within
// 0.02 dB of one, and from N upwards aliases and images are at least 70 dB
// down: 3.5 and 4 kHz between 8 and 16 kHz. Phase is linear, so all
// frequencies are delayed alike, by Delay input samples.
//
// A Resampler is for one stream and one goroutine.
package resample

import (
	"fmt"
	"math"
)

const (
	passEdge    = 7.0 / 8 // of the lower Nyquist frequency; the stop edge is 1
	attenuation = 74.0    // dB, some above what is promised

	minRate, maxRate = 1000, 768_000
	// Rates without a common divisor would need a table for every phase.
	maxTable = 1 << 20
	// blockSamples is how much input is filtered at once.
	blockSamples = 512
)

// Resampler holds a filter and the end of the input that it still needs.
type Resampler struct {
	up, down int // output rate : input rate in lowest terms
	delay    int
	taps     int       // per phase, a multiple of 4
	coef     []float32 // [up][taps], each phase reversed so that it runs with the input
	buf      []float32 // taps-1 samples of history, then the block
	// at and phase say where the next output lies: at is the input sample,
	// counted from the first of the next block, phase the offset from it in
	// units of 1/up of a sample.
	at, phase int
}

// New designs a filter from rate in to rate out, both in Hz.
func New(in, out int) (*Resampler, error) {
	if in < minRate || in > maxRate || out < minRate || out > maxRate {
		return nil, fmt.Errorf("resample: cannot go from %d to %d Hz: rates must lie between %d and %d", in, out, minRate, maxRate)
	}
	g := gcd(in, out)
	r := &Resampler{up: out / g, down: in / g}
	if in != out {
		// Kaiser's estimate of the length for a transition of width dw, in
		// radians per sample at rate in*up.
		dw := math.Pi * (1 - passEdge) * float64(min(in, out)) / (float64(in) * float64(r.up))
		length := (attenuation - 8) / (2.285 * dw)
		r.delay = int(math.Ceil(length / 2 / float64(r.up)))
	}
	r.taps = (2*r.delay + 1 + 3) &^ 3
	if r.up*r.taps > maxTable {
		return nil, fmt.Errorf("resample: %d and %d Hz have too small a common divisor (%d)", in, out, g)
	}
	r.design(float64(min(in, out)) / float64(in))
	r.buf = make([]float32, r.taps-1+blockSamples)
	return r, nil
}

// design fills coef; ratio is the lower rate over the input rate.
func (r *Resampler) design(ratio float64) {
	// Kaiser's beta for attenuations above 50 dB.
	const beta = 0.1102 * (attenuation - 8.7)
	cutoff := (1 + passEdge) / 2 * ratio // in units of the input's Nyquist frequency
	half := float64(r.delay)
	r.coef = make([]float32, r.up*r.taps)
	h := make([]float64, r.taps)
	for p := range r.up {
		sum := 0.0
		for t := range h {
			// Tap t of phase p lies x input samples from the filter's centre.
			x := float64(t) + float64(p)/float64(r.up) - half
			h[t] = 0
			if math.Abs(x) <= half {
				w := 1.0
				if half > 0 {
					w = bessel0(beta*math.Sqrt(1-x*x/(half*half))) / bessel0(beta)
				}
				h[t] = sinc(cutoff*x) * w
			}
			sum += h[t]
		}
		// Each phase passes direct current unchanged.
		for t, v := range h {
			r.coef[p*r.taps+r.taps-1-t] = float32(v / sum)
		}
	}
}

// Delay is how many input samples the output lags behind the input.
func (r *Resampler) Delay() int { return r.delay }

// MaxOut is the largest number of samples that Process makes of n.
func (r *Resampler) MaxOut(n int) int { return (n*r.up + r.down - 1) / r.down }

// Process filters src into dst and returns how many samples it wrote: what k
// calls have written together is MaxOut of what they were given together, so
// it does not matter how a stream is cut into calls. dst must have room for
// MaxOut(len(src)) samples and must not overlap src. Process allocates nothing.
func (r *Resampler) Process(dst, src []int16) int {
	if len(dst) < r.MaxOut(len(src)) {
		panic(fmt.Sprintf("resample: dst has room for %d samples, needs %d", len(dst), r.MaxOut(len(src))))
	}
	n := 0
	for len(src) > 0 {
		m := min(len(src), blockSamples)
		n += r.block(dst[n:], src[:m])
		src = src[m:]
	}
	return n
}

func (r *Resampler) block(dst, src []int16) int {
	history := r.taps - 1
	for i, s := range src {
		r.buf[history+i] = float32(s)
	}
	// Outputs that are up apart are of the same phase: they are made together.
	n := max(0, ((len(src)-r.at)*r.up-r.phase+r.down-1)/r.down)
	for first := range min(n, r.up) {
		c, at, i := r.coef[r.phase*r.taps:(r.phase+1)*r.taps], r.at, first
		for ; i+3*r.up < n; i += 4 * r.up {
			y := dot4(c, r.buf[at:], r.down)
			dst[i] = round(y[0])
			dst[i+r.up] = round(y[1])
			dst[i+2*r.up] = round(y[2])
			dst[i+3*r.up] = round(y[3])
			at += 4 * r.down
		}
		for ; i < n; i += r.up {
			dst[i] = round(dot(c, r.buf[at:]))
			at += r.down
		}
		r.advance(1)
	}
	r.advance(n - min(n, r.up))
	r.at -= len(src)
	copy(r.buf, r.buf[len(src):len(src)+history])
	return n
}

// advance moves on by n outputs.
func (r *Resampler) advance(n int) {
	r.phase += n * r.down
	r.at += r.phase / r.up
	r.phase %= r.up
}

// dot4 is dot of c and four windows of x that begin step apart. Going through
// them together loads each coefficient once and keeps eight sums running, of
// which none waits for the one before it.
func dot4(c, x []float32, step int) [4]float32 {
	n := len(c)
	w0, w1, w2, w3 := x[:n], x[step:][:n], x[2*step:][:n], x[3*step:][:n]
	var a0, a1, a2, a3, b0, b1, b2, b3 float32
	for i := 0; i < n-3; i += 4 {
		k := c[i]
		a0 += k * w0[i]
		a1 += k * w1[i]
		a2 += k * w2[i]
		a3 += k * w3[i]
		k = c[i+1]
		b0 += k * w0[i+1]
		b1 += k * w1[i+1]
		b2 += k * w2[i+1]
		b3 += k * w3[i+1]
		k = c[i+2]
		a0 += k * w0[i+2]
		a1 += k * w1[i+2]
		a2 += k * w2[i+2]
		a3 += k * w3[i+2]
		k = c[i+3]
		b0 += k * w0[i+3]
		b1 += k * w1[i+3]
		b2 += k * w2[i+3]
		b3 += k * w3[i+3]
	}
	return [4]float32{a0 + b0, a1 + b1, a2 + b2, a3 + b3}
}

// dot is the sum of c[i]*x[i]. The length of c is a multiple of 4. It adds in the
// order of dot4, for it must not matter which of the two makes an output.
func dot(c, x []float32) float32 {
	x = x[:len(c)]
	var a, b float32
	for i := 0; i < len(c)-3; i += 4 {
		a += c[i] * x[i]
		b += c[i+1] * x[i+1]
		a += c[i+2] * x[i+2]
		b += c[i+3] * x[i+3]
	}
	return a + b
}

func round(x float32) int16 {
	switch {
	case x >= math.MaxInt16:
		return math.MaxInt16
	case x <= math.MinInt16:
		return math.MinInt16
	case x < 0:
		return int16(x - 0.5)
	default:
		return int16(x + 0.5)
	}
}

// Convert resamples a whole recording. The result is aligned with src: the
// filter's delay is taken out, and its length is len(src) at the new rate,
// rounded up.
func Convert(src []int16, in, out int) ([]int16, error) {
	r, err := New(in, out)
	if err != nil {
		return nil, err
	}
	// The first output is the one whose filter is centred on the first input.
	r.at = r.delay
	dst := make([]int16, r.MaxOut(len(src))+r.MaxOut(r.delay))
	n := r.Process(dst, src)
	n += r.Process(dst[n:], make([]int16, r.delay))
	return dst[:n:n], nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// bessel0 is the modified Bessel function of the first kind and order zero, by
// its power series.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > 1e-12*sum; k++ {
		term *= (x / 2 / k) * (x / 2 / k)
		sum += term
	}
	return sum
}
