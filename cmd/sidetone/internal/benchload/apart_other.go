//go:build !unix

package benchload

import "os/exec"

// apart does nothing: a console's Ctrl-C reaches the child, too.
func apart(*exec.Cmd) {}
