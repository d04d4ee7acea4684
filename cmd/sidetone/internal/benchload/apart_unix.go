//go:build unix

package benchload

import (
	"os/exec"
	"syscall"
)

// apart keeps a terminal's Ctrl-C from a child, which is to end after its calls.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
