package campplus

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sidetone/internal/tensor"
)

// naive is the network as PyTorch writes it down, operation by operation, in
// float64. Activations are [channels][bands][frames]; behind the head there is one
// band.
type naive struct{ weights map[string]weights }

type weights struct {
	shape []int
	v     []float64
}

type activation struct {
	channels, bands, frames int
	v                       []float64
}

func newActivation(c, f, t int) activation { return activation{c, f, t, make([]float64, c*f*t)} }

func (x activation) at(c, f, t int) *float64 { return &x.v[(c*x.bands+f)*x.frames+t] }

// conv is a convolution with zeros around: over bands by stepF, over time by stepT.
func (n naive) conv(x activation, name string, stepF, stepT, dilation int) activation {
	w := n.weights[name+".weight"]
	out, kf, kt := w.shape[0], 1, w.shape[len(w.shape)-1]
	if len(w.shape) == 4 {
		kf = w.shape[2]
	}
	padF, padT := kf/2, kt/2*dilation
	y := newActivation(out, (x.bands+2*padF-kf)/stepF+1, (x.frames+2*padT-(kt-1)*dilation-1)/stepT+1)
	for o := range out {
		for f := range y.bands {
			row := y.v[(o*y.bands+f)*y.frames:][:y.frames]
			if b, ok := n.weights[name+".bias"]; ok {
				for t := range row {
					row[t] = b.v[o]
				}
			}
			for c := range x.channels {
				for i := range kf {
					g := f*stepF + i - padF
					if g < 0 || g >= x.bands {
						continue
					}
					src := x.v[(c*x.bands+g)*x.frames:][:x.frames]
					for k := range kt {
						weight := w.v[((o*x.channels+c)*kf+i)*kt+k]
						t := 0
						for t*stepT+k*dilation < padT {
							t++
						}
						for u := t*stepT + k*dilation - padT; u < len(src) && t < len(row); u += stepT {
							row[t] += weight * src[u]
							t++
						}
					}
				}
			}
		}
	}
	return y
}

func (n naive) norm(x activation, name string) activation {
	mean, variance := n.weights[name+".running_mean"].v, n.weights[name+".running_var"].v
	y := newActivation(x.channels, x.bands, x.frames)
	for i, v := range x.v {
		c := i / (x.bands * x.frames)
		v = (v - mean[c]) / math.Sqrt(variance[c]+1e-5)
		if w, ok := n.weights[name+".weight"]; ok {
			v = v*w.v[c] + n.weights[name+".bias"].v[c]
		}
		y.v[i] = v
	}
	return y
}

func (x activation) relu() activation {
	for i, v := range x.v {
		x.v[i] = max(v, 0)
	}
	return x
}

func (x activation) plus(y activation) activation {
	for i, v := range y.v {
		x.v[i] += v
	}
	return x
}

// context is the mean over time and that over the hundred frames around.
func (x activation) context() activation {
	y := newActivation(x.channels, 1, x.frames)
	for c := range x.channels {
		row := x.v[c*x.frames:][:x.frames]
		for t := range row {
			part := row[t/100*100 : min(t/100*100+100, len(row))]
			*y.at(c, 0, t) = average(row) + average(part)
		}
	}
	return y
}

