package spoof

import "math"

// example is one recording.
type example struct {
	family, corpus, speaker string
	attack                  bool
	x                       []float64
}

// train fits logistic regression: both classes and, within a class, all corpora
// weigh the same; ridge holds the weights of standardised measures down. With equal
// classes the logit is the evidence.
func train(data []example, ridge float64) weights {
	dims := len(data[0].x)
	n := float64(len(data))
	mean, scale := make([]float64, dims), make([]float64, dims)
	for _, e := range data {
		for i, v := range e.x {
			mean[i] += v / n
		}
	}
	for _, e := range data {
		for i, v := range e.x {
			scale[i] += (v - mean[i]) * (v - mean[i]) / n
		}
	}
	type group struct {
		attack bool
		corpus string
	}
	size, groups := map[group]float64{}, map[bool]float64{}
	for _, e := range data {
		g := group{e.attack, e.corpus}
		if size[g] == 0 {
			groups[e.attack]++
		}
		size[g]++
	}
	for i := range scale {
		scale[i] = math.Sqrt(scale[i])
	}
	b := make([]float64, dims+1)
	z := make([]float64, dims+1)
	for range 50 {
		grad, hess := make([]float64, dims+1), make([][]float64, dims+1)
		for i := range hess {
			hess[i] = make([]float64, dims+1)
			if i < dims {
				grad[i], hess[i][i] = ridge*b[i], ridge
			}
		}
		for _, e := range data {
			var s float64
			for i := range z {
				z[i] = 1
				if i < dims {
					z[i] = (e.x[i] - mean[i]) / scale[i]
				}
				s += b[i] * z[i]
			}
			p, y := logistic(s), 0.0
			if e.attack {
				y = 1
			}
			w := n / 2 / groups[e.attack] / size[group{e.attack, e.corpus}]
			for i := range z {
				grad[i] += w * (p - y) * z[i]
				for j := range z {
					hess[i][j] += w * p * (1 - p) * z[i] * z[j]
				}
			}
		}
		for i, d := range solve(hess, grad) {
			b[i] -= d
		}
	}
	w := weights{by: make([]float64, dims), bias: b[dims]}
	for i := range w.by {
		w.by[i] = b[i] / scale[i]
		w.bias -= w.by[i] * mean[i]
	}
	return w
}

// solve is Gaussian elimination with pivots; a and b are spent.
func solve(a [][]float64, b []float64) []float64 {
	n := len(b)
	for c := range n {
		p := c
		for r := c + 1; r < n; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[p][c]) {
				p = r
			}
		}
		a[c], a[p], b[c], b[p] = a[p], a[c], b[p], b[c]
		for r := c + 1; r < n; r++ {
			f := a[r][c] / a[c][c]
			for k := c; k < n; k++ {
				a[r][k] -= f * a[c][k]
			}
			b[r] -= f * b[c]
		}
	}
	for r := n - 1; r >= 0; r-- {
		for k := r + 1; k < n; k++ {
			b[r] -= a[r][k] * b[k]
		}
		b[r] /= a[r][r]
	}
	return b
}
