//go:build unix

package recording

import (
	"os/signal"
	"syscall"
)

// limitFiles has writes beyond so many bytes of a file fail, as on a full disk.
func limitFiles(bytes uint64) {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: bytes, Max: bytes}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		panic(err)
	}
}
