//go:build !unix

package app

import (
	"os"
	"path/filepath"
)

// lockDir has no means to keep others out of the folder here.
func lockDir(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
}
