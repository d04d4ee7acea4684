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
	"os/exec"
	"path/filepath"

	. "github.com/mmcloughlin/avo/build"

	"sidetone/internal/nn/gen/neon"
)

// sets are the files that are written, by the instruction set for amd64.
var sets = []struct {
	name string
	text func(constants)
}{
	{"avx2", avx2},
	{"avx512", avx512},
	{"avx512bf", bfloat},
	{"lstm", lstmGates},
}

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "-out":
		// avo writes one file in the life of a program.
		for _, s := range sets {
			c := exec.Command(os.Args[0], "-out", os.Args[2], s.name)
			c.Stdout, c.Stderr = os.Stdout, os.Stderr
			fail(c.Run())
		}
		fail(neon.Write(os.Args[2]))
	case len(os.Args) == 4 && os.Args[1] == "-out":
		for _, s := range sets {
			if s.name == os.Args[3] {
				write(os.Args[2], s.name, s.text)
			}
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: gen -out FOLDER")
		os.Exit(2)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(folder, name string, text func(constants)) {
	// Generate reads the names of its files from the command line, and writes
	// that line into both: it must not depend on the folder.
	folder, err := filepath.Abs(folder)
	fail(err)
	fail(os.Chdir(folder))
	os.Args = append(os.Args[:1], "-out", name+"_amd64.s", "-stubs", name+"_amd64.go", "-pkg", "nn")
	ConstraintExpr("!purego")
	text(constants{})
	Generate()
}

func avx2(c constants) {
	for m := 1; m <= 6; m++ {
		gemm(m, false)
		gemm(m, true)
	}
	dots()
	mix()
	packRows()
	dot(c)
	add(c)
	relu(c)
	addReLU(c)
	scaleReLU(c)
	winograd(c)
	softmax(c)
	gelu(c)
	layerNorm(c)
	halfToFloat()
	floatToHalf()
	saturate(c)
}
