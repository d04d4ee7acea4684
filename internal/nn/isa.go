package nn

// isa is an instruction set; its methods are the kernels. A further one is a
// constant after those it includes and a case in each method that it speeds
// up, so the order is that of preference.
//
// The kernels are called directly, never through a variable: else the
// compiler would move the callers' tiles from the stack to the heap.
type isa uint8

const (
	// plain is Go without assembly, on every machine.
	plain isa = iota
	// avx2 is AVX2 with FMA3 and F16C: Intel from Haswell (2013), AMD from
	// Excavator (2015).
	avx2
	// avx512 is AVX-512 with its parts F, BW, DQ and VL: Intel's servers from
	// Skylake (2017), AMD from Zen 4 (2022).
	avx512
	// vnni is AVX-512 with products of bytes: Intel's servers from Cascade Lake
	// (2019), AMD from Zen 4.
	vnni
	// bf16 is vnni with products of 16-bit floats: Intel's servers from Cooper
	// Lake (2020), AMD from Zen 4.
	bf16
)
