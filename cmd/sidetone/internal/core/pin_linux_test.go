package core

import (
	"os/exec"
	"strings"
	"testing"
)

// TestOnIsInherited starts a process on a core and has it say where it may run.
func TestOnIsInherited(t *testing.T) {
	var out []byte
	err := On(0, func() (err error) {
		out, err = exec.Command("grep", "Cpus_allowed_list", "/proc/self/status").Output()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(string(out)); len(f) != 2 || f[1] != "0" {
		t.Errorf("got %q, want core 0 alone", out)
	}
}
