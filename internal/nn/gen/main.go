// Command gen writes the assembly of package nn and the Go declarations of
// its functions:
//
//	go run . -out .. -stubs ../avx2_amd64.go
//
// It is a module of its own, so that avo is no dependency of the program.
package main

import (
	. "github.com/mmcloughlin/avo/build"
)

func main() {
	ConstraintExpr("!purego")
	c := constants{}
	for m := 1; m <= 6; m++ {
		gemm(m, false)
		gemm(m, true)
	}
	dots()
	mix()
	packRows(c)
	dot(c)
	add(c)
	softmax(c)
	gelu(c)
	layerNorm(c)
	halfToFloat()
	floatToHalf()
	Generate()
}
