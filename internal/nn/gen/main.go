// Command gen writes the assembly of package nn and the Go declarations of
// its functions to a folder:
//
//	go run . -out ..
//
// It is a module of its own, so that avo is no dependency of the program.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "-out" {
		fmt.Fprintln(os.Stderr, "usage: gen -out FOLDER")
		os.Exit(2)
	}
	// Generate reads the names of its files from the command line, and writes
	// that line into both: it must not depend on the folder.
	folder, err := filepath.Abs(os.Args[2])
	if err == nil {
		err = os.Chdir(folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
	os.Args = append(os.Args[:1], "-out", "avx2_amd64.s", "-stubs", "avx2_amd64.go", "-pkg", "nn")

	ConstraintExpr("!purego")
	c := constants{}
	for m := 1; m <= 6; m++ {
		gemm(m, false)
		gemm(m, true)
	}
	dots()
	mix()
	packRows()
	dot(c)
	add(c)
	softmax(c)
	gelu(c)
	layerNorm(c)
	halfToFloat()
	floatToHalf()
	Generate()
}
