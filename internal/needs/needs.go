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
func Model(t testing.TB, name, file string) string {
	t.Helper()
	p, err := models.Default().Path(name, file)
	if err != nil {
		miss(t, "model weights: %v", err)
	}
	return p
}

// Eval returns the path of a file or folder below the evaluation data, which
// lies at SIDETONE_EVAL or beside the checkout at ../shared/eval.
func Eval(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("SIDETONE_EVAL")
	if root == "" {
		root = filepath.Join(filepath.Dir(Root(t)), "shared", "eval")
	}
	p := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		miss(t, "evaluation data (set SIDETONE_EVAL): %v", err)
	}
	return p
}

// Program returns the path of the first of the named programs on PATH.
func Program(t testing.TB, names ...string) string {
	t.Helper()
	for _, n := range names {
		if p, err := exec.LookPath(n); err == nil {
			return p
		}
	}
	miss(t, "none of the programs %v is installed; `make test` installs them where apt-get may", names)
	return ""
}

// Root is the folder that holds go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = up
	}
}

func miss(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("SIDETONE_CI") != "" {
		t.Fatalf("needed in CI: "+format, args...)
	}
	t.Skipf("needs "+format, args...)
}