func average(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

func (n naive) run(features [][]float64) []float64 {
	x := newActivation(1, len(features[0]), len(features))
	for t, row := range features {
		for f, v := range row {
			*x.at(0, f, t) = v
		}
	}
	x = n.norm(n.conv(x, "head.conv1", 1, 1, 1), "head.bn1").relu()
	for i := range 4 {
		name, step := fmt.Sprintf("head.layer%d.%d.", i/2+1, i%2), 2-i%2
		y := n.norm(n.conv(x, name+"conv1", step, 1, 1), name+"bn1").relu()
		y = n.norm(n.conv(y, name+"conv2", 1, 1, 1), name+"bn2")
		if step == 2 {
			x = n.norm(n.conv(x, name+"shortcut.0", step, 1, 1), name+"shortcut.1")
		}
		x = y.plus(x).relu()
	}
	x = n.norm(n.conv(x, "head.conv2", 2, 1, 1), "head.bn2").relu()
	x.channels, x.bands = x.channels*x.bands, 1
	x = n.norm(n.conv(x, "xvector.tdnn.linear", 1, 2, 1), "xvector.tdnn.nonlinear.batchnorm").relu()
	for i, b := range []struct{ layers, dilation int }{{12, 1}, {24, 2}, {16, 2}} {
		for j := range b.layers {
			name := fmt.Sprintf("xvector.block%d.tdnnd%d.", i+1, j+1)
			h := n.conv(n.norm(x, name+"nonlinear1.batchnorm").relu(), name+"linear1", 1, 1, 1)
			h = n.norm(h, name+"nonlinear2.batchnorm").relu()
			y := n.conv(h, name+"cam_layer.linear_local", 1, 1, b.dilation)
			m := n.conv(h.context(), name+"cam_layer.linear1", 1, 1, 1).relu()
			m = n.conv(m, name+"cam_layer.linear2", 1, 1, 1)
			for k, v := range m.v {
				y.v[k] /= 1 + math.Exp(-v)
			}
			x.v = append(x.v, y.v...)
			x.channels += y.channels
		}
		name := fmt.Sprintf("xvector.transit%d.", i+1)
		x = n.conv(n.norm(x, name+"nonlinear.batchnorm").relu(), name+"linear", 1, 1, 1)
	}
	x = n.norm(x, "xvector.out_nonlinear.batchnorm").relu()
	s := newActivation(2*x.channels, 1, 1)
	for c := range x.channels {
		row := x.v[c*x.frames:][:x.frames]
		mean, sum := average(row), 0.0
		for _, v := range row {
			sum += (v - mean) * (v - mean)
		}
		s.v[c], s.v[x.channels+c] = mean, math.Sqrt(sum/float64(x.frames-1))
	}
	return n.norm(n.conv(s, "xvector.dense.linear", 1, 1, 1), "xvector.dense.nonlinear.batchnorm").v
}

// shapes are those of all tensors of the network.
func shapes() map[string][]int {
	out := map[string][]int{}
	norm := func(name string, n int, weighted bool) {
		out[name+".running_mean"], out[name+".running_var"] = []int{n}, []int{n}
		if weighted {
			out[name+".weight"], out[name+".bias"] = []int{n}, []int{n}
		}
	}
	out["head.conv1.weight"] = []int{32, 1, 3, 3}
	norm("head.bn1", 32, true)
	for i := range 4 {
		name := fmt.Sprintf("head.layer%d.%d.", i/2+1, i%2)
		for _, k := range []string{"1", "2"} {
			out[name+"conv"+k+".weight"] = []int{32, 32, 3, 3}
			norm(name+"bn"+k, 32, true)
		}
		if i%2 == 0 {
			out[name+"shortcut.0.weight"] = []int{32, 32, 1, 1}
			norm(name+"shortcut.1", 32, true)
		}
	}
	out["head.conv2.weight"] = []int{32, 32, 3, 3}
	norm("head.bn2", 32, true)
	out["xvector.tdnn.linear.weight"] = []int{128, 320, 5}
	norm("xvector.tdnn.nonlinear.batchnorm", 128, true)
	in := 128
	for i, layers := range []int{12, 24, 16} {
		for j := range layers {
			name := fmt.Sprintf("xvector.block%d.tdnnd%d.", i+1, j+1)
			norm(name+"nonlinear1.batchnorm", in, true)
			norm(name+"nonlinear2.batchnorm", 128, true)
			out[name+"linear1.weight"] = []int{128, in, 1}
			out[name+"cam_layer.linear_local.weight"] = []int{32, 128, 3}
			out[name+"cam_layer.linear1.weight"] = []int{64, 128, 1}
			out[name+"cam_layer.linear1.bias"] = []int{64}
			out[name+"cam_layer.linear2.weight"] = []int{32, 64, 1}
			out[name+"cam_layer.linear2.bias"] = []int{32}
			in += 32
		}
		name := fmt.Sprintf("xvector.transit%d.", i+1)
		norm(name+"nonlinear.batchnorm", in, true)
		out[name+"linear.weight"] = []int{in / 2, in, 1}
		in /= 2
	}
	norm("xvector.out_nonlinear.batchnorm", 512, true)
	out["xvector.dense.linear.weight"] = []int{192, 1024, 1}
	norm("xvector.dense.nonlinear.batchnorm", 192, false)
	return out
}

// random draws weights that keep activations of about their size.
func random(r *rand.Rand) (map[string]tensor.Tensor, naive) {
	files, n := map[string]tensor.Tensor{}, naive{map[string]weights{}}
	all := shapes()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		shape := all[name]
		size, in := 1, 1
		for i, s := range shape {
			size *= s
			if i > 0 {
				in *= s
			}
		}
		w := weights{shape, make([]float64, size)}
		data := make([]byte, 4*size)
		for i := range size {
			v := r.NormFloat64()
			switch {
			case len(shape) > 1:
				v *= math.Sqrt(2 / float64(in))
			case strings.HasSuffix(name, "running_var"):
				v = 0.5 + r.Float64()
			case strings.HasSuffix(name, "weight"):
				v = 1 + 0.2*v
			default:
				v *= 0.2
			}
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(float32(v)))
			w.v[i] = float64(float32(v))
		}
		files[name] = tensor.Tensor{Type: tensor.Float32, Shape: shape, Data: data}
		n.weights[name] = w
	}
	return files, n
}

