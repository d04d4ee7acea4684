//go:build unix

package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	lockTries = 50
	lockPause = 100 * time.Millisecond
)

// lockDir keeps other servers out of a storage folder until the file is closed.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	// A server that was killed a moment ago may not be quite gone.
	for tries := 0; err != nil && tries < lockTries; tries++ {
		time.Sleep(lockPause)
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		var by [20]byte
		n, _ := f.Read(by[:]) // a lock without a number is no worse
		f.Close()
		return nil, fmt.Errorf("%s is in use by another server (process %s): stop it, or give this one a storage.dir of its own: %w", dir, strings.TrimSpace(string(by[:n])), err)
	}
	if err = f.Truncate(0); err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
