// Package needs lets a test say what it needs beyond the Go toolchain: weights,
// evaluation data, a browser.
//
// Where the thing is missing the test is skipped, with the reason in words; in
// CI (SIDETONE_CI=1) it fails instead, so that nothing goes missing unseen.
package needs

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sidetone/internal/models"
)

// Model returns the path of one verified file of a model.
func Model(tb testing.TB, name, file string) string {
	tb.Helper()
	p, err := models.Default().Path(name, file)
	if err != nil {
		miss(tb, "model weights: %v", err)
	}
	return p
}

// Eval returns the path of a file or folder below the evaluation data, which
// lies at SIDETONE_EVAL or beside the checkout at ../shared/eval.
func Eval(tb testing.TB, elem ...string) string {
	tb.Helper()
	root := os.Getenv("SIDETONE_EVAL")
	if root == "" {
		root = filepath.Join(filepath.Dir(Root(tb)), "shared", "eval")
	}
	p := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		miss(tb, "evaluation data (set SIDETONE_EVAL): %v", err)
	}
	return p
}

// Program returns the path of the first of the named programs on PATH.
func Program(tb testing.TB, names ...string) string {
	tb.Helper()
	for _, n := range names {
		if p, err := exec.LookPath(n); err == nil {
			return p
		}
	}
	miss(tb, "none of the programs %v is installed; `make test` installs them where apt-get may", names)
	return ""
}

// Root is the folder that holds go.mod.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			tb.Fatal("no go.mod above the test's folder")
		}
		dir = up
	}
}

func miss(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("SIDETONE_CI") != "" {
		tb.Fatalf("needed in CI: "+format, args...)
	}
	tb.Skipf("needs "+format, args...)
}