// The lengths end in the first push, at the edge of a push and in the third segment
// of the context; the long one comes first, so that the short ones meet its scratch.
func TestNetworkIsThatOfPyTorch(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	files, want := random(r)
	var n network
	if err := n.load(files); err != nil {
		t.Fatal(err)
	}
	s := newScratch()
	for _, frames := range []int{203, 9, 48, 3} {
		rows := make([][]float64, frames)
		s.frames, s.features = frames, resize(s.features, frames*80)
		for i := range rows {
			rows[i] = make([]float64, 80)
			for f := range rows[i] {
				v := float32(r.NormFloat64() * 2)
				rows[i][f], s.features[i*80+f] = float64(v), v
			}
		}
		n.run(s)
		var off, size float64
		for i, w := range want.run(rows) {
			d := float64(s.out[i]) - w
			off += d * d
			size += w * w
		}
		if e := math.Sqrt(off / size); !(e < 1e-4) {
			t.Errorf("%d frames: off by %v of its length", frames, e)
		}
	}
}

func TestWeightsThatAreNot(t *testing.T) {
	for name, spoil := range map[string]func(map[string]tensor.Tensor){
		"one missing": func(f map[string]tensor.Tensor) { delete(f, "xvector.block2.tdnnd7.linear1.weight") },
		"another shape": func(f map[string]tensor.Tensor) {
			f["head.conv1.weight"] = f["xvector.dense.linear.weight"]
		},
		"not a number": func(f map[string]tensor.Tensor) {
			x := f["xvector.transit1.linear.weight"]
			binary.LittleEndian.PutUint32(x.Data[8:], math.Float32bits(float32(math.NaN())))
		},
		"a negative variance": func(f map[string]tensor.Tensor) {
			x := f["head.bn1.running_var"]
			binary.LittleEndian.PutUint32(x.Data, math.Float32bits(-1))
		},
	} {
		files, _ := random(rand.New(rand.NewPCG(5, 5)))
		spoil(files)
		var n network
		if err := n.load(files); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Load(strings.NewReader("weights"), Config{}); err == nil {
		t.Error("text: no error")
	}
}
