package nn

// ReLU replaces what is below zero in x by zero.
func ReLU(x []float32) { active.relu(x) }

// AddReLU adds x to dst and replaces what is then below zero by zero.
func AddReLU(dst, x []float32) {
	check(len(dst) == len(x), "AddReLU")
	active.addReLU(dst, x)
}

// ScaleReLU writes max(0, scale·x + shift) to dst: a batch normalisation (Ioffe &
// Szegedy, 2015) and a rectifier. dst may be x.
func ScaleReLU(dst, x, scale, shift []float32) {
	check(len(dst) == len(x) && len(scale) == len(x) && len(shift) == len(x), "ScaleReLU")
	active.scaleReLU(dst, x, scale, shift)
}

func reluGo(x []float32) {
	for i, v := range x {
		x[i] = max(v, 0)
	}
}

func addReLUGo(dst, x []float32) {
	for i, v := range x {
		dst[i] = max(dst[i]+v, 0)
	}
}

func scaleReLUGo(dst, x, scale, shift []float32) {
	for i, v := range x {
		dst[i] = max(v*scale[i]+shift[i], 0)
	}
}
