//go:build linux || darwin || freebsd

package stream

import "syscall"

// freeBytes is what a program may still write on the disk of a folder.
func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	// The types differ between systems; float64 takes them all.
	return int64(float64(s.Bavail) * float64(s.Bsize)), nil
}
