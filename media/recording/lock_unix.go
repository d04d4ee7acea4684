//go:build unix

package recording

import (
	"os"
	"syscall"
)

// lock takes the log for this process, so that no other finishes it while the
// call runs. It ends with the file.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
